package tiers

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/lifecycle/rule"
)

// Format writes tiers as [Read] reads them, in YAML: a list with a line for each
// tier, indented by two. What is not set is left out.
func Format(list []archive.Tier) string {
	var b strings.Builder
	for i, t := range list {
		f := flow{}
		f.text("name", string(t.Name))
		f.text("store", t.Store)
		if i > 0 { // the class of the hot tier is in the address of its store
			f.text("class", t.Class)
		}
		if t.Restore {
			f.add("restore", "true")
		}
		f.section("prices", prices(t.Prices))
		var speeds []string
		for _, s := range t.Speeds {
			speeds = append(speeds, speed(s).String())
		}
		if speeds != nil {
			f.add("speeds", "["+strings.Join(speeds, ", ")+"]")
		}
		fmt.Fprintf(&b, "  - %s\n", f)
	}
	return b.String()
}

func prices(p archive.Prices) (f flow) {
	f.number("gb-month", p.GBMonth)
	f.number("write", p.Write)
	f.number("read", p.Read)
	f.number("retrieve-gb", p.RetrieveGB)
	f.number("egress-gb", p.EgressGB)
	f.number("min-days", float64(p.MinDays))
	f.bytes("min-bytes", p.MinBytes)
	f.bytes("extra-bytes", p.ExtraBytes)
	return f
}

func speed(s archive.RestoreSpeed) (f flow) {
	f.text("priority", string(s.Priority))
	f.text("word", s.Word)
	f.duration("typical", s.Typical)
	f.duration("longest", s.Longest)
	f.number("gb", s.GB)
	f.number("requests", s.Requests)
	return f
}

// flow is a mapping of YAML on one line.
type flow []string

func (f flow) String() string { return "{" + strings.Join(f, ", ") + "}" }

func (f *flow) add(key, value string) { *f = append(*f, key+": "+value) }

func (f *flow) text(key, v string) {
	if v != "" {
		f.add(key, strconv.Quote(v))
	}
}

func (f *flow) number(key string, v float64) {
	if v != 0 {
		f.add(key, strconv.FormatFloat(v, 'f', -1, 64))
	}
}

func (f *flow) bytes(key string, n int64) {
	if n != 0 {
		f.add(key, rule.FormatBytes(n))
	}
}

func (f *flow) duration(key string, d time.Duration) {
	if d != 0 {
		f.add(key, rule.FormatLength(d))
	}
}

func (f *flow) section(key string, in flow) {
	if in != nil {
		f.add(key, in.String())
	}
}
