//go:build !linux

package filestore

import (
	"math"
	"os"
)

func renameNew(from, to string) error       { return linkNew(from, to) }
func startWriteback(*os.File, int64, int64) {}
func awaitWriteback(f *os.File) error       { return f.Sync() }
func keepsOrder(string) bool                { return false }
func syncFS(dir string) error               { return syncDir(dir) }
func allocate(f *os.File, size int64) error { return fill(f, size) }

// space is not known here: the ballast keeps its full size, and no headroom is kept.
func space(string) (total, free int64, err error) { return math.MaxInt64, math.MaxInt64, nil }
