package lifecycle

import (
	"context"
	"time"

	"github.com/strata-pacs/strata/internal/fault"
)

// mostWait is the longest that a Keeper waits after rounds that failed.
const mostWait = 15 * time.Minute

// Run does rounds until the context ends. A round begins only where something is pending, and
// within: it keeps the archive open meanwhile, and fails where that cannot be entered.
func (k *Keeper) Run(ctx context.Context, within func(context.Context, func(context.Context) error) error) {
	wait := time.Duration(0)
	for failing := false; ; { // wait grows while nothing comes of it
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		}
		vain, err := k.once(ctx, within)
		switch {
		case ctx.Err() != nil:
			return
		case err == nil && vain:
			wait = min(max(2*wait, k.o.Interval), mostWait)
		case err == nil:
			if failing {
				k.o.Slog.Info("lifecycle rules are carried out again")
			}
			failing, wait = false, k.o.Interval
		default:
			if !failing {
				k.o.Slog.Warn("lifecycle rules cannot be carried out; it is tried again", "error", err, "kind", fault.KindOf(err).String())
			}
			failing, wait = true, min(max(2*wait, k.o.Interval), mostWait)
		}
	}
}

// once does a round if anything is pending and nobody has paused it. In vain it was where no
// study was due: something is let go of that cannot be removed.
func (k *Keeper) once(ctx context.Context, within func(context.Context, func(context.Context) error) error) (vain bool, err error) {
	d, unread := k.Document(ctx) // also for who asks whether it is paused: another node may have been told
	if pending, err := k.Pending(ctx); err != nil || !pending {
		return false, err
	}
	if unread != nil || d.Paused {
		return false, unread
	}
	err = within(ctx, func(ctx context.Context) error {
		done, err := k.Round(ctx)
		vain = done.Looked+done.Removed == 0
		return err
	})
	return vain, err
}

// Pending reports whether there is anything to look at or to remove. It needs no keys.
func (k *Keeper) Pending(ctx context.Context) (bool, error) {
	now := k.o.Now()
	return k.o.Index.Pending(ctx, k.o.Tenant, now, now.Add(-k.o.Grace), now.Add(-k.o.MoveHold))
}
