//go:build linux

package hostile

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"sync"
	"testing"
	"time"
)

var (
	p99   = flag.Duration("hostile.p99", 0, "measure for so long what a storm of hostile requests does to others (TestStorm), such as 30s")
	storm = flag.Int("hostile.clients", 8, "hostile requests at a time in TestStorm")
)

// TestStorm asks for hostile pixels from many clients at once: no answer is a
// server's error, and the server is afterwards as it was. With -hostile.p99 it
// takes so long, and logs how others fared meanwhile, beside how they do alone.
func TestStorm(t *testing.T) {
	s := start(t)
	x := newTrial(s)
	w := newWitness(t, s)
	targets := besiege(t, x)
	length := *p99
	if length == 0 {
		length = 3 * time.Second
		if testing.Short() {
			length = time.Second
		}
	} else {
		bystanders(t, s, w, length) // what is cold becomes warm
		report(t, "alone", bystanders(t, s, w, length))
	}
	m := watch(s.pid)
	over := make(chan error, 1)
	var seen []struck
	go func() {
		var err error
		seen, err = strike(s, targets, length)
		over <- err
	}()
	if *p99 > 0 {
		report(t, "in the storm", bystanders(t, s, w, length))
	}
	if err := <-over; err != nil {
		t.Error(err)
	}
	for _, a := range seen {
		x.check(t, a.What, &answer{status: a.Status, header: http.Header{"Content-Type": {a.Type}}, body: a.Body, took: a.Took, broken: a.broken()}, a.Stream)
	}
	grew, _ := m.stop()
	t.Logf("the memory grew by %d MB with %d requests at a time", grew>>20, *storm)
	x.summary(t)
	w.unharmed(t)
}

// battle is what the process of the storm is told.
type battle struct {
	URL     string
	Clients int
	Length  time.Duration
	Targets []besieged
}

// struck is an answer that it got.
type struck struct {
	What, Type, Broken string
	Status             int
	Body               []byte // of an error
	Took               time.Duration
	Stream             bool
}

func (s struck) broken() error {
	if s.Broken == "" {
		return nil
	}
	return errors.New(s.Broken)
}

// strike runs the storm in a process of its own that stands back, so that it
// takes nothing from those who measure but what it takes from the server, as
// clients elsewhere do.
func strike(s *server, targets []besieged, length time.Duration) (seen []struck, err error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	in, err := json.Marshal(battle{s.url, *storm, length, targets})
	if err != nil {
		return nil, err
	}
	cmd := exec.Command("nice", "-n", "19", self)
	cmd.Env = append(os.Environ(), envStorm+"=1")
	cmd.Stdin = bytes.NewReader(in)
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("the storm: %w", err)
	}
	return seen, json.Unmarshal(out, &seen)
}

// rage is the process of the storm.
func rage() error {
	var b battle
	if err := json.NewDecoder(os.Stdin).Decode(&b); err != nil {
		return err
	}
	s := &server{url: b.URL, http: newClient()}
	var mu sync.Mutex
	var seen []struck
	var failed error
	var wg sync.WaitGroup
	end := time.Now().Add(b.Length)
	for i := range b.Clients {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(9, uint64(i)))
			for time.Now().Before(end) {
				c := b.Targets[r.IntN(len(b.Targets))]
				list := requests(c.U)
				q := list[r.IntN(len(list))]
				a, err := s.ask("GET", q.path, "", q.accept, nil, false)
				mu.Lock()
				if err != nil {
					failed = fmt.Errorf("%s: %w", c.Name, err)
				} else {
					k := struck{What: c.Name + ": GET " + q.path + " as " + q.accept, Type: a.header.Get("Content-Type"), Status: a.status, Took: a.took, Stream: q.stream}
					if a.status >= 400 {
						k.Body = a.body
					}
					if a.broken != nil {
						k.Broken = a.broken.Error()
					}
					seen = append(seen, k)
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if failed != nil {
		return failed
	}
	return json.NewEncoder(os.Stdout).Encode(seen)
}

// besieged is a specimen that the server has stored.
type besieged struct {
	Name string
	U    uids
}

// besiege stores some of every kind of specimen, and some damaged real files.
func besiege(t *testing.T, x *trial) []besieged {
	t.Helper()
	var all []besieged
	for i, c := range corpus() {
		if u := numbered(400_000 + i); i%8 == 0 && x.put(t, c.name, u, c.file(u)) {
			all = append(all, besieged{c.name, u})
		}
	}
	r := rand.New(rand.NewPCG(3, 4))
	for i, f := range coded(t, 2) {
		if f.Size > 1<<20 {
			continue
		}
		whole := firstFrame(t, f)
		for k, file := range [][]byte{whole.cut((whole.to - whole.from) * 2 / 3), whole.flip(r, 3), whole.flip(r, 100)} {
			if u := numbered(500_000 + 10*i + k); x.put(t, f.Name, u, readdress(t, file, u)) {
				all = append(all, besieged{f.Name + " damaged", u})
			}
		}
	}
	return all
}

// bystanders are requests of others at a steady rate, each kind 50 a second.
// It returns how long each took.
func bystanders(t *testing.T, s *server, w *witness, length time.Duration) map[string][]time.Duration {
	t.Helper()
	kinds := map[string]sample{
		"search":       {"/studies?PatientName=Fern*&limit=20", "application/dicom+json", nil},
		"stored frame": {numbered(100_000).path() + "/frames/1", "*/*; transfer-syntax=*", nil},
		"metadata":     {numbered(100_000).path() + "/metadata", "application/dicom+json", nil},
	}
	took := map[string][]time.Duration{}
	var mu sync.Mutex
	var wg sync.WaitGroup
	for kind, q := range kinds {
		wg.Go(func() {
			tick := time.NewTicker(20 * time.Millisecond)
			defer tick.Stop()
			for end := time.Now().Add(length); time.Now().Before(end); <-tick.C {
				a, err := s.ask("GET", q.path, "", q.accept, nil, false)
				if err != nil || a.status != http.StatusOK || a.broken != nil {
					t.Errorf("a bystander's %s: %v %v", kind, a, err)
					return
				}
				mu.Lock()
				took[kind] = append(took[kind], a.took)
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	return took
}

func report(t *testing.T, when string, took map[string][]time.Duration) {
	t.Helper()
	for kind, list := range took {
		slices.Sort(list)
		at := func(p float64) time.Duration {
			return list[min(len(list)-1, int(p*float64(len(list))))].Round(10 * time.Microsecond)
		}
		t.Logf("%-12s %-12s %5d requests: p50 %v, p90 %v, p99 %v, most %v", when, kind, len(list), at(.5), at(.9), at(.99), list[len(list)-1].Round(10*time.Microsecond))
	}
}
