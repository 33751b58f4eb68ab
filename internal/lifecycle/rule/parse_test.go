package rule_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/internal/lifecycle/rule"
)

const example = `
# What a practice may write.
rules:
  - name: teaching files stay
    when: { tag: [teaching] }
    action: keep
  - name: what was opened lately
    when:
      tier: [cold]
      accessed: { under: 30d }
    action: move
    to: hot
  - name: large, old, or no room
    when:
      any:
        - all: [{ age: { over: 2y } }, { size: { over: 500MB } }]
        - free: { under: 10% }
        - studies: { over: 100000 }
      not: { modality: [mg], bodyPart: [breast] }
      received: { over: 12w, under: 30y }
    action: move
    to: cold
  - action: settle
`

func ptr[T any](v T) *T { return &v }

func TestParse(t *testing.T) {
	got, err := rule.Parse([]byte(example), rule.Options{Tiers: []archive.TierName{"hot", "cold"}})
	if err != nil {
		t.Fatal(err)
	}
	want := rule.Set{Rules: []rule.Rule{
		{Name: "teaching files stay", When: rule.Condition{Tag: []string{"teaching"}}, Action: rule.Keep},
		{Name: "what was opened lately", When: rule.Condition{Tier: []archive.TierName{"cold"}, Accessed: rule.Period{Under: rule.Span{Days: 30}}},
			Action: rule.Move, To: "hot"},
		{Name: "large, old, or no room", When: rule.Condition{
			Any: []rule.Condition{
				{All: []rule.Condition{{Age: rule.Period{Over: rule.Span{Years: 2}}}, {Size: rule.Sizes{Over: ptr(rule.Size(500e6))}}}},
				{Free: rule.Rooms{Under: &rule.Room{Percent: 10}}},
				{Studies: rule.Counts{Over: ptr(int64(100_000))}},
			},
			Not:      &rule.Condition{Modality: []string{"MG"}, BodyPart: []string{"BREAST"}},
			Received: rule.Period{Over: rule.Span{Days: 84}, Under: rule.Span{Years: 30}},
		}, Action: rule.Move, To: "cold"},
		{Name: "rule 4", Action: rule.Settle},
	}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	// What is kept of it is JSON that says the same.
	document, err := got.Document()
	if err != nil {
		t.Fatal(err)
	}
	again, err := rule.Parse(document, rule.Options{})
	if err != nil {
		t.Fatalf("%v in %s", err, document)
	}
	if diff := cmp.Diff(got, again); diff != "" {
		t.Errorf("as JSON (-before +after):\n%s", diff)
	}
	if none, err := rule.Parse([]byte("rules: []"), rule.Options{}); err != nil || len(none.Rules) != 0 {
		t.Errorf("no rules: %v, %v", none, err)
	}
}

// TestParseMistakes holds that every mistake is told with its line, its place and what to write.
func TestParseMistakes(t *testing.T) {
	deep := strings.Repeat("{not: ", rule.MaxDepth+1) + "{tag: [a]}" + strings.Repeat("}", rule.MaxDepth+1)
	for _, c := range []struct{ name, document, want string }{
		{"empty", "", "begin with: rules:"},
		{"no YAML", "rules: [", "neither YAML nor JSON: line 1"},
		{"two documents", "rules: []\n---\nrules: []", "must be one document"},
		{"a list", "- action: keep", "the document: write rules:"},
		{"no rules", "{}", "rules is missing"},
		{"unknown at the top", "rules: []\npaused: true", `line 2: the document: unknown key "paused"; write one of: rules`},
		{"rules no list", "rules: {}", "rules: write a list such as - action: settle"},
		{"rule no mapping", "rules:\n  - keep", "line 2: rules[1]: write a rule such as"},
		{"unknown key", "rules:\n  - action: keep\n    wenn: {}", `line 3: rules[1]: unknown key "wenn"; write one of: name, when, action, to`},
		{"long unknown key", "rules:\n  - action: keep\n    " + strings.Repeat("x", 80) + ": 1", `unknown key "` + strings.Repeat("x", 32) + `"…`},
		{"twice", "rules:\n  - action: keep\n    action: keep", "line 3: rules[1]: action is there twice"},
		{"no action", "rules:\n  - name: x", "line 2: rules[1]: action is missing"},
		{"wrong action", "rules:\n  - action: shred", "line 2: rules[1].action: write one of: keep, settle, move, delete"},
		{"no tier", "rules:\n  - action: move", "line 2: rules[1]: to is missing"},
		{"tier in vain", "rules:\n  - action: keep\n    to: cold", "line 3: rules[1]: to is only for action: move"},
		{"no tier's name", "rules:\n  - action: move\n    to: Cold!", "line 3: rules[1].to: write the name of a tier"},
		{"deleting for room", "rules:\n  - action: delete\n    when: {any: [{age: {over: 1y}}, {not: {free: {over: 10%}}}]}", "line 2: rules[1]: free cannot be a condition of action: delete"},
		{"unknown tier", "rules:\n  - action: move\n    to: ice", "line 3: rules[1].to: there is no such tier; write one of: hot, cold"},
		{"unknown tier in a condition", "rules:\n  - action: keep\n    when: {tier: [hot, ice]}", "line 3: rules[1].when.tier[2]: there is no such tier"},
		{"age in words", "rules:\n  - action: keep\n    when:\n      age: {over: 90 days}", "line 4: rules[1].when.age.over: write a whole number above 0 with a unit"},
		{"age alone", "rules:\n  - action: keep\n    when: {age: 90d}", "line 3: rules[1].when.age: write a range such as {over: 90d}"},
		{"age without bounds", "rules:\n  - action: keep\n    when: {age: {}}", "line 3: rules[1].when.age: write over, under or both"},
		{"age of nothing", "rules:\n  - action: keep\n    when: {age: {over: 0d}}", "a whole number above 0"},
		{"age of for ever", "rules:\n  - action: keep\n    when: {age: {over: 1001y}}", "at most 1000y"},
		{"size without unit", "rules:\n  - action: keep\n    when: {size: {over: 12}}", "rules[1].when.size.over: write a whole number with a unit: 500kB"},
		{"size beyond all", "rules:\n  - action: keep\n    when: {size: {over: 99999PB}}", "write a whole number with a unit"},
		{"room", "rules:\n  - action: keep\n    when: {free: {under: 100%}}", "rules[1].when.free.under: write a percentage from 1% to 99%"},
		{"number", "rules:\n  - action: keep\n    when: {studies: {over: many}}", "rules[1].when.studies.over: write a whole number, such as 100000"},
		{"no list", "rules:\n  - action: keep\n    when: {modality: CT}", "line 3: rules[1].when.modality: write a list such as [CT, MR]"},
		{"empty list", "rules:\n  - action: keep\n    when: {any: []}", "rules[1].when.any: the list is empty"},
		{"null", "rules:\n  - action: keep\n    when: {tag: [~]}", "rules[1].when.tag[1]: write a word"},
		{"no text", "rules:\n  - action: keep\n    when: {tag: ['']}", "rules[1].when.tag[1]: write 1 to 64 characters"},
		{"control characters", "rules:\n  - action: keep\n    name: \"a\\nb\"", "rules[1].name: write it without control characters"},
		{"never", "rules:\n  - action: keep\n    when: {not: {}}", "rules[1].when.not: it never holds"},
		{"deep", "rules:\n  - action: keep\n    when: " + deep, "nested more than 8 deep"},
		{"in vain", "rules:\n  - action: keep\n  - action: settle", "line 2: rules[1]: it has no condition, so the rules behind it never hold; put it last"},
		{"one name", "rules:\n  - {action: keep, name: a, when: {tag: [x]}}\n  - {action: keep, name: a}", "line 3: rules[2]: another rule has this name"},
		{"alias", "rules:\n  - {action: keep, when: &a {tag: [x]}}\n  - {action: keep, when: *a}", "line 2: rules[1].when: write a condition"},
		{"too many rules", "rules:\n" + strings.Repeat("  - {action: keep}\n", rule.MaxRules+1), "rules: the list has more than 200 entries"},
		{"too long", "rules:\n" + strings.Repeat("# nothing\n", archive.MaxRules/10), "longer than 256 KiB"},
		{"several", "rules:\n  - {action: x}\n  - {action: y}", "line 2: rules[1].action: write one of: keep, settle, move, delete; line 3: rules[2].action"},
		{"very many", "rules:\n" + strings.Repeat("  - {action: x}\n", 14), "; and 4 more"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := rule.Parse([]byte(c.document), rule.Options{Tiers: []archive.TierName{"hot", "cold"}})
			if !fault.Is(err, fault.Invalid) && !fault.Is(err, fault.TooLarge) {
				t.Fatalf("got %v, want a fault", err)
			}
			if !strings.Contains(fault.Message(err), c.want) {
				t.Errorf("got  %s\nwant %s", fault.Message(err), c.want)
			}
		})
	}
}

func TestQuantities(t *testing.T) {
	for _, text := range []string{"12h", "90d", "6mo", "10y", "1000y"} {
		s, err := rule.ParseSpan(text)
		if err != nil || s.String() != text {
			t.Errorf("span %s: %v, %v", text, s, err)
		}
	}
	for text, want := range map[string]rule.Size{"0B": 0, "999B": 999, "500kB": 500e3, "20MB": 20e6, "3GB": 3e9, "2TB": 2e12, "9PB": 9e15} {
		s, err := rule.ParseSize(text)
		if err != nil || s != want || s.String() != text {
			t.Errorf("size %s: %d %s, %v", text, s, s, err)
		}
	}
	for _, bad := range []string{"", "d", "-1d", "+1d", "1.5y", "90", "90D", " 90d", "99999999999d", "1e3d"} {
		if s, err := rule.ParseSpan(bad); err == nil {
			t.Errorf("span %q is %v", bad, s)
		}
	}
	for _, bad := range []string{"", "GB", "-1GB", "1.5GB", "1gb", "1GiB", "12", "10000PB"} {
		if s, err := rule.ParseSize(bad); err == nil {
			t.Errorf("size %q is %v", bad, s)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(example))
	f.Add([]byte(`{"rules":[{"name":"a","when":{"not":{"free":{"under":"5%"}}},"action":"move","to":"cold"}]}`))
	f.Add([]byte("rules: &a [*a]"))
	f.Add([]byte("rules:\n  - action: delete\n    when: {<<: {age: {over: 10y}}}"))
	f.Fuzz(func(t *testing.T, document []byte) {
		set, err := rule.Parse(document, rule.Options{})
		if err != nil {
			if k := fault.KindOf(err); k != fault.Invalid && k != fault.TooLarge {
				t.Fatalf("unclassified: %v", err)
			}
			return
		}
		kept, err := set.Document()
		if err != nil {
			t.Fatal(err)
		}
		again, err := rule.Parse(kept, rule.Options{})
		if fault.Is(err, fault.TooLarge) {
			return // escapes can make it longer
		}
		if err != nil {
			t.Fatalf("%v in %s", err, kept)
		}
		if diff := cmp.Diff(set, again); diff != "" {
			t.Errorf("(-before +after):\n%s", diff)
		}
	})
}
