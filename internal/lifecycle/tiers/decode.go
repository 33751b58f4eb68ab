package tiers

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/lifecycle/rule"
)

// decode reads the list of the configuration file.
func decode(list []any) ([]archive.Tier, error) {
	if len(list) > Most {
		return nil, bad("tiers", "there are more than %d", Most)
	}
	var out []archive.Tier
	for i, v := range list {
		m, ok := v.(map[string]any)
		if !ok {
			return nil, bad(fmt.Sprintf("tiers[%d]", i), "must be a tier, as {name: cold, store: …}")
		}
		t, err := decodeTier(i, maps.Clone(m))
		if err != nil {
			return nil, err
		}
		out = append(out, t)
	}
	return out, nil
}

func decodeTier(i int, m map[string]any) (archive.Tier, error) {
	f := fields{at: fmt.Sprintf("tiers[%d]", i), m: m}
	t := archive.Tier{Name: archive.TierName(f.text("name"))}
	if f.err == nil && !t.Name.Valid() {
		return t, bad(f.at+".name", "must be lower-case letters, digits and hyphens, a letter first, at most 32")
	}
	f.at = "tiers." + string(t.Name)
	var class string
	t.Store, class = splitClass(f.text("store"))
	t.Class = cmp.Or(f.text("class"), class)
	if class != "" && t.Class != class {
		return t, bad(f.at+".class", "is %s, and the address in store says %s", t.Class, class)
	}
	t.Speeds = awsSpeeds(t.Class)
	t.Restore = f.truth("restore", t.Speeds != nil)
	t.Prices = f.prices(f.section("prices"))
	if speeds, given := f.list("speeds"); given {
		t.Speeds = nil
		for j, v := range speeds {
			m, ok := v.(map[string]any)
			if !ok {
				return t, bad(f.at+".speeds", "must be a list, as [{priority: standard, typical: 4h, longest: 5h}]")
			}
			s := fields{at: fmt.Sprintf("%s.speeds[%d]", f.at, j), m: maps.Clone(m)}
			t.Speeds = append(t.Speeds, s.speed())
			f.note(s.rest("priority, word, typical, longest, gb and requests"))
		}
	}
	return t, f.rest("name, store, class, restore, prices and speeds")
}

func (f *fields) prices(m map[string]any) archive.Prices {
	p := fields{at: f.at + ".prices", m: m}
	out := archive.Prices{
		GBMonth: p.number("gb-month"), Write: p.number("write"), Read: p.number("read"), RetrieveGB: p.number("retrieve-gb"), EgressGB: p.number("egress-gb"),
		MinDays: int(p.whole("min-days", 36500)), MinBytes: p.bytes("min-bytes", 1<<40), ExtraBytes: p.bytes("extra-bytes", 1<<40),
	}
	f.note(p.rest("gb-month, write, read, retrieve-gb, egress-gb, min-days, min-bytes and extra-bytes"))
	return out
}

func (f *fields) speed() archive.RestoreSpeed {
	s := archive.RestoreSpeed{
		Priority: archive.Priority(f.text("priority")), Word: f.text("word"), Typical: f.duration("typical"), Longest: f.duration("longest"),
		GB: f.number("gb"), Requests: f.number("requests"),
	}
	s.Longest = cmp.Or(s.Longest, s.Typical)
	return s
}

// fields takes values out of a map. The first that is wrong is remembered.
type fields struct {
	at  string // the key that the map stands under
	m   map[string]any
	err error
}

func (f *fields) note(err error) {
	if f.err == nil {
		f.err = err
	}
}

// rest returns what was wrong, which includes a key that nobody took.
func (f *fields) rest(known string) error {
	if f.err != nil {
		return f.err
	}
	for _, key := range slices.Sorted(maps.Keys(f.m)) {
		return bad(f.at+"."+key, "there is no such setting: %s are known", known)
	}
	return nil
}

func (f *fields) take(key string) (any, bool) {
	v, ok := f.m[key]
	delete(f.m, key)
	return v, ok && v != nil
}

// text returns a scalar as it is written; empty where it is not there.
func (f *fields) text(key string) string {
	v, ok := f.take(key)
	if !ok {
		return ""
	}
	switch v.(type) {
	case string, bool, int, int64, uint64, float64:
		return strings.TrimSpace(fmt.Sprint(v))
	}
	f.note(bad(f.at+"."+key, "must be one value"))
	return ""
}

func (f *fields) truth(key string, otherwise bool) bool {
	s := f.text(key)
	if s == "" {
		return otherwise
	}
	v, err := strconv.ParseBool(s)
	if err != nil {
		f.note(bad(f.at+"."+key, "must be true or false"))
	}
	return v
}

func (f *fields) number(key string) float64 {
	s := f.text(key)
	if s == "" {
		return 0
	}
	v, err := strconv.ParseFloat(s, 64)
	if err != nil || !(v >= 0) || math.IsInf(v, 0) {
		f.note(bad(f.at+"."+key, "must be a number, 0 or more"))
		return 0
	}
	return v
}

func (f *fields) whole(key string, most int64) int64 {
	v := f.number(key)
	if v != math.Trunc(v) || v > float64(most) {
		f.note(bad(f.at+"."+key, "must be a whole number, at most %d", most))
		return 0
	}
	return int64(v)
}

func (f *fields) bytes(key string, most int64) int64 {
	s := f.text(key)
	if s == "" {
		return 0
	}
	v, err := rule.ParseBytes(s)
	if err != nil || v > most {
		f.note(bad(f.at+"."+key, "must be a number of bytes, or a size such as 128kB or 40KiB, at most %s", rule.FormatBytes(most)))
		return 0
	}
	return v
}

func (f *fields) duration(key string) time.Duration {
	s := f.text(key)
	if s == "" {
		return 0
	}
	v, err := rule.ParseLength(s)
	if err != nil || v < 0 {
		f.note(bad(f.at+"."+key, "must be a length of time such as 5m, 12h or 2d"))
	}
	return v
}

func (f *fields) section(key string) map[string]any {
	v, ok := f.take(key)
	m, is := v.(map[string]any)
	if ok && !is {
		f.note(bad(f.at+"."+key, "must be settings below it, as gb-month: 0.02"))
	}
	return maps.Clone(m)
}

func (f *fields) list(key string) ([]any, bool) {
	v, ok := f.take(key)
	l, is := v.([]any)
	if ok && !is {
		f.note(bad(f.at+"."+key, "must be a list"))
	}
	return l, ok
}
