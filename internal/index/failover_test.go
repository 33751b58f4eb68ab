package index

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/internal/testservers"
)

// TestFailover: the primary dies for good and its synchronous standby takes over. Calls wait for it; what
// was acknowledged is there, once.
func TestFailover(t *testing.T) {
	primary := testservers.Postgres(t)
	standby := primary.Standby(t)
	ctx := context.Background()
	for _, q := range []string{`ALTER SYSTEM SET synchronous_standby_names = '*'`, `SELECT pg_reload_conf()`} {
		if err := primary.Exec(ctx, q); err != nil {
			t.Fatal(err)
		}
	}
	o := baseOptions()
	o.Patience = 30 * time.Second
	host := func(p *testservers.PostgresServer) string { return fmt.Sprintf("127.0.0.1:%d", p.Port) }
	o.DSN = strings.Replace(primary.DSN(""), host(primary), host(standby)+","+host(primary), 1) // the standby is asked first
	x := openWith(t, o)
	alone := o
	alone.DSN, alone.Patience = standby.DSN(""), time.Millisecond
	if _, err := Open(ctx, alone); !fault.Is(err, fault.Unavailable) || !strings.Contains(err.Error(), "standby") {
		t.Errorf("a standby: %v", err)
	}
	const clients, each = 4, 15
	half := make(chan struct{}, clients)
	var wg sync.WaitGroup
	for c := range clients {
		wg.Go(func() {
			for i := range each {
				if i == each/2 {
					half <- struct{}{}
				}
				s := ctSpec
				s.study, s.instance = fmt.Sprintf("1.%d", c), fmt.Sprintf("1.%d.1.%d", c, i)
				e := stored(uint64(i+1), s)
				e.Session, e.Fact.ID = fmt.Sprint("client", c), factID(uint64(c*1000+i))
				if out, err := x.Apply(ctx, hospital, e); err != nil || len(out[0].Instances) != 1 || out[0].Instances[0].Outcome != Visible {
					t.Errorf("%+v %v", out, err)
				}
			}
		})
	}
	for range clients {
		<-half
	}
	primary.Kill()
	if err := standby.Promote(ctx); err != nil {
		t.Fatal(err)
	}
	promoted := time.Now()
	wg.Wait()
	t.Logf("all was stored %v after the standby was promoted", time.Since(promoted).Round(time.Millisecond))
	if last, err := x.Last(ctx, hospital); err != nil || last != clients*each {
		t.Errorf("the feed ends at %d: %v", last, err)
	}
	for c := range clients {
		seen := map[string]bool{}
		for _, r := range instances(t, x, archive.UIDs{Study: fmt.Sprintf("1.%d", c)}) {
			seen[r.UIDs.Instance] = true
		}
		if rows := instances(t, x, archive.UIDs{Study: fmt.Sprintf("1.%d", c)}); len(seen) != each || len(rows) != each {
			t.Errorf("client %d: %d instances, %d rows", c, len(seen), len(rows))
		}
	}
}

// TestSettingAfterError: a query that fails takes the tenant's setting back with it; the next one sets it again.
func TestSettingAfterError(t *testing.T) {
	o := onPostgres(t)
	o.Readers = 1
	x := openWith(t, o)
	ctx := context.Background()
	apply(t, x, stored(1, ctSpec))
	if _, err := x.Apply(ctx, "practice", stored(1, ctSpec)); err != nil {
		t.Fatal(err)
	}
	for _, name := range []archive.Tenant{hospital, "practice", hospital} {
		tn, err := x.tenants.get(ctx, name)
		if err != nil {
			t.Fatal(err)
		}
		_ = x.readers.with(ctx, tn, func(c *conn) error {
			_, err := c.integer(`SELECT 1 / (? - 1)`, int64(1))
			if !fault.Is(err, fault.Internal) {
				t.Errorf("division by zero: %v", err)
			}
			return nil
		})
		n := 0
		err = x.Instances(ctx, name, archive.UIDs{Study: "1.2.3"}, func(*archive.InstanceRow) bool { n++; return true })
		if err != nil || n != 1 {
			t.Errorf("%s: %d instances, %v", name, n, err)
		}
	}
}
