//go:build linux

package crash

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"mime/multipart"
	"net/http"
	"net/textproto"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// world is all that was ever sent to one archive.
type world struct {
	seed uint64

	mu      sync.Mutex
	rnd     *rand.Rand
	studies []*study
	large   *object // the large instance on its way
	did     struct{ deleted, undeleted, doubt int }

	acked, verified atomic.Int64 // instances: acknowledged once, read back
}

func newWorld(t *testing.T) *world {
	seed := uint64(time.Now().UnixNano())
	if v, err := strconv.ParseUint(os.Getenv("STRATA_CRASH_SEED"), 10, 64); err == nil {
		seed = v
	}
	t.Logf("STRATA_CRASH_SEED=%d", seed)
	return &world{seed: seed, rnd: rand.New(rand.NewPCG(seed, 0))}
}

// rounds is how many rounds to run: those asked for, divided, or normally n.
func rounds(t *testing.T, n, divide int) int {
	v := os.Getenv("STRATA_CRASH_ROUNDS")
	if v == "" {
		return n
	}
	k, err := strconv.Atoi(v)
	if err != nil || k < 1 {
		t.Fatal("STRATA_CRASH_ROUNDS must be a number above zero")
	}
	return max(1, k/divide)
}

// study starts a study.
func (w *world) study() *study {
	w.mu.Lock()
	defer w.mu.Unlock()
	s := newStudy(len(w.studies) + 1)
	w.studies = append(w.studies, s)
	return s
}

// pick returns the studies of one round: some new, some that are there.
func (w *world) pick() []*study {
	active := []*study{w.study(), w.study(), w.study()}
	for range 3 {
		if s := w.studies[w.rnd.IntN(len(w.studies))]; !s.deleted {
			active = append(active, s)
		}
	}
	return active
}

// batch makes what one request sends.
func (w *world) batch(active []*study) []*object {
	w.mu.Lock()
	defer w.mu.Unlock()
	a, b := active[w.rnd.IntN(len(active))], active[w.rnd.IntN(len(active))]
	switch k := w.rnd.IntN(100); {
	case k < 65:
		return []*object{a.add(tiny + w.rnd.IntN(2000))}
	case k < 71:
		return []*object{a.add(medium + w.rnd.IntN(50_000))}
	case k < 82:
		return []*object{a.add(tiny), a.add(tiny), a.add(30_000), a.add(tiny)}
	case k < 93:
		return []*object{a.add(tiny), b.add(2000), a.add(tiny)}
	}
	if len(a.objects) == 0 {
		return []*object{a.add(tiny)}
	}
	return []*object{a.objects[w.rnd.IntN(len(a.objects))]} // perhaps at the same time as its first sender
}

// errGone says that the server did not answer.
var errGone = errors.New("the server is gone")

// store sends instances in one request and notes an acknowledgement. The error is errGone.
func (w *world) store(ctx context.Context, s *server, objects ...*object) (status int, body string, err error) {
	var b bytes.Buffer
	m := multipart.NewWriter(&b)
	for _, o := range objects {
		p, err := m.CreatePart(textproto.MIMEHeader{"Content-Type": {"application/dicom"}})
		if err == nil {
			_, err = p.Write(o.bytes())
		}
		if err != nil {
			return 0, "", err
		}
	}
	if err := m.Close(); err != nil {
		return 0, "", err
	}
	status, body, err = s.do(ctx, http.MethodPost, "/studies", `multipart/related; type="application/dicom"; boundary=`+m.Boundary(), &b)
	if err != nil || status != http.StatusOK {
		return status, body, err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, o := range objects {
		if !o.acked {
			o.acked = true
			w.acked.Add(1)
		}
	}
	return status, body, nil
}

// sign adds the token, where one is wanted.
func (s *server) sign(r *http.Request) {
	if s.token != "" {
		r.Header.Set("Authorization", "Bearer "+s.token)
	}
}

// do sends a request and reads a short answer.
func (s *server) do(ctx context.Context, method, path, contentType string, body io.Reader) (int, string, error) {
	r, err := http.NewRequestWithContext(ctx, method, s.base+path, body)
	if err != nil {
		return 0, "", err
	}
	if contentType != "" {
		r.Header.Set("Content-Type", contentType)
	}
	r.Header.Set("Accept", "application/dicom+json")
	s.sign(r)
	resp, err := s.http.Do(r)
	if err != nil {
		return 0, "", fmt.Errorf("%w: %w", errGone, err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, "", fmt.Errorf("%w: %w", errGone, err)
	}
	return resp.StatusCode, string(text), nil
}

// load is clients that store until the server is gone or each has sent its share.
type load struct {
	clients, requests int
	// other says whether a status that is not 200 is expected; nil: none is.
	other func(status int) bool
	acked atomic.Int64 // requests
}

const normalClients = 16

// run returns when all clients have ended.
func (l *load) run(t *testing.T, w *world, s *server, active []*study) {
	var wg sync.WaitGroup
	for c := range l.clients {
		wg.Go(func() {
			for i := range l.requests {
				objects := w.batch(active)
				if c == 0 && i == 0 && w.large != nil {
					objects = []*object{w.large}
				}
				status, body, err := w.store(t.Context(), s, objects...)
				switch {
				case err != nil:
					return
				case status == http.StatusOK:
					l.acked.Add(1)
				case l.other == nil || !l.other(status):
					t.Errorf("storing: status %d: %s", status, body)
					return
				}
			}
		})
	}
	wg.Wait()
}

// resend sends everything again that was not acknowledged, and some of what was.
func (w *world) resend(t *testing.T, s *server, active []*study) {
	t.Helper()
	var again []*object
	for _, st := range active {
		for _, o := range st.objects {
			if !o.acked || w.rnd.IntN(10) == 0 && o.size < large && !o.deleted {
				again = append(again, o)
			}
		}
	}
	parallel(again, 8, func(o *object) {
		status, body, err := w.store(t.Context(), s, o)
		if err != nil || status != http.StatusOK {
			t.Errorf("sending again: status %d, %v: %s\n%s", status, err, body, s.tail())
		}
	})
}

// parallel calls f for each, n at a time.
func parallel[T any](all []T, n int, f func(T)) {
	var next atomic.Int64
	var wg sync.WaitGroup
	for range n {
		wg.Go(func() {
			for i := next.Add(1) - 1; i < int64(len(all)); i = next.Add(1) - 1 {
				f(all[i])
			}
		})
	}
	wg.Wait()
}
