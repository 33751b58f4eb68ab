package rule

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/fault"
)

// Options say what a document may refer to.
type Options struct {
	// Tiers are those of the configuration; a rule that names another is refused. Nil: any name is taken.
	Tiers []archive.TierName
}

// Parse reads a document of rules, YAML or JSON. It is strict: what it does not know
// is an error. Errors are fault.Invalid (fault.TooLarge past [archive.MaxRules])
// and name for each mistake, up to ten, the line (of several), the place and what to write there.
func Parse(document []byte, o Options) (Set, error) {
	if len(document) > archive.MaxRules {
		return Set{}, fault.New(fault.TooLarge, "the rules are longer than %d KiB; write fewer or shorter ones", archive.MaxRules>>10)
	}
	d := yaml.NewDecoder(bytes.NewReader(document))
	var root yaml.Node
	if err := d.Decode(&root); err == io.EOF {
		return Set{}, fault.New(fault.Invalid, "the rules are empty; begin with: rules:")
	} else if err != nil {
		return Set{}, fault.New(fault.Invalid, "the rules are neither YAML nor JSON: %s", strings.TrimPrefix(err.Error(), "yaml: "))
	}
	if err := d.Decode(new(yaml.Node)); err != io.EOF {
		return Set{}, fault.New(fault.Invalid, "the rules must be one document: what follows the first one is not taken; remove the line ---")
	}
	p := parser{o: o, lines: bytes.ContainsRune(bytes.TrimSpace(document), '\n')}
	set := p.document(root.Content[0])
	return set, p.err()
}

// Document is the set as [Parse] reads it: JSON of one form.
func (s Set) Document() ([]byte, error) {
	if s.Rules == nil {
		s.Rules = []Rule{}
	}
	return json.Marshal(s)
}

const maxMistakes = 10

// mistake is one that was found in a document.
type mistake struct {
	line        int
	where, what string
}

type parser struct {
	o        Options
	lines    bool // the document has several
	mistakes []mistake
	more     int // not kept
}

func (p *parser) fail(n *yaml.Node, where, format string, args ...any) {
	if len(p.mistakes) == maxMistakes {
		p.more++
		return
	}
	p.mistakes = append(p.mistakes, mistake{n.Line, where, fmt.Sprintf(format, args...)})
}

func (p *parser) err() error {
	if len(p.mistakes) == 0 {
		return nil
	}
	var b strings.Builder
	for i, m := range p.mistakes {
		if i > 0 {
			b.WriteString("; ")
		}
		if p.lines {
			fmt.Fprintf(&b, "line %d: ", m.line)
		}
		fmt.Fprintf(&b, "%s: %s", m.where, m.what)
	}
	if p.more > 0 {
		fmt.Fprintf(&b, "; and %d more", p.more)
	}
	return fault.New(fault.Invalid, "%s", b.String())
}

// field is one key of a mapping and what reads its value.
type field struct {
	key  string
	read func(n *yaml.Node, where string)
}

// mapping reads the keys of a mapping, each at most once, and returns which there were.
func (p *parser) mapping(n *yaml.Node, where, example string, fields []field) map[string]bool {
	seen := map[string]bool{}
	if n.Kind != yaml.MappingNode || n.Anchor != "" {
		p.fail(n, where, "write %s", example)
		return seen
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		at := slices.IndexFunc(fields, func(f field) bool { return key.Kind == yaml.ScalarNode && f.key == key.Value })
		switch {
		case at < 0:
			p.fail(key, where, "unknown key %s; write one of: %s", shown(key), keysOf(fields))
		case seen[key.Value]:
			p.fail(key, where, "%s is there twice; join the two", key.Value)
		default:
			seen[key.Value] = true
			name := key.Value
			if where != top {
				name = where + "." + name
			}
			fields[at].read(value, name)
		}
	}
	return seen
}

// top is the place of the document itself.
const top = "the document"

func shown(n *yaml.Node) string {
	if n.Kind != yaml.ScalarNode {
		return "that is no text"
	}
	if len(n.Value) > 32 {
		return strconv.Quote(n.Value[:32]) + "…"
	}
	return strconv.Quote(n.Value)
}

func keysOf(fields []field) string {
	names := make([]string, len(fields))
	for i, f := range fields {
		names[i] = f.key
	}
	return strings.Join(names, ", ")
}

// list reads a list of at most most entries, and at least one.
func (p *parser) list(n *yaml.Node, where, example string, most int, each func(n *yaml.Node, where string)) {
	switch {
	case n.Kind != yaml.SequenceNode || n.Anchor != "":
		p.fail(n, where, "write a list such as %s", example)
	case len(n.Content) == 0:
		p.fail(n, where, "the list is empty; write at least one entry, or remove it")
	case len(n.Content) > most:
		p.fail(n, where, "the list has more than %d entries; write fewer", most)
	default:
		for i, c := range n.Content {
			each(c, fmt.Sprintf("%s[%d]", where, i+1))
		}
	}
}

// text reads a scalar of up to [MaxText] bytes.
func (p *parser) text(n *yaml.Node, where, example string) (string, bool) {
	switch {
	case n.Kind != yaml.ScalarNode || n.Tag == "!!null" || n.Anchor != "":
		p.fail(n, where, "write %s", example)
	case n.Value == "" || len(n.Value) > MaxText:
		p.fail(n, where, "write 1 to %d characters", MaxText)
	case strings.ContainsFunc(n.Value, func(r rune) bool { return r < ' ' || r == 0x7f || r == 0xfffd }):
		p.fail(n, where, "write it without control characters")
	default:
		return n.Value, true
	}
	return "", false
}

func (p *parser) document(n *yaml.Node) (set Set) {
	var nodes []*yaml.Node // of the rules
	seen := p.mapping(n, top, "rules: and below it a list of rules", []field{{"rules", func(n *yaml.Node, where string) {
		if n.Kind == yaml.SequenceNode && len(n.Content) == 0 {
			return // no rules: everything is settled and stays
		}
		p.list(n, where, "- action: settle", MaxRules, func(n *yaml.Node, where string) {
			nodes = append(nodes, n)
			set.Rules = append(set.Rules, p.rule(n, where, len(set.Rules)+1))
		})
	}}})
	if len(p.mistakes) == 0 && !seen["rules"] { // else something else was taken for it
		p.fail(n, top, "rules is missing; write rules: and below it a list of rules")
	}
	names := map[string]bool{}
	for i, r := range set.Rules {
		where := fmt.Sprintf("rules[%d]", i+1)
		if names[r.Name] {
			p.fail(nodes[i], where, "another rule has this name; give each its own")
		}
		names[r.Name] = true
		if i < len(set.Rules)-1 && r.When.always() && len(p.mistakes) == 0 {
			p.fail(nodes[i], where, "it has no condition, so the rules behind it never hold; put it last")
		}
	}
	return set
}

// always reports whether the condition has no members.
func (c *Condition) always() bool {
	return len(c.Modality)+len(c.BodyPart)+len(c.Tag)+len(c.Tier)+len(c.All)+len(c.Any) == 0 && c.Not == nil &&
		c.Age == Period{} && c.Received == Period{} && c.Accessed == Period{} && c.Size == Sizes{} && c.Studies == Counts{} && c.Free == Rooms{}
}

func (p *parser) rule(n *yaml.Node, where string, number int) (r Rule) {
	r.Name = "rule " + strconv.Itoa(number)
	var to *yaml.Node
	seen := p.mapping(n, where, "a rule such as {when: {age: {over: 90d}}, action: move, to: cold}", []field{
		{"name", func(n *yaml.Node, where string) {
			if text, ok := p.text(n, where, "a short name in quotes"); ok {
				r.Name = text
			}
		}},
		{"when", func(n *yaml.Node, where string) { r.When = p.condition(n, where, 1) }},
		{"action", func(n *yaml.Node, where string) {
			switch v := Verb(n.Value); v {
			case Keep, Settle, Move, Delete:
				r.Action = v
			default:
				p.fail(n, where, "write one of: keep, settle, move, delete")
			}
		}},
		{"to", func(n *yaml.Node, where string) { to, r.To = n, p.tier(n, where) }},
	})
	switch {
	case n.Kind != yaml.MappingNode:
	case !seen["action"]:
		p.fail(n, where, "action is missing; write one of: keep, settle, move, delete")
	case r.Action == Move && to == nil:
		p.fail(n, where, "to is missing; write the tier to move to, such as to: cold")
	case r.Action != Move && r.Action != Nothing && to != nil:
		p.fail(to, where, "to is only for action: move; remove it")
	case r.Action == Delete:
		// A deletion makes room when it can no longer be undone: until then every study would follow.
		if free, _ := (Set{Rules: []Rule{r}}).Outside(); free {
			p.fail(n, where, "free cannot be a condition of action: delete, which makes room only days later: everything would be deleted; move studies, or delete them by age")
		}
	}
	return r
}

func (p *parser) tier(n *yaml.Node, where string) archive.TierName {
	text, ok := p.text(n, where, "the name of a tier")
	name := archive.TierName(text)
	switch {
	case !ok:
	case !name.Valid():
		p.fail(n, where, "write the name of a tier: lower-case letters, digits and hyphens, a letter first")
	case p.o.Tiers != nil && !slices.Contains(p.o.Tiers, name):
		names := make([]string, len(p.o.Tiers))
		for i, t := range p.o.Tiers {
			names[i] = string(t)
		}
		p.fail(n, where, "there is no such tier; write one of: %s, or add it to the setting tiers", strings.Join(names, ", "))
	default:
		return name
	}
	return ""
}

func (p *parser) condition(n *yaml.Node, where string, depth int) (c Condition) {
	if depth > MaxDepth {
		p.fail(n, where, "conditions are nested more than %d deep; write them flatter", MaxDepth)
		return c
	}
	texts := func(into *[]string, example string, fold func(string) string) func(*yaml.Node, string) {
		return func(n *yaml.Node, where string) {
			p.list(n, where, example, MaxList, func(n *yaml.Node, where string) {
				if text, ok := p.text(n, where, "a word"); ok {
					*into = append(*into, fold(text))
				}
			})
		}
	}
	conditions := func(into *[]Condition) func(*yaml.Node, string) {
		return func(n *yaml.Node, where string) {
			p.list(n, where, "[{modality: [CT]}, {age: {over: 90d}}]", MaxList, func(n *yaml.Node, where string) {
				*into = append(*into, p.condition(n, where, depth+1))
			})
		}
	}
	same := func(s string) string { return s }
	p.mapping(n, where, "a condition such as {modality: [CT], age: {over: 90d}}", []field{
		{"modality", texts(&c.Modality, "[CT, MR]", strings.ToUpper)},
		{"bodyPart", texts(&c.BodyPart, "[CHEST, KNEE]", strings.ToUpper)},
		{"tag", texts(&c.Tag, "[teaching]", same)},
		{"tier", func(n *yaml.Node, where string) {
			p.list(n, where, "[hot, cold]", MaxList, func(n *yaml.Node, where string) { c.Tier = append(c.Tier, p.tier(n, where)) })
		}},
		{"age", func(n *yaml.Node, where string) { c.Age = p.period(n, where) }},
		{"received", func(n *yaml.Node, where string) { c.Received = p.period(n, where) }},
		{"accessed", func(n *yaml.Node, where string) { c.Accessed = p.period(n, where) }},
		{"size", func(n *yaml.Node, where string) {
			bounds(p, n, where, "{over: 500MB}", ParseSize, func(over, under *Size) { c.Size = Sizes{over, under} })
		}},
		{"studies", func(n *yaml.Node, where string) {
			bounds(p, n, where, "{over: 100000}", parseCount, func(over, under *int64) { c.Studies = Counts{over, under} })
		}},
		{"free", func(n *yaml.Node, where string) {
			bounds(p, n, where, "{under: 10%}", ParseRoom, func(over, under *Room) { c.Free = Rooms{over, under} })
		}},
		{"all", conditions(&c.All)},
		{"any", conditions(&c.Any)},
		{"not", func(n *yaml.Node, where string) {
			not := p.condition(n, where, depth+1)
			if n.Kind == yaml.MappingNode && len(n.Content) == 0 {
				p.fail(n, where, "it never holds; write a condition in it, or remove it")
			}
			c.Not = &not
		}},
	})
	return c
}

func (p *parser) period(n *yaml.Node, where string) (period Period) {
	bounds(p, n, where, "{over: 90d}", ParseSpan, func(over, under *Span) {
		if over != nil {
			period.Over = *over
		}
		if under != nil {
			period.Under = *under
		}
	})
	return period
}

// bounds reads a range: over, under or both.
func bounds[T any](p *parser, n *yaml.Node, where, example string, read func(string) (T, error), set func(over, under *T)) {
	var over, under *T
	bound := func(into **T) func(*yaml.Node, string) {
		return func(n *yaml.Node, where string) {
			if n.Kind != yaml.ScalarNode || n.Anchor != "" {
				p.fail(n, where, "write a range such as %s", example)
				return
			}
			v, err := read(n.Value)
			if err != nil {
				p.fail(n, where, "%s", err)
				return
			}
			*into = &v
		}
	}
	before := len(p.mistakes) + p.more
	p.mapping(n, where, "a range such as "+example, []field{{"over", bound(&over)}, {"under", bound(&under)}})
	if over == nil && under == nil && before == len(p.mistakes)+p.more {
		p.fail(n, where, "write over, under or both, such as %s", example)
	}
	set(over, under)
}

var errCount = errors.New("write a whole number, such as 100000")

func parseCount(text string) (int64, error) {
	n, err := strconv.ParseUint(text, 10, 53)
	if err != nil {
		return 0, errCount
	}
	return int64(n), nil
}
