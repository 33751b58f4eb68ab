package testservers

import (
	"os"
	"path/filepath"
	"testing"
)

// Program returns the path of a program that `make setup` brought, in its cache or on PATH. Without
// it the test is skipped, or fails where CI is set.
func Program(t testing.TB, name string) string {
	t.Helper()
	return binary(t, name)
}

// Folder returns a folder that `make setup` brought into its cache, as [Program] a program.
func Folder(t testing.TB, name string) string {
	t.Helper()
	if cache, err := os.UserCacheDir(); err == nil {
		p := filepath.Join(cache, "strata-build", name)
		if _, err := os.Stat(p); err == nil {
			return p
		}
	}
	missing(t, name)
	return ""
}
