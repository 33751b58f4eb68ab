package sandbox

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/strata-pacs/strata/internal/fault"
)

// picture makes samples that look like an image: a gradient with noise, using
// all BitsStored bits, signed ones continued.
func picture(j Job) []byte {
	rng := rand.New(rand.NewPCG(uint64(j.Rows), uint64(j.Columns)))
	n := j.BitsAllocated / 8
	b := make([]byte, 0, j.Rows*j.Columns*j.Samples*n)
	for r := range j.Rows {
		for c := range j.Columns {
			for s := range j.Samples {
				v := uint16((r*7+c*13+s*31)<<j.BitsStored>>9) + uint16(rng.IntN(8))
				if rng.IntN(50) == 0 {
					v = uint16(rng.Uint32())
				}
				v = extended(v, j.BitsStored, j.Signed)
				b = append(b, byte(v))
				if n == 2 {
					b = append(b, byte(v>>8))
				}
			}
		}
	}
	if j.Planar {
		return deinterleave(b, n, j.Samples)
	}
	return b
}

func deinterleave(b []byte, n, samples int) []byte {
	w := make([]byte, 0, len(b))
	for s := range samples {
		for i := s * n; i < len(b); i += n * samples {
			w = append(w, b[i:i+n]...)
		}
	}
	return w
}

// TestRoundTrip encodes and decodes without loss, every codec with every kind of
// samples, and holds what cannot be done.
func TestRoundTrip(t *testing.T) {
	p := testPool(t, Options{})
	decoder := map[Op]Op{EncodeJPEG: DecodeJPEG, EncodeJPEGLS: DecodeJPEGLS, EncodeJPEG2000: DecodeJPEG2000, EncodeHTJ2K: DecodeHTJ2K}
	for _, op := range []Op{EncodeJPEG, EncodeJPEGLS, EncodeJPEG2000, EncodeHTJ2K} {
		for _, depth := range [][2]int{{8, 8}, {8, 7}, {8, 1}, {16, 8}, {16, 9}, {16, 10}, {16, 12}, {16, 14}, {16, 16}} {
			for _, signed := range []bool{false, true} {
				for _, samples := range []int{1, 3} {
					for _, size := range [][2]int{{64, 48}, {7, 5}, {1, 1}, {1, 9}, {300, 2}, {130, 257}} {
						j := Job{Op: op, Rows: size[0], Columns: size[1], Samples: samples, BitsAllocated: depth[0], BitsStored: depth[1], Signed: signed,
							Planar: samples == 3 && size[0] == 7, Progression: RPCL, MCT: true, Photometric: "MONOCHROME2"}
						if samples == 3 {
							j.Photometric = "RGB"
						}
						j.Data = picture(j)
						name := fmt.Sprintf("%v %d/%d signed=%v samples=%d %d×%d", op, depth[1], depth[0], signed, samples, size[0], size[1])
						cannot := samples == 3 && depth[1] > 8 && op >= EncodeJPEG2000 ||
							op == EncodeJPEG2000 && (size[0] == 1 || size[1] == 1)
						enc, err := p.Do(t.Context(), j)
						if cannot {
							if !fault.Is(err, fault.NotAcceptable) {
								t.Errorf("%s: %v, and it cannot be done", name, err)
							}
							continue
						}
						if err != nil {
							t.Errorf("%s: %v", name, err)
							continue
						}
						d := j
						d.Op, d.Data = decoder[op], enc.Data
						dec, err := p.Do(t.Context(), d)
						want := j.Data
						if j.Planar {
							want = interleave(want, depth[0]/8, samples)
						}
						if err != nil || !bytes.Equal(dec.Data, want) || dec.Planar {
							t.Errorf("%s: decoded: %v, equal %v, %d bytes of %d", name, err, bytes.Equal(dec.Data, want), len(dec.Data), len(want))
							continue
						}
						precision := depth[1]
						switch {
						case op == EncodeJPEG && precision > 12:
							precision = 16
						case op == EncodeJPEG && precision > 8:
							precision = 12
						case op == EncodeJPEG:
							precision = 8
						case op == EncodeJPEGLS:
							precision = max(precision, 2)
						}
						if dec.BitsStored != precision || op >= EncodeJPEG2000 && dec.Signed != signed {
							t.Errorf("%s: the stream has %d bits, signed %v", name, dec.BitsStored, dec.Signed)
						}
					}
				}
			}
		}
	}
}
