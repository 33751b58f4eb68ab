//go:build linux

package dark

import (
	"bytes"
	"context"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/keys"
	"github.com/strata-pacs/strata/internal/seal"
	"github.com/strata-pacs/strata/storage"
)

// remembering keeps every key that its provider gives.
type remembering struct {
	keys.Wrapper
	mu    sync.Mutex
	given [][]byte
}

func (r *remembering) Unwrap(ctx context.Context, w keys.Wrapped, aad []byte) ([]byte, error) {
	key, err := r.Wrapper.Unwrap(ctx, w, aad)
	if err == nil {
		r.mu.Lock()
		r.given = append(r.given, bytes.Clone(key))
		r.mu.Unlock()
	}
	return key, err
}

// keysOf returns every key of the default tenant by a name that says what it is:
// the root, what is derived of it, those of the studies, and those of their blobs.
func keysOf(t *testing.T, b *storage.Bucket, w keys.Wrapper) map[string][]byte {
	t.Helper()
	ctx, all := t.Context(), map[string][]byte{}
	r := &remembering{Wrapper: w}
	ring, err := keys.Open(ctx, keys.Options{Bucket: b, Wrapper: r, Tenant: archive.DefaultTenant})
	if err != nil {
		t.Fatal(err)
	}
	defer ring.Close()
	all["root"] = r.given[0]
	for _, purpose := range []string{"fact", "ref", "digest", "thumbnail", "index/rows", "index/tokens"} {
		s, err := ring.Derive(purpose)
		if err != nil {
			t.Fatal(err)
		}
		all[purpose] = bytes.Clone(s[:])
	}
	studies := map[archive.KeyID]archive.Secret{}
	var others []string
	for o, err := range b.All(ctx, string(archive.DefaultTenant)+"/", "") {
		if err != nil {
			t.Fatal(err)
		}
		id, ok := strings.CutPrefix(o.Key, string(archive.DefaultTenant)+"/key/")
		if !ok {
			others = append(others, o.Key)
			continue
		}
		var k archive.KeyID
		if _, err := hex.Decode(k[:], []byte(id)); err != nil {
			t.Fatal(err)
		}
		s, err := ring.Secret(ctx, k)
		if err != nil {
			t.Fatal(err)
		}
		studies[k] = s
		all[fmt.Sprintf("study %d", len(studies))] = bytes.Clone(s[:])
	}
	if len(studies) < 4 {
		t.Fatalf("only %d study keys in the store", len(studies))
	}
	blobs := 0
	for _, name := range others {
		o, err := b.Get(ctx, name, 1<<30)
		if err != nil {
			continue // it was removed
		}
		for k, s := range studies {
			for at := 0; ; {
				i := bytes.Index(o[at:], k[:])
				if i < 0 {
					break
				}
				at += i + len(k)
				if at < 20 {
					continue
				}
				if key := blobKey(o[at-20:], s); key != nil {
					blobs++
					all[fmt.Sprintf("blob %d", blobs)] = key
				}
			}
		}
	}
	if blobs < 5 {
		t.Fatalf("only %d blobs found under the study keys", blobs)
	}
	return all
}

// blobKey derives the key of the blob whose header begins b, as storage/FORMAT.md
// has it; nil where there is none.
func blobKey(b []byte, secret archive.Secret) []byte {
	h, err := seal.ParseHeader(b)
	if err != nil {
		return nil
	}
	for _, kind := range []string{seal.KindInstance, seal.KindIndex, seal.KindJSON, seal.KindLayout, seal.KindThumbnail} {
		info := "strata/1/blob" + string(rune(len(archive.DefaultTenant))) + string(archive.DefaultTenant) + string(rune(len(kind))) + kind + string(b[:20])
		okm, err := hkdf.Key(sha256.New, secret[:], h.Blob[:], info, 64)
		if err == nil && bytes.Equal(okm[32:], h.Commitment[:]) {
			return okm[:32]
		}
	}
	return nil
}

// keyMatcher finds keys as they are, and as text.
func keyMatcher(all map[string][]byte) *matcher {
	m := newMatcher()
	for name, key := range all {
		m.add(name, key)
		m.add(name+" in hexadecimal", []byte(hex.EncodeToString(key)))
		m.add(name+" in base64", []byte(base64.StdEncoding.EncodeToString(key)))
	}
	return m
}
