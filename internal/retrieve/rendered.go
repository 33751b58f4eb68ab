package retrieve

import (
	"bytes"
	"container/list"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"image"
	"io"
	"iter"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/dicom"
	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/internal/held"
	"github.com/strata-pacs/strata/internal/pixel/render"
)

// NewBody returns a body of bytes that are in memory already and are not changed.
func NewBody(mediaType, version string, b []byte) *Body {
	return &Body{MediaType: mediaType, Size: int64(len(b)), Version: version,
		write: func(_ context.Context, w io.Writer, off, n int64) error {
			_, err := w.Write(b[off:][:n])
			return err
		}}
}

// Renderings returns the media types that an instance found with Layouts can be
// rendered as, the best first (PS3.18 §8.7.4): images as JPEG, PNG and GIF, for
// documents and videos see [DocumentTypes]. nil when there is nothing to be shown.
// That it can be does not say that it is not damaged.
func (r *Reader) Renderings(in *Instance) []string {
	if types := DocumentTypes(in); types != nil {
		return types
	}
	if l, err := in.where(); err != nil || l.Frames.Tag == 0 {
		return nil
	}
	return []string{render.JPEG, render.PNG, render.GIF}
}

// appearance goes up when the same options come to give other pictures.
const appearance = 1

// RenderedVersion returns the Version that the body of Rendered with the same
// arguments has, without rendering anything.
func RenderedVersion(in *Instance, frames []int, mediaType string, o render.Options) string {
	if slices.Contains(DocumentTypes(in), mediaType) {
		return in.version()
	}
	h := sha256.New()
	fmt.Fprintf(h, "%d %v %s %d %t %t %s", appearance, frames, mediaType, o.Quality, o.Patient, o.Technique, o.ICC)
	if o.Window != nil {
		fmt.Fprintf(h, " window %v", *o.Window)
	}
	if o.Viewport != nil {
		fmt.Fprintf(h, " viewport %v", *o.Viewport)
	}
	return in.version() + "-" + hex.EncodeToString(h.Sum(nil)[:8])
}

// Rendered returns what a person sees of an instance found with Layouts, as one
// of its Renderings. frames, counted from 1, says of what; nil is the instance.
//
// A picture is of one frame: of an instance with several its Representative
// Frame Number (0028,6010) or else the middle one. A GIF of several frames, those
// asked for or all, is an animation, made while it is sent; every other
// picture is made at once and of known size. For documents and videos see
// [Reader.Document], whose MediaType may be another of the Renderings; they have no frames.
//
// fault.NotFound past the last frame, fault.Invalid when the options are not
// valid, fault.NotAcceptable when it cannot be rendered: the message says why.
func (r *Reader) Rendered(ctx context.Context, in *Instance, frames []int, mediaType string, o render.Options) (*Body, error) {
	if slices.Contains(DocumentTypes(in), mediaType) {
		if frames != nil {
			return nil, fault.New(fault.NotAcceptable, "a document or a video is rendered whole; ask for the instance, not for its frames")
		}
		return r.Document(ctx, in)
	}
	o.MediaType = mediaType
	if err := o.Validate(); err != nil {
		return nil, err
	}
	h, err := r.Header(ctx, in)
	if err != nil {
		return nil, err
	}
	if err := r.drawable(in, h, mediaType); err != nil {
		return nil, err
	}
	version := RenderedVersion(in, frames, mediaType, o)
	if frames, err = choose(h, frames, mediaType); err != nil {
		return nil, err
	}
	own := *in // the caller's may not outlive the call
	d := &drawing{r: r, in: &own, x: r.rendering.renderer(r, &own, h), o: o}
	if len(frames) > 1 {
		return d.animation(ctx, frames, version)
	}
	b, err := d.picture(ctx, frames[0])
	if err != nil {
		return nil, err
	}
	return NewBody(mediaType, version, b), nil
}

// drawable says why no pictures can be made of an instance, or nil.
func (r *Reader) drawable(in *Instance, h *Header, mediaType string) error {
	if types := DocumentTypes(in); types != nil {
		return fault.New(fault.NotAcceptable, "this instance is not an image and is rendered as %s, not as %s", strings.Join(types, " or "), mediaType)
	}
	if h.PixelData == 0 {
		return errNoPixels
	}
	return decodable(h, in.Syntax, r.o.Codecs)
}

const tagRepresentativeFrame dicom.Tag = 0x00286010

// choose returns the frames to render, at least one.
func choose(h *Header, frames []int, mediaType string) ([]int, error) {
	for _, n := range frames {
		if n < 1 || n > h.Frames {
			return nil, fault.New(fault.NotFound, "this instance has %d frames, counted from 1", h.Frames)
		}
	}
	switch {
	case h.Frames < 1:
		return nil, fault.New(fault.NotAcceptable, "the pixel data of this instance hold no whole frame; retrieve it as it is stored")
	case len(frames) > 1 && mediaType != render.GIF:
		return nil, fault.New(fault.NotAcceptable, "several frames become one image/gif; ask for that, or for one frame at a time")
	case len(frames) > 0:
		return frames, nil
	case mediaType == render.GIF && h.Frames > 1:
		if h.Frames > render.MaxAnimationFrames {
			return nil, render.CheckAnimation(h.Frames, image.Point{1, 1})
		}
		for n := range h.Frames {
			frames = append(frames, n+1)
		}
		return frames, nil
	}
	return []int{representative(h)}, nil
}

// representative returns the frame that stands for an instance.
func representative(h *Header) int {
	if e := h.Data.Lookup(tagRepresentativeFrame); e != nil && !e.Bulk {
		s := strings.TrimSpace(strings.TrimRight(string(e.Value), "\x00"))
		if len(e.Value) == 2 && e.VR == dicom.US {
			s = strconv.Itoa(int(e.Value[0]) | int(e.Value[1])<<8)
		}
		if n, err := strconv.Atoi(s); err == nil && n >= 1 && n <= h.Frames {
			return n
		}
	}
	return h.Frames/2 + 1
}

// drawing renders frames of one instance.
type drawing struct {
	r  *Reader
	in *Instance
	x  *render.Renderer
	o  render.Options
}

// frame decodes and renders a frame in a turn.
func (d *drawing) frame(ctx context.Context, t *turn, n int) (image.Image, error) {
	img, err := d.r.image(ctx, d.in, n, &t.stored)
	if err != nil {
		return nil, err
	}
	return d.x.Frame(ctx, n, img, d.o)
}

// picture renders and encodes a frame.
func (d *drawing) picture(ctx context.Context, n int) ([]byte, error) {
	t, err := d.r.rendering.turn(ctx)
	if err != nil {
		return nil, err
	}
	defer d.r.rendering.done(t)
	img, err := d.frame(ctx, t, n)
	if err != nil {
		return nil, err
	}
	defer render.Release(img)
	icc, err := d.x.Profile(ctx, d.o)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	if err := render.Encode(&b, img, d.o, icc); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// animation prepares a GIF of several frames. The first is rendered before the
// answer begins, which is when most of what can go wrong does.
func (d *drawing) animation(ctx context.Context, frames []int, version string) (*Body, error) {
	first, err := d.turn(ctx, frames[0])
	if err != nil {
		return nil, err
	}
	if err := render.CheckAnimation(len(frames), first.Bounds().Size()); err != nil {
		return nil, err
	}
	return &Body{MediaType: render.GIF, Size: -1, Version: version, write: func(ctx context.Context, w io.Writer, _, _ int64) error {
		delay := func(i int) time.Duration { return d.x.Delay(frames[i]) }
		return render.EncodeGIF(w, d.all(ctx, first, frames), delay)
	}}, nil
}

// turn renders a frame when it is its turn.
func (d *drawing) turn(ctx context.Context, n int) (image.Image, error) {
	t, err := d.r.rendering.turn(ctx)
	if err != nil {
		return nil, err
	}
	defer d.r.rendering.done(t)
	return d.frame(ctx, t, n)
}

func (d *drawing) all(ctx context.Context, first image.Image, frames []int) iter.Seq2[image.Image, error] {
	return func(yield func(image.Image, error) bool) {
		if !yield(first, nil) {
			return
		}
		for _, n := range frames[1:] {
			img, err := d.turn(ctx, n)
			if !yield(img, err) || err != nil {
				return
			}
		}
	}
}

// rendering bounds what is rendered at once and remembers how to render.
type rendering struct {
	turns    chan *turn
	together *held.Budget

	mu    sync.Mutex
	items map[archive.BlobID]*list.Element
	lru   list.List // of *heldRenderer, the latest first
}

// turn is leave to render on a core, and memory to do it with. Without the
// memory, collecting garbage took a quarter of the time.
type turn struct{ stored []byte }

// maxScratch is the most memory that a turn keeps for the next.
const maxScratch = 8 << 20

type heldRenderer struct {
	blob archive.BlobID
	x    *render.Renderer
}

// maxRenderers bounds the renderers held: each may have lookup tables of so many bytes.
const (
	maxRenderers  = 64
	rendererBytes = 100 << 10
)

func newRendering(turns chan *turn, together *held.Budget) *rendering {
	return &rendering{turns: turns, together: together, items: map[archive.BlobID]*list.Element{}}
}

// turn waits until there is a core to render on; done gives it back.
func (q *rendering) turn(ctx context.Context) (*turn, error) {
	select {
	case t := <-q.turns:
		return t, nil
	case <-ctx.Done():
		return nil, fmt.Errorf("waiting to render: %w", ctx.Err())
	}
}

func (q *rendering) done(t *turn) {
	// The next may be of another tenant, or this one's key be taken away.
	clear(t.stored[:cap(t.stored)])
	if cap(t.stored) > maxScratch {
		t.stored = nil
	}
	q.turns <- t
}

// renderer returns the instance's renderer, prepared once.
func (q *rendering) renderer(r *Reader, in *Instance, h *Header) *render.Renderer {
	q.mu.Lock()
	defer q.mu.Unlock()
	if e := q.items[in.Blob]; e != nil {
		q.lru.MoveToFront(e)
		return e.Value.(*heldRenderer).x
	}
	x := render.New(h.Data, func(ctx context.Context, e *dicom.Element) ([]byte, error) { return r.Value(ctx, in, e) })
	if q.lru.Len() == maxRenderers {
		q.drop()
	}
	for !q.together.Take(rendererBytes) {
		if q.lru.Len() == 0 {
			return x
		}
		q.drop()
	}
	q.items[in.Blob] = q.lru.PushFront(&heldRenderer{in.Blob, x})
	return x
}

// drop forgets the renderer that was used least recently.
func (q *rendering) drop() {
	delete(q.items, q.lru.Remove(q.lru.Back()).(*heldRenderer).blob)
	q.together.Give(rendererBytes)
}

func (q *rendering) wipe() {
	q.mu.Lock()
	defer q.mu.Unlock()
	for q.lru.Len() > 0 {
		q.drop()
	}
}
