package sim

import (
	"bytes"
	"context"
	"fmt"
	"hash/fnv"
	"io"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing/synctest"
	"time"

	"github.com/strata-pacs/strata/storage/driver"
)

// gate makes concurrency deterministic: whoever wants to go on waits here, and
// drive lets one at a time through.
type gate struct {
	mu      sync.Mutex
	open    bool // everything passes: nothing runs beside the driver
	waiting []waiter
	tasks   map[string]string // of goroutines
	running int

	random *rand.Rand
	steady float64 // how likely the same task goes on
	last   string
	steps  int
	trace  func(string)
	slow   func() time.Duration // how much time passes before the next step
}

type waiter struct {
	label string
	pass  chan struct{}
}

type taskKey struct{}

// pass returns when the driver says so.
func (g *gate) pass(ctx context.Context, what ...string) {
	g.mu.Lock()
	if g.open {
		g.mu.Unlock()
		return
	}
	task, _ := ctx.Value(taskKey{}).(string)
	if task == "" {
		task = g.tasks[goroutine()]
	}
	w := waiter{task + " " + strings.Join(what, " "), make(chan struct{})}
	g.waiting = append(g.waiting, w)
	g.mu.Unlock()
	<-w.pass
}

// goroutine names the calling goroutine.
func goroutine() string {
	var b [64]byte
	name, _, _ := bytes.Cut(b[:runtime.Stack(b[:], false)], []byte(" ["))
	return string(name)
}

// spawn starts a task.
func (g *gate) spawn(name string, f func(ctx context.Context)) {
	g.mu.Lock()
	g.running++
	g.mu.Unlock()
	go func() {
		self := goroutine()
		g.mu.Lock()
		g.tasks[self] = name
		g.mu.Unlock()
		ctx := context.WithValue(context.Background(), taskKey{}, name)
		g.pass(ctx, "start")
		f(ctx)
		g.mu.Lock()
		defer g.mu.Unlock()
		delete(g.tasks, self)
		g.running--
	}()
}

// drive lets the tasks and all they started run to their end.
func (g *gate) drive() error {
	for idle := 0; ; {
		synctest.Wait()
		g.mu.Lock()
		if len(g.waiting) == 0 {
			left := g.running
			g.mu.Unlock()
			if left == 0 {
				return nil
			}
			if idle++; idle > 100 {
				return fmt.Errorf("%d tasks wait for something that never comes", left)
			}
			time.Sleep(time.Minute) // whoever waits for time to pass
			continue
		}
		idle = 0
		slices.SortStableFunc(g.waiting, func(a, b waiter) int { return strings.Compare(a.label, b.label) })
		i := g.choose()
		w := g.waiting[i]
		g.waiting = slices.Delete(g.waiting, i, i+1)
		g.steps++
		g.mu.Unlock()
		g.trace(w.label)
		if d := g.slow(); d > 0 {
			time.Sleep(d)
		}
		close(w.pass)
	}
}

// choose picks who goes on: anyone, or mostly the task that went on before, so
// that one also overtakes another by far. The caller holds the lock.
func (g *gate) choose() int {
	i := g.random.IntN(len(g.waiting))
	if g.random.Float64() < g.steady {
		same := slices.IndexFunc(g.waiting, func(w waiter) bool { return strings.HasPrefix(w.label, g.last+" ") })
		if same >= 0 {
			i = same
		}
	}
	g.last, _, _ = strings.Cut(g.waiting[i].label, " ")
	return i
}

// alone lets f run without the gate.
func (g *gate) alone(f func() error) error {
	g.mu.Lock()
	g.open = true
	g.mu.Unlock()
	err := f()
	g.mu.Lock()
	g.open = false
	g.mu.Unlock()
	return err
}

// release lets everything pass for good.
func (g *gate) release() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.open = true
	for _, w := range g.waiting {
		close(w.pass)
	}
	g.waiting = nil
}

// gated is a driver behind the gate.
type gated struct {
	g *gate
	d driver.Driver
}

func (d gated) Create(ctx context.Context, key string, o driver.CreateOptions) (driver.Writer, error) {
	d.g.pass(ctx, "create", key)
	w, err := d.d.Create(ctx, key, o)
	if err != nil {
		return nil, err
	}
	return &gatedWriter{w, d.g, ctx, key}, nil
}

func (d gated) Open(ctx context.Context, key string, off, n int64) (io.ReadCloser, error) {
	d.g.pass(ctx, "open", key)
	return d.d.Open(ctx, key, off, n)
}

func (d gated) Stat(ctx context.Context, key string) (driver.Attrs, error) {
	d.g.pass(ctx, "stat", key)
	return d.d.Stat(ctx, key)
}

func (d gated) List(ctx context.Context, prefix, after string, limit int) (driver.Page, error) {
	d.g.pass(ctx, "list", prefix)
	return d.d.List(ctx, prefix, after, limit)
}

func (d gated) Delete(ctx context.Context, key string) error {
	d.g.pass(ctx, "delete", key)
	return d.d.Delete(ctx, key)
}

type gatedWriter struct {
	driver.Writer
	g   *gate
	ctx context.Context // of Create: the task that writes
	key string
}

func (w *gatedWriter) Write(p []byte) (int, error) {
	w.g.pass(w.ctx, "write", w.key)
	return w.Writer.Write(p)
}

func (w *gatedWriter) Commit(ctx context.Context) (driver.Attrs, error) {
	w.g.pass(ctx, "commit", w.key)
	return w.Writer.Commit(ctx)
}

// seeded is randomness that may be read from several goroutines.
type seeded struct {
	mu sync.Mutex
	r  *rand.ChaCha8
}

func newSeeded(seed uint64, purpose string) *seeded {
	h := fnv.New64a()
	_, _ = io.WriteString(h, purpose)
	var key [32]byte
	for i, x := range []uint64{seed, h.Sum64()} {
		for j := range 8 {
			key[8*i+j] = byte(x >> (8 * j))
		}
	}
	return &seeded{r: rand.NewChaCha8(key)}
}

func (s *seeded) Read(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.r.Read(p)
}

func (s *seeded) Uint64() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.r.Uint64()
}
