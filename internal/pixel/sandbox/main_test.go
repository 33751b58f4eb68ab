package sandbox

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
)

func TestMain(m *testing.M) {
	Main()
	if os.Getenv(probeMarker) != "" {
		probe()
	}
	os.Exit(m.Run())
}

// testCache is the folder of compiled code that all tests of this user share.
func testCache(tb testing.TB) string {
	tb.Helper()
	dir, err := os.UserCacheDir()
	if err != nil {
		tb.Fatal(err)
	}
	return filepath.Join(dir, "strata-build", "codecs")
}

func testPool(tb testing.TB, o Options) *Pool {
	tb.Helper()
	if !Available() {
		tb.Skip("the codecs are not built in: run make codecs")
	}
	if o.Cache == "" {
		o.Cache = testCache(tb)
	}
	p := New(o)
	tb.Cleanup(func() {
		if err := p.Close(); err != nil {
			tb.Error(err)
		}
	})
	return p
}

// rested are the idle workers of a pool.
func rested(p *Pool) []*process {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.idle)
}
