package node

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/internal/retention"
	"github.com/strata-pacs/strata/storage/delaystore"
	"github.com/strata-pacs/strata/storage/filestore"
)

// kept is an archive whose database is backed up and restored between the lives of its node.
type kept struct {
	t               *testing.T
	o               Options
	objects         string
	backup, restore func()
	n               *Node
}

// keptPlaces are an archive with a SQLite index, and one with a PostgreSQL database.
func keptPlaces(t *testing.T, each func(*testing.T, *kept)) {
	t.Run("sqlite", func(t *testing.T) {
		p := newPlace(t)
		file := p.o.Data + "/index.db"
		copied := filepath.Join(t.TempDir(), "backup.db")
		k := &kept{t: t, o: p.o, objects: p.o.Data + "/objects"}
		k.backup = func() { copyFile(t, file, copied) }
		k.restore = func() {
			for _, suffix := range []string{"-wal", "-shm"} {
				if err := os.Remove(file + suffix); err != nil && !os.IsNotExist(err) {
					t.Fatal(err)
				}
			}
			copyFile(t, copied, file)
		}
		each(t, k)
	})
	t.Run("postgres", func(t *testing.T) {
		h := newHouse(t)
		k := &kept{t: t, o: h.o, objects: filepath.Join(t.TempDir(), "objects")}
		k.o.Data = filepath.Join(t.TempDir(), "data")
		k.o.NodeLease = 15 * time.Second
		name := fmt.Sprintf("backup_%d", time.Now().UnixNano())
		k.o.Database = h.URL("strata", name, "")
		exec := func(q string, names ...any) {
			t.Helper()
			if err := h.Exec(t.Context(), fmt.Sprintf(q, names...)); err != nil {
				t.Fatal(err)
			}
		}
		exec(`CREATE DATABASE %s OWNER strata`, name)
		k.backup = func() { exec(`CREATE DATABASE %s_old TEMPLATE %s OWNER strata`, name, name) }
		k.restore = func() {
			exec(`DROP DATABASE %s`, name)
			exec(`CREATE DATABASE %s TEMPLATE %s_old OWNER strata`, name, name)
		}
		each(t, k)
	})
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	b, err := os.ReadFile(from)
	if err == nil {
		err = os.WriteFile(to, b, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// start opens the node over a store that takes so long to answer.
func (k *kept) start(delay time.Duration) *delaystore.Store {
	k.t.Helper()
	files, err := filestore.New(k.objects, filestore.Options{})
	if err != nil {
		k.t.Fatal(err)
	}
	slow := delaystore.New(files, delaystore.Options{Delay: delay})
	if k.o.Database != "" {
		k.o.Remote = slow.Driver
	} else {
		k.o.Driver = slow.Driver
	}
	if k.n, err = Open(k.t.Context(), k.o); err != nil {
		k.t.Fatal(err)
	}
	return slow
}

func (k *kept) open(delay time.Duration) *Archive {
	k.t.Helper()
	k.start(delay)
	a, err := k.n.Pin(k.t.Context(), k.n.Tenant)
	if err != nil {
		k.t.Fatal(err)
	}
	return a
}

func (k *kept) close() {
	k.t.Helper()
	if err := k.n.Close(context.Background()); err != nil {
		k.t.Error(err)
	}
}

func (k *kept) images(a *Archive, from, to int) {
	for i := from; i <= to; i++ {
		_, file := image(i, 1)
		stores(k.t, a, file)
	}
}

// TestRestoredDatabase: what was said since the backup holds before anybody enters.
func TestRestoredDatabase(t *testing.T) {
	t.Parallel()
	keptPlaces(t, func(t *testing.T, k *kept) {
		ctx := t.Context()
		a := k.open(0)
		k.images(a, 1, 6)
		k.close()
		k.backup()

		a = k.open(0)
		if _, err := a.Keep.Hold(ctx, retention.HoldTarget{Study: "1.2.1"}, "a court wants it", "alice"); err != nil {
			t.Fatal(err)
		}
		if err := a.Remove.Delete(ctx, a.Tenant, archive.UIDs{Study: "1.2.2"}); err != nil {
			t.Fatal(err)
		}
		if _, err := a.Shred.Shred(ctx, archive.ShredTarget{Study: "1.2.3"}); err != nil {
			t.Fatal(err)
		}
		if _, err := k.n.Lifecycle().State(ctx, a.Tenant); err != nil {
			t.Fatal(err)
		}
		if err := k.n.Lifecycle().Pause(ctx, a.Tenant, true, "alice"); err != nil {
			t.Fatal(err)
		}
		k.images(a, 7, 18)
		k.close()

		for _, long := range []bool{false, true} {
			t.Run(fmt.Sprintf("long=%v", long), func(t *testing.T) {
				k.restore()
				k.o.LongLog = 2000
				if long {
					k.o.LongLog = 5
				}
				a := k.open(5 * time.Millisecond)
				defer k.close()
				partial := a.Partial()
				if partial != long {
					t.Errorf("it counts as partial: %v", partial)
				}
				if err := a.Remove.Delete(ctx, a.Tenant, archive.UIDs{Study: "1.2.1"}); !fault.Is(err, fault.Conflict) {
					t.Errorf("deleting what is held: %v", err)
				}
				if n := found(t, a, "1.2.2") + found(t, a, "1.2.3"); n != 0 {
					t.Errorf("%d instances came back that were deleted or shredded", n)
				}
				if s, err := k.n.Lifecycle().State(ctx, a.Tenant); err != nil || !s.Paused {
					t.Errorf("lifecycle was paused: %+v, %v", s, err)
				}
				_, err := k.n.Lifecycle().Apply(ctx, a.Tenant)
				if part := fault.Is(err, fault.Unavailable); part != long && a.Partial() == partial {
					t.Errorf("lifecycle work: %v", err)
				}
				for start := time.Now(); a.Partial(); time.Sleep(5 * time.Millisecond) {
					if time.Since(start) > 20*time.Second {
						t.Fatal("the index is not filled")
					}
				}
				for i := 1; i <= 18; i++ {
					if n, want := found(t, a, fmt.Sprintf("1.2.%d", i)), i != 2 && i != 3; (n == 1) != want {
						t.Errorf("study %d: %d instances", i, n)
					}
				}
				gaps(t, a, "after all")
			})
		}
	})
}

// TestRevokedSinceTheBackup: a database that was restored does not give back what was taken away, nor does a
// change of other settings.
func TestRevokedSinceTheBackup(t *testing.T) {
	t.Parallel()
	keptPlaces(t, func(t *testing.T, k *kept) {
		ctx := t.Context()
		k.images(k.open(0), 1, 2)
		k.close()
		k.backup()

		k.open(0)
		if _, err := k.n.Tenants().Change(ctx, k.n.Tenant, func(s *archive.TenantSettings) error { s.State = archive.TenantRevoked; return nil }); err != nil {
			t.Fatal(err)
		}
		k.close()
		for name, first := range map[string]func() error{
			"entered at once": func() error { return nil },
			"changed before": func() error {
				_, err := k.n.Tenants().Change(ctx, k.n.Tenant, func(s *archive.TenantSettings) error { s.Limits.Concurrent = 7; return nil })
				return err
			},
		} {
			t.Run(name, func(t *testing.T) {
				k.restore()
				k.start(0)
				defer k.close()
				if err := first(); err != nil {
					t.Error(err)
				}
				v, err := k.n.Enter(ctx, k.n.Tenant)
				if !fault.Is(err, fault.KeyDenied) {
					t.Errorf("entering: %v", err)
				}
				if err == nil {
					v.Leave()
				}
			})
		}
	})
}

// TestMissingIsCheap: what it takes to see that the index is whole does not grow with the log.
func TestMissingIsCheap(t *testing.T) {
	keptPlaces(t, func(t *testing.T, k *kept) {
		for i := range 8 {
			k.images(k.open(0), i, i)
			k.close()
		}
		slow := k.start(0)
		defer k.close()
		a, err := k.n.Pin(t.Context(), k.n.Tenant)
		if err != nil {
			t.Fatal(err)
		}
		least := int64(1000)
		for range 10 { // what goes on in the background is counted, too
			before := slow.Requests()
			missing, err := a.Reconcile.Missing(t.Context(), 1000)
			if err != nil || len(missing) != 0 {
				t.Fatalf("%v, %v", missing, err)
			}
			least = min(least, slow.Requests()-before)
			time.Sleep(20 * time.Millisecond)
		}
		if least > 4 {
			t.Errorf("it took %d requests", least)
		}
	})
}
