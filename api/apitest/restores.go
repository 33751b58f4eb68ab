package apitest

import (
	"context"
	"fmt"
	"time"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/fault"
)

// Restores are the restores of a memory: study 1.2.3 and patient P1 have 4 objects in an archive,
// everything else can be read. Each look at a restore takes it further by one object.
type Restores struct {
	m *Memory
	// Guarded by Do: what the last call was given, and restores by age.
	Last         archive.RestoreRequest
	Appointments []archive.Appointment
	All          []archive.RestoreStatus
}

// Restores returns the restores of the memory.
func (m *Memory) Restores() *Restores { return &m.restores }

// Ask is of api.Restores.
func (r *Restores) Ask(_ context.Context, t archive.Tenant, q archive.RestoreRequest) (archive.RestoreStatus, error) {
	unlock, err := r.m.lock()
	defer unlock()
	r.Last = q
	if err != nil {
		return archive.RestoreStatus{}, err
	}
	if _, ok := r.m.Tenants[t]; !ok {
		return archive.RestoreStatus{}, fault.New(fault.NotFound, "there is no such tenant")
	}
	st := archive.RestoreStatus{Tenant: t, State: archive.RestoreDone, Priority: archive.Standard, Studies: 1, Asked: Noon, Ready: Noon, Requests: 1}
	if q.Priority != "" {
		st.Priority = q.Priority
	}
	if archived(q) {
		st.ID, st.State, st.Packs, st.Bytes, st.Ready, st.Cost = fmt.Sprintf("01JZ%022d", len(r.All)+1), archive.RestoreWaiting, 4, 4e9, Noon.Add(4*time.Hour), 0.25
		r.All = append(r.All, st)
	}
	return st, nil
}

func archived(q archive.RestoreRequest) bool {
	return q.PatientID == "P1" || q.Query != "" || len(q.Studies) > 0 && q.Studies[0] == "1.2.3"
}

// Estimate is of api.Restores.
func (r *Restores) Estimate(_ context.Context, _ archive.Tenant, q archive.RestoreRequest) (archive.RestoreEstimate, error) {
	unlock, err := r.m.lock()
	defer unlock()
	r.Last = q
	e := archive.RestoreEstimate{Studies: 1, Currency: "EUR"}
	if archived(q) {
		e.Packs, e.Bytes = 4, 4e9
		e.Choices = []archive.RestoreChoice{{Priority: archive.Standard, Typical: 4 * time.Hour, Longest: 5 * time.Hour, Cost: 0.25}, {Priority: archive.Bulk, Typical: 8 * time.Hour, Longest: 12 * time.Hour, Cost: 0.1}}
	}
	return e, err
}

// Prefetch is of api.Restores.
func (r *Restores) Prefetch(ctx context.Context, t archive.Tenant, list []archive.Appointment, by, webhook string) (archive.Prefetch, error) {
	st, err := r.Ask(ctx, t, archive.RestoreRequest{PatientID: list[0].PatientID, By: by, Webhook: webhook})
	unlock, _ := r.m.lock()
	defer unlock()
	r.Appointments = list
	return archive.Prefetch{Restore: st, Priors: 2, Readable: 1, Late: 0}, err
}

// Status is of api.Restores.
func (r *Restores) Status(_ context.Context, t archive.Tenant, id string) (archive.RestoreStatus, error) {
	unlock, err := r.m.lock()
	defer unlock()
	for i := range r.All {
		st := &r.All[i]
		if st.ID != id || st.Tenant != t || err != nil {
			continue
		}
		now := *st
		if !st.State.Ended() {
			st.State, st.PacksIn, st.BytesIn = archive.RestoreRunning, st.PacksIn+1, st.BytesIn+1e9
			if st.PacksIn == st.Packs {
				st.State, st.Until = archive.RestoreDone, Noon.Add(7*24*time.Hour)
			}
		}
		return now, nil
	}
	if err == nil {
		err = fault.New(fault.NotFound, "there is no such restore")
	}
	return archive.RestoreStatus{}, err
}

// List is of api.Restores.
func (r *Restores) List(_ context.Context, t archive.Tenant, after string, limit int, open bool) ([]archive.RestoreStatus, error) {
	unlock, err := r.m.lock()
	defer unlock()
	var out []archive.RestoreStatus
	for _, st := range r.All {
		if st.Tenant == t && st.ID > after && len(out) < limit && !(open && st.State.Ended()) {
			out = append(out, st)
		}
	}
	return out, err
}

// Cancel is of api.Restores.
func (r *Restores) Cancel(_ context.Context, t archive.Tenant, id string) (archive.RestoreStatus, error) {
	unlock, err := r.m.lock()
	defer unlock()
	for i := range r.All {
		st := &r.All[i]
		switch {
		case st.ID != id || st.Tenant != t || err != nil:
		case st.State.Ended():
			return archive.RestoreStatus{}, fault.New(fault.Conflict, "the restore is over; nothing is left to cancel")
		default:
			st.State = archive.RestoreCancelled
			return *st, nil
		}
	}
	if err == nil {
		err = fault.New(fault.NotFound, "there is no such restore")
	}
	return archive.RestoreStatus{}, err
}

// Watch is of api.Restores. It does not wait between looks; a Fail of the memory ends it.
func (r *Restores) Watch(ctx context.Context, t archive.Tenant, id string, f func(archive.RestoreStatus) error) error {
	for {
		st, err := r.Status(ctx, t, id)
		if err != nil {
			return err
		}
		if err := f(st); err != nil {
			return err
		}
		if err := ctx.Err(); err != nil {
			return err
		}
	}
}
