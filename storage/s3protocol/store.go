package s3protocol

import (
	"context"
	"strings"
	"time"

	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/storage/driver"
)

// PartSize is the size of the parts of an upload but the last, in bytes, and the
// size up to which an object is one PUT.
const PartSize = 8 << 20

const (
	partsMost     = 10_000 // the protocol's limit of parts in an upload
	partsOfWriter = 4      // parts that one writer has on their way at once
	partsOfStore  = 16     // and all writers together
	pageMost      = 1000   // keys in an answer to a list
	purgeRounds   = 1000   // answers' worth of versions that one Purge removes
)

// Options configure a store. The zero value is useful.
type Options struct {
	// Now is compared with the store's times to tell how old an upload is, and whether a
	// retention is over; time.Now if nil.
	Now func() time.Time
}

// Store is a driver.Driver, with all optional interfaces but driver.Mapper. It
// is safe for concurrent use. A writer holds up to [PartSize] bytes of what it
// received last; besides, at most 16 parts are on their way at once.
type Store struct {
	client Client
	at     Location
	now    func() time.Time
	slots  chan struct{} // one for each part on its way

	copyMost int64 // bytes that are copied by one request
}

// New returns the store over a client for the location's bucket. It asks the
// store nothing: see [Store.Reach].
func New(c Client, at Location, o Options) *Store {
	if o.Now == nil {
		o.Now = time.Now
	}
	return &Store{client: c, at: at, now: o.Now, slots: make(chan struct{}, partsOfStore), copyMost: copyMost}
}

func (s *Store) key(key string) string { return s.at.Prefix + key }

// Stat implements driver.Driver.
func (s *Store) Stat(ctx context.Context, key string) (driver.Attrs, error) {
	h, err := s.head(ctx, key)
	if err != nil {
		return driver.Attrs{}, err
	}
	return h.attrs()
}

func (s *Store) head(ctx context.Context, key string) (Head, error) {
	if err := ctx.Err(); err != nil {
		return Head{}, err
	}
	h, err := s.client.Head(ctx, s.key(key))
	if err == nil && h.Size < 0 {
		err = errNoSize
	}
	return h, err
}

// etag is the driver's: the store's own is the same for the same bytes.
func etag(store, version string) string { return store + "." + version }

func (h Head) attrs() (driver.Attrs, error) {
	r, err := parseRestore(h.Class, h.Restore, h.Archive)
	return driver.Attrs{Size: h.Size, ETag: etag(h.ETag, h.Version), Class: ownClass(h.Class),
		Modified: h.Modified.UTC(), Restore: r}, err
}

const standard = "STANDARD"

// ownClass makes the protocol's default the driver's, which is empty.
func ownClass(class string) string {
	if class == standard {
		return ""
	}
	return class
}

// parseRestore reads the state of an archived object. The header is, word for word,
// ongoing-request="false", expiry-date="Fri, 21 Dec 2012 00:00:00 GMT".
func parseRestore(class, header, archive string) (driver.Restore, error) {
	away := class == "GLACIER" || class == "DEEP_ARCHIVE" || archive != ""
	switch {
	case header == "" && away:
		return driver.Restore{State: driver.Archived}, nil
	case header == "":
		return driver.Restore{}, nil
	case strings.Contains(header, `ongoing-request="true"`):
		return driver.Restore{State: driver.Restoring}, nil
	}
	_, rest, _ := strings.Cut(header, `expiry-date="`)
	date, _, _ := strings.Cut(rest, `"`)
	until, err := time.Parse(time.RFC1123, date)
	if err != nil || !strings.Contains(header, `ongoing-request="false"`) {
		return driver.Restore{}, fault.New(fault.Internal, "the store tells the state of a restore in words that are not understood")
	}
	return driver.Restore{State: driver.Restored, Until: until.UTC()}, nil
}

// goesOn looks whether a list that is said to have ended has: MinIO ends short
// pages too early where a name follows those below a folder of the same letters. Amazon's
// own stores, which no address names, are believed.
func (s *Store) goesOn(ctx context.Context, prefix, last string) (bool, error) {
	rest, _, err := s.client.List(ctx, prefix, last, pageMost)
	return len(rest) > 0, err
}

// List implements driver.Driver.
func (s *Store) List(ctx context.Context, prefix, after string, limit int) (driver.Page, error) {
	var p driver.Page
	for {
		if err := ctx.Err(); err != nil {
			return driver.Page{}, err
		}
		from := ""
		if after != "" {
			from = s.key(after)
		}
		found, more, err := s.client.List(ctx, s.key(prefix), from, min(limit-len(p.Objects), pageMost))
		if err == nil && !more && len(found) > 0 && s.at.Endpoint != nil {
			more, err = s.goesOn(ctx, s.key(prefix), found[len(found)-1].Key)
		}
		if err != nil {
			return driver.Page{}, err
		}
		for _, f := range found {
			key, ok := strings.CutPrefix(f.Key, s.at.Prefix)
			if !ok || !strings.HasPrefix(key, prefix) || key <= after {
				return driver.Page{}, fault.New(fault.Internal, "the store does not list objects in the order of their names: use another one")
			}
			after = key
			p.Objects = append(p.Objects, driver.Object{Key: key, Size: f.Size, Modified: f.Modified.UTC()})
		}
		if p.More = more; !more || len(p.Objects) >= limit {
			return p, nil
		}
		if len(found) == 0 {
			return driver.Page{}, fault.New(fault.Unavailable, "the store lists nothing and says that there is more")
		}
	}
}

// AfterGroup is the key to go on with behind a group of [Objects].Groups.
func AfterGroup(group string) string { return driver.AfterFolder(group) }

// Folders implements driver.Folders.
func (s *Store) Folders(ctx context.Context, folder, after string, limit int) (names []string, more bool, err error) {
	from, prefix := "", s.key(folder)
	if after != "" {
		from = driver.AfterFolder(prefix + after)
	}
	for {
		if err := ctx.Err(); err != nil {
			return nil, false, err
		}
		groups, next, err := s.client.Groups(ctx, prefix, from, min(limit-len(names), pageMost))
		if n := len(groups); err == nil && next == "" && n > 0 && s.at.Endpoint != nil {
			last := driver.AfterFolder(groups[n-1])
			if more, err = s.goesOn(ctx, prefix, last); more {
				next = last
			}
		}
		if err != nil {
			return nil, false, err
		}
		for _, g := range groups {
			name, ok := strings.CutPrefix(g, prefix)
			if name = strings.TrimSuffix(name, "/"); !ok || g <= from {
				return nil, false, fault.New(fault.Internal, "the store does not list folders in the order of their names: use another one")
			}
			names, from = append(names, name), g
		}
		if more = next != ""; !more || len(names) >= limit {
			return names, more, nil
		}
		if next <= from && len(groups) == 0 {
			return nil, false, fault.New(fault.Unavailable, "the store lists nothing and says that there is more")
		}
		from = next
	}
}

// Delete implements driver.Driver. Where the bucket keeps versions they stay.
func (s *Store) Delete(ctx context.Context, key string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := s.client.Delete(ctx, s.key(key)); !fault.Is(err, fault.NotFound) {
		return err
	}
	return nil
}

// Purge implements driver.Purger: it removes all versions, and returns nil when
// a listing shows none. It is fault.Conflict where an object lock keeps one.
func (s *Store) Purge(ctx context.Context, key string) error {
	for range purgeRounds {
		if err := ctx.Err(); err != nil {
			return err
		}
		ids, err := s.client.VersionsOf(ctx, s.key(key))
		if fault.Is(err, fault.NotFound) {
			return s.Delete(ctx, key)
		}
		if err != nil || len(ids) == 0 {
			return err
		}
		for _, id := range ids {
			if err := s.client.DeleteVersion(ctx, s.key(key), id); err != nil && !fault.Is(err, fault.NotFound) {
				return err
			}
		}
	}
	return fault.New(fault.Unavailable, "an object gets new versions as fast as they are removed")
}

// Lock implements driver.Locker, by a retention of the newest version; it does nothing where the address says nothing of locks.
func (s *Store) Lock(ctx context.Context, key string, until time.Time) error {
	if s.at.Lock == "" || !until.After(s.now()) {
		return nil
	}
	h, err := s.head(ctx, key)
	if err != nil {
		return err
	}
	// The protocol has dates to the second in places: later never is too short.
	lock := Lock{Mode: strings.ToUpper(s.at.Lock), Until: until.UTC().Truncate(time.Second).Add(time.Second)}
	if h.Lock.Mode == lockCompliance {
		lock.Mode = lockCompliance
	}
	if h.Lock.Mode == lock.Mode && !h.Lock.Until.Before(until) {
		return nil
	}
	if h.Lock.Until.After(lock.Until) {
		lock.Until = h.Lock.Until
	}
	err = s.client.Retain(ctx, s.key(key), lock, false)
	if fault.Is(err, fault.Conflict) && h.Lock.Mode != "" && h.Lock.Mode != lockCompliance {
		// Some servers take a longer lock of this mode only from who may change it; it is never shorter.
		err = s.client.Retain(ctx, s.key(key), lock, true)
	}
	return err
}

// Locks implements driver.Locker.
func (s *Store) Locks() bool { return s.at.Lock != "" }

const lockCompliance = "COMPLIANCE"

// Thaw implements driver.Thawer. The speeds are "Expedited", "Standard" and "Bulk". One that
// the archive never has is fault.Invalid, and one that it has no room for now fault.Busy: ask for a slower one.
func (s *Store) Thaw(ctx context.Context, key string, o driver.ThawOptions) error {
	h, err := s.head(ctx, key)
	if err != nil {
		return err
	}
	a, err := h.attrs()
	if err != nil {
		return err
	}
	const day = 24 * time.Hour
	days, speed := max(1, int((o.For+day-1)/day)), o.Speed
	switch {
	case a.Restore.State == driver.Online:
		return nil
	case a.Restore.State == driver.Restoring && (speed == "" || speed == "Bulk"): // which hasten nothing
		return nil
	case a.Restore.State == driver.Restored: // how fast it came is over
		speed = ""
	case speed == "Expedited" && (h.Class == "DEEP_ARCHIVE" || h.Archive == "DEEP_ARCHIVE_ACCESS"):
		return fault.New(fault.Invalid, "a deep archive has no expedited restores: ask for a standard one, or for bulk")
	}
	if h.Archive != "" { // what comes back from these tiers stays
		days = 0
	}
	err = s.client.Restore(ctx, s.key(key), days, speed)
	switch {
	case fault.Is(err, fault.Exists): // under way already, and not to be hastened; or back
		return nil
	case fault.Is(err, fault.Archived): // in this place InvalidObjectState says that it lies in no archive
		return fault.Wrap(fault.Unavailable, err, "the object changed its class while its restore was asked for")
	}
	return err
}
