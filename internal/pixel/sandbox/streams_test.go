package sandbox

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/strata-pacs/strata/internal/fault"
)

// TestPrecision: what is written into headers afterwards is right to another
// decoder: OpenJPEG's own, which decodes HTJ2K too.
func TestPrecision(t *testing.T) {
	tool, err := exec.LookPath("opj_decompress")
	if err != nil {
		t.Skip("opj_decompress is not installed")
	}
	p := testPool(t, Options{})
	for _, op := range []Op{EncodeJPEG2000, EncodeHTJ2K} {
		for _, j := range []Job{{BitsAllocated: 8, BitsStored: 8}, {BitsAllocated: 8, BitsStored: 8, Signed: true}, {BitsAllocated: 8, BitsStored: 5},
			{BitsAllocated: 16, BitsStored: 12}, {BitsAllocated: 16, BitsStored: 12, Signed: true}, {BitsAllocated: 16, BitsStored: 16},
			{BitsAllocated: 16, BitsStored: 16, Signed: true}} {
			j.Op, j.Rows, j.Columns, j.Samples, j.Progression = op, 200, 150, 1, RPCL
			j.Data = picture(j)
			name := fmt.Sprintf("%v %d bits signed=%v", op, j.BitsStored, j.Signed)
			res, err := p.Do(t.Context(), j)
			if err != nil {
				t.Errorf("%s: %v", name, err)
				continue
			}
			s, out := j2kShape(res.Data)
			if out != done || s.precision != j.BitsStored || s.signed != j.Signed || s.rows != 200 || s.columns != 150 {
				t.Errorf("%s: %+v", name, s)
			}
			in, raw := filepath.Join(t.TempDir(), "x.j2c"), filepath.Join(t.TempDir(), "x.rawl")
			if err := os.WriteFile(in, res.Data, 0o600); err != nil {
				t.Fatal(err)
			}
			if out, err := exec.Command(tool, "-i", in, "-o", raw).CombinedOutput(); err != nil {
				t.Errorf("%s: %v\n%s", name, err, out)
				continue
			}
			got, err := os.ReadFile(raw)
			extend(got, j.BitsAllocated/8, j.BitsStored, j.Signed) // the tool clears the bits above
			if err != nil || !bytes.Equal(got, j.Data) {
				t.Errorf("%s: opj_decompress has other samples: %v", name, err)
			}
		}
	}
}

// TestRPCL holds what HTJ2K Lossless RPCL wants of a code stream (PS3.5 §10.18),
// and that FitsRPCL says when it is not so.
func TestRPCL(t *testing.T) {
	p := testPool(t, Options{})
	for _, size := range [][2]int{{64, 64}, {65, 64}, {512, 512}, {513, 700}, {2000, 100}, {3, 5}, {129, 130}, {131, 65}} {
		for order := LRCP; order <= CPRL; order++ {
			j := Job{Op: EncodeHTJ2K, Rows: size[0], Columns: size[1], Samples: 1, BitsAllocated: 16, BitsStored: 12, Progression: order}
			j.Data = picture(j)
			res, err := p.Do(t.Context(), j)
			if err != nil {
				t.Fatal(err)
			}
			cod, tlm := segment(res.Data, 0x52), segment(res.Data, 0x55)
			if len(cod) < 10 || Progression(cod[1]) != order {
				t.Fatalf("%v: COD %x, want progression %d", size, cod, order)
			}
			if tlm == nil {
				t.Errorf("%v: no TLM", size)
			}
			levels, reversible, block := int(cod[5]), cod[9] == 1, cod[6] == 4 && cod[7] == 4 && cod[8]&0x40 != 0
			small := (size[0]-1)>>levels+1 <= 64 || (size[1]-1)>>levels+1 <= 64
			if small != FitsRPCL(size[0], size[1]) || !reversible || !block {
				t.Errorf("%v: %d levels, reversible %v, HT blocks of 64×64 %v", size, levels, reversible, block)
			}
			if order != RPCL {
				break
			}
		}
	}
}

// segment returns a marker segment of the main header.
func segment(b []byte, marker byte) []byte {
	for i := 2; i+4 < len(b) && b[i] == 0xFF && b[i+1] != 0x90; {
		n := int(binary.BigEndian.Uint16(b[i+2:]))
		if b[i+1] == marker {
			return b[i+4 : i+2+n]
		}
		i += 2 + n
	}
	return nil
}

// TestTruncated: JPEG-LS and JPEG 2000 refuse a stream that is cut short. The
// other two fill it up, so whoever calls has to see whether it is whole.
func TestTruncated(t *testing.T) {
	p := testPool(t, Options{})
	for _, j := range encoded(t, p, 120, 90) {
		if j.Op == DecodeHTJ2K || j.Op == DecodeJPEG {
			continue
		}
		j.Data = j.Data[:len(j.Data)*2/3]
		if _, err := p.Do(t.Context(), j); !fault.Is(err, fault.NotAcceptable) {
			t.Errorf("%v cut short, %d samples: %v", j.Op, j.Samples, err)
		}
	}
}

// FuzzDo gives each decoder anything: it answers with all samples or none, and
// goes on.
func FuzzDo(f *testing.F) {
	p := testPool(f, Options{Workers: 1})
	const rows, columns = 9, 11
	for _, j := range encoded(f, p, rows, columns) {
		f.Add(byte(j.Op), j.Samples == 3, j.Data)
	}
	f.Fuzz(func(t *testing.T, op byte, colour bool, data []byte) {
		j := Job{Op: DecodeJPEG + Op(op)%4, Rows: rows, Columns: columns, Samples: 1, BitsAllocated: 16, BitsStored: 12, Data: data}
		if colour {
			j.Samples, j.BitsAllocated, j.BitsStored, j.ToRGB = 3, 8, 8, op&0x80 != 0
		}
		if len(data) == 0 || len(data) > 1<<16 {
			return
		}
		hostile(t, p, j)
	})
}
