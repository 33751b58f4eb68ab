package search

import (
	"strconv"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/dicom"
)

// valueFunc returns an attribute's value in the form of [archive.Attr], empty when there is none.
type valueFunc func(dicom.Tag) string

// all reports whether every condition holds.
func all(cs []Condition, get valueFunc) bool {
	for i := range cs {
		c := &cs[i]
		switch c.kind {
		case matchAny:
		case matchMoment:
			if !c.matchesMoment(get(c.Tag), get(c.time)) {
				return false
			}
		default:
			if !c.matches(get(c.Tag)) {
				return false
			}
		}
	}
	return true
}

// matches reports whether the condition holds for the attribute's value.
func (c *Condition) matches(value string) bool {
	switch c.kind {
	case matchAny:
		return true
	case matchEmpty:
		return strings.Trim(value, " \\=^") == "" || c.VR == dicom.SQ && value == "[]"
	case matchItems:
		return c.matchesItems(value)
	}
	if value == "" {
		return false
	}
	for more := true; more; {
		one := value
		if !singleValued(c.VR) {
			one, value, more = strings.Cut(value, `\`)
		} else {
			more = false
		}
		if c.matchesOne(strings.Trim(one, " \x00")) {
			return true
		}
	}
	return false
}

// singleValued: a backslash in these is a character (PS3.5 §6.4).
func singleValued(vr dicom.VR) bool {
	switch vr {
	case dicom.ST, dicom.LT, dicom.UT, dicom.UR:
		return true
	}
	return false
}

func (c *Condition) matchesOne(v string) bool {
	switch c.kind {
	case matchName:
		return c.matchesName(v)
	case matchWhen:
		sp, ok := parseSpan(c.VR, v)
		if !ok {
			return false
		}
		for i := range c.alts {
			if c.alts[i].when.has(sp) {
				return true
			}
		}
		return false
	case matchNumber:
		n, err := strconv.ParseFloat(v, 64)
		if err != nil {
			return false
		}
		for i := range c.alts {
			if c.alts[i].num == n {
				return true
			}
		}
		return false
	case matchFolded:
		v = archive.Fold(v)
	case matchCode:
		v = strings.ToUpper(v)
	}
	for i := range c.alts {
		a := &c.alts[i]
		if a.pattern != nil && a.pattern.match(v) || a.pattern == nil && a.text == v || a.words != nil && matchesWords(a.words, v) {
			return true
		}
	}
	return false
}

// matchesWords reports whether each pattern matches a word of the value.
func matchesWords(patterns []pattern, value string) bool {
	var buf [16]string
	words := archive.FoldWords(buf[:0], 0, value)
next:
	for _, p := range patterns {
		for _, w := range words {
			if p.match(w) {
				continue next
			}
		}
		return false
	}
	return true
}

// matchesName matches one person name, of up to three component groups.
func (c *Condition) matchesName(name string) bool {
	var raw [3]string
	n := 0
	for rest, more := name, true; more && n < len(raw); n++ {
		raw[n], rest, more = strings.Cut(rest, "=")
	}
	var folded [3]string
	for i := range n {
		folded[i] = archive.FoldName(raw[i])
	}
	for i := range c.alts {
		a := &c.alts[i]
		if matchesGroups(a.groups, folded[:n]) || a.words != nil && matchesWords(a.words, name) {
			return true
		}
		if a.spelled != nil && !isASCII(name) {
			var lower [3]string
			for k := range n {
				lower[k] = norm.NFC.String(strings.ToLower(raw[k]))
			}
			if matchesGroups(a.spelled, lower[:n]) {
				return true
			}
		}
	}
	return false
}

func matchesGroups(key []pattern, groups []string) bool {
	if len(key) == 1 {
		for _, g := range groups {
			if g != "" && matchesGroup(key[0], g) {
				return true
			}
		}
		return false
	}
	for i, k := range key {
		if k != nil && (i >= len(groups) || !matchesGroup(k, groups[i])) {
			return false
		}
	}
	return true
}

// matchesGroup also lets a key name components that the value leaves out at its end.
func matchesGroup(key pattern, group string) bool {
	if key.match(group) {
		return true
	}
	carets := 0
	for _, r := range key {
		if r == '^' {
			carets++
		}
	}
	if have := strings.Count(group, "^"); carets > have && carets <= 8 {
		return key.match(group + "^^^^^^^^"[:carets-have])
	}
	return false
}

// matchesMoment matches a date and its time as one moment. A time that is not
// known is any of the day.
func (c *Condition) matchesMoment(date, tm string) bool {
	d, ok := parseSpan(dicom.DA, date)
	if !ok {
		return false
	}
	t, ok := parseSpan(dicom.TM, tm)
	if !ok {
		t = span{0, dayEnd}
	} else {
		t.to = t.from
	}
	return c.alts[0].when.overlaps(span{d.from + t.from, d.from + t.to})
}

func isASCII(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}
