package dicomweb

import (
	"bytes"
	"errors"
	"io"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/strata-pacs/strata/internal/dicom"
)

// FuzzWADO: whatever a client writes into a Range, a list of frames or an Accept
// header, what comes out of it lies within what there is.
func FuzzWADO(f *testing.F) {
	for _, s := range []string{"bytes=0-1", "bytes=-5", "bytes=5-", "bytes=9223372036854775807-", "1,2,3", "0", "1,,2",
		`multipart/related; type="application/dicom"; transfer-syntax=*`, "*/*;q=0.1", "image/*"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, v string) {
		const size = 1000
		if off, n, ok, satisfiable := parseRange(v, size); ok && satisfiable && (off < 0 || n <= 0 || off+n > size) {
			t.Errorf("range %q is %d+%d", v, off, n)
		}
		if list, err := frameNumbers(v); err == nil {
			for _, n := range list {
				if n < 1 {
					t.Errorf("frames %q: %d", v, n)
				}
			}
		}
		r := httptest.NewRequest("GET", "/", nil)
		r.Header.Set("Accept", v)
		accept := wants(ParseAccept(r), true)
		for _, stored := range []string{dicom.ExplicitVRBigEndian, dicom.RLELossless} {
			for i, f := range accept.files(stored) {
				if f.syntax == "" || f.syntax == "*" || f.stored != (f.syntax == stored) || f.q <= 0 || i > 2*maxRanges {
					t.Errorf("%q: %s becomes %+v", v, stored, f)
				}
			}
			for _, f := range accept.pixels(dicom.Syntax(stored).MediaType, stored) {
				if f.mediaType != dicom.Syntax(f.syntax).MediaType || f.syntax != stored && !frameSyntax(f.syntax) || f.q <= 0 {
					t.Errorf("%q: frames of %s become %+v", v, stored, f)
				}
			}
		}
	})
}

// TestSender: what is written comes out in order, and what fails is told to the writer.
func TestSender(t *testing.T) {
	text := []byte(strings.Repeat("0123456789abcdef", 200_000))
	var w bytes.Buffer
	begun := 0
	s := newSender(&w, func() { begun++ })
	for p := text; len(p) > 0; {
		n := min(len(p), 70_001)
		if len(p)%2 == 0 {
			if k, err := s.FillFrom(io.MultiReader(bytes.NewReader(p[:n/2]), bytes.NewReader(p[n/2:n]))); err != nil || k != int64(n) {
				t.Fatal(k, err)
			}
		} else if k, err := s.Write(p[:n]); err != nil || k != n {
			t.Fatal(k, err)
		}
		p = p[n:]
	}
	if err := s.close(nil); err != nil || !bytes.Equal(w.Bytes(), text) || begun != 1 {
		t.Errorf("%v, %d bytes, begun %d times", err, w.Len(), begun)
	}

	gone := errors.New("gone")
	s = newSender(failingWriter{gone}, func() {})
	var err error
	for range 100 {
		if _, err = s.Write(text[:100_000]); err != nil {
			break
		}
	}
	if !errors.Is(err, gone) {
		t.Errorf("a failed answer goes on: %v", err)
	}
	if err := s.close(err); !errors.Is(err, gone) {
		t.Error(err)
	}

	begun = 0
	w.Reset()
	s = newSender(&w, func() { begun++ })
	if _, err := s.Write(text[:10]); err != nil {
		t.Fatal(err)
	}
	if err := s.close(gone); !errors.Is(err, gone) || w.Len() > 0 || begun > 0 {
		t.Errorf("%v, %d bytes sent", err, w.Len())
	}
}

type failingWriter struct{ err error }

func (f failingWriter) Write([]byte) (int, error) { return 0, f.err }

// TestWADOAtOnce: viewers ask for many frames at the same time.
func TestWADOAtOnce(t *testing.T) {
	s := newWADO(t, nativeFile, jpegFile)
	var wg sync.WaitGroup
	for range 8 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for n := range 20 {
				a := s.get(path(nativeUIDs)+"/frames/"+string(rune('1'+n%3)), "application/octet-stream")
				if !bytes.Equal(a.body, nativePix[n%3*128:(n%3+1)*128]) {
					t.Error("another frame")
				}
				if a := s.get(study+"/metadata", typeJSON); a.StatusCode != 200 {
					t.Errorf("metadata: %d", a.StatusCode)
				}
			}
		}()
	}
	wg.Wait()
}
