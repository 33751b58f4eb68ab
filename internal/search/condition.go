package search

import (
	"strconv"
	"strings"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/dicom"
	"github.com/strata-pacs/strata/internal/fault"
)

// Condition is one key of a query: an attribute and what its value must be
// (PS3.4 §C.2.2.2). It holds for an attribute of several values when one of
// them matches.
type Condition struct {
	Tag dicom.Tag
	VR  dicom.VR

	kind  kind
	alts  []alternative // any of them
	items []Condition   // of a sequence: one item fulfils all of them
	time  dicom.Tag     // matchMoment: the attribute that holds the time of day
}

type kind uint8

const (
	matchAny    kind = iota // universal matching (PS3.4 §C.2.2.2.3)
	matchEmpty              // empty value matching
	matchText               // single value or wildcard, to the letter
	matchFolded             // the same without case and accents, or by words
	matchCode               // CS: without case, as a CS has none
	matchName               // PN: without case and accents, by component group
	matchUID                // a list of UIDs
	matchNumber             // numeric VRs: by number, not by spelling
	matchWhen               // DA, TM, DT: value or range
	matchMoment             // a DA and its TM as one range
	matchItems              // sequence matching
)

// alternative is one of the values that a key lists.
type alternative struct {
	raw     string    // as the query has it
	text    string    // without wildcard; folded for matchFolded
	pattern pattern   // with wildcard, or nil
	groups  []pattern // matchName: by component group, nil is any; a single one is looked for in each group
	spelled []pattern // as groups, in lower case but not folded, where a '?' might meet what folds to two letters
	words   []pattern // fuzzy: each matches a word of the value
	num     float64
	when    span
	ranged  bool
}

type options struct {
	fuzzy bool
	empty bool // emptyvaluematching
}

// compile makes the condition of a key without sequence path.
func compile(tag dicom.Tag, vr dicom.VR, value string, words bool, o options) (Condition, error) {
	c := Condition{Tag: tag, VR: vr}
	if value == `""` && o.empty {
		c.kind = matchEmpty
		return c, nil
	}
	if strings.Trim(value, " ") == "" || value == "*" {
		return c, nil
	}
	switch vr {
	case dicom.UI:
		return c, c.compileUIDs(value)
	case dicom.DA, dicom.TM, dicom.DT:
		return c, c.compileWhen(value)
	case dicom.PN:
		return c, c.compileNames(value, o)
	case dicom.IS, dicom.DS, dicom.US, dicom.UL, dicom.UV, dicom.SS, dicom.SL, dicom.SV, dicom.FL, dicom.FD:
		return c, c.compileNumbers(value)
	case dicom.SQ:
		return c, c.invalid("is a sequence: name an attribute of its items, as Sequence.Attribute")
	case dicom.OB, dicom.OD, dicom.OF, dicom.OL, dicom.OV, dicom.OW:
		return c, c.invalid("holds binary data and cannot be matched")
	case dicom.AT:
		value = strings.ToUpper(strings.NewReplacer("(", "", ")", "", ",", "").Replace(value))
	}
	c.compileTexts(value, words && o.fuzzy)
	return c, nil
}

// invalid names the attribute, which is no secret, and never the value.
func (c *Condition) invalid(what string) error {
	name := dicom.KeywordOf(c.Tag)
	if name == "" {
		name = c.Tag.String()
	}
	return fault.New(fault.Invalid, "%s %s", name, what)
}

func (c *Condition) compileUIDs(value string) error {
	c.kind = matchUID
	for _, uid := range strings.FieldsFunc(value, func(r rune) bool { return r == ',' || r == '\\' }) {
		uid = strings.Trim(uid, " \x00")
		if uid == "" {
			continue
		}
		for i := 0; i < len(uid); i++ {
			if b := uid[i]; (b < '0' || b > '9') && b != '.' {
				return c.invalid("takes UIDs, separated by commas, without wildcards")
			}
		}
		c.alts = append(c.alts, alternative{text: uid})
	}
	if len(c.alts) == 0 {
		c.kind = matchAny
	}
	return nil
}

func (c *Condition) compileWhen(value string) error {
	c.kind = matchWhen
	for _, v := range strings.Split(value, `\`) {
		sp, ranged, ok := parseRange(c.VR, v)
		if !ok {
			switch c.VR {
			case dicom.DA:
				return c.invalid("takes a date as YYYYMMDD, or a range as YYYYMMDD-YYYYMMDD, YYYYMMDD- or -YYYYMMDD")
			case dicom.TM:
				return c.invalid("takes a time as HHMMSS, or a range as HHMMSS-HHMMSS, HHMMSS- or -HHMMSS")
			}
			return c.invalid("takes a date and time as YYYYMMDDHHMMSS, or a range of two of them with a hyphen")
		}
		c.alts = append(c.alts, alternative{raw: v, when: sp, ranged: ranged})
	}
	return nil
}

func (c *Condition) compileNumbers(value string) error {
	c.kind = matchNumber
	for _, v := range strings.Split(value, `\`) {
		n, err := strconv.ParseFloat(strings.Trim(v, " \x00"), 64)
		if err != nil {
			return c.invalid("takes a number")
		}
		c.alts = append(c.alts, alternative{num: n})
	}
	return nil
}

func (c *Condition) compileTexts(value string, fuzzy bool) {
	values := []string{value}
	switch c.VR {
	case dicom.ST, dicom.LT, dicom.UT, dicom.UR:
	case dicom.CS:
		values = strings.FieldsFunc(value, func(r rune) bool { return r == ',' || r == '\\' })
	default:
		values = strings.Split(value, `\`)
	}
	fold := literal
	c.kind = matchText
	switch {
	case fuzzy:
		c.kind, fold = matchFolded, archive.Fold
	case c.VR == dicom.CS:
		c.kind, fold = matchCode, strings.ToUpper
	}
	for _, v := range values {
		v = strings.Trim(v, " \x00")
		if v == "*" {
			c.kind, c.alts = matchAny, nil
			return
		}
		a := alternative{raw: v}
		if hasWildcard(v) {
			a.pattern = compilePattern(v, fold)
		} else {
			a.text = fold(v)
		}
		if fuzzy {
			a.words = fuzzyWords(v)
		}
		c.alts = append(c.alts, a)
	}
}

func (c *Condition) compileNames(value string, o options) error {
	c.kind = matchName
	for _, v := range strings.Split(value, `\`) {
		groups := strings.Split(v, "=")
		if len(groups) > 3 {
			return c.invalid("has at most three component groups, separated by '='")
		}
		a := alternative{raw: v}
		spell := strings.Contains(v, "?")
		for _, g := range groups {
			if strings.Trim(g, " ^*") == "" {
				a.groups = append(a.groups, nil)
				a.spelled = append(a.spelled, nil)
				continue
			}
			a.groups = append(a.groups, compilePattern(g, archive.FoldName))
			if hasWildcard(g) {
				// FoldName of the pieces would drop a '^' before a wildcard.
				a.groups[len(a.groups)-1] = compilePattern(g, archive.Fold)
			}
			if spell {
				a.spelled = append(a.spelled, compilePattern(g, strings.ToLower))
			}
		}
		if !spell {
			a.spelled = nil
		}
		if o.fuzzy {
			a.words = fuzzyWords(v)
		}
		if empty(a.groups) {
			c.kind, c.alts = matchAny, nil
			return nil
		}
		c.alts = append(c.alts, a)
	}
	return nil
}

func empty(groups []pattern) bool {
	for _, g := range groups {
		if g != nil {
			return false
		}
	}
	return true
}

// fuzzyWords returns what fuzzy matching looks for: each word of the key as the
// beginning of a word of the value, in any order and component group.
func fuzzyWords(v string) []pattern {
	words := compilePattern(v, archive.Fold).words()
	for i, w := range words {
		if w[len(w)-1] != anyRunes {
			words[i] = append(w, anyRunes)
		}
	}
	return words
}
