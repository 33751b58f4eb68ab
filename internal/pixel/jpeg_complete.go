package pixel

// complete reports whether a sequential Huffman-coded stream has all its blocks,
// or, where that is not followed, ends as it has to. Decoders make up what is
// missing without a word.
func (h *jpegHeader) complete(b []byte) bool {
	if h.sof > markSOF1 || len(h.inScan) != len(h.components) {
		return h.end != 0
	}
	tables, ok := huffmanTables(b)
	if !ok {
		return false
	}
	type blocks struct {
		dc, ac *huffman
		n      int
	}
	var mcu []blocks
	hmax, vmax := 1, 1
	for i, c := range h.components {
		t := blocks{tables[0][h.tables[i]>>4&3], tables[1][h.tables[i]&3], c.h * c.v}
		if len(h.components) == 1 {
			t.n = 1
		} else {
			hmax, vmax = max(hmax, c.h), max(vmax, c.v)
		}
		if t.dc == nil || t.ac == nil || t.n < 1 || t.n > 16 || h.inScan[i] != c.id {
			return false
		}
		mcu = append(mcu, t)
	}
	total := ((h.columns + 8*hmax - 1) / (8 * hmax)) * ((h.rows + 8*vmax - 1) / (8 * vmax))
	r := bitReader{b: b[h.scan:]}
	for i := range total {
		if h.restart > 0 && i > 0 && i%h.restart == 0 && !r.restart() {
			return false
		}
		for _, t := range mcu {
			for range t.n {
				if !r.block(t.dc, t.ac, nil) {
					return false
				}
			}
		}
		if r.short() {
			return false
		}
	}
	return true
}

// block passes over the coefficients of a block (ISO/IEC 10918-1 §F.2.2), and
// copies their codes to w unless it is nil.
func (r *bitReader) block(dc, ac *huffman, w *bitWriter) bool {
	for k := 0; k < 64; k++ {
		if r.n < 32 {
			r.fill()
		}
		acc, n, t := r.acc, r.n, ac
		if k == 0 {
			t = dc
		}
		rs, ok := r.code(t)
		if !ok || k == 0 && rs > 15 {
			return false
		}
		r.difference(rs & 15)
		if w != nil {
			n -= r.n
			w.write(acc>>(64-n), n)
		}
		if k == 0 {
			continue
		}
		if rs == 0 { // no others
			break
		}
		k += int(rs >> 4)
	}
	return true
}
