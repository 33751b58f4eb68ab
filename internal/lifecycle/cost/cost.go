// Package cost reckons what objects cost in a tier, what moving and restoring
// them costs, and how long a restore takes, from the prices of the configuration.
// It is arithmetic alone: estimates for people who decide. Free allowances,
// discounts by volume and taxes are not in it.
//
// Amounts are in the currency of the configuration, not rounded. As with
// [archive.Prices], a GB is 10^9 bytes and a month is 730 hours.
package cost

import (
	"time"

	"github.com/strata-pacs/strata/internal/archive"
)

const (
	gb    = 1e9
	month = 730 * time.Hour
	day   = 24 * time.Hour
)

// Load is what is stored, moved or restored: so many objects with so many bytes
// together. What is charged by the size of each object takes them for equally large;
// settled packs are far above every minimum, where that makes no difference.
type Load struct {
	Objects int64
	Bytes   int64
}

// Add returns both loads together.
func (l Load) Add(o Load) Load { return Load{l.Objects + o.Objects, l.Bytes + o.Bytes} }

func (l Load) gb() float64        { return float64(l.Bytes) / gb }
func (l Load) thousands() float64 { return float64(l.Objects) / 1000 }

// Charged returns the bytes that the tier charges for: at least MinBytes for
// each object, and ExtraBytes on top.
func Charged(p archive.Prices, l Load) int64 {
	return max(l.Bytes, l.Objects*p.MinBytes) + l.Objects*p.ExtraBytes
}

// Month returns what the load costs a month, as long as it lies still.
func Month(p archive.Prices, l Load) float64 {
	return float64(Charged(p, l)) / gb * p.GBMonth
}

// Early returns what is charged for the rest of the minimum days when the load
// leaves the tier, or is deleted, after lying there for so long.
func Early(p archive.Prices, l Load, lain time.Duration) float64 {
	rest := time.Duration(p.MinDays)*day - max(lain, 0)
	if rest <= 0 {
		return 0
	}
	return Month(p, l) * float64(rest) / float64(month)
}

// Bill is what something costs once, by what it is charged for.
type Bill struct {
	Requests  float64 // reading and writing objects
	Retrieval float64 // bytes read, or restored
	Transfer  float64 // bytes that leave the provider's network
	Early     float64 // the rest of the minimum days in the tier that is left
	Copies    float64 // storage of the readable copies of a restore
}

// Total returns the sum.
func (b Bill) Total() float64 {
	return b.Requests + b.Retrieval + b.Transfer + b.Early + b.Copies
}

// Add returns both bills together.
func (b Bill) Add(o Bill) Bill {
	return Bill{b.Requests + o.Requests, b.Retrieval + o.Retrieval, b.Transfer + o.Transfer, b.Early + o.Early, b.Copies + o.Copies}
}

// Move returns what moving the load from one tier to another costs, after it
// has lain in the first for so long. What must be restored before it can be moved costs
// [Restore] as well.
//
// In one store an object changes its class in place, which is a write there and a
// retrieval here. To another store it is read here, written there and
// read back; into a class it is written twice: see package move.
func Move(from, to archive.Tier, l Load, lain time.Duration) Bill {
	if from.Name == to.Name {
		return Bill{}
	}
	b := Bill{
		Requests:  l.thousands() * to.Prices.Write,
		Retrieval: l.gb() * from.Prices.RetrieveGB,
		Early:     Early(from.Prices, l, lain),
	}
	if from.Store == to.Store {
		return b
	}
	b.Requests += l.thousands() * (from.Prices.Read + to.Prices.Read)
	if to.Class != "" {
		b.Requests += l.thousands() * to.Prices.Write
	}
	// The copy is read back from where it went, too.
	b.Transfer = l.gb() * (from.Prices.EgressGB + to.Prices.EgressGB)
	return b
}

// Restore returns what it costs to restore the load and to read it once, when
// the readable copies stay for so long at the price of a GB and month of the store's default class.
func Restore(t archive.Tier, s archive.RestoreSpeed, l Load, keep time.Duration, copyGBMonth float64) Bill {
	return Bill{
		Requests:  l.thousands() * (s.Requests + t.Prices.Read),
		Retrieval: l.gb() * s.GB,
		Transfer:  l.gb() * t.Prices.EgressGB,
		Copies:    l.gb() * copyGBMonth * float64(keep) / float64(month),
	}
}

// Read returns what it costs to read the load once where it can be read at once.
func Read(p archive.Prices, l Load) Bill {
	return Bill{Requests: l.thousands() * p.Read, Retrieval: l.gb() * p.RetrieveGB, Transfer: l.gb() * p.EgressGB}
}

// Time returns how long a restore of so many bytes takes as a rule, and at most
// nearly always: what the tier says of its speed, and the bytes at the throughput in
// bytes a second. A throughput of 0 is not known, and adds nothing.
func Time(s archive.RestoreSpeed, bytes int64, throughput float64) (typical, longest time.Duration) {
	var moving time.Duration
	if throughput > 0 {
		// No restore takes years; beyond that the sum would overflow.
		moving = time.Duration(min(float64(bytes)/throughput, (20*365*day).Seconds()) * float64(time.Second))
	}
	return s.Typical + moving, max(s.Longest, s.Typical) + moving
}

// Speed returns how the tier restores at a priority. Where it has no such speed it
// is the next slower one, or the slowest there is; false where the tier has none.
func Speed(t archive.Tier, p archive.Priority) (archive.RestoreSpeed, bool) {
	for _, s := range t.Speeds {
		if urgency(s.Priority) <= urgency(p) {
			return s, true
		}
	}
	if len(t.Speeds) == 0 {
		return archive.RestoreSpeed{}, false
	}
	return t.Speeds[len(t.Speeds)-1], true
}

// urgency orders priorities; what is none of them is least urgent.
func urgency(p archive.Priority) int {
	switch p {
	case archive.Expedited:
		return 3
	case archive.Standard:
		return 2
	case archive.Bulk:
		return 1
	}
	return 0
}
