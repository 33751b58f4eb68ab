package providers

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/internal/keys"
	"github.com/strata-pacs/strata/internal/keys/keystest"
	"github.com/strata-pacs/strata/internal/keys/localkeys"
)

// TestSet sits the exam with a key of one provider, with two locks, and with a
// lock of which one is two locks again.
func TestSet(t *testing.T) {
	for name, pair := range map[string]func(own, operator keys.ID) keys.ID{
		"One":    func(own, _ keys.ID) keys.ID { return own },
		"Two":    func(own, operator keys.ID) keys.ID { return keys.Pair(operator, own) },
		"Nested": func(own, operator keys.ID) keys.ID { return keys.Pair(keys.Pair(operator, own), own) },
	} {
		t.Run(name, func(t *testing.T) {
			var p *keystest.Provider
			keystest.Run(t, keystest.Harness{
				New: func(t *testing.T) (keys.Wrapper, keys.ID) {
					s := NewSet()
					p = keystest.NewProvider("tenant+a/x", 0)
					add(t, s, "hospital", Provider{Wrapper: p, KEK: "tenant+a/x"})
					add(t, s, "operator", Provider{Wrapper: keystest.NewProvider("kek", 0), KEK: "kek"})
					return s, pair(id(t, s, "hospital"), id(t, s, "operator"))
				},
				Deny:    func(*testing.T) func() { p.Deny(); return p.Allow },
				Silence: func(*testing.T) func() { p.Silence(); return p.Allow },
				Rotate: func(t *testing.T, w keys.Wrapper) keys.Wrapper {
					if _, err := p.Rotate(t.Context(), "tenant+a/x"); err != nil {
						t.Fatal(err)
					}
					return w
				},
			})
		})
	}
}

func add(t *testing.T, s *Set, name string, p Provider) {
	t.Helper()
	if err := s.Add(name, p); err != nil {
		t.Fatal(err)
	}
}

func id(t *testing.T, s *Set, name string) keys.ID {
	t.Helper()
	kek, err := s.KEK(name)
	if err != nil {
		t.Fatal(err)
	}
	return kek
}

// TestMove: what lies under the bare ID of a key file opens in a set, beside
// what lies under other providers, and a provider that is missing is named.
func TestMove(t *testing.T) {
	path := filepath.Join(t.TempDir(), "strata.key")
	if err := localkeys.Create(path, nil); err != nil {
		t.Fatal(err)
	}
	file, err := localkeys.Open(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	before, err := file.Wrap(t.Context(), file.ID(), []byte("key"), []byte("a"))
	if err != nil {
		t.Fatal(err)
	}
	s, err := Open(t.Context(), map[string]string{"file": "local:" + path})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	add(t, s, "vault", Provider{Wrapper: keystest.NewProvider("a", 0), KEK: "a"})
	if names := strings.Join(s.Names(), " "); names != "file vault" {
		t.Errorf("names %q", names)
	}
	all := []keys.Wrapped{before}
	for _, kek := range []keys.ID{file.ID(), id(t, s, "file"), id(t, s, "vault"), keys.Pair(file.ID(), id(t, s, "vault"))} {
		w, err := s.Wrap(t.Context(), kek, []byte("key"), []byte("a"))
		if err != nil || w.KEK != kek {
			t.Errorf("under %q: %q, %v", kek, w.KEK, err)
		}
		all = append(all, w)
	}
	for _, w := range all {
		if got, err := s.Unwrap(t.Context(), w, []byte("a")); err != nil || string(got) != "key" {
			t.Errorf("under %q: %q, %v", w.KEK, got, err)
		}
	}
	for kek, want := range map[keys.ID]string{
		"hsm/kek":                           "providers.hsm",
		"vault/a+hsm/kek":                   "providers.hsm",
		"local-0000000000000000":            "key-file",
		"":                                  "key-file",
		"../kek":                            "no key provider",
		"/kek":                              "no key provider",
		keys.ID(strings.Repeat("a", 1<<20)): "no key provider",
	} {
		_, err := s.Unwrap(t.Context(), keys.Wrapped{KEK: kek, Version: "1+1", Bytes: before.Bytes}, []byte("a"))
		if !fault.Is(err, fault.KeyDenied) || !strings.Contains(fault.Message(err), want) {
			t.Errorf("under %.40q: %v, want %q", kek, err, want)
		}
	}
	if _, err := s.KEK("hsm"); !fault.Is(err, fault.KeyDenied) {
		t.Errorf("a provider that is not there: %v", err)
	}
}

func TestAdd(t *testing.T) {
	s := NewSet()
	p := Provider{Wrapper: keystest.NewProvider("kek", 0), KEK: "kek"}
	for _, name := range []string{"", "A", "a/b", "a+b", "-a", "a-", "1a", strings.Repeat("a", 33)} {
		if err := s.Add(name, p); !fault.Is(err, fault.Invalid) {
			t.Errorf("name %q: %v", name, err)
		}
	}
	add(t, s, "a", p)
	if err := s.Add("a", p); !fault.Is(err, fault.Invalid) {
		t.Errorf("a name twice: %v", err)
	}
	closed := 0
	add(t, s, "b", Provider{Wrapper: p.Wrapper, KEK: "kek", Close: func() error { closed++; return nil }})
	if err := s.Close(); err != nil || closed != 1 {
		t.Errorf("closed %d times, %v", closed, err)
	}
	path := filepath.Join(t.TempDir(), "strata.key")
	if err := localkeys.Create(path, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(t.Context(), map[string]string{"a": "local:" + path, "b": "local:" + path}); !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), "providers.b") {
		t.Errorf("one file twice: %v", err)
	}
}

// FuzzSet: whatever a stored object says about its key, it is refused or unwrapped.
func FuzzSet(f *testing.F) {
	s := NewSet()
	if err := s.Add("a", Provider{Wrapper: keystest.NewProvider("k", 1), KEK: "k"}); err != nil {
		f.Fatal(err)
	}
	for _, kek := range []keys.ID{"a/k", "a/k+a/k", "a/k%2Ba/k+a/k", "+", "%2B%252B", "local-00"} {
		w, _ := s.Wrap(f.Context(), kek, []byte("key"), nil)
		f.Add(string(kek), w.Version, w.Bytes)
	}
	f.Fuzz(func(t *testing.T, kek, version string, b []byte) {
		_, err := s.Unwrap(t.Context(), keys.Wrapped{KEK: keys.ID(kek), Version: version, Bytes: b}, nil)
		if err != nil && !fault.Is(err, fault.KeyDenied) && !fault.Is(err, fault.Corrupt) {
			t.Errorf("%v", err)
		}
	})
}

// secretFile writes a file with a secret.
func secretFile(t *testing.T, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(path, []byte(content+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
