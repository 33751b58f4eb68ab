package rule

import (
	"slices"
	"time"

	"github.com/strata-pacs/strata/internal/archive"
)

// Evaluate says what the rules want of a study now, and when to look again. It
// reads no clock and does no I/O: equal arguments give equal decisions.
//
// Where a rule moves a study into a tier in which another one moves it on, it is
// moved at once to where it may stay. Rules that move it in a circle are of no
// effect, and the decision says so.
func (s Set) Evaluate(study *Study, now time.Time, env Environment) Decision {
	// A study that is still coming in is left alone, whatever the rules say.
	if quiet := study.Changed.Add(env.Quiet); now.Before(quiet) {
		return Decision{Rule: -1, Next: quiet}
	}
	if study.Deleted {
		return Decision{Rule: -1}
	}
	l := looker{study: study, now: now.UTC(), env: &env}
	d := s.first(&l)
	if d.Action != Move {
		return d
	}
	there := *study
	for hops := 1; d.Action == Move; hops++ {
		there.Tier, there.Settled = d.To, true
		onward := looker{study: &there, now: l.now, env: &env, dated: l.dated, redated: l.redated}
		next := s.first(&onward)
		next.Next = earlier(d.Next, next.Next)
		switch {
		case next.Action == Nothing: // it may stay there
			d.Next = next.Next
			return d
		case next.Action == Move && (next.To == study.Tier || hops == maxHops):
			d = Decision{Rule: d.Rule, Circular: true, Back: next.Rule, Next: next.Next}
			if !study.Settled {
				d.Action = Settle
			}
			return d
		}
		d = next
	}
	return d
}

// maxHops is how often a study is moved on: more tiers have nobody.
const maxHops = 8

// first is what the first rule says whose condition holds.
func (s Set) first(l *looker) Decision {
	d := Decision{Rule: -1, Action: Settle}
	for i := range s.Rules {
		r := &s.Rules[i]
		holds, until := l.condition(&r.When)
		d.Next = earlier(d.Next, until)
		if holds && r.Action == Delete && l.now.Before(l.study.Kept) {
			d.Next = earlier(d.Next, l.kept())
			continue
		}
		if holds {
			d.Rule, d.Action, d.To = i, r.Action, r.To
			break
		}
	}
	switch study := l.study; {
	case d.Action == Keep,
		d.Action == Settle && study.Settled,
		d.Action == Move && study.Settled && study.Tier == d.To:
		d.Action, d.To = Nothing, ""
	}
	return d
}

// Endless reports whether an end is no date, but a legal hold.
func Endless(end time.Time) bool { return end.Year() >= 9999 }

// kept is when to look again whether a study may be deleted. That a hold was lifted is told by nobody.
func (l *looker) kept() time.Time {
	if Endless(l.study.Kept) {
		return l.revisit()
	}
	return l.study.Kept
}

// looker evaluates conditions about one study at one moment. Each answers beside
// its truth the earliest moment at which that may change: zero for never.
type looker struct {
	study *Study
	now   time.Time
	env   *Environment

	dated   time.Time // the day of the examination; zero until it is asked for
	redated time.Time // when another counts: the one that is stated, and to come; zero: never
}

// condition holds when all of its members do.
func (l *looker) condition(c *Condition) (bool, time.Time) {
	b := all()
	if len(c.Modality) > 0 {
		b.add(common(c.Modality, l.study.Modalities), time.Time{})
	}
	if len(c.BodyPart) > 0 {
		b.add(common(c.BodyPart, l.study.BodyParts), time.Time{})
	}
	if len(c.Tag) > 0 {
		b.add(common(c.Tag, l.study.Tags), time.Time{})
	}
	if len(c.Tier) > 0 {
		b.add(slices.Contains(c.Tier, l.study.Tier), time.Time{})
	}
	if c.Age != (Period{}) {
		b.add(l.age(c.Age))
	}
	if c.Received != (Period{}) {
		b.add(l.since(c.Received, l.study.Received))
	}
	if c.Accessed != (Period{}) {
		b.add(l.accessed(c.Accessed))
	}
	if c.Size != (Sizes{}) {
		b.add(between(l.study.Bytes, (*int64)(c.Size.Over), (*int64)(c.Size.Under)), time.Time{})
	}
	if c.Studies != (Counts{}) {
		b.add(between(l.env.Studies, c.Studies.Over, c.Studies.Under), l.revisit())
	}
	if c.Free != (Rooms{}) {
		b.add(l.free(c.Free), l.revisit())
	}
	for i := range c.All {
		b.add(l.condition(&c.All[i]))
	}
	if len(c.Any) > 0 {
		one := anyOf()
		for i := range c.Any {
			one.add(l.condition(&c.Any[i]))
		}
		b.add(one.outcome())
	}
	if c.Not != nil {
		holds, until := l.condition(c.Not)
		b.add(!holds, until)
	}
	return b.outcome()
}

// both joins conditions. While all hold, the outcome changes with the first of them that
// does; while some do not, not before the last of those: the others may come and go.
type both struct {
	every bool      // all must hold; else any
	turn  bool      // some condition is not as every wants it
	first time.Time // the earliest change of one that is
	last  time.Time // the latest change of one that is not
	never bool      // one of those never changes
}

func all() both   { return both{every: true} }
func anyOf() both { return both{} }

func (b *both) add(holds bool, until time.Time) {
	if holds == b.every {
		b.first = earlier(b.first, until)
		return
	}
	b.turn = true
	b.never = b.never || until.IsZero()
	if until.After(b.last) {
		b.last = until
	}
}

func (b *both) outcome() (bool, time.Time) {
	switch {
	case !b.turn:
		return b.every, b.first
	case b.never:
		return !b.every, time.Time{}
	}
	return !b.every, b.last
}

// earlier is the earlier of two moments, of which zero is never.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// since compares the time from a moment until now.
func (l *looker) since(p Period, from time.Time) (bool, time.Time) {
	b := all()
	if p.Over != (Span{}) {
		b.add(l.past(p.Over.After(from)))
	}
	if p.Under != (Span{}) {
		past, until := l.past(p.Under.After(from))
		b.add(!past, until)
	}
	return b.outcome()
}

// past reports whether a moment has come; what has come stays.
func (l *looker) past(at time.Time) (bool, time.Time) {
	if l.now.Before(at) {
		return false, at
	}
	return true, time.Time{}
}

// accessed is since of the last access, which may come again at any time and
// then makes false what was past.
func (l *looker) accessed(p Period) (bool, time.Time) {
	from := l.study.Accessed
	if from.Before(l.study.Received) {
		from = l.study.Received
	}
	holds, until := l.since(p, from)
	if p.Over != (Span{}) && !l.now.Before(p.Over.After(from)) || p.Under != (Span{}) && !l.now.Before(p.Under.After(from)) {
		until = earlier(until, l.revisit())
	}
	return holds, until
}

func (l *looker) revisit() time.Time { return l.now.Add(l.env.Revisit) }

// age is since of the day of the examination.
func (l *looker) age(p Period) (bool, time.Time) {
	if l.dated.IsZero() {
		l.dated = l.study.Date(l.now)
		if stated, ok := archive.Date(l.study.StudyDate); ok && stated.After(l.now) && stated.After(l.dated) {
			l.redated = stated
		}
	}
	holds, until := l.since(p, l.dated)
	return holds, earlier(until, l.redated)
}

func (l *looker) free(r Rooms) bool {
	if l.env.Capacity <= 0 {
		return false
	}
	return (r.Over == nil || l.env.Free > r.Over.of(l.env.Capacity)) && (r.Under == nil || l.env.Free < r.Under.of(l.env.Capacity))
}

// between compares numbers; equal is neither over nor under.
func between(n int64, over, under *int64) bool {
	return (over == nil || n > *over) && (under == nil || n < *under)
}

// common reports whether the lists share an entry.
func common(a, b []string) bool {
	for i := range b {
		if slices.Contains(a, b[i]) {
			return true
		}
	}
	return false
}
