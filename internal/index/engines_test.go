package index

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/testservers"
)

// engine returns the options of an empty database of its own.
type engine func(t testing.TB) Options

// both runs the test on both engines.
func both(t *testing.T, f func(*testing.T, engine)) {
	t.Run("sqlite", func(t *testing.T) { f(t, onSQLite) })
	t.Run("postgres", func(t *testing.T) { f(t, onPostgres) })
}

func onSQLite(t testing.TB) Options {
	t.Helper()
	o := baseOptions()
	o.Path = t.TempDir() + "/index.db"
	if err := os.WriteFile(o.Path, emptyIndex(t), 0o600); err != nil {
		t.Fatal(err)
	}
	return o
}

// emptyIndex is the file of an index with nothing in it, made once: under the race detector the migrations
// take longer than most tests.
func emptyIndex(t testing.TB) []byte {
	t.Helper()
	b, err := emptyOnce()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

var emptyOnce = sync.OnceValues(func() ([]byte, error) {
	dir, err := os.MkdirTemp("", "index")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	o := baseOptions()
	o.Path = filepath.Join(dir, "empty.db")
	x, err := Open(context.Background(), o)
	if err == nil {
		err = x.Close()
	}
	if err != nil {
		return nil, err
	}
	return os.ReadFile(o.Path)
})

// onPostgres gives a schema in a cluster that all tests share.
func onPostgres(t testing.TB) Options {
	o := baseOptions()
	o.DSN = sharedPostgres(t).DSN(newSchema())
	o.Poll = 20 * time.Millisecond
	return o
}

func baseOptions() Options {
	return Options{
		Keys: func(_ context.Context, t archive.Tenant) (Keys, error) { return fakeKeys(t), nil },
		Now:  func() time.Time { return time.UnixMilli(1_700_000_000_000) },
	}
}

var (
	schemas  atomic.Int64
	cluster  *testservers.PostgresServer
	startOne sync.Once
	startErr error
)

func newSchema() string { return fmt.Sprintf("s%d", schemas.Add(1)) }

func sharedPostgres(t testing.TB) *testservers.PostgresServer {
	t.Helper()
	startOne.Do(func() { cluster, startErr = testservers.StartPostgres() })
	if errors.Is(startErr, testservers.ErrNoPostgres) && os.Getenv("CI") == "" {
		t.Skip(startErr)
	}
	if startErr != nil {
		t.Fatal(startErr)
	}
	return cluster
}

func TestMain(m *testing.M) {
	code := m.Run()
	if cluster != nil {
		cluster.Close()
	}
	os.Exit(code)
}

func openWith(t testing.TB, o Options) *Index {
	t.Helper()
	x, err := Open(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := x.Close(); err != nil {
			t.Error(err)
		}
	})
	return x
}
