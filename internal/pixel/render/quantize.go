package render

import (
	"image"
	"sort"
)

// quantize finds 256 colours for a picture and an index for each of its pixels.
// Up to 256 different colours stay as they are. More are divided by the median
// cut of their 15-bit histogram, and what is lost in a pixel is handed on to its
// neighbours (Floyd, Steinberg 1976).
func quantize(m *image.RGBA) (colours [256][3]uint8, indices []uint8) {
	size := m.Rect.Size()
	indices = make([]uint8, size.X*size.Y)
	if exact(m, &colours, indices) {
		return colours, indices
	}
	counts := make([]uint32, 1<<15)
	sums := make([][3]uint64, 1<<15)
	for y := range size.Y {
		for row := m.Pix[y*m.Stride:][:4*size.X]; len(row) >= 4; row = row[4:] {
			k := bin(row[0], row[1], row[2])
			counts[k]++
			for c := range 3 {
				sums[k][c] += uint64(row[c])
			}
		}
	}
	boxes := medianCut(counts)
	for i, b := range boxes {
		var sum [3]uint64
		n := uint64(0)
		for _, k := range b.bins {
			n += uint64(counts[k])
			for c := range 3 {
				sum[c] += sums[k][c]
			}
		}
		for c := range 3 {
			colours[i][c] = uint8(sum[c] / n)
		}
	}
	dither(m, colours[:len(boxes)], indices)
	return colours, indices
}

func bin(r, g, b uint8) uint16 { return uint16(r)>>3<<10 | uint16(g)>>3<<5 | uint16(b)>>3 }

// exact indexes a picture of at most 256 colours.
func exact(m *image.RGBA, colours *[256][3]uint8, indices []uint8) bool {
	known := make(map[[3]uint8]uint8, 256)
	size := m.Rect.Size()
	i := 0
	last, at := [3]uint8{}, -1
	for y := range size.Y {
		for row := m.Pix[y*m.Stride:][:4*size.X]; len(row) >= 4; row = row[4:] {
			c := [3]uint8(row)
			if c != last || at < 0 {
				k, ok := known[c]
				if !ok {
					if len(known) == 256 {
						return false
					}
					k = uint8(len(known))
					known[c], colours[k] = k, c
				}
				last, at = c, int(k)
			}
			indices[i] = uint8(at)
			i++
		}
	}
	return true
}

// box is a part of the colours: bins of the histogram.
type box struct {
	bins  []uint16
	count uint64
	axis  uint // by how much to shift a bin for the component that varies most
	width uint64
}

func newBox(bins []uint16, counts []uint32) box {
	b := box{bins: bins}
	low, high := [3]uint16{31, 31, 31}, [3]uint16{}
	for _, k := range bins {
		b.count += uint64(counts[k])
		for c := range 3 {
			v := k >> (10 - 5*c) & 31
			low[c], high[c] = min(low[c], v), max(high[c], v)
		}
	}
	for c := range 3 {
		if w := uint64(high[c] - low[c]); w > b.width {
			b.width, b.axis = w, uint(10-5*c)
		}
	}
	return b
}

// medianCut divides the colours into at most 256 boxes, the one with the most
// pixels times width first.
func medianCut(counts []uint32) []box {
	var all []uint16
	for k, n := range counts {
		if n > 0 {
			all = append(all, uint16(k))
		}
	}
	boxes := []box{newBox(all, counts)}
	for len(boxes) < 256 {
		best := 0
		for i, b := range boxes {
			if b.width*b.count > boxes[best].width*boxes[best].count {
				best = i
			}
		}
		b := boxes[best]
		if b.width == 0 {
			break
		}
		sort.Slice(b.bins, func(i, j int) bool {
			vi, vj := b.bins[i]>>b.axis&31, b.bins[j]>>b.axis&31
			return vi < vj || vi == vj && b.bins[i] < b.bins[j]
		})
		cut, n := 1, uint64(counts[b.bins[0]])
		for cut < len(b.bins)-1 && n < b.count/2 {
			n += uint64(counts[b.bins[cut]])
			cut++
		}
		boxes[best] = newBox(b.bins[:cut], counts)
		boxes = append(boxes, newBox(b.bins[cut:], counts))
	}
	return boxes
}

// dither gives each pixel the colour nearest to it and to what its neighbours lost.
func dither(m *image.RGBA, colours [][3]uint8, indices []uint8) {
	size := m.Rect.Size()
	nearest := make([]int16, 1<<15) // 1 more than the index; 0: not known yet
	this, next := make([][3]int32, size.X+2), make([][3]int32, size.X+2)
	for y := range size.Y {
		clear(next)
		for x := range size.X {
			p := m.Pix[y*m.Stride+4*x:]
			var v [3]int32
			for c := range 3 {
				// Half of the loss is kept, or noise gathers in even areas.
				v[c] = min(max(int32(p[c])+this[x+1][c]/32, 0), 255)
			}
			k := bin(uint8(v[0]), uint8(v[1]), uint8(v[2]))
			if nearest[k] == 0 {
				nearest[k] = int16(closest(v, colours)) + 1
			}
			i := nearest[k] - 1
			indices[y*size.X+x] = uint8(i)
			for c := range 3 {
				lost := v[c] - int32(colours[i][c])
				this[x+2][c] += lost * 7
				next[x][c] += lost * 3
				next[x+1][c] += lost * 5
				next[x+2][c] += lost
			}
		}
		this, next = next, this
	}
}

func closest(v [3]int32, colours [][3]uint8) int {
	best, at := int32(1<<30), 0
	for i, c := range colours {
		r, g, b := v[0]-int32(c[0]), v[1]-int32(c[1]), v[2]-int32(c[2])
		if d := 2*r*r + 4*g*g + 3*b*b; d < best {
			best, at = d, i
		}
	}
	return at
}
