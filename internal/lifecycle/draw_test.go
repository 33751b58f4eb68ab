package lifecycle

import (
	"bytes"
	"encoding/xml"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/strata-pacs/strata/internal/archive"
)

// hospital is the plan of an archive of seven years that grows by a tenth a year.
func hospital(t *testing.T) archive.LifecyclePlan {
	var all []subject
	for y, n := range []int{161, 146, 133, 121, 110, 100, 91} {
		for i := range n {
			s := study(365*y+i*364/n, "hot")
			s.Bytes = 50e9
			all = append(all, s)
		}
	}
	p := plan(t, planOptions{Rules: rules(t, `
rules:
  - { when: { age: { over: 10y } }, action: delete }
  - { when: { age: { over: 4y } }, action: move, to: ice }
  - { when: { age: { over: 1y } }, action: move, to: cold }
`)}, all...)
	p.Currency = "EUR"
	return p
}

func TestDraw(t *testing.T) {
	p := hospital(t)
	var b bytes.Buffer
	if err := Draw(&b, &p); err != nil {
		t.Fatal(err)
	}
	if file := os.Getenv("STRATA_TEST_SVG"); file != "" { // to be looked at
		if err := os.WriteFile(file, b.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var text []string
	for d := xml.NewDecoder(bytes.NewReader(b.Bytes())); ; {
		token, err := d.Token()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatalf("no XML: %v", err)
		}
		if c, ok := token.(xml.CharData); ok && len(bytes.TrimSpace(c)) > 0 {
			text = append(text, string(c))
		}
	}
	all := strings.Join(text, "\n")
	for _, want := range []string{"What the archive may come to in 10 years", "as in the last 6 years", "Stored, TB", "Cost a month, EUR",
		"2031", "2040", "hot", "cold", "ice", "with the rules", "if nothing is moved"} {
		if !strings.Contains(all, want) {
			t.Errorf("%q is not in it", want)
		}
	}
}
