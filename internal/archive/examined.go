package archive

import (
	"strings"
	"time"
)

// earliest is before every examination that an archive can hold: X-rays were discovered that day. What
// states an earlier one is wrong.
var earliest = time.Date(1895, 11, 8, 0, 0, 0, 0, time.UTC)

// fillers are days that systems write where they know none: of each the calendar, the clock or the form begins with it. Who was
// examined on one of them, and his study found its way here, loses nothing: it counts as younger than it is.
var fillers = [...]time.Time{
	time.Date(1899, 12, 30, 0, 0, 0, 0, time.UTC), time.Date(1899, 12, 31, 0, 0, 0, 0, time.UTC), time.Date(1900, 1, 1, 0, 0, 0, 0, time.UTC),
	time.Date(1901, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(1904, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(1970, 1, 1, 0, 0, 0, 0, time.UTC),
}

// ReceiptDay is the day by which a study was made, wherever it was, that reached the archive at a moment: that of the earliest time zone.
func ReceiptDay(at time.Time) time.Time {
	at = at.UTC().Add(14 * time.Hour)
	return time.Date(at.Year(), at.Month(), at.Day(), 0, 0, 0, 0, time.UTC)
}

// Examined is the day of an examination, for all that asks how old a study is; known is false where the date that is stated (Study
// Date, 0008,0020) cannot be right: then the day by which it must have been counts ([ReceiptDay]), so that a date that is missing, made
// up or far in the future makes nothing older than it may be, and keeps nothing for ever. A date after the receipt that is not in
// the future counts: the clock of who received it may have been behind.
func Examined(stated string, by, now time.Time) (day time.Time, known bool) {
	day, ok := Date(stated)
	if !ok || day.After(by) && day.After(now) || day.Before(earliest) {
		return by, false
	}
	for _, f := range fillers {
		if day.Equal(f) {
			return by, false
		}
	}
	return day, true
}

// Date reads a DICOM date (PS3.5 §6.2 DA, also in the older form with points) as its midnight UTC. A day that is not on the calendar is none.
func Date(text string) (time.Time, bool) {
	text = strings.TrimSpace(text)
	if len(text) == 10 && text[4] == '.' && text[7] == '.' {
		text = text[:4] + text[5:7] + text[8:]
	}
	if len(text) != 8 {
		return time.Time{}, false
	}
	n := 0
	for _, c := range []byte(text) {
		if c < '0' || c > '9' {
			return time.Time{}, false
		}
		n = 10*n + int(c-'0')
	}
	y, m, d := n/10000, time.Month(n/100%100), n%100
	t := time.Date(y, m, d, 0, 0, 0, 0, time.UTC)
	return t, y > 0 && t.Month() == m && t.Day() == d
}
