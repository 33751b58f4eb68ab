//go:build linux

package hostile

import (
	"bytes"
	"cmp"
	"encoding/json"
	"flag"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

var every = flag.Int("hostile.every", 6, "ask for everything of every so manieth specimen, for some of the others; 1 also takes every real file there is")

// What an answer may cost. The machine may be slow: how long answers take is
// logged, and measured by the storm.
const (
	maxTook = 60 * time.Second
	maxGrew = 256 << 20
)

// request is something to ask for.
type request struct {
	path, accept string
	// pixels says that an answer has to be made of decoded pixels of frame 1,
	// coded that it has to be if they are coded.
	pixels, coded bool
	// stream says that the answer is made while it is sent, so that it may break off.
	stream bool
	// core says that it is asked of every specimen, not of some.
	core bool
}

// requests are all that may be asked of an instance.
func requests(u uids) []request {
	i := u.path()
	list := []request{
		{path: i + "/metadata", accept: "application/dicom+json"},
		{path: i + "/bulkdata", accept: "*/*; transfer-syntax=*"}, {path: i + "/pixeldata", accept: "*/*; transfer-syntax=*"},
		{path: i + "/frames/1", accept: "*/*; transfer-syntax=*"},
		{path: i + "/frames/1", accept: `multipart/related; type="application/octet-stream"`, coded: true, core: true},
		{path: i + "/frames/1,2", accept: `multipart/related; type="application/octet-stream"`, stream: true},
		{path: i + "/frames/4000000000", accept: "*/*; transfer-syntax=*"},
		{path: i + "/frames/2147483647", accept: "*/*; transfer-syntax=*"},
		{path: i + "/frames/1/rendered", accept: "image/png", pixels: true, core: true},
		{path: i + "/frames/2147483647/rendered", accept: "image/png"},
		{path: i + "/rendered", accept: "image/jpeg"}, {path: i + "/rendered", accept: "image/gif", stream: true, core: true}, {path: i + "/rendered", accept: "*/*"},
		{path: i + "/rendered?window=40,400,linear-exact&viewport=100,100,0,0,5,-5&annotation=patient,technique&quality=1&iccprofile=yes", accept: "image/jpeg"},
		{path: i + "/rendered?viewport=65535,65535", accept: "image/png"},
		{path: i + "/rendered?window=1e308,1e-308,sigmoid&viewport=1,1,1e300,1e300,1e-300,1e300", accept: "image/png"},
		{path: i + "/thumbnail", accept: "image/jpeg", core: true}, {path: "/studies/" + u.Study + "/thumbnail", accept: "image/jpeg"},
		{path: "/studies/" + u.Study + "/rendered", accept: `multipart/related; type="image/jpeg"`, stream: true},
		{path: "/wado?requestType=WADO&studyUID=" + u.Study + "&seriesUID=" + u.Series + "&objectUID=" + u.Instance + "&contentType=image/jpeg&rows=300&windowCenter=1&windowWidth=1"},
	}
	for _, syntax := range []string{explicitLE, implicitLE, deflatedLE, rle, jpeg8, jpegSV1, jpegLS, j2kLL, htj2kLL, htj2kRPCL} {
		list = append(list, request{path: i, accept: `multipart/related; type="application/dicom"; transfer-syntax=` + syntax, stream: true, core: syntax == explicitLE || syntax == j2kLL})
	}
	for _, c := range [][2]string{{"image/jpeg", jpegSV1}, {"image/jls", jpegLS}, {"image/jp2", j2kLL}, {"image/jphc", htj2kLL}, {"image/dicom-rle", rle}} {
		list = append(list, request{path: i + "/frames/1", accept: `multipart/related; type="` + c[0] + `"; transfer-syntax=` + c[1]})
	}
	return list
}

// trial collects what was seen.
type trial struct {
	s        *server
	mu       sync.Mutex
	statuses map[int]int
	broken   int
	costly   []cost
	seen     int // specimens
}

type cost struct {
	what string
	took time.Duration
	work time.Duration // of processors, whatever else the machine does
	grew int64
}

func newTrial(s *server) *trial { return &trial{s: s, statuses: map[int]int{}} }

// check holds that an answer is one that may be given to what is hostile.
func (x *trial) check(t testing.TB, what string, a *answer, stream bool) {
	t.Helper()
	x.mu.Lock()
	x.statuses[a.status]++
	x.costly = append(x.costly, cost{what, a.took, a.work, a.grew})
	if a.broken != nil {
		x.broken++
	}
	x.mu.Unlock()
	switch {
	case a.status >= 500:
		t.Errorf("%s: %d %.300s", what, a.status, a.body)
	case a.status >= 400:
		var p struct{ Detail string }
		if !strings.HasPrefix(a.header.Get("Content-Type"), "application/problem+json") && !strings.HasPrefix(a.header.Get("Content-Type"), "application/dicom+json") {
			t.Errorf("%s: %d without a problem document: %s %.200s", what, a.status, a.header.Get("Content-Type"), a.body)
		} else if err := json.Unmarshal(a.body, &p); err != nil {
			t.Errorf("%s: %v", what, err)
		}
	case a.broken != nil && !stream:
		t.Errorf("%s: the answer breaks off: %v", what, a.broken)
	}
	if a.took > maxTook {
		t.Errorf("%s took %v", what, a.took)
	}
	if a.grew > maxGrew {
		t.Errorf("%s took %d MB", what, a.grew>>20)
	}
}

// summary logs what was seen, and what cost most.
func (x *trial) summary(t testing.TB) {
	t.Helper()
	n := 0
	for _, k := range x.statuses {
		n += k
	}
	t.Logf("%d answers by status: %v; %d broke off", n, x.statuses, x.broken)
	for _, by := range []func(a, b cost) int{
		func(a, b cost) int { return cmp.Compare(b.took, a.took) },
		func(a, b cost) int { return cmp.Compare(b.work, a.work) },
		func(a, b cost) int { return cmp.Compare(b.grew, a.grew) },
	} {
		slices.SortFunc(x.costly, by)
		for _, c := range x.costly[:min(8, len(x.costly))] {
			t.Logf("%7.2f s, %7.2f s of work, %5d MB: %s", c.took.Seconds(), c.work.Seconds(), c.grew>>20, c.what)
		}
	}
}

// put stores a file and reports whether the server has it now. An instance of
// these UIDs must not be there yet.
func (x *trial) put(t testing.TB, name string, u uids, file []byte) bool {
	t.Helper()
	a := x.s.store(t, file)
	x.check(t, "storing "+name, a, false)
	if a.status != http.StatusOK && a.status != http.StatusAccepted {
		return false
	}
	got := x.s.get(t, u.path(), `multipart/related; type="application/dicom"; transfer-syntax=*`)
	if got.status != http.StatusOK || got.broken == nil && len(got.body) < 60<<20 && !bytes.Contains(got.body, file) {
		t.Errorf("%s: what was stored does not come back: %d", name, got.status)
	}
	return true
}

// everything asks for all there is; of most specimens only the core of it.
func (x *trial) everything(t testing.TB, name string, u uids, file []byte, refused bool) {
	t.Helper()
	native := bytes.Contains(file[:min(len(file), 400)], encode(el{0x00020010, "UI", explicitLE})) || bytes.Contains(file[:min(len(file), 400)], encode(el{0x00020010, "UI", deflatedLE}))
	x.seen++
	for _, r := range requests(u) {
		if !r.core && x.seen%*every != 0 {
			continue
		}
		what := name + ": GET " + strings.TrimPrefix(r.path, u.path()) + " as " + r.accept
		a, err := x.s.watched("GET", r.path, "", r.accept, nil, false)
		if err != nil {
			t.Errorf("%s: %v", what, err)
			continue
		}
		x.check(t, what, a, r.stream)
		if refused && (r.pixels || r.coded && !native) && a.status < 400 {
			t.Errorf("%s: %d %s with %d bytes", what, a.status, a.header.Get("Content-Type"), a.size)
		}
	}
}

// TestCorpus stores what was made to do harm, and asks for everything.
func TestCorpus(t *testing.T) {
	s := start(t)
	x := newTrial(s)
	w := newWitness(t, s)
	stored, all := 0, corpus()
	for i, c := range all {
		if only := os.Getenv("STRATA_HOSTILE_ONLY"); only != "" && !strings.Contains(c.name, only) || testing.Short() && i%10 != 0 {
			continue
		}
		u := numbered(i + 1)
		if file := c.file(u); x.put(t, c.name, u, file) {
			stored++
			x.everything(t, c.name, u, file, c.refused)
		}
	}
	t.Logf("%d of %d specimens were stored", stored, len(all))
	x.summary(t)
	w.unharmed(t)
}

// witness knows what the server was like before.
type witness struct {
	s      *server
	before condition
	good   []sample
}

// sample is a request whose answer must stay what it is.
type sample struct {
	path, accept string
	body         []byte
}

func newWitness(t testing.TB, s *server) *witness {
	t.Helper()
	w := &witness{s: s}
	for i, f := range goodFiles(t) {
		u := numbered(100_000 + i)
		if a := s.store(t, readdress(t, f, u)); a.status != http.StatusOK {
			t.Fatalf("storing a good file: %d %.300s", a.status, a.body)
		}
		for _, r := range []sample{{u.path() + "/rendered", "image/png", nil}, {u.path() + "/frames/1", "application/octet-stream; transfer-syntax=" + explicitLE, nil}, {u.path() + "/metadata", "application/dicom+json", nil}} {
			a := s.get(t, r.path, r.accept)
			if a.status != http.StatusOK {
				t.Fatalf("a good file before anything happened: %s %d %.300s", r.path, a.status, a.body)
			}
			r.body = a.body
			w.good = append(w.good, r)
		}
	}
	w.before = s.state(t)
	return w
}

// unharmed holds that the server is as it was.
func (w *witness) unharmed(t testing.TB) {
	t.Helper()
	for _, r := range w.good {
		if a := w.s.get(t, r.path, r.accept); a.status != http.StatusOK || !bytes.Equal(a.body, r.body) {
			t.Errorf("afterwards %s is %d with %d bytes instead of %d", r.path, a.status, len(a.body), len(r.body))
		}
	}
	w.s.http.CloseIdleConnections()
	var now condition
	for range 50 { // what is ending may take a moment
		if now = w.s.state(t); now.Goroutines <= w.before.Goroutines+4 {
			break
		}
		time.Sleep(200 * time.Millisecond)
	}
	if now.Goroutines > w.before.Goroutines+4 {
		t.Errorf("%d goroutines instead of %d:\n%.6000s", now.Goroutines, w.before.Goroutines, now.Stacks)
	}
	if n := len(family(w.s.pid)) - 1; n > 8 {
		t.Errorf("%d processes below the server", n)
	}
	b, err := os.ReadFile(w.s.log)
	if err != nil {
		t.Fatal(err)
	}
	for _, bad := range []string{"panic", "goroutine ", "runtime error", "fatal error"} {
		if i := bytes.Index(b, []byte(bad)); i >= 0 {
			t.Errorf("the log has %q: %.1500s", bad, b[max(0, i-300):])
		}
	}
	t.Logf("goroutines: %d before, %d after; processes below the server: %d", w.before.Goroutines, now.Goroutines, len(family(w.s.pid))-1)
}
