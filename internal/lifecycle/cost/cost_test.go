package cost_test

import (
	"math"
	"testing"
	"time"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/lifecycle/cost"
)

const day = 24 * time.Hour

// The prices of these examples are round, so that they can be reckoned by hand.
var (
	hot  = archive.Tier{Name: "hot", Store: "s3://a", Prices: archive.Prices{GBMonth: 0.02, Write: 0.005, Read: 0.0004}}
	cold = archive.Tier{Name: "cold", Store: "s3://a", Class: "COLD", Prices: archive.Prices{GBMonth: 0.005, Write: 0.02, Read: 0.01, RetrieveGB: 0.03, MinDays: 90, MinBytes: 128_000}}
	deep = archive.Tier{Name: "archive", Store: "s3://a", Class: "DEEP", Restore: true,
		Prices: archive.Prices{GBMonth: 0.001, Write: 0.05, Read: 0.0004, MinDays: 180, ExtraBytes: 40_000, EgressGB: 0.09},
		Speeds: []archive.RestoreSpeed{
			{Priority: archive.Standard, Word: "Standard", Typical: 9 * time.Hour, Longest: 12 * time.Hour, GB: 0.02, Requests: 0.1},
			{Priority: archive.Bulk, Word: "Bulk", Typical: 40 * time.Hour, Longest: 48 * time.Hour, GB: 0.0025, Requests: 0.025},
		}}
	away = archive.Tier{Name: "away", Store: "s3://b", Prices: archive.Prices{GBMonth: 0.004, Write: 0.01, Read: 0.002, EgressGB: 0.05}}
	disk = archive.Tier{Name: "hot"}
)

func near(t *testing.T, what string, got, want float64) {
	t.Helper()
	if math.Abs(got-want) > 1e-9*max(1, math.Abs(want)) {
		t.Errorf("%s: %v, want %v", what, got, want)
	}
}

func TestMonth(t *testing.T) {
	for _, c := range []struct {
		name    string
		p       archive.Prices
		l       cost.Load
		charged int64
		want    float64
	}{
		{"nothing", hot.Prices, cost.Load{}, 0, 0},
		// 500 GB × 0.02
		{"bytes alone", hot.Prices, cost.Load{Objects: 1000, Bytes: 500e9}, 500e9, 10},
		// A thousand objects of 10 kB are charged as 128 kB each: 0.128 GB × 0.005
		{"below the least size", cold.Prices, cost.Load{Objects: 1000, Bytes: 10e6}, 128e6, 0.00064},
		{"at the least size", cold.Prices, cost.Load{Objects: 1000, Bytes: 128e6}, 128e6, 0.00064},
		// One byte more than the least is charged as it is.
		{"above the least size", cold.Prices, cost.Load{Objects: 1, Bytes: 128_001}, 128_001, 128_001e-9 * 0.005},
		// A million objects of 40 kB, and 40 kB more for each: 80 GB × 0.001
		{"overhead", deep.Prices, cost.Load{Objects: 1e6, Bytes: 40e9}, 80e9, 0.08},
		{"a disk", disk.Prices, cost.Load{Objects: 1, Bytes: 1e12}, 1e12, 0},
	} {
		if got := cost.Charged(c.p, c.l); got != c.charged {
			t.Errorf("%s: %d bytes are charged, want %d", c.name, got, c.charged)
		}
		near(t, c.name, cost.Month(c.p, c.l), c.want)
	}
}

func TestEarly(t *testing.T) {
	l := cost.Load{Objects: 10, Bytes: 73e9}
	// 73 GB × 0.005 = 0.365 a month of 730 hours, so 0.0005 an hour.
	for _, c := range []struct {
		name string
		lain time.Duration
		want float64
	}{
		{"at once: 90 days are 2160 hours", 0, 1.08},
		{"before it came", -day, 1.08},
		{"after 30 days, 60 are left: 1440 hours", 30 * day, 0.72},
		{"an hour before the end", 90*day - time.Hour, 0.0005},
		{"at the end", 90 * day, 0},
		{"later", 900 * day, 0},
	} {
		near(t, c.name, cost.Early(cold.Prices, l, c.lain), c.want)
	}
	near(t, "without a minimum", cost.Early(hot.Prices, l, 0), 0)
}

func TestMove(t *testing.T) {
	l := cost.Load{Objects: 2000, Bytes: 1e12}
	for _, c := range []struct {
		name     string
		from, to archive.Tier
		lain     time.Duration
		want     cost.Bill
	}{
		{"nowhere", cold, cold, 0, cost.Bill{}},
		// 2 × 0.02 for the writes; the standard class has no retrieval price.
		{"class change down", hot, cold, 0, cost.Bill{Requests: 0.04}},
		// 2 × 0.05; 1000 GB × 0.03 are retrieved; 30 of 90 days are left: 5 a month × 720/730
		{"class change with early leaving", cold, deep, 60 * day, cost.Bill{Requests: 0.1, Retrieval: 30, Early: 5 * 720.0 / 730}},
		// 2 × (0.0004 read + 0.01 written + 0.002 read back), 1000 GB × 0.05 leave there to be verified
		{"another store", hot, away, 0, cost.Bill{Requests: 0.0248, Transfer: 50}},
		// A disk costs nothing; 2 × (2 × 0.02 written in two classes + 0.01 read back)
		{"from a disk into a class", disk, cold, 0, cost.Bill{Requests: 0.1}},
		// 2 × 0.002 read; 1000 GB × 0.05 leave
		{"back to a disk", away, disk, 0, cost.Bill{Requests: 0.004, Transfer: 50}},
	} {
		got := cost.Move(c.from, c.to, l, c.lain)
		near(t, c.name+": requests", got.Requests, c.want.Requests)
		near(t, c.name+": retrieval", got.Retrieval, c.want.Retrieval)
		near(t, c.name+": transfer", got.Transfer, c.want.Transfer)
		near(t, c.name+": early", got.Early, c.want.Early)
		near(t, c.name+": copies", got.Copies, 0)
		near(t, c.name+": total", got.Total(), c.want.Total())
	}
}

func TestRestore(t *testing.T) {
	// A CT study of 1.5 GB in three packs, kept for 73 hours, a tenth of a month:
	// 0.003 × (0.1 + 0.0004), 1.5 × 0.02, 1.5 × 0.09, 1.5 × 0.02 / 10
	l := cost.Load{Objects: 3, Bytes: 1_500_000_000}
	got := cost.Restore(deep, deep.Speeds[0], l, 73*time.Hour, hot.Prices.GBMonth)
	near(t, "requests", got.Requests, 0.0003012)
	near(t, "retrieval", got.Retrieval, 0.03)
	near(t, "transfer", got.Transfer, 0.135)
	near(t, "copies", got.Copies, 0.003)
	near(t, "total", got.Total(), 0.1683012)
	twice := got.Add(got)
	near(t, "twice", twice.Total(), 2*0.1683012)
	// By bulk 1.5 × 0.0025
	near(t, "bulk", cost.Restore(deep, deep.Speeds[1], l, 0, 0).Retrieval, 0.00375)
	// Read where it can be read at once: 0.003 × 0.01, 1.5 × 0.03
	near(t, "cold read", cost.Read(cold.Prices, l).Total(), 0.04503)
}

func TestLoadAdd(t *testing.T) {
	if got := (cost.Load{Objects: 1, Bytes: 2}).Add(cost.Load{Objects: 3, Bytes: 5}); got != (cost.Load{Objects: 4, Bytes: 7}) {
		t.Error(got)
	}
}

func TestTime(t *testing.T) {
	s := deep.Speeds[0]
	for _, c := range []struct {
		name             string
		s                archive.RestoreSpeed
		bytes            int64
		throughput       float64
		typical, longest time.Duration
	}{
		{"throughput not known", s, 1e12, 0, 9 * time.Hour, 12 * time.Hour},
		// 36 GB at 10 MB/s are an hour.
		{"with bytes", s, 36e9, 10e6, 10 * time.Hour, 13 * time.Hour},
		{"no longest", archive.RestoreSpeed{Typical: time.Hour}, 0, 1, time.Hour, time.Hour},
		{"does not overflow", s, math.MaxInt64, 1e-9, 9*time.Hour + 20*365*day, 12*time.Hour + 20*365*day},
	} {
		typical, longest := cost.Time(c.s, c.bytes, c.throughput)
		if typical != c.typical || longest != c.longest {
			t.Errorf("%s: %v and %v, want %v and %v", c.name, typical, longest, c.typical, c.longest)
		}
	}
}

func TestSpeed(t *testing.T) {
	all := archive.Tier{Speeds: []archive.RestoreSpeed{{Priority: archive.Expedited}, {Priority: archive.Standard}, {Priority: archive.Bulk}}}
	for _, c := range []struct {
		name string
		t    archive.Tier
		p    archive.Priority
		want archive.Priority
		ok   bool
	}{
		{"all: expedited", all, archive.Expedited, archive.Expedited, true},
		{"all: standard", all, archive.Standard, archive.Standard, true},
		{"all: bulk", all, archive.Bulk, archive.Bulk, true},
		{"none faster than standard", deep, archive.Expedited, archive.Standard, true},
		{"bulk", deep, archive.Bulk, archive.Bulk, true},
		{"nothing slower", archive.Tier{Speeds: all.Speeds[:1]}, archive.Bulk, archive.Expedited, true},
		{"of no name: the slowest", all, "", archive.Bulk, true},
		{"no restore", hot, archive.Standard, "", false},
	} {
		if got, ok := cost.Speed(c.t, c.p); got.Priority != c.want || ok != c.ok {
			t.Errorf("%s: %q, %v", c.name, got.Priority, ok)
		}
	}
}
