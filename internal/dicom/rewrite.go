package dicom

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"slices"

	"github.com/strata-pacs/strata/internal/fault"
)

// Edit says what [Rewrite] changes in the data set of a file itself. What
// sequences hold stays as it is, but for a sequence that is set or removed as a
// whole.
type Edit struct {
	// Set are the elements to have, each in place of those of its tag where the
	// file has any. Values are held and little endian; items of sequences have
	// the order they say.
	Set []Element
	// Remove are the tags of elements to leave out.
	Remove []Tag
	// Pixels writes Pixel Data anew, and is called where the file has it. With
	// nil, native Pixel Data stays as it is.
	Pixels func(*PixelData) error
}

// Rewrite reads a file from r and writes it to w in another transfer syntax,
// with edits, in constant memory. It is [Convert] for all syntaxes: of the File
// Meta Information it changes the Transfer Syntax UID and the length; elements
// behind Pixel Data are kept.
//
// Encapsulated Pixel Data of the data set itself has to be written anew;
// fault.NotAcceptable when edit.Pixels is nil. Inside of sequences it is copied:
// whoever changes the compression has to set these.
//
// Errors of the file are those of [Read], errors of edit.Pixels come as they
// are. Part of the file may have been written when an error comes.
func Rewrite(ctx context.Context, w io.Writer, r io.Reader, to string, edit Edit) error {
	rd := newReader(ctx, r, Limits{})
	defer rd.release()
	f, sc, err := rd.begin()
	if err != nil {
		return err
	}
	c := &rewriter{converter: converter{decoder: &rd.decoder, encoder: newEncoder(w)}, edit: edit, set: slices.Clone(edit.Set)}
	defer c.encoder.release()
	sortElements(c.set)
	c.encoder.begin(f.Meta, nil, to)
	if err := rd.walk(c, sc); err != nil {
		return err
	}
	if err := c.flush(undefined); err != nil {
		return err
	}
	if err := rd.finish(f); err != nil {
		return err
	}
	if err := c.finish(); err != nil {
		return fmt.Errorf("writing the rewritten file: %w", err)
	}
	return nil
}

// rewriter is a converter that edits.
type rewriter struct {
	converter
	edit    Edit
	set     []Element // still to be written, ascending
	drops   bool      // within a sequence that is left out
	written bool      // the data set's own Pixel Data
}

// flush writes the set elements that come before tag t.
func (c *rewriter) flush(t Tag) error {
	for len(c.set) > 0 && c.set[0].Tag <= t {
		e := &c.set[0]
		c.set = c.set[1:]
		p := &printer{encoder: c.encoder, bulk: func(*Element) (io.ReadCloser, error) {
			return nil, fault.New(fault.Internal, "dicom: an element that is set does not hold its value")
		}}
		d := &Dataset{Elements: []Element{*e}, Order: binary.LittleEndian}
		if err := p.dataset(d, 0); err != nil {
			return err
		}
	}
	return nil
}

// drop writes what has to come before an element and reports whether the
// element itself goes.
func (c *rewriter) drop(h header, sc *scope) (bool, error) {
	if sc.depth > 0 || c.drops {
		return c.drops, nil
	}
	if err := c.flush(h.tag); err != nil {
		return false, err
	}
	return slices.Contains(c.edit.Remove, h.tag) ||
		slices.ContainsFunc(c.edit.Set, func(e Element) bool { return e.Tag == h.tag }), nil
}

// own reports whether the element is the Pixel Data to be written anew.
func (c *rewriter) own(h header, sc *scope) bool {
	return sc.depth == 0 && h.tag == pixelDataTag && c.edit.Pixels != nil
}

func (c *rewriter) value(h header, sc *scope) error {
	drop, err := c.drop(h, sc)
	switch {
	case err != nil:
		return err
	case drop, c.own(h, sc) && c.written:
		c.observe(h, sc)
		if !c.s.skip(int64(h.length)) {
			return c.cut(h.tag)
		}
		return nil
	case c.own(h, sc):
		return c.pixels(&PixelData{c: c, of: h.tag, sc: sc, native: true, end: c.s.offset() + int64(h.length)})
	}
	return c.converter.value(h, sc)
}

func (c *rewriter) encapsulated(h header, sc *scope) error {
	drop, err := c.drop(h, sc)
	switch {
	case err != nil:
		return err
	case drop, c.own(h, sc) && c.written:
		return (&PixelData{c: c, of: h.tag, sc: sc}).rest()
	case c.own(h, sc):
		return c.pixels(&PixelData{c: c, of: h.tag, sc: sc})
	}
	return c.converter.encapsulated(h, sc)
}

func (c *rewriter) pixels(p *PixelData) error {
	c.written = true
	if err := c.edit.Pixels(p); err != nil {
		return err
	}
	if err := p.finish(); err != nil {
		return err
	}
	return p.rest()
}

func (c *rewriter) beginSequence(h header, sc *scope) error {
	drop, err := c.drop(h, sc)
	if err != nil || drop {
		c.drops = drop
		return err
	}
	return c.converter.beginSequence(h, sc)
}

func (c *rewriter) beginItem(sc *scope) error {
	if c.drops {
		return nil
	}
	return c.converter.beginItem(sc)
}

func (c *rewriter) endItem(sc *scope) error {
	if c.drops {
		return nil
	}
	return c.converter.endItem(sc)
}

func (c *rewriter) endSequence(h header, sc *scope) error {
	if c.drops {
		c.drops = sc.depth > 0
		return nil
	}
	return c.converter.endSequence(h, sc)
}
