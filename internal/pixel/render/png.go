package render

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"image"
	"io"

	"github.com/klauspost/compress/zlib"
)

// encodePNG writes the picture, *image.Gray or *image.RGBA, with 8 bits a sample
// (PNG, ISO/IEC 15948). That of the standard library has no place for a profile.
func encodePNG(w io.Writer, img image.Image, icc []byte) error {
	size := img.Bounds().Size()
	header := make([]byte, 13)
	binary.BigEndian.PutUint32(header, uint32(size.X))
	binary.BigEndian.PutUint32(header[4:], uint32(size.Y))
	header[8] = 8
	samples, pix, stride := 1, []uint8(nil), 0
	switch m := img.(type) {
	case *image.Gray:
		pix, stride = m.Pix, m.Stride
	case *image.RGBA:
		samples, pix, stride = 3, m.Pix, m.Stride
		header[9] = 2
	}
	if _, err := io.WriteString(w, "\x89PNG\r\n\x1a\n"); err != nil {
		return err
	}
	if err := chunk(w, "IHDR", header); err != nil {
		return err
	}
	if icc != nil {
		var b bytes.Buffer
		b.WriteString("ICC profile\x00\x00")
		z := zlib.NewWriter(&b)
		_, _ = z.Write(icc) // into memory
		_ = z.Close()
		if err := chunk(w, "iCCP", b.Bytes()); err != nil {
			return err
		}
	}
	out := bufio.NewWriterSize(chunks{w}, 64<<10)
	z, err := zlib.NewWriterLevel(out, 3)
	if err != nil {
		return err
	}
	f := newFilter(size.X*samples, samples)
	line := make([]byte, size.X*samples)
	for y := range size.Y {
		if row := pix[y*stride:]; samples == 1 {
			line = row[:size.X]
		} else {
			for x := range size.X {
				line[3*x], line[3*x+1], line[3*x+2] = row[4*x], row[4*x+1], row[4*x+2]
			}
		}
		if _, err := z.Write(f.row(line)); err != nil {
			return err
		}
	}
	if err := z.Close(); err != nil {
		return err
	}
	if err := out.Flush(); err != nil {
		return err
	}
	return chunk(w, "IEND", nil)
}

// chunks makes an IDAT chunk of each Write.
type chunks struct{ w io.Writer }

func (c chunks) Write(b []byte) (int, error) {
	if err := chunk(c.w, "IDAT", b); err != nil {
		return 0, err
	}
	return len(b), nil
}

func chunk(w io.Writer, name string, data []byte) error {
	head := append(binary.BigEndian.AppendUint32(nil, uint32(len(data))), name...)
	sum := crc32.Update(crc32.ChecksumIEEE(head[4:]), crc32.IEEETable, data)
	for _, b := range [][]byte{head, data, binary.BigEndian.AppendUint32(nil, sum)} {
		if _, err := w.Write(b); err != nil {
			return err
		}
	}
	return nil
}

// filter filters rows for better compression: by what is left, above or both,
// whichever leaves the least.
type filter struct {
	samples  int
	previous []byte
	try      [3][]byte // Sub, Up and Paeth, each with its number before it
}

func newFilter(n, samples int) *filter {
	f := &filter{samples: samples, previous: make([]byte, n)}
	for i, number := range []byte{1, 2, 4} {
		f.try[i] = make([]byte, n+1)
		f.try[i][0] = number
	}
	return f
}

func (f *filter) row(line []byte) []byte {
	n, s := len(line), f.samples
	sub, up, paeth, above := f.try[0][1:][:n], f.try[1][1:][:n], f.try[2][1:][:n], f.previous[:n]
	var sums [3]int
	for i := range min(s, n) {
		sub[i] = line[i]
		up[i] = line[i] - above[i]
		paeth[i] = up[i]
	}
	for i := s; i < n; i++ {
		v, a, b, c := line[i], line[i-s], above[i], above[i-s]
		sub[i], up[i], paeth[i] = v-a, v-b, v-predict(a, b, c)
		sums[0] += distance(sub[i])
		sums[1] += distance(up[i])
		sums[2] += distance(paeth[i])
	}
	copy(above, line)
	best := 0
	for i := range sums {
		if sums[i] < sums[best] {
			best = i
		}
	}
	return f.try[best]
}

func distance(v uint8) int {
	d := int(int8(v))
	m := d >> 63
	return (d ^ m) - m
}

// predict is the Paeth predictor (PNG §9.4).
func predict(a, b, c uint8) uint8 {
	pa, pb := int(b)-int(c), int(a)-int(c)
	pc := magnitudeOf(pa + pb)
	pa, pb = magnitudeOf(pa), magnitudeOf(pb)
	switch {
	case pa <= pb && pa <= pc:
		return a
	case pb <= pc:
		return b
	}
	return c
}

func magnitudeOf(v int) int {
	m := v >> 63
	return (v ^ m) - m
}
