package dicom

import (
	"context"
	"fmt"
	"io"

	"github.com/strata-pacs/strata/internal/fault"
)

// Convert reads a file from r and writes it to w in another transfer syntax,
// in constant memory. It converts between Implicit VR Little Endian, Explicit
// VR Little Endian, Explicit VR Big Endian and Deflated Explicit VR Little
// Endian; anything else, from or to, is fault.NotAcceptable. Of the data set all
// elements stay as they are but group lengths, which are retired and dropped;
// sequences and items have undefined length; bytes behind the data set go. An
// element of VR UN whose value is a sequence becomes one of VR SQ.
//
// Errors of the file are those of [Read]. Part of the file may have been
// written when an error comes.
func Convert(ctx context.Context, w io.Writer, r io.Reader, to string) error {
	if !Uncompressed(to) {
		return fault.New(fault.NotAcceptable, "instances are not converted to this transfer syntax")
	}
	rd := newReader(ctx, r, Limits{})
	defer rd.release()
	f, sc, err := rd.begin()
	if err != nil {
		return err
	}
	if !Uncompressed(f.Syntax) {
		return errCompressed()
	}
	c := &converter{decoder: &rd.decoder, encoder: newEncoder(w)}
	defer c.encoder.release()
	c.encoder.begin(f.Meta, nil, to)
	if err := rd.walk(c, sc); err != nil {
		return err
	}
	if err := rd.finish(f); err != nil {
		return err
	}
	if err := c.finish(); err != nil {
		return fmt.Errorf("writing the converted file: %w", err)
	}
	return nil
}

func errCompressed() error {
	return fault.New(fault.NotAcceptable, "the pixel data is compressed and is not converted; ask for it as stored with transfer-syntax=*")
}

// converter is a sink that writes what it is given.
type converter struct {
	*decoder
	*encoder
	allocated uint16 // Bits Allocated of the data set itself
}

// vr returns the VR to write for an element, and the size of the words to swap.
func (c *converter) vr(h header, sc *scope) (v VR, word int) {
	v, word = h.vr, 1
	if sc.enc.big != c.enc.big {
		word = v.Size()
		if sc.depth == 0 && h.tag == pixelDataTag && v == OW && (c.allocated == 32 || c.allocated == 64) {
			word = int(c.allocated / 8)
		}
	}
	if !c.fits(v, int64(h.length)) {
		return UN, 1
	}
	return v, word
}

func (c *converter) value(h header, sc *scope) error {
	n := int64(h.length)
	if h.tag.IsGroupLength() {
		if !c.s.skip(n) {
			return c.cut(h.tag)
		}
		return nil
	}
	c.observe(h, sc)
	v, word := c.vr(h, sc)
	c.header(h.tag, v, h.length+h.length&1)
	if err := c.copy(h.tag, n, word); err != nil {
		return err
	}
	c.padTo(v, n)
	return nil
}

// observe takes from a value, without taking it, what other elements depend on.
func (c *converter) observe(h header, sc *scope) {
	if h.length == 2 && (h.tag == pixelRepresentation || h.tag == bitsAllocated && sc.depth == 0) {
		if b := c.s.window(2); len(b) >= 2 && h.tag == bitsAllocated {
			c.allocated = uint16At(b, sc.enc.big)
		} else if len(b) >= 2 {
			sc.signed = uint16At(b, sc.enc.big) == 1
		}
	}
}

// copy writes n bytes of the stream with their words reversed.
func (c *converter) copy(t Tag, n int64, word int) error {
	for n > 0 {
		b := c.s.window(int(min(n, windowSize/2)))
		k := int(min(n, int64(len(b))))
		if int64(k) < n {
			k = k &^ 7
		}
		if k == 0 {
			return c.cut(t)
		}
		Swap(b[:k], word)
		if _, err := c.w.Write(b[:k]); err != nil {
			return fmt.Errorf("writing the converted file: %w", err)
		}
		c.s.take(k)
		n -= int64(k)
	}
	return nil
}

func (c *converter) encapsulated(h header, sc *scope) error {
	if sc.depth == 0 && h.tag == pixelDataTag {
		return errCompressed()
	}
	c.header(h.tag, h.vr, undefined)
	for first := true; ; first = false {
		n, _, done, err := c.fragment(h.tag, sc, first)
		if err != nil {
			return err
		}
		if done {
			c.header(sequenceEnd, 0, 0)
			return nil
		}
		c.header(itemTag, 0, n+n&1)
		if err := c.copy(h.tag, int64(n), 1); err != nil {
			return err
		}
		c.padTo(OB, int64(n))
	}
}

func (c *converter) beginSequence(h header, _ *scope) error {
	c.header(h.tag, SQ, undefined)
	return nil
}

func (c *converter) beginItem(*scope) error {
	c.header(itemTag, 0, undefined)
	return nil
}

func (c *converter) endItem(*scope) error {
	c.header(itemDelimiter, 0, 0)
	return nil
}

func (c *converter) endSequence(header, *scope) error {
	c.header(sequenceEnd, 0, 0)
	return nil
}
