package rule_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/lifecycle/rule"
)

// condition draws a condition of up to the depth. Without outside it is about what
// time alone changes.
func condition(depth int, outside bool) *rapid.Generator[rule.Condition] {
	return rapid.Custom(func(t *rapid.T) (c rule.Condition) {
		span := func(label string) rule.Period {
			s := func(label string) rule.Span {
				return rule.Span{Days: rapid.IntRange(1, 400).Draw(t, label)}
			}
			switch rapid.IntRange(0, 2).Draw(t, label) {
			case 0:
				return rule.Period{Over: s("over")}
			case 1:
				return rule.Period{Under: s("under")}
			}
			return rule.Period{Over: s("over"), Under: rule.Span{Months: rapid.IntRange(1, 20).Draw(t, "under")}}
		}
		kinds := 5
		if outside {
			kinds = 8
		}
		for range rapid.IntRange(1, 2).Draw(t, "members") {
			switch rapid.IntRange(0, kinds).Draw(t, "member") {
			case 0:
				c.Modality = []string{rapid.SampledFrom([]string{"CT", "MR"}).Draw(t, "modality")}
			case 1:
				c.Age = span("age")
			case 2:
				c.Received = span("received")
			case 3:
				c.Tier = []archive.TierName{rapid.SampledFrom([]archive.TierName{"hot", "cold", "ice"}).Draw(t, "tier")}
			case 4, 5:
				if depth == 0 {
					continue
				}
				switch rapid.IntRange(0, 2).Draw(t, "join") {
				case 0:
					not := condition(depth-1, outside).Draw(t, "not")
					c.Not = &not
				case 1:
					c.Any = rapid.SliceOfN(condition(depth-1, outside), 1, 3).Draw(t, "any")
				case 2:
					c.All = rapid.SliceOfN(condition(depth-1, outside), 1, 3).Draw(t, "all")
				}
			case 6:
				c.Accessed = span("accessed")
			case 7:
				c.Studies.Over = ptr(int64(rapid.IntRange(0, 10).Draw(t, "studies")))
			case 8:
				c.Free.Under = &rule.Room{Percent: rapid.IntRange(1, 99).Draw(t, "free")}
			}
		}
		return c
	})
}

func ruleSet(outside bool) *rapid.Generator[rule.Set] {
	return rapid.Custom(func(t *rapid.T) (s rule.Set) {
		for i := range rapid.IntRange(1, 4).Draw(t, "rules") {
			r := rule.Rule{Name: fmt.Sprint(i), When: condition(2, outside).Draw(t, "when"),
				Action: rapid.SampledFrom([]rule.Verb{rule.Keep, rule.Settle, rule.Move, rule.Move, rule.Delete}).Draw(t, "action")}
			if r.Action == rule.Move {
				r.To = rapid.SampledFrom([]archive.TierName{"hot", "cold", "ice"}).Draw(t, "to")
			}
			s.Rules = append(s.Rules, r)
		}
		return s
	})
}

// world is what happens to a study from outside, by day.
type world struct {
	stores, accesses map[int]bool
	studies, free    []int64
}

func worlds(days int, outside bool) *rapid.Generator[world] {
	return rapid.Custom(func(t *rapid.T) world {
		w := world{stores: map[int]bool{}, accesses: map[int]bool{}, studies: []int64{1}, free: []int64{50}}
		for _, d := range rapid.SliceOfN(rapid.IntRange(0, days-1), 0, 3).Draw(t, "stores") {
			w.stores[d] = true
		}
		if outside {
			for _, d := range rapid.SliceOfN(rapid.IntRange(0, days-1), 0, 8).Draw(t, "accesses") {
				w.accesses[d] = true
			}
			w.studies = rapid.SliceOfN(rapid.Int64Range(0, 12), 1, 6).Draw(t, "numbers")
			w.free = rapid.SliceOfN(rapid.Int64Range(0, 100), 1, 6).Draw(t, "room")
		}
		return w
	})
}

// live lets the days pass over a study and returns what was done to it, and how
// often it was looked at. Always: it is looked at every day, else when it is due.
func live(set rule.Set, w world, life rule.Study, days int, always bool) (acts []string, looks int) {
	due := now
	for d := range days {
		at := now.Add(time.Duration(d) * day)
		if w.stores[d] {
			life.Changed, life.Settled, life.Tier = at.Add(-time.Hour), false, archive.HotTier
			due = at
		}
		if w.accesses[d] {
			life.Accessed = at
		}
		env := rule.Environment{Studies: w.studies[d%len(w.studies)], Free: w.free[d%len(w.free)], Capacity: 100, Quiet: 30 * time.Minute, Revisit: day}
		// A decision may call for the next one at once: settled, a study may be another rule's.
		for again := 0; (always || !due.IsZero() && !at.Before(due)) && again < 4; again++ {
			looks++
			decision := set.Evaluate(&life, at, env)
			due = decision.Next
			if decision.Action == rule.Nothing {
				break
			}
			acts = append(acts, fmt.Sprintf("day %d: %s %s", d, decision.Action, decision.To))
			switch decision.Action {
			case rule.Settle:
				life.Settled = true
			case rule.Move:
				life.Settled, life.Tier = true, decision.To
			case rule.Delete:
				life.Deleted = true
			}
			due = at
		}
	}
	return acts, looks
}

// TestDueIsEnough holds what everything rests on: who looks at a study only when
// it is due does the same on the same days as who looks at it every day.
func TestDueIsEnough(t *testing.T) {
	for _, outside := range []bool{false, true} {
		t.Run(fmt.Sprintf("outside=%v", outside), func(t *testing.T) {
			acted, spared := 0, 0
			rapid.Check(t, func(t *rapid.T) {
				const days = 800
				set, w := ruleSet(outside).Draw(t, "set"), worlds(days, outside).Draw(t, "world")
				life := rule.Study{Tier: archive.HotTier, Modalities: []string{"CT"}, Received: now.Add(-time.Duration(rapid.IntRange(0, 300).Draw(t, "received")) * day)}
				life.Changed = life.Received
				if rapid.Bool().Draw(t, "dated") {
					life.StudyDate = now.AddDate(0, 0, -rapid.IntRange(-30, 600).Draw(t, "date")).Format("20060102")
				}
				daily, often := live(set, w, life, days, true)
				due, seldom := live(set, w, life, days, false)
				if !slices.Equal(daily, due) {
					t.Fatalf("daily   %v\nwhen due %v", daily, due)
				}
				acted += len(daily)
				spared += often - seldom
				if !outside && seldom > 60 {
					t.Fatalf("looked at %d times in %d days: that is no use", seldom, days)
				}
			})
			if acted == 0 || spared == 0 {
				t.Errorf("%d acts, %d looks spared: the test shows nothing", acted, spared)
			}
		})
	}
}

// TestNextIsLater holds that nobody is sent in circles, and that what is decided
// holds until the moment that was named.
func TestNextIsLater(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		set := ruleSet(true).Draw(t, "set")
		life := rule.Study{Tier: "hot", Settled: true, Modalities: []string{"CT"}, StudyDate: "20290101", Received: now.Add(-200 * day), Accessed: now.Add(-50 * day)}
		at := now.Add(time.Duration(rapid.Int64Range(0, int64(900*day)).Draw(t, "at")))
		env := rule.Environment{Studies: 5, Free: 50, Capacity: 100, Revisit: day}
		d := set.Evaluate(&life, at, env)
		if d.Next.IsZero() {
			d.Next = at.Add(2000 * day)
		} else if !d.Next.After(at) {
			t.Fatalf("at %v: next is %v", at, d.Next)
		}
		between := at.Add(time.Duration(rapid.Int64Range(0, int64(d.Next.Sub(at))-1).Draw(t, "between")))
		if later := set.Evaluate(&life, between, env); later.Rule != d.Rule || later.Action != d.Action {
			t.Fatalf("at %v %+v, at %v %+v", at, d, between, later)
		}
	})
}

// BenchmarkEvaluate says what a study costs, with rules as a hospital may have them.
func BenchmarkEvaluate(b *testing.B) {
	set := parse(b, example)
	env := rule.Environment{Studies: 1e6, Free: 5e12, Capacity: 10e12, Quiet: 30 * time.Minute, Revisit: day}
	lives := make([]rule.Study, 1<<16)
	for i := range lives {
		lives[i] = rule.Study{StudyDate: now.AddDate(0, 0, -i%5000).Format("20060102"), Received: now.Add(-time.Duration(i%5000) * day),
			Modalities: []string{[]string{"CT", "MR", "MG", "US", "DX"}[i%5], "SR"}, BodyParts: []string{"CHEST"}, Bytes: int64(i) * 1e4,
			Tier: []archive.TierName{"hot", "cold"}[i%2], Settled: i%7 != 0}
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		set.Evaluate(&lives[i%len(lives)], now, env)
	}
}
