package drill

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/internal/keys"
	"github.com/strata-pacs/strata/internal/ledger"
)

// study restores one study. Where something is wrong and the study has changed meanwhile, as settling,
// moving and deleting change it, it is looked at anew.
func (d *drill) study(ctx context.Context, p *picked) error {
	before := d.report
	forget := func() {
		d.report.Failures, d.report.MoreFailures = before.Failures, before.MoreFailures
		d.report.Facts, d.report.Instances = before.Facts, before.Instances
	}
	for range attempts {
		err := d.try(ctx, p)
		if errors.Is(err, errRoom) {
			forget()
			d.report.TooLarge++
			return d.empty()
		}
		if err := errors.Join(err, d.empty()); err != nil {
			return err
		}
		fine, changed := len(d.report.Failures) == len(before.Failures) && d.report.MoreFailures == before.MoreFailures, false
		if !fine {
			if changed, err = d.changed(ctx, p); err != nil {
				return err
			}
		}
		if fine && len(p.entries) == 0 {
			return nil // it was deleted since it was drawn
		}
		if !changed {
			d.report.Studies++
			return nil
		}
		forget()
		if len(p.entries) == 0 {
			break // it is gone
		}
	}
	d.report.Changing++
	return nil
}

// empty removes what is left of a study's copies.
func (d *drill) empty() error {
	return d.scratch.drop(slices.Collect(maps.Keys(d.scratch.files))...)
}

// changed reports whether the study is another than the one that was read, and takes note of what it is now.
func (d *drill) changed(ctx context.Context, p *picked) (bool, error) {
	if d.q.FromLog {
		return d.overtaken(ctx, p)
	}
	entries, packs := p.entries, p.packs
	if err := d.look(ctx, p); err != nil {
		return false, err
	}
	same := slices.Equal(entries, p.entries) && slices.EqualFunc(packs, p.packs, func(a, b archive.PackState) bool {
		return a.PackPlace == b.PackPlace && a.Fact == b.Fact
	})
	return !same, nil
}

// overtaken reports whether entries are gone that were in the log when it was looked through. If so the study
// is left out: only another look at the whole log would tell what stands for them.
func (d *drill) overtaken(ctx context.Context, p *picked) (bool, error) {
	for i := range p.entries {
		there, err := d.hot.Exists(ctx, ledger.ObjectName(d.o.Tenant, p.entries[i].Session, p.entries[i].N))
		if err != nil {
			return false, stops(ctx, err)
		}
		if !there {
			p.entries = nil
			return true, nil
		}
	}
	return false, nil
}

// try copies and checks a study. errRoom: it is too large.
func (d *drill) try(ctx context.Context, p *picked) error {
	entries, closed, err := d.facts(ctx, p)
	if err != nil {
		return err
	}
	v := viewOf(entries)
	if !d.q.FromLog {
		if err := d.compare(ctx, p, v); err != nil {
			return err
		}
	}
	in := map[string][]blob{}
	for _, b := range v.blobs {
		if !closed[b.key] {
			in[b.at.Object] = append(in[b.at.Object], b)
		}
	}
	for _, object := range slices.Sorted(maps.Keys(in)) {
		blobs := in[object]
		slices.SortFunc(blobs, func(a, b blob) int { return int(min(max(a.at.Offset-b.at.Offset, -1), 1)) })
		if _, copied := d.scratch.files[object]; !copied {
			if !strings.HasPrefix(object, string(d.o.Tenant)+"/pack/") {
				continue // a log object that could not be copied, which was told of
			}
			ok, err := d.pack(ctx, v.pack(object), blobs)
			if err != nil {
				return err
			}
			if !ok {
				continue
			}
		}
		if err := d.instances(ctx, object, blobs); err != nil {
			return err
		}
		if err := d.scratch.drop(object); err != nil {
			return err
		}
	}
	return nil
}

// facts copies the log objects of a study, and reads its facts from the copies. It tells which keys of
// it were destroyed, which nothing can be restored of.
func (d *drill) facts(ctx context.Context, p *picked) (out []archive.Entry, closed map[archive.KeyID]bool, err error) {
	defer d.spend(&d.report.Times.Reading)()
	closed = map[archive.KeyID]bool{}
	keyless := map[string]*ledger.Unopened{}
	for i := range p.entries {
		e := &p.entries[i]
		object := ledger.ObjectName(d.o.Tenant, e.Session, e.N)
		n, err := d.scratch.copy(ctx, d.hot, object)
		if err == nil {
			d.copied(archive.HotTier, n)
			err = ledger.Check(ctx, d.scratch, object)
		}
		var read archive.Entry
		if err == nil {
			read, err = ledger.Read(ctx, d.scratch, d.o.Tenant, e.Session, e.N, d.o.Keys.Secret, ledger.All)
		}
		var u *ledger.Unopened
		switch {
		case errors.Is(err, errRoom):
			return nil, nil, err
		case errors.As(err, &u) && errors.Is(err, keys.ErrAbsent):
			keyless[object] = u
			continue
		case err != nil:
			if err := stops(ctx, err); err != nil {
				return nil, nil, err
			}
			d.fail("an object of the log cannot be restored: "+fault.Message(err), object)
			continue
		case read.Fact.ID != e.Fact || read.Fact.Kind != e.Kind || read.Fact.Study != p.ref:
			d.fail("this object of the log holds another fact than it should", object)
			continue
		}
		for _, id := range read.Fact.Closed {
			closed[id] = true
		}
		d.report.Facts++
		out = append(out, read)
	}
	for object, u := range keyless {
		if !closed[u.Fact.Key] {
			d.fail("an object of the log cannot be opened: "+fault.Message(u), object)
		}
	}
	return out, closed, nil
}

// tier is what was read of a tier so far.
func (d *drill) tier(name archive.TierName) *archive.DrillTier {
	if d.speeds[name] == nil {
		d.speeds[name] = &archive.DrillTier{Tier: name}
	}
	return d.speeds[name]
}

func (d *drill) copied(t archive.TierName, n int64) {
	s := d.tier(t)
	s.Objects, s.Bytes = s.Objects+1, s.Bytes+n
	d.report.Objects, d.report.Bytes = d.report.Objects+1, d.report.Bytes+n
}
