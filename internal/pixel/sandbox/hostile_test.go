package sandbox

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/strata-pacs/strata/internal/fault"
)

// encoded returns a small image in every coding, as jobs that decode it.
func encoded(tb testing.TB, p *Pool, rows, columns int) []Job {
	tb.Helper()
	var jobs []Job
	for _, samples := range []int{1, 3} {
		for op := EncodeJPEG; op <= EncodeHTJ2K; op++ {
			j := Job{Op: op, Rows: rows, Columns: columns, Samples: samples, BitsAllocated: 16, BitsStored: 12, Photometric: "MONOCHROME2",
				Progression: RPCL, MCT: true}
			if samples == 3 {
				j.BitsAllocated, j.BitsStored, j.Photometric = 8, 8, "RGB"
			}
			j.Data = picture(j)
			res, err := p.Do(tb.Context(), j)
			if err != nil {
				tb.Fatal(err)
			}
			d := j
			d.Op, d.Data = op-EncodeJPEG+DecodeJPEG, res.Data
			jobs = append(jobs, d)
		}
	}
	return jobs
}

// hostile runs a job whose data is anything: it is decoded to as many samples as
// there should be, or refused; the pool goes on.
func hostile(tb testing.TB, p *Pool, j Job) {
	tb.Helper()
	res, err := p.Do(tb.Context(), j)
	switch {
	case err == nil && len(res.Data) != j.Rows*j.Columns*j.Samples*j.BitsAllocated/8:
		tb.Errorf("%v: %d bytes", j.Op, len(res.Data))
	case err != nil && !fault.Is(err, fault.NotAcceptable):
		tb.Errorf("%v: %v", j.Op, err)
	}
}

func TestHostile(t *testing.T) {
	p := testPool(t, Options{Workers: 2, Timeout: time.Second})
	rng := rand.New(rand.NewPCG(1, 2))
	for _, j := range encoded(t, p, 33, 65) {
		good := j.Data
		for n := 1; n < len(good); n += 1 + len(good)/25 {
			j.Data = good[:n]
			hostile(t, p, j)
		}
		for range 60 {
			j.Data = bytes.Clone(good)
			for range 1 + rng.IntN(4) {
				j.Data[rng.IntN(len(good))] ^= 1 << rng.IntN(8)
			}
			hostile(t, p, j)
		}
		for range 60 { // in the headers
			j.Data = bytes.Clone(good)
			j.Data[rng.IntN(min(len(good), 120))] = byte(rng.Uint32())
			hostile(t, p, j)
		}
		for range 5 {
			j.Data = bytes.Clone(good[:len(good)/2])
			for i := range j.Data[4:] {
				j.Data[4+i] = byte(rng.Uint32())
			}
			hostile(t, p, j)
		}
		j.Data = good
		if _, err := p.Do(t.Context(), j); err != nil {
			t.Errorf("%v: the pool does not work any more: %v", j.Op, err)
		}
		// Dimensions and samples that the stream does not have.
		for _, other := range []Job{{Rows: 65, Columns: 33, Samples: j.Samples}, {Rows: 34, Columns: 65, Samples: j.Samples},
			{Rows: 65535, Columns: 700, Samples: j.Samples}, {Rows: 33, Columns: 65, Samples: 4 - j.Samples}} {
			k := j
			k.Rows, k.Columns, k.Samples = other.Rows, other.Columns, other.Samples
			if _, err := p.Do(t.Context(), k); !fault.Is(err, fault.NotAcceptable) {
				t.Errorf("%v as %d×%d×%d: %v", j.Op, k.Rows, k.Columns, k.Samples, err)
			}
		}
		k := j
		k.BitsAllocated, k.BitsStored = 8, 8
		if _, err := p.Do(t.Context(), k); j.BitsStored > 8 && !fault.Is(err, fault.NotAcceptable) {
			t.Errorf("%v of 12 bits as 8: %v", j.Op, err)
		}
		// Another coding than was announced.
		k = j
		k.Op = DecodeJPEG + (j.Op+1-DecodeJPEG)%4
		hostile(t, p, k)
	}
}

// TestHugeHeaders: a header that promises the largest image is believed by
// nobody, for the attributes say otherwise; and when they agree the memory that
// is touched is bounded.
func TestHugeHeaders(t *testing.T) {
	p := testPool(t, Options{Workers: 1, Timeout: 5 * time.Second, PerSample: 1})
	for _, j := range encoded(t, p, 16, 16) {
		for _, size := range []uint32{17, 4096, 9000, 65535} {
			k := j
			k.Data = bytes.Clone(j.Data)
			resize(t, &k, size)
			if _, err := p.Do(t.Context(), k); !fault.Is(err, fault.NotAcceptable) {
				t.Errorf("%v %d: %v", j.Op, size, err)
			}
			k.Rows, k.Columns = int(size), int(size)
			if res, err := p.Do(t.Context(), k); err != nil && !fault.Is(err, fault.NotAcceptable) {
				t.Errorf("%v %d: %v, %d bytes", j.Op, size, err, len(res.Data))
			}
			if rss := peak(p); rss > 256<<10 && !raceEnabled {
				t.Errorf("%v %d: a worker took %d KiB", j.Op, size, rss)
			}
		}
	}
}

// resize writes other dimensions into a stream's header.
func resize(t *testing.T, j *Job, size uint32) {
	t.Helper()
	b := j.Data
	if j.Op == DecodeJPEG2000 || j.Op == DecodeHTJ2K {
		for _, at := range []int{8, 12, 24, 28} { // the image and its one tile
			binary.BigEndian.PutUint32(b[at:], size)
		}
		return
	}
	for i := range b {
		if b[i] == 0xFF && (b[i+1] == 0xC1 || b[i+1] == 0xC3 || b[i+1] == 0xF7) {
			binary.BigEndian.PutUint16(b[i+5:], uint16(size))
			binary.BigEndian.PutUint16(b[i+7:], uint16(size))
			return
		}
	}
	t.Fatalf("%v: no frame header", j.Op)
}

// peak is the most memory in KiB that an idle worker of the pool had since it
// compiled or loaded the codecs; 0 where it cannot be known.
func peak(p *Pool) (kib int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, w := range p.idle {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", w.cmd.Process.Pid))
		if err != nil {
			continue
		}
		for line := range strings.Lines(string(b)) {
			n := 0
			if _, err := fmt.Sscanf(line, "VmHWM: %d kB", &n); err == nil {
				kib = max(kib, n)
			}
		}
	}
	return kib
}

// TestTEM: a marker at which the codec's own search for the header would not end.
func TestTEM(t *testing.T) {
	p := testPool(t, Options{Workers: 1, Timeout: patient})
	j := Job{Op: DecodeJPEG, Rows: 8, Columns: 8, Samples: 1, BitsAllocated: 8, BitsStored: 8, Data: []byte("\xff\xd8\xff\x01\xff\x01\xff\x01\xff\xd9\x00\x00\x00\x00")}
	if _, err := p.Do(t.Context(), j); !fault.Is(err, fault.NotAcceptable) {
		t.Error(err)
	}
}

// TestJP2: a code stream in boxes is found, and boxes that lie are refused.
func TestJP2(t *testing.T) {
	p := testPool(t, Options{Workers: 1})
	var j Job
	for _, j = range encoded(t, p, 16, 16) {
		if j.Op == DecodeJPEG2000 {
			break
		}
	}
	plain, err := p.Do(t.Context(), j)
	if err != nil {
		t.Fatal(err)
	}
	const head = "\x00\x00\x00\x0cjP  \r\n\x87\n\x00\x00\x00\x14ftypjp2 \x00\x00\x00\x00jp2 "
	stream := string(j.Data)
	for name, data := range map[string]string{
		"whole":    head + "\x00\x00\x00\x00jp2c" + stream,
		"measured": head + string(binary.BigEndian.AppendUint32(nil, uint32(8+len(stream)))) + "jp2c" + stream + "\x00\x00\x00\x08free",
		"large":    head + "\x00\x00\x00\x01jp2c" + string(binary.BigEndian.AppendUint64(nil, uint64(16+len(stream)))) + stream,
	} {
		j.Data = []byte(data)
		if got, err := p.Do(t.Context(), j); err != nil || !bytes.Equal(got.Data, plain.Data) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, data := range map[string]string{
		"none":  head,
		"short": head + "\x00\x00\x00\x04jp2c" + stream,
		"wrap":  head + "\x00\x00\x00\x01jp2c\xff\xff\xff\xff\xff\xff\xff\xf8",
		"empty": head + "\x00\x00\x00\x08jp2c",
	} {
		j.Data = []byte(data)
		if _, err := p.Do(t.Context(), j); !fault.Is(err, fault.NotAcceptable) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
