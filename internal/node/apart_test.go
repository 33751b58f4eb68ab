package node

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/internal/testservers"
	"github.com/strata-pacs/strata/storage"
	"github.com/strata-pacs/strata/storage/driver"
	"github.com/strata-pacs/strata/storage/faultstore"
	"github.com/strata-pacs/strata/storage/filestore"
	"github.com/strata-pacs/strata/storage/memstore"
	"github.com/strata-pacs/strata/storage/s3store"
)

// twoTiers is a place with two tiers beside the hot one.
func twoTiers(t *testing.T, cold, deep driver.Driver) *place {
	t.Helper()
	p := newPlace(t)
	p.o.Tiers = []archive.Tier{{Name: "hot"}, {Name: "cold", Store: "cold"}, {Name: "deep", Store: "deep"}}
	p.o.TierStores = map[string]driver.Driver{"cold": cold, "deep": deep}
	return p
}

// tell opens the node, with an archive in it or without, and tells its stores apart.
func (p *place) tell(used bool) error {
	p.t.Helper()
	n, err := Open(p.t.Context(), p.o)
	if err != nil {
		p.t.Fatal(err)
	}
	p.host = n
	defer p.close(nil)
	if used {
		if _, err := n.Pin(p.t.Context(), n.Tenant); err != nil {
			p.t.Fatal(err)
		}
	}
	return n.TellApart(p.t.Context())
}

// left lists what lies in a store.
func left(t *testing.T, d driver.Driver) (keys []string) {
	t.Helper()
	for o, err := range storage.New(d).All(t.Context(), "", "") {
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, o.Key)
	}
	return keys
}

func folder(t *testing.T, dir string) *filestore.Store {
	t.Helper()
	d, err := filestore.New(dir, filestore.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// TestTellApart: folders under two names, two of the tiers and one that is the node's own.
func TestTellApart(t *testing.T) {
	dir := t.TempDir()
	shelf, link := filepath.Join(dir, "shelf"), filepath.Join(dir, "link")
	if err := os.Mkdir(shelf, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(shelf, link); err != nil {
		t.Fatal(err)
	}
	one := folder(t, shelf)
	named := func(err error, keys ...string) {
		t.Helper()
		for _, key := range keys {
			if !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), key) {
				t.Errorf("%v does not name %s", err, key)
			}
		}
	}
	named(twoTiers(t, one, folder(t, link)).tell(false), "tiers.cold.store", "tiers.deep.store")
	if keys := left(t, one); len(keys) != 0 {
		t.Errorf("left behind: %q", keys)
	}

	p := twoTiers(t, one, nil)
	own := filepath.Join(p.o.Data, "objects")
	if err := os.MkdirAll(own, 0o700); err != nil {
		t.Fatal(err)
	}
	again := filepath.Join(dir, "again")
	if err := os.Symlink(own, again); err != nil {
		t.Fatal(err)
	}
	p.o.TierStores["deep"] = folder(t, again)
	for _, used := range []bool{false, true} {
		named(p.tell(used), "data", "tiers.deep.store")
	}

	p = twoTiers(t, one, folder(t, filepath.Join(dir, "other")))
	if err := p.tell(true); err != nil {
		t.Errorf("three folders: %v", err)
	}
}

// TestTellApartTrouble: stores that do not answer, or cannot be written to, keep no node from
// starting; what somebody left who was killed is removed, and what another is about to look for is not.
func TestTellApartTrouble(t *testing.T) {
	cold, deep := memstore.New(memstore.Options{}), memstore.New(memstore.Options{})
	for name, broken := range map[string]faultstore.Decision{"fails": {Action: faultstore.FailBefore}, "is forbidden": {Action: faultstore.FailBefore, Err: fault.New(fault.Forbidden, "no")}} {
		for _, every := range []bool{true, false} {
			bad := faultstore.New(memstore.New(memstore.Options{}), nil)
			p := twoTiers(t, bad.Driver, deep)
			if err := p.tell(true); err != nil {
				t.Fatal(err)
			}
			bad.Script(func(op faultstore.Op) faultstore.Decision {
				if every || op.Name == faultstore.Create {
					return broken
				}
				return faultstore.Decision{}
			})
			began := time.Now()
			if err := p.tell(false); err != nil {
				t.Errorf("a store that %s: %v", name, err)
			}
			if took := time.Since(began); took > apartWithin+5*time.Second {
				t.Errorf("a store that %s: it took %v", name, took)
			}
		}
	}

	p := twoTiers(t, cold, deep)
	for _, d := range []driver.Driver{cold, deep} {
		if _, err := storage.New(d).Put(t.Context(), "default/clock/left", []byte{0}, storage.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	if err := p.tell(false); err != nil {
		t.Fatal(err)
	}
	if a, b := left(t, cold), left(t, deep); len(a) != 1 || len(b) != 1 {
		t.Errorf("what another is about to look for: %q, %q", a, b)
	}
	p.o.Now = func() time.Time { return time.Now().Add(25 * time.Hour) }
	if err := p.tell(false); err != nil {
		t.Fatal(err)
	}
	if a, b := left(t, cold), left(t, deep); len(a) != 0 || len(b) != 0 {
		t.Errorf("left behind: %q, %q", a, b)
	}
}

// TestTellApartS3: a bucket under two names of its server, with versions, and one that locks what it has.
func TestTellApartS3(t *testing.T) {
	s := testservers.Versitygw(t)
	s.NewBucket(t, "versioned", true)
	s.NewLockedBucket(t, "locked", 1)
	open := func(bucket string, elsewhere bool) driver.Driver {
		t.Helper()
		endpoint := s.Endpoint
		if elsewhere {
			endpoint = strings.Replace(endpoint, "127.0.0.1", "localhost", 1)
		}
		d, err := s3store.Open(t.Context(), "s3://"+bucket+"?pathstyle=true&region="+s.Region+"&endpoint="+endpoint, s3store.Options{AccessKey: s.AccessKey, SecretKey: s.SecretKey})
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	for range 2 {
		if err := twoTiers(t, open("versioned", false), open("versioned", true)).tell(true); !fault.Is(err, fault.Invalid) {
			t.Errorf("one bucket: %v", err)
		}
	}
	if n := s.Versions(t, "versioned", ""); n != 0 {
		t.Errorf("%d versions are left", n)
	}
	// The bucket keeps whatever is written to it; nothing is.
	if err := twoTiers(t, memstore.New(memstore.Options{}), open("locked", false)).tell(true); err != nil {
		t.Errorf("a locked bucket: %v", err)
	}
	if n := s.Versions(t, "locked", ""); n != 0 {
		t.Errorf("%d versions are left in a locked bucket", n)
	}
}
