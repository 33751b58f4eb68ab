package restore

import (
	"context"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/fault"
)

// Hooks tells others that a restore has ended.
type Hooks interface {
	// Allowed refuses a URL that a request names with fault.Invalid.
	Allowed(t archive.Tenant, url string) error
	// Always returns the URLs that are told of all restores of the tenant.
	Always(t archive.Tenant) []string
	// Post sends a body; id is the same when it is sent again.
	Post(ctx context.Context, t archive.Tenant, url, id string, body []byte) error
}

const (
	hooksAtOnce = 8
	hookTime    = 15 * time.Second // for an answer
	hookFirst   = 5 * time.Second  // until the second attempt; then twice as long each time
	hookLatest  = time.Hour
	hookGiveUp  = 24 * time.Hour
)

// hook is a word that is to be brought. It is brought at least once.
type hook struct {
	Sealed []byte // hookSecret
	Tries  int    `json:",omitempty"`
}

// tell writes down that a URL is to be told.
func (w *worker) tell(ctx context.Context, b Box, st archive.RestoreStatus, url string, now time.Time) error {
	body, err := eventOf(st)
	if err != nil {
		return fault.Wrap(fault.Internal, err, "writing an event")
	}
	_, err = w.o.Table.Merge(ctx, st.Tenant, kindHook, st.ID+"/"+b.Mark(url), now, 0, func(row *Row) error {
		if row.ID != 0 {
			return nil
		}
		s, err := sealed(b, about(ofWord, *row), hookSecret{URL: url, Body: body})
		if err != nil {
			return err
		}
		row.Due = now
		return encode(row, hook{Sealed: s})
	})
	return err
}

// deliver brings words until the context ends. Its time goes on while stores are asked.
func (r *Restorer) deliver(ctx context.Context) {
	tick := time.NewTicker(r.o.Poll)
	defer tick.Stop()
	for {
		if err := r.deliverDue(ctx); err != nil && ctx.Err() == nil {
			r.o.Slog.Warn("webhooks wait", "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

func (r *Restorer) deliverDue(ctx context.Context) error {
	rows, err := r.o.Table.Due(ctx, kindHook, r.o.Now(), Row{}, announcePage)
	if err != nil {
		return err
	}
	var g errgroup.Group
	g.SetLimit(hooksAtOnce)
	for _, row := range rows {
		g.Go(func() error { return r.deliverOne(ctx, row) })
	}
	return g.Wait()
}

func (r *Restorer) deliverOne(ctx context.Context, row Row) error {
	h, err := decode[hook](row)
	if err != nil {
		return err
	}
	err = r.post(ctx, row, h)
	now := r.o.Now()
	switch {
	case ctx.Err() != nil:
		return nil
	case err == nil:
		return r.o.Table.Remove(ctx, row.ID)
	case fault.Is(err, fault.Invalid), now.Sub(row.Created) > hookGiveUp:
		r.o.Slog.Error("a webhook is given up", "tenant", string(row.Tenant), "error", err)
		return r.o.Table.Remove(ctx, row.ID)
	}
	_, err = r.o.Table.Change(ctx, row.ID, func(row *Row) error {
		row.Due = now.Add(min(hookFirst<<min(h.Tries, 20), hookLatest))
		h.Tries++
		return encode(row, h)
	})
	if fault.Is(err, fault.NotFound) {
		return nil
	}
	return err
}

// post brings a word to whom it is for, who may be allowed no more by now.
func (r *Restorer) post(ctx context.Context, row Row, h hook) error {
	call, cancel := context.WithTimeout(ctx, hookTime)
	defer cancel()
	b, err := r.o.Keys.Box(call, row.Tenant)
	if err != nil {
		return err
	}
	s, err := opened[hookSecret](b, about(ofWord, row), h.Sealed)
	if err != nil {
		return err
	}
	if err := r.o.Hooks.Allowed(row.Tenant, s.URL); err != nil {
		return err
	}
	return r.o.Hooks.Post(call, row.Tenant, s.URL, row.Key, s.Body)
}
