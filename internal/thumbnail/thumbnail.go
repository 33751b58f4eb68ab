// Package thumbnail makes and keeps the small pictures of studies, series,
// instances and frames (PS3.18 §10.4.1.1.4). A picture is made once, when it is
// first asked for or by [Maker.Follow] when a study has gone quiet, and is kept
// sealed under the study's key. It is derived and may be dropped at any time.
//
// What is shown is always looked up in the index first: a picture is named after
// the blob it was made of, so that none outlives a deletion or a replacement.
// Every answer asks for the study's key, whether the picture is in memory or not.
//
// What represents a study or a series is, in this order: an image that a Key
// Object Selection document of the study points out (PS3.3 §C.17.6), the middle
// image of the series with the most frames, where pictures of patients come
// before localizers and secondary captures, and those before segmentations and dose. Of an
// instance it is the Representative Frame Number (0028,6010), else the middle frame.
// Where there is nothing to be drawn the answer is fault.NotAcceptable that says why.
package thumbnail

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"io"
	"log/slog"
	"sync"
	"time"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/internal/held"
	"github.com/strata-pacs/strata/internal/pixel/render"
	"github.com/strata-pacs/strata/internal/retrieve"
	"github.com/strata-pacs/strata/storage"
)

// MediaType is that of every thumbnail.
const MediaType = "image/jpeg"

const quality = 80 // of the JPEG, 1 to 100

// Viewport is what a picture has to fit into, in pixels (PS3.18 §8.3.5.1.3). It
// keeps its aspect. The zero Viewport is the default.
type Viewport struct{ Width, Height int }

// The sizes of viewports, in pixels a side.
const (
	DefaultSide = 128
	MaxSide     = 1024
)

func (v Viewport) check() (Viewport, error) {
	if v == (Viewport{}) {
		return Viewport{DefaultSide, DefaultSide}, nil
	}
	if v.Width < 1 || v.Height < 1 || v.Width > MaxSide || v.Height > MaxSide {
		return v, fault.New(fault.Invalid, "viewport: a thumbnail's has a width and a height of 1 to %d pixels", MaxSide)
	}
	return v, nil
}

// kept reports whether pictures of this size go to the store: square ones of
// round sizes, so that no client can make it grow without bound. All others are
// in memory only.
func (v Viewport) kept() bool { return v.Width == v.Height && v.Width%8 == 0 && v.Width <= 512 }

// Index is what thumbnails ask of the index.
type Index interface {
	// Revision is another number whenever the visible instances of a study are
	// others; 0 when there is no such study.
	Revision(ctx context.Context, t archive.Tenant, sel archive.UIDs) (int64, error)
	// Instances yields the visible instances of the selection, ordered by
	// series and instance number.
	Instances(ctx context.Context, t archive.Tenant, sel archive.UIDs, yield func(*archive.InstanceRow) bool) error
}

// Reader retrieves and renders; *retrieve.Reader is one.
type Reader interface {
	Find(ctx context.Context, t archive.Tenant, sel archive.UIDs, d retrieve.Detail) ([]retrieve.Instance, error)
	JSON(ctx context.Context, t archive.Tenant, sel archive.UIDs, base string) ([]byte, error)
	// Rendered renders the frames; nil lets it choose what represents the instance.
	Rendered(ctx context.Context, in *retrieve.Instance, frames []int, mediaType string, o render.Options) (*retrieve.Body, error)
}

// Keys is what thumbnails need of the tenant's keys; *keys.Ring satisfies it.
type Keys interface {
	Derive(purpose string) (archive.Secret, error)
	Ref(uid string) archive.Ref
	Secret(ctx context.Context, id archive.KeyID) (archive.Secret, error)
}

// Options are the parts of a Maker. Index, Reader, Bucket and Keys are required.
type Options struct {
	Index  Index
	Reader Reader
	Bucket *storage.Bucket
	Keys   Keys
	// MemoryBytes bounds the pictures held in memory; 0 is 16 MiB.
	MemoryBytes int64
	// Together, when set, bounds what several Makers and others hold together.
	Together *held.Budget
	// MemoryOnly keeps pictures out of the store.
	MemoryOnly bool
	Log        *slog.Logger     // nil: nobody is told
	Now        func() time.Time // nil: time.Now
}

// Maker makes thumbnails. It is safe for concurrent use.
type Maker struct {
	o       Options
	names   *names
	memory  *memory
	surveys *surveys
	refused *refusals

	ctx  context.Context // of what is being made: it ends with Close
	stop context.CancelFunc
	wg   sync.WaitGroup

	mu      sync.Mutex // guards what follows
	closed  bool
	flights map[pictureKey]*flight
	warned  time.Time // when a failure to keep was last told of
}

// New returns a Maker. Errors are those of Options.Keys.
func New(o Options) (*Maker, error) {
	if o.MemoryBytes <= 0 {
		o.MemoryBytes = 16 << 20
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	secret, err := o.Keys.Derive("thumbnail")
	if err != nil {
		return nil, err
	}
	defer secret.Wipe()
	m := &Maker{o: o, names: newNames(secret), memory: newMemory(o.MemoryBytes, o.Together), surveys: newSurveys(),
		refused: newRefusals(o.Now), flights: map[pictureKey]*flight{}}
	m.ctx, m.stop = context.WithCancel(context.Background())
	return m, nil
}

var errClosed = fault.New(fault.Unavailable, "the archive is being closed; try again when it runs")

// Close stops what is being made, waits for it, and wipes the pictures in
// memory. Nobody may use the Maker afterwards.
func (m *Maker) Close() {
	m.mu.Lock()
	m.closed = true
	m.mu.Unlock()
	m.stop()
	m.wg.Wait()
	m.memory.wipe()
}

// Thumbnail returns the picture of a study, a series, an instance, or with a
// frame above 0 of that frame: an image/jpeg of known size that fits into the
// viewport. Errors are fault.Invalid (the viewport), fault.NotFound (no such
// thing), fault.NotAcceptable (nothing there can be drawn; it says why), and
// those of the keys and the stores.
func (m *Maker) Thumbnail(ctx context.Context, t archive.Tenant, sel archive.UIDs, frame int, v Viewport) (*retrieve.Body, error) {
	v, err := v.check()
	if err != nil {
		return nil, err
	}
	if sel.Study == "" || frame < 0 || frame > 0 && sel.Instance == "" {
		return nil, fault.New(fault.Invalid, "a thumbnail is that of a study, a series, an instance or a frame, counted from 1")
	}
	for attempt := 1; ; attempt++ {
		list, err := m.represent(ctx, t, sel, frame)
		if err != nil {
			return nil, err
		}
		b, err := m.first(ctx, t, list, v)
		if !errors.Is(err, errStale) || attempt == 3 {
			return b, err
		}
	}
}

// errStale: what was to be drawn is not what the index shows any more.
var errStale = fault.New(fault.Unavailable, "the study is changing; try again")

var errArchived = fault.New(fault.Archived, "there is no such thumbnail yet, and the pixels that it is made of lie in an archive; ask again when they are restored")

// first returns the picture of the first candidate that can be drawn. One of which the pixels are in
// an archive may have been found damaged before it went there: another's picture is kept then.
func (m *Maker) first(ctx context.Context, t archive.Tenant, list []candidate, v Viewport) (*retrieve.Body, error) {
	var why error
	for i := range list {
		p, err := m.picture(ctx, t, &list[i], v)
		if err == nil {
			return retrieve.NewBody(MediaType, hex.EncodeToString(p.name[:]), p.jpeg), nil
		}
		archived := fault.Is(err, fault.Archived)
		if !archived && !fault.Is(err, fault.NotAcceptable) {
			return nil, err
		}
		if why == nil || archived {
			why = err
		}
	}
	return nil, why
}

// picture returns a candidate's picture out of memory, out of the store, or newly made.
func (m *Maker) picture(ctx context.Context, t archive.Tenant, c *candidate, v Viewport) (*picture, error) {
	// Whoever may not have the key may not have the picture, nor learn why there is none.
	secret, err := m.o.Keys.Secret(ctx, c.key)
	if err != nil {
		return nil, err
	}
	secret.Wipe()
	k := pictureKey{c.blob, int32(c.frame), int16(v.Width), int16(v.Height)}
	if p := m.memory.get(k); p != nil {
		return p, nil
	}
	if err := m.refused.of(k); err != nil {
		return nil, err
	}
	return m.join(ctx, k, func(ctx context.Context) (*picture, error) { return m.obtain(ctx, t, c, v, k) })
}

// obtain reads the picture from the store, or makes and keeps it.
func (m *Maker) obtain(ctx context.Context, t archive.Tenant, c *candidate, v Viewport, k pictureKey) (*picture, error) {
	secret, err := m.o.Keys.Secret(ctx, c.key)
	if err != nil {
		return nil, err
	}
	defer secret.Wipe()
	name := m.names.of(k)
	object := m.object(t, c.uids.Study, name)
	keep := v.kept() && !m.o.MemoryOnly
	if keep {
		jpeg, err := m.load(ctx, t, c.key, object, name, secret)
		if err != nil {
			return nil, err
		}
		if jpeg != nil {
			p := &picture{name, c.uids.Study, jpeg}
			m.memory.put(k, p)
			return p, nil
		}
	}
	jpeg, err := m.draw(ctx, t, c, v)
	if err != nil {
		if fault.Is(err, fault.NotAcceptable) {
			m.refused.put(k, err)
		}
		return nil, err
	}
	p := &picture{name, c.uids.Study, jpeg}
	m.memory.put(k, p)
	if keep {
		m.store(ctx, t, c, object, name, jpeg, secret)
	}
	return p, nil
}

// draw renders a candidate.
func (m *Maker) draw(ctx context.Context, t archive.Tenant, c *candidate, v Viewport) ([]byte, error) {
	found, err := m.o.Reader.Find(ctx, t, c.uids, retrieve.Layouts)
	if err != nil {
		return nil, err
	}
	if len(found) != 1 || found[0].Blob != c.blob {
		return nil, errStale
	}
	if found[0].Tier == archive.Nearline {
		return nil, errArchived
	}
	var frames []int
	if c.frame > 0 && c.frames > 1 {
		frames = []int{c.frame}
	}
	// No annotations: a thumbnail shows no patient (PS3.18 §10.4.3.3.4).
	body, err := m.o.Reader.Rendered(ctx, &found[0], frames, MediaType, render.Options{MediaType: MediaType, Quality: quality,
		Viewport: &render.Viewport{Width: v.Width, Height: v.Height}})
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	if err := body.Write(ctx, &limited{&b, maxPicture}); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// maxPicture bounds a picture in bytes: more than a JPEG of MaxSide × MaxSide ever has.
const maxPicture = 8 << 20

type limited struct {
	w    io.Writer
	left int
}

func (l *limited) Write(p []byte) (int, error) {
	if l.left -= len(p); l.left < 0 {
		return 0, fault.New(fault.NotAcceptable, "the picture is too large for a thumbnail")
	}
	return l.w.Write(p)
}
