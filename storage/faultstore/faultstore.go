// Package faultstore wraps a driver so that it fails where a script says: before
// or after an operation took effect, in the middle of a write or a read, or for
// good as in a crash. Scripts are functions; [Random] makes one from a seed, so
// that a failing run can be had again.
//
// It counts operations in the order in which they come. Under concurrency that
// order is the scheduler's; a deterministic simulation runs one at a time.
package faultstore

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/storage/driver"
)

// Name says what an operation does.
type Name string

// The operations. A Write is one call of it; a Read likewise, also of a mapped object.
const (
	Create Name = "create"
	Write  Name = "write"
	Commit Name = "commit"
	Open   Name = "open"
	Read   Name = "read"
	Stat   Name = "stat"
	List   Name = "list"
	Delete Name = "delete"
	Purge  Name = "purge"
	Class  Name = "class"
	Thaw   Name = "thaw"
	Lock   Name = "lock"
)

// Op is one operation about to happen.
type Op struct {
	N    int // ascending from 1
	Name Name
	Key  string // the prefix, of a List
	Size int    // bytes, of a Write or Read
}

// Action says what becomes of an operation.
type Action uint8

// The actions.
const (
	Pass        Action = iota
	FailBefore         // it fails and has no effect
	FailAfter          // it takes effect and then fails: the caller cannot know
	Short              // of a Write: half is written, then it fails. Of a Read: fewer bytes come, without error
	Cut                // of a Read: half comes, then it fails
	Flip               // of a Read: one bit is wrong
	CrashBefore        // nothing of it happens, and everything fails from then on until Restart
	CrashAfter         // it takes effect, and everything fails from then on until Restart
)

// Decision is what a script makes of an operation.
type Decision struct {
	Action Action
	Err    error // of the failure; a fault.Unavailable if nil
}

// Script decides about each operation. It is called by one goroutine at a time.
type Script func(Op) Decision

// ErrInjected is wrapped by the failures that a script names no error for.
var ErrInjected = errors.New("faultstore: an injected failure")

// ErrCrashed is wrapped by every failure after a crash.
var ErrCrashed = errors.New("faultstore: the process has crashed")

var (
	errInjected = fault.Wrap(fault.Unavailable, ErrInjected, "the store does not answer")
	errCrashed  = fault.Wrap(fault.Unavailable, ErrCrashed, "the store does not answer")
)

// Store is the wrapper. It is safe for concurrent use.
type Store struct {
	driver.Driver // with the optional interfaces that the wrapped driver has
	f             *faults
}

// faults is the state that all operations share.
type faults struct {
	mu      sync.Mutex
	script  Script
	n       int
	crashed bool
	life    int // grows with Restart: streams of an earlier life stay dead
}

// New returns d with faults; a nil script lets everything pass. The Driver of the
// result is what to hand on: it has the optional interfaces that d has, but for
// driver.Repeater, by which writers would be tried again past the faults.
func New(d driver.Driver, script Script) *Store {
	f := &faults{script: script}
	s := &store{d: d, f: f}
	var o driver.Optional
	can := driver.OptionalOf(d)
	if can.Mapper != nil {
		o.Mapper = mapper{f, can.Mapper}
	}
	if can.Purger != nil {
		o.Purger = purger{f, can.Purger}
	}
	if can.Classer != nil {
		o.Classer = classer{f, can.Classer}
	}
	if can.Thawer != nil {
		o.Thawer = thawer{f, can.Thawer}
	}
	if can.Locker != nil {
		o.Locker = locker{f, can.Locker}
	}
	if can.Folders != nil {
		o.Folders = folders{f, can.Folders}
	}
	return &Store{Driver: driver.Join(s, o), f: f}
}

// Script replaces the script; nil lets everything pass.
func (s *Store) Script(script Script) {
	s.f.mu.Lock()
	defer s.f.mu.Unlock()
	s.f.script = script
}

// Ops returns how many operations there were.
func (s *Store) Ops() int {
	s.f.mu.Lock()
	defer s.f.mu.Unlock()
	return s.f.n
}

// Crashed reports whether a crash happened and no Restart since.
func (s *Store) Crashed() bool {
	s.f.mu.Lock()
	defer s.f.mu.Unlock()
	return s.f.crashed
}

// Crash makes everything fail from now on.
func (s *Store) Crash() {
	s.f.mu.Lock()
	defer s.f.mu.Unlock()
	s.f.crashed = true
}

// Restart ends a crash. Readers and writers of before stay dead, and staged
// objects are never committed.
func (s *Store) Restart() {
	s.f.mu.Lock()
	defer s.f.mu.Unlock()
	s.f.crashed = false
	s.f.life++
}

// now returns the current life.
func (f *faults) now() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.life
}

// decide counts an operation of a life and asks the script.
func (f *faults) decide(life int, name Name, key string, size int) Decision {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.crashed || life != f.life {
		return Decision{FailBefore, errCrashed}
	}
	f.n++
	var d Decision
	if f.script != nil {
		d = f.script(Op{f.n, name, key, size})
	}
	if d.Err == nil {
		d.Err = errInjected
	}
	if d.Action == CrashBefore || d.Action == CrashAfter {
		f.crashed, d.Err = true, errCrashed
	}
	return d
}

// do runs an operation under a decision.
func (f *faults) do(life int, name Name, key string, op func() error) error {
	d := f.decide(life, name, key, 0)
	switch d.Action {
	case FailBefore, CrashBefore:
		return d.Err
	case FailAfter, CrashAfter:
		if err := op(); err != nil {
			return err
		}
		return d.Err
	}
	return op()
}

// Random returns a script that lets each operation fail with the probability of
// its name in rates, choosing evenly among the actions given (FailBefore if none).
func Random(seed uint64, rates map[Name]float64, actions ...Action) Script {
	if len(actions) == 0 {
		actions = []Action{FailBefore}
	}
	r := rand.New(rand.NewPCG(seed, 0x5374726174610000))
	return func(op Op) Decision {
		// Both numbers are drawn always, so that one rate does not shift the others.
		hit, which := r.Float64(), r.IntN(len(actions))
		if hit >= rates[op.Name] {
			return Decision{}
		}
		return Decision{Action: actions[which]}
	}
}

// At returns a script that takes the action at the n-th operation alone.
func At(n int, a Action) Script {
	return func(op Op) Decision {
		if op.N == n {
			return Decision{Action: a}
		}
		return Decision{}
	}
}

type store struct {
	d driver.Driver
	f *faults
}

func (s *store) Create(ctx context.Context, key string, o driver.CreateOptions) (w driver.Writer, err error) {
	life := s.f.now()
	var inner driver.Writer
	if err := s.f.do(life, Create, key, func() error { inner, err = s.d.Create(ctx, key, o); return err }); err != nil {
		if inner != nil {
			inner.Abort()
		}
		return nil, err
	}
	return &writer{f: s.f, life: life, key: key, w: inner}, nil
}

func (s *store) Open(ctx context.Context, key string, off, n int64) (r io.ReadCloser, err error) {
	life := s.f.now()
	var inner io.ReadCloser
	if err := s.f.do(life, Open, key, func() error { inner, err = s.d.Open(ctx, key, off, n); return err }); err != nil {
		if inner != nil {
			_ = inner.Close()
		}
		return nil, err
	}
	return &reader{f: s.f, life: life, key: key, r: inner}, nil
}

func (s *store) Stat(ctx context.Context, key string) (a driver.Attrs, err error) {
	err = s.f.do(s.f.now(), Stat, key, func() error { a, err = s.d.Stat(ctx, key); return err })
	return a, err
}

func (s *store) List(ctx context.Context, prefix, after string, limit int) (p driver.Page, err error) {
	err = s.f.do(s.f.now(), List, prefix, func() error { p, err = s.d.List(ctx, prefix, after, limit); return err })
	return p, err
}

func (s *store) Delete(ctx context.Context, key string) error {
	return s.f.do(s.f.now(), Delete, key, func() error { return s.d.Delete(ctx, key) })
}

type purger struct {
	f *faults
	p driver.Purger
}

func (p purger) Purge(ctx context.Context, key string) error {
	return p.f.do(p.f.now(), Purge, key, func() error { return p.p.Purge(ctx, key) })
}

type classer struct {
	f *faults
	c driver.Classer
}

func (c classer) SetClass(ctx context.Context, key, class string) error {
	return c.f.do(c.f.now(), Class, key, func() error { return c.c.SetClass(ctx, key, class) })
}

type thawer struct {
	f *faults
	t driver.Thawer
}

func (t thawer) Thaw(ctx context.Context, key string, o driver.ThawOptions) error {
	return t.f.do(t.f.now(), Thaw, key, func() error { return t.t.Thaw(ctx, key, o) })
}

type folders struct {
	f *faults
	d driver.Folders
}

func (l folders) Folders(ctx context.Context, folder, after string, limit int) (names []string, more bool, err error) {
	err = l.f.do(l.f.now(), List, folder, func() error { names, more, err = l.d.Folders(ctx, folder, after, limit); return err })
	return names, more, err
}

type locker struct {
	f *faults
	l driver.Locker
}

func (l locker) Lock(ctx context.Context, key string, until time.Time) error {
	return l.f.do(l.f.now(), Lock, key, func() error { return l.l.Lock(ctx, key, until) })
}

func (l locker) Locks() bool { return l.l.Locks() }
