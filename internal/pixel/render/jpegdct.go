package render

import "image"

// dct is the forward discrete cosine transform of the block in place, rows then
// columns, each coefficient left with a scale that factors takes off (Arai, Agui,
// Nakajima 1988).
func dct(b *[64]float32) {
	for i := 0; i < 64; i += 8 {
		r := b[i : i+8 : i+8]
		r[0], r[1], r[2], r[3], r[4], r[5], r[6], r[7] = dct8(r[0], r[1], r[2], r[3], r[4], r[5], r[6], r[7])
	}
	for i := range 8 {
		b[i], b[i+8], b[i+16], b[i+24], b[i+32], b[i+40], b[i+48], b[i+56] =
			dct8(b[i], b[i+8], b[i+16], b[i+24], b[i+32], b[i+40], b[i+48], b[i+56])
	}
}

func dct8(x0, x1, x2, x3, x4, x5, x6, x7 float32) (y0, y1, y2, y3, y4, y5, y6, y7 float32) {
	s07, d07 := x0+x7, x0-x7
	s16, d16 := x1+x6, x1-x6
	s25, d25 := x2+x5, x2-x5
	s34, d34 := x3+x4, x3-x4
	// Even part.
	a, d := s07+s34, s07-s34
	b, c := s16+s25, s16-s25
	y0, y4 = a+b, a-b
	z := (c + d) * 0.707106781
	y2, y6 = d+z, d-z
	// Odd part.
	a, b, c = d34+d25, d25+d16, d16+d07
	z5 := (a - c) * 0.382683433
	z2 := 0.541196100*a + z5
	z4 := 1.306562965*c + z5
	z3 := b * 0.707106781
	z11, z13 := d07+z3, d07-z3
	return y0, z11 + z4, y2, z13 - z2, y4, z13 + z2, y6, z11 - z4
}

// colour codes a picture in YCbCr (JFIF 1.02), in units of size by size pixels: 8,
// or 16 with the colours of four pixels taken together.
func (e *encoder) colour(m *image.RGBA, size int) {
	bounds := m.Rect.Size()
	var planes [3][256]float32
	var dc [3]int32
	for y := 0; y < bounds.Y; y += size {
		for x := 0; x < bounds.X; x += size {
			convert(m, x, y, size, &planes)
			for k := 0; k < size*size; k += 64 {
				from := k / 128 * 128 // two blocks beside each other, then the two below
				if size == 8 {
					from = 0
				}
				from += k / 64 % 2 * 8
				for r := range 8 {
					copy(e.block[8*r:8*r+8], planes[0][from+r*size:])
				}
				dc[0] = e.code(dc[0], 0, 128*64)
			}
			for c := 1; c < 3; c++ {
				if size == 8 {
					copy(e.block[:], planes[c][:64])
				} else {
					for i := range e.block {
						p := planes[c][i>>3*32+i&7*2:]
						e.block[i] = (p[0] + p[1] + p[16] + p[17]) / 4
					}
				}
				dc[c] = e.code(dc[c], 1, 0)
			}
		}
		if !e.enough() {
			return
		}
	}
}

// convert fills planes with the luminance and the two chrominances, these around
// 0, of the unit at x, y; the last row and column go on.
func convert(m *image.RGBA, x, y, size int, planes *[3][256]float32) {
	bounds := m.Rect.Size()
	i := 0
	for r := range size {
		row := m.Pix[min(y+r, bounds.Y-1)*m.Stride:]
		for c := range size {
			p := row[4*min(x+c, bounds.X-1):]
			red, green, blue := float32(p[0]), float32(p[1]), float32(p[2])
			planes[0][i] = 0.299*red + 0.587*green + 0.114*blue
			planes[1][i] = -0.168735892*red - 0.331264108*green + 0.5*blue
			planes[2][i] = 0.5*red - 0.418687589*green - 0.081312411*blue
			i++
		}
	}
}
