package glaciertest

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"
	"time"
)

// The classes, statuses and tiers in Amazon's own words.
const (
	standard           = "STANDARD"
	intelligentTiering = "INTELLIGENT_TIERING"
	glacier            = "GLACIER"
	deepArchive        = "DEEP_ARCHIVE"

	archiveAccess     = "ARCHIVE_ACCESS"
	deepArchiveAccess = "DEEP_ARCHIVE_ACCESS"

	tierExpedited = "Expedited"
	tierStandard  = "Standard"
	tierBulk      = "Bulk"
)

// classes are those of general purpose buckets in a region.
// Source: Amazon S3 API Reference, PutObject, x-amz-storage-class.
var classes = []string{standard, "REDUCED_REDUNDANCY", "STANDARD_IA", "ONEZONE_IA", intelligentTiering, "GLACIER_IR", glacier, deepArchive}

// tiers go from the slowest to the fastest.
var tiers = []string{tierBulk, tierStandard, tierExpedited}

// AmazonDelay is how long Amazon S3 says that a restore takes at most, in general, from
// a class ("GLACIER", "DEEP_ARCHIVE") at a tier ("Expedited", "Standard", "Bulk").
// Source: Amazon S3 User Guide, Understanding archive retrieval options.
func AmazonDelay(class, tier string) time.Duration {
	switch {
	case class == deepArchive && tier == tierBulk:
		return 48 * time.Hour
	case class == deepArchive:
		return 12 * time.Hour
	case tier == tierBulk:
		return 12 * time.Hour
	case tier == tierStandard:
		return 5 * time.Hour
	}
	return 5 * time.Minute
}

// name is a version of an object. Version is empty where the bucket keeps none.
type name struct{ Bucket, Key, Version string }

// record is what the server behind knows nothing of.
type record struct {
	Class   string
	Access  string `json:",omitempty"` // the archive tier of INTELLIGENT_TIERING that it lies in
	Restore *job   `json:",omitempty"`
}

// job is a restore, under way until Until is known.
type job struct {
	Tier  string
	Days  int
	Ready time.Time
	Until time.Time
}

func (j *job) ongoing() bool { return j != nil && j.Until.IsZero() }

// archive returns the class by whose rules the object is restored; empty if it lies in no archive.
func (r record) archive() string {
	switch {
	case r.Class == glacier || r.Access == archiveAccess:
		return glacier
	case r.Class == deepArchive || r.Access == deepArchiveAccess:
		return deepArchive
	}
	return ""
}

// readable reports whether the object can be read, which settled says of now.
func (r record) readable() bool {
	return r.archive() == "" || r.Restore != nil && !r.Restore.ongoing()
}

// settled returns what has become of the record by now.
func (r record) settled(now time.Time) record {
	if r.Restore.ongoing() && !now.Before(r.Restore.Ready) {
		if r.Access != "" { // it has moved back, for good
			return record{Class: r.Class}
		}
		done := *r.Restore
		done.Until = expiry(done.Ready, done.Days)
		r.Restore = &done
	}
	if r.Restore != nil && !r.Restore.ongoing() && !now.Before(r.Restore.Until) {
		r.Restore = nil
	}
	return r
}

// expiry adds the days and rounds up to the next midnight in UTC: from the 15th of
// October, 10:30, three days end on the 19th at 00:00.
// Source: Amazon S3 User Guide, Working with archived objects.
func expiry(from time.Time, days int) time.Time {
	return from.UTC().AddDate(0, 0, days).Truncate(24*time.Hour).AddDate(0, 0, 1)
}

// header is the value of x-amz-restore; empty if there is none.
func (r record) header() string {
	switch {
	case r.Restore == nil:
		return ""
	case r.Restore.ongoing():
		return `ongoing-request="true"`
	}
	return fmt.Sprintf(`ongoing-request="false", expiry-date="%s"`, r.Restore.Until.Format("Mon, 02 Jan 2006 15:04:05")+" GMT")
}

// get returns the record of an object, settled. The caller holds the lock.
func (s *Server) get(n name) record {
	r := s.records[n]
	r.Class = cmp.Or(r.Class, standard)
	return r.settled(s.now())
}

// set remembers a record, or forgets one that says nothing. The caller holds the lock.
func (s *Server) set(n name, r record) error {
	if r.Class == standard && r.Restore == nil {
		delete(s.records, n)
	} else {
		s.records[n] = r
	}
	return s.save()
}

// entry is a record in the file.
type entry struct {
	name
	record
}

func (s *Server) save() error {
	if s.file == "" {
		return nil
	}
	entries := make([]entry, 0, len(s.records))
	for _, n := range slices.SortedFunc(maps.Keys(s.records), func(a, b name) int {
		return cmp.Or(cmp.Compare(a.Bucket, b.Bucket), cmp.Compare(a.Key, b.Key), cmp.Compare(a.Version, b.Version))
	}) {
		entries = append(entries, entry{n, s.records[n]})
	}
	data, err := json.Marshal(entries)
	if err != nil {
		return err
	}
	return os.WriteFile(s.file, data, 0o600)
}

func (s *Server) load() error {
	data, err := os.ReadFile(s.file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	var entries []entry
	if err == nil {
		err = json.Unmarshal(data, &entries)
	}
	for _, e := range entries {
		s.records[e.name] = e.record
	}
	return err
}
