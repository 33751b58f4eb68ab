package transcode

import (
	"context"
	"io"

	"github.com/strata-pacs/strata/internal/dicom"
	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/internal/pixel"
)

// Coder takes frames from one transfer syntax to another.
type Coder struct {
	Codecs   *pixel.Codecs
	From, To string
	Format   pixel.Format // what the data set says of the frames stored
	Options  pixel.EncodeOptions
}

// Frame is a frame transcoded: its bits in the syntax asked for, the format by
// which a data set has to describe it, and the compression ratios of what came
// and of what was made.
type Frame struct {
	Bits    []byte
	Format  pixel.Format
	Was, Is float64
}

// Frame transcodes the bits of a frame, as [pixel.Codecs.Decode] takes them.
// Colours of lossy JPEG become RGB, as all who decode it do; the chrominance
// that others store is kept. Samples are put side by side.
func (c *Coder) Frame(ctx context.Context, bits []byte) (Frame, error) {
	img, err := c.Codecs.Decode(ctx, c.From, c.Format, bits)
	if err != nil {
		return Frame{}, err
	}
	if img.Photometric.IsYBR() && dct(c.From) {
		if img, err = pixel.ToRGB(img); err != nil {
			return Frame{}, err
		}
	}
	img = img.Interleaved()
	out, f, err := c.Codecs.Encode(ctx, c.To, img, c.Options)
	if err != nil {
		return Frame{}, err
	}
	n := float64(len(img.Data))
	return Frame{out, f, n / float64(max(len(bits), 1)), n / float64(max(len(out), 1))}, nil
}

// Possible reports whether frames of the format can be transcoded, as far as can
// be told without decoding one: nil, or fault.NotAcceptable saying why not.
func (c *Coder) Possible() error {
	if dicom.Syntax(c.From).Video {
		return errVideo
	}
	if !c.Codecs.Decodes(c.From) {
		return errDecoder
	}
	if _, err := c.Format.FrameBytes(); err != nil {
		return err
	}
	f := c.Format
	if f.Photometric.IsYBR() {
		// What the codec is given is decoded: upsampled, transforms undone.
		if f.Photometric = pixel.YBRFull; dct(c.From) || c.Format.Photometric == pixel.YBRICT || c.Format.Photometric == pixel.YBRRCT {
			f.Photometric = pixel.RGB
		}
	}
	f.Planar = false
	return c.Codecs.Encodes(c.To, f)
}

var (
	errVideo   = fault.New(fault.NotAcceptable, "this instance is a video, which is given as stored only; ask with transfer-syntax=*")
	errDecoder = fault.New(fault.NotAcceptable, "this server does not decode the transfer syntax that this instance is stored in; ask with transfer-syntax=* for it as stored")
)

// Packer joins native frames whose last byte is not full, as those of one bit a
// sample may be: in Pixel Data they follow each other without a gap (PS3.5
// §8.1.1). Close writes what is left; it leaves the writer open.
type Packer struct {
	w     io.Writer
	frame int64 // bits of a frame
	carry byte  // the low bits of the next byte
	have  uint  // of them
	buf   []byte
}

// NewPacker returns a Packer for frames of so many bits.
func NewPacker(w io.Writer, bits int64) *Packer { return &Packer{w: w, frame: bits} }

// Frame writes one frame, which begins with a byte.
func (p *Packer) Frame(b []byte) error {
	if int64(len(b)) != (p.frame+7)/8 {
		return fault.New(fault.Internal, "transcode: native frame of %d bytes instead of %d bits", len(b), p.frame)
	}
	if p.frame%8 == 0 {
		_, err := p.w.Write(b)
		return err
	}
	p.buf = p.buf[:0]
	for i, left := 0, p.frame; left > 0; i, left = i+1, left-8 {
		n := uint(min(left, 8))
		v := uint16(b[i]&(0xFF>>(8-n)))<<p.have | uint16(p.carry)
		if p.have += n; p.have >= 8 {
			p.buf = append(p.buf, byte(v))
			v >>= 8
			p.have -= 8
		}
		p.carry = byte(v)
	}
	_, err := p.w.Write(p.buf)
	return err
}

// Close writes the last byte where it is not full.
func (p *Packer) Close() error {
	if p.have == 0 {
		return nil
	}
	p.have = 0
	_, err := p.w.Write([]byte{p.carry})
	return err
}
