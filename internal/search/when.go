package search

import (
	"strings"
	"time"

	"github.com/strata-pacs/strata/internal/dicom"
)

// span is a run of moments, both ends included. A moment is one number: the
// date, YYYYMMDD, times day, plus the microseconds since midnight; of a DA the
// time, of a TM the date is 0.
type span struct{ from, to int64 }

const (
	day     = int64(86_401_000_000) // microseconds, with a leap second
	dayEnd  = day - 1
	forever = int64(99991231)*day + dayEnd
)

// overlaps reports whether the two have a moment in common.
func (a span) overlaps(b span) bool { return a.from <= b.to && b.from <= a.to }

// has reports whether b begins within a: how a stored value, whose precision
// may be less, is compared.
func (a span) has(b span) bool { return a.from <= b.from && b.from <= a.to }

// parseSpan reads one DA, TM or DT value. What its precision leaves open is what
// lies between from and to.
func parseSpan(vr dicom.VR, s string) (span, bool) {
	s = strings.Trim(s, " \x00")
	switch vr {
	case dicom.DA:
		return parseDate(s)
	case dicom.TM:
		return parseTime(s)
	}
	return parseDateTime(s)
}

// parseDate reads YYYYMMDD, and YYYY.MM.DD of ACR-NEMA (PS3.5 Table 6.2-1).
func parseDate(s string) (span, bool) {
	if len(s) == 10 && s[4] == '.' && s[7] == '.' {
		s = s[:4] + s[5:7] + s[8:]
	}
	if len(s) != 8 {
		return span{}, false
	}
	n, ok := number(s)
	if !ok || !validDate(n) {
		return span{}, false
	}
	return span{n * day, n * day}, true
}

func validDate(yyyymmdd int64) bool {
	m, d := yyyymmdd/100%100, yyyymmdd%100
	return m >= 1 && m <= 12 && d >= 1 && d <= daysIn(yyyymmdd/10000, m)
}

func daysIn(y, m int64) int64 {
	switch m {
	case 4, 6, 9, 11:
		return 30
	case 2:
		if y%4 == 0 && (y%100 != 0 || y%400 == 0) {
			return 29
		}
		return 28
	}
	return 31
}

// parseTime reads HH[MM[SS[.F{1,6}]]], and HH:MM:SS of ACR-NEMA.
func parseTime(s string) (span, bool) {
	if len(s) >= 5 && s[2] == ':' {
		s = strings.ReplaceAll(s, ":", "")
	}
	whole, frac, dotted := strings.Cut(s, ".")
	if dotted && (len(whole) != 6 || len(frac) == 0 || len(frac) > 6) {
		return span{}, false
	}
	var low, high string
	switch len(whole) {
	case 2:
		low, high = whole+"0000", whole+"5959"
	case 4:
		low, high = whole+"00", whole+"59"
	case 6:
		low, high = whole, whole
	default:
		return span{}, false
	}
	a, ok := number(low + (frac + "000000")[:6])
	b, ok2 := number(high + (frac + "999999")[:6])
	hh, mm, ss := a/1e10, a/1e8%100, a/1e6%100
	return span{micros(a), micros(b)}, ok && ok2 && hh <= 23 && mm <= 59 && ss <= 60 // 60: leap second
}

// micros makes microseconds since midnight of HHMMSSFFFFFF.
func micros(n int64) int64 {
	return (n/1e10*3600+n/1e8%100*60+n/1e6%100)*1e6 + n%1e6
}

// shift moves a moment by minutes.
func shift(at, minutes int64) int64 {
	date, us := at/day, at%day
	t := time.Date(int(date/10000), time.Month(date/100%100), int(date%100), 0, 0, 0, 0, time.UTC)
	t = t.Add(time.Duration(us)*time.Microsecond + time.Duration(minutes)*time.Minute)
	date = int64(t.Year())*10000 + int64(t.Month())*100 + int64(t.Day())
	us = int64(t.Sub(t.Truncate(24*time.Hour)) / time.Microsecond)
	return date*day + us
}

// parseDateTime reads YYYY[MM[DD[HH[MM[SS[.F{1,6}]]]]]][&ZZXX].
func parseDateTime(s string) (span, bool) {
	zone, zoned := int64(0), false
	if n := len(s); n > 9 || n == 9 {
		if c := s[n-5]; c == '+' || c == '-' {
			z, ok := number(s[n-4:])
			if !ok || z/100 > 14 || z%100 > 59 {
				return span{}, false
			}
			zone, zoned = z/100*60+z%100, true
			if c == '-' {
				zone = -zone
			}
			s = s[:n-5]
		}
	}
	digits, _, dotted := strings.Cut(s, ".")
	var out span
	switch n := len(digits); {
	case dotted && n != 14, n < 4, n > 14, n%2 == 1:
		return span{}, false
	case n < 8:
		a, ok := number(digits + "0101"[n-4:])
		m := a / 100 % 100
		b := a
		if n == 4 {
			b = a/10000*10000 + 1231
		} else if ok && m >= 1 && m <= 12 {
			b = a/100*100 + daysIn(a/10000, m)
		}
		if !ok || !validDate(a) {
			return span{}, false
		}
		out = span{a * day, b*day + dayEnd}
	default:
		d, ok := parseDate(digits[:8])
		if !ok {
			return span{}, false
		}
		t := span{0, dayEnd}
		if n > 8 {
			if t, ok = parseTime(s[8:]); !ok {
				return span{}, false
			}
		}
		out = span{d.from + t.from, d.from + t.to}
	}
	if zoned {
		out = span{shift(out.from, -zone), shift(out.to, -zone)}
	}
	return out, true
}

// parseRange reads a value, or a range A-B, A- or -B (PS3.4 §C.2.2.2.5).
func parseRange(vr dicom.VR, s string) (sp span, isRange, ok bool) {
	s = strings.Trim(s, " \x00")
	if s == "-" {
		return span{}, false, false
	}
	// Of a DT the hyphen may begin a zone offset; the first that leaves both sides readable divides.
	for i := 0; i < len(s); i++ {
		if s[i] != '-' {
			continue
		}
		a, b := span{0, 0}, span{forever, forever}
		okA, okB := true, true
		if i > 0 {
			a, okA = parseSpan(vr, s[:i])
		}
		if i < len(s)-1 {
			b, okB = parseSpan(vr, s[i+1:])
		}
		if okA && okB {
			if one, single := parseSpan(vr, s); vr == dicom.DT && single && i > 0 {
				return one, false, true // the hyphen is that of the zone
			}
			return span{a.from, b.to}, true, a.from <= b.to
		}
	}
	sp, ok = parseSpan(vr, s)
	return sp, false, ok
}

// number reads decimal digits only; no more than 18.
func number(s string) (int64, bool) {
	if s == "" || len(s) > 18 {
		return 0, false
	}
	n := int64(0)
	for i := 0; i < len(s); i++ {
		if s[i] < '0' || s[i] > '9' {
			return 0, false
		}
		n = n*10 + int64(s[i]-'0')
	}
	return n, true
}
