package keys

import (
	"bytes"
	"errors"
	"testing"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/fault"
)

var example = Wrapped{KEK: "kek-1", Version: "7", Bytes: []byte("ciphertext")}

func TestEncoding(t *testing.T) {
	id, study := archive.KeyID{1, 2, 3}, archive.Ref{4, 5, 6}
	b := encode(keyMagic, id, study, example)
	want := "strata-keys v1\r\n" + string(id[:]) + string(study[:]) + "\x05kek-1\x017\x0aciphertext"
	if string(b) != want {
		t.Errorf("encoded %q, want %q", b, want)
	}
	gotID, gotStudy, w, err := decode(keyMagic, b)
	if err != nil || gotID != id || gotStudy != study || w.KEK != example.KEK || w.Version != example.Version || !bytes.Equal(w.Bytes, example.Bytes) {
		t.Errorf("decoded %v %v %v, %v", gotID, gotStudy, w, err)
	}
	for n := range b {
		want := ErrLength
		if n < len(keyMagic) {
			want = ErrVersion
		}
		if _, _, _, err := decode(keyMagic, b[:n]); !errors.Is(err, want) || !fault.Is(err, fault.Corrupt) {
			t.Errorf("cut to %d bytes: %v", n, err)
		}
	}
	if _, _, _, err := decode(keyMagic, append(bytes.Clone(b), 0)); !errors.Is(err, ErrLength) {
		t.Errorf("longer: %v", err)
	}
	if _, _, _, err := decode(rootMagic, b); !errors.Is(err, ErrVersion) {
		t.Errorf("a key as root: %v", err)
	}
}

// TestData: no two places have the same associated data.
func TestData(t *testing.T) {
	seen := map[string]bool{}
	for _, magic := range []string{keyMagic, rootMagic} {
		for _, tenant := range []archive.Tenant{"a", "ab", "b"} {
			for _, id := range []archive.KeyID{{}, {'b'}, {1}} {
				for _, study := range []archive.Ref{{}, {1}} {
					s := string(aad(magic, tenant, id, study))
					if seen[s] {
						t.Errorf("%q is the data of two places", s)
					}
					seen[s] = true
				}
			}
		}
	}
}

// TestWiped: a key that leaves the cache is overwritten.
func TestWiped(t *testing.T) {
	c := newCache(1)
	first := archive.Secret{1}
	c.put(archive.KeyID{1}, &first)
	h := c.byID[archive.KeyID{1}].Value.(*held)
	c.put(archive.KeyID{2}, &archive.Secret{2})
	if h.secret != (archive.Secret{}) || c.byID[archive.KeyID{1}] != nil {
		t.Error("an evicted key stays")
	}
	h = c.byID[archive.KeyID{2}].Value.(*held)
	c.put(archive.KeyID{2}, &archive.Secret{3})
	if h.secret != (archive.Secret{2}) {
		t.Error("a key was replaced")
	}
	c.close()
	if h.secret != (archive.Secret{}) || len(c.byID) != 0 {
		t.Error("keys stay after close")
	}
	c.put(archive.KeyID{4}, &archive.Secret{4})
	if len(c.byID) != 0 {
		t.Error("a closed cache takes keys")
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(encode(keyMagic, archive.KeyID{1}, archive.Ref{2}, example))
	f.Add([]byte(keyMagic))
	f.Add(append(append([]byte(keyMagic), make([]byte, 32)...), 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1))
	f.Fuzz(func(t *testing.T, b []byte) {
		id, study, w, err := decode(keyMagic, b)
		if err != nil {
			if !fault.Is(err, fault.Corrupt) {
				t.Errorf("kind %v", fault.KindOf(err))
			}
			return
		}
		if again := encode(keyMagic, id, study, w); len(again) > len(b) {
			t.Error("more was read than there is")
		}
	})
}
