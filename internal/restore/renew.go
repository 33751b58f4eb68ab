package restore

import (
	"context"
	"slices"
	"time"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/internal/lifecycle/cost"
	"github.com/strata-pacs/strata/storage/driver"
)

// renew has copies stay that are there while other packs of their study are still to come: when
// half of their time is over. Else those that came first would go before the last is there, and be restored, and paid for,
// again and again. To prolong a copy costs a request and moves nothing.
func (w *worker) renew(ctx context.Context, e edits, now time.Time) {
	var list []place
	for _, h := range w.open {
		if !h.compared || h.blind || h.Cancelled || !h.coming() {
			continue
		}
		for _, p := range h.packs {
			if slices.ContainsFunc(h.Items, func(i item) bool { return i.Object == p.Object && i.State == asked }) {
				continue // for the same
			}
			_, tier, ok := w.o.Tiers.Tier(p.Tier)
			if ok && tier.Restore && p.Restored.After(now) && p.Restored.Sub(now) <= h.For/2 && !w.paused(p.Tier, now) && w.rate(p.Tier).AllowN(now, 1) {
				list = append(list, place{h, &item{Object: p.Object, Size: p.Size, Tier: p.Tier, Until: p.Restored}, 0})
			}
		}
	}
	w.each(ctx, list, func(ctx context.Context, p place, s Store, tier archive.Tier) func() {
		until, err := w.prolong(ctx, p, s, tier, now)
		return func() {
			if err != nil {
				w.o.Slog.Warn("a readable copy was not prolonged; it is tried again", "tier", string(tier.Name), "error", err)
				if fault.Is(err, fault.Unavailable) || fault.Is(err, fault.Timeout) {
					w.pause(tier.Name, err, now)
				}
				return
			}
			at := slices.IndexFunc(p.Items, func(i item) bool { return i.Object == p.item.Object && i.State == in })
			if at >= 0 && until.After(p.Items[at].Until) {
				w.edit(e, place{p.held, &p.Items[at], at}, func(it *item) { it.Until = until })
			}
		}
	})
}

// prolong has the copy of a pack stay for the time that the restore gives, and returns until when it does; zero where there is none.
func (w *worker) prolong(ctx context.Context, p place, s Store, tier archive.Tier, now time.Time) (until time.Time, err error) {
	attrs, err := s.Stat(ctx, p.item.Object)
	switch {
	case err != nil:
		return until, err
	case attrs.Restore.State == driver.Restored:
	case attrs.Restore.State == driver.Online:
		return until, nil
	default: // what the index knows of is a copy that a move left
		at := archive.PackState{PackPlace: archive.PackPlace{Object: p.item.Object, Size: p.item.Size, Tier: tier.Name}, Restored: p.item.Until}
		return w.o.Index.Keep(ctx, p.Tenant, at, now.Add(p.For))
	}
	speed, _ := cost.Speed(tier, p.Priority)
	if err := s.Thaw(ctx, p.item.Object, driver.ThawOptions{For: max(p.For, leastTime), Speed: speed.Word}); err != nil {
		return until, err
	}
	if attrs, err = s.Stat(ctx, p.item.Object); err != nil || attrs.Restore.State != driver.Restored {
		return until, err
	}
	return attrs.Restore.Until, w.o.Index.SetRestored(ctx, p.Tenant, p.item.Object, attrs.Restore.Until)
}

// coming reports whether packs of the study are still to come.
func (u *unit) coming() bool {
	return slices.ContainsFunc(u.Items, func(i item) bool { return i.State == waiting || i.State == asked })
}
