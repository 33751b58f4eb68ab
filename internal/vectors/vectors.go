// Package vectors reads and writes the test vectors of the storage formats,
// storage/testdata/vectors: small text files that another reader or writer of
// the formats can be held against. storage/FORMAT.md describes the files.
package vectors

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// Vector is one test vector.
type Vector struct {
	Name    string // the file's name without ".txt"
	Comment string // what it shows, one line or several
	Fields  []Field
	Parts   []Part // of the bytes
}

// Field is one "name: value" line. A name may come more than once.
type Field struct{ Name, Value string }

// Part is a run of a vector's bytes: literal, or a part of another vector's.
type Part struct {
	Literal []byte
	From    string // name of the other vector
	Off, N  int
}

// Get returns the first value of the field, or "".
func (v *Vector) Get(name string) string {
	for _, f := range v.Fields {
		if f.Name == name {
			return f.Value
		}
	}
	return ""
}

// All returns every value of the field.
func (v *Vector) All(name string) []string {
	var out []string
	for _, f := range v.Fields {
		if f.Name == name {
			out = append(out, f.Value)
		}
	}
	return out
}

// Hex returns the value of the field, which is hexadecimal; the test fails if it is not.
func (v *Vector) Hex(t testing.TB, name string) []byte {
	t.Helper()
	b, err := hex.DecodeString(v.Get(name))
	if err != nil {
		t.Fatalf("%s: %s: %v", v.Name, name, err)
	}
	return b
}

// Bytes returns the bytes of the vector.
func (v *Vector) Bytes(t testing.TB) []byte {
	t.Helper()
	var out []byte
	for _, p := range v.Parts {
		if p.From == "" {
			out = append(out, p.Literal...)
			continue
		}
		b := read(t, p.From).Bytes(t)
		if p.Off < 0 || p.N < 0 || p.Off+p.N > len(b) {
			t.Fatalf("%s: %s has no %d bytes at %d", v.Name, p.From, p.N, p.Off)
		}
		out = append(out, b[p.Off:][:p.N]...)
	}
	return out
}

// Load returns the vectors whose names begin with prefix, by name.
func Load(t testing.TB, prefix string) []*Vector {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(folder(t), prefix+"*.txt"))
	if err != nil {
		t.Fatal(err)
	}
	var out []*Vector
	for _, name := range names {
		out = append(out, read(t, strings.TrimSuffix(filepath.Base(name), ".txt")))
	}
	return out
}

// Write writes the vector over what is there.
func (v *Vector) Write(t testing.TB) {
	t.Helper()
	var b bytes.Buffer
	for _, line := range strings.Split(v.Comment, "\n") {
		fmt.Fprintf(&b, "# %s\n", line)
	}
	for _, f := range v.Fields {
		fmt.Fprintf(&b, "%s: %s\n", f.Name, f.Value)
	}
	b.WriteString("bytes:\n")
	for _, p := range v.Parts {
		if p.From != "" {
			fmt.Fprintf(&b, "@%s %d %d\n", p.From, p.Off, p.N)
			continue
		}
		for rest := p.Literal; len(rest) > 0; {
			n := min(len(rest), 48)
			fmt.Fprintf(&b, "%x\n", rest[:n])
			rest = rest[n:]
		}
	}
	if err := os.WriteFile(filepath.Join(folder(t), v.Name+".txt"), b.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
}

// Remove removes all vectors whose names begin with prefix, before new ones are written.
func Remove(t testing.TB, prefix string) {
	t.Helper()
	names, _ := filepath.Glob(filepath.Join(folder(t), prefix+"*.txt"))
	for _, name := range names {
		if err := os.Remove(name); err != nil {
			t.Fatal(err)
		}
	}
}

func read(t testing.TB, name string) *Vector {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(folder(t), name+".txt"))
	if err != nil {
		t.Fatal(err)
	}
	v, err := parse(name, string(text))
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return v
}

func parse(name, text string) (*Vector, error) {
	v := &Vector{Name: name}
	head, body, ok := strings.Cut(text, "bytes:\n")
	if !ok {
		return nil, errors.New("no bytes")
	}
	for _, line := range strings.Split(strings.TrimSuffix(head, "\n"), "\n") {
		if c, ok := strings.CutPrefix(line, "# "); ok {
			v.Comment = strings.TrimPrefix(v.Comment+"\n"+c, "\n")
			continue
		}
		f, value, ok := strings.Cut(line, ":")
		if !ok {
			return nil, fmt.Errorf("not a field: %q", line)
		}
		v.Fields = append(v.Fields, Field{f, strings.TrimPrefix(value, " ")})
	}
	for _, line := range strings.Fields(strings.ReplaceAll(body, " ", "/")) {
		if from, ok := strings.CutPrefix(line, "@"); ok {
			f := strings.Split(from, "/")
			if len(f) != 3 {
				return nil, fmt.Errorf("not a part: %q", line)
			}
			off, err1 := strconv.Atoi(f[1])
			n, err2 := strconv.Atoi(f[2])
			if err := errors.Join(err1, err2); err != nil {
				return nil, err
			}
			v.Parts = append(v.Parts, Part{From: f[0], Off: off, N: n})
			continue
		}
		b, err := hex.DecodeString(line)
		if err != nil {
			return nil, err
		}
		v.Parts = append(v.Parts, Part{Literal: b})
	}
	return v, nil
}

// folder is where the vectors are: beside storage/FORMAT.md, up from the test's folder.
func folder(t testing.TB) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return filepath.Join(dir, "storage", "testdata", "vectors")
		}
		up := filepath.Dir(dir)
		if up == dir {
			t.Fatal("no go.mod above the test's folder")
		}
		dir = up
	}
}
