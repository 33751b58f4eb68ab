package localkeys

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/internal/keys"
	"github.com/strata-pacs/strata/internal/keys/keystest"
)

func create(t testing.TB, passphrase string) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "strata.key")
	if err := Create(path, []byte(passphrase)); err != nil {
		t.Fatal(err)
	}
	return path
}

func mustOpen(t testing.TB, path, passphrase string) *File {
	t.Helper()
	f, err := Open(path, []byte(passphrase))
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestWrapper(t *testing.T) {
	var f *File
	var path string
	var c *clock
	keystest.Run(t, keystest.Harness{
		New: func(t *testing.T) (keys.Wrapper, keys.ID) {
			f, path, c, _ = watched(t, "")
			return f, f.ID()
		},
		Deny: func(t *testing.T) func() {
			if err := os.Chmod(path, 0); err != nil {
				t.Fatal(err)
			}
			c.tick()
			return func() {
				if err := os.Chmod(path, 0o600); err != nil {
					t.Fatal(err)
				}
				c.tick()
			}
		},
		Rotate: func(t *testing.T, _ keys.Wrapper) keys.Wrapper {
			addVersion(t, path, "")
			c.tick()
			return f
		},
	})
}

// addVersion adds a version of the KEK to a key file.
func addVersion(t *testing.T, path, passphrase string) {
	t.Helper()
	doc := readDoc(t, path)
	v := version{Version: 2, Key: bytes.Repeat([]byte{9}, keySize)}
	if doc.KDF != nil {
		pass, err := doc.KDF.aead([]byte(passphrase))
		if err != nil {
			t.Fatal(err)
		}
		nonce := bytes.Repeat([]byte{1}, nonceSize)
		v.Key = pass.Seal(nonce, nonce, v.Key, doc.bind(2))
	}
	doc.Keys = append(doc.Keys, v)
	writeDoc(t, path, doc)
}

func readDoc(t *testing.T, path string) document {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var doc document
	if err := json.Unmarshal(b, &doc); err != nil {
		t.Fatal(err)
	}
	return doc
}

func writeDoc(t *testing.T, path string, doc document) {
	t.Helper()
	b, err := json.Marshal(doc)
	if err == nil {
		err = os.WriteFile(path, b, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func TestCreate(t *testing.T) {
	path := create(t, "")
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, passphrase := range []string{"", "other"} {
		if err := Create(path, []byte(passphrase)); !fault.Is(err, fault.Exists) {
			t.Errorf("a second time: %v", err)
		}
	}
	if after, err := os.ReadFile(path); err != nil || !bytes.Equal(before, after) {
		t.Errorf("the file was changed: %v", err)
	}
	if entries, err := os.ReadDir(filepath.Dir(path)); err != nil || len(entries) != 1 {
		t.Errorf("%v, %v", entries, err)
	}
	if err := Create(filepath.Join(t.TempDir(), "none", "key"), nil); !fault.Is(err, fault.Invalid) {
		t.Errorf("in no folder: %v", err)
	}
	if a, b := mustOpen(t, path, ""), mustOpen(t, create(t, ""), ""); a.ID() == b.ID() {
		t.Error("two files have the same id")
	}
}

func TestPassphrase(t *testing.T) {
	path := create(t, "correct horse")
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(b), "correct") {
		t.Error("the passphrase is in the file")
	}
	f := mustOpen(t, path, "correct horse")
	w, err := f.Wrap(t.Context(), f.ID(), []byte("key"), nil)
	if err != nil {
		t.Fatal(err)
	}
	addVersion(t, path, "correct horse")
	f = mustOpen(t, path, "correct horse")
	if got, err := f.Unwrap(t.Context(), w, nil); err != nil || string(got) != "key" {
		t.Errorf("%q, %v", got, err)
	}
	if w, err = f.Wrap(t.Context(), f.ID(), []byte("key"), nil); err != nil || w.Version != "2" {
		t.Errorf("version %s, %v", w.Version, err)
	}
	for passphrase, want := range map[string]string{
		"":               "protected by a passphrase",
		"correct horse ": "passphrase does not open",
	} {
		_, err := Open(path, []byte(passphrase))
		if !fault.Is(err, fault.KeyDenied) || !strings.Contains(fault.Message(err), want) {
			t.Errorf("%q: %v", passphrase, err)
		}
	}
	// Without need a passphrase is no error: the file is not protected by it.
	mustOpen(t, create(t, ""), "unneeded")
}

func TestMode(t *testing.T) {
	path := create(t, "")
	for _, mode := range []os.FileMode{0o640, 0o604, 0o660, 0o777} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		_, err := Open(path, nil)
		if !fault.Is(err, fault.KeyDenied) || !strings.Contains(fault.Message(err), "chmod 600") {
			t.Errorf("%v: %v", mode, err)
		}
	}
	for _, mode := range []os.FileMode{0o600, 0o400} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		mustOpen(t, path, "")
	}
}

// TestDamaged: every cut of a key file is told, and none opens.
func TestDamaged(t *testing.T) {
	path := create(t, "")
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for n := range bytes.TrimSpace(b) {
		if _, err := parse(bytes.Clone(b[:n]), new(protection).again); !errors.Is(err, errDamaged) {
			t.Fatalf("cut to %d bytes: %v", n, err)
		}
	}
	doc := readDoc(t, path)
	for name, change := range map[string]func(*document){
		"another format":   func(d *document) { d.Format = "strata-local-key v2" },
		"no id":            func(d *document) { d.ID = "" },
		"no keys":          func(d *document) { d.Keys = nil },
		"a short key":      func(d *document) { d.Keys[0].Key = d.Keys[0].Key[:31] },
		"a long key":       func(d *document) { d.Keys[0].Key = make([]byte, 33) },
		"version 0":        func(d *document) { d.Keys[0].Version = 0 },
		"a version twice":  func(d *document) { d.Keys = append(d.Keys, d.Keys[0]) },
		"too much memory":  func(d *document) { d.KDF = &kdf{Time: 1, Memory: maxMemory + 1, Threads: 1, Salt: make([]byte, 16)} },
		"too many rounds":  func(d *document) { d.KDF = &kdf{Time: maxTime + 1, Memory: 8, Threads: 1, Salt: make([]byte, 16)} },
		"too many threads": func(d *document) { d.KDF = &kdf{Time: 1, Memory: 8, Threads: maxThreads + 1, Salt: make([]byte, 16)} },
		"no rounds":        func(d *document) { d.KDF = &kdf{Memory: 8, Threads: 1, Salt: make([]byte, 16)} },
		"no salt":          func(d *document) { d.KDF = &kdf{Time: 1, Memory: 8, Threads: 1} },
	} {
		d := doc
		d.Keys = append([]version(nil), doc.Keys...)
		change(&d)
		b, err := json.Marshal(d)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := parse(b, new(protection).unlock([]byte("passphrase"))); !fault.Is(err, fault.KeyDenied) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := Open(filepath.Join(t.TempDir(), "none"), nil); !fault.Is(err, fault.KeyDenied) {
		t.Errorf("no file: %v", err)
	}
	if _, err := Open(t.TempDir(), nil); err == nil {
		t.Error("a folder is opened")
	}
	if err := os.WriteFile(path, make([]byte, maxFile+1), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(path, nil); !errors.Is(err, errDamaged) {
		t.Errorf("too large: %v", err)
	}
}

// TestOtherFile: the file of another archive is told from a damaged key.
func TestOtherFile(t *testing.T) {
	a, b := mustOpen(t, create(t, ""), ""), mustOpen(t, create(t, ""), "")
	w, err := a.Wrap(t.Context(), a.ID(), []byte("key"), nil)
	if err != nil {
		t.Fatal(err)
	}
	_, err = b.Unwrap(t.Context(), w, nil)
	if !fault.Is(err, fault.KeyDenied) || !strings.Contains(fault.Message(err), "another key") {
		t.Errorf("%v", err)
	}
}

func FuzzParse(f *testing.F) {
	path := create(f, "")
	b, err := os.ReadFile(path)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add([]byte(`{"format":"strata-local-key v1","id":"a","keys":[{"version":1,"key":"AA=="}]}`))
	f.Add([]byte(`{"format":"strata-local-key v1","id":"a","kdf":{"time":1,"memory":8,"threads":1,"salt":"AAAAAAAAAAAAAAAAAAAAAA=="},"keys":[{}]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		if k, err := parse(b, new(protection).again); err == nil && (k.id == "" || k.newest < 1) {
			t.Error("a file without a key opens")
		}
	})
}

func BenchmarkUnwrap(b *testing.B) {
	f := mustOpen(b, create(b, ""), "")
	keystest.Benchmark(b, f, f.ID())
}
