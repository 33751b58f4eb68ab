package render

import (
	"context"
	"image"
	"math"
	"sync"
)

// unit is the sum of the weights of one pixel of the picture.
const unit = 1 << 14

// axis says which pixels of the frame make each pixel of the picture along one
// direction, and by which weight: the mean of the area that it covers where the
// picture is smaller, and linear interpolation where it is larger.
type axis struct {
	first   []int32 // the first pixel, for each of the picture
	from    []int32 // its weight's place, and one more
	weights []uint32
}

// newAxis covers length pixels from start, of size there are, by n.
func newAxis(start, length float64, size, n int, flip bool) axis {
	a := axis{first: make([]int32, n), from: make([]int32, n+1)}
	step := length / float64(n)
	low := min(int(start), size-1)
	high := min(max(int(math.Ceil(start+length)), low+1), size)
	parts := make([]float64, 0, int(min(step, float64(size)))+3)
	for i := range n {
		o := i
		if flip {
			o = n - 1 - i
		}
		var first int
		parts = parts[:0]
		if step >= 1 {
			b, e := start+float64(o)*step, start+float64(o+1)*step
			first = min(max(int(b), low), high-1)
			for p := first; p < high && float64(p) < e || p == first; p++ {
				parts = append(parts, max(min(e, float64(p+1))-max(b, float64(p)), 0))
			}
		} else {
			p := start + (float64(o)+0.5)*step - 0.5
			f := math.Floor(p)
			first = min(max(int(f), low), high-1)
			parts = append(parts, 1)
			if next := int(f) + 1; next > first && next < high {
				parts[0] = 1 - (p - f)
				parts = append(parts, p-f)
			}
		}
		a.first[i] = int32(first)
		a.weights = appendWeights(a.weights, parts)
		a.from[i+1] = int32(len(a.weights))
	}
	return a
}

// appendWeights appends the parts, scaled to add up to unit exactly.
func appendWeights(dst []uint32, parts []float64) []uint32 {
	sum := 0.0
	for _, p := range parts {
		sum += p
	}
	if !(sum > 0) {
		parts, sum = []float64{1}, 1
	}
	done, acc := uint32(0), 0.0
	for i, p := range parts {
		acc += p
		to := uint32(acc/sum*unit + 0.5)
		if i == len(parts)-1 {
			to = unit
		}
		dst = append(dst, to-done)
		done = to
	}
	return dst
}

// scaled returns the picture in the geometry, as *image.Gray or *image.RGBA.
func (p picture) scaled(ctx context.Context, g geometry) (image.Image, error) {
	out, pix, stride := newImage(g.width, g.height, p.channels)
	if g.identity(p.width, p.height) {
		for y := range g.height {
			if y&63 == 0 && ctx.Err() != nil {
				return nil, ctx.Err()
			}
			p.row(y, pix[y*stride:][:stride])
		}
		return out, nil
	}
	s := scaler{picture: p, line: make([]byte, p.width*p.channels),
		x: newAxis(g.x, g.w, p.width, g.width, g.flipX), of: [2]int{-1, -1}}
	for i := range s.rows {
		s.rows[i] = make([]uint16, g.width*p.channels)
	}
	ys := newAxis(g.y, g.h, p.height, g.height, g.flipY)
	sum := make([]uint32, g.width*p.channels)
	for y := range g.height {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		clear(sum)
		for k, w := range ys.weights[ys.from[y]:ys.from[y+1]] {
			for i, v := range s.row(int(ys.first[y]) + k) {
				sum[i] += w * uint32(v)
			}
		}
		for i, v := range sum {
			pix[y*stride+i] = uint8((v + 1<<21) >> 22)
		}
	}
	return out, nil
}

// released holds the memory of grey pictures that were given back.
var released sync.Pool // of *image.Gray

// Release gives back a picture that Frame returned, which saves the making of
// the next. Nobody looks at it afterwards.
func Release(img image.Image) {
	if m, ok := img.(*image.Gray); ok && m != nil {
		released.Put(m)
	}
}

func newImage(width, height, channels int) (image.Image, []uint8, int) {
	r := image.Rect(0, 0, width, height)
	if channels == 1 {
		if m, ok := released.Get().(*image.Gray); ok && cap(m.Pix) >= width*height {
			m.Pix, m.Stride, m.Rect = m.Pix[:width*height], width, r
			clear(m.Pix)
			return m, m.Pix, m.Stride
		}
		m := image.NewGray(r)
		return m, m.Pix, m.Stride
	}
	m := image.NewRGBA(r)
	return m, m.Pix, m.Stride
}

// scaler scales rows of the frame to the picture's width and keeps the last two.
type scaler struct {
	picture
	x    axis
	line []byte
	rows [2][]uint16 // 256 times the values
	of   [2]int      // rows of the frame
	last int
}

// row returns row y of the frame in the picture's width.
func (s *scaler) row(y int) []uint16 {
	for i, of := range s.of {
		if of == y {
			return s.rows[i]
		}
	}
	s.last ^= 1
	s.of[s.last] = y
	out := s.rows[s.last]
	s.picture.row(y, s.line)
	if s.channels == 1 {
		for i := range out {
			line := s.line[s.x.first[i]:]
			sum := uint32(0)
			for k, w := range s.x.weights[s.x.from[i]:s.x.from[i+1]] {
				sum += w * uint32(line[k])
			}
			out[i] = uint16(sum >> 6)
		}
		return out
	}
	for i := range len(out) / 4 {
		line := s.line[4*s.x.first[i]:]
		var r, g, b uint32
		for k, w := range s.x.weights[s.x.from[i]:s.x.from[i+1]] {
			r += w * uint32(line[4*k])
			g += w * uint32(line[4*k+1])
			b += w * uint32(line[4*k+2])
		}
		out[4*i], out[4*i+1], out[4*i+2], out[4*i+3] = uint16(r>>6), uint16(g>>6), uint16(b>>6), 255<<8
	}
	return out
}
