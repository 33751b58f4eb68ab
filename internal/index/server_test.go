package index

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/internal/testservers"
)

func TestClassify(t *testing.T) {
	pg := func(code string) error { return fmt.Errorf("applying: %w", &pgconn.PgError{Code: code}) }
	for _, c := range []struct {
		err    error
		kind   fault.Kind
		passes bool
	}{
		{pg("53100"), fault.Full, false},
		{pg("53200"), fault.Unavailable, false},
		{pg("53300"), fault.Unavailable, true},
		{pg("57P01"), fault.Unavailable, true},
		{pg("57P02"), fault.Unavailable, true},
		{pg("57P03"), fault.Unavailable, true},
		{pg("08006"), fault.Unavailable, true},
		{pg("25006"), fault.Unavailable, true},
		{pg("40001"), fault.Unavailable, true},
		{pg("40P01"), fault.Unavailable, true},
		{pg("25P03"), fault.Unavailable, true},
		{pg("55P03"), fault.Unavailable, false},
		{pg("58030"), fault.Unavailable, false},
		{pg("28P01"), fault.Unavailable, false},
		{pg("57014"), fault.Timeout, false},
		{pg("XX001"), fault.Corrupt, false},
		{pg("42601"), fault.Internal, false},
		{pg("23505"), fault.Internal, false},
		{io.ErrUnexpectedEOF, fault.Unavailable, true},
		{pgconn.ErrReadOnlyConnection, fault.Unavailable, true},
		{errNotDurable, fault.Invalid, false},
		{errors.New("something"), fault.Internal, false},
		{context.Canceled, fault.Canceled, false},
	} {
		if got := classify(c.err); !fault.Is(got, c.kind) || passes(got) != c.passes {
			t.Errorf("%v: kind %v, passes %v", c.err, fault.KindOf(got), passes(got))
		}
	}
}

func TestRewrite(t *testing.T) {
	for q, want := range map[string]string{
		`SELECT 1`: `SELECT 1`,
		`SELECT a FROM studies INDEXED BY studies_day WHERE b = ? AND c = ?`: `SELECT a FROM studies WHERE b = $1 AND c = $2`,
	} {
		if got := rewrite(q); got != want {
			t.Errorf("%s", got)
		}
	}
}

// TestRefusedDatabases: what cannot keep Strata's promises is refused when the index is opened, and says why.
func TestRefusedDatabases(t *testing.T) {
	p := sharedPostgres(t)
	good := p.DSN(newSchema())
	for _, c := range []struct {
		name, dsn string
		kind      fault.Kind
		says      string
	}{
		{"superuser", p.URL("postgres", "strata", newSchema()), fault.Invalid, "BYPASSRLS"},
		{"standby", good + "&default_transaction_read_only=on", fault.Unavailable, "standby"},
		{"no role", p.URL("nobody-here", "strata", newSchema()), fault.Unavailable, "role"},
		{"no database", p.URL("strata", "nowhere", newSchema()), fault.Unavailable, "role"},
		{"nonsense", "postgres://strata:geheim@[", fault.Invalid, "cannot be understood"},
		{"schemas", p.DSN("a,b"), fault.Invalid, "search_path"},
		{"nobody listens", "postgres://strata:geheim@127.0.0.1:1/strata", fault.Unavailable, "does not answer"},
	} {
		o := baseOptions()
		o.DSN, o.Patience = c.dsn, time.Millisecond
		x, err := Open(context.Background(), o)
		if err == nil {
			x.Close()
		}
		if !fault.Is(err, c.kind) || !strings.Contains(err.Error(), c.says) || strings.Contains(err.Error(), "geheim") {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	o := baseOptions()
	o.DSN = testservers.Postgres(t, "fsync=off").DSN("")
	if _, err := Open(context.Background(), o); !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), "fsync") {
		t.Errorf("fsync off: %v", err)
	}
}

// TestDurable: a database that would acknowledge before it has written is told not to; more than that stays.
func TestDurable(t *testing.T) {
	for set, want := range map[string]string{"off": "on", "local": "on", "on": "on", "remote_write": "remote_write", "remote_apply": "remote_apply"} {
		s, err := newServer(sharedPostgres(t).DSN("")+"&synchronous_commit="+set, 0)
		if err != nil {
			t.Fatal(err)
		}
		c, err := pgx.ConnectConfig(context.Background(), s.config)
		if err != nil {
			t.Fatal(err)
		}
		var got, schema string
		if err := c.QueryRow(context.Background(), `SELECT current_setting('synchronous_commit'), current_setting('search_path')`).Scan(&got, &schema); err != nil || got != want || schema != "strata" {
			t.Errorf("%s became %s in %s: %v", set, got, schema, err)
		}
		c.Close(context.Background())
	}
}

// TestKilledDatabase kills the server over and over while clients on two nodes store: what
// was acknowledged is there, once, and calls wait for the server rather than fail.
func TestKilledDatabase(t *testing.T) {
	p := testservers.Postgres(t)
	o := baseOptions()
	o.DSN, o.Patience, o.Poll = p.DSN(""), 20*time.Second, 20*time.Millisecond
	nodes := []*Index{openWith(t, o), openWith(t, o)}
	kills := 3
	if testing.Short() {
		kills = 1
	}
	const clients = 6
	ctx, cancel := context.WithCancel(context.Background())
	var mu sync.Mutex
	acknowledged := map[string]bool{}
	failed := 0
	var wg sync.WaitGroup
	for c := range clients {
		wg.Go(func() {
			x := nodes[c%2]
			for i := 0; ctx.Err() == nil; i++ {
				s := ctSpec
				s.study = fmt.Sprintf("1.%d.%d", c, i/20)
				s.series, s.instance = s.study+".1", fmt.Sprintf("%s.1.%d", s.study, i)
				e := stored(uint64(i+1), s)
				e.Session, e.Fact.ID = fmt.Sprintf("client%d", c), factID(uint64(c*100000+i))
				out, err := x.Apply(context.Background(), hospital, e)
				for ; err != nil; out, err = x.Apply(context.Background(), hospital, e) {
					mu.Lock()
					failed++
					mu.Unlock()
					if !fault.Is(err, fault.Unavailable) {
						t.Error(err)
						return
					}
				}
				if !out[0].Known && (len(out[0].Instances) != 1 || out[0].Instances[0].Outcome != Visible) {
					t.Errorf("%+v", out)
				}
				if rows, _, err := x.Versions(context.Background(), hospital, s.build(0).UIDs); err == nil && len(rows) != 1 {
					t.Errorf("%d rows of what was just acknowledged", len(rows))
				}
				mu.Lock()
				acknowledged[s.instance] = true
				mu.Unlock()
			}
		})
	}
	// goOn waits until clients have been at work again, however slow the machine is.
	goOn := func(kill int) {
		time.Sleep(300 * time.Millisecond)
		for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
			mu.Lock()
			n := len(acknowledged)
			mu.Unlock()
			if n >= kill*clients {
				return
			}
		}
	}
	for kill := range kills {
		goOn(kill)
		p.Kill()
		if err := nodes[0].Ready(context.Background()); !fault.Is(err, fault.Unavailable) {
			t.Errorf("ready without a database: %v", err)
		}
		if err := p.Start(); err != nil {
			t.Fatal(err)
		}
	}
	goOn(kills)
	cancel()
	wg.Wait()
	fresh := openWith(t, o)
	there := map[string]int{}
	for _, s := range studies(t, fresh, archive.StudyFilter{}) {
		for _, r := range instances(t, fresh, archive.UIDs{Study: s.UID}) {
			there[r.UIDs.Instance]++
		}
	}
	for uid := range acknowledged {
		if there[uid] != 1 {
			t.Errorf("%s is there %d times", uid, there[uid])
		}
	}
	last, err := fresh.Last(context.Background(), hospital)
	if err != nil || last != int64(len(there)) || len(there) != len(acknowledged) || len(there) < kills*clients {
		t.Errorf("%d acknowledged, %d there, %d in the feed, %v", len(acknowledged), len(there), last, err)
	}
	t.Logf("%d instances over %d kills, %d calls failed", len(there), kills, failed)
}

// TestDoubtfulCommit: a commit whose answer was lost is tried again, and gives the result of the first time.
func TestDoubtfulCommit(t *testing.T) {
	o := onPostgres(t)
	x := openWith(t, o)
	apply(t, x, stored(1, ctSpec))
	w := x.writerOf(hospital)
	s := ctSpec
	s.instance = "1.2.3.1.2"
	lost := &lostAnswer{link: w.c.link}
	w.mu.Lock()
	w.c.link = lost
	w.mu.Unlock()
	out := apply(t, x, stored(2, s))
	if out[0].Known || len(out[0].Instances) != 1 || out[0].Instances[0].Outcome != Visible || lost.times != 1 {
		t.Errorf("%+v, lost %d", out, lost.times)
	}
	if rows := instances(t, x, archive.UIDs{Study: "1.2.3"}); len(rows) != 2 {
		t.Errorf("%d instances", len(rows))
	}
}

// lostAnswer loses the answer to the first commit.
type lostAnswer struct {
	link
	times int
}

func (l *lostAnswer) commit() error {
	err := l.link.commit()
	if l.times++; l.times > 1 || err != nil {
		l.times--
		return err
	}
	pg := l.link.(*postgres)
	_ = pg.pc.Close(context.Background())
	pg.doubt = true
	return classify(io.ErrUnexpectedEOF)
}
