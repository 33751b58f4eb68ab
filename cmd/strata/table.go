package main

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/strata-pacs/strata/internal/lifecycle/chart"
)

// How all commands show things: what a row is about in small letters, headings of columns in capitals,
// numbers of bytes in units of 1000, money with its currency, times in UTC. Only what is compared
// byte by byte, or is for other programs (JSON, CSV), has plain numbers.

// table writes what fill does, cells parted by tabs, as columns.
func table(out io.Writer, fill func(io.Writer)) error {
	var b bytes.Buffer
	tw := tabwriter.NewWriter(&b, 0, 8, 2, ' ', 0)
	fill(tw)
	tw.Flush() // to memory
	for line := range strings.Lines(b.String()) {
		if _, err := fmt.Fprintln(out, strings.TrimRight(line, " \n")); err != nil { // cells at the end may be empty
			return err
		}
	}
	return nil
}

// heading writes the names of columns.
func heading(w io.Writer, columns ...string) {
	fmt.Fprintln(w, strings.ToUpper(strings.Join(columns, "\t")))
}

// size is a number of bytes for people.
func size(bytes int64) string { return chart.Bytes(float64(bytes)) }

// rate is a number of bytes a second for people.
func rate(bytes float64) string { return chart.Bytes(bytes) + "/s" }

// money is an amount for people, of an archive whose prices are in the currency.
func money(amount float64, currency string) string {
	if amount > 0 && amount < leastMoney {
		return strings.TrimSpace("under 0.001 " + currency) // a little is not nothing
	}
	return strings.TrimSpace(chart.Money(amount) + " " + currency)
}

const leastMoney = 0.001

// when is a time for people, in UTC.
func when(t *time.Time) string {
	if t == nil {
		return "never"
	}
	return t.UTC().Format("2006-01-02 15:04:05Z")
}

// textWidth is how long a line of text becomes, in characters.
const textWidth = 80

// wrapped writes a row whose text may be long: on as many lines as it takes, below each other.
func wrapped(w io.Writer, name, text string) {
	line := ""
	for _, word := range strings.Fields(text) {
		if line != "" && len([]rune(line))+1+len([]rune(word)) > textWidth {
			fmt.Fprintf(w, "%s\t%s\n", name, line)
			name, line = "", ""
		}
		if line != "" {
			line += " "
		}
		line += word
	}
	fmt.Fprintf(w, "%s\t%s\n", name, line)
}
