package search

import (
	"net/url"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/dicom"
	"github.com/strata-pacs/strata/internal/fault"
)

// Bounds of one query.
const (
	maxQueryBytes = 256 << 10
	maxParameters = 1000
	maxIncluded   = 1000 // attributes asked for
	maxPath       = 8    // attributes in a sequence path
	maxWarnings   = 8
)

// Parse reads the query part of a URL (PS3.18 §8.3.4 and §10.6.1.2) for
// resources of the level below scope. Percent-encoding is decoded before values
// are split. Parameters that mean nothing become warnings; values that cannot
// be read are fault.Invalid.
func Parse(level archive.Level, scope archive.UIDs, raw string) (*Query, error) {
	if len(raw) > maxQueryBytes {
		return nil, fault.New(fault.TooLarge, "the query has more than %d bytes", maxQueryBytes)
	}
	q := &Query{Level: level, Scope: scope, Limit: -1}
	p := parser{q: q, once: map[string]bool{}}
	var keys []parameter
	for n := 0; raw != ""; n++ {
		if n == maxParameters {
			return nil, fault.New(fault.TooLarge, "the query has more than %d parameters", maxParameters)
		}
		var pair string
		pair, raw, _ = strings.Cut(raw, "&")
		if pair == "" {
			continue
		}
		param, err := decode(pair)
		if err != nil {
			return nil, err
		}
		// What changes how keys are matched may come after them.
		if isKey, err := p.setting(param); err != nil {
			return nil, err
		} else if isKey {
			keys = append(keys, param)
		}
	}
	for _, k := range keys {
		if err := p.key(k.name, k.value); err != nil {
			return nil, err
		}
	}
	for level := range q.at {
		q.at[level] = combineMoments(q.at[level])
	}
	q.unindexed = combineMoments(q.unindexed)
	return q, nil
}

type parameter struct{ name, value string }

func decode(pair string) (parameter, error) {
	name, value, _ := strings.Cut(pair, "=")
	n, err := url.QueryUnescape(name)
	v, err2 := url.QueryUnescape(value)
	if err != nil || err2 != nil || !utf8.ValidString(n) || !utf8.ValidString(v) {
		return parameter{}, fault.New(fault.Invalid, "the query is not percent-encoded UTF-8")
	}
	for i := 0; i < len(v); i++ {
		if v[i] < ' ' || v[i] == 0x7F {
			return parameter{}, fault.New(fault.Invalid, "the query holds control characters")
		}
	}
	return parameter{n, v}, nil
}

type parser struct {
	q    *Query
	o    options
	once map[string]bool
}

func (q *Query) warn(text string) {
	if len(q.Warnings) < maxWarnings && !slices.Contains(q.Warnings, text) {
		q.Warnings = append(q.Warnings, text)
	}
}

// setting reads a parameter that is not an attribute; true when it is none.
func (p *parser) setting(param parameter) (isKey bool, err error) {
	switch param.name {
	case "limit", "offset", "fuzzymatching", "emptyvaluematching", "multiplevaluematching":
		if p.once[param.name] {
			return false, fault.New(fault.Invalid, "%s is given twice", param.name)
		}
		p.once[param.name] = true
	}
	switch param.name {
	case "limit":
		p.q.Limit, err = count(param)
	case "offset":
		p.q.Offset, err = count(param)
	case "fuzzymatching":
		p.o.fuzzy, err = flag(param)
		p.q.Fuzzy = p.o.fuzzy
	case "emptyvaluematching":
		p.o.empty, err = flag(param)
	case "multiplevaluematching": // lists are always understood
		_, err = flag(param)
	case "includefield":
		err = p.include(param.value)
	case "accept", "charset": // content negotiation (PS3.18 §8.3.3)
	case "":
		p.q.warn("a parameter without a name was ignored")
	default:
		return true, nil
	}
	return false, err
}

func count(p parameter) (int, error) {
	n, ok := number(p.value)
	if !ok {
		return 0, fault.New(fault.Invalid, "%s takes a number from 0", p.name)
	}
	return int(min(n, 1<<30)), nil
}

func flag(p parameter) (bool, error) {
	switch strings.ToLower(p.value) {
	case "true":
		return true, nil
	case "false":
		return false, nil
	}
	return false, fault.New(fault.Invalid, "%s is true or false", p.name)
}

// include reads one includefield parameter: a list of attributes, or all.
func (p *parser) include(list string) error {
	for list != "" {
		var name string
		name, list, _ = strings.Cut(list, ",")
		switch name = strings.TrimSpace(name); name {
		case "":
			continue
		case "all":
			p.q.all = true
			continue
		}
		path, ok := parsePath(name)
		if !ok {
			p.q.warn("includefield names attributes that are not known; they were ignored")
			continue
		}
		// An attribute inside a sequence comes with its whole sequence.
		if err := p.ask(path[0]); err != nil {
			return err
		}
	}
	return nil
}

func (p *parser) ask(t dicom.Tag) error {
	if slices.Contains(p.q.asked, t) {
		return nil
	}
	if len(p.q.asked) == maxIncluded {
		return fault.New(fault.TooLarge, "the query asks for more than %d attributes; ask for the metadata instead", maxIncluded)
	}
	p.q.asked = append(p.q.asked, t)
	if t.IsPrivate() && !t.IsPrivateCreator() {
		// A private element comes with its creator (PS3.18 §10.6.3.3).
		return p.ask(t&0xFFFF0000 | t&0xFF00>>8)
	}
	return nil
}

// parsePath reads Keyword, GGGGEEEE, or several of them joined by dots.
func parsePath(name string) ([]dicom.Tag, bool) {
	parts := strings.Split(name, ".")
	if len(parts) > maxPath {
		return nil, false
	}
	path := make([]dicom.Tag, len(parts))
	for i, part := range parts {
		t, ok := dicom.ParseTag(part)
		if !ok || t.IsGroupLength() || t < 0x00080000 || t.IsPrivate() && t&0xFF00 == 0 && !t.IsPrivateCreator() {
			return nil, false
		}
		path[i] = t
	}
	return path, true
}

// key reads one attribute to match.
func (p *parser) key(name, value string) error {
	path, ok := parsePath(name)
	if !ok {
		p.q.warn("parameters that are not known were ignored")
		return nil
	}
	top := path[0]
	switch top {
	case tagCharset, tagRetrieveURL, tagTimezone:
		p.q.warn(dicom.KeywordOf(top) + " is not matched; it was ignored")
		return nil
	}
	if err := p.ask(top); err != nil {
		return err
	}
	last := path[len(path)-1]
	k, indexed := lookup(top)
	vr := dicom.VROf(last)
	if vr == dicom.UN || vr == 0 {
		vr = dicom.LO // private: matched as text
	}
	words := len(path) == 1 && (k.Lookup == archive.Words || !indexed || k.Lookup == archive.Kept && (vr == dicom.LO || vr == dicom.ST || vr == dicom.LT || vr == dicom.UT))
	c, err := compile(last, vr, value, words, p.o)
	if err != nil {
		return err
	}
	if c.kind == matchAny { // it is only to be returned
		return nil
	}
	for i := len(path) - 2; i >= 0; i-- {
		c = Condition{Tag: path[i], VR: dicom.SQ, kind: matchItems, items: []Condition{c}}
	}
	list := &p.q.unindexed
	if indexed {
		list = &p.q.at[k.Level]
	}
	*list = add(*list, c)
	return nil
}

// add adds a condition: one on the same sequence is on the same item, and
// lists of UIDs and codes given twice are one list.
func add(cs []Condition, c Condition) []Condition {
	for i := range cs {
		have := &cs[i]
		switch {
		case have.Tag != c.Tag || have.kind != c.kind:
		case c.kind == matchItems:
			have.items = add(have.items, c.items[0])
			return cs
		case c.kind == matchUID || c.kind == matchCode:
			have.alts = append(have.alts, c.alts...)
			return cs
		}
	}
	return append(cs, c)
}

// moments are the dates whose time of day is an attribute of its own.
var moments = [...][2]dicom.Tag{
	{0x00080020, 0x00080030}, {0x00080021, 0x00080031}, {0x00080022, 0x00080032}, {0x00080023, 0x00080033},
	{0x00100030, 0x00100032}, {0x00400244, 0x00400245},
}

// combineMoments makes a range of dates and one of times the range from the
// first date's first time to the last date's last (PS3.4 §C.2.2.2.5,
// combined date-time matching). The condition on the date stays: it is looked up.
func combineMoments(cs []Condition) []Condition {
	for _, m := range moments {
		d := slices.IndexFunc(cs, func(c Condition) bool { return c.Tag == m[0] && c.kind == matchWhen })
		t := slices.IndexFunc(cs, func(c Condition) bool { return c.Tag == m[1] && c.kind == matchWhen })
		if d < 0 || t < 0 || len(cs[d].alts) != 1 || len(cs[t].alts) != 1 || !cs[d].alts[0].ranged || !cs[t].alts[0].ranged {
			continue
		}
		date, clock := cs[d].alts[0].when, cs[t].alts[0].when
		clock.to = min(clock.to, dayEnd)
		cs[t] = Condition{Tag: m[0], VR: dicom.DA, kind: matchMoment, time: m[1],
			alts: []alternative{{when: span{date.from + clock.from, addClock(date.to, clock.to)}, ranged: true}}}
	}
	return cs
}

func addClock(date, clock int64) int64 {
	if date >= forever-dayEnd {
		return forever
	}
	return date + clock
}
