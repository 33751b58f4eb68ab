package tiers_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/knadh/koanf/parsers/yaml"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/internal/lifecycle/tiers"
	"github.com/strata-pacs/strata/storage"
	"github.com/strata-pacs/strata/storage/memstore"
)

// setting returns the value of `tiers` as the configuration file gives it.
func setting(t *testing.T, text string) any {
	t.Helper()
	all, err := yaml.Parser().Unmarshal([]byte("tiers: " + text))
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return all["tiers"]
}

const bucket = "s3://strata?region=eu-central-1"

func TestList(t *testing.T) {
	got, err := tiers.Read(setting(t, `
  - name: hot
    prices: {gb-month: 0.05}
  - name: cold
    store: s3://strata?class=STANDARD_IA&region=eu-central-1
  - name: deep-2
    class: GLACIER
    prices: {gb-month: 0.004, write: 0.03, read: 0.0005, retrieve-gb: "0.01", egress-gb: 0.09, min-days: 90, min-bytes: 100, extra-bytes: 40KiB}
    speeds:
      - {priority: expedited, word: Expedited, typical: 5m, longest: 1h, gb: 0.03, requests: 10}
      - {priority: bulk, typical: 8h}
  - {name: away, store: "minio://nas/strata"}
  - {name: shelf, store: "file:///srv/strata"}
`), bucket, "EUR")
	if err != nil {
		t.Fatal(err)
	}
	want := []archive.Tier{
		{Name: "hot", Prices: archive.Prices{GBMonth: 0.05}},
		{Name: "cold", Class: "STANDARD_IA"}, // the bucket is that of store
		{Name: "deep-2", Class: "GLACIER", Restore: true,
			Prices: archive.Prices{GBMonth: 0.004, Write: 0.03, Read: 0.0005, RetrieveGB: 0.01, EgressGB: 0.09, MinDays: 90, MinBytes: 100, ExtraBytes: 40960},
			Speeds: []archive.RestoreSpeed{
				{Priority: archive.Expedited, Word: "Expedited", Typical: 5 * time.Minute, Longest: time.Hour, GB: 0.03, Requests: 10},
				{Priority: archive.Bulk, Typical: 8 * time.Hour, Longest: 8 * time.Hour},
			}},
		{Name: "away", Store: "minio://nas/strata"},
		{Name: "shelf", Store: "file:///srv/strata"},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

func TestHotClassIsThatOfTheStore(t *testing.T) {
	got, err := tiers.Read(setting(t, "[{name: hot}, {name: cold, class: GLACIER_IR}]"), bucket+"&class=STANDARD_IA", "USD")
	if err != nil || got[0].Class != "STANDARD_IA" || got[1].Store != "" {
		t.Errorf("%+v, %v", got, err)
	}
	if _, err := tiers.Read(setting(t, "[{name: hot}, {name: cold, class: STANDARD_IA}]"), bucket+"&class=STANDARD_IA", "USD"); !fault.Is(err, fault.Invalid) {
		t.Errorf("a tier that is the hot one: %v", err)
	}
}

// TestStandard: the class that a store gives by itself has no name, but beside another default.
func TestStandard(t *testing.T) {
	for _, c := range []struct{ text, hot, hotClass, class string }{
		{"[{name: hot}, {name: a, store: 's3://b', class: STANDARD}]", bucket, "", ""},
		{"[{name: hot}, {name: a, store: 's3://b?class=STANDARD'}]", "", "", ""},
		{"[{name: hot}, {name: a, class: IA}]", bucket + "&class=STANDARD", "", "IA"},
		{"[{name: hot}, {name: a, class: STANDARD}]", bucket + "&class=IA", "IA", "STANDARD"},
	} {
		got, err := tiers.Read(setting(t, c.text), c.hot, "USD")
		if err != nil || got[0].Class != c.hotClass || got[1].Class != c.class {
			t.Errorf("%s: %+v, %v", c.text, got, err)
		}
	}
	if _, err := tiers.Read(setting(t, "[{name: hot}, {name: a, class: STANDARD}]"), bucket, "USD"); !fault.Is(err, fault.Invalid) {
		t.Errorf("a tier that is the hot one: %v", err)
	}
}

func TestPresets(t *testing.T) {
	type tier struct {
		Name         archive.TierName
		Store, Class string
		Restore      bool
		Speeds       int
	}
	for _, c := range []struct {
		preset, hot string
		want        []tier
	}{
		{"one-disk", "", []tier{{Name: "hot"}}},
		{"one-disk", bucket, []tier{{Name: "hot"}}},
		{"aws", bucket, []tier{{Name: "hot"}, {"cold", "", "GLACIER_IR", false, 0}, {"archive", "", "DEEP_ARCHIVE", true, 2}}},
		{"aws s3://strata-cold?region=eu-central-1", bucket, []tier{{Name: "hot"},
			{"cold", "s3://strata-cold?region=eu-central-1", "GLACIER_IR", false, 0}, {"archive", "s3://strata-cold?region=eu-central-1", "DEEP_ARCHIVE", true, 2}}},
		{"on-premises s3://strata-cold", "", []tier{{Name: "hot"}, {"cold", "s3://strata-cold", "GLACIER_IR", false, 0}, {"archive", "s3://strata-cold", "DEEP_ARCHIVE", true, 2}}},
	} {
		list, err := tiers.Read(c.preset, c.hot, "USD")
		if err != nil {
			t.Errorf("%s: %v", c.preset, err)
			continue
		}
		var got []tier
		for _, l := range list {
			got = append(got, tier{l.Name, l.Store, l.Class, l.Restore, len(l.Speeds)})
		}
		if d := cmp.Diff(c.want, got); d != "" {
			t.Errorf("%s: %s", c.preset, d)
		}
		if zero := list[0].Prices == (archive.Prices{}); zero != !strings.HasPrefix(c.preset, "aws") {
			t.Errorf("%s: the hot tier costs %+v", c.preset, list[0].Prices)
		}
		for _, l := range list[1:] {
			if l.Prices.GBMonth <= 0 || l.Prices.MinDays < 90 || (l.Prices.EgressGB > 0) != strings.HasPrefix(c.preset, "on-") {
				t.Errorf("%s: %s costs %+v", c.preset, l.Name, l.Prices)
			}
		}
	}
}

// TestFormat: what is printed is read as the same.
func TestFormat(t *testing.T) {
	for _, c := range []struct{ text, hot string }{
		{"one-disk", ""}, {"aws", bucket}, {"aws", bucket + "&class=STANDARD_IA"}, {"on-premises s3://b", ""},
		{`[{name: hot, prices: {write: 0.0000001, min-days: 3}}, {name: "a", class: "GLACIER", store: "s3://b", speeds: [{priority: bulk, typical: 90m, word: "a \"word\""}]}]`, ""},
	} {
		want, err := tiers.Read(setting(t, c.text), c.hot, "USD")
		if err != nil {
			t.Fatal(err)
		}
		printed := tiers.Format(want)
		got, err := tiers.Read(setting(t, "\n"+printed), c.hot, "USD")
		if err != nil {
			t.Fatalf("%v\n%s", err, printed)
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("%s: %s\n%s", c.text, d, printed)
		}
	}
}

func TestWrongSettingsAreNamed(t *testing.T) {
	const two = "[{name: hot}, {name: cold, "
	for _, c := range []struct{ text, hot, want string }{
		{"some-disks", "", `tiers: there is no preset "some-disks"`},
		{"17", "", "tiers: must be a preset"},
		{"[]", "", "tiers: the first must be named hot"},
		{"[hot]", "", "tiers[0]: must be a tier"},
		{"[{name: cold}]", "", "tiers: the first must be named hot"},
		{"[{}]", "", "tiers[0].name: must be"},
		{"[{name: Hot}]", "", "tiers[0].name: must be"},
		{"[{name: [hot]}]", "", "tiers[0].name: must be one value"},
		{"[" + strings.Repeat("{name: hot}, ", 17) + "]", "", "tiers: there are more than 16"},
		{"one-disk s3://b", "", "tiers: the preset one-disk takes no address"},
		{"aws", "", "tiers: the preset aws needs a bucket in store"},
		{"aws minio://b", bucket, "tiers: what follows the preset aws"},
		{"aws s3://b?class=GLACIER", bucket, "tiers: the address that follows aws must not name a class"},
		{"on-premises", "", "tiers: the preset on-premises needs the address"},
		{"[{name: hot, store: 's3://b'}]", "", "tiers.hot.store: must be left out"},
		{"[{name: hot, class: GLACIER}]", bucket, "tiers.hot.restore: must be false"},
		{"[{name: hot, class: STANDARD_IA}]", bucket, "tiers.hot.class: must be left out"},
		{"[{name: hot, class: X}]", "", "tiers.hot.class: must be left out"},
		{two + "stoer: x}]", "", "tiers.cold.stoer: there is no such setting"},
		{two + "store: 'ftp://x'}]", "", "tiers.cold.store: must begin with"},
		{two + "store: 's3://'}]", "", "tiers.cold.store: must begin with"},
		{two + "class: COLD}]", "", "tiers.cold.class: folders have no storage classes"},
		{two + "store: 'file:///x', class: COLD}]", bucket, "tiers.cold.class: folders have no storage classes"},
		{two + "store: 'file:///x', restore: true}]", "", "tiers.cold.restore: what lies in a folder"},
		{two + "store: 's3://b', restore: true}]", "", "tiers.cold.class: name the class"},
		{two + "store: 's3://b', class: VAULT, restore: true}]", "", "tiers.cold.speeds: say how"},
		{two + "store: 's3://b', class: GLACIER, restore: no-idea}]", "", "tiers.cold.restore: must be true or false"},
		{two + "store: 's3://b', class: GLACIER, restore: false}]", "", "tiers.cold.restore: must be true"},
		{two + "store: 's3://b?class=GLACIER', class: GLACIER_IR}]", "", "tiers.cold.class: is GLACIER_IR, and"},
		{two + "store: 's3://b', speeds: [{priority: bulk, typical: 1h}]}]", "", "tiers.cold.speeds: only a tier with restore"},
		{two + "store: 's3://b', class: GLACIER, speeds: [bulk]}]", "", "tiers.cold.speeds: must be a list"},
		{two + "store: 's3://b', class: GLACIER, speeds: bulk}]", "", "tiers.cold.speeds: must be a list"},
		{two + "store: 's3://b', class: GLACIER, speeds: [{priority: soon, typical: 1h}]}]", "", "tiers.cold.speeds: a priority must be"},
		{two + "store: 's3://b', class: GLACIER, speeds: [{priority: bulk, typical: 1h}, {priority: standard, typical: 1h}]}]", "", "tiers.cold.speeds: each priority stands there once"},
		{two + "store: 's3://b', class: GLACIER, speeds: [{priority: bulk}]}]", "", "tiers.cold.speeds: typical of bulk"},
		{two + "store: 's3://b', class: GLACIER, speeds: [{priority: bulk, typical: 2h, longest: 1h}]}]", "", "tiers.cold.speeds: longest of bulk"},
		{two + "store: 's3://b', class: GLACIER, speeds: [{priority: bulk, typical: soon}]}]", "", "tiers.cold.speeds[0].typical: must be a length"},
		{two + "store: 's3://b', class: GLACIER, speeds: [{priority: bulk, typical: 1h, price: 3}]}]", "", "tiers.cold.speeds[0].price: there is no such setting"},
		{two + "store: 's3://b', prices: 3}]", "", "tiers.cold.prices: must be settings below it"},
		{two + "store: 's3://b', prices: {gb-month: -1}}]", "", "tiers.cold.prices.gb-month: must be a number"},
		{two + "store: 's3://b', prices: {gb-month: .nan}}]", "", "tiers.cold.prices.gb-month: must be a number"},
		{two + "store: 's3://b', prices: {gb-month: .inf}}]", "", "tiers.cold.prices.gb-month: must be a number"},
		{two + "store: 's3://b', prices: {gb-month: much}}]", "", "tiers.cold.prices.gb-month: must be a number"},
		{two + "store: 's3://b', prices: {min-days: 1.5}}]", "", "tiers.cold.prices.min-days: must be a whole number"},
		{two + "store: 's3://b', prices: {min-bytes: 1e30}}]", "", "tiers.cold.prices.min-bytes: must be a number of bytes"},
		{two + "store: 's3://b', prices: {gigabytes: 1}}]", "", "tiers.cold.prices.gigabytes: there is no such setting"},
		{"[{name: hot}, {name: hot, store: 's3://b'}]", "", "tiers.hot: there are two"},
		{"[{name: hot}, {name: cold}]", bucket, "tiers.cold: it has the store and the class of tier hot"},
		{"[{name: hot}, {name: a, store: 's3://b?class=X'}, {name: b, store: 's3://b', class: X}]", "", "tiers.b: it has the store and the class of tier a"},
	} {
		_, err := tiers.Read(setting(t, c.text), c.hot, "USD")
		if !fault.Is(err, fault.Invalid) || !strings.HasPrefix(fault.Message(err), c.want) {
			t.Errorf("%s: %v, want %s", c.text, err, c.want)
		}
	}
	if _, err := tiers.Read("aws", bucket, "EUR"); !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), "currency is EUR") {
		t.Errorf("prices in another currency: %v", err)
	}
	// What is wrong at first is said first.
	if _, err := tiers.Read("gcp", bucket, "EUR"); err == nil || !strings.Contains(err.Error(), `no preset "gcp"`) {
		t.Errorf("an unknown preset: %v", err)
	}
}

func FuzzRead(f *testing.F) {
	for _, s := range []string{"aws", "[{name: hot}]", "[{name: hot, prices: {gb-month: 1}}, {name: a, store: 's3://b?class=%zz&x', speeds: [{}]}]", "{a: [1]}", "[null, 3, [x]]"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		all, err := yaml.Parser().Unmarshal([]byte("tiers: " + text))
		if err != nil {
			return
		}
		list, err := tiers.Read(all["tiers"], bucket, "USD")
		if err != nil {
			if !fault.Is(err, fault.Invalid) {
				t.Errorf("%v", err)
			}
			return
		}
		again, err := yaml.Parser().Unmarshal([]byte("tiers:\n" + tiers.Format(list)))
		if err != nil {
			t.Fatalf("%v\n%s", err, tiers.Format(list))
		}
		got, err := tiers.Read(again["tiers"], bucket, "USD")
		if err != nil || cmp.Diff(list, got) != "" {
			t.Errorf("%v: %s", err, cmp.Diff(list, got))
		}
	})
}

func TestStores(t *testing.T) {
	own, other := storage.New(memstore.New(memstore.Options{})), storage.New(memstore.New(memstore.Options{}))
	s := tiers.NewStores([]archive.Tier{{Name: "hot"}, {Name: "cold", Class: "A"}, {Name: "archive", Store: "s3://b", Class: "B", Restore: true}},
		map[string]*storage.Bucket{"": own, "s3://b": other})
	for name, want := range map[archive.TierName]*storage.Bucket{"hot": own, "cold": own, "archive": other} {
		if b, tier, ok := s.Tier(name); b != want || tier.Name != name || !ok {
			t.Errorf("%s: %v, %v", name, tier, ok)
		}
	}
	if b, _, ok := s.Tier("none"); ok || b != nil {
		t.Error("a tier that is not configured has a store")
	}
	for name, want := range map[archive.TierName]archive.Availability{"hot": archive.Online, "cold": archive.Online, "archive": archive.Nearline, "none": archive.Unavailable} {
		if got := s.Availability(name); got != want {
			t.Errorf("%s is %s, want %s", name, got, want)
		}
	}
	alone := tiers.NewStores(nil, map[string]*storage.Bucket{"": own})
	if b, tier, ok := alone.Tier(archive.HotTier); b != own || !ok || tier.Store != "" || len(alone.All()) != 1 {
		t.Errorf("without tiers: %v, %v", tier, ok)
	}
}
