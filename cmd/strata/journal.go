package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"

	"github.com/zeebo/blake3"

	"github.com/strata-pacs/strata/internal/media"
)

// journal remembers which files of an unfinished import are stored, so that the
// next run with the same paths goes on from there. It holds keyed hashes, never a path;
// it is removed when the import has ended.
type journal struct {
	mu   sync.Mutex
	hash *blake3.Hasher
	done map[mark]bool
	f    *os.File
}

// mark is the keyed hash of a file's name, size and time.
type mark [16]byte

// maxMarks bounds what is read of a journal: 16 bytes each in the file, some 40 in memory.
const maxMarks = 4 << 20

func openJournal(ctx context.Context, cl *client, data string, paths []string) (*journal, error) {
	resp, err := cl.get(ctx, cl.control("journal-key", nil))
	if err != nil {
		return nil, fmt.Errorf("preparing to resume: %w", err)
	}
	defer resp.Body.Close()
	var key []byte
	if err := json.NewDecoder(resp.Body).Decode(&key); err != nil {
		return nil, fmt.Errorf("preparing to resume: %w", err)
	}
	h, err := blake3.NewKeyed(key)
	if err != nil {
		return nil, fmt.Errorf("preparing to resume: %w", err)
	}
	j := &journal{hash: h, done: map[mark]bool{}}
	fields := []string{"import"}
	for _, p := range paths {
		if abs, err := filepath.Abs(p); err == nil {
			p = abs
		}
		fields = append(fields, p)
	}
	name := j.mark(fields...)
	j.f, err = os.OpenFile(filepath.Join(data, fmt.Sprintf("import-%x", name[:])), os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return nil, fmt.Errorf("preparing to resume: %w", err)
	}
	in := bufio.NewReader(j.f)
	for range maxMarks {
		var m mark
		if _, err := io.ReadFull(in, m[:]); err != nil {
			break // a mark cut short is a file to send again
		}
		j.done[m] = true
	}
	return j, nil
}

// mark hashes the fields, each ended by a zero byte, which no path holds.
func (j *journal) mark(fields ...string) mark {
	j.hash.Reset()
	for _, f := range fields {
		j.hash.WriteString(f)
		j.hash.Write([]byte{0})
	}
	var sum [32]byte
	j.hash.Sum(sum[:0])
	return mark(sum[:16])
}

func (j *journal) of(f media.File) mark {
	name := f.Name
	if abs, err := filepath.Abs(name); err == nil {
		name = abs
	}
	return j.mark(name, fmt.Sprint(f.Size), fmt.Sprint(f.Stamp))
}

func (j *journal) has(f media.File) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return len(j.done) > 0 && j.done[j.of(f)]
}

// add notes that the files are stored.
func (j *journal) add(files []media.File) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	var b []byte
	for _, f := range files {
		m := j.of(f)
		b = append(b, m[:]...)
	}
	if _, err := j.f.Write(b); err != nil {
		return fmt.Errorf("noting how far the import is: %w", err)
	}
	return nil
}

func (j *journal) close(finished bool) error {
	err := j.f.Close()
	if finished {
		err = errors.Join(err, os.Remove(j.f.Name()))
	}
	return err
}
