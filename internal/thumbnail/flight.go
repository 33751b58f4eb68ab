package thumbnail

import (
	"context"
	"fmt"
)

// flight is one picture being made for all who wait for it. One that goes away
// does not stop it; the last does.
type flight struct {
	done    chan struct{}
	cancel  context.CancelFunc
	picture *picture // set before done is closed
	err     error
	waiting int // guarded by Maker.mu
}

// join waits for what makes the picture of the key, starting it where nobody has.
func (m *Maker) join(ctx context.Context, k pictureKey, obtain func(context.Context) (*picture, error)) (*picture, error) {
	m.mu.Lock()
	if m.closed {
		m.mu.Unlock()
		return nil, errClosed
	}
	f := m.flights[k]
	if f == nil {
		f = &flight{done: make(chan struct{})}
		making, cancel := context.WithCancel(m.ctx)
		f.cancel = cancel
		m.flights[k] = f
		m.wg.Go(func() {
			defer cancel()
			f.picture, f.err = obtain(making)
			m.mu.Lock()
			if m.flights[k] == f {
				delete(m.flights, k)
			}
			m.mu.Unlock()
			close(f.done)
		})
	}
	f.waiting++
	m.mu.Unlock()
	select {
	case <-f.done:
		return f.picture, f.err
	case <-ctx.Done():
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if f.waiting--; f.waiting == 0 {
		f.cancel()
		if m.flights[k] == f {
			delete(m.flights, k) // who comes now begins anew
		}
	}
	return nil, fmt.Errorf("waiting for a thumbnail: %w", ctx.Err())
}
