package restore

import (
	"slices"
	"time"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/fault"
)

// Bounds of what joins the restore of a study.
const (
	maxBatches = 64
	maxHooks   = 16
	maxBy      = 200 // bytes
)

// unit is the restore of one study; its row's key is the study's reference.
type unit struct {
	Priority archive.Priority
	Deadline time.Time     `json:",omitzero"` // when somebody will need it
	For      time.Duration // how long copies stay
	Asked    time.Time
	Requests int // that share it
	Items    []item
	Batches  []int64 `json:",omitempty"` // rows of requests that it is a part of
	Told     int     `json:",omitempty"` // how many URLs are to be told
	Sealed   []byte
	secret   unitSecret // Sealed, where it was opened

	Cancelled bool                 `json:",omitempty"` // what has not begun will not
	End       archive.RestoreState `json:",omitempty"`
	Ready     time.Time            `json:",omitzero"`  // when it ended
	Until     time.Time            `json:",omitzero"`  // when the first copy goes
	Note      string               `json:",omitempty"` // for people: why it ended as it did
}

// item is a pack of it.
type item struct {
	N      int    // among the objects of the secret
	Object string `json:"-"` // where that was opened
	Size   int64
	Tier   archive.TierName
	Wanted bool      `json:",omitempty"` // somebody waits for it
	State  itemState `json:",omitempty"`
	// Least is the most urgent priority that the store may be asked at: it had refused those above.
	Least archive.Priority `json:",omitempty"`
	At    archive.Priority `json:",omitempty"` // it was asked at
	Asked time.Time        `json:",omitzero"`
	Next  time.Time        `json:",omitzero"`  // when to look again
	Until time.Time        `json:",omitzero"`  // a copy can be read until then
	Tries int              `json:",omitempty"` // that came to nothing
	Why   string           `json:",omitempty"` // for people: why it failed, or is slower than was asked for
}

type itemState string

const (
	waiting itemState = ""
	asked   itemState = "asked" // the store was
	in      itemState = "in"
	failed  itemState = "failed"
)

// readable reports whether the pack can be read; one whose copy's time is only to be extended can be meanwhile.
func (i *item) readable(now time.Time) bool {
	return i.State == in && (i.Until.IsZero() || i.Until.After(now)) || i.State != in && i.Until.After(now)
}

// wish is what a request wants of a study.
type wish struct {
	priority archive.Priority
	keep     time.Duration
	deadline time.Time
	by, hook string
	batch    int64
	first    []string
}

var errCrowded = later{fault.New(fault.TooMany, "too many requests share a restore that this needs; wait until it ends")}

// join adds a request, with the packs that it needs, to the restore.
func (u *unit) join(w wish, packs []archive.PackState, now time.Time) error {
	fresh := u.Requests == 0 && u.Asked.IsZero()
	if fresh {
		u.Asked, u.Priority, u.secret.By = now, w.priority, archive.Cut(w.by, maxBy)
	}
	if w.hook != "" && !slices.Contains(u.secret.Hooks, w.hook) {
		if len(u.secret.Hooks) == maxHooks {
			return errCrowded
		}
		u.secret.Hooks = append(u.secret.Hooks, w.hook)
	}
	if w.batch != 0 && !slices.Contains(u.Batches, w.batch) {
		if len(u.Batches) == maxBatches {
			return errCrowded
		}
		u.Batches = append(u.Batches, w.batch)
	}
	u.Requests++
	u.Cancelled = false
	if w.priority.Rank() < u.Priority.Rank() {
		u.Priority = w.priority
	}
	if !w.deadline.IsZero() && (u.Deadline.IsZero() || w.deadline.Before(u.Deadline)) {
		u.Deadline = w.deadline
	}
	u.For = max(u.For, w.keep)
	for _, p := range packs {
		i := slices.IndexFunc(u.Items, func(i item) bool { return i.Object == p.Object })
		switch {
		case i < 0:
			u.Items = append(u.Items, item{N: u.secret.number(p.Object), Object: p.Object, Size: p.Size, Tier: p.Tier, Until: p.Restored})
		case u.Items[i].State == failed:
			u.Items[i] = item{N: u.Items[i].N, Object: p.Object, Size: p.Size, Tier: p.Tier}
		}
	}
	for i := range u.Items {
		if slices.Contains(w.first, u.Items[i].Object) {
			u.Items[i].Wanted = true
		}
	}
	return nil
}

// leave takes a request back: of a batch, or of any one when that is 0, and reports whether
// nobody is left who wants the study.
func (u *unit) leave(batch int64) (nobody bool) {
	if batch != 0 {
		i := slices.Index(u.Batches, batch)
		if i < 0 {
			return false
		}
		u.Batches = slices.Delete(u.Batches, i, i+1)
		if u.Requests--; u.Requests > 0 {
			return false
		}
	}
	u.Cancelled = true
	return true
}

// conclude ends the restore if nothing is left to do, and returns when to look at it again.
func (u *unit) conclude(now time.Time) (next time.Time) {
	if u.Cancelled {
		u.Items = slices.DeleteFunc(u.Items, func(i item) bool { return i.State == waiting })
	}
	var left, lost int
	next = now.Add(reload)
	u.Until = time.Time{}
	for i := range u.Items {
		i := &u.Items[i]
		switch i.State {
		case waiting:
			left++
		case asked:
			left++
			if i.Next.Before(next) {
				next = i.Next
			}
		case failed:
			lost++
		case in:
			if !i.Until.IsZero() && (u.Until.IsZero() || i.Until.Before(u.Until)) {
				u.Until = i.Until
			}
		}
	}
	switch {
	case left > 0:
		return next
	case u.Cancelled:
		u.End = archive.RestoreCancelled
	case len(u.Items) == 0:
		u.End, u.Note = archive.RestoreCancelled, "the study is not in the archive any more"
	case lost > 0:
		u.End = archive.RestoreFailed
	default:
		u.End, u.Note = archive.RestoreDone, ""
	}
	u.Ready = now
	return now
}

// batch is a request for several studies.
type batch struct {
	Asked    time.Time
	Told     bool                   `json:",omitempty"` // a URL is to be told
	Sealed   []byte                 // batchSecret
	Readable int                    // studies that could be read from the start
	Units    []int64                // rows of the others
	Leaving  bool                   `json:",omitempty"` // it was cancelled
	Final    *archive.RestoreStatus `json:",omitempty"` // when it has ended
}
