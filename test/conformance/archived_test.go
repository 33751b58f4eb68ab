package conformance

import (
	"bytes"
	"encoding/json"
	jpegimage "image/jpeg"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/strata-pacs/strata/internal/pixel/sandbox"
)

// TestArchived is a hospital whose studies lie in an archive, as those see it who ask for them.
func TestArchived(t *testing.T) {
	t.Parallel()
	c := newCold(t)
	c.fill()
	hot := c.describe()
	etags := map[string]string{}
	for path := range c.files {
		etags[path] = c.get(t, path, "application/dicom; transfer-syntax=*").is(200).Header.Get("Etag")
	}
	c.freeze()
	c.restart() // what was in memory answers nothing
	before := c.requests()

	// What describes the studies answers as it did, but for their availability.
	for what, text := range c.describe() {
		if want := strings.ReplaceAll(hot[what], "ONLINE", "NEARLINE"); text != want || strings.HasPrefix(what, "/studies?") && !strings.Contains(text, "NEARLINE") {
			t.Errorf("%s: now\n%.400s\nwas\n%.400s", what, text, hot[what])
		}
	}
	pictures := c.thumbnails()
	if pictures < 5 {
		t.Errorf("only %d thumbnails", pictures)
	}
	for path, etag := range etags {
		c.do(t, "GET", path, nil, "Accept", "application/dicom; transfer-syntax=*", "If-None-Match", etag).is(304)
		c.do(t, "HEAD", path, nil, "Accept", "application/dicom; transfer-syntax=*").is(503)
	}
	if n := c.requests() - before; n != 0 {
		t.Errorf("the archive was asked %d times for what is known without", n)
	}

	// Many viewers, one restore. Each study is of one pack here.
	study := c.studies[0]
	first := c.crowd(study)
	if first.Objects != 1 || first.Priority != "standard" || first.ObjectsReady != 0 {
		t.Errorf("%+v", first)
	}
	c.store.Faults.Await(t, "restore", 1)
	done := c.wait(first.Href)
	if done.ObjectsReady != 1 || done.Until.Sub(c.clock.Now()) < 6*24*time.Hour {
		t.Errorf("%+v", done)
	}
	c.same(study)
	c.available(study, "ONLINE")
	c.available(c.studies[1], "NEARLINE")
	if n := c.store.Faults.Count("restore"); n != 1 {
		t.Errorf("the archive was asked to restore one object %d times", n)
	}

	t.Run("preferences", func(t *testing.T) { c.preferences(t, c.studies[1], c.studies[2]) })
	t.Run("revoked", func(t *testing.T) { c.revoked(t, c.studies[3]) })

	// Back in the archive when its time is over, and asked for again.
	puts := c.store.Faults.Count("put")
	c.clock.Advance(9 * 24 * time.Hour)
	if r := c.look(first.Href); r.State != "expired" {
		t.Errorf("%+v", r)
	}
	c.available(study, "NEARLINE")
	again := c.archived(c.get(t, study, partsStored))
	if again.Href == first.Href {
		t.Error("what is expired is not asked for again")
	}
	c.wait(again.Href)
	c.same(study)
	if n := c.store.Faults.Count("put") - puts; n != 0 {
		t.Errorf("%d uploads for what was in the archive", n)
	}
}

// describe asks for all that describes studies: searches at three levels, metadata.
func (c *cold) describe() map[string]string {
	c.t.Helper()
	out := map[string]string{}
	for _, path := range []string{"/studies?includefield=all", "/series?includefield=all&limit=1000", "/instances?limit=1000", "/studies?ModalitiesInStudy=CT&limit=1"} {
		out[path] = string(c.get(c.t, path, typeJSON).is(200).Body)
	}
	for _, path := range append(c.series, c.studies...) {
		out[path+"/metadata"] = string(c.get(c.t, path+"/metadata", typeJSON).is(200).Body)
	}
	return out
}

// thumbnails asks for those of all studies and series, and counts them: where nothing can be drawn there is none.
func (c *cold) thumbnails() (pictures int) {
	c.t.Helper()
	for _, path := range append(c.series, c.studies...) {
		a := c.get(c.t, path+"/thumbnail", "image/jpeg")
		if a.Status == 406 || a.Status == 503 && !sandbox.Available() {
			continue
		}
		a.is(200)
		if _, err := jpegimage.Decode(bytes.NewReader(a.Body)); err != nil {
			c.t.Errorf("%s: %v", a.what, err)
		}
		pictures++
	}
	return pictures
}

// available holds the three levels of a search to the availability of a study.
func (c *cold) available(study, want string) {
	c.t.Helper()
	uid := strings.TrimPrefix(study, "/studies/")
	for _, path := range []string{"/studies?StudyInstanceUID=" + uid, study + "/series", study + "/instances"} {
		list := c.get(c.t, path, typeJSON).is(200).datasets()
		for _, d := range list {
			if got := d.text("00080056"); got != want {
				c.t.Errorf("%s: %s, want %s", path, got, want)
			}
		}
		if len(list) == 0 {
			c.t.Errorf("%s: nothing", path)
		}
	}
}

// crowd has a hundred viewers ask for the pixels of a study in every way, of whom all learn of one restore.
func (c *cold) crowd(study string) (first restore) {
	c.t.Helper()
	instance := c.of(study)[0]
	ways := [][2]string{{study, partsStored}, {instance, partsStored}, {instance, "application/dicom; transfer-syntax=*"}, {instance + "/frames/1", framesStored},
		{instance + "/frames/1", "multipart/related; type=application/octet-stream; transfer-syntax=*"}, {instance + "/rendered", "image/jpeg"},
		{instance + "/bulkdata/7FE00010", framesStored}, {study + "/rendered", "image/png"}, {instance[:strings.Index(instance, "/instances/")], partsStored}}
	const viewers = 100
	answers := make([]*answer, viewers)
	var wg sync.WaitGroup
	for i := range viewers {
		wg.Go(func() { answers[i] = c.get(c.t, ways[i%len(ways)][0], ways[i%len(ways)][1]) })
	}
	wg.Wait()
	for i, a := range answers {
		r := c.archived(a)
		if i == 0 {
			first = r
		}
		if r.Href != first.Href {
			c.t.Errorf("%s: another restore, %s", a.what, r.Href)
		}
	}
	return first
}

// preferences: who cannot wait gets 202, who can gets the pixels.
func (c *cold) preferences(t *testing.T, one, two string) {
	a := c.do(t, "GET", one, nil, "Accept", partsStored, "Prefer", "respond-async").is(202)
	if a.Header.Get("Preference-Applied") != "respond-async" || a.Header.Get("Retry-After") == "" || mediaType(a.Header) != "application/json" {
		t.Errorf("%v", a.Header)
	}
	href := a.Header.Get("Location")
	c.wait(href)
	c.same(one)

	// Not in time; the restore goes on.
	asked := time.Now()
	r := c.archived(c.do(t, "GET", two, nil, "Accept", partsStored, "Prefer", "wait=1"))
	if waited := time.Since(asked); waited < time.Second {
		t.Errorf("waited %s", waited)
	}
	got := make(chan *answer, 1)
	go func() { got <- c.do(t, "GET", two, nil, "Accept", partsStored, "Prefer", "respond-async, wait=60") }()
	if done := c.wait(r.Href); done.ObjectsReady != done.Objects {
		t.Errorf("%+v", done)
	}
	if a := <-got; len(a.is(200).parts()) != len(c.of(two)) || a.Header.Get("Preference-Applied") != "wait=60" {
		t.Errorf("%v", a.Header)
	}
	c.same(two)
}

// revoked: the key is taken away while a restore is under way and somebody waits for it.
func (c *cold) revoked(t *testing.T, study string) {
	r := c.archived(c.get(t, study, partsStored))
	got := make(chan *answer, 1)
	go func() { got <- c.do(t, "GET", study, nil, "Accept", partsStored, "Prefer", "wait=60") }()
	time.Sleep(100 * time.Millisecond) // it may wait by now; either way it must learn of this
	var keys json.RawMessage
	c.call("POST", "/keys/revoke", `{"confirm": "default"}`, &keys)
	if a := <-got; a.Status != 403 {
		t.Errorf("who waited got %d %s", a.Status, a.Body)
	}
	for _, path := range []string{study, study + "/metadata", study + "/thumbnail", r.Href} {
		if a := c.get(t, path, ""); !strings.Contains(string(a.problem(403).Body), "key-revoked") {
			t.Errorf("%s: %s", path, a.Body)
		}
	}
	c.clock.Advance(2 * 24 * time.Hour)
	c.call("POST", "/keys/grant", `{}`, &keys)
	c.wait(r.Href)
	c.same(study)
}
