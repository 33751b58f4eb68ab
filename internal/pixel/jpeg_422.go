package pixel

// encode422 encodes an interleaved image of RGB or YBR_FULL, of 8 bits, as
// YBR_FULL_422: chrominance halved across and not down, which image/jpeg does
// not do. It codes each component as a picture in grey; in the stream made of
// the three their blocks take turns (ISO/IEC 10918-1 §A.2.3). The codes stay
// what they are, since with lines of whole units the blocks of each component
// follow one another as before.
func encode422(img Image, quality int) ([]byte, error) {
	wide := (img.Columns + 15) / 16 * 16
	var streams [3][]byte
	for i, p := range planes422(img, wide) {
		width := wide
		if i > 0 {
			width /= 2
		}
		var err error
		if streams[i], err = encodeGrey(p, width, img.Rows, quality); err != nil {
			return nil, err
		}
	}
	h, err := readJPEG(streams[0])
	if err != nil {
		return nil, err
	}
	tables, ok := huffmanTables(streams[0])
	dc, ac := tables[0][h.tables[0]>>4&3], tables[1][h.tables[0]&3]
	if !ok || dc == nil || ac == nil {
		return nil, errShort
	}
	w := bitWriter{out: header422(streams[0], img.Rows, img.Columns, h.tables[0])}
	var in [3]bitReader
	for i, s := range streams {
		h, err := readJPEG(s)
		if err != nil {
			return nil, err
		}
		in[i].b = s[h.scan:]
	}
	for range wide / 16 * ((img.Rows + 7) / 8) {
		for _, i := range [...]int{0, 0, 1, 2} {
			if !in[i].block(dc, ac, &w) || in[i].short() {
				return nil, errShort
			}
		}
	}
	w.flush()
	return append(w.out, 0xFF, markEOI), nil
}

// planes422 returns the components, the first so many samples wide, the others
// half as many, lines continued by their last pixel.
func planes422(img Image, wide int) [3][]byte {
	n := wide * img.Rows
	y, cb, cr := make([]byte, n), make([]byte, n), make([]byte, n)
	for row := range img.Rows {
		line := img.Data[3*row*img.Columns:][:3*img.Columns]
		for x, at := 0, row*wide; x < wide; x, at = x+1, at+1 {
			p := line[3*min(x, img.Columns-1):][:3]
			y[at], cb[at], cr[at] = p[0], p[1], p[2]
		}
	}
	if img.Photometric == RGB {
		fromRGB(y, cb, cr)
	}
	for _, c := range [][]byte{cb, cr} {
		for i := 0; i+1 < n; i += 2 {
			c[i/2] = byte((int(c[i]) + int(c[i+1]) + i/2&1) / 2) // rounded up and down by turns
		}
	}
	return [3][]byte{y, cb[:n/2], cr[:n/2]}
}

// header422 makes of the header of a picture in grey that of one in colours,
// all components with its tables.
func header422(grey []byte, rows, columns int, table byte) []byte {
	out := []byte{0xFF, markSOI}
	for at := 2; ; {
		marker, n := grey[at+1], 2+int(grey[at+2])<<8+int(grey[at+3])
		switch marker {
		case markSOF0:
			q := grey[at+n-1]
			out = append(out, 0xFF, markSOF0, 0, 17, 8, byte(rows>>8), byte(rows), byte(columns>>8), byte(columns),
				3, 1, 0x21, q, 2, 0x11, q, 3, 0x11, q)
		case markSOS:
			return append(out, 0xFF, markSOS, 0, 12, 3, 1, table, 2, table, 3, table, 0, 63, 0)
		default:
			out = append(out, grey[at:at+n]...)
		}
		at += n
	}
}
