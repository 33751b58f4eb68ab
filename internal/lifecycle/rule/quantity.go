package rule

import (
	"errors"
	"math"
	"strconv"
	"strings"
	"time"
)

// Span is a length of time on the calendar.
type Span struct {
	Years, Months, Days, Hours int // one of them is set
}

// maxSpan bounds a span, in years: beyond what a date can hold sensibly.
const maxSpan = 1000

var spanUnits = []struct {
	unit string
	most int
	set  func(s *Span, n int)
}{
	{"mo", maxSpan * 12, func(s *Span, n int) { s.Months = n }},
	{"h", maxSpan * 366 * 24, func(s *Span, n int) { s.Hours = n }},
	{"d", maxSpan * 366, func(s *Span, n int) { s.Days = n }},
	{"w", maxSpan * 52, func(s *Span, n int) { s.Days = 7 * n }},
	{"y", maxSpan, func(s *Span, n int) { s.Years = n }},
}

var errSpan = errors.New("write a whole number above 0 with a unit: 12h, 90d, 12w, 6mo or 10y (at most 1000y)")

// ParseSpan reads a span such as "90d".
func ParseSpan(text string) (s Span, err error) {
	for _, u := range spanUnits {
		digits, ok := strings.CutSuffix(text, u.unit)
		if !ok {
			continue
		}
		n, err := strconv.ParseUint(digits, 10, 31)
		if err != nil || n == 0 || n > uint64(u.most) {
			return Span{}, errSpan
		}
		u.set(&s, int(n))
		return s, nil
	}
	return Span{}, errSpan
}

// After returns the moment a span after t, by the calendar.
func (s Span) After(t time.Time) time.Time {
	if s.Years|s.Months|s.Days != 0 {
		t = t.AddDate(s.Years, s.Months, s.Days)
	}
	return t.Add(time.Duration(s.Hours) * time.Hour)
}

// Before returns the moment a span before t, by the calendar.
func (s Span) Before(t time.Time) time.Time {
	if s.Years|s.Months|s.Days != 0 {
		t = t.AddDate(-s.Years, -s.Months, -s.Days)
	}
	return t.Add(-time.Duration(s.Hours) * time.Hour)
}

// String is the span as it is written.
func (s Span) String() string {
	switch {
	case s.Years != 0:
		return strconv.Itoa(s.Years) + "y"
	case s.Months != 0:
		return strconv.Itoa(s.Months) + "mo"
	case s.Hours != 0:
		return strconv.Itoa(s.Hours) + "h"
	}
	return strconv.Itoa(s.Days) + "d"
}

// MarshalText implements encoding.TextMarshaler.
func (s Span) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// Size is a number of bytes.
type Size int64

var sizeUnits = []struct {
	unit  string
	bytes int64
}{{"PB", 1e15}, {"TB", 1e12}, {"GB", 1e9}, {"MB", 1e6}, {"kB", 1e3}, {"B", 1}}

var errSize = errors.New("write a whole number with a unit: 500kB, 20MB, 3GB or 2TB")

// ParseSize reads a size such as "500MB".
func ParseSize(text string) (Size, error) {
	for _, u := range sizeUnits {
		digits, ok := strings.CutSuffix(text, u.unit)
		if !ok {
			continue
		}
		n, err := strconv.ParseUint(digits, 10, 63)
		if err != nil || int64(n) > math.MaxInt64/u.bytes {
			return 0, errSize
		}
		return Size(int64(n) * u.bytes), nil
	}
	return 0, errSize
}

// String is the size as it is written.
func (s Size) String() string {
	for _, u := range sizeUnits {
		if int64(s)%u.bytes == 0 && (s != 0 || u.bytes == 1) {
			return strconv.FormatInt(int64(s)/u.bytes, 10) + u.unit
		}
	}
	return "" // the last unit divides everything
}

// MarshalText implements encoding.TextMarshaler.
func (s Size) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// Room is room on a disk: bytes, or a part of its capacity.
type Room struct {
	Bytes   Size
	Percent int // 1 to 99; 0: Bytes counts
}

var errRoom = errors.New("write a percentage from 1% to 99%, or a size such as 500GB")

// ParseRoom reads room such as "10%" or "500GB".
func ParseRoom(text string) (Room, error) {
	if digits, ok := strings.CutSuffix(text, "%"); ok {
		n, err := strconv.ParseUint(digits, 10, 8)
		if err != nil || n < 1 || n > 99 {
			return Room{}, errRoom
		}
		return Room{Percent: int(n)}, nil
	}
	n, err := ParseSize(text)
	if err != nil {
		return Room{}, errRoom
	}
	return Room{Bytes: n}, nil
}

// of returns the bytes that the room is on a disk of the capacity.
func (r Room) of(capacity int64) int64 {
	if r.Percent == 0 {
		return int64(r.Bytes)
	}
	return capacity/100*int64(r.Percent) + capacity%100*int64(r.Percent)/100
}

// String is the room as it is written.
func (r Room) String() string {
	if r.Percent != 0 {
		return strconv.Itoa(r.Percent) + "%"
	}
	return r.Bytes.String()
}

// MarshalText implements encoding.TextMarshaler.
func (r Room) MarshalText() ([]byte, error) { return []byte(r.String()), nil }
