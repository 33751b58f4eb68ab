package render

import (
	"math"
	"sync"
)

// transfer is the curve from an encoded value to light, both 0 to 1: the
// parametric curves of ICC.1 §10.18, of function type 3, or of type 0 with d < 0.
type transfer struct{ g, a, b, c, d float64 }

func (t transfer) light(v float64) float64 {
	if v < t.d {
		return t.c * v
	}
	return math.Pow(max(t.a*v+t.b, 0), t.g)
}

func (t transfer) encoded(l float64) float64 {
	if t.d > 0 && l < t.c*t.d {
		return l / t.c
	}
	return (math.Pow(l, 1/t.g) - t.b) / t.a
}

// space is one of the colour spaces that iccprofile names (PS3.18 §8.3.5.1.5).
type space struct {
	name       string
	primaries  [3][2]float64 // x and y of red, green, blue
	white      [2]float64
	transfer   transfer
	encodings  func() *[encodingSize]uint8
	colorants  func() matrix // to XYZ, adapted to D50
	colourICC  func() []byte
	neutralICC func() []byte
}

var (
	d65 = [2]float64{0.3127, 0.3290}
	d50 = [2]float64{0.3457, 0.3585}

	srgbTransfer = transfer{2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045}
)

// The spaces: IEC 61966-2-1, Adobe RGB (1998), ISO 22028-2, and SMPTE EG 432-1
// with the white point and the transfer of sRGB.
var spaces = map[string]*space{
	"srgb": newSpace("sRGB", [3][2]float64{{0.64, 0.33}, {0.30, 0.60}, {0.15, 0.06}}, d65, srgbTransfer),
	"adobergb": newSpace("Adobe RGB (1998)", [3][2]float64{{0.64, 0.33}, {0.21, 0.71}, {0.15, 0.06}}, d65,
		transfer{563.0 / 256, 1, 0, 0, -1}),
	"rommrgb": newSpace("ROMM RGB", [3][2]float64{{0.7347, 0.2653}, {0.1596, 0.8404}, {0.0366, 0.0001}}, d50,
		transfer{1.8, 1, 0, 1.0 / 16, 1.0 / 32}),
	"displayp3": newSpace("Display P3", [3][2]float64{{0.680, 0.320}, {0.265, 0.690}, {0.150, 0.060}}, d65, srgbTransfer),
}

// encodingSize is the number of steps of light that have their encoded value
// ready: enough for every two of the 256 but the darkest.
const encodingSize = 1 << 16

func newSpace(name string, primaries [3][2]float64, white [2]float64, t transfer) *space {
	s := &space{name: name, primaries: primaries, white: white, transfer: t}
	s.encodings = sync.OnceValue(func() *[encodingSize]uint8 {
		var e [encodingSize]uint8
		for i := range e {
			e[i] = level(t.encoded(float64(i) / (encodingSize - 1)))
		}
		return &e
	})
	s.colorants = sync.OnceValue(s.toXYZ)
	s.colourICC = sync.OnceValue(func() []byte { return s.profile(false) })
	s.neutralICC = sync.OnceValue(func() []byte { return s.profile(true) })
	return s
}

// matrix is three rows of three.
type matrix [3][3]float64

func (m matrix) times(o matrix) (p matrix) {
	for i := range 3 {
		for j := range 3 {
			for k := range 3 {
				p[i][j] += m[i][k] * o[k][j]
			}
		}
	}
	return p
}

// inverse returns m's inverse, and whether it has one.
func (m matrix) inverse() (inv matrix, ok bool) {
	cofactor := func(i, j int) float64 {
		a, b, c, d := (i+1)%3, (i+2)%3, (j+1)%3, (j+2)%3
		return m[a][c]*m[b][d] - m[a][d]*m[b][c]
	}
	det := m[0][0]*cofactor(0, 0) + m[0][1]*cofactor(0, 1) + m[0][2]*cofactor(0, 2)
	for i := range 3 {
		for j := range 3 {
			inv[j][i] = cofactor(i, j) / det
		}
	}
	return inv, math.Abs(det) > 1e-9 && finite(det)
}

// d50XYZ is the white of the profile connection space (ICC.1 §7.2.16).
var d50XYZ = [3]float64{0.9642, 1, 0.8249}

func xyz(c [2]float64) [3]float64 {
	return [3]float64{c[0] / c[1], 1, (1 - c[0] - c[1]) / c[1]}
}

// adaptation is the linear Bradford transform from the white to D50 (ICC.1 Annex E).
func adaptation(white [3]float64) matrix {
	bradford := matrix{{0.8951, 0.2664, -0.1614}, {-0.7502, 1.7135, 0.0367}, {0.0389, -0.0685, 1.0296}}
	back, _ := bradford.inverse()
	var scale matrix
	for i := range 3 {
		var from, to float64
		for j := range 3 {
			from += bradford[i][j] * white[j]
			to += bradford[i][j] * d50XYZ[j]
		}
		scale[i][i] = to / from
	}
	return back.times(scale).times(bradford)
}

// toXYZ is the matrix from linear red, green and blue to the connection space.
func (s *space) toXYZ() matrix {
	var m matrix
	for j, p := range s.primaries {
		for i, v := range xyz(p) {
			m[i][j] = v
		}
	}
	inv, _ := m.inverse()
	white := xyz(s.white)
	for j := range 3 {
		sum := 0.0
		for k := range 3 {
			sum += inv[j][k] * white[k]
		}
		for i := range 3 {
			m[i][j] *= sum
		}
	}
	return adaptation(white).times(m)
}
