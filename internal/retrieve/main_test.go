package retrieve_test

import (
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/strata-pacs/strata/internal/pixel"
	"github.com/strata-pacs/strata/internal/pixel/sandbox"
	"github.com/strata-pacs/strata/internal/retrieve"
	"github.com/strata-pacs/strata/internal/retrieve/retrievetest"
)

func TestMain(m *testing.M) {
	sandbox.Main()
	code := m.Run()
	if err := closePool(); err != nil && code == 0 {
		code = 1
	}
	os.Exit(code)
}

// pool is shared by all tests: its workers take longer to start than a frame to
// decode. Nil where the codecs are not built in, and in short tests, which the
// race detector runs: it takes minutes to compile them.
var pool = sync.OnceValue(func() *sandbox.Pool {
	if !sandbox.Available() || testing.Short() {
		return nil
	}
	o := sandbox.Options{Timeout: time.Minute} // machines that test are busy
	if dir, err := os.UserCacheDir(); err == nil {
		o.Cache = filepath.Join(dir, "strata-build", "codecs")
	}
	return sandbox.New(o)
})

func closePool() error {
	if p := pool(); p != nil {
		return p.Close()
	}
	return nil
}

// newCodec returns all codecs that were built in.
func newCodec() *pixel.Codecs { return pixel.New(pool()) }

// newCodecs returns a reader that has all codecs which were built in.
func newCodecs(tb testing.TB, a *retrievetest.Archive) *retrieve.Reader {
	tb.Helper()
	r := retrieve.New(retrieve.Options{Index: a, Objects: a, Secrets: a, Codecs: newCodec()})
	tb.Cleanup(r.Close)
	return r
}
