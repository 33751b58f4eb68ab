package node

import (
	"cmp"
	"context"
	"time"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/internal/index"
	"github.com/strata-pacs/strata/internal/restore"
	"github.com/strata-pacs/strata/internal/search"
)

// RestoreOptions are the settings of restores; zero fields take the defaults of package restore.
type RestoreOptions struct {
	For      time.Duration    // how long copies stay
	Priority archive.Priority // of who names none
	// Rate is how many objects a second each tier is asked for, Running how many it may be restoring
	// at once, by all nodes together.
	Rate    float64
	Running int
	Open    int           // of how many studies of one tenant restores may be under way, or wait, at once
	Poll    time.Duration // how often the table is looked at
	Hooks   restore.Hooks // whom to tell; nil: nobody
}

// openRestores opens what restores, and works on it while this node has the lease: one
// of all nodes does, so that the provider's limits hold for them together.
func (n *Node) openRestores(ctx context.Context) {
	o := n.o.Restores
	ahead := &prefetched{n: n, wake: make(chan struct{}, 1)}
	n.wg.Go(func() { ahead.run(ctx) })
	n.restorer = restore.New(restore.Options{Table: restoreTable{n.Index.Jobs()}, Keys: restoreKeys{n}, Index: restoreIndex{n}, Tiers: restoreTiers{n}, Catalog: restoreCatalog{n},
		Hooks: o.Hooks, Restored: ahead.add, For: o.For, Priority: o.Priority, Rate: o.Rate, Running: o.Running, Open: o.Open, Poll: o.Poll, Now: n.o.Now, Slog: n.o.Slog})
	n.wg.Go(func() { n.whileHeld(ctx, "restores", n.restorer.Run) })
}

// Restores restores what lies in archive tiers, of any tenant.
type Restores struct {
	*restore.Restorer
	n *Node
}

// Restores returns what restores.
func (n *Node) Restores() Restores { return Restores{n.restorer, n} }

// known fails with fault.NotFound where there is no such tenant.
func (r Restores) known(ctx context.Context, t archive.Tenant) error {
	_, err := r.n.gate(ctx, t)
	return err
}

// Status is [restore.Restorer.Status]; it works while the keys are revoked too, as List and Cancel do.
func (r Restores) Status(ctx context.Context, t archive.Tenant, id string) (archive.RestoreStatus, error) {
	if err := r.known(ctx, t); err != nil {
		return archive.RestoreStatus{}, err
	}
	return r.Restorer.Status(ctx, t, id)
}

// Estimate is [restore.Restorer.Estimate].
func (r Restores) Estimate(ctx context.Context, t archive.Tenant, q archive.RestoreRequest) (archive.RestoreEstimate, error) {
	e, err := r.Restorer.Estimate(ctx, t, q)
	e.Currency = r.n.o.Lifecycle.Currency
	return e, err
}

// List is [restore.Restorer.List].
func (r Restores) List(ctx context.Context, t archive.Tenant, after string, limit int, open bool) ([]archive.RestoreStatus, error) {
	if err := r.known(ctx, t); err != nil {
		return nil, err
	}
	return r.Restorer.List(ctx, t, after, limit, open)
}

// Cancel is [restore.Restorer.Cancel].
func (r Restores) Cancel(ctx context.Context, t archive.Tenant, id string) (archive.RestoreStatus, error) {
	if err := r.known(ctx, t); err != nil {
		return archive.RestoreStatus{}, err
	}
	return r.Restorer.Cancel(ctx, t, id)
}

// Watch calls f with how far the restore is, about every second, until f fails, the context ends, the tenant's
// keys are taken away, or the node is shut down, which ends it without an error.
func (r Restores) Watch(ctx context.Context, t archive.Tenant, id string, f func(archive.RestoreStatus) error) error {
	tick := time.NewTicker(cmp.Or(r.n.o.Restores.Poll, time.Second))
	defer tick.Stop()
	for {
		v, err := r.n.Enter(ctx, t)
		if err != nil {
			return err
		}
		st, err := r.Restorer.Status(ctx, t, id)
		v.Leave()
		if err == nil {
			err = f(st)
		}
		if err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-r.n.stopping:
			return nil
		case <-tick.C:
		}
	}
}

// restoreTiers are the stores of the tiers.
type restoreTiers struct{ n *Node }

// Tier implements [restore.Tiers].
func (t restoreTiers) Tier(name archive.TierName) (restore.Store, archive.Tier, bool) {
	return t.n.Tier(name)
}

// restoreIndex asks for packs in the archive of their tenant: while its key is revoked, its restores wait.
type restoreIndex struct{ n *Node }

// Packs implements [restore.Index].
func (i restoreIndex) Packs(ctx context.Context, t archive.Tenant, study archive.Ref) ([]archive.PackState, error) {
	v, err := i.n.Enter(ctx, t)
	if err != nil {
		return nil, err
	}
	defer v.Leave()
	return i.n.Index.Packs(ctx, t, study)
}

// SetRestored implements [restore.Index].
func (i restoreIndex) SetRestored(ctx context.Context, t archive.Tenant, object string, until time.Time) error {
	v, err := i.n.Enter(ctx, t)
	if err != nil {
		return err
	}
	defer v.Leave()
	return i.n.Index.SetRestored(ctx, t, object, until)
}

// restoreKeys seals under the keys of tenants that the index has while their archives are open.
type restoreKeys struct{ n *Node }

// Box implements [restore.Keys].
func (k restoreKeys) Box(ctx context.Context, t archive.Tenant) (restore.Box, error) {
	v, err := k.n.Enter(ctx, t)
	if err != nil {
		return nil, err
	}
	defer v.Leave()
	return k.n.Index.Jobs().Box(ctx, t)
}

// restoreTable has restores in the table of deferred work.
type restoreTable struct{ jobs index.Jobs }

var _ restore.Table = restoreTable{}

func rowOf(j index.Job) restore.Row {
	return restore.Row{ID: j.ID, Tenant: j.Tenant, Kind: j.Kind, Key: j.Key, Payload: j.Payload, Due: j.Due, Created: j.Created}
}

func rowsOf(jobs []index.Job, err error) ([]restore.Row, error) {
	var rows []restore.Row
	for _, j := range jobs {
		rows = append(rows, rowOf(j))
	}
	return rows, err
}

// editing lets f, which edits a row, edit a job.
func editing(f func(*restore.Row) error) func(*index.Job) error {
	return func(j *index.Job) error {
		row := rowOf(*j)
		if err := f(&row); err != nil {
			return err
		}
		j.Kind, j.Key, j.Payload, j.Due = row.Kind, row.Key, row.Payload, row.Due
		return nil
	}
}

// Merge implements [restore.Table].
func (t restoreTable) Merge(ctx context.Context, tenant archive.Tenant, kind, key string, created time.Time, most int, f func(*restore.Row) error) (restore.Row, error) {
	j, err := t.jobs.Merge(ctx, tenant, kind, key, created, most, editing(f))
	return rowOf(j), err
}

// Count implements [restore.Table].
func (t restoreTable) Count(ctx context.Context, tenant archive.Tenant, kind string, keys ...string) (int, error) {
	return t.jobs.Count(ctx, tenant, kind, keys...)
}

// Change implements [restore.Table].
func (t restoreTable) Change(ctx context.Context, id int64, f func(*restore.Row) error) (restore.Row, error) {
	j, err := t.jobs.Change(ctx, id, editing(f))
	return rowOf(j), err
}

// Get implements [restore.Table].
func (t restoreTable) Get(ctx context.Context, tenant archive.Tenant, ids ...int64) ([]restore.Row, error) {
	return rowsOf(t.jobs.Get(ctx, tenant, ids...))
}

// OfKinds implements [restore.Table].
func (t restoreTable) OfKinds(ctx context.Context, tenant archive.Tenant, kinds []string, after int64, limit int) ([]restore.Row, error) {
	return rowsOf(t.jobs.OfKinds(ctx, tenant, kinds, after, limit))
}

// Due implements [restore.Table].
func (t restoreTable) Due(ctx context.Context, kind string, by time.Time, after restore.Row, limit int) ([]restore.Row, error) {
	return rowsOf(t.jobs.Due(ctx, kind, by, index.Job{ID: after.ID, Due: after.Due}, limit))
}

// Remove implements [restore.Table].
func (t restoreTable) Remove(ctx context.Context, ids ...int64) error {
	return t.jobs.Remove(ctx, ids...)
}

// restoreCatalog finds studies in the archives of tenants.
type restoreCatalog struct{ n *Node }

var _ restore.Catalog = restoreCatalog{}

var errNoStudy = fault.New(fault.NotFound, "a study that was named is not in the archive")

// Find implements [restore.Catalog].
func (c restoreCatalog) Find(ctx context.Context, t archive.Tenant, q archive.RestoreRequest, limit int) (out []restore.Study, err error) {
	err = c.n.inArchive(ctx, t, func(ctx context.Context, a *Archive) error {
		switch {
		case q.PatientID != "":
			rows, err := patientStudies(ctx, a, q.PatientID, q.Issuer, limit)
			for _, s := range rows {
				out = append(out, restore.Study{Ref: s.Ref})
			}
			return err
		case q.Query != "":
			out, err = queryStudies(ctx, a, q.Query, limit)
			return err
		}
		out, err = namedStudies(ctx, a, q)
		return err
	})
	return out, err
}

func namedStudies(ctx context.Context, a *Archive, q archive.RestoreRequest) (out []restore.Study, err error) {
	want := map[string]bool{}
	for _, uid := range q.Studies {
		want[uid] = true
	}
	err = a.Index.Studies(ctx, a.Tenant, archive.StudyFilter{UIDs: q.Studies}, func(s *archive.StudyRow) bool {
		if want[s.UID] {
			out = append(out, restore.Study{Ref: s.Ref})
			delete(want, s.UID)
		}
		return true
	})
	if err == nil && len(want) > 0 {
		err = errNoStudy
	}
	if err != nil || len(out) != 1 || q.First.Series == "" {
		return out, err
	}
	sel := q.First
	sel.Study = q.Studies[0]
	objects := map[string]bool{}
	err = a.Index.Instances(ctx, a.Tenant, sel, func(r *archive.InstanceRow) bool {
		if !objects[r.At.Object] {
			objects[r.At.Object] = true
			out[0].First = append(out[0].First, r.At.Object)
		}
		return true
	})
	if err == nil && len(objects) == 0 {
		err = fault.New(fault.NotFound, "the series that was named is not in the study")
	}
	return out, err
}

const (
	tagPatientID = 0x00100020
	tagIssuer    = 0x00100021
)

// patientStudies returns up to limit+1 studies of exactly this patient, newest first.
func patientStudies(ctx context.Context, a *Archive, id, issuer string, limit int) (out []archive.StudyRow, err error) {
	var f archive.StudyFilter
	for _, word := range archive.FoldFull(nil, 0, id) {
		f.All = append(f.All, []archive.Term{{Tag: tagPatientID, Word: word, Full: true}})
	}
	err = a.Index.Studies(ctx, a.Tenant, f, func(s *archive.StudyRow) bool {
		have, _ := s.Attrs.Get(tagPatientID)
		by, _ := s.Attrs.Get(tagIssuer)
		if have == id && (issuer == "" || by == issuer) {
			out = append(out, *s)
		}
		return len(out) <= limit
	})
	return out, err
}

// queryStudies returns up to limit+1 studies that a query finds.
func queryStudies(ctx context.Context, a *Archive, raw string, limit int) (out []restore.Study, err error) {
	q, err := search.Parse(archive.LevelStudy, archive.UIDs{}, raw)
	if err != nil {
		return nil, err
	}
	if len(q.Warnings) > 0 { // a search may show too much; this would cost money
		return nil, fault.New(fault.Invalid, "query: %s", q.Warnings[0])
	}
	outcome, err := a.Search.Search(ctx, a.Tenant, q, func(m *search.Match) bool {
		if m.Study != nil {
			out = append(out, restore.Study{Ref: m.Study.Ref})
		}
		return len(out) <= limit
	})
	if err == nil && len(outcome.Warnings) > 0 {
		err = fault.New(fault.Invalid, "query: %s", outcome.Warnings[0])
	}
	return out, err
}

// maxPriors is how many studies of a patient are looked at.
const maxPriors = 500

// Priors implements [restore.Catalog]: those of the modality and the body part that is planned first, then
// those of one of them, and the newest of each.
func (c restoreCatalog) Priors(ctx context.Context, t archive.Tenant, ap archive.Appointment) (out []archive.Ref, err error) {
	err = c.n.inArchive(ctx, t, func(ctx context.Context, a *Archive) error {
		rows, err := patientStudies(ctx, a, ap.PatientID, ap.Issuer, maxPriors)
		if err != nil {
			return err
		}
		var ranks [3][]archive.Ref
		for i := range rows {
			likeness, err := likeness(ctx, a, &rows[i], ap)
			if err != nil {
				return err
			}
			ranks[2-likeness] = append(ranks[2-likeness], rows[i].Ref)
		}
		out = append(append(ranks[0], ranks[1]...), ranks[2]...)
		return nil
	})
	return out, err
}
