package rule_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/lifecycle/rule"
)

const day = 24 * time.Hour

var now = time.Date(2030, 6, 15, 10, 0, 0, 0, time.UTC)

func parse(t testing.TB, document string) rule.Set {
	t.Helper()
	s, err := rule.Parse([]byte(document), rule.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestEvaluate(t *testing.T) {
	env := rule.Environment{Studies: 5000, Free: 40e9, Capacity: 1000e9, Quiet: 30 * time.Minute, Revisit: day}
	date := func(y, m, d int) time.Time { return time.Date(y, time.Month(m), d, 0, 0, 0, 0, time.UTC) }
	study := func(edit func(*rule.Study)) rule.Study {
		l := rule.Study{StudyDate: "20300101", Received: now.Add(-100 * day), Changed: now.Add(-100 * day), Modalities: []string{"CT", "SR"},
			BodyParts: []string{"CHEST"}, Bytes: 150e6, Tier: archive.HotTier, Settled: true}
		if edit != nil {
			edit(&l)
		}
		return l
	}
	for _, c := range []struct {
		name, when string
		edit       func(*rule.Study)
		holds      bool
		next       time.Time
	}{
		{"always", "{}", nil, true, time.Time{}},
		{"modality", "{modality: [MR, SR]}", nil, true, time.Time{}},
		{"another modality", "{modality: [MR]}", nil, false, time.Time{}},
		{"body part", "{bodyPart: [chest]}", nil, true, time.Time{}},
		{"no body part", "{bodyPart: [CHEST]}", func(l *rule.Study) { l.BodyParts = nil }, false, time.Time{}},
		{"tag", "{tag: [a, b]}", func(l *rule.Study) { l.Tags = []string{"b"} }, true, time.Time{}},
		{"tier", "{tier: [hot]}", nil, true, time.Time{}},
		{"not yet so old", "{age: {over: 6mo}}", nil, false, date(2030, 7, 1)},
		{"exactly so old", "{age: {over: 1d}}", func(l *rule.Study) { l.StudyDate = "20300614" }, true, time.Time{}},
		{"tomorrow so old", "{age: {over: 1d}}", func(l *rule.Study) { l.StudyDate = "20300615" }, false, date(2030, 6, 16)},
		{"young", "{age: {under: 1y}}", nil, true, date(2031, 1, 1)},
		{"young no more", "{age: {under: 90d}}", nil, false, time.Time{}},
		{"within", "{age: {over: 1mo, under: 1y}}", nil, true, date(2031, 1, 1)},
		{"before", "{age: {over: 1y, under: 2y}}", nil, false, date(2031, 1, 1)},
		{"on a leap day", "{age: {over: 2y}}", func(l *rule.Study) { l.StudyDate = "20280229" }, true, time.Time{}},
		{"in the future", "{age: {over: 1d}}", func(l *rule.Study) { l.StudyDate = "20400101" }, true, date(2040, 1, 1)}, // made up until then: its receipt counts
		{"a filler", "{age: {over: 100y}}", func(l *rule.Study) { l.StudyDate = "19010101" }, false, date(2130, 3, 8)},
		{"before X-rays", "{age: {over: 100y}}", func(l *rule.Study) { l.StudyDate = "00010101" }, false, date(2130, 3, 8)},
		{"the old form", "{age: {over: 1y}}", func(l *rule.Study) { l.StudyDate = "1994.01.30" }, true, time.Time{}},
		{"no date", "{age: {over: 101d}}", func(l *rule.Study) { l.StudyDate = "" }, false, date(2030, 6, 17)}, // the day of the receipt, in the earliest time zone
		{"no such date", "{age: {over: 101d}}", func(l *rule.Study) { l.StudyDate = "20300230" }, false, date(2030, 6, 17)},
		{"received", "{received: {over: 101d}}", nil, false, now.Add(day)},
		{"never opened", "{accessed: {over: 100d}}", nil, true, now.Add(day)},
		{"opened lately", "{accessed: {over: 100d}}", func(l *rule.Study) { l.Accessed = now.Add(-98 * day) }, false, now.Add(2 * day)},
		{"opened, and then received", "{accessed: {under: 101d}}", func(l *rule.Study) { l.Accessed = now.Add(-900 * day) }, true, now.Add(day)},
		{"size", "{size: {over: 100MB, under: 200MB}}", nil, true, time.Time{}},
		{"exactly the size", "{size: {over: 150MB}}", nil, false, time.Time{}},
		{"studies", "{studies: {over: 4999}}", nil, true, now.Add(day)},
		{"room in percent", "{free: {under: 5%}}", nil, true, now.Add(day)},
		{"enough room in percent", "{free: {under: 4%}}", nil, false, now.Add(day)},
		{"room in bytes", "{free: {over: 39GB}}", nil, true, now.Add(day)},
		// What cannot come true before something else does is not waited for sooner.
		{"another modality, though old some day", "{modality: [MR], age: {over: 1y}}", nil, false, time.Time{}},
		{"all", "{all: [{age: {over: 1y}}, {received: {over: 101d}}]}", nil, false, date(2031, 1, 1)},
		{"any", "{any: [{age: {over: 1y}}, {received: {over: 101d}}]}", nil, false, now.Add(day)},
		{"any that holds", "{any: [{age: {over: 1y}}, {modality: [CT]}]}", nil, true, time.Time{}},
		{"not", "{not: {age: {over: 1y}}}", nil, true, date(2031, 1, 1)},
		{"not the other", "{not: {modality: [CT], age: {under: 1y}}}", nil, false, date(2031, 1, 1)},
	} {
		t.Run(c.name, func(t *testing.T) {
			set := parse(t, fmt.Sprintf("rules: [{when: %s, action: move, to: cold}]", c.when))
			life := study(c.edit)
			d := set.Evaluate(&life, now, env)
			if holds := d.Rule == 0; holds != c.holds || holds != (d.Action == rule.Move) || !d.Next.Equal(c.next) {
				t.Errorf("got %+v, want %v and next %v", d, c.holds, c.next)
			}
		})
	}
}

func TestEvaluateActions(t *testing.T) {
	env := rule.Environment{Quiet: 30 * time.Minute, Revisit: day}
	rules := parse(t, `
rules:
  - { name: keep, when: { tag: [keep] }, action: keep }
  - { name: gone, when: { age: { over: 10y } }, action: delete }
  - { name: cold, when: { age: { over: 1y } }, action: move, to: cold }
  - { name: settle, when: { modality: [CT] }, action: settle }
`)
	for _, c := range []struct {
		name string
		life rule.Study
		want rule.Decision
	}{
		{"settled", rule.Study{Modalities: []string{"CT"}, StudyDate: "20300615", Settled: true, Tier: "hot"},
			rule.Decision{Rule: 3, Next: time.Date(2031, 6, 15, 0, 0, 0, 0, time.UTC)}},
		{"to settle", rule.Study{Modalities: []string{"CT"}, StudyDate: "20300615", Tier: "hot"},
			rule.Decision{Rule: 3, Action: rule.Settle, Next: time.Date(2031, 6, 15, 0, 0, 0, 0, time.UTC)}},
		{"none holds", rule.Study{StudyDate: "20300615", Tier: "hot"},
			rule.Decision{Rule: -1, Action: rule.Settle, Next: time.Date(2031, 6, 15, 0, 0, 0, 0, time.UTC)}},
		{"quiet not long enough", rule.Study{StudyDate: "20300615", Tier: "hot", Changed: now.Add(-10 * time.Minute)},
			rule.Decision{Rule: -1, Next: now.Add(20 * time.Minute)}},
		{"kept", rule.Study{StudyDate: "20000101", Tags: []string{"keep"}, Tier: "hot"}, rule.Decision{Rule: 0}},
		{"to move", rule.Study{StudyDate: "20280101", Tier: "hot", Settled: true},
			rule.Decision{Rule: 2, Action: rule.Move, To: "cold", Next: time.Date(2038, 1, 1, 0, 0, 0, 0, time.UTC)}},
		{"moved", rule.Study{StudyDate: "20280101", Tier: "cold", Settled: true},
			rule.Decision{Rule: 2, Next: time.Date(2038, 1, 1, 0, 0, 0, 0, time.UTC)}},
		{"moved, and then more came", rule.Study{StudyDate: "20280101", Tier: "cold"},
			rule.Decision{Rule: 2, Action: rule.Move, To: "cold", Next: time.Date(2038, 1, 1, 0, 0, 0, 0, time.UTC)}},
		{"to delete", rule.Study{StudyDate: "20100101", Tier: "cold", Settled: true}, rule.Decision{Rule: 1, Action: rule.Delete}},
		{"held", rule.Study{StudyDate: "20100101", Tier: "cold", Settled: true, Kept: time.Date(9999, 12, 31, 0, 0, 0, 0, time.UTC)}, rule.Decision{Rule: 2, Next: now.Add(day)}},
		{"kept, and moved meanwhile", rule.Study{StudyDate: "20100101", Tier: "hot", Settled: true, Kept: now.Add(400 * day)},
			rule.Decision{Rule: 2, Action: rule.Move, To: "cold", Next: now.Add(400 * day)}},
		{"kept no longer", rule.Study{StudyDate: "20100101", Tier: "cold", Settled: true, Kept: now}, rule.Decision{Rule: 1, Action: rule.Delete}},
		{"deleted", rule.Study{StudyDate: "20100101", Deleted: true}, rule.Decision{Rule: -1}},
	} {
		if got := rules.Evaluate(&c.life, now, env); got != c.want {
			t.Errorf("%s: %+v, want %+v", c.name, got, c.want)
		}
	}
}

// TestMovedOn holds what becomes of rules of which one continues another.
func TestMovedOn(t *testing.T) {
	env := rule.Environment{Quiet: 30 * time.Minute, Revisit: day}
	old := rule.Study{StudyDate: "20100101", Tier: "hot", Settled: true}
	for _, c := range []struct {
		name, document string
		settled        bool
		want           rule.Decision
	}{
		{"at once to where it may stay", `rules:
  - { when: { tier: [hot], age: { over: 1y } }, action: move, to: cold }
  - { when: { tier: [cold], age: { over: 5y } }, action: move, to: archive }`, true, rule.Decision{Rule: 1, Action: rule.Move, To: "archive"}},
		{"and kept there", `rules:
  - { when: { tier: [hot], age: { over: 1y } }, action: move, to: cold }
  - { when: { tier: [cold], age: { over: 30y } }, action: delete }
  - { when: { tier: [cold] }, action: keep }`, true,
			rule.Decision{Rule: 0, Action: rule.Move, To: "cold", Next: time.Date(2040, 1, 1, 0, 0, 0, 0, time.UTC)}},
		{"to be deleted there", `rules:
  - { when: { tier: [hot], age: { over: 1y } }, action: move, to: cold }
  - { when: { tier: [cold], age: { over: 5y } }, action: delete }`, true, rule.Decision{Rule: 1, Action: rule.Delete}},
		{"to and fro", `rules:
  - { when: { tier: [hot] }, action: move, to: cold }
  - { when: { tier: [cold] }, action: move, to: hot }`, true, rule.Decision{Rule: 0, Circular: true, Back: 1}},
		{"to and fro, but settled first", `rules:
  - { when: { tier: [hot] }, action: move, to: cold }
  - { when: { tier: [cold] }, action: move, to: hot }`, false, rule.Decision{Rule: 0, Action: rule.Settle, Circular: true, Back: 1}},
		{"in a circle that it is not in", `rules:
  - { when: { tier: [cold] }, action: move, to: ice }
  - { when: { tier: [ice] }, action: move, to: cold }
  - { when: { tier: [hot], age: { over: 1y } }, action: move, to: cold }`, true, rule.Decision{Circular: true, Back: 1}},
	} {
		study := old
		study.Settled = c.settled
		got := parse(t, c.document).Evaluate(&study, now, env)
		if c.name == "in a circle that it is not in" {
			got.Rule = 0 // any of them is to blame
		}
		if got != c.want {
			t.Errorf("%s: %+v, want %+v", c.name, got, c.want)
		}
	}
}
