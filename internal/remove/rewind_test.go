package remove

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/fault"
)

// rewinds makes calls until there is nothing more to do, and returns what they add up to and how many they were.
func rewinds(t *testing.T, w *world, o Options, q Rewind) (sum Rewound, calls int) {
	t.Helper()
	r := w.remover(o)
	for {
		out, err := r.Rewind(t.Context(), w, tenant, q)
		if err != nil {
			t.Fatal(err)
		}
		calls++
		sum.Deletions, sum.Instances, sum.Versions = sum.Deletions+out.Deletions, sum.Instances+out.Instances, sum.Versions+out.Versions
		sum.TooLate, sum.StoredSince = sum.TooLate+out.TooLate, sum.StoredSince+out.StoredSince
		if q.After = out.Next; q.After == "" {
			return sum, calls
		}
	}
}

// deletedSince has n blobs of a study be hidden by a deletion of a moment.
func (w *world) deletedSince(uid string, at time.Time, n int) {
	from := len(w.blobs)
	w.stores(n)
	d := archive.DeletedSince{Fact: factAt(at, uint16(len(w.since)+1)), Study: w.Ref(uid), Blobs: w.blobs[from:]}
	for _, b := range d.Blobs {
		w.hidden[b] = []archive.FactID{d.Fact}
	}
	w.since = append(w.since, d)
}

func TestRewindDeletions(t *testing.T) {
	const hold = 10 * time.Hour
	at := noon.Add(-hold)
	for _, c := range []struct {
		name  string
		q     Rewind
		kept  string
		want  Rewound
		facts int
		shown int
		calls int
		refs  []archive.Ref // protected
	}{
		{"the archive", Rewind{}, "", Rewound{Deletions: 3, Instances: 2*rewindBlobs + 1, StoredSince: 7, TooLate: 1}, 3, 2*rewindBlobs + 1, 4, []archive.Ref{{}, {}, {}}},
		{"a study", Rewind{Study: "1.2"}, "", Rewound{Deletions: 1, Instances: rewindBlobs}, 1, rewindBlobs, 2, []archive.Ref{newWorld().Ref("1.2")}},
		{"another study", Rewind{Study: "1.9"}, "", Rewound{}, 0, 0, 2, nil},
		{"what must be kept", Rewind{Study: "1.1"}, "it must be kept", Rewound{Deletions: 1, Instances: 5}, 1, 5, 2, []archive.Ref{newWorld().Ref("1.1")}},
		{"no more than a look", Rewind{DryRun: true}, "", Rewound{Deletions: 3, Instances: 2*rewindBlobs + 1, StoredSince: 7, TooLate: 1}, 0, 0, 4, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld()
			w.kept, w.created = c.kept, 7
			w.deletedSince("1.1", at.Add(-time.Minute), 5) // longer ago than it can be undone
			w.deletedSince("1.2", at.Add(time.Minute), rewindBlobs)
			w.deletedSince("1.3", at.Add(2*time.Minute), rewindBlobs)
			w.deletedSince("1.4", at.Add(3*time.Minute), 1)
			c.q.At = at.Add(-time.Hour)
			got, calls := rewinds(t, w, Options{Hold: hold}, c.q)
			if got != c.want || calls != c.calls || len(w.facts) != c.facts || !slices.Equal(w.protected, c.refs) {
				t.Errorf("%+v in %d calls, %d facts, protected %v", got, calls, len(w.facts), w.protected)
			}
			w.shown(t, c.shown)
			for _, f := range w.facts {
				if f.Kind != archive.FactUndeleted || len(f.Undoes) != 1 || f.ID == (archive.FactID{}) {
					t.Errorf("states %v of %v", f.Kind, f.Study)
				}
			}
		})
	}
}

// TestReplacedSince: which versions are hidden to show an earlier one.
func TestReplacedSince(t *testing.T) {
	at := noon
	row := func(n byte, minutes int, replaces ...byte) (r archive.InstanceRow) {
		r.Blob = archive.BlobID{n}
		r.Source.Fact = factAt(at.Add(time.Duration(minutes)*time.Minute), uint16(n))
		for _, o := range replaces {
			r.Replaces = append(r.Replaces, archive.BlobID{o})
		}
		return r
	}
	for name, c := range map[string]struct {
		rows []archive.InstanceRow // the one shown first
		want []byte
	}{
		"nothing":                            {nil, nil},
		"one that was there":                 {[]archive.InstanceRow{row(1, -5)}, nil},
		"one that came since":                {[]archive.InstanceRow{row(1, 5)}, nil},
		"replaced since":                     {[]archive.InstanceRow{row(2, 5, 1), row(1, -5)}, []byte{2}},
		"replaced twice since":               {[]archive.InstanceRow{row(3, 6, 2), row(2, 5, 1), row(1, -5)}, []byte{3, 2}},
		"replaced before and since":          {[]archive.InstanceRow{row(3, 6, 2), row(2, -4, 1), row(1, -5)}, []byte{3}},
		"replaced before":                    {[]archive.InstanceRow{row(2, -4, 1), row(1, -5)}, nil},
		"what it replaced came since, too":   {[]archive.InstanceRow{row(2, 6, 1), row(1, 5)}, nil},
		"shown since, but in nobody's place": {[]archive.InstanceRow{row(2, 5), row(1, -5)}, nil},
		"stored anew since, and not shown":   {[]archive.InstanceRow{row(1, -5), row(2, 5)}, nil},
	} {
		var got []byte
		for _, b := range replacedSince(c.rows, at) {
			got = append(got, b[0])
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: hides %v, want %v", name, got, c.want)
		}
	}
}

// TestRewindVersions: a page of the feed at a time, each instance once, and those of the study alone.
func TestRewindVersions(t *testing.T) {
	at := noon.Add(-time.Hour)
	replaced := func() *world {
		w := newWorld()
		for i := range rewindReplaced + 10 {
			u := archive.UIDs{Study: "1.2", Series: "1.2.1", Instance: "1.2.1." + string(rune('a'+i%3))}
			if u.Instance == "1.2.1.c" {
				u.Study = "1.3"
			}
			w.changes = append(w.changes, archive.Change{Sequence: int64(i + 1), Time: noon, Action: "replace", UIDs: u})
			old, fresh := archive.InstanceRow{}, archive.InstanceRow{}
			old.Blob, fresh.Blob, fresh.Replaces = archive.BlobID{1}, archive.BlobID{2}, []archive.BlobID{{1}}
			old.Source.Fact, fresh.Source.Fact = factAt(at.Add(-time.Hour), 1), factAt(noon, 2)
			w.versions[u.Instance] = []archive.InstanceRow{fresh, old}
		}
		return w
	}
	for _, c := range []struct {
		name string
		q    Rewind
		want Rewound // of each of two pages, together
	}{
		{"the archive", Rewind{}, Rewound{Versions: 6}},
		{"a study", Rewind{Study: "1.2"}, Rewound{Versions: 4}},
		{"no more than a look", Rewind{DryRun: true}, Rewound{Versions: 6}},
	} {
		w := replaced()
		c.q.At = at
		got, calls := rewinds(t, w, Options{}, c.q)
		facts := c.want.Versions
		if c.q.DryRun {
			facts = 0
		}
		if got != c.want || calls != 3 || len(w.facts) != facts || w.applied != facts {
			t.Errorf("%s: %+v in %d calls, %d facts", c.name, got, calls, len(w.facts))
		}
		for _, f := range w.facts {
			if f.Kind != archive.FactDeleted || f.Study != w.Ref(f.Scope.Study) || !slices.Equal(f.Blobs, []archive.BlobID{{2}}) {
				t.Errorf("%s: states %+v", c.name, f)
			}
		}
	}
}

// TestRewindFails: what is not a place is refused; what was written is indexed although something else could not be; and nothing is
// acknowledged that something may take away.
func TestRewindFails(t *testing.T) {
	for _, after := range []string{"d", "d:", "d:xyz", "v:", "v:x", "x:1"} {
		if _, err := newWorld().remover(Options{}).Rewind(t.Context(), newWorld(), tenant, Rewind{At: noon, After: after}); !fault.Is(err, fault.Invalid) {
			t.Errorf("%q: %v", after, err)
		}
	}
	fresh := func() *world {
		w := newWorld()
		for range 4 {
			w.deletedSince("1.2", noon, 1)
		}
		return w
	}
	w := fresh()
	w.broken = errBoom
	for _, after := range []string{"", "v:0"} {
		if _, err := w.remover(Options{}).Rewind(t.Context(), w, tenant, Rewind{At: noon, After: after}); !errors.Is(err, errBoom) {
			t.Errorf("%q: %v", after, err)
		}
	}
	w = fresh()
	w.appendFails = func(n int) error {
		if n > 2 {
			return errBoom
		}
		return nil
	}
	if _, err := w.remover(Options{}).Rewind(t.Context(), w, tenant, Rewind{At: noon}); !errors.Is(err, errBoom) || w.applied != len(w.facts) || len(w.facts) == 0 || len(w.protected) != 0 {
		t.Errorf("%v: %d facts, %d applied", err, len(w.facts), w.applied)
	}
	w = fresh()
	w.applyFails = func(f *archive.Fact) error {
		if f.Blobs[0] == w.blobs[1] {
			return errBoom
		}
		return nil
	}
	if _, err := w.remover(Options{}).Rewind(t.Context(), w, tenant, Rewind{At: noon}); !errors.Is(err, errBoom) || w.applied != 3 {
		t.Errorf("%v: %d applied", err, w.applied)
	}
	w = fresh()
	w.protectErr = errBoom
	if _, err := w.remover(Options{}).Rewind(t.Context(), w, tenant, Rewind{At: noon}); !errors.Is(err, errBoom) {
		t.Error(err)
	}
}
