package main

import (
	"io"
	"strings"
	"testing"
)

func TestTable(t *testing.T) {
	var b strings.Builder
	err := table(&b, func(w io.Writer) {
		heading(w, "tier", "a month", "")
		io.WriteString(w, "hot\t"+money(0.25, "EUR")+"\t\n")
		wrapped(w, "notes", strings.Repeat("word ", 17)+"ünd "+strings.Repeat("x", 100)+" end")
		wrapped(w, "none", "")
	})
	want := "TIER   A MONTH\nhot    0.25 EUR\nnotes  " + strings.TrimSpace(strings.Repeat("word ", 16)) + "\n       word ünd\n       " + strings.Repeat("x", 100) + "\n       end\nnone\n"
	if err != nil || b.String() != want {
		t.Errorf("%v\n%s\nwant\n%s", err, b.String(), want)
	}
}

func TestMoney(t *testing.T) {
	for amount, want := range map[float64]string{0: "0 USD", 0.0002: "under 0.001 USD", 0.001: "0.001 USD", 0.0042: "0.0042 USD", 0.25: "0.25 USD", 12: "12 USD", 12.345: "12.35 USD", 130.4: "130 USD"} {
		if got := money(amount, "USD"); got != want {
			t.Errorf("%v: %s, want %s", amount, got, want)
		}
	}
	if got := money(0.5, "") + money(0.0001, ""); got != "0.50under 0.001" {
		t.Error(got)
	}
}
