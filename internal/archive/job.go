package archive

import "time"

// JobKind says what a background job does.
type JobKind string

// The kinds of jobs that an operator starts.
const (
	JobRotate JobKind = "rotate" // a new version of the KEK, and every key object under it
	JobMove   JobKind = "move"   // every key object under the KEK of another provider
	JobEscrow JobKind = "escrow" // every key object wrapped for a recovery key too
)

// JobState says how far a job is.
type JobState string

// The states of a job.
const (
	JobWaiting JobState = "waiting"
	JobRunning JobState = "running"
	JobDone    JobState = "done"
	JobFailed  JobState = "failed" // what was done stays done; starting it anew goes on there
)

// Ended reports whether nothing more will happen to the job.
func (s JobState) Ended() bool { return s == JobDone || s == JobFailed }

// Job is one piece of background work on a tenant. It says nothing about a person.
type Job struct {
	ID       string // ULID text: by name is by age
	Kind     JobKind
	Tenant   Tenant
	State    JobState
	Done     int64
	Total    int64 // 0: not counted yet
	Created  time.Time
	Started  time.Time // zero: not yet
	Finished time.Time // zero: not yet
	Failure  string    // why it failed, for the operator
}
