package retrieve

import (
	"bytes"
	"context"
	"encoding/binary"
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
	q := newRendering(NewShares().turns, nil)
	var held []*turn
	for range cap(q.turns) {
		one, err := q.turn(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		held = append(held, one)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := q.turn(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("one too many: %v", err)
	}
	held[0].stored = make([]byte, 0, maxScratch+1)
	q.done(held[0])
	if one, err := q.turn(t.Context()); err != nil {
		t.Error(err)
	} else if cap(one.stored) != 0 {
		t.Error("a large frame's memory is kept")
	}
}

// TestScratch: frames are read into memory that is there, and larger ones are not cut.
func TestScratch(t *testing.T) {
	l := dicom.Frames{}
	if _, err := frameBits(&l, 0, new([]byte), nil); !fault.Is(err, fault.NotFound) {
		t.Errorf("no pixel data: %v", err)
	}
	f := &dicom.File{Syntax: dicom.ExplicitVRLittleEndian, Data: &dicom.Dataset{Order: binary.LittleEndian, Elements: []dicom.Element{
		{Tag: 0x00280002, VR: dicom.US, Value: []byte{1, 0}}, {Tag: 0x00280010, VR: dicom.US, Value: []byte{2, 0}}, {Tag: 0x00280011, VR: dicom.US, Value: []byte{4, 0}},
		{Tag: 0x00280100, VR: dicom.US, Value: []byte{8, 0}}, {Tag: 0x7FE00010, VR: dicom.OB, Bulk: true, Offset: 10, Length: 8}}}}
	made, err := dicom.NewLayout(f)
	if err != nil {
		t.Fatal(err)
	}
	fill := func(v byte) func([]byte, []dicom.Span) ([]byte, error) {
		return func(buf []byte, spans []dicom.Span) ([]byte, error) {
			return append(buf, bytes.Repeat([]byte{v}, int(total(spans)))...), nil
		}
	}
	scratch := make([]byte, 3)
	a, err := frameBits(&made.Frames, 0, &scratch, fill(1))
	if err != nil || !bytes.Equal(a, bytes.Repeat([]byte{1}, 8)) {
		t.Fatalf("%v, %v", a, err)
	}
	own, err := frameBits(&made.Frames, 0, nil, fill(2))
	if err != nil || a[0] != 1 {
		t.Errorf("memory of its own is not: %v, %v", own, err)
	}
	b, err := frameBits(&made.Frames, 0, &scratch, fill(3))
	if err != nil || &b[0] != &a[0] || b[7] != 3 {
		t.Errorf("the memory is not used again: %v, %v", b, err)
	}
}

// TestRenderersAreBounded: those used last are held.
func TestRenderersAreBounded(t *testing.T) {
	q := newRendering(NewShares().turns, nil)
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
