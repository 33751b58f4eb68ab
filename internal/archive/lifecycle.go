package archive

import "time"

// LifecyclePlan is what lifecycle rules would do to a tenant's studies now, and
// what its archive may come to. Money is in the currency of the configuration. It
// says nothing about a person.
type LifecyclePlan struct {
	At       time.Time
	Currency string // of all money in it, ISO 4217
	Studies  int64
	Bytes    int64
	Steps    []PlannedStep
	// Circular counts the studies that rules would move in a circle: they stay where they are.
	Circular int64
	Circles  []PlannedCircle
	// Sampled: when so many studies had been asked about until when they must be kept, the others were taken to be
	// kept as long as the longest of those; 0: all were asked about.
	Sampled  int64
	Tiers    []PlannedTier // those of the configuration, in its order, then others that studies are in or are to be moved to
	Forecast Forecast
}

// PlannedStep is what a rule does to studies of a tier.
type PlannedStep struct {
	Rule     string // its name; empty: no rule holds
	Action   string // settle, move or delete
	From, To TierName
	Studies  int64
	Bytes    int64
	Once     float64 // what doing it costs
	Before   float64 // a month, as they are
	After    float64 // a month, when it is done
	// Waiting: the studies may not be deleted yet, First being when the first of them may. What is done
	// with them meanwhile is another step.
	Waiting bool
	First   time.Time
}

// PlannedCircle is two rules of which one moves studies where the other moves them on, until they are where they were.
type PlannedCircle struct {
	Studies     int64
	Moves, Back string // the names of the rules
}

// PlannedTier is what is in a tier, and will be when the plan is carried out.
type PlannedTier struct {
	Name         TierName
	Studies      int64
	Bytes        int64
	Month        float64 // what storing it costs
	StudiesAfter int64
	BytesAfter   int64
	MonthAfter   float64
	// Gone: no such tier is configured. What is there costs nobody knows what, cannot be read, and stays.
	Gone bool
}

// Forecast is what an archive may come to, by month, if it goes on growing.
type Forecast struct {
	Growth float64 // a year: 0.1 is a tenth more
	// GrowthYears is from how many years of the archive's own history Growth was reckoned; 0: it was given, or the history is too short.
	GrowthYears int
	// YearBytes is what came in the last year, by study date.
	YearBytes int64
	Tiers     []TierName // of the columns of the points
	Points    []ForecastPoint
}

// ForecastPoint is one month of a forecast; the first is now.
type ForecastPoint struct {
	At      time.Time
	Bytes   []int64 // by tier
	Studies int64
	Month   float64 // what storing it costs for this month
	Once    float64 // what moves in this month cost
	// Without is what Month would be if nothing were moved or deleted.
	Without float64
}

// StudyPlace is where a study's objects are.
type StudyPlace struct {
	Tiers   []TierName // of its packs, distinct; none where it has no packs
	Settled bool       // every live entry of the log about it is a settled one
}

// LifecycleState is how a tenant's lifecycle stands.
type LifecycleState struct {
	Rules    int    // how many there are; 0: studies are settled, and stay
	By       string // who stated them; empty: nobody did
	Stated   time.Time
	Paused   bool
	PausedBy string // who paused it last; empty where nobody has
	PausedAt time.Time
	Pending  bool // something is due

	// Failing counts the studies that failed and are tried again, the first of them at Retry; Failure is the last one, of a study
	// or of the removal of an object, while there is any. They and Round are what the node knows that is asked, since it began.
	Failing int64
	Retry   time.Time
	Failure LifecycleFailure
	Round   LifecycleRound // the last; its time is zero where there was none
}

// LifecycleFailure is something that failed.
type LifecycleFailure struct {
	At  time.Time
	Why string // says nothing about a person
}

// LifecycleRound is how a look at all that was due ended.
type LifecycleRound struct {
	At    time.Time
	Done  LifecycleDone
	Error string // what kept it from its end; empty: nothing
}

// LifecycleDone is what carrying out the rules once did.
type LifecycleDone struct {
	Paused                          bool // it ended because an operator wants nothing done
	More                            bool // there is more to do
	Looked, Settled, Moved, Deleted int64
	Bytes                           int64 // moved
	Waiting                         int64 // must be kept, or restored first
	Failed                          int64 // are tried again later
	// Dropped counts deleted instances that are gone for good, Removed objects that were let go of.
	Dropped, DroppedBytes, Removed, RemovedBytes int64
}

// LifecycleQuestion asks for a plan.
type LifecycleQuestion struct {
	Rules  []byte   // a document of rules; nil: those that hold
	Years  int      // of the forecast; 0: ten
	Growth *float64 // a year; nil: what the archive's own history says
}
