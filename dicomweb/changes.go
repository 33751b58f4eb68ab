package dicomweb

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/fault"
)

// Feed is the tenant's change feed.
type Feed interface {
	// Changes returns changes in ascending order, or descending when the newest are asked for.
	Changes(ctx context.Context, t archive.Tenant, q archive.ChangeQuery) ([]archive.Change, error)
	// Last is the sequence of the newest change, 0 when there is none.
	Last(ctx context.Context, t archive.Tenant) (int64, error)
	// Watch returns a channel that is closed when the feed next grows. It is
	// taken before the feed is read.
	Watch(t archive.Tenant) <-chan struct{}
}

// Bounds of one page of changes.
const (
	defaultChanges = 100
	maxChanges     = 1000
)

// change is an [archive.Change] as clients see it.
type change struct {
	Sequence int64     `json:"sequence"`
	Time     time.Time `json:"time"`
	Action   string    `json:"action"`
	Study    string    `json:"studyInstanceUID"`
	Series   string    `json:"seriesInstanceUID,omitempty"`
	Instance string    `json:"sopInstanceUID,omitempty"`
	URL      string    `json:"retrieveURL"`
}

type changePage struct {
	Changes []change `json:"changes"`
	// Last is the sequence of the newest change there is; More says that changes
	// which match were left out.
	Last int64  `json:"last"`
	More bool   `json:"more"`
	Next string `json:"next,omitempty"` // where they are
}

func (s *Server) mountChanges() { s.get("/changes", s.changes) }

// changes answers with a page of the change feed, or follows it for a client
// that accepts text/event-stream.
//
// Parameters: after (a sequence), limit, from and to (RFC 3339 times), action
// (create, replace, delete, undelete; a list, or repeated), order=newest.
func (s *Server) changes(c echo.Context) error {
	r := c.Request()
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return fault.New(fault.Invalid, "the query cannot be read: a percent sign must be followed by two hexadecimal digits")
	}
	q, given, err := parseChangeQuery(query)
	if err != nil {
		return err
	}
	offers := []Offer{{Type: "application/json", Alias: []string{typeJSON}}, {Type: "text/event-stream"}}
	switch i, _ := ParseAccept(r).Choose(offers...); i {
	case 0:
	case 1:
		return s.follow(c, q, given)
	default:
		return fault.New(fault.NotAcceptable, "changes are answered in application/json, or followed as text/event-stream; accept one of them")
	}
	ctx := r.Context()
	last, err := s.o.Feed.Last(ctx, s.o.Tenant)
	if err != nil {
		return err
	}
	ask := q
	ask.Limit++
	list, err := s.o.Feed.Changes(ctx, s.o.Tenant, ask)
	if err != nil {
		return err
	}
	page := changePage{Last: last, More: len(list) > q.Limit}
	if page.More {
		list = list[:q.Limit]
	}
	base := s.BaseURL(r)
	page.Changes = make([]change, len(list))
	for i := range list {
		page.Changes[i] = changeOf(&list[i], base)
	}
	if page.More && !q.Newest {
		query.Set("after", strconv.FormatInt(list[len(list)-1].Sequence, 10))
		page.Next = base + "/changes?" + query.Encode()
	}
	body, err := json.Marshal(page)
	if err != nil {
		return fault.Wrap(fault.Internal, err, "writing changes")
	}
	return respondText(c, http.StatusOK, "application/json", body)
}

func changeOf(ch *archive.Change, base string) change {
	u := base + "/studies/" + ch.Study
	if ch.Series != "" {
		u += "/series/" + ch.Series
	}
	if ch.Instance != "" {
		u += "/instances/" + ch.Instance
	}
	return change{ch.Sequence, ch.Time.UTC(), ch.Action, ch.Study, ch.Series, ch.Instance, u}
}

// parseChangeQuery also says whether the query names where to begin.
func parseChangeQuery(v url.Values) (q archive.ChangeQuery, given bool, err error) {
	q.Limit = defaultChanges
	if t := v.Get("after"); t != "" {
		given = true
		if q.After, err = strconv.ParseInt(t, 10, 64); err != nil || q.After < 0 {
			return q, given, fault.New(fault.Invalid, "after must be the sequence number of a change, or 0")
		}
	}
	if t := v.Get("limit"); t != "" {
		if q.Limit, err = strconv.Atoi(t); err != nil || q.Limit < 1 || q.Limit > maxChanges {
			return q, given, fault.New(fault.Invalid, "limit must be a number from 1 to %d", maxChanges)
		}
	}
	for _, p := range []struct {
		name string
		to   *time.Time
	}{{"from", &q.From}, {"to", &q.To}} {
		if t := v.Get(p.name); t != "" {
			// "+" of a time zone left unescaped arrives as a space.
			if *p.to, err = time.Parse(time.RFC3339, strings.ReplaceAll(t, " ", "+")); err != nil {
				return q, given, fault.New(fault.Invalid, "%s must be a time such as 2026-01-31T12:00:00Z", p.name)
			}
		}
	}
	for _, list := range v["action"] {
		for a := range strings.SplitSeq(list, ",") {
			if !slices.Contains([]string{"create", "replace", "delete", "undelete"}, a) {
				return q, given, fault.New(fault.Invalid, "action must be create, replace, delete or undelete, or a list of them")
			}
			q.Actions = append(q.Actions, a)
		}
	}
	switch v.Get("order") {
	case "", "oldest":
	case "newest":
		q.Newest = true
	default:
		return q, given, fault.New(fault.Invalid, "order must be oldest or newest")
	}
	return q, given, nil
}
