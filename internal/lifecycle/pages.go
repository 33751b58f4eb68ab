package lifecycle

import (
	"cmp"
	"context"
	"fmt"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/lifecycle/rule"
)

const (
	// pageSize is how many studies are looked at together.
	pageSize = 16384
	// mostWork is how many are worked on before it is asked again how much room there is, which they may have made.
	mostWork = 1000
)

// duePage is a page of studies that are due, and the place behind it.
type duePage struct {
	lives []archive.StudyLife
	end   archive.DuePlace
}

// pages looks at what is due page by page, and then removes what was let go of. The next page is read while
// one is judged and noted.
func (k *Keeper) pages(ctx context.Context, t *tally) error {
	until := k.o.Now() // what becomes due meanwhile is for the next round
	read := func(from archive.DuePlace) (p duePage, err error) {
		if p.lives, p.end, err = k.o.Index.Due(ctx, k.o.Tenant, until, from, k.pageSize); err != nil {
			return p, fmt.Errorf("asking which studies are due: %w", err)
		}
		return p, nil
	}
	p, unread := read(archive.DuePlace{})
	for {
		if unread != nil {
			return unread
		}
		if err := t.over(); err != nil {
			return err
		}
		// The rules after the page: see [Index.Due].
		rules, err := k.still(ctx, t)
		if err != nil {
			return err
		}
		full, end := len(p.lives) == k.pageSize, p.end
		next := func() (n duePage, err error) { return n, nil }
		if full {
			next = ahead(func() (duePage, error) { return read(end) })
		}
		worked, err := k.page(ctx, p, rules, t)
		p, unread = next()
		switch {
		case err != nil:
			return err
		case !full:
			return k.sweep(ctx, t)
		case worked: // it took its time, and what was read before it is old
			p, unread = read(end)
		}
	}
}

// ahead begins to read; what it returns waits for that, and is to be called.
func ahead[T any](read func() (T, error)) func() (T, error) {
	var v T
	var err error
	done := make(chan struct{})
	go func() {
		defer close(done)
		v, err = read()
	}()
	return func() (T, error) {
		<-done
		return v, err
	}
}

// sweep removes what was let go of. An object that cannot be removed is no reason not to look at studies: it is logged, and met
// again in a later sweep. A sweep is broken off when nothing new is to be begun: it is over between two objects.
func (k *Keeper) sweep(ctx context.Context, t *tally) error {
	sweeping, cancel := breakable(ctx, t.ended)
	defer cancel()
	var first error // that kept an object from being removed
	for range maxSweeps {
		if err := t.over(); err != nil {
			return err
		}
		if _, err := k.still(ctx, t); err != nil {
			return err
		}
		w, err := k.o.Settler.Sweep(sweeping)
		t.removed.Add(w.Objects)
		t.removedBytes.Add(w.Bytes)
		k.o.Counters.Removed.Add(w.Objects)
		k.o.Counters.RemovedBytes.Add(w.Bytes)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case sweeping.Err() != nil:
			return context.Cause(sweeping)
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

// placeOf is where a study is, as the row says that was read of it.
func placeOf(l *archive.StudyLife) archive.StudyPlace {
	return archive.StudyPlace{Tiers: l.Tiers, Settled: l.Loose == 0}
}

// page looks at studies: those of which nothing is to be done are noted together,
// the others are worked on one by one, several at once. Worked: there were such.
func (k *Keeper) page(ctx context.Context, p duePage, rules rule.Set, t *tally) (worked bool, err error) {
	t.looked.Add(int64(len(p.lives)))
	k.o.Counters.Looked.Add(int64(len(p.lives)))
	for lives := p.lives; len(lives) > 0; {
		env, err := k.environment(ctx, rules)
		if err != nil {
			return false, err
		}
		next, work := k.judgeAll(lives, rules, env)
		if err := k.o.Index.SetDue(ctx, k.o.Tenant, next...); err != nil {
			return false, fmt.Errorf("noting when studies are due: %w", err)
		}
		n := min(len(work), k.mostWork)
		if err := k.workOn(ctx, work[:n], &basis{rules: rules, env: env}, t); err != nil {
			return true, err
		}
		worked, lives = worked || n > 0, nil
		for _, j := range work[n:] {
			lives = append(lives, j.life)
		}
	}
	if err := k.o.Index.Judged(ctx, k.o.Tenant, p.end); err != nil {
		return worked, fmt.Errorf("noting which studies were looked at: %w", err)
	}
	return worked, nil
}

// judgeAll returns what is to be noted of studies of which nothing is to be done, and the others: all of them, where stores lock.
func (k *Keeper) judgeAll(lives []archive.StudyLife, rules rule.Set, env rule.Environment) (next []archive.NextDue, work []judged) {
	now := k.o.Now()
	for i := range lives {
		l := &lives[i]
		j := k.judge(*l, placeOf(l), rules, now, env)
		if !j.idle() || k.o.Lock != nil {
			work = append(work, j)
			continue
		}
		k.o.Record.succeeded(l.Study)
		if !l.Outdated || !l.Stays(j.decision.Next) {
			next = append(next, l.Next(j.decision.Next))
		}
	}
	return next, work
}
