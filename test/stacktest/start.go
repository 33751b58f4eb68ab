//go:build linux

package stacktest

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/strata-pacs/strata/internal/pixel/sandbox/sandboxtest"
)

// Start opens a stack for a test and closes it when the test ends; without a
// folder it takes one of the test's own, and without a program it builds one.
// Where the servers are missing the test is skipped, unless CI is set.
func Start(t testing.TB, o Options) *Stack {
	t.Helper()
	if o.Dir == "" {
		o.Dir = t.TempDir()
	}
	if o.Nodes > 0 && o.Program == "" {
		program, err := Build(t.Context(), t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		o.Program = program
	}
	route := o.Route
	o.Route = func(s *Stack) {
		for i := range o.Nodes {
			sandboxtest.Warm(t, o.Program, filepath.Join(s.path(nodeName(i)), "data"))
		}
		if route != nil {
			route(s)
		}
	}
	s, err := Open(t.Context(), o)
	var lacking missing
	switch {
	case errors.As(err, &lacking) && os.Getenv("CI") == "":
		t.Skip(err)
	case err != nil:
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			for _, p := range s.Processes() {
				t.Log(p.Tail())
			}
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}
