//go:build linux

package hostile

import (
	"encoding/binary"
	"strings"
)

// marker is a segment of a JPEG, JPEG-LS or JPEG 2000 stream.
func marker(code byte, payload ...byte) string {
	return string(binary.BigEndian.AppendUint16([]byte{0xFF, code}, uint16(len(payload)+2))) + string(payload)
}

// sof begins a JPEG of any kind: 0xC0 baseline, 0xC1 extended, 0xC2
// progressive, 0xC3 lossless, 0xF7 JPEG-LS.
func sof(kind, precision byte, rows, columns uint16, components int) string {
	p := binary.BigEndian.AppendUint16([]byte{precision}, rows)
	p = append(binary.BigEndian.AppendUint16(p, columns), byte(components))
	for i := range components {
		p = append(p, byte(i+1), 0x11, 0)
	}
	return marker(kind, p...)
}

// Tables: one of quantisation, all ones, and Huffman tables of a few codes.
var (
	dqt = marker(0xDB, append([]byte{0}, []byte(strings.Repeat("\x01", 64))...)...)
	dht = huffman(0x00, 0, 1, 2) + huffman(0x10, 0x00, 0x01, 0xE0, 0xF0)
)

// huffman is a table whose symbols have codes of four bits.
func huffman(class byte, symbols ...byte) string {
	counts := make([]byte, 16)
	counts[3] = byte(len(symbols))
	return marker(0xC4, append(append([]byte{class}, counts...), symbols...)...)
}

func sos(components int, first, last, approx byte) string {
	p := []byte{byte(components)}
	for i := range components {
		p = append(p, byte(i+1), 0)
	}
	return marker(0xDA, append(p, first, last, approx)...)
}

const (
	soi = "\xFF\xD8"
	eoi = "\xFF\xD9"
)

// siz begins a JPEG 2000 code stream (ISO/IEC 15444-1 §A.5.1).
func siz(columns, rows, tileColumns, tileRows uint32, components uint16, depth byte, high bool) string {
	p := []byte{0, 0}
	if high {
		p = []byte{0x40, 0}
	}
	for _, v := range []uint32{columns, rows, 0, 0, tileColumns, tileRows, 0, 0} {
		p = binary.BigEndian.AppendUint32(p, v)
	}
	p = binary.BigEndian.AppendUint16(p, components)
	for range components {
		p = append(p, depth, 1, 1)
	}
	s := "\xFF\x4F" + marker(0x51, p...)
	if high {
		s += marker(0x50, 0, 2, 0, 0, 0, 0)
	}
	return s
}

// cod and qcd are the default coding style and quantisation; of HT when high.
func cod(layers uint16, levels, block byte, high bool) string {
	style := byte(0)
	if high {
		style = 0x40
	}
	return marker(0x52, 0, 2, byte(layers>>8), byte(layers), 0, levels, block, block, style, 1) +
		marker(0x5C, append([]byte{0x40}, []byte(strings.Repeat("\x48", 3*int(min(levels, 32))+1))...)...)
}

func tile(index uint16, length uint32, data string) string {
	p := binary.BigEndian.AppendUint16(nil, index)
	p = append(binary.BigEndian.AppendUint32(p, length), 0, 1)
	return marker(0x90, p...) + "\xFF\x93" + data
}

// streams are code streams whose headers lie, whole in form.
func streams() []specimen {
	var all []specimen
	// Of some a decoder may make the picture that they are, of nothing.
	pictures := map[string]bool{"8² with hardly any data": true, "65,535 layers": true, "32 levels": true, "tile parts without end": true}
	add := func(name, syntax string, rows, columns, samples, depth uint16, stream string) {
		all = append(all, image(name+" in "+syntax, syntax, !pictures[name], with(size(rows, columns, samples, depth), fragments(0, "", stream))...))
	}
	for syntax, kind := range map[string]byte{jpeg8: 0xC0, jpeg12: 0xC1, jpegLL: 0xC3, jpegSV1: 0xC3, jpegLS: 0xF7, jpegLSNear: 0xF7} {
		scan := dqt + dht + sos(1, 0, 63, 0)
		if kind == 0xC3 {
			scan = dht + sos(1, 1, 0, 0)
		} else if kind == 0xF7 {
			scan = sos(1, 0, 0, 0)
		}
		for _, d := range [][2]uint16{{8, 8}, {12_000, 12_000}, {65_500, 65_500}} {
			add(named("a header of 65500² for %d²", d[0]), syntax, d[0], d[1], 1, 8, soi+sof(kind, 8, 65_500, 65_500, 1)+scan+strings.Repeat("\x00", 500)+eoi)
			add(named("%d² with hardly any data", d[0]), syntax, d[0], d[1], 1, 8, soi+sof(kind, 8, d[0], d[1], 1)+scan+strings.Repeat("\x00", 500)+eoi)
		}
		add("no lines", syntax, 8, 8, 1, 8, soi+sof(kind, 8, 0, 8, 1)+scan+strings.Repeat("\x00", 500)+eoi)
		add("255 components", syntax, 8, 8, 3, 8, soi+sof(kind, 8, 8, 8, 255)+scan+strings.Repeat("\x00", 500)+eoi)
		add("precision 255", syntax, 8, 8, 1, 8, soi+sof(kind, 255, 8, 8, 1)+scan+strings.Repeat("\x00", 500)+eoi)
		add("two headers", syntax, 8, 8, 1, 8, soi+sof(kind, 8, 8, 8, 1)+sof(kind, 8, 60_000, 60_000, 1)+scan+strings.Repeat("\x00", 500)+eoi)
		add("two pictures", syntax, 8, 8, 1, 8, soi+eoi+soi+sof(kind, 8, 60_000, 60_000, 1)+scan+eoi)
		add("100,000 comments", syntax, 8, 8, 1, 8, soi+strings.Repeat(marker(0xFE, 'x'), 100_000)+eoi)
		add("a segment past the end", syntax, 8, 8, 1, 8, soi+sof(kind, 8, 8, 8, 1)+"\xFF\xC4\xFF\xFFx")
		add("restart intervals", syntax, 8, 8, 1, 8, soi+sof(kind, 8, 8, 8, 1)+marker(0xDD, 0, 1)+scan+strings.Repeat("\xFF\xD0\xFF\xD7", 5000)+eoi)
		add("hierarchical", syntax, 8, 8, 1, 8, soi+sof(0xDE, 8, 60_000, 60_000, 1)+sof(0xC5, 8, 8, 8, 1)+scan+eoi)
		add("arithmetic", syntax, 8, 8, 1, 8, soi+sof(0xC9, 8, 8, 8, 1)+marker(0xCC, 0, 0, 0x10, 1)+scan+strings.Repeat("\x00", 50)+eoi)
	}
	// Each scan touches every block and costs the sender a few bytes.
	scans := func(n int) string {
		return strings.Repeat(sos(1, 1, 63, 0)+strings.Repeat("\x2F\xFF\xFF", 40), n)
	}
	for _, syntax := range []string{jpeg8, jpeg12} {
		add("a progressive JPEG of 20,000 scans", syntax, 8000, 8000, 1, 8, soi+sof(0xC2, 8, 8000, 8000, 1)+dqt+dht+sos(1, 0, 0, 0)+scans(20_000)+eoi)
		add("a baseline JPEG of 20,000 scans", syntax, 8000, 8000, 1, 8, soi+sof(0xC0, 8, 8000, 8000, 1)+dqt+dht+scans(20_000)+eoi)
	}
	add("JPEG-LS with parameters that lie", jpegLS, 8, 8, 1, 8, soi+sof(0xF7, 8, 8, 8, 1)+marker(0xF8, 1, 0xFF, 0xFF, 0, 0, 0, 0, 0, 0, 0, 0)+sos(1, 0, 0, 0)+strings.Repeat("\x00", 50)+eoi)
	add("JPEG-LS with oversize dimensions", jpegLS, 8, 8, 1, 8, soi+marker(0xF8, 4, 4, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF)+sof(0xF7, 8, 0, 0, 1)+sos(1, 0, 0, 0)+strings.Repeat("\x00", 50)+eoi)
	add("JPEG-LS, near 255", jpegLSNear, 8, 8, 1, 8, soi+sof(0xF7, 8, 8, 8, 1)+sos(1, 255, 0, 0)+strings.Repeat("\x00", 50)+eoi)
	add("JPEG-LS, interleaved by nothing", jpegLS, 8, 8, 3, 8, soi+sof(0xF7, 8, 8, 8, 3)+sos(3, 0, 9, 0)+strings.Repeat("\x00", 50)+eoi)

	for _, syntax := range []string{j2kLL, j2k, htj2kLL, htj2kRPCL, htj2k} {
		high := strings.HasPrefix(syntax, htj2kLL[:len(htj2kLL)-1])
		eoc := eoi
		full := func(columns, rows, tc, tr uint32, components uint16, depth byte, c string) string {
			return siz(columns, rows, tc, tr, components, depth, high) + c + tile(0, 0, strings.Repeat("\x80", 200)) + eoc
		}
		plain := cod(1, 5, 4, high)
		add("SIZ of 65535² for 8²", syntax, 8, 8, 1, 8, full(most, most, most, most, 1, 7, plain))
		add("SIZ of 65535² for 65535²", syntax, most, most, 1, 8, full(most, most, most, most, 1, 7, plain))
		add("SIZ of 2³²-1", syntax, 8, 8, 1, 8, full(1<<32-1, 1<<32-1, 1<<32-1, 1<<32-1, 1, 7, plain))
		add("tiles of a pixel", syntax, 8000, 8000, 1, 8, full(8000, 8000, 1, 1, 1, 7, plain))
		add("tiles of nothing", syntax, 8, 8, 1, 8, full(8, 8, 0, 0, 1, 7, plain))
		add("tiles of 2³²-1", syntax, 8, 8, 1, 8, full(8, 8, 1<<32-1, 1<<32-1, 1, 7, plain))
		add("16,384 components", syntax, 8, 8, 3, 8, full(8, 8, 8, 8, 16_384, 7, plain))
		add("no components", syntax, 8, 8, 1, 8, full(8, 8, 8, 8, 0, 7, plain))
		add("38 bits", syntax, 8, 8, 1, 8, full(8, 8, 8, 8, 1, 37, plain))
		add("65,535 layers", syntax, 8, 8, 1, 8, full(8, 8, 8, 8, 1, 7, cod(most, 5, 4, high)))
		add("32 levels", syntax, 8, 8, 1, 8, full(8, 8, 8, 8, 1, 7, cod(1, 32, 4, high)))
		add("255 levels", syntax, 8, 8, 1, 8, full(8, 8, 8, 8, 1, 7, cod(1, 255, 4, high)))
		add("giant code blocks", syntax, 8, 8, 1, 8, full(8, 8, 8, 8, 1, 7, cod(1, 5, 200, high)))
		add("hardly any data for 9000²", syntax, 9000, 9000, 1, 16, full(9000, 9000, 9000, 9000, 1, 15, plain))
		add("many layers for 9000²", syntax, 9000, 9000, 1, 16, full(9000, 9000, 9000, 9000, 1, 15, cod(most, 5, 0, high)))
		add("a tile of 4 GB", syntax, 8, 8, 1, 8, siz(8, 8, 8, 8, 1, 7, high)+plain+tile(0, 1<<32-1, "x")+eoc)
		add("tile 65,535", syntax, 8, 8, 1, 8, siz(8, 8, 8, 8, 1, 7, high)+plain+tile(most, 0, "x")+eoc)
		add("tile parts without end", syntax, 8, 8, 1, 8, siz(8, 8, 8, 8, 1, 7, high)+plain+strings.Repeat(tile(0, 14, ""), 20_000)+eoc)
		add("nothing but a header", syntax, 8, 8, 1, 8, siz(8, 8, 8, 8, 1, 7, high)+plain+eoc)
		add("no coding style", syntax, 8, 8, 1, 8, siz(8, 8, 8, 8, 1, 7, high)+tile(0, 0, "x")+eoc)
		add("a file of boxes that end nowhere", syntax, 8, 8, 1, 8, "\x00\x00\x00\x0CjP  \r\n\x87\n"+strings.Repeat("\x00\x00\x00\x08free", 10_000)+"\xFF\xFF\xFF\xFFjp2c")
	}
	return all
}
