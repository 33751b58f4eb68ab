//go:build linux

package crash

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"net/url"
	"sync"
	"testing"
)

// check holds the archive to what was acknowledged of the studies, and looks at
// some of them more closely. With exact, nothing is on its way and the rest must
// not be there; without, what was sent and not acknowledged may be.
func (w *world) check(t *testing.T, s *server, exact bool, studies, closely []*study) {
	t.Helper()
	listed, err := s.counts(t.Context())
	if err != nil {
		t.Fatalf("searching all studies: %v\n%s", err, s.tail())
	}
	var mu sync.Mutex
	found := map[*study]map[[sha256.Size]byte]bool{}
	parallel(studies, 4, func(st *study) {
		got, err := s.retrieve(t.Context(), "/studies/"+st.uid)
		if err != nil {
			t.Errorf("retrieving a study: %v\n%s", err, s.tail())
			return
		}
		if got.count != len(got.sums) {
			t.Errorf("a study comes with %d instances, %d of them different", got.count, len(got.sums))
		}
		known := 0
		for _, o := range st.objects {
			there := got.sums[o.sum]
			if there {
				known++
			}
			switch want := o.acked && !o.deleted && !st.deleted; {
			case want && !there:
				t.Errorf("an acknowledged instance of %d bytes of pixels is not in its study; %s", o.size, st.story)
			case !want && there && (exact || o.deleted || st.deleted):
				t.Errorf("an instance of %d bytes of pixels is there and should not be (deleted: %v)", o.size, o.deleted || st.deleted)
			case want:
				w.verified.Add(1)
			}
		}
		if known != len(got.sums) {
			t.Errorf("a study holds %d instances that were never sent", len(got.sums)-known)
		}
		if n := listed[st.uid]; n != len(got.sums) {
			t.Errorf("search counts %d instances in a study that holds %d", n, len(got.sums))
		}
		mu.Lock()
		defer mu.Unlock()
		found[st] = got.sums
	})
	parallel(closely, 4, func(st *study) {
		if err := w.checkStudy(t.Context(), s, st, found[st]); err != nil {
			t.Errorf("%v\n%s", err, s.tail())
		}
	})
	if t.Failed() {
		t.FailNow()
	}
}

// checkStudy looks at one study from every side.
func (w *world) checkStudy(ctx context.Context, s *server, st *study, sums map[[sha256.Size]byte]bool) error {
	series := map[string]int{}
	for _, o := range st.objects {
		if !sums[o.sum] {
			continue
		}
		series[o.series]++
		got, err := s.retrieve(ctx, "/studies/"+st.uid+"/series/"+o.series+"/instances/"+o.uid)
		if err != nil || got.count != 1 || !got.sums[o.sum] {
			return fmt.Errorf("retrieving an instance: %d parts, %v", got.count, err)
		}
	}
	rows, err := s.search(ctx, "/studies?PatientID="+st.patient+"&PatientName="+url.QueryEscape("Halt^*"))
	if err != nil || len(rows) != min(1, len(sums)) || len(rows) == 1 && rows[0].text("0020000D") != st.uid {
		return fmt.Errorf("searching by patient: %d studies, %v", len(rows), err)
	}
	if rows, err = s.search(ctx, "/studies/"+st.uid+"/series"); err != nil || len(rows) != len(series) {
		return fmt.Errorf("searching series: %d of %d, %v", len(rows), len(series), err)
	}
	for _, r := range rows {
		if n := r.number("00201209"); n != series[r.text("0020000E")] {
			return fmt.Errorf("search counts %d instances in a series of %d", n, series[r.text("0020000E")])
		}
	}
	rows, err = s.search(ctx, "/studies/"+st.uid+"/instances?limit=5000")
	if err != nil || len(rows) != len(sums) {
		return fmt.Errorf("searching instances: %d of %d, %v", len(rows), len(sums), err)
	}
	return nil
}

// counts returns the number of instances of each study, by search.
func (s *server) counts(ctx context.Context) (map[string]int, error) {
	n := map[string]int{}
	for offset := 0; ; offset += 500 {
		rows, err := s.search(ctx, fmt.Sprintf("/studies?limit=500&offset=%d", offset))
		if err != nil {
			return nil, err
		}
		for _, r := range rows {
			n[r.text("0020000D")] = r.number("00201208")
		}
		if len(rows) < 500 {
			return n, nil
		}
	}
}

// row is one match in DICOM JSON.
type row map[string]struct{ Value []any }

func (r row) text(tag string) string {
	if v := r[tag].Value; len(v) > 0 {
		s, _ := v[0].(string)
		return s
	}
	return ""
}

func (r row) number(tag string) int {
	if v := r[tag].Value; len(v) > 0 {
		f, _ := v[0].(float64)
		return int(f)
	}
	return -1
}

func (s *server) search(ctx context.Context, path string) ([]row, error) {
	status, body, err := s.do(ctx, http.MethodGet, path, "", nil)
	switch {
	case err != nil:
		return nil, err
	case status == http.StatusNoContent:
		return nil, nil
	case status != http.StatusOK:
		return nil, fmt.Errorf("searching: status %d: %s", status, body)
	}
	var rows []row
	err = json.Unmarshal([]byte(body), &rows)
	return rows, err
}

// retrieved is what a retrieve brought.
type retrieved struct {
	count int
	sums  map[[sha256.Size]byte]bool
}

// retrieve reads instances as they were stored. What is not there is no error.
func (s *server) retrieve(ctx context.Context, path string) (got retrieved, err error) {
	got.sums = map[[sha256.Size]byte]bool{}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, s.base+path, nil)
	if err != nil {
		return got, err
	}
	r.Header.Set("Accept", `multipart/related; type="application/dicom"; transfer-syntax=*`)
	s.sign(r)
	resp, err := s.http.Do(r)
	if err != nil {
		return got, err
	}
	defer resp.Body.Close()
	if resp.StatusCode == http.StatusNotFound {
		return got, nil
	}
	if resp.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(resp.Body)
		return got, fmt.Errorf("status %d: %s", resp.StatusCode, text)
	}
	_, params, err := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	if err != nil {
		return got, err
	}
	for parts := multipart.NewReader(resp.Body, params["boundary"]); ; {
		p, err := parts.NextPart()
		if err == io.EOF {
			return got, nil
		}
		if err != nil {
			return got, err
		}
		h := sha256.New()
		if _, err := io.Copy(h, p); err != nil {
			return got, err
		}
		got.count++
		got.sums[[sha256.Size]byte(h.Sum(nil))] = true
	}
}
