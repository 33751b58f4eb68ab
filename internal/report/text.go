package report

import (
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/strata-pacs/strata/internal/dicom"
)

// long returns the text of an attribute whole, with line ends as \n.
func long(d *dicom.Dataset, t dicom.Tag) string {
	e := d.Lookup(t)
	if e == nil {
		return ""
	}
	if e.Bulk {
		return "[a text of " + strconv.FormatInt(e.Length, 10) + " bytes is too long to be shown here]"
	}
	return clean(d.TextOf(e))
}

// short returns the text of an attribute that is a word or a line.
func short(d *dicom.Dataset, t dicom.Tag) string {
	e := d.Lookup(t)
	if e == nil || !e.Bulk && len(e.Value) <= maxShort {
		return long(d, t)
	}
	if e.Bulk {
		return ""
	}
	// What is far too long is not decoded, again and again.
	begin := *e
	begin.Value = e.Value[:min(len(e.Value), 4*maxShort)]
	return clip(clean(d.TextOf(&begin)), maxShort)
}

// values returns the values of an attribute, at most maxList of them, and how
// many there are more.
func values(d *dicom.Dataset, t dicom.Tag) (list []string, more int) {
	e := d.Lookup(t)
	if e == nil || e.Bulk {
		return nil, 0
	}
	for v := range strings.SplitSeq(d.TextOf(e), `\`) {
		switch {
		case len(list) == maxList:
			more++
		case v != "" || len(list) > 0:
			list = append(list, clip(clean(v), maxShort))
		}
	}
	return list, more
}

// joined returns the values of an attribute in a row.
func joined(d *dicom.Dataset, t dicom.Tag) string {
	list, more := values(d, t)
	s := strings.Join(list, ", ")
	if more > 0 {
		s += " and " + strconv.Itoa(more) + " more"
	}
	return s
}

// clip cuts a text off at n bytes.
func clip(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n] + "…"
}

// clean leaves of the control characters tabs and line ends. Line ends become
// \n, and there are none at the end.
func clean(s string) string {
	if strings.IndexFunc(s, control) < 0 {
		return s
	}
	s = strings.NewReplacer("\r\n", "\n", "\n\r", "\n", "\r", "\n", "\f", "\n").Replace(s)
	s = strings.Map(func(r rune) rune {
		if r != '\n' && r != '\t' && control(r) {
			return -1
		}
		return r
	}, s)
	return strings.TrimRight(s, "\n")
}

func control(r rune) bool { return r < ' ' || r >= 0x7F && r < 0xA0 }

// name brings the component groups of a PN (PS3.5 §6.2.1) into an order to read:
// "Family, Prefix Given Middle, Suffix", others as they are written, in parentheses.
func name(pn string) string {
	groups := strings.SplitN(pn, "=", 3)
	out := ""
	for i, g := range groups {
		c := strings.SplitN(strings.TrimSpace(g), "^", 5)
		for len(c) < 5 {
			c = append(c, "")
		}
		var s string
		if i == 0 {
			s = join(", ", c[0], join(" ", c[3], c[1], c[2]), c[4])
		} else {
			s = join(" ", c[3], c[0], c[1], c[2], c[4])
		}
		switch {
		case s == "":
		case out == "":
			out = s
		default:
			out += " (" + s + ")"
		}
	}
	return out
}

// join joins what is not empty.
func join(sep string, parts ...string) string {
	out := ""
	for _, p := range parts {
		p = strings.TrimSpace(p)
		if p != "" && out != "" {
			out += sep
		}
		out += p
	}
	return out
}

// date, clock and moment show values of DA, TM and DT (PS3.5 §6.2) as ISO 8601
// does, with a space instead of T; anything else stays as it is.
func date(s string) string {
	switch {
	case len(s) == 8 && digits(s):
		return s[:4] + "-" + s[4:6] + "-" + s[6:]
	case len(s) == 6 && digits(s):
		return s[:4] + "-" + s[4:]
	}
	return s
}

func clock(s string) string {
	whole, fraction, dot := strings.Cut(s, ".")
	if len(whole)%2 != 0 || len(whole) == 0 || len(whole) > 6 || !digits(whole) || dot && !digits(fraction) {
		return s
	}
	out := whole[:2]
	for i := 2; i < len(whole); i += 2 {
		out += ":" + whole[i:i+2]
	}
	if len(whole) == 2 {
		out += " h"
	}
	if dot {
		out += "." + fraction
	}
	return out
}

func moment(s string) string {
	zone := ""
	if i := strings.LastIndexAny(s, "+-"); i >= 4 && len(s)-i == 5 && digits(s[i+1:]) {
		zone, s = " "+s[i:i+3]+":"+s[i+3:], s[:i]
	}
	if len(s) < 8 || !digits(s[:8]) {
		return date(s) + zone
	}
	return join(" ", date(s[:8]), clock(s[8:])) + zone
}

func digits(s string) bool {
	for _, c := range []byte(s) {
		if c < '0' || c > '9' {
			return false
		}
	}
	return s != ""
}
