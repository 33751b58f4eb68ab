//go:build linux

package hostile

import (
	"encoding/binary"
	"math"
	"strings"
)

// palettes lie about their tables (PS3.3 §C.7.6.3.1.5, §C.7.9.2).
func palettes() []specimen {
	var all []specimen
	make3 := func(name string, segmented bool, descriptor []uint16, data string, more ...el) {
		base := uint32(0x00281201)
		if segmented {
			base = 0x00281221
		}
		list := []el{{0x00280004, "CS", "PALETTE COLOR"}}
		for i := range uint32(3) {
			list = append(list, el{0x00281101 + i, "US", us(descriptor...)})
			if data != "" {
				list = append(list, el{base + i, "OW", data})
			}
		}
		all = append(all, image("a palette "+name, explicitLE, false, append(list, more...)...))
	}
	zeros := func(n int) string { return strings.Repeat("\x10\x20", n/2) }
	make3("that is right", false, []uint16{256, 0, 16}, zeros(512))
	make3("cut short", false, []uint16{256, 0, 16}, zeros(20))
	make3("without data", false, []uint16{256, 0, 16}, "")
	make3("of 65,536 entries with two", false, []uint16{0, 0, 16}, zeros(4))
	make3("that begins at 60,000", false, []uint16{256, 60_000, 16}, zeros(512))
	make3("that begins below zero", false, []uint16{256, 0x8000, 16}, zeros(512))
	make3("of 255 bits", false, []uint16{256, 0, 255}, zeros(512))
	make3("of no bits", false, []uint16{256, 0, 0}, zeros(512))
	make3("of 8 bits, a byte each", false, []uint16{256, 0, 8}, zeros(256))
	make3("with half a descriptor", false, []uint16{256}, zeros(512))
	make3("with an empty descriptor", false, nil, zeros(512))
	make3("of three entries for 64 values", false, []uint16{3, 0, 16}, zeros(6))
	make3("of one entry", false, []uint16{1, 0, 16}, zeros(2))
	make3("of ten megabytes", false, []uint16{256, 0, 16}, zeros(10<<20))
	make3("with pixels of 16 bits", false, []uint16{256, 0, 16}, zeros(512), with(size(8, 8, 1, 16), el{0x00280004, "CS", "PALETTE COLOR"}, native([]byte(strings.Repeat("\xFF\xFF", 64))))...)
	words := func(v ...uint16) string { return us(v...) }
	make3("in segments, right", true, []uint16{256, 0, 16}, words(0, 1, 0, 1, 255, most))
	make3("in a segment of 65,535", true, []uint16{256, 0, 16}, words(0, 1, 0, 1, most, most))
	make3("in segments that go on", true, []uint16{256, 0, 16}, words(0, 1, 0)+strings.Repeat(words(1, most, 1), 3000))
	make3("in indirect segments that call themselves", true, []uint16{256, 0, 16}, words(0, 1, 0)+strings.Repeat(words(2, 9, 6, 0), 1000))
	make3("in indirect segments past the end", true, []uint16{256, 0, 16}, words(0, 1, 0, 2, 3, most, most))
	make3("in a linear segment without a beginning", true, []uint16{256, 0, 16}, words(1, 256, most))
	make3("in segments of an unknown kind", true, []uint16{256, 0, 16}, words(7, 256, most))
	make3("in half a segment", true, []uint16{256, 0, 16}, words(0, 200, 1))
	make3("in no segments", true, []uint16{256, 0, 16}, words(0, 0))
	all = append(all, image("a palette of red only", explicitLE, false, el{0x00280004, "CS", "PALETTE COLOR"}, el{0x00281101, "US", us(256, 0, 16)}, el{0x00281201, "OW", zeros(512)}),
		image("no palette", explicitLE, false, el{0x00280004, "CS", "PALETTE COLOR"}))
	return all
}

// lookups are modality and VOI lookup tables that lie (PS3.3 §C.11.1, §C.11.2).
func lookups() []specimen {
	var all []specimen
	for name, sequence := range map[string]uint32{"modality": 0x00283000, "VOI": 0x00283010} {
		add := func(how string, items ...string) {
			all = append(all, image("a "+name+" table "+how, explicitLE, false, el{sequence, "SQ", strings.Join(items, "")}))
		}
		table := func(data string, descriptor ...uint16) string {
			return item(el{0x00283002, "US", us(descriptor...)}, el{0x00283003, "LO", "x"}, el{0x00283004, "LO", "HU"}, el{0x00283006, "OW", data})
		}
		add("that is right", table(us(make([]uint16, 256)...), 256, 0, 16))
		add("cut short", table("\x01\x02", 256, 0, 16))
		add("of 65,536 entries with one", table("\x01\x02", 0, 0, 16))
		add("of 255 bits", table(us(make([]uint16, 256)...), 256, 0, 255))
		add("of no bits", table(us(make([]uint16, 256)...), 256, 0, 0))
		add("that begins below zero", table(us(make([]uint16, 256)...), 256, 0x8000, 16))
		add("that begins at its end", table(us(make([]uint16, 256)...), 256, most, 16))
		add("with half a descriptor", table(us(make([]uint16, 256)...), 256))
		add("with nothing in it", item())
		add("that is none")
		add("one of a thousand", strings.Repeat(table(us(1, 2), 2, 0, 16), 1000))
	}
	return all
}

// overlays are larger than the image, or than there is (PS3.3 §C.9.2).
func overlays() []specimen {
	overlay := func(group uint32, rows, columns uint16, origin []uint16, bits uint16, data int) []el {
		return []el{{group<<16 | 0x0010, "US", us(rows)}, {group<<16 | 0x0011, "US", us(columns)}, {group<<16 | 0x0015, "IS", "2147483647"}, {group<<16 | 0x0040, "CS", "G"},
			{group<<16 | 0x0050, "SS", us(origin...)}, {group<<16 | 0x0051, "US", us(most)}, {group<<16 | 0x0100, "US", us(bits)}, {group<<16 | 0x0102, "US", us(bits)}, {group<<16 | 0x3000, "OW", string(make([]byte, data))}}
	}
	var sixteen []el
	for g := range uint32(16) {
		sixteen = append(sixteen, overlay(0x6000+2*g, most, most, []uint16{0x8000, 0x7FFF}, 1, 8)...)
	}
	return []specimen{
		image("an overlay of 65535²", explicitLE, false, overlay(0x6000, most, most, []uint16{1, 1}, 1, 8)...),
		image("sixteen overlays of 65535²", explicitLE, false, sixteen...),
		image("an overlay far away", explicitLE, false, overlay(0x6000, 8, 8, []uint16{0x8000, 0x8000}, 1, 8)...),
		image("an overlay in bits that are not there", explicitLE, false, overlay(0x6000, 8, 8, []uint16{1, 1}, 16, 0)...),
		image("an overlay without origin", explicitLE, false, overlay(0x6000, 8, 8, nil, 1, 8)...),
		image("an overlay of no rows", explicitLE, false, overlay(0x6000, 0, 8, []uint16{1, 1}, 1, 8)...),
		image("an overlay of 40 MB", explicitLE, false, overlay(0x6000, 17_000, 17_000, []uint16{1, 1}, 1, 40<<20)...),
	}
}

// numbers are such as no calculation expects.
func numbers() []specimen {
	var all []specimen
	add := func(name string, more ...el) { all = append(all, image(name, explicitLE, false, more...)) }
	for _, v := range []string{"0", "-1", "1e308", "-1e308", "1e-308", "NaN", "inf", "", "1e", `1\2\3`, "99999999999999999999"} {
		add(named("a window of width %q", v), el{0x00281050, "DS", "40"}, el{0x00281051, "DS", v})
		add(named("a window at %q", v), el{0x00281050, "DS", v}, el{0x00281051, "DS", "400"})
		add(named("a sigmoid of width %q", v), el{0x00281050, "DS", "40"}, el{0x00281051, "DS", v}, el{0x00281056, "CS", "SIGMOID"})
		add(named("a slope of %q", v), el{0x00281052, "DS", v}, el{0x00281053, "DS", v})
		add(named("a pixel aspect ratio of %q", v), el{0x00280034, "IS", v + `\1`})
		add(named("a pixel spacing of %q", v), el{0x00280030, "DS", "1\\" + v}, el{0x00181164, "DS", v + `\1`})
		add(named("padding of %q", v), el{0x00280120, "LO", v}, el{0x00280121, "LO", v})
		add(named("frame time %q", v), frames("4"), el{0x00181063, "DS", v}, el{0x00181065, "DS", v + `\` + v}, el{0x00082144, "IS", v}, native(gradient(256)))
		add(named("representative frame %q", v), el{0x00286010, "LO", v}, frames("2"), native(gradient(128)))
	}
	add("a window of a thousand", el{0x00281050, "DS", strings.Repeat(`1\`, 1000) + "1"}, el{0x00281051, "DS", "1"})
	floats := func(v float32) string {
		b := make([]byte, 0, 256)
		for range 64 {
			b = binary.LittleEndian.AppendUint32(b, math.Float32bits(v))
		}
		return string(b)
	}
	doubles := func(v float64) string {
		b := make([]byte, 0, 512)
		for range 64 {
			b = binary.LittleEndian.AppendUint64(b, math.Float64bits(v))
		}
		return string(b)
	}
	none := el{0x7FE00010, "-", ""}
	for _, v := range []float64{math.NaN(), math.Inf(1), math.Inf(-1), math.MaxFloat32, -math.MaxFloat32, 0} {
		add(named("float pixels of %v", v), with(size(8, 8, 1, 32), none, el{0x7FE00008, "OF", floats(float32(v))})...)
		add(named("double pixels of %v", v), with(size(8, 8, 1, 64), none, el{0x7FE00009, "OD", doubles(v)})...)
	}
	add("double pixels of all there is", with(size(8, 8, 1, 64), none, el{0x7FE00009, "OD", doubles(-math.MaxFloat64)[:256] + doubles(math.MaxFloat64)[:256]})...)
	add("float pixels that are missing", with(size(most, most, 1, 32), none, el{0x7FE00008, "OF", floats(1)})...)
	add("float pixels of 8 bits", none, el{0x7FE00008, "OF", floats(1)})
	add("pixels of three kinds", with(size(8, 8, 1, 32), el{0x7FE00008, "OF", floats(1)}, el{0x7FE00009, "OD", doubles(1)}, native(gradient(256)))...)
	var groups strings.Builder
	for range 20_000 {
		groups.WriteString(item(el{0x00289132, "SQ", item(el{0x00281050, "DS", "1"}, el{0x00281051, "DS", "1"})}))
	}
	add("functional groups of 20,000 frames for one", el{0x52009230, "SQ", groups.String()})
	add("functional groups of one frame for 4", frames("4"), el{0x52009230, "SQ", item()}, native(gradient(256)))
	return all
}
