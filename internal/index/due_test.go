package index

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/strata-pacs/strata/internal/archive"
)

// dueWorld is an index of studies none of which is due before long.
type dueWorld struct {
	t   *testing.T
	x   *Index
	now time.Time
}

func newDueWorld(t *testing.T, x *Index, studies int) *dueWorld {
	w := &dueWorld{t: t, x: x, now: factID(1).Time().Add(time.Hour)}
	for i := range studies {
		s := ctSpec
		s.study = fmt.Sprintf("5.%d", i)
		apply(t, w.x, stored(uint64(1+i), s))
	}
	w.look(archive.DuePlace{}, studies+1, func(l *archive.StudyLife) time.Time { return w.now.Add(time.Hour) })
	return w
}

// page reads a page.
func (w *dueWorld) page(from archive.DuePlace, limit int) (lives []archive.StudyLife, uids []string, to archive.DuePlace) {
	w.t.Helper()
	lives, to, err := w.x.Due(context.Background(), hospital, w.now, from, limit)
	if err != nil {
		w.t.Fatal(err)
	}
	for i := range lives {
		uids = append(uids, lives[i].UID)
	}
	return lives, uids, to
}

func (w *dueWorld) judged(all archive.DuePlace) {
	w.t.Helper()
	if err := w.x.Judged(context.Background(), hospital, all); err != nil {
		w.t.Fatal(err)
	}
}

func (w *dueWorld) otherRules() {
	w.t.Helper()
	if err := w.x.AllDue(context.Background(), hospital); err != nil {
		w.t.Fatal(err)
	}
}

// look reads a page and notes what next says as a round does: nothing of a study that stays due when it was.
func (w *dueWorld) look(from archive.DuePlace, limit int, next func(*archive.StudyLife) time.Time) (uids []string, to archive.DuePlace) {
	w.t.Helper()
	lives, uids, to := w.page(from, limit)
	for i := range lives {
		if l := &lives[i]; !l.Outdated || !l.Stays(next(l)) {
			setDue(w.t, w.x, l.Next(next(l)))
		}
	}
	w.judged(to)
	return uids, to
}

func stay(l *archive.StudyLife) time.Time { return l.Due }

func (w *dueWorld) is(what string, got []string, want ...string) {
	w.t.Helper()
	if !slices.Equal(got, want) {
		w.t.Errorf("%s: %v, not %v", what, got, want)
	}
}

// TestOtherRules: what the rules made due is gone through once, a study that stays due when it was is not
// written, and who comes after a crash goes on where the other stopped.
func TestOtherRules(t *testing.T) {
	both(t, func(t *testing.T, e engine) {
		w := newDueWorld(t, openTest(t, e), 7)
		w.otherRules()
		uids, to := w.look(archive.DuePlace{}, 2, stay)
		w.is("the first page", uids, "5.0", "5.1")
		if l := lifeOf(t, w.x, "5.0"); l.Outdated || l.Mark.Judged != 1 || !l.Due.Equal(w.now.Add(time.Hour)) {
			t.Errorf("it was looked at, and not written: %+v", l)
		}
		_, uids, _ = w.page(to, 2)
		w.is("the next page, of which nothing is noted", uids, "5.2", "5.3")
		if l := lifeOf(t, w.x, "5.2"); !l.Outdated {
			t.Errorf("%+v", l)
		}
		// Another begins from the start: it finds what is left.
		uids, to = w.look(archive.DuePlace{}, 4, stay)
		w.is("after a crash", uids, "5.2", "5.3", "5.4", "5.5")
		uids, _ = w.look(to, 4, stay)
		w.is("the last page", uids, "5.6")
		_, uids, _ = w.page(archive.DuePlace{}, 4)
		w.is("all are judged", uids)
		if l := lifeOf(t, w.x, "5.6"); l.Outdated {
			t.Errorf("%+v", l)
		}
		w.now = w.now.Add(2 * time.Hour)
		_, uids, _ = w.page(archive.DuePlace{}, 9)
		w.is("their time has come", uids, "5.0", "5.1", "5.2", "5.3", "5.4", "5.5", "5.6")
	})
}

// TestOtherRulesOnTime: a study that is due anyway is in one page of a round alone, noted or not.
func TestOtherRulesOnTime(t *testing.T) {
	both(t, func(t *testing.T, e engine) {
		w := newDueWorld(t, openTest(t, e), 3)
		w.now = w.now.Add(2 * time.Hour)
		w.otherRules()
		_, first, to := w.page(archive.DuePlace{}, 2)
		_, second, to := w.page(to, 2)
		_, third, _ := w.page(to, 2)
		w.is("all pages", slices.Concat(first, second, third), "5.0", "5.1", "5.2")
	})
}

// TestStoredMeanwhile: a fact that comes while studies are gone through is not lost, wherever its study is.
func TestStoredMeanwhile(t *testing.T) {
	both(t, func(t *testing.T, e engine) {
		w := newDueWorld(t, openTest(t, e), 5)
		w.otherRules()
		lives, _, to := w.page(archive.DuePlace{}, 3)
		for i, uid := range []string{"5.1", "5.2", "5.3", "6.0"} { // read and noted, read and staying, not read, new
			s := ctSpec
			s.study, s.instance = uid, "1.2.3.1.99"
			apply(t, w.x, stored(uint64(1000+i), s))
		}
		setDue(t, w.x, lives[0].Next(w.now.Add(9*time.Hour)), lives[1].Next(w.now.Add(9*time.Hour)))
		w.judged(to)
		uids, _ := w.look(to, 3, stay)
		w.is("the rest of the round", uids, "5.4")
		w.now = factID(1100).Time().Add(30 * time.Minute)
		_, uids, _ = w.page(archive.DuePlace{}, 9)
		w.is("when they are quiet", uids, "5.1", "5.2", "5.3", "6.0")
	})
}

// TestRulesAgain: what was judged by rules that no longer hold does not count, whoever notes it and when.
func TestRulesAgain(t *testing.T) {
	both(t, func(t *testing.T, e engine) {
		w := newDueWorld(t, openTest(t, e), 4)
		w.otherRules()
		uids, old := w.look(archive.DuePlace{}, 1, stay)
		w.is("by the first rules", uids, "5.0")
		lives, _, last := w.page(old, 9)
		w.otherRules()
		// Another round is ahead of what is left of the first.
		uids, to := w.look(archive.DuePlace{}, 2, stay)
		w.is("by the second", uids, "5.0", "5.1")
		setDue(t, w.x, lives[0].Next(w.now.Add(99*time.Hour)), lives[1].Next(w.now.Add(99*time.Hour)))
		w.judged(last)
		if l := lifeOf(t, w.x, "5.1"); l.Outdated || !l.Due.Equal(w.now.Add(time.Hour)) {
			t.Errorf("what was judged before counts: %+v", l)
		}
		_, uids, _ = w.page(old, 9)
		w.is("the first round goes on, by the second rules", uids, "5.2", "5.3")
		uids, _ = w.look(to, 9, stay)
		w.is("so does the other", uids, "5.2", "5.3")
		w.judged(old) // late, and behind what is noted
		_, uids, _ = w.page(archive.DuePlace{}, 9)
		w.is("all are judged", uids)
	})
}

// TestOtherRulesOfOlderVersion: after an upgrade it is due what was, and where nothing was, nothing is pending.
func TestOtherRulesOfOlderVersion(t *testing.T) {
	both(t, func(t *testing.T, e engine) {
		o := e(t)
		w := newDueWorld(t, openWith(t, o), 3)
		upgraded := func() {
			t.Helper()
			if err := w.x.Close(); err != nil {
				t.Fatal(err)
			}
			downTo(t, o, 7)
			w.x = openWith(t, o)
		}
		pending := func(want bool) {
			t.Helper()
			if got, err := w.x.Pending(context.Background(), hospital, w.now, time.Time{}, time.Time{}); err != nil || got != want {
				t.Errorf("pending: %v, %v", got, err)
			}
		}
		w.otherRules()
		w.look(archive.DuePlace{}, 2, func(*archive.StudyLife) time.Time { return w.now.Add(3 * time.Hour) })
		upgraded()
		pending(true)
		uids, _ := w.look(archive.DuePlace{}, 9, func(*archive.StudyLife) time.Time { return w.now.Add(4 * time.Hour) })
		w.is("after an upgrade", uids, "5.2")
		upgraded()
		pending(false)
		_, uids, _ = w.page(archive.DuePlace{}, 9)
		w.is("when all were judged", uids)
	})
}
