package sandbox

import (
	"context"
	"testing"
)

// ct is a frame like those of computed tomography.
func ct(op Op) Job {
	return Job{Op: op, Rows: 512, Columns: 512, Samples: 1, BitsAllocated: 16, BitsStored: 12, Photometric: "MONOCHROME2", Progression: RPCL}
}

// BenchmarkCodecs is the speed of each operation in decoded bytes, one job after
// another: on one core.
func BenchmarkCodecs(b *testing.B) {
	p := testPool(b, Options{Workers: 1})
	for _, op := range []Op{EncodeJPEG, EncodeJPEGLS, EncodeJPEG2000, EncodeHTJ2K} {
		j := ct(op)
		j.Data = smooth(j)
		enc, err := p.Do(b.Context(), j)
		if err != nil {
			b.Fatal(err)
		}
		d := j
		d.Op, d.Data = op-EncodeJPEG+DecodeJPEG, enc.Data
		for _, job := range []Job{j, d} {
			b.Run(job.Op.String(), func(b *testing.B) {
				b.SetBytes(int64(len(j.Data)))
				for b.Loop() {
					if _, err := p.Do(b.Context(), job); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

// BenchmarkBoundary compares what the module takes in this process with what it
// takes in another: the difference is the price of the pipes.
func BenchmarkBoundary(b *testing.B) {
	p := testPool(b, Options{Workers: 1})
	j := ct(EncodeJPEG)
	j.Data = smooth(j)
	enc, err := p.Do(b.Context(), j)
	if err != nil {
		b.Fatal(err)
	}
	d := ct(DecodeJPEG)
	d.Data = enc.Data
	b.Run("apart", func(b *testing.B) {
		b.SetBytes(int64(len(j.Data)))
		for b.Loop() {
			if _, err := p.Do(b.Context(), d); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("inside", func(b *testing.B) {
		ctx := context.Background()
		m, _, err := load(ctx, testCache(b))
		if err != nil {
			b.Fatal(err)
		}
		if err := m.start(ctx); err != nil {
			b.Fatal(err)
		}
		defer m.runtime.Close(ctx)
		q := requestOf(&d, 0)
		b.SetBytes(int64(len(j.Data)))
		for b.Loop() {
			if err := m.open(ctx); err != nil {
				b.Fatal(err)
			}
			into, err := m.reserve(ctx, "Encoded", uint64(len(d.Data)))
			if err != nil {
				b.Fatal(err)
			}
			copy(into, d.Data)
			if _, _, out := m.decode(ctx, &q, into); out != done {
				b.Fatal(out)
			}
			if err := m.reset(ctx); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// smooth is a picture without outliers.
func smooth(j Job) []byte {
	b := picture(j)
	for i := 0; i < len(b); i += 2 {
		r, c := i/2/j.Columns, i/2%j.Columns
		v := (r*r+c*c)>>6&0x7FF + int(b[i]&7)
		b[i], b[i+1] = byte(v), byte(v>>8)
	}
	return b
}
