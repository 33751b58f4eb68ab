package render

import (
	"bufio"
	"compress/lzw"
	"encoding/binary"
	"image"
	"io"
	"iter"
	"time"

	"github.com/strata-pacs/strata/internal/fault"
)

// Bounds of an animation.
const (
	MaxAnimationFrames = 4096
	MaxAnimationPixels = 1 << 28 // in all frames together
)

// CheckAnimation reports, as fault.NotAcceptable, that so many frames as large as
// size are more than [EncodeGIF] writes.
func CheckAnimation(frames int, size image.Point) error {
	if frames > MaxAnimationFrames || int64(frames)*int64(size.X)*int64(size.Y) > MaxAnimationPixels {
		return fault.New(fault.NotAcceptable, "this is too much for an animation; ask for some of its frames, for a smaller viewport, or for single frames")
	}
	return nil
}

// EncodeGIF writes frames as an animated GIF that repeats for ever, each as soon
// as it comes and none kept. All are as large as the first. delay says how long
// frame i, counted from 0, is shown; see [Renderer.Delay]. It ends with the error
// that frames yields, or of CheckAnimation.
func EncodeGIF(w io.Writer, frames iter.Seq2[image.Image, error], delay func(i int) time.Duration) error {
	g := newGIF(w)
	i := 0
	for img, err := range frames {
		if err != nil {
			return err
		}
		if i == 0 {
			g.begin(img.Bounds().Size(), true)
		}
		if err := CheckAnimation(i+1, g.size); err != nil {
			return err
		}
		if err := g.frame(plain(img), delay(i)); err != nil {
			return err
		}
		i++
	}
	if i == 0 {
		return fault.New(fault.NotAcceptable, "there are no frames to show")
	}
	return g.end()
}

func encodeStill(w io.Writer, img image.Image) error {
	g := newGIF(w)
	g.begin(img.Bounds().Size(), false)
	if err := g.frame(img, 0); err != nil {
		return err
	}
	return g.end()
}

// gifWriter writes GIF89a. The standard library's wants all frames at once.
type gifWriter struct {
	w    *bufio.Writer
	size image.Point
}

func newGIF(w io.Writer) *gifWriter { return &gifWriter{w: bufio.NewWriterSize(w, 32<<10)} }

// put writes bytes; errors stay in the buffered writer until Flush.
func (g *gifWriter) put(b ...byte) { _, _ = g.w.Write(b) }

func (g *gifWriter) number(v int) {
	_, _ = g.w.Write(binary.LittleEndian.AppendUint16(nil, uint16(v)))
}

// begin writes the screen, with 256 greys as its colours, and that it repeats.
func (g *gifWriter) begin(size image.Point, repeats bool) {
	g.size = size
	_, _ = g.w.WriteString("GIF89a")
	g.number(size.X)
	g.number(size.Y)
	g.put(0xF7, 0, 0)
	for v := range 256 {
		g.put(byte(v), byte(v), byte(v))
	}
	if repeats {
		_, _ = g.w.WriteString("\x21\xFF\x0BNETSCAPE2.0\x03\x01\x00\x00\x00")
	}
}

// frame writes a picture: grey exactly, colours by a palette of its own.
func (g *gifWriter) frame(img image.Image, delay time.Duration) error {
	size := img.Bounds().Size()
	if size != g.size || size.X > 65535 || size.Y > 65535 || size.X < 1 || size.Y < 1 {
		return fault.New(fault.NotAcceptable, "the frames of this image are of different sizes, or too large for a GIF")
	}
	g.put(0x21, 0xF9, 4, 4)
	g.number(int(min(max(delay, 0)/(10*time.Millisecond), 65535)))
	g.put(0, 0)
	g.put(0x2C, 0, 0, 0, 0)
	g.number(size.X)
	g.number(size.Y)
	indices := []uint8(nil)
	stride := size.X
	switch m := img.(type) {
	case *image.Gray:
		g.put(0)
		indices, stride = m.Pix, m.Stride
	case *image.RGBA:
		var colours [256][3]uint8
		colours, indices = quantize(m)
		g.put(0x87)
		for _, c := range colours {
			g.put(c[:]...)
		}
	}
	g.put(8)
	b := &blocks{w: g.w}
	z := lzw.NewWriter(b, lzw.LSB, 8)
	for y := range size.Y {
		if _, err := z.Write(indices[y*stride:][:size.X]); err != nil {
			return err
		}
	}
	if err := z.Close(); err != nil {
		return err
	}
	b.flush()
	g.put(0)
	return g.w.Flush()
}

func (g *gifWriter) end() error {
	g.put(0x3B)
	return g.w.Flush()
}

// blocks cuts a stream into blocks of at most 255 bytes with their length before them.
type blocks struct {
	w   *bufio.Writer
	buf [256]byte
	n   int
}

func (b *blocks) WriteByte(c byte) error {
	b.n++
	b.buf[b.n] = c
	if b.n == 255 {
		return b.flush()
	}
	return nil
}

func (b *blocks) Write(p []byte) (int, error) {
	for _, c := range p {
		if err := b.WriteByte(c); err != nil {
			return 0, err
		}
	}
	return len(p), nil
}

// Flush makes blocks what package lzw writes to as it is.
func (b *blocks) Flush() error { return nil }

func (b *blocks) flush() error {
	if b.n == 0 {
		return nil
	}
	b.buf[0] = byte(b.n)
	_, err := b.w.Write(b.buf[:b.n+1])
	b.n = 0
	return err
}

// The bounds of how long a frame is shown: browsers take less than 20 ms for 100.
const (
	defaultDelay = 100 * time.Millisecond
	leastDelay   = 20 * time.Millisecond
	mostDelay    = 10 * time.Second
)

// Delay returns how long frame n, counted from 1, is shown in an animation: by
// Recommended Display Frame Rate, Frame Time Vector, Frame Time or Cine Rate
// (PS3.3 §C.7.6.5), else a tenth of a second.
func (x *Renderer) Delay(n int) time.Duration {
	milliseconds := func() float64 {
		if v, ok := value(x.data, recommendedFrameRate, 0); ok && v > 0 {
			return 1000 / v
		}
		// The vector's value n is the time between the frame before and frame n.
		if v, ok := value(x.data, frameTimeVector, n); ok && v > 0 {
			return v
		}
		if v, ok := value(x.data, frameTime, 0); ok && v > 0 {
			return v
		}
		if v, ok := value(x.data, cineRate, 0); ok && v > 0 {
			return 1000 / v
		}
		return 0
	}()
	if milliseconds <= 0 {
		return defaultDelay
	}
	d := time.Duration(min(milliseconds, 1e6) * float64(time.Millisecond))
	return min(max(d, leastDelay), mostDelay)
}
