//go:build !linux

package filestore

import (
	"errors"
	"math"
	"os"
	"time"
)

var errUnnamed = errors.New("filestore: no files without a name on this system")

func openUnnamed(string) (*os.File, error)      { return nil, errUnnamed }
func linkUnnamed(*os.File, string) error        { return errUnnamed }
func canLinkUnnamed(string) bool                { return false }
func renameNew(from, to string) error           { return linkNew(from, to) }
func startWriteback(*os.File, int64, int64)     {}
func setModified(f *os.File, t time.Time) error { return os.Chtimes(f.Name(), t, t) }
func syncFS(dir string) error                   { return syncDir(dir) }
func allocate(f *os.File, size int64) error     { return fill(f, size) }

// space is not known here: the ballast keeps its full size, and no headroom is kept.
func space(string) (total, free int64, err error) { return math.MaxInt64, math.MaxInt64, nil }
