package retrieve_test

import (
	"testing"

	"github.com/strata-pacs/strata/internal/pixel"
	"github.com/strata-pacs/strata/internal/pixel/sandbox"
	"github.com/strata-pacs/strata/internal/pixel/sandbox/sandboxtest"
	"github.com/strata-pacs/strata/internal/retrieve"
	"github.com/strata-pacs/strata/internal/retrieve/retrievetest"
)

func TestMain(m *testing.M) { sandboxtest.Main(m) }

// newCodecs returns a reader that has all codecs which were built in.
func newCodecs(tb testing.TB, a *retrievetest.Archive) *retrieve.Reader {
	tb.Helper()
	var p *sandbox.Pool
	if sandbox.Available() {
		p = sandboxtest.Pool(tb)
	}
	r := retrieve.New(retrieve.Options{Index: a, Objects: a, Secrets: a, Codecs: pixel.New(p)})
	tb.Cleanup(r.Close)
	return r
}
