package intent

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/fault"
)

// world is a database and a log that nodes share. Each operation on it is one moment, and a run is one order of them.
type world struct {
	actors []*actor
	moment int

	objects map[archive.LogPlace]archive.FactKind
	landed  map[archive.LogPlace]int // when
	indexed map[archive.LogPlace]bool
	intents []archive.Intent
	held    bool
	acked   int // when the hold was acknowledged; 0: never
	unknown int // destroying facts that were in the log and not in the index then
	ok      int // destroyers who were told that it is done
}

// actor does its operations when it is its turn.
type actor struct {
	w     *world
	turn  chan struct{}
	at    chan bool // it waits for its turn, or has ended
	ended bool
	left  int // operations that it does before it dies
}

var errDied = errors.New("the process died")

// begin adds an actor that does its operations in f.
func (w *world) begin(dies int, f func(*actor)) {
	a := &actor{w: w, turn: make(chan struct{}), at: make(chan bool), left: dies}
	w.actors = append(w.actors, a)
	go func() {
		f(a)
		a.at <- true
	}()
	a.ended = <-a.at
}

// step waits for the turn and does the operation.
func (a *actor) step(do func()) error {
	if a.left--; a.left < 0 {
		return errDied
	}
	a.at <- false
	<-a.turn
	a.w.moment++
	do()
	return nil
}

// run gives turns until all have ended; next chooses of those who wait.
func (w *world) run(next func(waiting int) int) {
	for {
		var waiting []*actor
		for _, a := range w.actors {
			if !a.ended {
				waiting = append(waiting, a)
			}
		}
		if len(waiting) == 0 {
			return
		}
		a := waiting[next(len(waiting))]
		a.turn <- struct{}{}
		a.ended = <-a.at
	}
}

func (w *world) put(at archive.LogPlace, k archive.FactKind) bool {
	if _, ok := w.objects[at]; ok {
		return false
	}
	w.objects[at], w.landed[at] = k, w.moment
	return true
}

// node is a process: its part of database and log.
type node struct {
	*actor
	session string
	next    uint64
	late    bool // the answer to its write is lost, which is done at some moment afterwards
	writes  *[]func()
}

func (n *node) Session() string          { return n.session }
func (n *node) Reserve() (uint64, error) { n.next++; return n.next, nil }
func (n *node) Return(uint64, bool)      {}

func (n *node) AppendAt(_ context.Context, f *archive.Fact, at uint64) (archive.Entry, error) {
	place := archive.LogPlace{Session: n.session, N: at}
	if n.late {
		err := n.step(func() { *n.writes = append(*n.writes, func() { n.w.put(place, f.Kind) }) })
		return archive.Entry{}, errors.Join(err, context.DeadlineExceeded)
	}
	ok := false
	err := n.step(func() { ok = n.w.put(place, f.Kind) })
	if err == nil && !ok {
		err = fault.New(fault.Conflict, "voided")
	}
	return archive.Entry{Session: n.session, N: at, Fact: f}, err
}

func (n *node) Intend(_ context.Context, _ archive.Tenant, i archive.Intent) error {
	return n.step(func() { n.w.intents = append(n.w.intents, i) })
}

func (n *node) Desist(_ context.Context, _ archive.Tenant, i archive.Intent) error {
	return n.step(func() { n.w.intents = slices.DeleteFunc(n.w.intents, func(o archive.Intent) bool { return o == i }) })
}

func (n *node) Intents(_ context.Context, _ archive.Tenant, study archive.Ref) (out []archive.Intent, err error) {
	err = n.step(func() {
		for _, i := range n.w.intents {
			if study == (archive.Ref{}) || i.Study == study {
				out = append(out, i)
			}
		}
	})
	return out, err
}

func (n *node) Apply(_ context.Context, _ archive.Tenant, e ...archive.Entry) ([]archive.Applied, error) {
	err := n.step(func() { n.w.indexed[archive.LogPlace{Session: e[0].Session, N: e[0].N}] = true })
	return make([]archive.Applied, 1), err
}

func (n *node) fence(_ context.Context, session string, at uint64) error {
	place := archive.LogPlace{Session: session, N: at}
	if err := n.step(func() { n.w.put(place, archive.FactVoid) }); err != nil {
		return err
	}
	return n.step(func() { n.w.indexed[place] = true })
}

func (n *node) guard() *Guard { return New(Options{Tenant: "t", Index: n, Log: n, Fence: n.fence}) }

var study = archive.Ref{1}

// destroys has a node destroy the study, unless it sees the hold.
func (w *world) destroys(session string, dies int, late bool, writes *[]func()) {
	w.begin(dies, func(a *actor) {
		n := &node{actor: a, session: session, late: late, writes: writes}
		err := n.guard().Destroy(context.Background(), study, &archive.Fact{Kind: archive.FactKeyClosed, Study: study}, func(context.Context) error {
			held := false
			if err := a.step(func() { held = w.held }); err != nil {
				return err
			}
			if held {
				return fault.New(fault.Conflict, "held")
			}
			return nil
		})
		if err == nil {
			w.ok++
		}
	})
}

// holds has a node state a hold of the study, or of a patient, and acknowledge it.
func (w *world) holds(of archive.Ref) {
	w.begin(1000, func(a *actor) {
		n := &node{actor: a, session: "holds"}
		if err := a.step(func() { w.held = true }); err != nil {
			return
		}
		if n.guard().Protect(context.Background(), of) != nil {
			return
		}
		_ = a.step(func() {
			w.acked = w.moment
			for at, k := range w.objects {
				if k == archive.FactKeyClosed && !w.indexed[at] {
					w.unknown++
				}
			}
		})
	})
}

// network does what was sent, each at a moment of its own.
func (w *world) network(writes *[]func(), most int) {
	w.begin(1000, func(a *actor) {
		for range most {
			_ = a.step(func() {
				for _, do := range *writes {
					do()
				}
			})
		}
	})
}

func newWorld() *world {
	return &world{objects: map[archive.LogPlace]archive.FactKind{}, landed: map[archive.LogPlace]int{}, indexed: map[archive.LogPlace]bool{}}
}

// right expects that nothing was destroyed after the hold was acknowledged, nor before without the index knowing.
func (w *world) right(t *testing.T) (destroyed bool) {
	t.Helper()
	for at, k := range w.objects {
		if k != archive.FactKeyClosed {
			continue
		}
		destroyed = true
		if w.acked > 0 && w.landed[at] > w.acked {
			t.Errorf("destroyed at moment %d, although a hold was acknowledged at %d", w.landed[at], w.acked)
		}
	}
	if w.unknown > 0 {
		t.Error("when the hold was acknowledged the index did not know of what was destroyed")
	}
	return destroyed
}

// TestEveryOrder: a node destroys and another holds, in every order of their operations, where the first one dies before each of
// its operations, or its write arrives at any moment after it has given up.
func TestEveryOrder(t *testing.T) {
	for _, of := range []archive.Ref{study, {}} {
		for _, late := range []bool{false, true} {
			for dies := 1; dies <= 9; dies++ {
				runs, destroyed, acked := 0, 0, 0
				for plan := []int(nil); ; runs++ {
					w := newWorld()
					var writes []func()
					w.destroys("destroys", dies, late, &writes)
					w.holds(of)
					if late {
						w.network(&writes, 1)
					}
					var widths []int
					w.run(func(waiting int) int {
						at := len(widths)
						widths = append(widths, waiting)
						if at == len(plan) {
							plan = append(plan, 0)
						}
						return plan[at]
					})
					if w.right(t) {
						destroyed++
					}
					if w.acked > 0 {
						acked++
					}
					if t.Failed() {
						t.Fatalf("late %v, dies before %d, order %v", late, dies, plan)
					}
					for len(plan) > 0 && plan[len(plan)-1] == widths[len(plan)-1]-1 {
						plan = plan[:len(plan)-1]
					}
					if len(plan) == 0 {
						break
					}
					plan[len(plan)-1]++
				}
				runs++
				if acked != runs {
					t.Errorf("late %v, dies before %d: %d of %d holds were acknowledged", late, dies, acked, runs)
				}
				if dies >= 4 && (destroyed == 0 || destroyed == runs) {
					t.Errorf("late %v, dies before %d: destroyed in %d of %d orders", late, dies, destroyed, runs)
				}
			}
		}
	}
}

// TestManyAtOnce: two nodes destroy, and one holds. Where nobody holds, asking again destroys.
func TestManyAtOnce(t *testing.T) {
	destroyed := 0
	const runs = 20_000
	for seed := range uint64(runs) {
		r := rand.New(rand.NewPCG(seed, 1))
		w := newWorld()
		var writes []func()
		for _, name := range []string{"one", "two"} {
			dies := 1000
			if r.IntN(3) == 0 {
				dies = 1 + r.IntN(9)
			}
			w.destroys(name, dies, r.IntN(3) == 0, &writes)
		}
		w.network(&writes, 3)
		if seed%4 > 0 {
			w.holds([]archive.Ref{study, {}}[seed%2])
		}
		w.run(r.IntN)
		if w.right(t) {
			destroyed++
		}
		if seed%4 == 0 && w.ok == 0 {
			w.destroys("three", 1000, false, &writes)
			w.run(r.IntN)
			if w.ok != 1 || len(w.intents) != 0 {
				t.Errorf("asked again: %d succeeded, %d intents are left", w.ok, len(w.intents))
			}
		}
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
	if destroyed < runs/10 || destroyed > runs*9/10 {
		t.Errorf("destroyed in %d of %d runs", destroyed, runs)
	}
}
