package settle

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/internal/ledger"
)

// view is what the index knows of what a key seals of a study: a settled fact is about one key.
type view struct {
	study archive.Ref
	key   archive.KeyID

	uid     string
	entries []archive.LogEntry // that the fact will stand for
	old     []*archive.Fact    // the settled ones among them
	packs   map[string]archive.PackState
	// Of each blob that stays, in order:
	instances []archive.Instance
	texts     []text
	series    []int
	dropped   []archive.Instance
	deleted   []archive.Deletion // by which deletions the dropped ones are held
	next      time.Time
	objects   map[string]bool // where blobs lie, those to be dropped too
	placed    map[placed]bool // what was seen of all rows
}

// placed is a row and where the index says that its blob and its metadata are.
type placed struct {
	source archive.Source
	at     archive.Location
	chunk  int64
}

// keys returns the keys that seal what is stored of a study, ascending; it
// normally has one. The zero key, of facts about a study of which nothing is left, comes with the first.
func (s *Settler) keys(ctx context.Context, study archive.Ref) ([]archive.KeyID, error) {
	entries, err := s.o.Index.Entries(ctx, s.o.Tenant, study)
	if err != nil {
		return nil, fmt.Errorf("asking what is in the log of a study: %w", err)
	}
	var all []archive.KeyID
	for _, e := range entries {
		if e.Key != (archive.KeyID{}) && !slices.Contains(all, e.Key) {
			all = append(all, e.Key)
		}
	}
	slices.SortFunc(all, func(a, b archive.KeyID) int { return bytes.Compare(a[:], b[:]) })
	if len(all) == 0 {
		all = append(all, archive.KeyID{})
	}
	return all, nil
}

// look reads the index. The entries come first: what a later one states is then not
// superseded unseen. With first the view has the facts, too, that the tenant root seals; those
// about moves only where the study has no other key, since they are about the packs of all.
func (s *Settler) look(ctx context.Context, study archive.Ref, key archive.KeyID, first, only bool) (*view, error) {
	v := &view{study: study, key: key, packs: map[string]archive.PackState{}, objects: map[string]bool{}, placed: map[placed]bool{}}
	entries, err := s.o.Index.Entries(ctx, s.o.Tenant, study)
	if err != nil {
		return nil, fmt.Errorf("asking what is in the log of a study: %w", err)
	}
	packs, err := s.o.Index.Packs(ctx, s.o.Tenant, study)
	if err != nil {
		return nil, fmt.Errorf("asking for the packs of a study: %w", err)
	}
	var bad error
	var deleted []bool
	err = s.o.Index.StudyInstances(ctx, s.o.Tenant, study, func(r *archive.InstanceRow, state archive.State) bool {
		switch {
		case r.Key != key:
			return true
		case len(v.instances) == MaxInstances:
			bad = errLarge
		case r.ChunkID == 0:
			bad = fault.New(fault.Corrupt, "the index does not hold the metadata of this study; run 'strata rebuild'")
		}
		if bad != nil {
			return false
		}
		v.add(r)
		deleted = append(deleted, state == archive.StateDeleted)
		return true
	})
	if err == nil {
		err = bad
	}
	if err != nil {
		return nil, fmt.Errorf("reading the instances of a study: %w", err)
	}
	for _, p := range packs {
		if v.objects[p.Object] {
			v.packs[p.Object] = p
		}
	}
	for _, e := range entries {
		if e.Key != key && (!first || e.Key != archive.KeyID{}) || e.Kind == archive.FactMoved && !only {
			continue
		}
		v.entries = append(v.entries, e)
		if e.Kind != archive.FactSettled {
			continue
		}
		old, err := ledger.Read(ctx, s.o.Bucket, s.o.Tenant, e.Session, e.N, s.o.Keys.Secret, ledger.Index)
		if err != nil {
			return nil, err
		}
		v.old = append(v.old, old.Fact)
	}
	if slices.Contains(deleted, true) {
		return v, s.drop(ctx, v, deleted)
	}
	return v, nil
}

var errLarge = fault.New(fault.TooLarge, "the study has more than %d instances: it stays as it was stored", MaxInstances)

// add takes a row over.
func (v *view) add(r *archive.InstanceRow) {
	in := r.Instance
	in.Stated, in.Layout = r.Source.Fact, slices.Clone(r.Layout)
	v.uid = in.Study
	series := 0
	if n := len(v.instances); n > 0 {
		last := &v.instances[n-1]
		series = v.series[n-1]
		if last.UIDs.Series != in.UIDs.Series {
			series++
		}
		// Neighbours share what they have in common.
		in.Study = last.Study
		if slices.Equal(last.Patient, in.Patient) {
			in.Patient = last.Patient
		}
		if slices.Equal(last.Series, in.Series) {
			in.Series = last.Series
		}
	}
	v.objects[in.At.Object], v.placed[placed{r.Source, r.At, r.ChunkID}] = true, true
	v.instances = append(v.instances, in)
	v.texts = append(v.texts, text{r.ChunkID, r.JSON})
	v.series = append(v.series, series)
}

// holds reports, by errChanged, whether what was seen still holds: no entry was
// superseded, no pack moved, nothing was placed elsewhere by a settler that began before
// and supersedes less, no blob came that only superseded entries would state,
// and what is dropped is still deleted.
func (s *Settler) holds(ctx context.Context, v *view) error {
	packs, err := s.o.Index.Packs(ctx, s.o.Tenant, v.study)
	if err != nil {
		return fmt.Errorf("asking for the packs of a study: %w", err)
	}
	same := 0
	for _, p := range packs {
		if was, ok := v.packs[p.Object]; ok {
			if was.Tier != p.Tier {
				return errChanged
			}
			same++
		}
	}
	if same < len(v.packs) {
		return errChanged
	}
	known := make(map[archive.BlobID]bool, len(v.instances)+len(v.dropped))
	for _, list := range [][]archive.Instance{v.instances, v.dropped} {
		for i := range list {
			known[list[i].Blob] = true
		}
	}
	seen := make(map[archive.BlobID]bool, len(known))
	var others []archive.FactID // that stated what was not seen
	elsewhere := false
	err = s.o.Index.StudyInstances(ctx, s.o.Tenant, v.study, func(r *archive.InstanceRow, _ archive.State) bool {
		if r.Key != v.key {
			return true
		}
		if known[r.Blob] {
			seen[r.Blob] = true
			elsewhere = elsewhere || !v.placed[placed{r.Source, r.At, r.ChunkID}]
		} else {
			others = append(others, r.Source.Fact)
		}
		return true
	})
	if err != nil {
		return fmt.Errorf("reading the instances of a study: %w", err)
	}
	if len(seen) < len(known) || elsewhere {
		return errChanged // shredded, or settled
	}
	// Asked last, so that a fact whose blobs were just read is among them.
	entries, err := s.o.Index.Entries(ctx, s.o.Tenant, v.study)
	if err != nil {
		return fmt.Errorf("asking what is in the log of a study: %w", err)
	}
	there := map[archive.FactID]bool{}
	for _, e := range entries {
		there[e.Fact] = true
	}
	for _, e := range v.entries {
		if !there[e.Fact] {
			return errChanged
		}
		delete(there, e.Fact)
	}
	for _, f := range others {
		if !there[f] { // nobody but a superseded entry states it
			return errChanged
		}
	}
	if len(v.dropped) == 0 {
		return nil
	}
	_, deletions, err := s.deletions(ctx, v.uid)
	if err != nil {
		return err
	}
	for _, d := range v.deleted {
		if !slices.Equal(deletions[d.Blob].By, d.By) {
			return errChanged
		}
	}
	if s.o.Held != nil {
		held, err := s.o.Held(ctx, v.study)
		if err != nil {
			return fmt.Errorf("asking whether a study is held: %w", err)
		}
		if held {
			return errChanged
		}
	}
	return nil
}
