package node

import (
	"context"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/internal/ledger"
	"github.com/strata-pacs/strata/internal/retrieve"
	"github.com/strata-pacs/strata/storage/delaystore"
	"github.com/strata-pacs/strata/storage/filestore"
)

// filledPlace has a log of 30 studies, some of them deleted or shredded, and no index.
func filledPlace(t *testing.T) *place {
	p := newPlace(t)
	p.o.LongLog = 10
	a := p.open()
	for i := range 30 {
		_, file := image(i, 1)
		store(t, a, file)
	}
	if err := a.Remove.Delete(t.Context(), a.Tenant, archive.UIDs{Study: "1.2.7"}); err != nil {
		t.Fatal(err)
	}
	if _, err := a.Shred.Shred(t.Context(), archive.ShredTarget{Study: "1.2.8"}); err != nil {
		t.Fatal(err)
	}
	p.close(a)
	for _, suffix := range []string{"", "-wal", "-shm"} {
		if err := os.Remove(p.o.Data + "/index.db" + suffix); err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
	}
	return p
}

func count(t *testing.T, a *Archive, study string) int {
	t.Helper()
	list, err := a.Retrieve.Find(t.Context(), a.Tenant, archive.UIDs{Study: study}, retrieve.Files)
	if err != nil {
		t.Fatal(err)
	}
	return len(list)
}

func (p *place) untilWhole(a *Archive) {
	p.t.Helper()
	for start := time.Now(); a.Partial(); time.Sleep(5 * time.Millisecond) {
		if time.Since(start) > 20*time.Second {
			p.t.Fatal("the index is not filled")
		}
	}
}

func (p *place) wantsAll(a *Archive) {
	p.t.Helper()
	for i := range 30 {
		u, file := image(i, 1)
		if i == 7 || i == 8 {
			if n := count(p.t, a, u.Study); n != 0 {
				p.t.Errorf("study %d, which was deleted or shredded, has %d instances", i, n)
			}
			continue
		}
		p.wants(a, u, file)
	}
	if r := p.verify(a); len(r.Gaps) != 0 {
		p.t.Errorf("verify: %+v", r.Gaps)
	}
}

// TestIndexIsFilledInUse: with its index lost, an archive is entered at once, the
// newest studies are there first, and nothing comes back that was deleted.
func TestIndexIsFilledInUse(t *testing.T) {
	t.Parallel()
	p := filledPlace(t)
	fs, err := filestore.New(p.o.Data+"/objects", filestore.Options{})
	if err != nil {
		t.Fatal(err)
	}
	p.o.Driver = delaystore.New(fs, delaystore.Options{Delay: 20 * time.Millisecond}).Driver
	a := p.open()
	if !a.Partial() {
		t.Fatal("the index was filled before anybody entered")
	}
	for count(t, a, "1.2.29") == 0 {
		if !a.Partial() {
			t.Fatal("the newest study came last")
		}
		time.Sleep(time.Millisecond)
	}
	u, file := image(40, 1)
	store(t, a, file) // stores go on meanwhile
	p.untilWhole(a)
	p.wantsAll(a)
	p.wants(a, u, file)
	p.close(a)

	a = p.open()
	defer p.close(a)
	if a.Partial() {
		t.Error("an index that was filled counts as partial")
	}
	p.wantsAll(a)
}

// TestFillingGoesOn: a process that dies while it fills the index leaves it to the next one.
func TestFillingGoesOn(t *testing.T) {
	p := filledPlace(t)
	p.o.ReconcileEvery = time.Hour
	fs, err := filestore.New(p.o.Data+"/objects", filestore.Options{})
	if err != nil {
		t.Fatal(err)
	}
	p.o.Driver = delaystore.New(fs, delaystore.Options{Delay: 100 * time.Millisecond}).Driver
	a := p.open()
	p.abandon(a)
	p.o.Driver = nil
	a = p.open()
	defer p.close(a)
	p.untilWhole(a)
	p.wantsAll(a)
}

// TestControlsComeFirst: what the operator said about a tenant holds before anybody
// enters an archive whose index was lost.
func TestControlsComeFirst(t *testing.T) {
	p := filledPlace(t)
	p.o.LongLog = 1 << 20
	a := p.open()
	f := &archive.Fact{ID: a.controls.NewFactID(), Kind: archive.FactTenant,
		Settings: &archive.TenantSettings{State: archive.TenantRevoked, KEK: string(p.o.KEK)}}
	if _, err := a.controls.Append(t.Context(), f, nil); err != nil {
		t.Fatal(err)
	}
	p.close(a)
	if err := os.Remove(p.o.Data + "/index.db"); err != nil {
		t.Fatal(err)
	}
	p.o.LongLog = 10
	n, err := Open(t.Context(), p.o)
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close(context.Background())
	if _, err := n.Enter(t.Context(), n.Tenant); !fault.Is(err, fault.KeyDenied) {
		t.Errorf("entering an archive whose key was revoked: %v", err)
	}
}

// TestMixedSessions: controls are found in sessions whose names do not tell.
func TestMixedSessions(t *testing.T) {
	p := filledPlace(t)
	a := p.open()
	p.untilWhole(a)
	log, err := ledger.Open(ledger.Options{Bucket: a.Bucket, Tenant: a.Tenant, Secrets: a.ring.Secret, Session: newID(time.Now())})
	if err != nil {
		t.Fatal(err)
	}
	f := &archive.Fact{ID: log.NewFactID(), Kind: archive.FactTenant, Settings: &archive.TenantSettings{State: archive.TenantSuspended}}
	if _, err := log.Append(t.Context(), f, nil); err != nil {
		t.Fatal(err)
	}
	p.close(a)
	if err := os.Remove(p.o.Data + "/index.db"); err != nil {
		t.Fatal(err)
	}
	n, err := Open(t.Context(), p.o)
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close(context.Background())
	if _, err := n.Enter(t.Context(), n.Tenant); !fault.Is(err, fault.Forbidden) {
		t.Errorf("entering a suspended archive: %v", err)
	}
}

// TestPartDecidesNothing: neither rules nor drills go by a part of the index.
func TestPartDecidesNothing(t *testing.T) {
	p := newPlace(t)
	a := p.open()
	defer p.close(a)
	_, file := image(1, 1)
	stores(t, a, file)
	a.partial.is.Store(true)
	if _, err := p.host.Lifecycle().Apply(t.Context(), a.Tenant); !fault.Is(err, fault.Unavailable) {
		t.Errorf("rules: %v", err)
	}
	run, err := p.host.Drills().Start(t.Context(), a.Tenant, archive.RecoveryDrill{})
	if err != nil {
		t.Fatal(err)
	}
	if run = drilled(t, p.host, run.ID); run.State != archive.JobFailed || !strings.Contains(run.Failure, "being filled") {
		t.Errorf("a drill: %+v", run)
	}
	a.partial.is.Store(false)
	if _, err := p.host.Lifecycle().Apply(t.Context(), a.Tenant); err != nil {
		t.Errorf("rules, by the whole: %v", err)
	}
}
