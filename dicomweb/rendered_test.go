package dicomweb

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"reflect"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/internal/pixel/render"
	"github.com/strata-pacs/strata/internal/retrieve/retrievetest"
)

// newSeen reads the instances of these tests, all in series 1.2.1: three images, the
// second of which is damaged, a report, a PDF, a video, and something invisible.
func newSeen() *fakePixels {
	return &fakePixels{
		renders: map[string][]string{"1.2.1.4": {typeHTML}, "1.2.1.5": {typePDF}, "1.2.1.6": {"video/mp4", "video/mp2t"}, "1.2.1.7": nil},
		fails:   map[string]error{"1.2.1.2": fault.New(fault.NotAcceptable, "the pixels are damaged")},
	}
}

func seenFiles(numbers ...int) (files [][]byte) {
	for _, n := range numbers {
		files = append(files, retrievetest.Part10(retrievetest.Image{UIDs: at(n), Rows: 8, Columns: 16, Frames: 3}))
	}
	return files
}

func at(n int) archive.UIDs {
	return archive.UIDs{Study: "1.2", Series: "1.2.1", Instance: "1.2.1." + strconv.Itoa(n)}
}

// TestRenderedOne: what of one instance is given as, by Accept.
func TestRenderedOne(t *testing.T) {
	f := newSeen()
	s := newPixels(t, f, seenFiles(1, 2, 4, 5, 6, 7)...)
	for _, c := range []struct {
		path, accept string
		status       int
		contentType  string
		body         string
	}{
		{path(at(1)) + "/rendered", "", 200, "image/jpeg", "image/jpeg of 1.2.1.1"},
		{path(at(1)) + "/rendered", "*/*", 200, "image/jpeg", "image/jpeg of 1.2.1.1"},
		{path(at(1)) + "/rendered", "image/*", 200, "image/jpeg", "image/jpeg of 1.2.1.1"},
		{path(at(1)) + "/rendered", "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8", 200, "image/jpeg", ""}, // a browser
		{path(at(1)) + "/rendered", "image/png", 200, "image/png", "image/png of 1.2.1.1"},
		{path(at(1)) + "/rendered", "image/gif, image/png;q=0.5", 200, "image/gif", ""},
		{path(at(1)) + "/rendered", "image/png;q=0.4, image/jpeg;q=0.3", 200, "image/png", ""},
		{path(at(1)) + "/rendered", "image/jpeg;q=0, image/*", 200, "image/png", ""},
		{path(at(1)) + "/rendered?accept=image/png", "image/jpeg", 200, "image/png", ""},
		{path(at(1)) + "/rendered", "image/webp", 406, "", "image/jpeg, image/png, image/gif"},
		{path(at(1)) + "/rendered", "application/dicom", 406, "", ""},
		{path(at(2)) + "/rendered", "", 406, "", "the pixels are damaged"},
		{path(at(4)) + "/rendered", "", 200, "text/html; charset=utf-8", "<p>{base}/studies"},
		{path(at(4)) + "/rendered", "image/jpeg", 406, "", "rendered as text/html"},
		{path(at(5)) + "/rendered", "text/html, application/pdf", 200, "application/pdf", "application/pdf of 1.2.1.5"},
		{path(at(6)) + "/rendered", "video/*", 200, "video/mp4", ""},
		{path(at(7)) + "/rendered", "", 406, "", "nothing here that could be shown"},
		{path(at(9)) + "/rendered", "", 404, "", ""},
		{path(at(1)) + "/frames/2/rendered", "", 200, "image/jpeg", "image/jpeg of 1.2.1.1 2"},
		{path(at(1)) + "/frames/2/rendered", "image/gif", 200, "image/gif", "image/gif of 1.2.1.1 2"},
		{path(at(1)) + "/frames/1,3/rendered", "image/gif", 200, "image/gif", "image/gif of 1.2.1.1 1 3"},
		{path(at(1)) + "/frames/4/rendered", "", 404, "", ""},
		{path(at(1)) + "/frames/0/rendered", "", 400, "", ""},
		{path(at(1)) + "/frames/x/rendered", "", 400, "", ""},
		{path(at(1)) + "/frames/1/2/rendered", "", 404, "", ""},
		{path(at(2)) + "/frames/1/rendered", "", 406, "", "damaged"},
		{path(at(7)) + "/frames/1/rendered", "", 406, "", "nothing here"},
	} {
		t.Run(c.path+" "+c.accept, func(t *testing.T) {
			a := s.get(c.path, c.accept)
			want := strings.ReplaceAll(c.body, "{base}", s.URL+Root)
			if a.StatusCode != c.status {
				t.Fatalf("%d %s", a.StatusCode, a.body)
			}
			if c.status != 200 {
				if d := problemText(t, a); !strings.Contains(d, want) {
					t.Errorf("%s", d)
				}
				return
			}
			h := a.Header
			if h.Get("Content-Type") != c.contentType || want != "" && string(a.body) != want {
				t.Errorf("%s %s", h.Get("Content-Type"), a.body)
			}
			if h.Get("Vary") != "Accept" || h.Get("ETag") == "" || !strings.HasPrefix(h.Get("Cache-Control"), "private") || h.Get("X-Content-Type-Options") != "nosniff" ||
				!strings.HasPrefix(h.Get("Content-Security-Policy"), "default-src 'none'") || c.contentType != typePDF && !strings.Contains(h.Get("Content-Security-Policy"), "sandbox") {
				t.Errorf("header %v", h)
			}
			before := f.calls.Load()
			if n := s.get(c.path, c.accept, "If-None-Match", h.Get("ETag")); n.StatusCode != 304 {
				t.Errorf("If-None-Match: %d", n.StatusCode)
			}
			if x := s.do("HEAD", c.path, c.accept); x.StatusCode != 200 || x.Header.Get("ETag") != h.Get("ETag") || x.Header.Get("Content-Type") != c.contentType {
				t.Errorf("HEAD: %d %v", x.StatusCode, x.Header)
			}
			if strings.HasPrefix(c.contentType, "image/") && f.calls.Load() != before {
				t.Error("a picture was made for nothing")
			}
		})
	}
	// What is stored as it is shown can be had in pieces.
	a := s.get(path(at(6))+"/rendered", "", "Range", "bytes=0-4")
	if a.StatusCode != 206 || string(a.body) != "video" || strings.HasPrefix(a.Header.Get("ETag"), "W/") {
		t.Errorf("%d %s", a.StatusCode, a.body)
	}
	f.otherType = "video/mp2t"
	if a := s.get(path(at(6))+"/rendered", "video/mp4"); a.StatusCode != 406 || !strings.Contains(problemText(t, a), "video/mp2t") {
		t.Errorf("%d %s", a.StatusCode, a.body)
	}
}

// TestRenderedMany: of several things each is a part; what cannot be seen is told of.
func TestRenderedMany(t *testing.T) {
	f := newSeen()
	s := newPixels(t, f, seenFiles(1, 2, 3, 4, 5, 6, 7)...)
	a := s.get("/studies/1.2/rendered", "")
	ps := a.parts(t)
	if a.StatusCode != 206 || !strings.Contains(a.Header.Get("Warning"), "some instances") || len(ps) != 6 {
		t.Fatalf("%d, %d parts, %v", a.StatusCode, len(ps), a.Header)
	}
	for i, want := range []string{"image/jpeg", "application/problem+json", "image/jpeg", "text/html; charset=utf-8", "application/pdf", "video/mp4"} {
		if ps[i].contentType != want || ps[i].location != s.URL+Root+path(at(i+1))+"/rendered" {
			t.Errorf("part %d is %s at %s", i+1, ps[i].contentType, ps[i].location)
		}
	}
	if !bytes.Contains(ps[1].body, []byte("the pixels are damaged")) || string(ps[2].body) != "image/jpeg of 1.2.1.3" {
		t.Errorf("%s %s", ps[1].body, ps[2].body)
	}
	for _, accept := range []string{"image/png", `multipart/related; type="image/png"`, "image/png, application/dicom"} {
		a = s.get("/studies/1.2/series/1.2.1/rendered", accept)
		if ps = a.parts(t); a.StatusCode != 206 || len(ps) != 3 || ps[0].contentType != "image/png" || !strings.Contains(a.Header.Get("Content-Type"), `type="image/png"`) {
			t.Errorf("%s: %d, %d parts", accept, a.StatusCode, len(ps))
		}
	}
	etag := a.Header.Get("ETag")
	if n := s.get("/studies/1.2/series/1.2.1/rendered", "image/png", "If-None-Match", etag); n.StatusCode != 304 || !strings.HasPrefix(etag, "W/") {
		t.Errorf("%s: %d", etag, n.StatusCode)
	}
	before := f.calls.Load()
	if h := s.do("HEAD", "/studies/1.2/rendered", ""); h.StatusCode != 206 || f.calls.Load() != before {
		t.Errorf("HEAD: %d", h.StatusCode)
	}
	if a = s.get("/studies/1.2/rendered", "audio/mpeg"); a.StatusCode != 406 {
		t.Errorf("%d", a.StatusCode)
	}
	// Frames, in the order asked for.
	a = s.get(path(at(1))+"/frames/3,1/rendered", "image/jpeg")
	if ps = a.parts(t); a.StatusCode != 200 || len(ps) != 2 || string(ps[0].body) != "image/jpeg of 1.2.1.1 3" || ps[1].location != s.URL+Root+path(at(1))+"/frames/1/rendered" {
		t.Errorf("%d %v", a.StatusCode, ps)
	}
	a = s.get(path(at(1))+"/frames/2/rendered", `multipart/related; type="image/jpeg"`)
	if ps = a.parts(t); len(ps) != 1 || string(ps[0].body) != "image/jpeg of 1.2.1.1 2" {
		t.Errorf("%d %v", a.StatusCode, ps)
	}
	if a = s.get(path(at(1))+"/frames/1"+strings.Repeat(",1", maxRendered)+"/rendered", ""); a.StatusCode != 413 {
		t.Errorf("%d", a.StatusCode)
	}
	// Nothing can be seen: that is the answer.
	f.fails = map[string]error{"1.2.1.1": fault.New(fault.NotAcceptable, "too dark"), "1.2.1.2": fault.New(fault.NotAcceptable, "other"), "1.2.1.3": errCannot}
	if a = s.get("/studies/1.2/rendered", "image/jpeg"); a.StatusCode != 406 || problemText(t, a) != "too dark" {
		t.Errorf("%d %s", a.StatusCode, a.body)
	}
	// What is no matter of one instance ends the answer.
	f.fails["1.2.1.3"] = fault.New(fault.KeyDenied, "revoked")
	if a = s.get("/studies/1.2/rendered", "image/jpeg"); a.StatusCode != 403 {
		t.Errorf("%d %s", a.StatusCode, a.body)
	}
	delete(f.fails, "1.2.1.1")
	if resp, err := http.Get(s.URL + Root + "/studies/1.2/rendered?accept=image/jpeg"); err == nil {
		if body, err := io.ReadAll(resp.Body); err == nil {
			t.Errorf("%d %s", resp.StatusCode, body)
		}
		resp.Body.Close()
	}
}

// TestRenderedParameters: PS3.18 §8.3.5.1, and what is wrong with a value.
func TestRenderedParameters(t *testing.T) {
	var got render.Options
	f := &fakePixels{rendered: func(_ []int, o render.Options) { got = o }}
	s := newPixels(t, f, seenFiles(1)...)
	window := func(c, w float64, fn render.Function) *render.Window {
		return &render.Window{Center: c, Width: w, Function: fn}
	}
	for _, c := range []struct {
		query string
		want  render.Options
	}{
		{"", render.Options{}},
		{"unknown=1&x", render.Options{}},
		{"window=40,400,linear", render.Options{Window: window(40, 400, render.Linear)}},
		{"window=40%2C400", render.Options{Window: window(40, 400, render.Linear)}},
		{"window=-0.5,1e3,SIGMOID", render.Options{Window: window(-0.5, 1000, render.Sigmoid)}},
		{"window=40,0.5,linear-exact", render.Options{Window: window(40, 0.5, render.LinearExact)}},
		{"viewport=256,128", render.Options{Viewport: &render.Viewport{Width: 256, Height: 128}}},
		{"viewport=256,128,1,2,3.5,4", render.Options{Viewport: &render.Viewport{Width: 256, Height: 128, X: 1, Y: 2, W: 3.5, H: 4}}},
		{"viewport=256,128,,,-8,-8", render.Options{Viewport: &render.Viewport{Width: 256, Height: 128, W: -8, H: -8}}},
		{"quality=70", render.Options{Quality: 70}},
		{"annotation=patient,technique", render.Options{Patient: true, Technique: true}},
		{"annotation=technique", render.Options{Technique: true}},
		{"iccprofile=sRGB", render.Options{ICC: "srgb"}},
		{"quality=1&iccprofile=no&accept=image/jpeg", render.Options{Quality: 1, ICC: "no"}},
	} {
		got = render.Options{}
		a := s.get(path(at(1))+"/rendered?"+c.query, "")
		if a.StatusCode != 200 || !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: %d %+v %s", c.query, a.StatusCode, got, a.body)
		}
	}
	for _, q := range []string{"window=40", "window=a,b", "window=40,400,cubic", "window=40,0,linear", "window=NaN,1", "window=1,Inf", "window=0x10,9", "window=", "window=1,2,linear,3",
		"window=1,2&window=1,2", "viewport=256", "viewport=0,5", "viewport=-1,5", "viewport=256,128,1,2,3,4,5", "viewport=x,y", "viewport=1e3,5", "viewport=99999,99999", "viewport=8,8,-1,0",
		"viewport=8,8,0,0,0,0", "quality=0", "quality=101", "quality=9.5", "quality=", "annotation=", "annotation=name", "annotation=patient,", "iccprofile=cmyk", "quality=%zz", "%zz=1"} {
		if a := s.get(path(at(1))+"/rendered?"+q, ""); a.StatusCode != 400 || problemText(t, a) == "" {
			t.Errorf("%s: %d %s", q, a.StatusCode, a.body)
		}
		if a := s.get(path(at(1))+"/frames/1/rendered?"+q, ""); a.StatusCode != 400 {
			t.Errorf("%s: %d", q, a.StatusCode)
		}
	}
	// Every parameter makes another representation.
	tags := map[string]bool{}
	for _, q := range []string{"", "quality=50", "window=1,2", "viewport=9,9", "annotation=patient", "iccprofile=yes", "accept=image/png"} {
		tags[s.get(path(at(1))+"/rendered?"+q, "").Header.Get("ETag")] = true
	}
	if len(tags) != 7 {
		t.Errorf("%d entity tags", len(tags))
	}
}

func TestThumbnails(t *testing.T) {
	s := newPixels(t, &fakePixels{}, seenFiles(1)...)
	for _, c := range []struct {
		path, accept string
		status       int
		body         string
	}{
		{"/studies/1.2/thumbnail", "", 200, "1.2   0 0 0"},
		{"/studies/1.2/thumbnail?accept=image/jpeg", "text/html", 200, "1.2   0 0 0"}, // OHIF
		{"/studies/1.2/series/1.2.1/thumbnail?viewport=256,128", "image/*", 200, "1.2 1.2.1  0 256 128"},
		{path(at(1)) + "/thumbnail?viewport=64%2C64", "image/jpeg", 200, "1.2 1.2.1 1.2.1.1 0 64 64"},
		{path(at(1)) + "/frames/3/thumbnail", "*/*", 200, "1.2 1.2.1 1.2.1.1 3 0 0"},
		{"/studies/9/thumbnail", "", 404, ""},
		{"/studies/x/thumbnail", "", 400, ""},
		{path(at(1)) + "/frames/1,2/thumbnail", "", 400, ""},
		{path(at(1)) + "/frames/0/thumbnail", "", 400, ""},
		{"/studies/1.2/thumbnail?viewport=64", "", 400, ""},
		{"/studies/1.2/thumbnail?viewport=64,64,0,0,1,1", "", 400, ""},
		{"/studies/1.2/thumbnail?viewport=-1,64", "", 400, ""},
		{"/studies/1.2/thumbnail?viewport=", "", 400, ""},
		{"/studies/1.2/thumbnail?viewport=1,1&viewport=2,2", "", 400, ""},
		{"/studies/1.2/thumbnail?a=%zz", "", 400, ""},
		{"/studies/1.2/thumbnail", "image/png", 406, ""},
	} {
		a := s.get(c.path, c.accept)
		if a.StatusCode != c.status || c.body != "" && string(a.body) != c.body {
			t.Errorf("%s: %d %s", c.path, a.StatusCode, a.body)
		}
		if c.status != 200 {
			problemText(t, a)
			continue
		}
		h := a.Header
		if h.Get("Content-Type") != "image/jpeg" || h.Get("Cache-Control") != cachePixels || a.ContentLength != int64(len(c.body)) {
			t.Errorf("%s: %v", c.path, h)
		}
		if n := s.get(c.path, c.accept, "If-None-Match", h.Get("ETag")); n.StatusCode != 304 {
			t.Errorf("%s: %d", c.path, n.StatusCode)
		}
		if x := s.do("HEAD", c.path, c.accept); x.StatusCode != 200 || x.ContentLength != a.ContentLength {
			t.Errorf("HEAD %s: %d", c.path, x.StatusCode)
		}
	}
	a := s.get("/studies/1.2/thumbnail", `multipart/related; type="image/jpeg"`)
	if ps := a.parts(t); len(ps) != 1 || ps[0].contentType != "image/jpeg" || ps[0].location != s.URL+Root+"/studies/1.2/thumbnail" {
		t.Errorf("%v", ps)
	}
}

// TestInOrder: what is made at once comes in order; nothing goes on when the
// reader has gone, or when something failed for all.
func TestInOrder(t *testing.T) {
	items := make([]int, 500)
	for i := range items {
		items[i] = i
	}
	var made atomic.Int64
	do := func(_ context.Context, n int) (part, error) {
		made.Add(1)
		return part{location: strconv.Itoa(n)}, nil
	}
	next := 0
	for p, err := range inOrder(t.Context(), items, do) {
		if err != nil || p.location != strconv.Itoa(next) {
			t.Fatalf("%d: %s %v", next, p.location, err)
		}
		next++
	}
	if next != len(items) {
		t.Errorf("%d parts", next)
	}
	made.Store(0)
	for range inOrder(t.Context(), items, do) {
		break
	}
	if n := made.Load(); n > 100 {
		t.Errorf("%d were made for one", n)
	}
	broken := errors.New("broken")
	var last error
	next = 0
	for _, err := range inOrder(t.Context(), items, func(_ context.Context, n int) (part, error) {
		if n == 3 {
			return part{}, broken
		}
		return part{}, nil
	}) {
		next, last = next+1, err
	}
	if next != 4 || !errors.Is(last, broken) {
		t.Errorf("%d parts, %v", next, last)
	}
}

// TestCapabilitiesOfPixels: what there is to be seen is described.
func TestCapabilitiesOfPixels(t *testing.T) {
	s := newPixels(t, &fakePixels{})
	a := s.do("OPTIONS", "", "")
	for _, want := range []string{"RetrieveRenderedStudy", "RetrieveRenderedSeries", "RetrieveRenderedInstance", "RetrieveRenderedFrames", "RetrieveStudyThumbnail", "RetrieveFrameThumbnail",
		"image/jphc", "image/gif", "video/mp4", `name="viewport"`, `name="iccprofile"`} {
		if !bytes.Contains(a.body, []byte(want)) {
			t.Errorf("no %s", want)
		}
	}
	if a = s.do("OPTIONS", path(at(1))+"/frames/1/thumbnail", "application/json"); a.StatusCode != 200 || !bytes.Contains(a.body, []byte("RetrieveFrameThumbnail")) || bytes.Contains(a.body, []byte("RetrieveStudy")) {
		t.Errorf("%d %s", a.StatusCode, a.body)
	}
}
