package thumbnail

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"sync"
	"time"

	"github.com/zeebo/blake3"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/internal/seal"
	"github.com/strata-pacs/strata/storage"
)

// The object of a thumbnail, as storage/FORMAT.md has it.
const (
	formatVersion = 1
	// appearance goes up when pictures come to look different, so that older
	// ones are not found any more.
	appearance = 1
)

// pictureName names a picture: a keyed hash of what it is of.
type pictureName [16]byte

// names makes names under a secret of the tenant.
type names struct{ pool sync.Pool }

func newNames(secret archive.Secret) *names {
	first, err := blake3.NewKeyed(secret[:])
	if err != nil {
		panic(err) // only a key that is not 32 bytes long is refused
	}
	var mu sync.Mutex
	return &names{sync.Pool{New: func() any {
		mu.Lock()
		defer mu.Unlock()
		return first.Clone()
	}}}
}

func (n *names) of(k pictureKey) (name pictureName) {
	b := append(make([]byte, 0, 48), formatVersion, appearance)
	b = append(b, k.blob[:]...)
	b = binary.BigEndian.AppendUint32(b, uint32(k.frame))
	b = binary.BigEndian.AppendUint16(b, uint16(k.width))
	b = binary.BigEndian.AppendUint16(b, uint16(k.height))
	h := n.pool.Get().(*blake3.Hasher)
	defer n.pool.Put(h)
	h.Reset()
	_, _ = h.Write(b)
	var sum [32]byte
	h.Sum(sum[:0])
	return pictureName(sum[:16])
}

// folder is where the pictures of a study lie.
func folder(t archive.Tenant, study archive.Ref) string {
	return string(t) + "/thumb/" + study.String() + "/"
}

func (m *Maker) object(t archive.Tenant, study string, n pictureName) string {
	return folder(t, m.o.Keys.Ref(study)) + hex.EncodeToString(n[:])
}

// encode appends the sealed object to dst. The name is inside too, so that no
// object can stand in for another of the study.
func encode(n pictureName, jpeg []byte, secret archive.Secret, t archive.Tenant, key archive.KeyID, o seal.Options) ([]byte, error) {
	plain := make([]byte, 0, 1+len(n)+len(jpeg))
	plain = append(append(append(plain, formatVersion), n[:]...), jpeg...)
	b, _, err := seal.Seal(nil, plain, secret, seal.Binding{Tenant: t, Kind: seal.KindThumbnail, Key: key}, o)
	return b, err
}

// What can be wrong with an object beside its blob.
var (
	errVersion = fault.New(fault.Corrupt, "a stored thumbnail is of an unknown version")
	errName    = fault.New(fault.Corrupt, "a stored thumbnail is not the one of its name")
)

// decode is the inverse of encode. Errors are fault.Corrupt.
func decode(n pictureName, sealed []byte, secret archive.Secret, t archive.Tenant, key archive.KeyID) ([]byte, error) {
	plain, err := seal.Open(nil, sealed, secret, seal.Binding{Tenant: t, Kind: seal.KindThumbnail, Key: key})
	if err != nil {
		return nil, err
	}
	switch {
	case len(plain) == 0 || plain[0] != formatVersion:
		return nil, errVersion
	case len(plain) <= 1+len(n) || !bytes.Equal(plain[1:1+len(n)], n[:]):
		return nil, errName
	}
	return plain[1+len(n):], nil
}

// load reads a picture from the store: nil when there is none that opens. One
// that does not is removed, for it can be made again.
func (m *Maker) load(ctx context.Context, t archive.Tenant, key archive.KeyID, object string, n pictureName, secret archive.Secret) ([]byte, error) {
	sealed, err := m.o.Bucket.Get(ctx, object, maxPicture+1<<10)
	switch {
	case fault.Is(err, fault.NotFound):
		return nil, nil
	case fault.Is(err, fault.TooLarge):
	case err != nil:
		return nil, err
	default:
		jpeg, err := decode(n, sealed, secret, t, key)
		if err == nil {
			return jpeg, nil
		}
	}
	m.o.Log.Warn("a stored thumbnail is damaged and is made again", "object", object)
	if err := m.o.Bucket.Delete(ctx, object); err != nil {
		m.complain(err)
	}
	return nil, nil
}

// store keeps a picture. A failure costs nothing but the work of making it again.
func (m *Maker) store(ctx context.Context, t archive.Tenant, c *candidate, object string, n pictureName, jpeg []byte, secret archive.Secret) {
	b, err := encode(n, jpeg, secret, t, c.key, seal.Options{})
	if err == nil {
		_, err = m.o.Bucket.Put(ctx, object, b, storage.CreateOptions{IfAbsent: true})
	}
	if err != nil && !fault.Is(err, fault.Exists) {
		m.complain(err)
		return
	}
	// A deletion that came between has been swept already, perhaps.
	if r, err := m.o.Index.Revision(ctx, t, archive.UIDs{Study: c.uids.Study}); err == nil && r != c.revision {
		if err := m.o.Bucket.Delete(ctx, object); err != nil {
			m.complain(err)
		}
	}
}

// complain tells of a failure to keep or to remove, once in a while.
func (m *Maker) complain(err error) {
	if m.ctx.Err() != nil {
		return
	}
	m.mu.Lock()
	now := m.o.Now()
	quiet := now.Sub(m.warned) < time.Minute
	if !quiet {
		m.warned = now
	}
	m.mu.Unlock()
	if !quiet {
		m.o.Log.Warn("thumbnails cannot be kept in the store now; they are made as they are asked for", "error", err)
	}
}

// Sweep removes the pictures of a study, out of memory too, and returns how many were stored.
func (m *Maker) Sweep(ctx context.Context, t archive.Tenant, study string) (removed int, err error) {
	m.memory.forget(study)
	return m.Remove(ctx, t, m.o.Keys.Ref(study))
}

// Forget drops the pictures held in memory, and what is known of where others come from.
func (m *Maker) Forget() {
	m.memory.wipe()
	m.surveys.lru.clear()
}

// Remove removes the stored pictures of a study, and returns how many there were.
func (m *Maker) Remove(ctx context.Context, t archive.Tenant, study archive.Ref) (removed int, err error) {
	for o, err := range m.o.Bucket.All(ctx, folder(t, study), "") {
		if err != nil {
			return removed, fmt.Errorf("listing thumbnails: %w", err)
		}
		if err := m.o.Bucket.Delete(ctx, o.Key); err != nil {
			return removed, fmt.Errorf("removing a thumbnail: %w", err)
		}
		removed++
	}
	return removed, nil
}
