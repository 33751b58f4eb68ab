package glaciertest

import (
	"sync"
	"time"
)

// Clock is a time that passes only when it is told to.
type Clock struct {
	mu  sync.Mutex
	now time.Time
}

// NewClock returns a clock that stands at the time of its making.
func NewClock() *Clock { return &Clock{now: time.Now().UTC().Truncate(time.Second)} }

// Now returns its time. It is what [Options] and others want as their clock.
func (c *Clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

// Advance lets time pass.
func (c *Clock) Advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// Fast returns a clock that starts now and runs factor times as fast as the real
// one: with 3600 an hour takes a second.
func Fast(factor int) (now func() time.Time) {
	start := time.Now()
	return func() time.Time { return start.Add(time.Duration(factor) * time.Since(start)) }
}
