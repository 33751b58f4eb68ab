package retrieve

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/dicom"
	"github.com/strata-pacs/strata/internal/fault"
)

func TestChoose(t *testing.T) {
	for _, tt := range []struct {
		held      int
		marked    string // Representative Frame Number
		frames    []int
		mediaType string
		want      []int
		fails     fault.Kind
	}{
		{held: 1, mediaType: "image/jpeg", want: []int{1}},
		{held: 2, mediaType: "image/jpeg", want: []int{2}},
		{held: 3, mediaType: "image/jpeg", want: []int{2}},
		{held: 100, mediaType: "image/png", want: []int{51}},
		{held: 100, marked: "7", mediaType: "image/png", want: []int{7}},
		{held: 100, marked: " 8\x00", mediaType: "image/png", want: []int{8}},
		{held: 100, marked: "101", mediaType: "image/png", want: []int{51}},
		{held: 100, marked: "0", mediaType: "image/png", want: []int{51}},
		{held: 100, marked: "first", mediaType: "image/png", want: []int{51}},
		{held: 100, frames: []int{3}, marked: "7", mediaType: "image/png", want: []int{3}},
		{held: 3, mediaType: "image/gif", want: []int{1, 2, 3}},
		{held: 3, marked: "2", mediaType: "image/gif", want: []int{1, 2, 3}},
		{held: 1, mediaType: "image/gif", want: []int{1}},
		{held: 3, frames: []int{3, 3, 1}, mediaType: "image/gif", want: []int{3, 3, 1}},
		{held: 3, frames: []int{3, 1}, mediaType: "image/png", fails: fault.NotAcceptable},
		{held: 3, frames: []int{4}, mediaType: "image/png", fails: fault.NotFound},
		{held: 0, mediaType: "image/png", fails: fault.NotAcceptable},
		{held: 0, frames: []int{1}, mediaType: "image/png", fails: fault.NotFound},
		{held: 10_000_000, mediaType: "image/gif", fails: fault.NotAcceptable},
	} {
		h := &Header{Frames: tt.held, Data: &dicom.Dataset{}}
		if tt.marked != "" {
			h.Data.Elements = []dicom.Element{{Tag: tagRepresentativeFrame, VR: dicom.IS, Value: []byte(tt.marked)}}
		}
		got, err := choose(h, tt.frames, tt.mediaType)
		if tt.fails != 0 && !fault.Is(err, tt.fails) || tt.fails == 0 && (err != nil || !slices.Equal(got, tt.want)) {
			t.Errorf("%+v: %v, %v", tt, got, err)
		}
	}
	h := &Header{Frames: 900, Data: &dicom.Dataset{Elements: []dicom.Element{{Tag: tagRepresentativeFrame, VR: dicom.US, Value: []byte{0x01, 0x02}}}}}
	if got := representative(h); got != 0x201 {
		t.Errorf("a binary Representative Frame Number: %d", got)
	}
}

// TestTurns: no more are rendered at once than there are cores, and who waits may go.
func TestTurns(t *testing.T) {
	q := newRendering()
	var held []func()
	for range cap(q.turns) {
		done, err := q.turn(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		held = append(held, done)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := q.turn(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("one too many: %v", err)
	}
	held[0]()
	if done, err := q.turn(t.Context()); err != nil {
		t.Error(err)
	} else {
		done()
	}
}

// TestRenderersAreBounded: those used last are held.
func TestRenderersAreBounded(t *testing.T) {
	q := newRendering()
	h := &Header{Data: &dicom.Dataset{}}
	id := func(n int) *Instance { return &Instance{Blob: archive.BlobID([]byte(fmt.Sprintf("%032d", n)))} }
	first := q.renderer(nil, id(0), h)
	for n := range 3 * maxRenderers {
		q.renderer(nil, id(n), h)
		if q.renderer(nil, id(0), h) != first {
			t.Fatalf("what is used all the time was let go after %d", n)
		}
	}
	if len(q.items) != maxRenderers || q.lru.Len() != maxRenderers {
		t.Errorf("%d and %d are held", len(q.items), q.lru.Len())
	}
	q.wipe()
	if len(q.items) != 0 || q.lru.Len() != 0 {
		t.Error("something is left")
	}
}
