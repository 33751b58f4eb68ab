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

// newCodec returns all codecs that were built in.
func newCodec(tb testing.TB) *pixel.Codecs {
	tb.Helper()
	if !sandbox.Available() {
		return pixel.New(nil)
	}
	return pixel.New(sandboxtest.Pool(tb))
}

// newCodecs returns a reader that has all codecs which were built in.
func newCodecs(tb testing.TB, a *retrievetest.Archive) *retrieve.Reader {
	tb.Helper()
	r := retrieve.New(retrieve.Options{Index: a, Objects: a, Secrets: a, Codecs: newCodec(tb)})
	tb.Cleanup(r.Close)
	return r
}
