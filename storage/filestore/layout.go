package filestore

import (
	"os"
	"path/filepath"
	"strings"
	"sync"
)

// path returns the file of an object.
func (s *Store) path(key string) string {
	i := strings.LastIndexByte(key, '/') + 1
	return s.objects + "/" + key[:i] + shard(key[i:]) + "/" + key[i:]
}

// shard returns the folder of a key's last element: '+' cannot begin an element,
// so it is never taken for one. The hash is FNV-1a, 32 bits folded to 8.
func shard(last string) string {
	h := uint32(2166136261)
	for i := 0; i < len(last)-2; i++ {
		h = (h ^ uint32(last[i])) * 16777619
	}
	h ^= h >> 16
	h ^= h >> 8
	const hex = "0123456789abcdef"
	return string([]byte{'+', hex[h>>4&15], hex[h&15]})
}

// maxKnown bounds the memory of dirs: some 10 MB.
const maxKnown = 1 << 16

// dirs makes folders durably and remembers which are.
type dirs struct {
	read  sync.RWMutex
	known map[string]struct{} // durable, with all their parents
	make  sync.Mutex          // held while a folder is made and synced
}

func (d *dirs) has(path string) bool {
	d.read.RLock()
	defer d.read.RUnlock()
	_, ok := d.known[path]
	return ok
}

// ensure makes path, below root, and returns when it would survive a power cut.
func (d *dirs) ensure(root, path string) error {
	if path == root || d.has(path) {
		return nil
	}
	d.make.Lock()
	defer d.make.Unlock()
	return d.ensureLocked(root, path)
}

func (d *dirs) ensureLocked(root, path string) error {
	if path == root || d.has(path) {
		return nil
	}
	parent := filepath.Dir(path)
	if err := d.ensureLocked(root, parent); err != nil {
		return err
	}
	if err := os.Mkdir(path, 0o700); err != nil && !os.IsExist(err) {
		return err
	}
	// Also when it was there: who made it may have failed before this.
	if err := syncDir(parent); err != nil {
		return err
	}
	d.read.Lock()
	defer d.read.Unlock()
	if len(d.known) >= maxKnown {
		clear(d.known)
	}
	d.known[path] = struct{}{}
	return nil
}

// makeDurable makes dir and its missing parents, each synced in its own.
func makeDurable(dir string) error {
	if _, err := os.Stat(dir); err == nil {
		return nil
	}
	if parent := filepath.Dir(dir); parent != dir {
		if err := makeDurable(parent); err != nil {
			return err
		}
	}
	if err := os.Mkdir(dir, 0o700); err != nil && !os.IsExist(err) {
		return err
	}
	return syncDir(filepath.Dir(dir))
}

func syncDir(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

// linkNew gives a file a new name if that is free, and takes the old one away.
func linkNew(from, to string) error {
	if err := os.Link(from, to); err != nil {
		return err
	}
	return os.Remove(from)
}
