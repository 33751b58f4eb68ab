package index

import (
	"context"
	"database/sql/driver"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/dicom"
)

// TestNoScans: no statement reads through a table or an index from end to end, however large the tables are.
func TestNoScans(t *testing.T) {
	o := onPostgres(t)
	x := openWith(t, o)
	useAll(t, x)
	ctx := context.Background()
	statements := map[string]bool{}
	for range cap(x.readers.free) {
		c := <-x.readers.free
		defer func() { x.readers.free <- c }()
		for _, s := range c.link.(*postgres).sql {
			statements[s] = true
		}
	}
	for _, w := range x.writers {
		for _, s := range w.c.link.(*postgres).sql {
			statements[s] = true
		}
	}
	s, err := newServer(o.DSN, 0)
	if err != nil {
		t.Fatal(err)
	}
	c, err := pgx.ConnectConfig(ctx, s.config)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close(ctx)
	admin, err := pgx.Connect(ctx, sharedPostgres(t).URL("postgres", "strata", s.schema))
	if err != nil {
		t.Fatal(err)
	}
	defer admin.Close(ctx)
	checked := 0
	for _, rows := range []int{-1, 100_000_000} {
		if rows > 0 {
			if _, err := c.Exec(ctx, `ANALYZE`); err != nil {
				t.Fatal(err)
			}
		}
		_, err := admin.Exec(ctx, fmt.Sprintf(`UPDATE pg_class SET reltuples = %d WHERE relnamespace = current_schema()::regnamespace
			AND relkind IN ('r', 'i') AND relname NOT LIKE 'tenants%%'`, rows))
		if err != nil {
			t.Fatal(err)
		}
		for q := range statements {
			switch strings.Fields(q)[0] {
			case "BEGIN", "COMMIT", "INSERT":
				continue
			}
			if strings.Contains(q, "FROM tenants") || q == "SELECT 1" || strings.Contains(q, "nextval") {
				continue // a thousand rows
			}
			for _, scan := range scans(t, c, q) {
				t.Errorf("%d rows: %s\n%s", rows, scan, q)
			}
			checked++
		}
	}
	if checked < 60 {
		t.Errorf("only %d statements were seen", checked)
	}
}

// scans returns the nodes of the generic plan that have no condition to look up by.
func scans(t *testing.T, c *pgx.Conn, q string) (found []string) {
	t.Helper()
	ctx := context.Background()
	none := ""
	if n := strings.Count(q, "$"); n > 0 {
		none = "(" + strings.TrimSuffix(strings.Repeat("NULL,", n), ",") + ")"
	}
	if _, err := c.Exec(ctx, `PREPARE looked AS `+q); err != nil {
		t.Fatalf("%v: %s", err, q)
	}
	defer func() { _, _ = c.Exec(ctx, `DEALLOCATE looked`) }()
	rows, err := c.Query(ctx, `EXPLAIN (FORMAT JSON) EXECUTE looked`+none, pgx.QueryExecModeSimpleProtocol)
	if err != nil {
		t.Fatalf("%v: %s", err, q)
	}
	text, err := pgx.CollectOneRow(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatalf("%v: %s", err, q)
	}
	var plan []struct{ Plan node }
	if err := json.Unmarshal([]byte(text), &plan); err != nil {
		t.Fatal(err)
	}
	plan[0].Plan.walk(func(n *node) {
		table := fmt.Sprint(n.Relation, n.Index)
		switch {
		case n.Type == "Seq Scan", strings.Contains(n.Type, "Bitmap"):
			found = append(found, n.Type+" "+table)
		case strings.HasPrefix(n.Type, "Index") && n.Cond == "":
			found = append(found, n.Type+" without a condition "+table)
		}
	})
	return found
}

type node struct {
	Type     string `json:"Node Type"`
	Relation string `json:"Relation Name"`
	Index    string `json:"Index Name"`
	Cond     string `json:"Index Cond"`
	Plans    []node
}

func (n *node) walk(f func(*node)) {
	f(n)
	for i := range n.Plans {
		n.Plans[i].walk(f)
	}
}

// useTiers does so with what is settled, moved, dropped and shredded.
func useTiers(t *testing.T, x *Index) {
	ctx := context.Background()
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	es := three("8.1")
	ref := es[0].Fact.Study
	first := settles(300, es...)
	twice := es[0]
	twice.N, twice.Object = 299, objectName(&tenant{seal: &sealer{tenant: string(hospital)}}, testSession, 299)
	apply(t, x, es[0], twice, es[1], first, es[2], moves(301, ref, "hot", "cold", "hospital/pack/300"), deletes(302, archive.UIDs{Study: "8.1"}, es[0].Fact.Instances[0].Blob))
	x.nearline = func(archive.TierName) archive.Availability { return archive.Nearline }
	defer func() { x.nearline = nil }()
	studies(t, x, archive.StudyFilter{})
	rows := instances(t, x, archive.UIDs{Study: "8.1"})
	if len(rows) == 0 || rows[0].Tier != archive.Nearline {
		t.Fatalf("%+v", rows)
	}
	_, err := x.SeriesOf(ctx, hospital, rows[0].StudyID)
	check(err)
	check(x.StudyInstances(ctx, hospital, ref, func(*archive.InstanceRow, archive.State) bool { return true }))
	_, err = x.Packs(ctx, hospital, ref)
	check(err)
	_, err = x.Entries(ctx, hospital, ref)
	check(err)
	_, _, err = x.Where(ctx, hospital, "hospital/pack/300")
	check(err)
	_, err = x.DoomedCopies(ctx, hospital, "hospital/pack/300")
	check(err)
	check(x.SetRestored(ctx, hospital, "hospital/pack/300", x.now()))
	_, err = x.KeepCopy(ctx, hospital, "hospital/pack/300", archive.HotTier, time.Time{}, x.now(), x.now())
	check(err)
	apply(t, x, moves(303, ref, "cold", "hot", "hospital/pack/300"))
	second := settles(304, first)
	second.Fact.Dropped = []archive.BlobID{es[0].Fact.Instances[0].Blob}
	apply(t, x, second, settles(305, sealedUnder(stored(400, spec{study: "8.1", series: "8.1.9", instance: "8.1.9.1"}), keyNamed("8.1", "b"))))
	sweep(t, x)
	_, err = x.TierUsage(ctx, hospital)
	check(err)
	_, _, err = x.Removing(ctx, hospital)
	check(err)
	_, err = x.Counted(ctx, hospital, "hospital/pack/300")
	check(err)
	apply(t, x, closes(306, "8.1", keyNamed("8.1", "a")))
}

// useAll makes an index run every query that it has.
func useAll(t *testing.T, x *Index) {
	ctx := context.Background()
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	var all []archive.BlobID
	for i := range uint64(30) {
		s := ctSpec
		s.study, s.desc = fmt.Sprintf("6.%d", i/3), fmt.Sprintf("Thorax %d", i%2)
		s.series, s.modality = fmt.Sprintf("%s.%d", s.study, i%2), []string{"CT", "MR"}[i%2]
		s.instance, s.sopClass = fmt.Sprintf("%s.%d", s.series, i), fmt.Sprintf("1.%d", i%2)
		apply(t, x, stored(i+2, s))
		all = append(all, blobOf(s, i+2))
	}
	void := entry(1, &archive.Fact{Kind: archive.FactVoid})
	end := entry(40, &archive.Fact{Kind: archive.FactCheckpoint, Sessions: []archive.SessionEnd{{Session: "other", Last: 4}}})
	other := entry(41, &archive.Fact{Kind: archive.FactVoid})
	other.Session = "other"
	apply(t, x, void, end, other)
	apply(t, x, deletes(50, archive.UIDs{Study: "6.0"}, all[:3]...), undeletes(51, "6.0", []uint64{50}, all[:2]...))
	for i := range 70 { // words are folded
		s := ctSpec
		s.study, s.instance, s.name = fmt.Sprintf("7.%d", i), fmt.Sprintf("7.%d.1", i), fmt.Sprintf("Name%d", i)
		apply(t, x, stored(uint64(100+i), s))
	}
	x.Forget(hospital)
	apply(t, x, tags(52, "6.1", "a"), tags(53, "6.900", "b"))
	again := ctSpec
	again.study, again.series, again.instance = "6.1", "6.1.1", "6.1.1.77"
	apply(t, x, stored(60, again), deletes(61, again.build(0).UIDs, blobOf(again, 60)))
	term := func(tag dicom.Tag, words ...string) (out []archive.Term) {
		for _, w := range words {
			out = append(out, archive.Term{Tag: tag, Word: w})
		}
		return out
	}
	two := term(0x00081030, "thorax", "abdomen")
	one := term(0x00100010, "muller")
	for _, f := range []archive.StudyFilter{
		{}, {Skip: 3}, {From: "20240101"}, {Modalities: []string{"MR"}}, {Modalities: []string{"MR"}, From: "20240301", To: "20240310"}, {UIDs: []string{"6.1"}}, {IDs: []int64{1, 2}},
		{All: [][]archive.Term{one}}, {All: [][]archive.Term{two}}, {All: [][]archive.Term{one, two}}, {All: [][]archive.Term{one, term(0x00081030, "1"), two}},
		{All: [][]archive.Term{two, one, two}},
	} {
		studies(t, x, f)
		q := &studyQuery{x: x, name: hospital, f: f, lo: 1, hi: 1 << 62, yield: func(*archive.StudyRow) bool { return true }}
		var groups [][]token
		check(q.read(ctx, func(c *conn) error {
			for _, g := range f.All {
				var tokens []token
				for _, term := range g {
					tokens = append(tokens, q.t.queryToken(term))
				}
				groups = append(groups, tokens)
			}
			if groups == nil {
				return nil
			}
			return x.postings.find(ctx, c, groups, q.lo, q.hi, 10, func([]driver.Value) error { return nil })
		}))
	}
	rows := instances(t, x, archive.UIDs{Study: "6.1"})
	instances(t, x, archive.UIDs{Study: "6.1", Series: "6.1.1"})
	_, _, err := x.Versions(ctx, hospital, rows[0].UIDs)
	check(err)
	check(x.Chunks(ctx, hospital, []int64{rows[0].ChunkID}, func(int64, archive.Chunk) bool { return true }))
	list, err := x.SeriesOf(ctx, hospital, rows[0].StudyID)
	check(err)
	long := list[0]
	long.Instances = wholeSeries + 1
	_, err = x.longSeries(ctx, hospital, &long, "6.1", func(*archive.InstanceRow) bool { return true })
	check(err)
	_, err = x.InstancesOf(ctx, hospital, list[0].ID)
	check(err)
	_, err = x.SeriesByUID(ctx, hospital, []string{"6.1.1"})
	check(err)
	_, err = x.StudyByID(ctx, hospital, rows[0].StudyID)
	check(err)
	check(x.Each(ctx, hospital, 0, func(*archive.InstanceRow, State) bool { return true }))
	for _, sel := range []archive.UIDs{{Study: "6.0"}, {Study: "6.0", Series: "6.0.1"}} {
		_, err = x.Blobs(ctx, hospital, sel)
		check(err)
		_, err = x.Deletions(ctx, hospital, sel)
		check(err)
	}
	_, err = x.Revision(ctx, hospital, archive.UIDs{Study: "6.0"})
	check(err)
	_, _, err = x.StudyKey(ctx, hospital, fakeKeys(hospital).Ref("6.0"))
	check(err)
	_, err = x.Referenced(ctx, hospital, "x")
	check(err)
	_, err = x.Unreferenced(ctx, hospital, []string{"x", "y"})
	check(err)
	useTiers(t, x)
	_, _, err = x.Touched(ctx, hospital, 0, 5)
	check(err)
	for _, q := range []ChangeQuery{{}, {Newest: true}, {Actions: []string{"delete"}}, {Actions: []string{"delete"}, Newest: true}, {From: x.now()}} {
		_, err = x.Changes(ctx, hospital, q)
		check(err)
	}
	_, err = x.Progress(ctx, hospital)
	check(err)
	_, _, err = x.Words(ctx, hospital, 0x00100010, func(string) bool { return true }, 1000)
	check(err)
	day := time.UnixMilli(1_700_000_000_000)
	check(x.AllDue(ctx, hospital))
	check(x.Accessed(ctx, hospital, day, fakeKeys(hospital).Ref("6.1")))
	lives, err := x.Lives(ctx, hospital, 0, 10)
	check(err)
	check(x.SetDue(ctx, hospital, lives[0].Next(day), lives[1].Next(day)))
	check(x.AllDue(ctx, hospital))
	due, place, err := x.Due(ctx, hospital, day, archive.DuePlace{}, 1000)
	check(err)
	check(x.Judged(ctx, hospital, place))
	if len(due) < 10 {
		t.Fatalf("%d studies are due", len(due))
	}
	if n, err := x.StudyCount(ctx, hospital); err != nil || n != int64(len(studies(t, x, archive.StudyFilter{}))) {
		t.Errorf("%d studies are counted: %v", n, err)
	}
	_, _, err = x.Life(ctx, hospital, lives[0].Study)
	check(err)
	check(x.inWriter(ctx, hospital, func(b *batch, t *tenant) error {
		t.complete.Store(false)
		return b.c.exec(`UPDATE lives SET judged = 0, due = 0, sealed = ? WHERE tenant = ? AND id = ?`, []byte{}, t.id, lives[0].ID)
	}))
	check(x.completeLives(ctx, hospital))
	apply(t, x, holds(70, "6.0", "alice"), holdsPatient(71, "P1", "alice"), releases(72, 70, "bob"), releases(73, 70, "carol"), rules(74, archive.RulesRetention, "{}"))
	_, _, err = x.TagsOf(ctx, hospital, archive.Ref{1})
	check(err)
	_, _, err = x.RuleSet(ctx, hospital, archive.RulesRetention)
	check(err)
	intent := archive.Intent{Study: fakeKeys(hospital).Ref("6.0"), Session: "s", N: 1}
	check(x.Intend(ctx, hospital, intent))
	for _, study := range []archive.Ref{intent.Study, {}} {
		_, err = x.Intents(ctx, hospital, study)
		check(err)
	}
	check(x.Desist(ctx, hospital, intent))
	_, err = x.DeletedAt(ctx, hospital, factID(1))
	check(err)
	_, err = x.Holds(ctx, hospital, archive.FactID{}, 5)
	check(err)
	_, err = x.HoldOf(ctx, hospital, factID(70))
	check(err)
	_, err = x.HeldBy(ctx, hospital, fakeKeys(hospital).Ref("6.0"), fakeKeys(hospital).Ref(archive.PatientRef("P1")))
	check(err)
	_, _, err = x.Kept(ctx, hospital, fakeKeys(hospital).Ref("6.0"))
	check(err)
	_, err = x.KeptAfter(ctx, hospital, archive.Ref{}, 3)
	check(err)
	_, err = x.PersonsAfter(ctx, hospital, archive.Ref{}, 3)
	check(err)
	_, err = x.Exams(ctx, hospital, "PAT-77", "", 3)
	check(err)
	for _, limit := range []int{1, 100} {
		_, _, err = x.DeletionsSince(ctx, hospital, time.Time{}, archive.Ref{}, archive.FactID{}, limit)
		check(err)
	}
	_, err = x.CreatedSince(ctx, hospital, time.UnixMilli(1_600_000_000_000))
	check(err)
	_, err = x.Places(ctx, hospital, fakeKeys(hospital).Ref("6.0"), fakeKeys(hospital).Ref("6.1"))
	check(err)
	check(x.SetDue(ctx, hospital, everyNext(t, x)...))
	for _, letGo := range []time.Time{{}, time.UnixMilli(1_800_000_000_000)} {
		_, err = x.Pending(ctx, hospital, time.UnixMilli(1), letGo, letGo)
		check(err)
	}
	_, err = x.LetGo(ctx, hospital, "hot")
	check(err)
	check(x.look(ctx))
}

// everyNext are all studies, never due: then everything is asked that makes some pending.
func everyNext(t *testing.T, x *Index) (next []archive.NextDue) {
	lives, err := x.Lives(context.Background(), hospital, 0, 10_000)
	if err != nil {
		t.Fatal(err)
	}
	for i := range lives {
		next = append(next, lives[i].Next(time.Time{}))
	}
	return next
}
