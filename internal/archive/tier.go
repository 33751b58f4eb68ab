package archive

import (
	"time"
)

// TierName names a tier of the configuration: lower-case letters, digits and
// hyphens, at most 32, a letter first.
type TierName string

// HotTier is where everything is written first, and where the log, the keys and
// the thumbnails stay.
const HotTier TierName = "hot"

// Valid reports whether the name may stand in the configuration and in facts.
func (t TierName) Valid() bool {
	if len(t) == 0 || len(t) > 32 || t[0] < 'a' || t[0] > 'z' {
		return false
	}
	for _, c := range []byte(t) {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' {
			return false
		}
	}
	return true
}

// Tier is a store plus a storage class, with what it costs. Tiers of one store
// differ in class: an object moves between them in place. Between stores it is copied.
type Tier struct {
	Name TierName
	// Store is the address of the store: equal for tiers that share one. Empty: the node's own.
	Store string
	Class string // storage class in the store's own words; empty for its default
	// Restore: objects cannot be read before they are restored.
	Restore bool
	Prices  Prices
	// Speeds are the ways of restoring, the fastest first; none unless Restore.
	Speeds []RestoreSpeed
}

// Prices are what a tier costs, in the currency of the configuration. A GB is 10^9 bytes.
type Prices struct {
	GBMonth    float64 // storage of a GB for a month of 730 hours
	Write      float64 // a thousand objects written, or moved into the class
	Read       float64 // a thousand objects read
	RetrieveGB float64 // a GB read, beside what a restore costs
	EgressGB   float64 // a GB sent out of the provider's network
	// MinDays are charged for at least, however early an object leaves, and
	// MinBytes for each object at least, plus ExtraBytes of overhead.
	MinDays              int
	MinBytes, ExtraBytes int64
}

// Priority says how urgent a restore is.
type Priority string

// The priorities of a restore; a tier need not have all of them.
const (
	Expedited Priority = "expedited"
	Standard  Priority = "standard"
	Bulk      Priority = "bulk"
)

// RestoreSpeed is what a tier's restore takes and costs at a priority.
type RestoreSpeed struct {
	Priority Priority
	Word     string        // the store's own word for it, for ThawOptions.Speed
	Typical  time.Duration // until an object can be read, as a rule
	Longest  time.Duration // until it can be read, nearly always
	GB       float64       // price of a GB restored
	Requests float64       // price of a thousand objects restored
}

// PackPlace says where a pack is.
type PackPlace struct {
	Object string // key of the object, the same in every tier
	Size   int64  // bytes
	Digest Digest // plain BLAKE3-256, as the pack's trailer has it; zero when not known
	Tier   TierName
	// From is the tier of another store whose copy is to be deleted after a hold;
	// empty when there is none: the object changed its class where it lies, or is new.
	From TierName
}

// LogRange names numbers of a session's log, both ends included.
type LogRange struct {
	Session string
	Range
}

// PackState is what the index knows of a pack of a study.
type PackState struct {
	PackPlace        // From is unset
	Fact      FactID // that placed it there; zero: it was stored there
	// Restored is until when a readable copy stays, of a tier that needs a restore; zero: there is none.
	Restored time.Time
}

// LogEntry is a live entry of the log about a study: a stored, settled or moved fact that no settled one supersedes.
type LogEntry struct {
	Session string
	N       uint64
	Fact    FactID
	Kind    FactKind
	Key     KeyID // that seals it; zero of a moved fact
	Size    int64 // bytes of the log object, bodies included
}

// TierUsage is what a tier holds of a tenant: objects of the log, and packs, those that are doomed included.
type TierUsage struct {
	Tier           TierName
	Objects, Bytes int64
}

// Doomed is an object that is to be deleted when a grace after Since has passed.
type Doomed struct {
	ID     int64 // row identity, ascending
	Object string
	Tier   TierName  // whose copy goes
	Size   int64     // bytes
	Since  time.Time // of the fact that let go of it
	Moved  bool      // its copy in another tier is the one that counts; else nothing names it any more
}
