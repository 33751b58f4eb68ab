package archive

import "time"

// RestoreRequest says what to restore: studies, or all of a patient, or what a query finds.
type RestoreRequest struct {
	Studies           []string // Study Instance UIDs
	PatientID, Issuer string   // exactly; an empty issuer is any
	// Query is the query part of a URL, as a search for studies has it (PS3.18 §10.6.1.2).
	Query string
	// First is what somebody waits for of the only study: its packs come first. Study is not looked at.
	First    UIDs
	Priority Priority      // empty: the default
	For      time.Duration // how long the copies stay; 0: the default
	By       string        // who asked
	Webhook  string        // URL that is told when it has ended; empty: none
}

// RestoreEstimate is what a restore would take.
type RestoreEstimate struct {
	Studies int // found
	Packs   int // objects to restore, which is less than there are where some can be read
	Bytes   int64
	// Currency of the costs, ISO 4217.
	Currency string
	// Choices, the most urgent first; none when everything can be read.
	Choices []RestoreChoice
}

// RestoreChoice is what a restore takes at a priority.
type RestoreChoice struct {
	Priority         Priority
	Typical, Longest time.Duration // until the last object can be read, its turn awaited
	Cost             float64       // in the currency of the configuration
}

// Appointment is a visit that is to come: earlier studies of the patient will be wanted.
type Appointment struct {
	PatientID, Issuer  string
	At                 time.Time
	Modality, BodyPart string // of what is planned: earlier studies like it go first; empty: any
	Priors             int    // most studies to have ready
}

// Prefetch is what became of appointments.
type Prefetch struct {
	Restore  RestoreStatus // of all that has to be restored; without an ID when there is nothing
	Priors   int           // studies that were picked
	Readable int           // of them could be read already; they are not moved into a cache
	Late     int           // of them will hardly be ready in time
	Past     int           // appointments that were before now: nothing is done for them
}

// Priorities are all priorities, the most urgent first.
func Priorities() []Priority { return []Priority{Expedited, Standard, Bulk} }

// Rank orders priorities: 0 is the most urgent. What is none of them comes last.
func (p Priority) Rank() int {
	for i, q := range Priorities() {
		if p == q {
			return i
		}
	}
	return len(Priorities())
}

// Valid reports whether the priority is one of them.
func (p Priority) Valid() bool { return p.Rank() < len(Priorities()) }

// Ended reports whether nothing more will happen to the restore, but that its copies go.
func (s RestoreState) Ended() bool { return s != RestoreWaiting && s != RestoreRunning }
