package keys_test

import (
	"context"
	"io"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/storage"
	"github.com/strata-pacs/strata/storage/driver"
)

// silent is a store that can fall silent.
type silent struct {
	driver.Driver
	is atomic.Bool
}

func (s *silent) Open(ctx context.Context, key string, off, n int64) (io.ReadCloser, error) {
	if s.is.Load() {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	return s.Driver.Open(ctx, key, off, n)
}

// TestSilentStore: a store that gives no key is the server's trouble, and not a
// client's that was too slow.
func TestSilentStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		s := &silent{Driver: w.mem}
		w.bucket = storage.New(s)
		id, _ := newKey(t, w.open(t, "a"))
		r := w.open(t, "a") // which does not have it in memory
		s.is.Store(true)
		if _, err := r.Secret(t.Context(), id); !fault.Is(err, fault.Unavailable) {
			t.Errorf("a silent store: %v", err)
		}
		short, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := r.Secret(short, id); !fault.Is(err, fault.Timeout) {
			t.Errorf("a caller in a hurry: %v", err)
		}
		synctest.Wait()
		time.Sleep(time.Minute) // the fetch that nobody waits for ends too
		s.is.Store(false)
		if got, err := r.Secret(t.Context(), id); err != nil {
			t.Errorf("afterwards: %v", err)
		} else {
			got.Wipe()
		}
	})
}
