package sandbox

import (
	"bytes"
	"errors"
	"testing"

	"github.com/strata-pacs/strata/internal/fault"
)

// TestReplies: what a worker says that was taken over is not believed.
func TestReplies(t *testing.T) {
	j := Job{Op: DecodeJPEG, Rows: 4, Columns: 4, Samples: 1, BitsAllocated: 8, BitsStored: 8, Data: []byte("x")}
	if err := j.check(); err != nil {
		t.Fatal(err)
	}
	q := requestOf(&j, 1)
	good := reply{Magic: magicReply, BitsStored: 8, Length: 16}
	for name, tt := range map[string]struct {
		change func(r *reply)
		data   int
		wire   bool // the worker is none
		bad    bool // the image is
	}{
		"good":        {func(*reply) {}, 16, false, false},
		"magic":       {func(r *reply) { r.Magic++ }, 16, true, false},
		"outcome":     {func(r *reply) { r.Outcome = outcomes }, 16, true, false},
		"broken":      {func(r *reply) { r.Outcome = broken; r.Length = 0 }, 0, true, false},
		"damaged":     {func(r *reply) { r.Outcome = damaged; r.Length = 0 }, 0, false, true},
		"mismatched":  {func(r *reply) { r.Outcome = mismatched; r.Length = 0 }, 0, false, true},
		"with data":   {func(r *reply) { r.Outcome = damaged }, 16, true, false},
		"empty":       {func(r *reply) { r.Length = 0 }, 0, true, false},
		"less":        {func(r *reply) { r.Length = 15 }, 15, true, false},
		"more":        {func(r *reply) { r.Length = 17 }, 17, true, false},
		"gigabytes":   {func(r *reply) { r.Length = 1 << 40 }, 16, true, false},
		"cut short":   {func(*reply) {}, 15, true, false},
		"nothing":     {func(*reply) {}, 0, true, false},
		"no bits":     {func(r *reply) { r.BitsStored = 0 }, 16, true, false},
		"many bits":   {func(r *reply) { r.BitsStored = 17 }, 16, true, false},
		"eternities":  {func(r *reply) { r.Used = 1 << 63 }, 16, true, false},
		"unsupported": {func(r *reply) { r.Outcome = unsupported; r.Length = 0 }, 0, false, true},
		"oversized":   {func(r *reply) { r.Outcome = oversized; r.Length = 0 }, 0, false, true},
	} {
		r := good
		tt.change(&r)
		var b bytes.Buffer
		if err := send(&b, &r); err != nil {
			t.Fatal(err)
		}
		b.Write(make([]byte, tt.data))
		_, res, failure, err := receiveResult(&b, &j, &q)
		if errors.Is(err, errWire) != tt.wire || fault.Is(failure, fault.NotAcceptable) != tt.bad || !tt.wire && !tt.bad && len(res.Data) != 16 {
			t.Errorf("%s: %v, %v, %d bytes", name, failure, err, len(res.Data))
		}
	}
	if _, _, _, err := receiveResult(bytes.NewReader([]byte("garbage")), &j, &q); err == nil {
		t.Error("garbage is a reply")
	}
}

func TestOps(t *testing.T) {
	seen := map[string]bool{}
	for o := DecodeJPEG; o <= EncodeHTJ2K; o++ {
		if seen[o.String()] || o.String() == "" || o.decodes() != (o <= DecodeHTJ2K) {
			t.Errorf("%d: %v", o, o)
		}
		seen[o.String()] = true
	}
	if Op(0).String() != Op(99).String() || Op(0).valid() {
		t.Error(Op(0))
	}
	for o := damaged; o < outcomes; o++ {
		if o.reason() == "" {
			t.Errorf("outcome %d has no reason", o)
		}
	}
}
