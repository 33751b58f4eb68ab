package dicomweb

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strconv"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/fault"
)

// heartbeat is how often an idle event stream shows that it lives. Proxies end
// connections that are silent for a minute.
const heartbeat = 15 * time.Second

// follow streams changes as Server-Sent Events (HTML §9.2) until the client goes
// or the server stops. It begins behind Last-Event-ID, else behind the after
// parameter, else with what happens from now on.
func (s *Server) follow(c echo.Context, q archive.ChangeQuery, given bool) error {
	r := c.Request()
	ctx := r.Context()
	if !s.shares.streams.TryAcquire(1) {
		return fault.New(fault.Busy, "too many event streams are open; ask for pages of changes instead")
	}
	defer s.shares.streams.Release(1)
	if id := r.Header.Get("Last-Event-ID"); id != "" {
		after, err := strconv.ParseInt(id, 10, 64)
		if err != nil || after < 0 {
			return fault.New(fault.Invalid, "Last-Event-ID must be the sequence number of a change")
		}
		q.After, given = after, true
	}
	if !given {
		last, err := s.o.Feed.Last(ctx, s.o.Tenant)
		if err != nil {
			return err
		}
		q.After = last
	}
	q.Newest, q.Limit = false, defaultChanges

	w := c.Response()
	h := w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("X-Accel-Buffering", "no") // nginx would collect events
	w.WriteHeader(http.StatusOK)
	if r.Method == http.MethodHead {
		return nil
	}
	out := http.NewResponseController(w.Writer)
	buf := bytes.NewBufferString("retry: 2000\n\n")
	base := s.BaseURL(r)
	tick := time.NewTicker(s.heartbeat)
	defer tick.Stop()
	for {
		grown := s.o.Feed.Watch(s.o.Tenant)
		list, err := s.o.Feed.Changes(ctx, s.o.Tenant, q)
		if err != nil {
			return err
		}
		for i := range list {
			appendEvent(buf, &list[i], base)
			q.After = list[i].Sequence
		}
		if buf.Len() > 0 {
			if _, err := w.Write(buf.Bytes()); err != nil {
				return err
			}
			if err := out.Flush(); err != nil {
				return err
			}
			buf.Reset()
		}
		if len(list) == q.Limit {
			continue
		}
		select {
		case <-grown:
		case <-ctx.Done():
			return ctx.Err()
		case <-s.stopping:
			return nil
		case <-tick.C:
			// A stream outlives the permission it began with, unless asked again.
			if s.o.Authorize != nil {
				if err := s.o.Authorize(r); err != nil {
					return err
				}
			}
			buf.WriteString(": \n\n")
		}
	}
}

func appendEvent(b *bytes.Buffer, ch *archive.Change, base string) {
	data, _ := json.Marshal(changeOf(ch, base)) // strings, a number and a time: never fails
	b.WriteString("id: " + strconv.FormatInt(ch.Sequence, 10) + "\nevent: " + ch.Action + "\ndata: ")
	b.Write(data)
	b.WriteString("\n\n")
}
