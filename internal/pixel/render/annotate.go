package render

import (
	"fmt"
	"image"
	"strconv"
	"strings"
	"sync"
	"unicode"

	"golang.org/x/image/font"
	"golang.org/x/image/font/gofont/goregular"
	"golang.org/x/image/font/opentype"
	"golang.org/x/image/font/sfnt"
	"golang.org/x/image/math/fixed"

	"github.com/strata-pacs/strata/internal/dicom"
)

// typeface is Go Regular: Latin, Greek and Cyrillic.
var typeface = sync.OnceValue(func() *sfnt.Font {
	f, err := opentype.Parse(goregular.TTF)
	if err != nil {
		panic("render: the built-in font cannot be read: " + err.Error())
	}
	return f
})

// maxText is the most characters of a line.
const maxText = 80

// annotate burns in, at the top who it is, at the bottom how it was made.
func (x *Renderer) annotate(img image.Image, n int, o Options) {
	size := img.Bounds().Size()
	height := min(max(float64(min(size.X, size.Y))/32, 11), 40)
	face, err := opentype.NewFace(typeface(), &opentype.FaceOptions{Size: height, DPI: 72, Hinting: font.HintingFull})
	if err != nil {
		return // a size that the font cannot have, which the bounds above exclude
	}
	defer face.Close()
	line := face.Metrics().Height.Ceil()
	margin := line / 2
	if o.Patient {
		for i, s := range x.patient() {
			write(img, face, margin, margin+line*(i+1)-face.Metrics().Descent.Ceil(), s)
		}
	}
	if o.Technique {
		lines := x.technique(n, o)
		for i, s := range lines {
			write(img, face, margin, size.Y-margin-line*(len(lines)-1-i)-face.Metrics().Descent.Ceil(), s)
		}
	}
}

// patient returns the lines about the patient; those that would be empty are left out.
func (x *Renderer) patient() []string {
	name, _ := x.data.Text(patientName)
	var l lines
	l.add(readable(name))
	l.add(x.label("ID ", patientID))
	l.add(date(x.data, patientBirthDate), x.label("", patientSex))
	return l
}

// technique returns the lines about the image.
func (x *Renderer) technique(n int, o Options) []string {
	var l lines
	l.add(x.label("", modality), date(x.data, studyDate))
	l.add(x.label("Series ", seriesNumber), x.label("", seriesDescription))
	frame := ""
	if e := x.data.Lookup(perFrameGroups); n > 1 || whole(x.data, numberOfFrames, 1) > 1 || e != nil && len(e.Items) > 1 {
		frame = "Frame " + strconv.Itoa(n)
	}
	l.add(x.label("Image ", instanceNumber), frame)
	l.add(x.unit("", kvp, " kV"), x.unit("", tubeCurrent, " mA"), x.unit("", exposureTime, " ms"), x.unit("", exposure, " mAs"))
	l.add(x.unit("Thickness ", sliceThickness, " mm"), x.unit("Location ", sliceLocation, " mm"))
	if w, ok := x.shown(n, o); ok && x.grey() {
		l.add(fmt.Sprintf("C %.6g W %.6g", w.Center, w.Width))
	}
	return l
}

const numberOfFrames dicom.Tag = 0x00280008

// shown returns the window that the frame is shown with, if it is by one.
func (x *Renderer) shown(n int, o Options) (Window, bool) {
	if o.Window != nil {
		return *o.Window, true
	}
	d := x.with(n, frameVOILUT, windowCenter, voiLUTSequence)
	if item(d, voiLUTSequence) != nil {
		return Window{}, false
	}
	return windowOf(d)
}

type lines []string

// add adds a line of the parts that are not empty.
func (l *lines) add(parts ...string) {
	s := ""
	for _, p := range parts {
		if s != "" && p != "" {
			s += "  "
		}
		s += p
	}
	if s != "" {
		*l = append(*l, s)
	}
}

func (x *Renderer) label(before string, t dicom.Tag) string {
	s, _ := x.data.Text(t)
	if s, _, _ = strings.Cut(s, `\`); s != "" {
		return before + drawable(s)
	}
	return ""
}

func (x *Renderer) unit(before string, t dicom.Tag, after string) string {
	if v, ok := value(x.data, t, 0); ok {
		return before + strconv.FormatFloat(v, 'g', 6, 64) + after
	}
	return ""
}

// date returns a DA as 2026-01-31, or as it is.
func date(d *dicom.Dataset, t dicom.Tag) string {
	s, _ := d.Text(t)
	if len(s) == 8 && strings.Trim(s, "0123456789") == "" {
		return s[:4] + "-" + s[4:6] + "-" + s[6:]
	}
	return drawable(s)
}

// readable returns a Patient's Name in the first of its component groups whose
// characters the font has: alphabetic, ideographic, phonetic (PS3.5 §6.2.1.1).
func readable(name string) string {
	groups := strings.SplitN(name, "=", 3)
	for _, g := range groups {
		if g = strings.Trim(strings.ReplaceAll(g, "^", " "), " "); g != "" && has(g) {
			return drawable(g)
		}
	}
	for _, g := range groups {
		if g = strings.Trim(strings.ReplaceAll(g, "^", " "), " "); g != "" {
			return drawable(g)
		}
	}
	return ""
}

func has(s string) bool {
	var b sfnt.Buffer
	for _, r := range s {
		if i, err := typeface().GlyphIndex(&b, r); err != nil || i == 0 {
			return false
		}
	}
	return true
}

// drawable returns the text with every character that the font lacks as its
// number in hexadecimal, so that two names never look the same; no boxes, which
// would.
func drawable(s string) string {
	var b strings.Builder
	count := 0
	for _, r := range s {
		if count++; count > maxText {
			b.WriteString("…")
			break
		}
		switch {
		case unicode.IsControl(r):
			b.WriteByte(' ')
		case has(string(r)):
			b.WriteRune(r)
		default:
			fmt.Fprintf(&b, "[%04X]", r)
		}
	}
	return b.String()
}

// write draws one line, its baseline at y, in white on a shade, so that it can be
// read on anything; what does not fit ends in an ellipsis.
func write(img image.Image, face font.Face, x, y int, s string) {
	size := img.Bounds().Size()
	width := size.X - 2*x
	for r := []rune(s); font.MeasureString(face, s).Ceil() > width; {
		if len(r) <= 1 {
			return
		}
		r = r[:len(r)-1]
		s = string(r) + "…"
	}
	m := face.Metrics()
	box := image.Rect(x-2, y-m.Ascent.Ceil()-2, x+font.MeasureString(face, s).Ceil()+2, y+m.Descent.Ceil()+2).Intersect(img.Bounds())
	if box.Empty() {
		return
	}
	ink := image.NewAlpha(box)
	d := font.Drawer{Dst: ink, Src: image.Opaque, Face: face, Dot: fixed.P(x, y)}
	d.DrawString(s)
	for py := box.Min.Y; py < box.Max.Y; py++ {
		for px := box.Min.X; px < box.Max.X; px++ {
			blend(img, px, py, uint32(ink.AlphaAt(px, py).A))
		}
	}
}

// shade is how much of 255 is taken off what lies behind text.
const shade = 160

// blend shades a pixel and covers it with so much of 255 of white.
func blend(img image.Image, x, y int, white uint32) {
	over := func(v uint8) uint8 {
		d := uint32(v) * (255 - shade) / 255
		return uint8((d*(255-white) + 255*white + 127) / 255)
	}
	switch m := img.(type) {
	case *image.Gray:
		i := m.PixOffset(x, y)
		m.Pix[i] = over(m.Pix[i])
	case *image.RGBA:
		p := m.Pix[m.PixOffset(x, y):]
		p[0], p[1], p[2] = over(p[0]), over(p[1]), over(p[2])
	}
}
