package archive

import (
	"testing"
	"time"
)

func TestExamined(t *testing.T) {
	by := time.Date(2026, 5, 4, 0, 0, 0, 0, time.UTC)
	for stated, want := range map[string]string{
		"20200229": "20200229", "2020.02.28": "20200228", " 20200228 ": "20200228", "20260504": "20260504", "18951108": "18951108",
		// None of these says when it was.
		"": "", "20260505": "", "99991231": "", "00010101": "", "18951107": "", "19010101": "", "19000101": "", "19700101": "", "18991230": "",
		"20200230": "", "20201301": "", "00000101": "", "2020-02-28": "", "2020022": "", "2020022x": "", "2020.02-28": "", "202002281": "",
	} {
		day, known := Examined(stated, by, by)
		if known != (want != "") {
			t.Errorf("%q: known %v", stated, known)
		}
		if want == "" {
			want = "20260504"
		}
		if got := day.Format("20060102"); got != want {
			t.Errorf("%q: %s, want %s", stated, got, want)
		}
	}
}

// TestReceivedByASlowClock: a date after the receipt counts from when it is not in the future any more.
func TestReceivedByASlowClock(t *testing.T) {
	by := time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC)
	for now, want := range map[time.Time]int{by.AddDate(6, 0, 0): 2020, by.AddDate(6, 4, 0): 2026} {
		if day, known := Examined("20260401", by, now); day.Year() != want || known != (want == 2026) {
			t.Errorf("at %v: %v, %v", now, day, known)
		}
	}
}

func TestReceiptDay(t *testing.T) {
	for at, want := range map[time.Time]int{
		time.Date(2026, 5, 4, 9, 59, 0, 0, time.UTC):                     4,
		time.Date(2026, 5, 4, 10, 0, 0, 0, time.UTC):                     5, // on Kiritimati it is the next day
		time.Date(2026, 5, 4, 23, 0, 0, 0, time.FixedZone("", -12*3600)): 6,
	} {
		if got := ReceiptDay(at); got.Day() != want {
			t.Errorf("%v: %v", at, got)
		}
	}
}
