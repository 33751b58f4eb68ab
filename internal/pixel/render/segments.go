package render

// expand makes the entries of a segmented palette (PS3.3 §C.7.9.2), no more than
// it says it has. What is behind a segment that makes no sense is left out.
func expand(segments []uint16, entries int, octets bool) []uint16 {
	x := expansion{in: segments, octets: octets, entries: entries, out: make([]uint16, 0, min(entries, 1<<16))}
	x.run(0, -1, true)
	return x.out
}

type expansion struct {
	in      []uint16
	octets  bool // segments are of bytes, an offset of four of them
	entries int
	out     []uint16
	steps   int
}

// run expands so many segments (-1: all) from position i of the input.
func (x *expansion) run(i, count int, indirect bool) {
	for ; count != 0 && i >= 0 && i+1 < len(x.in) && len(x.out) < x.entries; count-- {
		// Segments of no length make no progress; no palette needs this many.
		if x.steps++; x.steps > 1<<17 {
			return
		}
		op, n := x.in[i], int(x.in[i+1])
		i += 2
		switch op {
		case 0: // discrete
			n = min(n, len(x.in)-i, x.entries-len(x.out))
			x.out = append(x.out, x.in[i:i+n]...)
			i += int(x.in[i-1])
		case 1: // linear
			if i >= len(x.in) {
				return
			}
			x.ramp(n, int(x.in[i]))
			i++
		case 2: // indirect
			from, size, ok := x.offset(i)
			if !ok || !indirect {
				return
			}
			x.run(from, n, false)
			i += size
		default:
			return
		}
	}
}

// ramp appends n entries on the line from the last entry to the value to.
func (x *expansion) ramp(n, to int) {
	from := to
	if len(x.out) > 0 {
		from = int(x.out[len(x.out)-1])
	}
	for k := 1; k <= n && len(x.out) < x.entries; k++ {
		// Rounded half away from where it came from, as integers.
		x.out = append(x.out, uint16((2*(from*n+(to-from)*k)+n)/(2*n)))
	}
}

// offset reads where an indirect segment points to, as a position of the input:
// its bytes counted, the lower half first.
func (x *expansion) offset(i int) (position, size int, ok bool) {
	if x.octets {
		if i+4 > len(x.in) {
			return 0, 0, false
		}
		return int(x.in[i]) | int(x.in[i+1])<<8 | int(x.in[i+2])<<16 | int(x.in[i+3])<<24, 4, true
	}
	if i+2 > len(x.in) {
		return 0, 0, false
	}
	return (int(x.in[i]) | int(x.in[i+1])<<16) / 2, 2, true
}
