package keys_test

import (
	"bytes"
	"encoding/hex"
	"errors"
	"flag"
	"strings"
	"testing"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/internal/keys"
	"github.com/strata-pacs/strata/internal/keys/quorum"
	"github.com/strata-pacs/strata/internal/vectors"
)

var update = flag.Bool("update", false, "write the test vectors anew")

// errorNames are the names of storage/FORMAT.md.
var errorNames = map[string]error{"version": keys.ErrVersion, "length": keys.ErrLength, "place": keys.ErrPlace}

// TestVectors opens escrow objects with the private half of a recovery key.
func TestVectors(t *testing.T) {
	if *update {
		writeVectors(t)
	}
	good, bad := 0, 0
	for _, v := range vectors.Load(t, "escrow-") {
		t.Run(v.Name, func(t *testing.T) {
			private, err := quorum.ParsePrivate(v.Hex(t, "private"))
			if err != nil {
				t.Fatal(err)
			}
			tenant, name := archive.Tenant(v.Get("tenant")), v.Get("object")
			id := archive.KeyID(v.Hex(t, "key-id"))
			if want := keys.EscrowName(tenant, private.ID(), id); name != want {
				t.Errorf("lies at %s, want %s", name, want)
			}
			w, study, bound, err := keys.ParseEscrow(tenant, id, v.Bytes(t))
			var key []byte
			if err == nil {
				key, err = private.Unwrap(t.Context(), w, bound)
			}
			switch expect := v.Get("expect"); expect {
			case "ok":
				good++
				if err != nil || !bytes.Equal(key, v.Hex(t, "secret")) || hex.EncodeToString(study[:]) != v.Get("study") {
					t.Errorf("study %x, %v", study, err)
				}
				if !bytes.Equal(keys.EncodeEscrow(id, study, w), v.Bytes(t)) {
					t.Error("written again it has other bytes")
				}
			case "wrapped":
				bad++
				if err == nil || !fault.Is(err, fault.Corrupt) && !fault.Is(err, fault.KeyDenied) {
					t.Errorf("opened: %v", err)
				}
			default:
				bad++
				if want := errorNames[expect]; want == nil || !errors.Is(err, want) {
					t.Errorf("error %v, want %q", err, expect)
				}
			}
		})
	}
	if good < 2 || bad < 8 {
		t.Errorf("%d good and %d bad vectors", good, bad)
	}
}

func writeVectors(t *testing.T) {
	vectors.Remove(t, "escrow-")
	const tenant = archive.Tenant("default")
	private, err := quorum.ParsePrivate(bytes.Repeat([]byte{0x42}, quorum.PrivateSize))
	if err != nil {
		t.Fatal(err)
	}
	id, other := archive.KeyID(bytes.Repeat([]byte{0x3C}, 16)), archive.KeyID(bytes.Repeat([]byte{0x3D}, 16))
	study, secret := archive.Ref(bytes.Repeat([]byte{0x51}, 16)), bytes.Repeat([]byte{0xA5}, 32)
	wrap := func(bound []byte) keys.Wrapped {
		w, err := private.Wrap(t.Context(), private.ID(), secret, bound)
		if err != nil {
			t.Fatal(err)
		}
		return w
	}
	write := func(name, comment, expect string, id archive.KeyID, study archive.Ref, b []byte) {
		raw, err := private.Bytes()
		if err != nil {
			t.Fatal(err)
		}
		v := vectors.Vector{Name: "escrow-" + name, Comment: comment, Parts: []vectors.Part{{Literal: b}}, Fields: []vectors.Field{
			{Name: "format", Value: "escrow 1"}, {Name: "expect", Value: expect}, {Name: "tenant", Value: string(tenant)},
			{Name: "private", Value: hex.EncodeToString(raw)}, {Name: "recovery", Value: string(private.ID())},
			{Name: "key-id", Value: id.String()}, {Name: "study", Value: hex.EncodeToString(study[:])},
			{Name: "object", Value: keys.EscrowName(tenant, private.ID(), id)}, {Name: "secret", Value: hex.EncodeToString(secret)}}}
		v.Write(t)
	}
	object := keys.EncodeEscrow(id, study, wrap(keys.EscrowBound(tenant, id, study)))
	write("good", "A study key, wrapped for a recovery key in shares.", "ok", id, study, object)
	root := keys.EncodeEscrow(archive.KeyID{}, archive.Ref{}, wrap(keys.EscrowBound(tenant, archive.KeyID{}, archive.Ref{})))
	write("good-root", "The tenant root.", "ok", archive.KeyID{}, archive.Ref{}, root)

	write("bad-empty", "No bytes.", "version", id, study, nil)
	write("bad-key-object", "A key object's beginning.", "version", id, study, append([]byte("strata-keys v1\r\n"), object[16:]...))
	write("bad-version", "A version to come.", "version", id, study, append([]byte("strata-escr v2\r\n"), object[16:]...))
	write("bad-cut-in-id", "Cut off in the key id.", "length", id, study, object[:20])
	write("bad-cut", "Cut off in the ciphertext.", "length", id, study, object[:len(object)-1])
	write("bad-extended", "A byte behind the end.", "length", id, study, append(bytes.Clone(object), 0))
	write("bad-place", "The object of another key.", "place", other, study, object)
	write("bad-root-with-study", "A root that names a study.", "place", archive.KeyID{}, study, keys.EncodeEscrow(archive.KeyID{}, study, wrap(keys.EscrowBound(tenant, archive.KeyID{}, study))))
	changed := bytes.Clone(object)
	changed[len(changed)-1] ^= 1
	write("bad-changed", "A changed byte.", "wrapped", id, study, changed)
	write("bad-tenant", "Wrapped for another tenant.", "wrapped", id, study, keys.EncodeEscrow(id, study, wrap(keys.EscrowBound("another", id, study))))
	write("bad-study", "Wrapped for another study.", "wrapped", id, study, keys.EncodeEscrow(id, study, wrap(keys.EscrowBound(tenant, id, archive.Ref{}))))
	w := wrap(keys.EscrowBound(tenant, id, study))
	w.KEK = keys.ID(strings.Replace(string(w.KEK), "quorum/", "quorum/0", 1))
	write("bad-recovery", "Wrapped for another recovery key, as it says.", "wrapped", id, study, keys.EncodeEscrow(id, study, w))
	inUse := append([]byte("strata-keys v1\r\n"), keys.EscrowBound(tenant, id, study)[16:]...)
	write("bad-bound-as-key", "Bound as a key object is.", "wrapped", id, study, keys.EncodeEscrow(id, study, wrap(inUse)))
}

func FuzzParseEscrow(f *testing.F) {
	for _, v := range vectors.Load(f, "escrow-") {
		f.Add(v.Bytes(f))
	}
	id := archive.KeyID(bytes.Repeat([]byte{0x3C}, 16))
	f.Fuzz(func(t *testing.T, b []byte) {
		w, study, _, err := keys.ParseEscrow("default", id, b)
		if err != nil {
			if !fault.Is(err, fault.Corrupt) {
				t.Errorf("%v", err)
			}
			return
		}
		if again := keys.EncodeEscrow(id, study, w); len(again) > len(b) {
			t.Errorf("%d bytes written again as %d", len(b), len(again)) // a length may have been longer than it needs
		}
	})
}
