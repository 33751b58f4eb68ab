package sim

import (
	"context"
	"math/rand/v2"
	"strings"
	"sync"

	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/storage/driver"
	"github.com/strata-pacs/strata/storage/faultstore"
)

const tenant = "sim"

// watch is the one store under all nodes. It complains about whatever the
// product may never do to an object.
type watch struct {
	driver.Driver // no optional interfaces: each read is a step
	mutant        mutant
	random        *rand.Rand

	mu         sync.Mutex
	there      map[string]bool
	complaints []string
}

func (w *watch) complain(what, key string) {
	w.complaints = append(w.complaints, what+": "+key)
}

func (w *watch) Create(ctx context.Context, key string, o driver.CreateOptions) (driver.Writer, error) {
	if w.mutant == overwrites {
		o.IfAbsent = false
	}
	inner, err := w.Driver.Create(ctx, key, o)
	if err != nil {
		return nil, err
	}
	return &watched{inner, w, key}, nil
}

func (w *watch) Delete(ctx context.Context, key string) error {
	err := w.Driver.Delete(ctx, key)
	w.mu.Lock()
	defer w.mu.Unlock()
	if err == nil {
		if w.there[key] && !strings.HasPrefix(key, tenant+"/pack/") && !strings.HasPrefix(key, tenant+"/clock/") {
			w.complain("an object that is part of the truth was deleted", key)
		}
		delete(w.there, key)
	}
	return err
}

type watched struct {
	driver.Writer
	w   *watch
	key string
}

func (o *watched) Commit(ctx context.Context) (driver.Attrs, error) {
	a, err := o.Writer.Commit(ctx)
	if err != nil {
		return a, err
	}
	w := o.w
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.there[o.key] {
		w.complain("an object was rewritten", o.key)
	}
	w.there[o.key] = true
	if w.mutant == losesLog && strings.HasPrefix(o.key, tenant+"/log/") && w.random.IntN(20) == 0 ||
		w.mutant == losesPack && strings.HasPrefix(o.key, tenant+"/pack/") && w.random.IntN(5) == 0 ||
		w.mutant == losesKey && strings.HasPrefix(o.key, tenant+"/key/") && w.random.IntN(5) == 0 {
		return a, w.Driver.Delete(ctx, o.key)
	}
	return a, nil
}

// trouble is what goes wrong for one node. The zero value is none.
type trouble struct {
	mu      sync.Mutex
	random  *rand.Rand
	rate    float64 // of failing steps
	crashIn int     // steps until the node crashes; 0: it does not
	steps   int
	hit     func(what string)
}

func (t *trouble) set(rate float64, crashIn int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.rate, t.crashIn = rate, crashIn
}

// decide is the node's faultstore.Script; steps of the index count too.
func (t *trouble) decide(op faultstore.Op) faultstore.Decision {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.steps++
	if t.crashIn > 0 {
		if t.crashIn--; t.crashIn == 0 {
			a := faultstore.CrashBefore
			if t.random.IntN(2) == 0 {
				a = faultstore.CrashAfter
			}
			t.hit("crash at " + string(op.Name) + " " + op.Key)
			return faultstore.Decision{Action: a}
		}
	}
	if t.random.Float64() >= t.rate {
		return faultstore.Decision{}
	}
	choices := []faultstore.Decision{{Action: faultstore.FailBefore}, {Action: faultstore.FailAfter}}
	switch op.Name {
	case faultstore.Read:
		choices = append(choices, faultstore.Decision{Action: faultstore.Short}, faultstore.Decision{Action: faultstore.Cut}, faultstore.Decision{Action: faultstore.Flip})
	case faultstore.Write:
		choices = append(choices, faultstore.Decision{Action: faultstore.Short}, faultstore.Decision{Action: faultstore.FailBefore, Err: errFull})
	case faultstore.Create, faultstore.Commit, apply:
		choices = append(choices, faultstore.Decision{Action: faultstore.FailBefore, Err: errFull})
	}
	d := choices[t.random.IntN(len(choices))]
	t.hit("fault " + string(rune('0'+d.Action)) + " at " + string(op.Name) + " " + op.Key)
	return d
}

var errFull = fault.New(fault.Full, "the store has no room")

// apply is the step of the index that writes; look is each of those that read.
const (
	apply faultstore.Name = "apply"
	look  faultstore.Name = "look"
)
