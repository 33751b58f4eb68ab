// Package sandboxtest helps tests whose code decodes images.
package sandboxtest

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/strata-pacs/strata/internal/pixel/sandbox"
)

// Main is the body of TestMain: the test binary is what the pool starts as its
// workers.
//
//	func TestMain(m *testing.M) { sandboxtest.Main(m) }
func Main(m *testing.M) {
	sandbox.Main()
	os.Exit(m.Run())
}

// Pool returns a pool that is closed with the test and shares its compiled
// code with every other test of this user. Where the codecs are not built in
// the test is skipped.
func Pool(tb testing.TB) *sandbox.Pool {
	tb.Helper()
	if !sandbox.Available() {
		tb.Skip("the codecs are not built in: run make codecs")
	}
	p := sandbox.New(sandbox.Options{Cache: Cache(tb)})
	tb.Cleanup(func() {
		if err := p.Close(); err != nil {
			tb.Errorf("closing the sandbox: %v", err)
		}
	})
	return p
}

// Cache returns the folder of compiled code that tests share.
func Cache(tb testing.TB) string {
	tb.Helper()
	dir, err := os.UserCacheDir()
	if err != nil {
		tb.Fatal(err)
	}
	return filepath.Join(dir, "strata-build", "codecs")
}
