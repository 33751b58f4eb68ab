package restore

import (
	"context"
	"encoding/json"
	"slices"
	"strings"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/fault"
)

// What a row says of a restore's size, times and state is plain: how far it is can be told, and it can be
// cancelled, while the tenant's keys are revoked. Who asked, whom to tell and which objects it is about are sealed.

// Keys seal what rows must not show to whoever steals the database.
type Keys interface {
	// Box needs the tenant's keys, and fails without them.
	Box(ctx context.Context, t archive.Tenant) (Box, error)
}

// Box seals under a tenant's keys. It asks nobody, so that it can be used while a row is changed, and is not kept.
type Box interface {
	// Seal seals what is said about something; it opens as nothing else.
	Seal(about string, plain []byte) ([]byte, error)
	Open(about string, sealed []byte) ([]byte, error)
	// Mark is the same for the same text, and tells it to nobody who has not the key.
	Mark(text string) string
}

// unitSecret is what the row of a study says sealed.
type unitSecret struct {
	By      string   // who asked first
	Hooks   []string `json:",omitempty"`
	Objects []string // by the numbers of items; it only grows
}

// batchSecret is what the row of a request for several says sealed.
type batchSecret struct {
	By   string
	Hook string `json:",omitempty"`
}

// hookSecret is what the row of a word says sealed.
type hookSecret struct {
	URL  string
	Body []byte
}

// about is what the sealed part of a row is bound to: what its key says for as long as the row is.
func about(what string, r Row) string {
	key, _, _ := strings.Cut(r.Key, "/")
	return what + " " + key
}

func sealed(b Box, about string, v any) ([]byte, error) {
	plain, err := json.Marshal(v)
	if err != nil {
		return nil, fault.Wrap(fault.Internal, err, "writing a restore down")
	}
	return b.Seal(about, plain)
}

func opened[T any](b Box, about string, sealed []byte) (v T, err error) {
	plain, err := b.Open(about, sealed)
	if err != nil {
		return v, err
	}
	if err := json.Unmarshal(plain, &v); err != nil {
		return v, fault.Wrap(fault.Internal, err, "reading a restore")
	}
	return v, nil
}

const (
	ofStudy   = "study"
	ofRequest = "request"
	ofWord    = "webhook"
)

// open fills in what the row says sealed.
func (u *unit) open(b Box, r Row) (err error) {
	if u.secret, err = opened[unitSecret](b, about(ofStudy, r), u.Sealed); err != nil {
		return err
	}
	for i := range u.Items {
		it := &u.Items[i]
		if it.N < 0 || it.N >= len(u.secret.Objects) {
			return fault.New(fault.Internal, "reading a restore: it does not say which objects it is about")
		}
		it.Object = u.secret.Objects[it.N]
	}
	return nil
}

// seal seals what open filled in, or what was added to it since.
func (u *unit) seal(b Box, r Row) (err error) {
	u.Told = len(u.secret.Hooks)
	u.Sealed, err = sealed(b, about(ofStudy, r), u.secret)
	return err
}

// number is the object's, a new one where it has none.
func (s *unitSecret) number(object string) int {
	n := slices.Index(s.Objects, object)
	if n < 0 {
		n = len(s.Objects)
		s.Objects = append(s.Objects, object)
	}
	return n
}

// toTell are the URLs to tell of the end of a row's restore: those of the request, which given returns, and the
// tenant's own. named says whether there are any of the request. It needs the tenant's keys only if there is anybody to tell.
func (w *worker) toTell(ctx context.Context, t archive.Tenant, own, named bool, given func(Box) ([]string, error)) (urls []string, b Box, err error) {
	if w.o.Hooks == nil {
		return nil, nil, nil
	}
	if own {
		urls = w.o.Hooks.Always(t)
	}
	if len(urls) == 0 && !named {
		return nil, nil, nil
	}
	if b, err = w.box(ctx, t); err != nil || !named {
		return urls, b, err
	}
	list, err := given(b)
	for _, url := range list {
		if !slices.Contains(urls, url) {
			urls = append(urls[:len(urls):len(urls)], url)
		}
	}
	return urls, b, err
}

// box is the tenant's for this pass; it fails at once where the tenant's archive did not open a moment ago.
func (w *worker) box(ctx context.Context, t archive.Tenant) (Box, error) {
	if b := w.boxes[t]; b != nil {
		return b, nil
	}
	now := w.o.Now()
	if w.away[t].After(now) {
		return nil, errAway
	}
	b, err := w.o.Keys.Box(ctx, t)
	if err != nil {
		if ctx.Err() == nil {
			w.closed(t, err, now)
		}
		return nil, err
	}
	w.boxes[t] = b
	return b, nil
}

var errAway = fault.New(fault.Unavailable, "the tenant's archive does not open")

// reveal has the unit know its objects; false where the tenant's keys are not there.
func (w *worker) reveal(ctx context.Context, h *held) bool {
	if h.known {
		return true
	}
	b, err := w.box(ctx, h.Tenant)
	if err == nil {
		if err = h.open(b, h.Row); err != nil {
			w.o.Slog.Error("a restore cannot be read", "restore", idOf(h.Row), "error", err)
		}
	}
	h.known = err == nil
	return h.known
}
