package dicomweb

import (
	"context"
	"encoding/json"
	"errors"
	"math"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/internal/fault/problem"
	"github.com/strata-pacs/strata/internal/retrieve"
)

// Recaller has what lies in an archive tier restored.
type Recaller interface {
	// Recall starts the restore of what the selection needs, or joins one that is
	// under way; nothing is asked of the store twice.
	Recall(ctx context.Context, t archive.Tenant, sel archive.UIDs) (archive.RestoreStatus, error)
	// Wait returns when the restore has ended, or with the context's error.
	Wait(ctx context.Context, t archive.Tenant, id string) (archive.RestoreStatus, error)
	// Status tells how far a restore of the tenant is; fault.NotFound.
	Status(ctx context.Context, t archive.Tenant, id string) (archive.RestoreStatus, error)
}

const (
	pathRestore = "/restores/:restore"
	// maxWait bounds what a client may prefer to wait.
	maxWait = 10 * time.Minute
	// soon is when to ask again where nobody can tell how long a restore takes.
	soon = time.Minute
)

// Keys of what a handler notes of its request.
const (
	noteSelection = "selection" // archive.UIDs
	noteElsewhere = "elsewhere" // error: why pixels cannot be read at once
)

var (
	errArchived    = fault.New(fault.Archived, "this lies in an archive and must be restored before it can be read; metadata, thumbnails and searches answer at once")
	errUnreachable = lasting{fault.New(fault.Unavailable, "this lies in a tier that the server is not configured for; ask its operator")}
)

// lasting is an error that stays until somebody does something about it: to ask again soon helps nobody.
type lasting struct{ error }

func (e lasting) Unwrap() error { return e.error }

// RetryAfter is what problem documents ask errors for.
func (lasting) RetryAfter() time.Duration { return -1 }

// lookup finds the instances of a selection, and notes where pixels of them cannot
// be read at once. There is at least one instance without an error.
func (s *Server) lookup(c echo.Context, sel archive.UIDs, d retrieve.Detail) ([]retrieve.Instance, error) {
	list, err := s.o.Retrieve.Find(c.Request().Context(), s.o.Tenant, sel, d)
	if err != nil {
		return nil, err
	}
	if len(list) == 0 {
		return nil, errNothing
	}
	c.Set(noteSelection, sel)
	c.Set(noteElsewhere, elsewhere(list))
	return list, nil
}

// elsewhere says why not all of the instances can be read at once; nil: they can.
func elsewhere(list []retrieve.Instance) (err error) {
	for i := range list {
		switch list[i].Tier {
		case archive.Nearline:
			err = errArchived
		case archive.Unavailable:
			return errUnreachable
		}
	}
	return err
}

// here returns an error where what is about to be sent cannot be read at once. To be asked
// before the answer begins, and after it was compared with what the client has.
func here(c echo.Context) error {
	err, _ := c.Get(noteElsewhere).(error)
	return err
}

// pixels mounts below Root a handler of what must be read from where it is stored.
func (s *Server) pixels(path string, h echo.HandlerFunc) { s.get(path, s.recalls(h)) }

// recalls has restored what the handler finds in an archive. Without a preference
// of the client (RFC 7240) the answer is 503 with the time to come back and a
// link to the restore; with respond-async 202 with its Location; with wait=N the handler
// goes on once everything is there, if that is within N seconds. HEAD costs nothing and restores nothing.
func (s *Server) recalls(h echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		err := h(c)
		sel, found := c.Get(noteSelection).(archive.UIDs)
		switch {
		case c.Request().Method != http.MethodGet:
			return err
		case err == nil:
			if found && s.o.Accessed != nil {
				s.o.Accessed(sel.Study)
			}
			return nil
		case !fault.Is(err, fault.Archived) || !found || s.o.Recall == nil || c.Response().Committed:
			return err
		}
		return s.recall(c, h, sel, err)
	}
}

func (s *Server) recall(c echo.Context, h echo.HandlerFunc, sel archive.UIDs, archived error) error {
	ctx := c.Request().Context()
	st, err := s.o.Recall.Recall(ctx, s.o.Tenant, sel)
	if err != nil {
		return err
	}
	prefer := preferencesOf(c.Request())
	var applied []string
	if prefer.wait > 0 {
		applied = append(applied, "wait="+strconv.Itoa(int(prefer.wait/time.Second)))
		if st, err = s.await(ctx, st, prefer.wait); err != nil {
			return err
		}
	}
	if st.State == archive.RestoreDone {
		c.Response().Header().Del("Warning") // the handler says it again
		if len(applied) > 0 {
			c.Response().Header().Set("Preference-Applied", applied[0])
		}
		if err := h(c); !fault.Is(err, fault.Archived) || c.Response().Committed {
			return err
		}
	}
	if prefer.async {
		applied = append(applied, "respond-async")
	}
	if len(applied) > 0 {
		c.Response().Header().Set("Preference-Applied", strings.Join(applied, ", "))
	}
	if prefer.async {
		return s.accepted(c, st)
	}
	return &recalled{archived, st, s.restoreURL(c, st.ID)}
}

// await waits for a restore, no longer than the client wants and the server lives.
func (s *Server) await(ctx context.Context, st archive.RestoreStatus, patience time.Duration) (archive.RestoreStatus, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	var watching sync.WaitGroup
	watching.Go(func() {
		select {
		case <-s.stopping:
			cancel()
		case <-ctx.Done():
		}
	})
	defer watching.Wait()
	defer cancel()
	now, err := s.o.Recall.Wait(ctx, s.o.Tenant, st.ID)
	switch {
	case err == nil:
		return now, nil
	case cutOff(ctx):
		return st, context.Cause(ctx)
	case ctx.Err() != nil:
		return st, nil // it goes on without the client
	}
	return st, err
}

// accepted answers that the restore is under way (RFC 9110 §15.3.3).
func (s *Server) accepted(c echo.Context, st archive.RestoreStatus) error {
	c.Response().Header().Set("Location", s.restoreURL(c, st.ID))
	return s.tell(c, http.StatusAccepted, st)
}

// getRestore tells how far a restore is that a retrieval started.
func (s *Server) getRestore(c echo.Context) error {
	st, err := s.o.Recall.Status(c.Request().Context(), s.o.Tenant, c.Param("restore"))
	if err != nil {
		return err
	}
	return s.tell(c, http.StatusOK, st)
}

func (s *Server) tell(c echo.Context, status int, st archive.RestoreStatus) error {
	body, err := json.Marshal(restoreOf(st, s.restoreURL(c, st.ID)))
	if err != nil {
		return err
	}
	h := c.Response().Header()
	problem.Clear(h)
	if wait, going := s.comeBack(st); going {
		h.Set("Retry-After", wait)
	}
	h.Set("Content-Type", "application/json")
	h.Set("Content-Length", strconv.Itoa(len(body)))
	c.Response().WriteHeader(status)
	if c.Request().Method == http.MethodHead {
		return nil
	}
	_, err = c.Response().Write(body)
	return err
}

func (s *Server) restoreURL(c echo.Context, id string) string {
	return s.BaseURL(c.Request()) + strings.Replace(pathRestore, ":restore", id, 1)
}

// comeBack returns the seconds after which to ask again, and whether there is anything to wait for.
func (s *Server) comeBack(st archive.RestoreStatus) (seconds string, going bool) {
	wait := soon
	if !st.Ready.IsZero() {
		wait = max(time.Second, st.Ready.Sub(s.o.Now()))
	}
	going = st.State == archive.RestoreWaiting || st.State == archive.RestoreRunning
	return strconv.FormatInt(int64(math.Ceil(wait.Seconds())), 10), going
}

// recalled is the error of a retrieval that started a restore, or joined one.
type recalled struct {
	err    error
	status archive.RestoreStatus
	url    string
}

func (r *recalled) Error() string { return r.err.Error() }
func (r *recalled) Unwrap() error { return r.err }

// addRestore adds the restore to the problem document of a retrieval that needs one.
func (s *Server) addRestore(c echo.Context, err error, d *problem.Document) {
	var r *recalled
	if !errors.As(err, &r) {
		return
	}
	d.Restore = restoreOf(r.status, r.url)
	d.Detail = detailOf(r.status)
	h := c.Response().Header()
	h.Add("Link", "<"+r.url+`>; rel="monitor"`)
	if wait, going := s.comeBack(r.status); going {
		h.Set("Retry-After", wait)
	}
}

// detailOf says to a person what becomes of what lies in an archive.
func detailOf(st archive.RestoreStatus) string {
	const rest = "; metadata, thumbnails and searches answer at once"
	switch {
	case st.State == archive.RestoreFailed:
		return "this lies in an archive, and restoring it failed; ask again, and if that fails too the operator, who is told why" + rest
	case st.State == archive.RestoreCancelled:
		return "this lies in an archive, and restoring it was cancelled; ask again to have it restored" + rest
	case st.Ready.IsZero():
		return "this lies in an archive and is being restored; ask again later" + rest
	}
	return "this lies in an archive and is being restored; it is expected at " + st.Ready.UTC().Format("2006-01-02 15:04 UTC") + rest
}

// restoreOf is how clients see a restore.
func restoreOf(st archive.RestoreStatus, url string) *problem.Restore {
	r := &problem.Restore{Href: url, State: string(st.State), Priority: string(st.Priority),
		Objects: st.Packs, ObjectsReady: st.PacksIn, Bytes: st.Bytes, BytesReady: st.BytesIn, Failure: st.Failure}
	for to, at := range map[*string]time.Time{&r.Asked: st.Asked, &r.Ready: st.Ready, &r.Until: st.Until} {
		if !at.IsZero() {
			*to = at.UTC().Format(time.RFC3339)
		}
	}
	return r
}

// preferences are those of a client that are honoured here (RFC 7240).
type preferences struct {
	async bool          // respond-async, §4.1
	wait  time.Duration // wait=N, §4.3; at most maxWait
}

func preferencesOf(r *http.Request) (p preferences) {
	seen := map[string]bool{}
	for _, v := range r.Header["Prefer"] {
		for v != "" {
			var item string
			item, v = cutUnquoted(v, ',')
			item, _, _ = strings.Cut(item, ";")
			name, value, _ := strings.Cut(item, "=")
			if name = strings.ToLower(strings.TrimSpace(name)); seen[name] {
				continue // the first counts, §2
			}
			seen[name] = true
			switch name {
			case "respond-async":
				p.async = true
			case "wait":
				n, err := strconv.ParseUint(strings.Trim(strings.TrimSpace(value), `"`), 10, 31)
				if err == nil {
					p.wait = min(time.Duration(n)*time.Second, maxWait)
				}
			}
		}
	}
	return p
}
