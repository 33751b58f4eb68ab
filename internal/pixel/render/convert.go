package render

import (
	"context"
	"image"

	"github.com/strata-pacs/strata/internal/dicom"
	"github.com/strata-pacs/strata/internal/fault"
)

const (
	photometricInterpretation dicom.Tag = 0x00280004
	samplesPerPixel           dicom.Tag = 0x00280002
)

// Profile returns the ICC profile to embed in pictures of the instance made with
// the options, for [Encode]; nil when they have none. Colours of an image that
// has no profile are taken for sRGB. A picture in grey has the profile of its
// space's neutral axis, as one of three components is not allowed in it.
func (x *Renderer) Profile(ctx context.Context, o Options) ([]byte, error) {
	switch o.ICC {
	case "", "no":
		return nil, nil
	case "yes":
		if x.grey() {
			return spaces["srgb"].neutralICC(), nil
		}
		own, err := x.ownProfile(ctx)
		if err != nil || own != nil {
			return own, err
		}
		return spaces["srgb"].colourICC(), nil
	}
	s := spaces[o.ICC]
	switch {
	case s == nil:
		return nil, o.Validate()
	case x.grey():
		return s.neutralICC(), nil
	}
	return s.colourICC(), nil
}

// grey reports whether frames become pictures in grey.
func (x *Renderer) grey() bool {
	switch text(x.data, photometricInterpretation) {
	case "MONOCHROME1", "MONOCHROME2":
		return text(x.data, pixelPresentation) != "COLOR"
	case "":
		return whole(x.data, samplesPerPixel, 1) != 3
	}
	return false
}

// ownProfile returns the instance's ICC Profile, or its first optical path's
// (PS3.3 §C.11.15, §C.8.12.5); nil when it has none.
func (x *Renderer) ownProfile(ctx context.Context) ([]byte, error) {
	for _, d := range []*dicom.Dataset{x.data, item(x.data, opticalPath)} {
		b, err := x.bytes(ctx, d.Lookup(iccProfile))
		if err != nil {
			return nil, err
		}
		if isProfile(b) && string(b[16:20]) == "RGB " {
			return b, nil
		}
	}
	return nil, nil
}

// convert converts the colours of the picture into the space asked for.
func (x *Renderer) convert(ctx context.Context, img image.Image, o Options) error {
	to := spaces[o.ICC]
	if to == nil {
		return nil
	}
	srgb := spaces["srgb"]
	if m, ok := img.(*image.Gray); ok {
		if to.transfer == srgb.transfer {
			return nil
		}
		var table [256]uint8
		for v := range table {
			table[v] = level(to.transfer.encoded(srgb.transfer.light(float64(v) / 255)))
		}
		for i, v := range m.Pix {
			m.Pix[i] = table[v]
		}
		return nil
	}
	m, ok := img.(*image.RGBA)
	if !ok {
		return nil
	}
	own, err := x.ownProfile(ctx)
	if err != nil || own == nil && to == srgb {
		return err
	}
	from := matrixProfile{colorants: srgb.colorants()}
	for v := range 256 {
		l := srgb.transfer.light(float64(v) / 255)
		from.light[0][v], from.light[1][v], from.light[2][v] = l, l, l
	}
	if own != nil {
		if from, ok = parseProfile(own); !ok {
			return fault.New(fault.NotAcceptable, "the ICC profile of this image is one of tables, from which colours are not converted; ask for iccprofile=yes or no")
		}
	}
	back, _ := to.colorants().inverse()
	from.into(m, back.times(from.colorants), to.encodings())
	return nil
}

// into converts the picture in place: to light, by the matrix, and encoded again.
func (p *matrixProfile) into(m *image.RGBA, by matrix, encodings *[encodingSize]uint8) {
	var part [3][256][3]float32 // what a component's value adds to each
	for j := range 3 {
		for v := range 256 {
			for i := range 3 {
				part[j][v][i] = float32(by[i][j] * p.light[j][v] * (encodingSize - 1))
			}
		}
	}
	for px := m.Pix; len(px) >= 4; px = px[4:] {
		r, g, b := &part[0][px[0]], &part[1][px[1]], &part[2][px[2]]
		for i := range 3 {
			l := int32(r[i] + g[i] + b[i] + 0.5)
			px[i] = encodings[min(max(l, 0), encodingSize-1)]
		}
	}
}
