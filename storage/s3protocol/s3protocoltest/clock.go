package s3protocoltest

import (
	"sync"
	"time"
)

// clock is a time that passes only when it is told to, so that a loaded machine
// is not taken for a store that stands still. The zero value is ready.
type clock struct {
	mu     sync.Mutex
	passed time.Duration
	timers map[*timer]struct{}
}

type timer struct {
	at time.Duration
	f  func()
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return time.Unix(0, 0).Add(c.passed)
}

func (c *clock) afterFunc(d time.Duration, f func()) (stop func() bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.timers == nil {
		c.timers = map[*timer]struct{}{}
	}
	t := &timer{c.passed + d, f}
	c.timers[t] = struct{}{}
	return func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		_, waiting := c.timers[t]
		delete(c.timers, t)
		return waiting
	}
}

// pass lets time pass, and calls what is due.
func (c *clock) pass(d time.Duration) {
	c.mu.Lock()
	c.passed += d
	var due []func()
	for t := range c.timers {
		if t.at <= c.passed {
			due = append(due, t.f)
			delete(c.timers, t)
		}
	}
	c.mu.Unlock()
	for _, f := range due {
		f()
	}
}
