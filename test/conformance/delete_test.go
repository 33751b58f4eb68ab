package conformance

import (
	"encoding/json"
	"testing"

	"github.com/strata-pacs/strata/internal/archive"
)

type change struct {
	Sequence                            int64
	Action                              string
	StudyInstanceUID, SeriesInstanceUID string
	SOPInstanceUID, RetrieveURL         string
}

type changes struct {
	Changes []change
	Last    int64
	More    bool
	Next    string
}

func (w *world) changes(t testing.TB, query string) changes {
	t.Helper()
	var c changes
	a := w.get(t, "/changes"+query, "application/json").is(200)
	if err := json.Unmarshal(a.Body, &c); err != nil {
		t.Fatalf("%v: %.300s", err, a.Body)
	}
	return c
}

// TestDelete hides an instance, a series and a study from every resource, shows
// them again, and finds all of it in the change feed.
func TestDelete(t *testing.T) {
	t.Parallel()
	w := open(t)
	sample(t, w)
	all := func() string {
		return uids(w.get(t, "/studies", "").is(200).datasets(), "") + " | " + uids(w.get(t, "/series", "").datasets(), "/series") + " | " +
			uids(w.get(t, "/instances", "").datasets(), "/instances")
	}
	whole := all()
	for _, c := range []struct {
		uids archive.UIDs
		want string
		gone []string
	}{
		{archive.UIDs{Study: "1.10", Series: "1.10.1", Instance: "1.10.1.1"},
			"1.11 1.10 1.12 1.13 | 1.11.1 1.10.1 1.10.2 1.12.1 1.13.1 | 1.11.1.1 1.10.1.2 1.10.2.1 1.12.1.1 1.13.1.1", nil},
		{archive.UIDs{Study: "1.10", Series: "1.10.1"},
			"1.11 1.10 1.12 1.13 | 1.11.1 1.10.2 1.12.1 1.13.1 | 1.11.1.1 1.10.2.1 1.12.1.1 1.13.1.1",
			[]string{"/studies/1.10/series/1.10.1", "/studies/1.10/series/1.10.1/metadata", "/studies/1.10/series/1.10.1/instances/1.10.1.2/frames/1",
				"/studies/1.10/series/1.10.1/instances/1.10.1.2/bulkdata/7FE00010"}},
		{archive.UIDs{Study: "1.10"}, "1.11 1.12 1.13 | 1.11.1 1.12.1 1.13.1 | 1.11.1.1 1.12.1.1 1.13.1.1",
			[]string{"/studies/1.10", "/studies/1.10/metadata", "/studies/1.10/pixeldata", "/studies/1.10/series/1.10.2"}},
	} {
		path := "/studies/" + c.uids.Study
		if c.uids.Series != "" {
			path += "/series/" + c.uids.Series
		}
		if c.uids.Instance != "" {
			path += "/instances/" + c.uids.Instance
		}
		last := w.changes(t, "?order=newest&limit=1").Last
		w.do(t, "DELETE", path, nil).is(204)
		w.do(t, "DELETE", path, nil).problem(404)
		w.get(t, path, partsStored).problem(404)
		if got := all(); got != c.want {
			t.Errorf("after deleting %s:\n%s, want\n%s", path, got, c.want)
		}
		for _, p := range c.gone {
			w.get(t, p, "*/*; transfer-syntax=*").problem(404)
		}
		feed := w.changes(t, "?action=delete")
		if n := len(feed.Changes); n == 0 || feed.Last <= last {
			t.Errorf("%d changes, last %d after %d", n, feed.Last, last)
		} else if feed.Changes[n-1].StudyInstanceUID != "1.10" {
			t.Errorf("%+v", feed.Changes[n-1])
		}
	}
	study := w.get(t, "/studies?PatientID=PHAN-01", "").is(200)
	if len(study.datasets()) != 0 {
		t.Error("the deleted study is found by its patient")
	}
	if n, err := w.node.Remove.Undelete(t.Context(), w.node.Tenant, archive.UIDs{Study: "1.10"}); err != nil || n != 3 {
		t.Errorf("undeleted %d: %v", n, err)
	}
	if got := all(); got != whole {
		t.Errorf("after undeleting:\n%s, want\n%s", got, whole)
	}
	w.get(t, "/studies/1.10", partsStored).is(200)
}

// TestDeletedComesBack: what was deleted and is sent again is shown again, and
// counts follow.
func TestDeletedComesBack(t *testing.T) {
	t.Parallel()
	w := open(t)
	one, two := image("1.2", "1.2.1", "1.2.1.1"), image("1.2", "1.2.1", "1.2.1.2", el{0x00080060, "CS", "MR"})
	w.post(t, one, two).is(200)
	w.do(t, "DELETE", "/studies/1.2/series/1.2.1/instances/1.2.1.1", nil).is(204)
	d := w.get(t, "/studies", "").datasets()[0]
	if d.text("00201208") != "1" {
		t.Errorf("%s instances", d.text("00201208"))
	}
	w.post(t, one).is(200)
	w.get(t, "/studies/1.2/series/1.2.1/instances/1.2.1.1", partsStored).is(200)
	if d = w.get(t, "/studies", "").datasets()[0]; d.text("00201208") != "2" {
		t.Errorf("%s instances", d.text("00201208"))
	}
}

// TestChanges pages through the feed without missing or repeating anything.
func TestChanges(t *testing.T) {
	t.Parallel()
	w := open(t)
	sample(t, w)
	w.do(t, "DELETE", "/studies/1.11", nil).is(204)
	w.post(t, image("1.20", "1.20.1", "1.20.1.1")).is(200)
	var got []change
	for after := int64(0); ; {
		page := w.get(t, "/changes?limit=3&after="+jsonNumber(after), "")
		var c changes
		if err := json.Unmarshal(page.is(200).Body, &c); err != nil {
			t.Fatal(err)
		}
		for _, x := range c.Changes {
			if x.Sequence <= after {
				t.Fatalf("sequence %d after %d", x.Sequence, after)
			}
			after = x.Sequence
			got = append(got, x)
		}
		if !c.More {
			break
		}
	}
	if len(got) != 8 || got[6].Action != "delete" || got[6].SOPInstanceUID != "1.11.1.1" || got[7].Action != "create" || got[7].SOPInstanceUID != "1.20.1.1" {
		t.Errorf("%d changes: %+v", len(got), got)
	}
	if c := w.changes(t, "?action=create"); len(c.Changes) != 7 {
		t.Errorf("%d creates", len(c.Changes))
	}
	if c := w.changes(t, "?order=newest&limit=1"); len(c.Changes) != 1 || c.Changes[0].SOPInstanceUID != "1.20.1.1" {
		t.Errorf("newest: %+v", c)
	}
	if c := w.changes(t, "?to=2001-01-01T00:00:00Z"); len(c.Changes) != 0 {
		t.Errorf("%d changes of another century", len(c.Changes))
	}
	w.get(t, got[7].RetrieveURL, partsStored).is(200)
	w.get(t, "/changes?after=x", "").problem(400)
}

func jsonNumber(n int64) string {
	b, _ := json.Marshal(n)
	return string(b)
}
