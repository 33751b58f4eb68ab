// Package drivertest is the examination that every driver.Driver, and every
// wrapper around one, passes. It tests what the interface promises and nothing
// that a store may do as it likes.
package drivertest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"testing"

	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/storage/driver"
)

// Harness makes the drivers under test.
type Harness struct {
	// New returns a driver over an empty store; it registers its own clean-up.
	New func(t *testing.T) driver.Driver
	// Reopen, if not nil, returns a new driver over the store of d, as a process
	// does that starts after a crash: committed objects must be there, staged ones not.
	Reopen func(t *testing.T, d driver.Driver) driver.Driver
	// Untimed is set for drivers whose Commit cannot tell Attrs.Modified.
	Untimed bool
	// Files is set for stores that keep each object as a file under its key, where
	// no key can be a folder of another. Strata has no such keys.
	Files bool
}

// sameAttrs reports whether Commit's attributes are those that Stat tells.
func (h Harness) sameAttrs(committed, stat driver.Attrs) bool {
	if h.Untimed && committed.Modified.IsZero() {
		committed.Modified = stat.Modified
	}
	return committed == stat
}

// Run runs the suite.
func Run(t *testing.T, h Harness) {
	t.Helper()
	for _, c := range []struct {
		name string
		test func(*testing.T, Harness)
	}{
		{"RoundTrip", testRoundTrip},
		{"Ranges", testRanges},
		{"OpenAt", testOpenAt},
		{"Absent", testAbsent},
		{"StagedIsInvisible", testStaged},
		{"WriterEnds", testWriterEnds},
		{"IfAbsent", testIfAbsent},
		{"IfAbsentRace", testIfAbsentRace},
		{"Overwrite", testOverwrite},
		{"IfMatch", testIfMatch},
		{"IfMatchRace", testIfMatchRace},
		{"Delete", testDelete},
		{"Reserved", testReserved},
		{"List", testList},
		{"ListPages", testListPages},
		{"Folders", testFolders},
		{"ListWhileWriting", testListWhileWriting},
		{"Canceled", testCanceled},
		{"Concurrent", testConcurrent},
		{"Reopen", testReopen},
	} {
		t.Run(c.name, func(t *testing.T) { c.test(t, h) })
	}
}

// pattern returns n bytes that differ by seed and position.
func pattern(n int, seed byte) []byte {
	p := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{seed}).Read(p)
	return p
}

func put(ctx context.Context, d driver.Driver, key string, p []byte, o driver.CreateOptions) (driver.Attrs, error) {
	w, err := d.Create(ctx, key, o)
	if err != nil {
		return driver.Attrs{}, err
	}
	defer w.Abort()
	for rest := p; len(rest) > 0; {
		n, err := w.Write(rest[:min(len(rest), 100<<10)])
		if err != nil {
			return driver.Attrs{}, err
		}
		rest = rest[n:]
	}
	return w.Commit(ctx)
}

func mustPut(t *testing.T, d driver.Driver, key string, p []byte, o driver.CreateOptions) driver.Attrs {
	t.Helper()
	a, err := put(t.Context(), d, key, p, o)
	if err != nil {
		t.Fatalf("storing %s: %v", key, err)
	}
	return a
}

func get(ctx context.Context, d driver.Driver, key string, off, n int64) ([]byte, error) {
	r, err := d.Open(ctx, key, off, n)
	if err != nil {
		return nil, err
	}
	p, err := io.ReadAll(r)
	return p, errors.Join(err, r.Close())
}

func wantBytes(t *testing.T, d driver.Driver, key string, want []byte) {
	t.Helper()
	got, err := get(t.Context(), d, key, 0, -1)
	if err != nil {
		t.Fatalf("reading %s: %v", key, err)
	}
	if !bytes.Equal(got, want) {
		t.Fatalf("%s has %d bytes that are not the %d stored", key, len(got), len(want))
	}
}

func wantKind(t *testing.T, err error, k fault.Kind) {
	t.Helper()
	if !fault.Is(err, k) {
		t.Fatalf("error %v is of kind %v, want %v", err, fault.KindOf(err), k)
	}
}

func wantAbsent(t *testing.T, d driver.Driver, key string) {
	t.Helper()
	_, err := d.Open(t.Context(), key, 0, -1)
	wantKind(t, err, fault.NotFound)
	_, err = d.Stat(t.Context(), key)
	wantKind(t, err, fault.NotFound)
	p, err := d.List(t.Context(), key, "", 10)
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range p.Objects {
		if o.Key == key {
			t.Fatalf("%s is listed and should not be there", key)
		}
	}
}

// keys lists every key with the prefix, limit a page.
func keys(ctx context.Context, d driver.Driver, prefix, after string, limit int) ([]string, error) {
	var all []string
	for {
		p, err := d.List(ctx, prefix, after, limit)
		if err != nil {
			return nil, err
		}
		if len(p.Objects) > limit {
			return nil, errors.New("a page holds more than its limit")
		}
		for _, o := range p.Objects {
			if o.Key <= after {
				return nil, errors.New("a page does not ascend from where it should start")
			}
			after = o.Key
			all = append(all, o.Key)
		}
		if !p.More {
			return all, nil
		}
		if len(p.Objects) == 0 {
			return nil, errors.New("a page is empty and says there is more")
		}
	}
}
