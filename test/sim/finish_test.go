package sim

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/strata-pacs/strata/internal/archive"
	indexdb "github.com/strata-pacs/strata/internal/index"
	"github.com/strata-pacs/strata/internal/ingest"
	"github.com/strata-pacs/strata/internal/keys"
	"github.com/strata-pacs/strata/internal/reconcile"
	"github.com/strata-pacs/strata/storage"
)

// located is a blob where it lies.
type located struct {
	b  *storage.Bucket
	at archive.Location
}

func (l located) ReadRange(ctx context.Context, off, n int64) (io.ReadCloser, error) {
	return l.b.Open(ctx, l.at.Object, l.at.Offset+off, n)
}

// run plays the seed's rounds and then asks for everything.
func (w *world) run() error {
	for range 8 + w.random.IntN(14) {
		if err := w.turn(); err != nil {
			return err
		}
	}
	w.troubled, w.late = false, false
	return w.g.alone(func() error { return w.finish(context.Background()) })
}

// restart ends every process, one way or the other, starts new ones, and lets
// them catch up with each other.
func (w *world) restart(ctx context.Context) error {
	for _, n := range w.nodes {
		if n.up && w.random.IntN(2) == 0 {
			if err := n.stop(ctx); err != nil {
				return fmt.Errorf("stopping %v: %w", n, err)
			}
		}
		n.die()
		if err := n.forget(); err != nil {
			return err
		}
	}
	for _, n := range w.nodes {
		time.Sleep(time.Second)
		if err := n.start(ctx); err != nil {
			return fmt.Errorf("starting %v: %w", n, err)
		}
	}
	for _, n := range w.nodes {
		if _, err := n.rec.Catchup(ctx); err != nil {
			return fmt.Errorf("catching up on %v: %w", n, err)
		}
	}
	return nil
}

func (w *world) finish(ctx context.Context) error {
	if err := w.restart(ctx); err != nil {
		return err
	}
	ring, err := w.openRing(ctx)
	if err != nil {
		return err
	}
	if err := w.agree(ctx, ring); err != nil {
		return err
	}
	// Whatever was sent can be sent again, to any node.
	again := map[item]bool{}
	for _, s := range slices.Clone(w.sent) {
		if again[s.item] {
			continue
		}
		again[s.item] = true
		n := w.nodes[w.random.IntN(len(w.nodes))]
		q := n.store.Begin(ingest.RequestOptions{})
		q.Add(ctx, bytes.NewReader(w.file(s.item)))
		res := q.Commit(ctx)[0]
		if res.Outcome == ingest.Refused && !(w.policy == ingest.Refuse && res.Reason == ingest.ReasonDuplicate) {
			return fmt.Errorf("sending %v again sticks: %w", s.item, res.Err)
		}
		w.sent = append(w.sent, sent{item: s.item, round: w.round + 1, node: n, acked: res.Outcome != ingest.Refused, known: res.Outcome == ingest.Known})
	}
	// What nothing names goes after the grace period; what is named stays.
	time.Sleep(grace + time.Hour)
	for _, n := range w.nodes {
		if _, err := n.rec.Reap(ctx); err != nil {
			return fmt.Errorf("reaping on %v: %w", n, err)
		}
	}
	if err := w.restart(ctx); err != nil {
		return err
	}
	if err := w.agree(ctx, ring); err != nil {
		return fmt.Errorf("after sending all again: %w", err)
	}
	return w.destroy(ctx, ring)
}

// agree compares log, nodes, a rebuilt index and what users were told.
func (w *world) agree(ctx context.Context, ring *keys.Ring) error {
	if err := w.laws(); err != nil {
		return err
	}
	truth, err := w.truth(ctx, ring)
	if err != nil {
		return err
	}
	if err := w.acknowledged(ctx, truth, ring); err != nil {
		return err
	}
	if err := w.readable(ctx, truth, ring); err != nil {
		return err
	}
	want, err := describe(ctx, truth)
	if err != nil {
		return err
	}
	same := func(who string, x index) error {
		got, err := describe(ctx, x)
		if err == nil && got != want {
			err = fmt.Errorf("the index of %s differs from the log: it says\n%s\nwhere the log says\n%s", who, got, want)
		}
		if real, ok := x.(*indexdb.Index); ok && err == nil {
			err = queries(ctx, real, truth)
		}
		if err != nil {
			err = fmt.Errorf("about %s: %w", who, err)
		}
		return err
	}
	for _, n := range w.nodes {
		if err := same(n.String(), n.index); err != nil {
			return err
		}
	}
	for _, n := range w.nodes[:1] {
		// A running node does not look for holes in its own session; one that only reads does.
		if gaps, err := w.verify(ctx, n.index, ring); err != nil || len(gaps) > 0 {
			return fmt.Errorf("%v finds gaps where there are none: %v (%w)", n, gaps, err)
		}
	}
	return w.rebuilt(ctx, ring, func(x index, gaps []reconcile.Gap) error {
		if len(gaps) > 0 {
			return fmt.Errorf("a rebuild finds gaps where there are none: %v", gaps)
		}
		return same("a rebuild", x)
	})
}

func (w *world) verify(ctx context.Context, x index, ring *keys.Ring) ([]reconcile.Gap, error) {
	rec := reconcile.New(reconcile.Options{Tenant: tenant, Bucket: storage.New(w.store), Index: x, Keys: ring, Grace: grace})
	r, err := rec.Verify(ctx, reconcile.VerifyOptions{Sample: 1, Workers: 1})
	return r.Gaps, err
}

// rebuilt makes a new index from the log alone.
func (w *world) rebuilt(ctx context.Context, ring *keys.Ring, use func(index, []reconcile.Gap) error) (err error) {
	var x index = newModel()
	if w.dir != "" {
		w.count.real++
		if x, err = w.openReal(ctx, filepath.Join(w.dir, fmt.Sprintf("rebuilt%d.db", w.count.real))); err != nil {
			return err
		}
	}
	defer func() { err = errors.Join(err, x.Close()) }()
	rec := reconcile.New(reconcile.Options{Tenant: tenant, Bucket: storage.New(w.store), Index: x, Keys: ring, Grace: grace})
	r, err := rec.Rebuild(ctx, nil)
	if err != nil {
		return err
	}
	return use(x, r.Gaps)
}

// destroy takes one object away, and the loss must show.
func (w *world) destroy(ctx context.Context, ring *keys.Ring) error {
	var names []string
	for o, err := range storage.New(w.store).All(ctx, tenant+"/", "") {
		if err != nil {
			return err
		}
		session, isLog := strings.CutPrefix(o.Key, tenant+"/log/")
		session, _, _ = strings.Cut(session, "/")
		// The last number of a session that still runs is known to its index alone.
		if isLog && w.over(context.Background(), session) || strings.HasPrefix(o.Key, tenant+"/pack/") {
			names = append(names, o.Key)
		}
	}
	if len(names) == 0 {
		return nil
	}
	lost := names[w.random.IntN(len(names))]
	w.tell("%s is destroyed", lost)
	if err := w.mem.Delete(ctx, lost); err != nil {
		return err
	}
	told := func(who string, gaps []reconcile.Gap) error {
		if !slices.ContainsFunc(gaps, func(g reconcile.Gap) bool {
			return g.Object == lost || g.What != "" && strings.HasPrefix(lost, tenant+"/pack/")
		}) {
			return fmt.Errorf("%s was destroyed and %s does not say so: %v", lost, who, gaps)
		}
		return nil
	}
	gaps, err := w.verify(ctx, w.nodes[0].index, ring)
	if err == nil {
		err = told("verify", gaps)
	}
	if err != nil {
		return err
	}
	return w.rebuilt(ctx, ring, func(_ index, gaps []reconcile.Gap) error { return told("rebuild", gaps) })
}

// queries compares what a real index answers to searches with the truth.
func queries(ctx context.Context, x *indexdb.Index, truth *model) error {
	type of struct{ instances, series int }
	want, seen := map[string]of{}, map[string]int{}
	var shown []string
	for _, r := range truth.view() {
		if r.state != archive.StateVisible {
			continue
		}
		shown = append(shown, fmt.Sprint(r.UIDs, r.Blob))
		s := want[r.Study]
		if s.instances++; seen[r.UIDs.Series] == 0 {
			s.series++
		}
		seen[r.UIDs.Series]++
		want[r.Study] = s
	}
	var ids []int64
	got := map[string]of{}
	err := x.Studies(ctx, tenant, archive.StudyFilter{}, func(s *archive.StudyRow) bool {
		got[s.UID] = of{s.Instances, s.Series}
		ids = append(ids, s.ID)
		return true
	})
	if err != nil {
		return err
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		return fmt.Errorf("studies are %v where the log has %v", got, want)
	}
	for _, id := range ids {
		list, err := x.SeriesOf(ctx, tenant, id)
		if err != nil {
			return err
		}
		for _, s := range list {
			if seen[s.UID] != s.Instances {
				return fmt.Errorf("a series has %d instances where the log has %d", s.Instances, seen[s.UID])
			}
		}
	}
	var have []string
	for study := range want {
		err := x.Instances(ctx, tenant, archive.UIDs{Study: study}, func(r *archive.InstanceRow) bool {
			have = append(have, fmt.Sprint(r.UIDs, r.Blob))
			return true
		})
		if err != nil {
			return err
		}
	}
	slices.Sort(have)
	slices.Sort(shown)
	if !slices.Equal(have, shown) {
		return fmt.Errorf("instances are\n%v\nwhere the log has\n%v", have, shown)
	}
	return feed(ctx, x, shown)
}

// feed replays the change feed, which has to lead to what is shown.
func feed(ctx context.Context, x *indexdb.Index, shown []string) error {
	all, err := x.Changes(ctx, tenant, archive.ChangeQuery{Limit: 10000})
	if err != nil {
		return err
	}
	now := map[archive.UIDs]string{}
	last := int64(0)
	for _, c := range all {
		if c.Sequence <= last {
			return fmt.Errorf("the change feed goes from %d to %d", last, c.Sequence)
		}
		last = c.Sequence
		if c.Action == "delete" {
			delete(now, c.UIDs)
		} else {
			now[c.UIDs] = fmt.Sprint(c.UIDs, c.Blob)
		}
	}
	var have []string
	for _, s := range now {
		have = append(have, s)
	}
	slices.Sort(have)
	if !slices.Equal(have, shown) {
		return fmt.Errorf("the change feed leads to\n%v\nwhere the log has\n%v", have, shown)
	}
	return nil
}
