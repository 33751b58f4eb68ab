package lifecycle

import (
	"cmp"
	"context"
	"fmt"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/lifecycle/rule"
)

const page = 1000 // studies that are looked at together

func (k *Keeper) pages(ctx context.Context, t *tally) error {
	until := k.o.Now() // what becomes due meanwhile is for the next round
	for after := (*archive.StudyLife)(nil); ; {
		if err := t.over(); err != nil {
			return err
		}
		lives, err := k.o.Index.Due(ctx, k.o.Tenant, until, after, page)
		if err != nil {
			return fmt.Errorf("asking which studies are due: %w", err)
		}
		// The rules after the page: see [Index.Due].
		rules, err := k.still(ctx, t)
		if err != nil {
			return err
		}
		if len(lives) == 0 {
			break
		}
		if err := k.page(ctx, lives, rules, t); err != nil {
			return err
		}
		if len(lives) < page {
			break
		}
		after = &lives[len(lives)-1]
	}
	return k.sweep(ctx, t)
}

// placeOf is where a study is, as the row says that was read of it.
func placeOf(l *archive.StudyLife) archive.StudyPlace {
	return archive.StudyPlace{Tiers: l.Tiers, Settled: l.Loose == 0}
}

// page looks at studies: those of which nothing is to be done are noted together,
// the others are worked on one by one, several at once.
func (k *Keeper) page(ctx context.Context, lives []archive.StudyLife, rules rule.Set, t *tally) error {
	env, err := k.environment(ctx, rules)
	if err != nil {
		return err
	}
	now := k.o.Now()
	var next []archive.NextDue
	var work []judged
	for i := range lives {
		if j := k.judge(lives[i], placeOf(&lives[i]), rules, now, env); j.idle() {
			next = append(next, j.life.Next(j.decision.Next))
			k.o.Record.succeeded(j.life.Study)
		} else {
			work = append(work, j)
		}
	}
	t.looked.Add(int64(len(lives)))
	k.o.Counters.Looked.Add(int64(len(lives)))
	if err := k.o.Index.SetDue(ctx, k.o.Tenant, next...); err != nil {
		return fmt.Errorf("noting when studies are due: %w", err)
	}
	return k.workOn(ctx, work, &basis{rules: rules, env: env}, t)
}

// sweep removes what was let go of. An object that cannot be removed is no reason not to look at studies: it is logged, and met
// again in a later sweep.
func (k *Keeper) sweep(ctx context.Context, t *tally) error {
	var first error // that kept an object from being removed
	for range maxSweeps {
		if err := t.over(); err != nil {
			return err
		}
		if _, err := k.still(ctx, t); err != nil {
			return err
		}
		w, err := k.o.Settler.Sweep(ctx)
		t.removed.Add(w.Objects)
		t.removedBytes.Add(w.Bytes)
		k.o.Counters.Removed.Add(w.Objects)
		k.o.Counters.RemovedBytes.Add(w.Bytes)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		first = cmp.Or(first, err)
		if !w.More || err != nil && w.Objects == 0 {
			break
		}
	}
	if k.o.Record.swept(k.o.Now(), first) {
		k.o.Slog.Warn("objects that were let go of cannot be removed; it is tried again", "error", first)
	}
	return nil
}
