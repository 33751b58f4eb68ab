package sim

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/internal/ingest"
	"github.com/strata-pacs/strata/storage/memstore"
)

// mutant is a defect put in on purpose, to see that the simulation finds it.
type mutant string

const (
	losesLog    mutant = "a store that loses log objects it committed"
	losesPack   mutant = "a store that loses packs it committed"
	losesKey    mutant = "a store that loses keys it committed"
	overwrites  mutant = "a store that ignores if-absent"
	acksEarly   mutant = "a log that acknowledges before it writes"
	dropsRow    mutant = "an index that drops a row"
	dropsDelete mutant = "an index that forgets a part of a deletion"
	reapsEarly  mutant = "a reaper without a grace period"
	neverVoids  mutant = "a reconciler that leaves holes"
	spools      mutant = "a spool file that is not sealed"
)

// world is one run.
type world struct {
	seed   uint64
	mutant mutant
	dir    string // of real indexes; empty: models

	random *rand.Rand // what happens
	bytes  *seeded    // what the product draws
	g      *gate
	mem    *memstore.Store
	store  *watch
	nodes  []*node
	policy ingest.Policy
	inline int64

	mu       sync.Mutex
	sessions map[string]*node
	troubled bool // something failed, or may have, since the round began
	late     bool // in this round much time passes in the middle of things

	round   int
	pool    []item
	sent    []sent
	deleted []deletion
	scanned map[string]bool // objects that were looked into
	files   map[item][]byte
	log     []string
	keep    bool // the log
	count   stats
}

type stats struct{ operations, steps, crashes, faults, stored, real int }

// sent is an instance that was sent, and what was answered.
type sent struct {
	item
	round        int
	node         *node
	acked, known bool
}

// deletion is one that was asked for, whatever became of it.
type deletion struct {
	scope archive.UIDs
	round int
}

func newWorld(seed uint64, m mutant, dir string, keep bool) *world {
	w := &world{seed: seed, mutant: m, dir: dir, keep: keep, sessions: map[string]*node{}, scanned: map[string]bool{}, files: map[item][]byte{}}
	w.random = rand.New(rand.NewPCG(seed, 0x51))
	w.bytes = newSeeded(seed, "bytes")
	w.g = &gate{random: rand.New(rand.NewPCG(seed, 0x6A7E)), tasks: map[string]string{}, trace: func(s string) { w.tell("    %s", s) }, slow: w.slow}
	w.mem = memstore.New(memstore.Options{Now: time.Now})
	w.store = &watch{Driver: w.mem, mutant: m, random: w.random, there: map[string]bool{}}
	w.inline = []int64{16 << 20, 4 << 10, 4 << 10}[w.random.IntN(3)]
	w.policy = []ingest.Policy{ingest.KeepFirst, ingest.KeepFirst, ingest.Replace, ingest.Refuse}[w.random.IntN(4)]
	for i := range 1 + w.random.IntN(2) {
		n := &node{w: w, name: string(rune('A' + i))}
		n.trouble = trouble{random: rand.New(rand.NewPCG(seed, uint64(i)+0x7B0)), hit: func(what string) {
			w.troubled = true
			w.count.faults++
			w.tell("    !! %v: %s", n, what)
		}}
		w.nodes = append(w.nodes, n)
	}
	for range 4 + w.random.IntN(8) {
		it := item{study: w.random.IntN(2), series: w.random.IntN(2), sop: w.random.IntN(4), size: 64}
		switch w.random.IntN(8) {
		case 0, 1:
			it.size = 6000
		case 2, 3:
			it.size = 2000
		}
		w.pool = append(w.pool, it)
		if w.random.IntN(2) == 0 {
			it.version, it.size = 1+w.random.IntN(2), 128
			w.pool = append(w.pool, it)
		}
	}
	return w
}

func (w *world) tell(format string, args ...any) {
	if w.keep {
		w.log = append(w.log, fmt.Sprintf(format, args...))
	}
}

// file returns the item's bytes.
func (w *world) file(it item) []byte {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.files[it] == nil {
		w.files[it] = it.bytes()
	}
	return w.files[it]
}

// began notes that a process of the node writes its session.
func (w *world) began(n *node) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.sessions[n.session] = n
}

// over reports whether the session's process is gone.
func (w *world) over(_ context.Context, session string) bool {
	w.mu.Lock()
	n := w.sessions[session]
	w.mu.Unlock()
	return n == nil || n.session != session || n.crashed()
}

// slow is how long the next step takes.
func (w *world) slow() time.Duration {
	if w.late && w.g.random.IntN(12) == 0 {
		return time.Duration(1+w.g.random.IntN(30)) * time.Hour
	}
	return time.Duration(w.g.random.IntN(3)) * time.Millisecond
}

// turn is one round: a few users do something at once, and things go wrong.
func (w *world) turn() error {
	w.round++
	r := w.random
	time.Sleep(time.Second)
	if r.IntN(12) == 0 {
		w.tell("a day passes")
		time.Sleep(grace + time.Hour)
	}
	w.troubled, w.late = false, r.IntN(15) == 0
	if w.late {
		w.troubled = true
	}
	full := r.IntN(15) == 0
	if full {
		w.tell("the store is full")
		w.mem.SetCapacity(1)
		w.troubled = true
	}
	for _, n := range w.nodes {
		rate, crashIn := 0.0, 0
		if r.IntN(5) == 0 {
			rate = []float64{0.02, 0.1, 0.3}[r.IntN(3)]
		}
		if r.IntN(4) == 0 {
			crashIn = 1 + r.IntN(30)
		}
		n.trouble.set(rate, crashIn)
	}
	tasks := []int{1, 1, 1, 2, 3}[r.IntN(5)]
	race := tasks > 1 && r.IntN(4) == 0 // the reaper beside a store
	busy, ends := map[*node]bool{}, map[*node]bool{}
	var then []func() error
	for i := range tasks {
		n := w.nodes[r.IntN(len(w.nodes))]
		if ends[n] { // it starts or stops, and does nothing else meanwhile
			continue
		}
		w.count.operations++
		kind := r.IntN(20)
		if race && n.up {
			kind = []int{0, 17, 0}[i]
		}
		then = append(then, w.operation(n, fmt.Sprintf("%s%d", n.name, i), kind, busy[n]))
		busy[n], ends[n] = true, !n.up
	}
	w.g.steady = []float64{0, 0.9}[r.IntN(2)]
	if err := w.g.drive(); err != nil {
		return err
	}
	w.mem.SetCapacity(0)
	for _, n := range w.nodes {
		n.trouble.set(0, 0)
	}
	return w.g.alone(func() error {
		for _, f := range then {
			if err := f(); err != nil {
				return err
			}
		}
		for _, n := range w.nodes {
			if n.fs == nil || !n.crashed() {
				continue
			}
			if n.up {
				w.count.crashes++
				w.tell("%v is down", n)
			}
			n.die()
			if err := n.forget(); err != nil {
				return err
			}
		}
		if alone := len(then) == 1 && !w.troubled; alone {
			return w.settled()
		}
		return nil
	})
}

// operation starts something on the node, which does something else already
// when it is busy. What it returns is called when all is at rest, and judges the answer.
func (w *world) operation(n *node, task string, kind int, busy bool) (judge func() error) {
	var err error
	what := ""
	fine := func(err error, ok ...fault.Kind) error {
		w.tell("%s %s: %v", task, what, err)
		for _, k := range ok {
			if fault.Is(err, k) {
				return nil
			}
		}
		if err != nil && !w.troubled {
			return fmt.Errorf("%s failed, and nothing was wrong: %w", what, err)
		}
		return nil
	}
	if !n.up {
		what = "start"
		w.g.spawn(task, func(ctx context.Context) {
			if err = n.start(ctx); err != nil {
				n.die()
			}
		})
		return func() error { return fine(err) }
	}
	switch {
	case kind < 10:
		return w.sends(n, task)
	case kind < 13:
		u := w.scope()
		what = fmt.Sprintf("delete %v", u)
		w.deleted = append(w.deleted, deletion{u, w.round})
		w.g.spawn(task, func(ctx context.Context) { err = n.remover.Delete(ctx, tenant, u) })
	case kind < 15:
		u := w.scope()
		what = fmt.Sprintf("undelete %v", u)
		w.g.spawn(task, func(ctx context.Context) { _, err = n.remover.Undelete(ctx, tenant, u) })
	case kind < 17:
		what = "catch up"
		w.g.spawn(task, func(ctx context.Context) { _, err = n.rec.Catchup(ctx) })
	case kind < 19 || busy:
		what = "reap"
		w.g.spawn(task, func(ctx context.Context) { _, err = n.rec.Reap(ctx) })
	default:
		// The last thing a process does: it is not up for others any more.
		what = "stop"
		n.up = false
		w.g.spawn(task, func(ctx context.Context) { err = n.stop(ctx) })
	}
	return func() error { return fine(err, fault.NotFound) }
}

func (w *world) scope() archive.UIDs {
	u := w.pool[w.random.IntN(len(w.pool))].uids()
	switch w.random.IntN(3) {
	case 0:
		return archive.UIDs{Study: u.Study}
	case 1:
		return archive.UIDs{Study: u.Study, Series: u.Series}
	}
	return u
}

// sends stores a few instances in one request.
func (w *world) sends(n *node, task string) (judge func() error) {
	r := w.random
	var items []item
	one := r.IntN(8) > 0 // of one study
	for range 1 + r.IntN(4) {
		if it := w.pool[r.IntN(len(w.pool))]; !one || len(items) == 0 || it.study == items[0].study {
			items = append(items, it)
		}
	}
	abort := r.IntN(20) == 0
	var results []ingest.Result
	w.g.spawn(task, func(ctx context.Context) {
		q := n.store.Begin(ingest.RequestOptions{})
		for _, it := range items {
			q.Add(ctx, bytes.NewReader(w.file(it)))
			if w.mutant == spools {
				w.spool(ctx, it)
			}
		}
		if abort {
			q.Abort()
			return
		}
		results = q.Commit(ctx)
	})
	return func() error {
		w.tell("%s store %v", task, items)
		for i, it := range items {
			s := sent{item: it, round: w.round, node: n}
			if i < len(results) {
				res := &results[i]
				s.acked, s.known = res.Outcome != ingest.Refused && !n.crashed(), res.Outcome == ingest.Known
				w.tell("  %v: %d %04x %v", it, res.Outcome, res.Reason, res.Err)
				expected := w.policy == ingest.Refuse && res.Reason == ingest.ReasonDuplicate
				if !w.troubled && res.Outcome == ingest.Refused && !expected {
					return fmt.Errorf("instance %v was refused, and nothing was wrong: %w", it, res.Err)
				}
				if res.UIDs != it.uids() {
					return fmt.Errorf("the answer about %v is about another instance", it)
				}
			}
			if s.acked {
				w.count.stored++
			}
			w.sent = append(w.sent, s)
		}
		return nil
	}
}

// spool is what a mutant does: it writes an instance as it is.
func (w *world) spool(ctx context.Context, it item) {
	o, err := w.store.Create(ctx, fmt.Sprintf("%s/spool/%d-%d", tenant, w.g.steps, len(w.store.there)), memOptions)
	if err == nil {
		_, _ = io.Copy(o, bytes.NewReader(w.file(it)))
		_, _ = o.Commit(ctx)
	}
}
