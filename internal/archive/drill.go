package archive

import "time"

// RecoveryDrill says how restoring an archive is to be tried: studies are drawn,
// read from the coldest copy there is, and compared with the log.
type RecoveryDrill struct {
	Studies  int      // to draw, each as likely as any other
	Bytes    int64    // most bytes to copy; studies that do not fit in are left out
	Seed     uint64   // the same studies are drawn of the same archive; 0: one is made up
	Priority Priority // of restores; empty: bulk, which costs least
	// NoRestore leaves out studies that would have to be restored first.
	NoRestore bool
	// FromLog draws from the log, all of which is looked through, and asks the index nothing.
	FromLog bool
}

// DrillFailure is something that could not be restored. It names an object, never a patient.
type DrillFailure struct {
	What   string // a sentence
	Object string // its name in the store; empty when it is about the index
}

// DrillTier is what a drill read of a tier.
type DrillTier struct {
	Tier     TierName
	Objects  int64
	Bytes    int64
	Restored int64 // objects that had to be restored first
	Copying  time.Duration
	Cost     float64 // in the currency of the configuration
}

// DrillTimes says what a drill spent its time on.
type DrillTimes struct {
	Drawing  time.Duration
	Waiting  time.Duration // for restores
	Reading  time.Duration // the log: fetching and opening facts
	Copying  time.Duration // packs
	Checking time.Duration // digests of packs, and opening instances
}

// RecoveryReport is the outcome of a drill. It says nothing about a person.
type RecoveryReport struct {
	At   time.Time // when it began
	Seed uint64
	// Of is what was drawn from.
	Of struct {
		Studies, Instances int64 // Instances: 0 when not known
		Facts              int64 // entries of the log; 0 when not known
	}
	Studies, Instances, Facts, Objects int64
	Bytes                              int64 // copied, as ciphertext

	// Studies that were drawn and left out: for want of room in Bytes, because they would have to be
	// restored, or because they changed time and again while they were read.
	TooLarge, Unreadable, Changing int64

	Failures     []DrillFailure
	MoreFailures int // past those listed
	Times        DrillTimes
	Tiers        []DrillTier
	Cost         float64
	Whole        RecoveryForecast
}

// Failed reports whether anything could not be restored.
func (r *RecoveryReport) Failed() bool { return len(r.Failures)+r.MoreFailures > 0 }

// TierForecast is what restoring all of a tier would take.
type TierForecast struct {
	Tier       TierName
	Objects    int64
	Bytes      int64
	Throughput float64 // bytes a second, as measured in the drill; 0: nothing was
	Least      time.Duration
	Most       time.Duration
	Cost       float64
}

// RecoveryForecast is what restoring everything would take, between two bounds.
type RecoveryForecast struct {
	Tiers       []TierForecast
	Least, Most time.Duration // of all tiers
	Cost        float64
	// Making the index anew from the facts; both 0 when it is not known.
	RebuildLeast, RebuildMost time.Duration
	Assumed                   []string // sentences
}

// DrillRun is a drill that was asked for, and how far it is.
type DrillRun struct {
	ID       string // ULID text
	Tenant   Tenant
	State    JobState
	Asked    RecoveryDrill
	Created  time.Time
	Started  time.Time       // zero: not yet
	Finished time.Time       // zero: not yet
	Done     int             // studies
	Total    int             // 0: they are being drawn
	Phase    string          // what it is at, for people
	Report   *RecoveryReport // when it is done
	Failure  string          // why it could not be carried out, for the operator
}

// Succeeded reports whether the drill was carried out and everything it tried could be restored.
// One that found nothing to try has proved nothing.
func (r *DrillRun) Succeeded() bool {
	return r.State == JobDone && r.Report != nil && !r.Report.Failed() && r.Report.Studies > 0
}

// DrillStatus is what is known of the drills of a tenant.
type DrillStatus struct {
	Running     *DrillRun // or waiting
	Last        *DrillRun // that ended
	LastSuccess *DrillRun
}
