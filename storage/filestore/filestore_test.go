package filestore

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/strata-pacs/strata/storage/driver"
	"github.com/strata-pacs/strata/storage/drivertest"
)

// open returns a store; t.TempDir's file system decides what is tested.
func open(t testing.TB, dir string, o Options) *Store {
	t.Helper()
	s, err := New(dir, o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func harness(change func(*Store)) drivertest.Harness {
	o := Options{Ballast: 1 << 20, Headroom: -1}
	return drivertest.Harness{
		New: func(t *testing.T) driver.Driver {
			s := open(t, filepath.Join(t.TempDir(), "store"), o)
			change(s)
			return s
		},
		Reopen: func(t *testing.T, d driver.Driver) driver.Driver {
			s := open(t, strings.TrimSuffix(d.(*Store).objects, "/objects"), o)
			change(s)
			return s
		},
	}
}

func TestDriver(t *testing.T) { drivertest.Run(t, harness(func(*Store) {})) }

// TestDriverNamed examines the way of file systems without O_TMPFILE.
func TestDriverNamed(t *testing.T) {
	drivertest.Run(t, harness(func(s *Store) { s.unnamed = false }))
}
