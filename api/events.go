package api

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"net/http"
	"time"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/fault"
)

const (
	// heartbeat is how often an idle stream shows that it lives. Proxies end connections that are silent for a minute.
	heartbeat  = 15 * time.Second
	maxStreams = 256
	streamLine = 30 * time.Second // for a client to take an event
)

// authorizing is the key under which a request's context has what authorizes it again.
type authorizing struct{}

// permitted asks again whether the request may be answered: a stream outlives the permission it began with.
func permitted(ctx context.Context) error {
	if again, ok := ctx.Value(authorizing{}).(func() error); ok {
		return again()
	}
	return nil
}

// WatchRestore answers with a stream of events. An event's id is a digest of what it says.
func (s *server) WatchRestore(ctx context.Context, r WatchRestoreRequestObject) (WatchRestoreResponseObject, error) {
	st, err := s.o.Restores.Status(ctx, archive.Tenant(r.Tenant), r.Restore)
	if err != nil {
		return nil, err
	}
	last := or(r.Params.LastEventID, "")
	if e := s.eventOf(st); st.State.Ended() && e.id == last {
		return WatchRestore204Response{}, nil
	}
	if !s.streams.TryAcquire(1) {
		return nil, fault.New(fault.Busy, "too many event streams are open; ask for the restore now and then instead")
	}
	return &stream{s: s, ctx: ctx, tenant: archive.Tenant(r.Tenant), restore: r.Restore, last: last}, nil
}

// stream is the answer that lasts.
type stream struct {
	s       *server
	ctx     context.Context
	tenant  archive.Tenant
	restore string
	last    string // id of the event that the client has
}

var errStreamOver = errors.New("the stream is over")

// VisitWatchRestoreResponse writes events until the restore is over or the client goes.
func (t *stream) VisitWatchRestoreResponse(w http.ResponseWriter) error {
	defer t.s.streams.Release(1)
	out := http.NewResponseController(w)
	defer func() { _ = out.SetWriteDeadline(time.Time{}) }() // the connection serves other requests
	sent := time.Time{}
	write := func(text string) error {
		sent = time.Now()
		_ = out.SetWriteDeadline(sent.Add(streamLine)) // not every connection has one
		if _, err := w.Write([]byte(text)); err != nil {
			return err
		}
		return out.Flush()
	}
	begun := false
	begin := func() error {
		begun = true
		h := w.Header()
		h.Set("Content-Type", "text/event-stream")
		h.Set("X-Accel-Buffering", "no") // nginx would collect events
		w.WriteHeader(http.StatusOK)
		return write("retry: 2000\n\n")
	}
	err := t.s.o.Restores.Watch(t.ctx, t.tenant, t.restore, func(st archive.RestoreStatus) error {
		if err := permitted(t.ctx); err != nil {
			return err
		}
		if !begun {
			if err := begin(); err != nil {
				return err
			}
		}
		e := t.s.eventOf(st)
		if e.id != t.last {
			t.last = e.id
			if err := write("id: " + e.id + "\nevent: " + e.name + "\ndata: " + string(e.data) + "\n\n"); err != nil {
				return err
			}
		} else if time.Since(sent) >= heartbeat {
			if err := write(":\n\n"); err != nil {
				return err
			}
		}
		if st.State.Ended() {
			return errStreamOver
		}
		return nil
	})
	if err != nil && !begun && !errors.Is(err, errStreamOver) {
		return err // there is still an answer to give it
	}
	return nil
}

// update is an event that tells of a restore.
type update struct {
	id, name string
	data     []byte
}

func (s *server) eventOf(st archive.RestoreStatus) update {
	u := update{name: "progress"}
	if st.State.Ended() {
		u.name = "end"
	}
	u.data, _ = json.Marshal(s.restoreOf(st)) // strings, numbers and times: never fails
	st.Ready = st.Ready.Truncate(time.Second)
	if !st.State.Ended() {
		// An estimate that is pushed on each time it is looked at is no news, unless by a part of what is left.
		st.Ready = st.Ready.Truncate(max(time.Second, st.Ready.Sub(st.Asked)/100))
	}
	told, _ := json.Marshal(s.restoreOf(st))
	sum := sha256.Sum256(told)
	u.id = hex.EncodeToString(sum[:12])
	return u
}
