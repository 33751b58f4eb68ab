package index

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/fault"
)

// TestNodes: two nodes write to one study in turn, and each sees what the other did.
func TestNodes(t *testing.T) {
	o := onPostgres(t)
	nodes := []*Index{openWith(t, o), openWith(t, o)}
	ctx := context.Background()
	all := archive.UIDs{Study: "1.2.3"}
	for i := range uint64(40) {
		s := ctSpec
		s.instance, s.desc = fmt.Sprintf("1.2.3.1.%d", i), fmt.Sprintf("Thorax teil%d", i/10)
		here, there := nodes[i%2], nodes[1-i%2]
		woken := there.Watch(hospital)
		apply(t, here, stored(i+1, s))
		select {
		case <-woken:
		case <-time.After(10 * time.Second):
			t.Fatal("the other node's feed did not wake")
		}
		if ss := studies(t, there, archive.StudyFilter{}); len(ss) != 1 || ss[0].Instances != int(i+1) {
			t.Fatalf("after %d: %+v", i+1, ss)
		}
		if last, err := there.Last(ctx, hospital); err != nil || last != int64(i+1) {
			t.Fatalf("feed: %d %v", last, err)
		}
		if out := apply(t, there, stored(i+1, s)); !out[0].Known {
			t.Fatal("applied on both nodes")
		}
	}
	for _, x := range nodes {
		words, _, err := x.Words(ctx, hospital, 0x00081030, func(string) bool { return true }, 100)
		if err != nil || len(words) != 5 {
			t.Errorf("words: %v %v", words, err)
		}
	}
	blobs, err := nodes[0].Blobs(ctx, hospital, all)
	if err != nil || len(blobs) != 40 {
		t.Fatal(len(blobs), err)
	}
	apply(t, nodes[0], deletes(100, all, blobs...))
	s := ctSpec
	s.instance, s.desc = "1.2.3.1.0", "Thorax teil0"
	if p := apply(t, nodes[1], stored(1+1000, s))[0].Instances[0]; p.Outcome != Visible {
		t.Errorf("a new copy of what was deleted on another node: %+v", p)
	}
	e := stored(1, s) // what the other node deleted, written to the log a second time
	e.N = 5000
	if p := apply(t, nodes[1], e)[0].Instances[0]; p.Outcome != Deleted {
		t.Errorf("a copy of a deleted blob: %+v", p)
	}
}

// TestNodesTogether: nodes write for two tenants at once; the feed has no gap, whoever follows it, and nothing is lost.
func TestNodesTogether(t *testing.T) {
	o := onPostgres(t)
	const clients, each = 3, 15
	tenants := []archive.Tenant{hospital, "practice"}
	nodes := []*Index{openWith(t, o), openWith(t, o), openWith(t, o)}
	ctx := context.Background()
	var wg sync.WaitGroup
	for i, x := range nodes {
		for _, name := range tenants {
			for c := range clients {
				wg.Go(func() {
					for n := range each {
						s := ctSpec
						s.study = fmt.Sprintf("1.%d", n%3)
						s.series = s.study + ".1"
						s.instance = fmt.Sprintf("%s.%d.%d.%d", s.series, i, c, n)
						e := stored(uint64(1+c*each+n), s)
						e.Session = fmt.Sprintf("node%d", i)
						e.Fact.ID = factID(uint64(1 + i*1000 + c*each + n))
						if out, err := x.Apply(ctx, name, e); err != nil || out[0].Instances[0].Outcome != Visible {
							t.Errorf("%+v %v", out, err)
						}
					}
				})
			}
			wg.Go(func() { follow(t, x, name, int64(len(nodes)*clients*each)) })
		}
	}
	wg.Wait()
	for _, name := range tenants {
		n := 0
		for i := range 3 {
			err := nodes[0].Instances(ctx, name, archive.UIDs{Study: fmt.Sprintf("1.%d", i)}, func(*archive.InstanceRow) bool { n++; return true })
			if err != nil {
				t.Error(err)
			}
		}
		if n != len(nodes)*clients*each {
			t.Errorf("%s: %d instances", name, n)
		}
		p, err := nodes[1].Progress(ctx, name)
		if err != nil || len(p) != len(nodes) || len(p["node2"].Applied) != 1 || p["node2"].Applied[0] != (Range{From: 1, To: clients * each}) {
			t.Errorf("%s: %+v %v", name, p, err)
		}
	}
}

func follow(t *testing.T, x *Index, name archive.Tenant, to int64) {
	for last, end := int64(0), time.Now().Add(time.Minute); last < to; {
		more := x.Watch(name)
		cs, err := x.Changes(context.Background(), name, ChangeQuery{After: last, Limit: 11})
		if err != nil {
			t.Error(err)
			return
		}
		for _, c := range cs {
			if c.Sequence != last+1 {
				t.Errorf("%d after %d", c.Sequence, last)
			}
			last = c.Sequence
		}
		if len(cs) == 0 {
			select {
			case <-more:
			case <-time.After(time.Until(end)):
				t.Errorf("%s: the feed ends at %d", name, last)
				return
			}
		}
	}
}

// TestSleepingNode: a node that stops in the middle of a transaction holds up others only for a time.
func TestSleepingNode(t *testing.T) {
	o := onPostgres(t)
	o.DSN += "&idle_in_transaction_session_timeout=500ms"
	awake, asleep := openWith(t, o), openWith(t, o)
	apply(t, awake, stored(1, ctSpec))
	w := asleep.writerOf(hospital)
	tn, err := w.tenant(context.Background(), hospital)
	if err != nil {
		t.Fatal(err)
	}
	b := w.begin()
	if err := errors.Join(w.c.begin(), b.enter(tn)); err != nil { // it has the lock
		t.Fatal(err)
	}
	s := ctSpec
	s.instance = "1.2.3.1.9"
	start := time.Now()
	apply(t, awake, stored(2, s))
	if d := time.Since(start); d < 100*time.Millisecond || d > 8*time.Second {
		t.Errorf("waited %v", d)
	}
	// It wakes up: its transaction is gone, and it goes on with what is true now.
	_, err = b.apply(tn, ptr(stored(3, s)))
	if err = w.end(b, err); err == nil {
		t.Error("the transaction of a node that slept was committed")
	}
	s.instance = "1.2.3.1.10"
	apply(t, asleep, stored(3, s))
	if ss := studies(t, awake, archive.StudyFilter{}); len(ss) != 1 || ss[0].Instances != 3 {
		t.Errorf("%+v", ss)
	}
	if last, err := awake.Last(context.Background(), hospital); err != nil || last != 3 {
		t.Error(last, err)
	}
}

func ptr[T any](v T) *T { return &v }

// TestRowLevelSecurity: without the setting, or with another tenant's, no row is seen or written.
func TestRowLevelSecurity(t *testing.T) {
	o := onPostgres(t)
	x := openWith(t, o)
	ctx := context.Background()
	two := ctSpec
	two.instance, two.desc, two.modality, two.series, two.sopClass = "1.2.3.9.1", "Abdomen", "MR", "1.2.3.9", "1.9"
	e := stored(1, ctSpec, two)
	e.Fact.Instances[0].At.Object = "hospital/packs/1"
	apply(t, x, e, stored(3, two), deletes(5, ctSpec.build(0).UIDs, blobOf(ctSpec, 1)),
		closes(7, "9.9", keyNamed("9.9", "a")))
	if _, err := x.Apply(ctx, "practice", stored(1, ctSpec)); err != nil {
		t.Fatal(err)
	}
	c, err := pgx.Connect(ctx, o.DSN)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close(ctx)
	rows, err := c.Query(ctx, `SELECT c.relname FROM pg_class c WHERE c.relnamespace = current_schema()::regnamespace AND c.relkind = 'r'
		AND c.relname NOT IN ('tenants', 'tenant_settings', 'leases', 'jobs', 'goose_db_version') ORDER BY 1`)
	if err != nil {
		t.Fatal(err)
	}
	tables, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil || len(tables) != 15 {
		t.Fatal(tables, err)
	}
	count := func(tenant, table string) (n int) {
		t.Helper()
		if _, err := c.Exec(ctx, `SELECT set_config('strata.tenant', $1, false)`, tenant); err != nil {
			t.Fatal(err)
		}
		if err := c.QueryRow(ctx, `SELECT count(*) FROM `+table).Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	for _, table := range tables {
		var n int // before it is ever set
		if err := c.QueryRow(ctx, `SELECT count(*) FROM `+table).Scan(&n); err != nil || n != 0 {
			t.Errorf("%s: %d rows are seen without a tenant: %v", table, n, err)
		}
	}
	for _, table := range tables {
		if n := count("1", table); n == 0 {
			t.Errorf("%s: the test has no row there", table)
		}
		if n := count("", table) + count("77", table); n != 0 {
			t.Errorf("%s: %d rows are seen without a tenant, or by another", table, n)
		}
	}
	if ours, all := count("1", "studies"), count("2", "studies"); ours != 1 || all != 1 {
		t.Errorf("%d and %d studies", ours, all)
	}
	count("2", "studies")
	for _, q := range []string{
		`INSERT INTO tok VALUES (1::bigint << 44, 5)`,
		`INSERT INTO chunks (id, tenant, sealed) VALUES (99, 1, '')`,
		`UPDATE studies SET tenant = 1`,
	} {
		var e *pgconn.PgError
		if _, err := c.Exec(ctx, q); !errors.As(err, &e) || e.Code != "42501" {
			t.Errorf("%s: %v", q, err)
		}
	}
	for _, q := range []string{`UPDATE instances SET state = 2 WHERE tenant = 1`, `DELETE FROM tok WHERE token >> 44 = 1`} {
		if tag, err := c.Exec(ctx, q); err != nil || tag.RowsAffected() != 0 {
			t.Errorf("%s: %v %v", q, tag, err)
		}
	}
}

// TestForget: after it the keys are asked for again, and their answer holds.
func TestForget(t *testing.T) { both(t, testForget) }

func testForget(t *testing.T, e engine) {
	o := e(t)
	var revoked atomic.Bool
	var asked atomic.Int64
	o.Keys = func(_ context.Context, name archive.Tenant) (Keys, error) {
		asked.Add(1)
		if revoked.Load() {
			return nil, fault.New(fault.KeyDenied, "revoked")
		}
		return fakeKeys(name), nil
	}
	x := openWith(t, o)
	ctx := context.Background()
	apply(t, x, stored(1, ctSpec))
	all := func(string) bool { return true }
	words, _, err := x.Words(ctx, hospital, 0x00100010, all, 9)
	if err != nil || len(words) != 2 {
		t.Fatal(words, err)
	}
	woken := x.Watch(hospital)
	revoked.Store(true)
	x.Forget(hospital)
	x.Forget("nobody")
	select {
	case <-woken:
	default:
		t.Error("who waits for the feed is not told")
	}
	if w := x.writerOf(hospital); len(w.studies.now)+len(w.studies.old)+len(w.warm) != 0 || len(x.pages.now)+len(x.pages.old) != 0 {
		t.Error("something of the tenant is still in memory")
	}
	if words[0] != "muller" && words[1] != "muller" {
		t.Errorf("words that were given out changed: %v", words)
	}
	_, applied := x.Apply(ctx, hospital, stored(2, ctSpec))
	_, _, worded := x.Words(ctx, hospital, 0x00100010, all, 9)
	_, read := x.Blobs(ctx, hospital, archive.UIDs{Study: "1.2.3"})
	bulk := x.Bulk(ctx, hospital, func(add func(archive.Entry) error) error { return add(stored(3, ctSpec)) })
	found := x.Studies(ctx, hospital, archive.StudyFilter{}, func(*archive.StudyRow) bool { return true })
	for i, err := range []error{applied, worded, read, bulk, found} {
		if !fault.Is(err, fault.KeyDenied) {
			t.Errorf("use %d of a revoked key: %v", i, err)
		}
	}
	revoked.Store(false)
	s := ctSpec
	s.instance = "1.2.3.1.2"
	apply(t, x, stored(2, s))
	if ss := studies(t, x, archive.StudyFilter{}); len(ss) != 1 || ss[0].Instances != 2 {
		t.Errorf("granted again: %+v", ss)
	}
	if n := asked.Load(); n < 3 {
		t.Errorf("the keys were asked for %d times", n)
	}
}

// TestForgetAtWork: a tenant is forgotten over and over while it is written, searched and rebuilt.
func TestForgetAtWork(t *testing.T) { both(t, testForgetAtWork) }

func testForgetAtWork(t *testing.T, e engine) {
	x := openTest(t, e)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	apply(t, x, stored(1, ctSpec))
	var forgetting sync.WaitGroup
	forgetting.Go(func() {
		for ctx.Err() == nil {
			x.Forget(hospital)
			time.Sleep(time.Millisecond)
		}
	})
	const clients, each = 4, 12
	var wg sync.WaitGroup
	for c := range clients {
		wg.Go(func() {
			for i := range each {
				s := ctSpec
				s.instance, s.name = fmt.Sprintf("1.2.3.1.%d.%d", c, i), fmt.Sprintf("Name%d^Anna", c*each+i)
				s.study = fmt.Sprintf("9.%d", i)
				n := uint64(2 + c*each + i)
				var err error
				if c == 3 {
					err = x.Bulk(ctx, hospital, func(add func(archive.Entry) error) error { return add(stored(n, s)) })
				} else {
					_, err = x.Apply(ctx, hospital, stored(n, s))
				}
				if err != nil {
					t.Error(err)
				}
				if rows, _, err := x.Versions(ctx, hospital, s.build(0).UIDs); err != nil || len(rows) != 1 {
					t.Errorf("%d versions: %v", len(rows), err)
				}
				if _, _, err := x.Words(ctx, hospital, 0x00100010, func(string) bool { return true }, 1000); err != nil {
					t.Error(err)
				}
				if err := x.Studies(ctx, hospital, archive.StudyFilter{}, func(*archive.StudyRow) bool { return true }); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	cancel()
	forgetting.Wait()
	n := 0
	for _, s := range studies(t, x, archive.StudyFilter{}) {
		n += s.Instances
	}
	if n != 1+clients*each {
		t.Errorf("%d instances", n)
	}
	words, _, err := x.Words(context.Background(), hospital, 0x00100010, func(string) bool { return true }, 1000)
	if err != nil || len(words) != clients*each+2 {
		t.Errorf("%d words, %v", len(words), err)
	}
	if last, err := x.Last(context.Background(), hospital); err != nil || last < 1+clients*each {
		t.Error(last, err)
	}
}
