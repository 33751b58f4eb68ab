package thumbnail

import (
	"bytes"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"strconv"
	"testing"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/seal"
	"github.com/strata-pacs/strata/internal/vectors"
)

var update = flag.Bool("update", false, "write the test vectors anew")

// errorNames are the names of storage/FORMAT.md; a blob's version goes by the same name.
var errorNames = map[string][]error{"version": {errVersion, seal.ErrVersion}, "name": {errName}, "header": {seal.ErrHeader},
	"commitment": {seal.ErrCommitment}, "length": {seal.ErrLength}, "segment": {seal.ErrSegment}}

func counting(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i % 251)
	}
	return b
}

func TestVectors(t *testing.T) {
	if *update {
		writeVectors(t)
	}
	good, bad := 0, 0
	for _, v := range vectors.Load(t, "thumb-") {
		t.Run(v.Name, func(t *testing.T) {
			number := func(field string) int {
				n, err := strconv.Atoi(v.Get(field))
				if err != nil {
					t.Fatal(err)
				}
				return n
			}
			k := pictureKey{archive.BlobID(v.Hex(t, "instance")), int32(number("frame")), int16(number("width")), int16(number("height"))}
			name := newNames(archive.Secret(v.Hex(t, "secret"))).of(k)
			if got := hex.EncodeToString(name[:]); got != v.Get("name") {
				t.Errorf("name %s, want %s", got, v.Get("name"))
			}
			secret, tenant, key := archive.Secret(v.Hex(t, "key")), archive.Tenant(v.Get("tenant")), archive.KeyID(v.Hex(t, "key-id"))
			picture, err := decode(name, v.Bytes(t), secret, tenant, key)
			if v.Get("expect") != "ok" {
				bad++
				for _, want := range errorNames[v.Get("expect")] {
					if errors.Is(err, want) {
						return
					}
				}
				t.Errorf("error %v, want %q", err, v.Get("expect"))
				return
			}
			good++
			var n int
			if _, err := fmt.Sscanf(v.Get("picture"), "counting %d", &n); err != nil {
				t.Fatal(err)
			}
			if err != nil || !bytes.Equal(picture, counting(n)) {
				t.Errorf("%d bytes, %v", len(picture), err)
			}
			h, err := seal.ParseHeader(v.Bytes(t))
			if err != nil {
				t.Fatal(err)
			}
			again, err := encode(name, counting(n), secret, tenant, key, seal.Options{Rand: bytes.NewReader(h.Blob[:])})
			if err != nil || !bytes.Equal(again, v.Bytes(t)) {
				t.Errorf("sealing again made other bytes: %v", err)
			}
		})
	}
	if good < 3 || bad < 6 {
		t.Errorf("%d good and %d bad vectors", good, bad)
	}
}

func writeVectors(t *testing.T) {
	vectors.Remove(t, "thumb-")
	derived, secret := archive.Secret(bytes.Repeat([]byte{0x5A}, 32)), archive.Secret(bytes.Repeat([]byte{0xA5}, 32))
	key := archive.KeyID(bytes.Repeat([]byte{0x3C}, 16))
	drawn := archive.BlobID(bytes.Repeat([]byte{0x77}, 32))
	const tenant = archive.Tenant("default")
	std := pictureKey{drawn, 1, 128, 128}
	write := func(name, comment, expect string, k pictureKey, sealed []byte, more ...vectors.Field) {
		n := newNames(derived).of(k)
		v := vectors.Vector{Name: "thumb-" + name, Comment: comment, Parts: []vectors.Part{{Literal: sealed}}, Fields: append([]vectors.Field{
			{Name: "format", Value: "thumbnail 1"}, {Name: "expect", Value: expect}, {Name: "tenant", Value: string(tenant)},
			{Name: "secret", Value: hex.EncodeToString(derived[:])}, {Name: "key", Value: hex.EncodeToString(secret[:])}, {Name: "key-id", Value: key.String()},
			{Name: "instance", Value: k.blob.String()}, {Name: "frame", Value: fmt.Sprint(k.frame)},
			{Name: "width", Value: fmt.Sprint(k.width)}, {Name: "height", Value: fmt.Sprint(k.height)}, {Name: "name", Value: hex.EncodeToString(n[:])}}, more...)}
		v.Write(t)
	}
	// blob ids that are the same each time
	id := byte(0)
	options := func() seal.Options {
		id++
		return seal.Options{Rand: bytes.NewReader(bytes.Repeat([]byte{id}, 32))}
	}
	object := func(k pictureKey, n int, tenant archive.Tenant) []byte {
		b, err := encode(newNames(derived).of(k), counting(n), secret, tenant, key, options())
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	plain := func(kind string, p []byte) []byte {
		b, _, err := seal.Seal(nil, p, secret, seal.Binding{Tenant: tenant, Kind: kind, Key: key}, options())
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	for _, g := range []struct {
		name, comment string
		k             pictureKey
		n             int
	}{
		{"good", "A picture of an instance with one frame, in the default viewport.", std, 100},
		{"good-one-byte", "The shortest.", std, 1},
		{"good-frame", "Of frame 70,000.", pictureKey{drawn, 70_000, 128, 128}, 20},
		{"good-representative", "Of the frame that represents an instance of several.", pictureKey{drawn, 0, 512, 256}, 20},
	} {
		write(g.name, g.comment, "ok", g.k, object(g.k, g.n, tenant), vectors.Field{Name: "picture", Value: fmt.Sprintf("counting %d", g.n)})
	}
	name := newNames(derived).of(std)
	write("bad-other-frame", "The object of another frame of the instance.", "name", std, object(pictureKey{drawn, 2, 128, 128}, 50, tenant))
	write("bad-other-viewport", "The object of another viewport.", "name", std, object(pictureKey{drawn, 1, 128, 64}, 50, tenant))
	write("bad-no-picture", "Nothing behind the name.", "name", std, plain(seal.KindThumbnail, append([]byte{1}, name[:]...)))
	write("bad-name-cut", "The end lies in the name.", "name", std, plain(seal.KindThumbnail, append([]byte{1}, name[:15]...)))
	write("bad-empty", "Not even a version.", "version", std, plain(seal.KindThumbnail, nil))
	write("bad-version", "A version to come.", "version", std, plain(seal.KindThumbnail, append(append([]byte{2}, name[:]...), 9)))
	write("bad-kind", "A blob of another kind.", "commitment", std, plain(seal.KindInstance, append(append([]byte{1}, name[:]...), 9)))
	write("bad-tenant", "Another tenant's.", "commitment", std, object(std, 50, "another"))
	changed := object(std, 50, tenant)
	changed[len(changed)-20] ^= 1
	write("bad-changed", "A changed byte.", "segment", std, changed)
	write("bad-cut", "Cut off in the header.", "length", std, object(std, 50, tenant)[:60])
}
