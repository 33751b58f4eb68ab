package archive

import "time"

// RestoreState says how far a restore is.
type RestoreState string

// The states of a restore.
const (
	RestoreWaiting   RestoreState = "waiting" // for its turn
	RestoreRunning   RestoreState = "running" // the store was asked
	RestoreDone      RestoreState = "done"    // everything can be read until Until
	RestoreFailed    RestoreState = "failed"
	RestoreCancelled RestoreState = "cancelled"
	RestoreExpired   RestoreState = "expired" // the readable copies are gone again
	// RestoreUnreadable are those of which no state is known as what was written down of them cannot be read. They are counted, and are in no other answer.
	RestoreUnreadable RestoreState = "unreadable"
)

// RestoreStatus is a restore as those who wait for it see it. It says nothing about a person.
type RestoreStatus struct {
	ID       string // ULID text
	Tenant   Tenant
	State    RestoreState
	Priority Priority
	Studies  int
	Packs    int // objects to restore
	PacksIn  int // that can be read
	Bytes    int64
	BytesIn  int64
	Asked    time.Time
	// Ready is when the last object is expected; an estimate until State is done, then when it was.
	Ready time.Time
	// Until is when the readable copies go; zero before Ready.
	Until    time.Time
	Cost     float64 // estimated, in the currency of the configuration
	Failure  string  // why it failed, for the operator
	Requests int     // that share it
}
