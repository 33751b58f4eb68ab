// Package shred destroys the keys of studies, so that nothing of them can be read
// again, in any tier, region or copy of the store, while no byte of them needs to
// be found and overwritten.
//
// # The order
//
//  1. A key-closed fact names the keys, durably, in the tenant's log. From here
//     what they sealed counts as never stored, whatever becomes of the rest. It is stated as package intent has it: no hold
//     is acknowledged of what is destroyed afterwards.
//  2. The fact is applied to the index: every row of the study goes, its words
//     leave the vocabulary, and the keys are remembered as closed for ever.
//  3. Every version of every copy of the keys is destroyed: first the key object,
//     then what is in escrow of it. Thumbnails go with them.
//  4. Caches: this node drops the keys and what it holds decoded at once, the
//     others when they prove their leases next. A study that is not in the index is found
//     nowhere meanwhile; a transfer that began before may end.
//  5. Packs that nothing names any more are reaped in time. They, and the blobs
//     that stay in log objects, are noise.
//
// A crash after 1 is mended by who indexes the log, one after 2 by
// [Shredder.Sweep] or by asking again: both go on where it ended. Fact by fact the
// order in the log does not matter, so a store that comes late, under a key that is
// closed, is undone as well; its client is told to send it again. A key made for the same study
// after the closing is that of a new import.
//
// # Copies that come back
//
// Who restores an old backup of the key bucket brings destroyed keys back. The
// index still hides what they sealed, and [Shredder.Look] destroys them again. Until the
// last such backup has ended its life, or the versions of the key-encryption key
// that wrapped its keys have been retired, a shredding is pending.
//
// # What stays
//
// The fact, with keyed hashes of the study's UID and of its Patient ID; in the
// change feed times and row numbers that lead nowhere. What the index held lay sealed under
// the tenant's root, not under the study's key: pages that the database has given
// up, its write-ahead log and its backups hold such rows until they are
// overwritten or end their life.
package shred

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/fault"
)

// Index is what shredding needs of the index.
type Index interface {
	// Sealed tells what is sealed of a study, and whether there is any of it.
	Sealed(ctx context.Context, t archive.Tenant, study archive.Ref) (archive.Sealed, bool, error)
	// StudiesOf returns the studies of a Patient ID and, unless it is empty, its issuer.
	StudiesOf(ctx context.Context, t archive.Tenant, patientID, issuer string) ([]archive.Ref, error)
	// ClosedOf returns the closed keys of a study, or of a patient; zero references name nothing.
	ClosedOf(ctx context.Context, t archive.Tenant, study, patient, issued archive.Ref) ([]archive.ClosedKey, error)
	// ClosedKeys returns up to limit closed keys after a sequence number, ascending.
	ClosedKeys(ctx context.Context, t archive.Tenant, after int64, limit int) ([]archive.ClosedKey, error)
	// UnpurgedKeys returns up to limit closed keys that SetPurged was not told of.
	UnpurgedKeys(ctx context.Context, t archive.Tenant, limit int) ([]archive.ClosedKey, error)
	// SetPurged notes that every copy of the keys was destroyed.
	SetPurged(ctx context.Context, t archive.Tenant, ids ...archive.KeyID) error
}

// Log names facts.
type Log interface{ NewFactID() archive.FactID }

// Refs gives the keyed hash of a UID.
type Refs interface{ Ref(uid string) archive.Ref }

// Keys destroys study keys.
type Keys interface {
	// Destroy destroys every version of every copy of a key. Again is no error.
	Destroy(ctx context.Context, id archive.KeyID) error
	// Remains reports whether a copy of the key can be seen.
	Remains(ctx context.Context, id archive.KeyID) (bool, error)
}

// Caches are what a node holds of studies.
type Caches interface {
	// Forget drops the keys, and whatever is decoded, from memory.
	Forget(ids ...archive.KeyID)
	// RemovePictures removes the thumbnails of a study from the store.
	RemovePictures(ctx context.Context, study archive.Ref) error
}

// Holds says what must be kept.
type Holds interface {
	// Held returns why a study must not be destroyed, as a sentence for the user,
	// and "" where it may.
	Held(ctx context.Context, t archive.Tenant, study archive.Ref) (reason string, err error)
}

// Versions knows the versions of a tenant's key-encryption key.
type Versions interface {
	// RetiredBefore reports whether every version that may have wrapped a key at
	// the time or earlier has been retired.
	RetiredBefore(ctx context.Context, t archive.Tenant, at time.Time) (bool, error)
}

// Options are the parts of a Shredder. All are required, but for those that say otherwise.
type Options struct {
	Tenant archive.Tenant
	Index  Index
	Log    Log
	Refs   Refs
	Keys   Keys
	Caches Caches
	// Destroy states a fact that destroys keys of a study, as package intent has it, if check agrees.
	Destroy func(ctx context.Context, study archive.Ref, f *archive.Fact, check func(context.Context) error) error
	// Catchup indexes what is in the log and not in the index, so that it is shredded too.
	Catchup func(context.Context) error
	// Holds is nil where nothing has to be kept.
	Holds Holds
	// Versions is nil where nobody knows: only time ends what is pending.
	Versions Versions
	// Lifetime is how long backups of the key bucket are kept; 0: there are none.
	Lifetime time.Duration
	Now      func() time.Time
	Slog     *slog.Logger // nil: nobody is told
}

// Shredder destroys keys. It is safe for concurrent use.
type Shredder struct{ o Options }

// New returns a Shredder.
func New(o Options) *Shredder {
	if o.Slog == nil {
		o.Slog = slog.New(slog.DiscardHandler)
	}
	return &Shredder{o}
}

// Shred returns when the key-closed facts are durable and every copy of the keys
// that can be reached is destroyed. Shredding again goes on where an earlier attempt
// ended, and answers how far it is. fault.NotFound when there is no such study or
// patient and never was one shredded; fault.Conflict, with the reason, for what has
// to be kept: then nothing is shredded, but for other studies of a patient where the reason came up at this moment.
func (s *Shredder) Shred(ctx context.Context, target archive.ShredTarget) (archive.ShredStatus, error) {
	if (target.Study == "") == (target.PatientID == "") {
		return archive.ShredStatus{}, fault.New(fault.Invalid, "name either a study or a patient to shred")
	}
	if err := s.o.Catchup(ctx); err != nil {
		return archive.ShredStatus{}, fmt.Errorf("bringing the index up to the log before shredding: %w", err)
	}
	studies, err := s.studies(ctx, target)
	if err != nil {
		return archive.ShredStatus{}, err
	}
	for _, ref := range studies {
		if err := s.close(ctx, ref); err != nil {
			return archive.ShredStatus{}, fmt.Errorf("closing the keys of a study: %w", err)
		}
	}
	closed, err := s.closed(ctx, target)
	if err != nil {
		return archive.ShredStatus{}, err
	}
	if len(closed) == 0 {
		return archive.ShredStatus{}, fault.New(fault.NotFound, "there is no such study or patient, and none was shredded")
	}
	for i := range closed {
		if closed[i].Purged {
			continue
		}
		if err := s.purge(ctx, &closed[i]); err != nil {
			return archive.ShredStatus{}, err
		}
	}
	return s.status(ctx, closed)
}

// studies returns what is there of the target, if all of it may be destroyed.
func (s *Shredder) studies(ctx context.Context, target archive.ShredTarget) (refs []archive.Ref, err error) {
	if target.Study != "" {
		refs = []archive.Ref{s.o.Refs.Ref(target.Study)}
	} else if refs, err = s.o.Index.StudiesOf(ctx, s.o.Tenant, target.PatientID, target.Issuer); err != nil {
		return nil, fmt.Errorf("looking up the studies of a patient: %w", err)
	}
	for _, ref := range refs {
		if err := s.free(ctx, ref); err != nil {
			return nil, err
		}
	}
	return refs, nil
}

// free returns fault.Conflict, with the reason, for a study that has to be kept.
func (s *Shredder) free(ctx context.Context, ref archive.Ref) error {
	if s.o.Holds == nil {
		return nil
	}
	reason, err := s.o.Holds.Held(ctx, s.o.Tenant, ref)
	if err != nil {
		return fmt.Errorf("asking whether a study has to be kept: %w", err)
	}
	if reason != "" {
		return fault.New(fault.Conflict, "%s", reason)
	}
	return nil
}

// close states that the study's keys are destroyed, and has the index forget what they sealed.
func (s *Shredder) close(ctx context.Context, ref archive.Ref) error {
	sealed, ok, err := s.o.Index.Sealed(ctx, s.o.Tenant, ref)
	if err != nil || !ok || len(sealed.Keys) == 0 {
		return err
	}
	f := &archive.Fact{ID: s.o.Log.NewFactID(), Kind: archive.FactKeyClosed, Study: ref, Closed: sealed.Keys,
		Until: s.o.Now().Add(s.o.Lifetime), Closing: archive.Closing{Instances: sealed.Instances}}
	if sealed.PatientID != "" {
		f.Closing.Patient = s.o.Refs.Ref(archive.PatientRef(sealed.PatientID))
		f.Closing.Issued = s.o.Refs.Ref(archive.IssuedRef(sealed.PatientID, sealed.Issuer))
	}
	err = s.o.Destroy(ctx, ref, f, func(ctx context.Context) error { return s.free(ctx, ref) })
	s.o.Caches.Forget(f.Closed...)
	return err
}

// closed returns the closed keys of the target, earlier ones included.
func (s *Shredder) closed(ctx context.Context, target archive.ShredTarget) ([]archive.ClosedKey, error) {
	var study, patient, issued archive.Ref
	if target.Study != "" {
		study = s.o.Refs.Ref(target.Study)
	} else {
		patient = s.o.Refs.Ref(archive.PatientRef(target.PatientID))
		if target.Issuer != "" {
			issued = s.o.Refs.Ref(archive.IssuedRef(target.PatientID, target.Issuer))
		}
	}
	closed, err := s.o.Index.ClosedOf(ctx, s.o.Tenant, study, patient, issued)
	if err != nil {
		return nil, fmt.Errorf("looking up what was shredded: %w", err)
	}
	return closed, nil
}

// purge destroys the copies of a key.
func (s *Shredder) purge(ctx context.Context, k *archive.ClosedKey) error {
	if err := s.o.Keys.Destroy(ctx, k.ID); err != nil {
		return err
	}
	s.o.Caches.Forget(k.ID)
	if err := s.o.Caches.RemovePictures(ctx, k.Study); err != nil {
		return err
	}
	if err := s.o.Index.SetPurged(ctx, s.o.Tenant, k.ID); err != nil {
		return fmt.Errorf("noting that a key was destroyed: %w", err)
	}
	return nil
}

// status sums up closed keys.
func (s *Shredder) status(ctx context.Context, closed []archive.ClosedKey) (st archive.ShredStatus, err error) {
	studies, facts, pending := map[archive.Ref]bool{}, map[archive.FactID]bool{}, map[archive.FactID]bool{}
	now := s.o.Now()
	for i := range closed {
		k := &closed[i]
		st.Keys++
		studies[k.Study] = true
		at := k.Fact.Time()
		if !facts[k.Fact] {
			facts[k.Fact] = true
			st.Instances += k.Closing.Instances
			if at.After(st.Closed) {
				st.Closed = at
			}
			pending[k.Fact] = true
			if s.o.Versions != nil && k.Until.After(now) {
				retired, err := s.o.Versions.RetiredBefore(ctx, s.o.Tenant, at)
				if err != nil {
					return st, fmt.Errorf("asking which versions of the key are retired: %w", err)
				}
				pending[k.Fact] = !retired
			}
		}
		if pending[k.Fact] && k.Until.After(now) && k.Until.After(st.PendingUntil) {
			st.PendingUntil = k.Until
		}
	}
	st.Studies = len(studies)
	return st, nil
}
