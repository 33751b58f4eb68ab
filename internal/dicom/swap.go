package dicom

import (
	"encoding/binary"
	"io"
	"math/bits"
)

// Size returns the bytes of one value of the VR whose order depends on the
// transfer syntax: 2, 4 or 8, and 1 for text, bytes and unknown values
// (PS3.5 §7.3).
func (v VR) Size() int {
	switch v {
	case AT, OW, SS, US:
		return 2
	case FL, OF, OL, SL, UL:
		return 4
	case FD, OD, OV, SV, UV:
		return 8
	}
	return 1
}

// Swap reverses the order of bytes in every word of b, of 1, 2, 4 or 8 bytes.
// Bytes after the last whole word stay.
func Swap(b []byte, word int) {
	le := binary.LittleEndian
	switch word {
	case 2:
		const odd = 0x00FF00FF00FF00FF
		for ; len(b) >= 8; b = b[8:] {
			v := le.Uint64(b)
			le.PutUint64(b, v>>8&odd|v&odd<<8)
		}
		for ; len(b) >= 2; b = b[2:] {
			b[0], b[1] = b[1], b[0]
		}
	case 4:
		for ; len(b) >= 4; b = b[4:] {
			le.PutUint32(b, bits.ReverseBytes32(le.Uint32(b)))
		}
	case 8:
		for ; len(b) >= 8; b = b[8:] {
			le.PutUint64(b, bits.ReverseBytes64(le.Uint64(b)))
		}
	}
}

// NewSwapper returns a writer that passes on to w what it is given with every
// word of so many bytes reversed. Close writes what is left; it leaves w open.
func NewSwapper(w io.Writer, word int) io.WriteCloser {
	return &cutter{w: w, word: word, bits: -1}
}

// LittleEndian returns a writer that takes the bytes of [Frames.Spans] of
// native frame i and writes to w the frame alone: little endian, beginning with
// a byte's least significant bit. Close writes what is left; it leaves w open.
func (f *Frames) LittleEndian(i int, w io.Writer) io.WriteCloser {
	if !f.Native {
		return &cutter{w: w, word: 1, bits: -1}
	}
	skip, n := f.Bits(i)
	return &cutter{w: w, word: f.Word, skip: skip, bits: n}
}

// cutter cuts a run of bits out of a stream of words.
type cutter struct {
	w    io.Writer
	word int
	skip int64 // bits still to pass over
	bits int64 // bits still to write; -1 for all
	buf  []byte
	have int // bytes in buf
	done int // of these, already in little endian
}

const cutterSize = 32 << 10

func (c *cutter) Write(p []byte) (int, error) {
	if c.word <= 1 && c.skip == 0 && c.bits < 0 {
		return c.w.Write(p)
	}
	if c.buf == nil {
		c.buf = make([]byte, cutterSize)
	}
	n := len(p)
	for len(p) > 0 {
		k := copy(c.buf[c.have:], p)
		c.have, p = c.have+k, p[k:]
		if c.have == len(c.buf) {
			if err := c.flush(false); err != nil {
				return n - len(p), err
			}
		}
	}
	return n, nil
}

// Close implements io.Closer.
func (c *cutter) Close() error {
	if c.have == 0 {
		return nil
	}
	return c.flush(true)
}

// flush writes what the buffer has, but for what only the next bytes complete.
func (c *cutter) flush(last bool) error {
	whole := c.have
	if !last {
		whole = c.done + (c.have-c.done)/c.word*c.word
	}
	Swap(c.buf[c.done:whole], c.word)
	v := c.buf[:whole]
	k := int(min(c.skip/8, int64(len(v))))
	v, c.skip = v[k:], c.skip-8*int64(k)
	var carry []byte
	if s := c.skip; s > 0 && s < 8 && len(v) > 0 {
		for i := range v[:len(v)-1] {
			v[i] = v[i]>>s | v[i+1]<<(8-s)
		}
		if end := len(v) - 1; last {
			v[end] >>= s
		} else {
			v, carry = v[:end], v[end:]
		}
	}
	if c.bits >= 0 {
		v = v[:min(int64(len(v)), (c.bits+7)/8)]
		if rest := c.bits - 8*int64(len(v)); rest < 0 && len(v) > 0 {
			v[len(v)-1] &= 0xFF >> -rest
		}
		c.bits = max(c.bits-8*int64(len(v)), 0)
	}
	if _, err := c.w.Write(v); err != nil {
		return err
	}
	c.done = len(carry)
	c.have = copy(c.buf[copy(c.buf, carry):], c.buf[whole:c.have]) + len(carry)
	return nil
}
