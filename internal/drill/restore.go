package drill

import (
	"context"
	"fmt"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/internal/ledger"
	"github.com/strata-pacs/strata/storage/driver"
)

// choose takes as many of the drawn studies as were asked for, and tells which of them
// can be read now and which have to be restored.
func (d *drill) choose(ctx context.Context, drawn []*picked) (now, later []*picked, err error) {
	left := d.q.Bytes
	for _, p := range drawn {
		if len(now)+len(later) == d.q.Studies {
			break
		}
		if err := d.look(ctx, p); err != nil {
			return nil, nil, fmt.Errorf("asking the index where a study is: %w", err)
		}
		archived, err := d.archived(ctx, p)
		switch n := p.bytes(); {
		case err != nil:
			return nil, nil, err
		case archived && (d.q.NoRestore || d.o.Restorer == nil):
			d.report.Unreadable++
			continue
		case n > left:
			d.report.TooLarge++
			continue
		default:
			left -= n
		}
		if archived {
			later = append(later, p)
		} else {
			now = append(now, p)
		}
	}
	return now, later, nil
}

// archived reports whether packs of the study have to be restored. One that is not there
// is found missing later.
func (d *drill) archived(ctx context.Context, p *picked) (bool, error) {
	p.frozen = map[archive.TierName]int64{}
	for i := range p.packs {
		b, tier, ok := d.o.Tiers.Tier(p.packs[i].Tier)
		if !ok || !tier.Restore {
			continue
		}
		a, err := b.Stat(ctx, p.packs[i].Object)
		if err != nil {
			if err := stops(ctx, err); err != nil {
				return false, err
			}
			continue
		}
		if a.Restore.State == driver.Archived || a.Restore.State == driver.Restoring {
			p.frozen[tier.Name]++
		}
	}
	return len(p.frozen) > 0, nil
}

// ask has studies restored, all at once: they are waited for once. Studies are left out that the
// index does not know (any more), which it has to for that. Those whose facts do not tell their UID stay: what is
// wrong with them is told when they are read.
func (d *drill) ask(ctx context.Context, later []*picked) (_ []*picked, st archive.RestoreStatus, err error) {
	st.State = archive.RestoreDone // of nothing
	named := 0
	for _, p := range later {
		if p.uid == "" {
			if err := d.name(ctx, p); err != nil {
				return nil, st, err
			}
		}
		if p.uid != "" {
			named++
		}
	}
	if named == 0 {
		return later, st, nil
	}
	if st, err = d.askFor(ctx, later); fault.Is(err, fault.NotFound) {
		if later, err = d.known(ctx, later); err == nil {
			st, err = d.askFor(ctx, later)
		}
	}
	if err != nil {
		return nil, st, fmt.Errorf("asking for restores: %w", err)
	}
	for _, p := range later {
		if p.uid == "" {
			continue
		}
		for tier, n := range p.frozen {
			d.tier(tier).Restored += n
		}
	}
	return later, st, nil
}

// askFor has those of the studies restored whose UIDs are known.
func (d *drill) askFor(ctx context.Context, list []*picked) (archive.RestoreStatus, error) {
	var uids []string
	for _, p := range list {
		if p.uid != "" {
			uids = append(uids, p.uid)
		}
	}
	if len(uids) == 0 {
		return archive.RestoreStatus{State: archive.RestoreDone}, nil
	}
	return d.o.Restorer.Ask(ctx, d.o.Tenant, uids, d.q.Priority)
}

// known leaves out those that are not in the index. Each is asked for alone to find out; who asks for all of them
// then joins these restores.
func (d *drill) known(ctx context.Context, list []*picked) (left []*picked, err error) {
	for _, p := range list {
		switch _, err := d.askFor(ctx, []*picked{p}); {
		case fault.Is(err, fault.NotFound):
			d.report.Unreadable++
		case err != nil:
			return nil, err
		default:
			left = append(left, p)
		}
	}
	return left, nil
}

// name finds the UID of a study in its facts.
func (d *drill) name(ctx context.Context, p *picked) error {
	for i := range p.entries {
		e, err := ledger.Read(ctx, d.hot, d.o.Tenant, p.entries[i].Session, p.entries[i].N, d.o.Keys.Secret, ledger.Index)
		if err != nil {
			if err := stops(ctx, err); err != nil {
				return err
			}
			continue // it is told of when it is read again
		}
		if len(e.Fact.Instances) > 0 {
			p.uid = e.Fact.Instances[0].Study
			return nil
		}
	}
	return nil
}

// await returns when the restore has ended. One that failed is told of, and what can be read is tried all the same.
func (d *drill) await(ctx context.Context, st archive.RestoreStatus) (err error) {
	defer d.spend(&d.report.Times.Waiting)()
	if st.State != archive.RestoreDone {
		if st, err = d.o.Restorer.Wait(ctx, d.o.Tenant, st.ID); err != nil {
			return fmt.Errorf("waiting for restores: %w", err)
		}
	}
	switch st.State {
	case archive.RestoreDone:
		return nil
	case archive.RestoreCancelled:
		return fault.New(fault.Conflict, "the restore that the drill waited for was cancelled")
	}
	d.fail("not everything could be restored: "+st.Failure, "")
	return nil
}
