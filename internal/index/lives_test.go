package index

import (
	"context"
	"database/sql"
	"fmt"
	"reflect"
	"testing"
	"time"

	"github.com/pressly/goose/v3"

	"github.com/strata-pacs/strata/internal/archive"
)

func lifeOf(t testing.TB, x *Index, study string) archive.StudyLife {
	t.Helper()
	l, ok, err := x.Life(context.Background(), hospital, fakeKeys(hospital).Ref(study))
	if err != nil || !ok {
		t.Fatal(study, ok, err)
	}
	return l
}

func dueUIDs(t testing.TB, x *Index, now time.Time, page int) (uids []string) {
	t.Helper()
	var at archive.DuePlace
	for {
		ls, end, err := x.Due(context.Background(), hospital, now, at, page)
		if err != nil {
			t.Fatal(err)
		}
		for i := range ls {
			uids = append(uids, ls[i].UID)
		}
		if len(ls) < page {
			return uids
		}
		at = end
	}
}

func setDue(t testing.TB, x *Index, next ...archive.NextDue) {
	t.Helper()
	if err := x.SetDue(context.Background(), hospital, next...); err != nil {
		t.Fatal(err)
	}
}

// TestLife: what rules look at is what the facts say, and follows them.
func TestLife(t *testing.T) {
	both(t, func(t *testing.T, e engine) {
		o := e(t)
		o.Quiet = time.Hour
		x := openWith(t, o)
		head, chest, mr := ctSpec, ctSpec, ctSpec
		head.body = "HEAD"
		chest.series, chest.instance, chest.body = "1.2.3.2", "1.2.3.2.1", "CHEST "
		mr.series, mr.instance, mr.modality = "1.2.3.3", "1.2.3.3.1", "MR"
		apply(t, x, stored(1, head, chest), stored(5, mr))
		want := archive.StudyLife{
			ID: 1, Study: fakeKeys(hospital).Ref("1.2.3"), UID: "1.2.3", Patient: fakeKeys(hospital).Ref(archive.PatientRef("PAT-77")), StudyDate: "20240305",
			Received: factID(1).Time(), Changed: factID(5).Time(), Accessed: time.Date(2023, 11, 14, 0, 0, 0, 0, time.UTC),
			Modalities: []string{"CT", "MR"}, BodyParts: []string{"CHEST", "HEAD"}, Instances: 3, Bytes: 15000, Loose: 2, Due: factID(5).Time().Add(time.Hour),
		}
		compare := func(when string) archive.StudyLife {
			t.Helper()
			got := lifeOf(t, x, "1.2.3")
			want.ID, want.Mark = got.ID, got.Mark
			if !reflect.DeepEqual(got, want) {
				t.Errorf("%s:\n%+v\ninstead of\n%+v", when, got, want)
			}
			return got
		}
		first := compare("stored")

		apply(t, x, deletes(10, chest.build(0).UIDs, blobOf(chest, 1)))
		want.BodyParts, want.Instances, want.Deleted, want.Due = []string{"HEAD"}, 2, 1, factID(10).Time().Add(time.Hour)
		if l := compare("deleted"); l.Mark.Seen == first.Mark.Seen {
			t.Error("its mark is as before")
		}
		apply(t, x, deletes(11, archive.UIDs{Study: "1.2.3"}, blobOf(head, 1), blobOf(mr, 5)))
		want.BodyParts, want.Modalities, want.Instances, want.Deleted, want.Due = nil, nil, 0, 3, factID(11).Time().Add(time.Hour)
		compare("all deleted")
		apply(t, x, undeletes(12, "1.2.3", []uint64{11}, blobOf(head, 1), blobOf(mr, 5)))
		want.BodyParts, want.Modalities, want.Instances, want.Deleted, want.Due = []string{"HEAD"}, []string{"CT", "MR"}, 2, 1, factID(12).Time().Add(time.Hour)
		compare("undeleted")

		version := head
		version.version = 1
		apply(t, x, stored(13, version))
		want.Changed, want.Due, want.Bytes, want.Loose = factID(13).Time(), factID(13).Time().Add(time.Hour), 20000, 3
		compare("a hidden version")

		// Newest tags hold, whatever came first, also before anything of the study.
		said := func(study string) string {
			t.Helper()
			tags, stated, err := x.TagsOf(context.Background(), hospital, fakeKeys(hospital).Ref(study))
			if err != nil {
				t.Fatal(err)
			}
			return fmt.Sprint(tags, stated == archive.FactID{}, stated == factID(21), stated == factID(30))
		}
		if got := said("1.2.3"); got != "[] true false false" {
			t.Error("before tags:", got)
		}
		apply(t, x, tags(21, "1.2.3", "a", "b"), tags(20, "1.2.3", "c"))
		if got := said("1.2.3"); got != "[a b] false true false" {
			t.Error("tags:", got)
		}
		want.Tags = []string{"a", "b"}
		compare("tagged")
		apply(t, x, tags(22, "1.2.3"), tags(30, "1.9", "early"))
		want.Tags = nil
		compare("tags taken away")
		if got := said("1.9"); got != "[early] false false true" {
			t.Error("tags of what is not there yet:", got)
		}
		other := ctSpec
		other.study, other.series, other.instance, other.date, other.id = "1.9", "1.9.1", "1.9.1.1", "2024", ""
		apply(t, x, stored(31, other))
		if l := lifeOf(t, x, "1.9"); len(l.Tags) != 1 || l.Tags[0] != "early" || l.StudyDate != "" || l.Patient != (archive.Ref{}) {
			t.Errorf("%+v", l)
		}
		if _, ok, err := x.Life(context.Background(), hospital, archive.Ref{1}); ok || err != nil {
			t.Error("a study that is not there:", ok, err)
		}
		if _, err := x.Apply(context.Background(), hospital, tags(40, "1.9", "b", "a")); err == nil {
			t.Error("tags out of order are taken")
		}
	})
}

// TestLifeOfSettled: settling, moving and what comes late.
func TestLifeOfSettled(t *testing.T) {
	both(t, func(t *testing.T, engine engine) {
		x := openTest(t, engine)
		check := func(when, want string) {
			t.Helper()
			l := lifeOf(t, x, "1.2.3")
			if got := fmt.Sprint(l.Settled, l.Loose, l.Tiers, l.Instances, l.Deleted, l.Bytes); got != want {
				t.Errorf("%s: %s, not %s", when, got, want)
			}
			if !l.Due.Equal(l.Changed.Add(30 * time.Minute)) {
				t.Errorf("%s: due %v", when, l.Due)
			}
			setDue(t, x, l.Next(time.Time{}))
		}
		revision := func() int64 {
			t.Helper()
			n, err := x.Revision(context.Background(), hospital, archive.UIDs{Study: "1.2.3"})
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
		es := three("1.2.3")
		apply(t, x, es[0])
		check("stored", "false 1 [] 1 0 5000")
		apply(t, x, es[1], es[2])
		check("one in a pack", "false 3 [hot] 3 0 15000")
		apply(t, x, settles(20, es...))
		check("settled", "true 0 [hot] 3 0 15000")
		before := revision()
		apply(t, x, moves(21, es[0].Fact.Study, "hot", "cold", "hospital/pack/20"))
		check("moved", "true 0 [cold] 3 0 15000")
		if revision() == before {
			t.Error("the revision of a study that was moved is as before")
		}
		late := ctSpec
		late.instance = "1.2.3.1.77"
		e := sealedUnder(stored(30, late), keyNamed("1.2.3", "a"))
		apply(t, x, e)
		check("a late instance", "false 1 [cold] 4 0 20000")
		apply(t, x, settles(31, e))
		check("settled apart", "true 0 [cold hot] 4 0 20000")
		gone := es[1].Fact.Instances[0]
		apply(t, x, deletes(40, gone.UIDs, gone.Blob))
		if l := lifeOf(t, x, "1.2.3"); l.Deleted != 1 || l.Instances != 3 {
			t.Errorf("deleted: %+v", l)
		}
		again := settles(50, es[0], es[2], e)
		again.Fact.Dropped = []archive.BlobID{gone.Blob}
		again.Fact.Supersedes = append(again.Fact.Supersedes, archive.LogRange{Session: testSession, Range: archive.Range{From: 20, To: 31}})
		apply(t, x, again)
		check("dropped", "true 0 [hot] 3 0 15000")
		// Late for an entry that was superseded before it came.
		y := openTest(t, engine)
		apply(t, y, settles(20, es...), es[0])
		if l := lifeOf(t, y, "1.2.3"); !l.Settled || l.Loose != 0 || l.Bytes != 15000 {
			t.Errorf("stored after settled: %+v", l)
		}
	})
}

// TestDue: pages of what is due, in order; a fact and a change of rules bring studies back.
func TestDue(t *testing.T) {
	both(t, func(t *testing.T, e engine) {
		x := openTest(t, e)
		ctx := context.Background()
		var all []string
		for i := range uint64(7) {
			s := ctSpec
			s.study = fmt.Sprintf("5.%d", i)
			apply(t, x, stored(1+i, s))
			all = append(all, s.study)
		}
		quiet := factID(1).Time().Add(30 * time.Minute)
		same := func(when string, got []string, want ...string) {
			t.Helper()
			if fmt.Sprint(got) != fmt.Sprint(want) {
				t.Errorf("%s: %v, not %v", when, got, want)
			}
		}
		same("before its time", dueUIDs(t, x, quiet.Add(-1), 3))
		same("a millisecond each", dueUIDs(t, x, quiet.Add(2*time.Millisecond), 2), all[:3]...)
		later := quiet.Add(time.Hour)
		for page := 1; page < 9; page++ {
			same("pages", dueUIDs(t, x, later, page), all...)
		}
		for i, uid := range all[:5] {
			l := lifeOf(t, x, uid)
			setDue(t, x, l.Next(later.Add(time.Duration(4-i)*time.Hour)))
		}
		never := lifeOf(t, x, all[5])
		setDue(t, x, never.Next(time.Time{}))
		if l := lifeOf(t, x, all[5]); !l.Due.IsZero() || l.Outdated {
			t.Errorf("never: %+v", l)
		}
		same("judged", dueUIDs(t, x, later, 2), "5.6", "5.4")
		same("much later", dueUIDs(t, x, later.Add(1000*time.Hour), 2), "5.6", "5.4", "5.3", "5.2", "5.1", "5.0")

		newest := lifeOf(t, x, all[6])
		setDue(t, x, newest.Next(later.Add(5*time.Hour)))
		apply(t, x, tags(900, all[6], "x"))

		stale := lifeOf(t, x, all[0])
		s := ctSpec
		s.study, s.instance = all[0], "1.2.3.1.99"
		apply(t, x, stored(1000, s))
		setDue(t, x, stale.Next(later.Add(9999*time.Hour)))
		if l := lifeOf(t, x, all[0]); !l.Due.Equal(factID(1000).Time().Add(30*time.Minute)) || l.Mark.Judged != 0 {
			t.Errorf("a fact that came between look and SetDue is overlooked: %+v", l)
		}

		if err := x.AllDue(ctx, hospital); err != nil {
			t.Fatal(err)
		}
		newest = lifeOf(t, x, all[6])
		setDue(t, x, newest.Next(later.Add(5*time.Hour)))
		apply(t, x, tags(901, all[6], "y"))
		same("other rules", dueUIDs(t, x, later, 2), "5.6", "5.0", "5.1", "5.2", "5.3", "5.4", "5.5")
		if l := lifeOf(t, x, all[5]); !l.Outdated {
			t.Errorf("not outdated: %+v", l)
		}
		// What was read before the rules changed counts as judged by the old ones.
		old := lifeOf(t, x, all[1])
		if err := x.AllDue(ctx, hospital); err != nil {
			t.Fatal(err)
		}
		l := lifeOf(t, x, all[2])
		setDue(t, x, old.Next(later.Add(time.Hour)), l.Next(later.Add(time.Hour)))
		same("rules that changed meanwhile", dueUIDs(t, x, later, 2), "5.6", "5.0", "5.1", "5.3", "5.4", "5.5")
		if ls, _, err := x.Due(ctx, "practice", later, archive.DuePlace{}, 9); err != nil || len(ls) != 0 {
			t.Errorf("another tenant: %v %v", ls, err)
		}
	})
}

// TestAccessed: the newest day counts.
func TestAccessed(t *testing.T) {
	both(t, func(t *testing.T, e engine) {
		x := openTest(t, e)
		ctx := context.Background()
		two := ctSpec
		two.study = "7.7"
		apply(t, x, stored(1, ctSpec), stored(2, two))
		before := lifeOf(t, x, "1.2.3")
		ref := fakeKeys(hospital).Ref
		day := time.Date(2024, 2, 29, 17, 0, 0, 0, time.UTC)
		for _, at := range []time.Time{day, day.AddDate(0, 0, -1)} {
			if err := x.Accessed(ctx, hospital, at, ref("1.2.3"), ref("not there"), ref("1.2.3")); err != nil {
				t.Fatal(err)
			}
		}
		want := before
		want.Accessed = time.Date(2024, 2, 29, 0, 0, 0, 0, time.UTC)
		if got := lifeOf(t, x, "1.2.3"); !reflect.DeepEqual(got, want) {
			t.Errorf("%+v, not %+v", got, want)
		}
		apply(t, x, stored(3, ctSpec))
		if got := lifeOf(t, x, "1.2.3"); !got.Accessed.Equal(want.Accessed) {
			t.Errorf("a store makes it %v", got.Accessed)
		}
		if got := lifeOf(t, x, "7.7"); !got.Accessed.Equal(before.Accessed) {
			t.Errorf("another study was accessed %v", got.Accessed)
		}
		if err := x.Accessed(ctx, hospital, day); err != nil {
			t.Error("none:", err)
		}
	})
}

// TestLives: every study once, in pages, and none of another tenant.
func TestLives(t *testing.T) {
	both(t, func(t *testing.T, e engine) {
		x := openTest(t, e)
		ctx := context.Background()
		for i := range uint64(10) {
			s := ctSpec
			s.study = fmt.Sprintf("5.%d", i)
			for _, name := range []archive.Tenant{hospital, "practice"} {
				if _, err := x.Apply(ctx, name, stored(1+i, s)); err != nil {
					t.Fatal(err)
				}
			}
		}
		var after int64
		seen := map[string]bool{}
		for page := 0; ; page++ {
			ls, err := x.Lives(ctx, hospital, after, 4)
			if err != nil {
				t.Fatal(err)
			}
			for _, l := range ls {
				if seen[l.UID] || l.ID <= after {
					t.Errorf("%s again", l.UID)
				}
				seen[l.UID], after = true, l.ID
			}
			if len(ls) < 4 {
				break
			}
		}
		if len(seen) != 10 {
			t.Errorf("%d studies", len(seen))
		}
	})
}

// TestLivesOfOlderVersion: the rows that an upgrade leaves to be made are as if they had always been there.
func TestLivesOfOlderVersion(t *testing.T) {
	both(t, func(t *testing.T, e engine) {
		o := e(t)
		x := openWith(t, o)
		ctx := context.Background()
		for i := range uint64(130) { // more than a page
			s, two := ctSpec, ctSpec
			s.study, s.series, s.body = fmt.Sprintf("5.%d", i), fmt.Sprintf("5.%d.1", i), "HEAD"
			two.study, two.series, two.instance, two.body = s.study, fmt.Sprintf("5.%d.2", i), "5.9.9.9", []string{"NECK", "HEAD"}[i%2]
			apply(t, x, stored(1+i, s, two))
			if i%3 == 0 {
				apply(t, x, deletes(200+i, s.build(0).UIDs, blobOf(s, 1+i)))
			}
		}
		want := allLives(t, x)
		if err := x.Close(); err != nil {
			t.Fatal(err)
		}
		downTo(t, o, 5)
		x = openWith(t, o)
		n := int64(0)
		err := x.read(ctx, hospital, func(c *conn, t *tenant) (err error) {
			n, err = c.integer(`SELECT count(*) FROM lives WHERE tenant = ? AND due = 0`, t.id)
			return err
		})
		if err != nil || n != 130 {
			t.Fatalf("the migration left %d rows: %v", n, err)
		}
		if n, err := x.StudyCount(ctx, hospital); err != nil || n != 130 {
			t.Errorf("%d studies are counted: %v", n, err)
		}
		more := ctSpec // one is written before it is wanted
		more.study, more.series, more.instance, more.body = "5.3", "5.3.2", "5.3.2.7", "NECK"
		apply(t, x, stored(500, more))
		got := allLives(t, x)
		for i := range got {
			w := &want[i]
			if w.UID == "5.3" {
				w.Changed, w.Due, w.Instances, w.Bytes, w.Loose = factID(500).Time(), factID(500).Time().Add(30*time.Minute), 2, 15000, 2
			} else if w.Due = w.Changed.Add(30 * time.Minute); w.Deleted > 0 && got[i].Instances != 1 {
				t.Errorf("%+v", got[i])
			}
			if got[i].Accessed.Before(time.Now().AddDate(0, 0, -2)) {
				t.Errorf("accessed %v", got[i].Accessed)
			}
			got[i].Accessed = w.Accessed
			got[i].Mark.Seen = w.Mark.Seen
			if !reflect.DeepEqual(got[i], *w) {
				t.Fatalf("%+v\ninstead of\n%+v", got[i], *w)
			}
		}
		// Counts go on from there.
		apply(t, x, deletes(600, archive.UIDs{Study: "5.1"}, append(blobsOf(t, x, "5.1"), archive.BlobID{9})...))
		if l := lifeOf(t, x, "5.1"); l.Instances != 0 || l.Deleted != 2 || l.BodyParts != nil {
			t.Errorf("%+v", l)
		}
	})
}

// downTo takes the schema of a closed index back to an older version.
func downTo(t *testing.T, o Options, version int64) {
	t.Helper()
	engine := goose.DialectSQLite3
	var db *sql.DB
	var err error
	if o.DSN == "" {
		db, err = poolLite(dsn(o.Path, 1024, false))
	} else {
		engine = goose.DialectPostgres
		var s *server
		if s, err = newServer(o.DSN, 0); err == nil {
			db = s.pool(2)
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	p, err := provider(db, engine)
	if err == nil {
		_, err = p.DownTo(context.Background(), version)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func blobsOf(t *testing.T, x *Index, study string) []archive.BlobID {
	t.Helper()
	ids, err := x.Blobs(context.Background(), hospital, archive.UIDs{Study: study})
	if err != nil {
		t.Fatal(err)
	}
	return ids
}

func allLives(t *testing.T, x *Index) []archive.StudyLife {
	t.Helper()
	ls, err := x.Lives(context.Background(), hospital, 0, 1000)
	if err != nil {
		t.Fatal(err)
	}
	return ls
}

// TestSeriesRowsOfOlderVersions end before the body part.
func TestSeriesRowsOfOlderVersions(t *testing.T) {
	r := seriesRec{uid: "1.2.3", counted: "CT", next: 3}
	b := r.append(nil)
	r.body = "HEAD"
	var old, now seriesRec
	if err := old.decode(b[:len(b)-1]); err != nil || old.uid != "1.2.3" || old.body != "" {
		t.Errorf("%+v %v", old, err)
	}
	if err := now.decode(r.append(nil)); err != nil || now.body != "HEAD" || now.next != 3 {
		t.Errorf("%+v %v", now, err)
	}
}

func TestDayText(t *testing.T) {
	for in, want := range map[string]string{"20240229": "20240229", "1999.12.31": "19991231", "": "", "2024": "", "20241301": "", "00010101": "00010101"} {
		if got := dayText(studyDay(in)); got != want {
			t.Errorf("%q: %q, not %q", in, got, want)
		}
	}
}
