//go:build linux

package hostile

import (
	"bytes"
	"compress/flate"
	"encoding/binary"
	"math"
	"strings"
)

// corpus are the specimens that are made from nothing.
func corpus() []specimen {
	var all []specimen
	for _, list := range [][]specimen{sizes(), bits(), counts(), fragmentLies(), tables(), bombs(), streams(), palettes(), lookups(), overlays(), numbers()} {
		all = append(all, list...)
	}
	return all
}

const most = 0xFFFF

// sizes claim more pixels than there are, in native and in coded form.
func sizes() []specimen {
	all := []specimen{
		image("65535² of 8 bits", explicitLE, true, size(most, most, 1, 8)...),
		image("65535² of 16 bits, three samples", explicitLE, true, size(most, most, 3, 16)...),
		image("65535² of 64 bits", explicitLE, true, size(most, most, 1, 64)...),
		image("65535² of 1 bit", explicitLE, true, size(most, most, 1, 1)...),
		image("65535² and 2³¹-1 frames", explicitLE, true, with(size(most, most, 3, 16), frames("2147483647"))...),
		image("65535 by 1", explicitLE, true, size(most, 1, 1, 16)...),
		image("32768² of 32 bits: 2³² bytes", explicitLE, true, size(32768, 32768, 1, 32)...),
		image("no rows", explicitLE, true, size(0, 8, 1, 8)...),
		image("no columns", explicitLE, true, size(8, 0, 1, 8)...),
		image("rows are missing", explicitLE, true, el{0x00280010, "-", ""}),
		image("nothing but pixels", explicitLE, true, el{0x00280010, "-", ""}, el{0x00280011, "-", ""}, el{0x00280100, "-", ""}, el{0x00280002, "-", ""}, el{0x00280004, "-", ""}),
		image("rows as text", explicitLE, true, el{0x00280010, "LO", "many"}),
		image("rows empty", explicitLE, true, el{0x00280010, "US", ""}),
		image("rows twice", explicitLE, false, el{0x00280010, "US", us(8, most)}),
		image("a byte of pixels", explicitLE, true, native([]byte{1, 2})),
		image("no pixels", explicitLE, true, native(nil)),
	}
	for _, syntax := range compressedSyntaxes {
		all = append(all,
			image("65535² in "+syntax, syntax, true, with(size(most, most, 1, 8), fragments(0, "", "\xFF\xD8\xFF\xD9"))...),
			image("12000² of 16 bits in "+syntax, syntax, true, with(size(12000, 12000, 1, 16), fragments(0, "", "\xFF\xD8\xFF\xD9"))...),
			image("10000² of 8 bits, three samples, in "+syntax, syntax, true, with(size(8000, 8000, 3, 8), fragments(0, "", string(gradient(500))))...))
	}
	return all
}

// bits have depths and numbers of samples that nobody can decode.
func bits() []specimen {
	var all []specimen
	for _, n := range []uint16{0, 2, 7, 9, 12, 24, 31, 128, most} {
		for _, syntax := range []string{explicitLE, rle, jpegSV1, j2kLL, deflFrame} {
			px := native(gradient(256))
			if syntax != explicitLE {
				px = fragments(0, "", string(gradient(256)))
			}
			all = append(all, image(named("%d bits allocated in %s", n, syntax), syntax, true, el{0x00280100, "US", us(n)}, px))
		}
	}
	for _, n := range []uint16{0, 2, 5, most} {
		for _, syntax := range []string{explicitLE, rle, jpeg8, jpegLS, j2kLL} {
			px := native(gradient(256))
			if syntax != explicitLE {
				px = fragments(0, "", string(gradient(256)))
			}
			all = append(all, image(named("%d samples in %s", n, syntax), syntax, true, el{0x00280002, "US", us(n)}, px))
		}
	}
	return append(all,
		image("more bits stored than allocated", explicitLE, true, el{0x00280101, "US", us(200)}),
		image("no bits stored", explicitLE, false, el{0x00280101, "US", us(0)}),
		image("high bit 65535", explicitLE, false, el{0x00280102, "US", us(most)}),
		image("pixel representation 65535", explicitLE, false, el{0x00280103, "US", us(most)}),
		image("planar configuration 7", explicitLE, false, el{0x00280006, "US", us(7)}),
		image("photometric interpretation of nonsense", explicitLE, false, el{0x00280004, "CS", "../../etc"}),
		image("three samples of a grey image", explicitLE, false, el{0x00280002, "US", us(3)}, native(gradient(192))),
		image("one sample of RGB", explicitLE, false, el{0x00280004, "CS", "RGB"}),
		image("4:2:2 of odd width", explicitLE, false, with(size(7, 7, 3, 8), el{0x00280004, "CS", "YBR_FULL_422"}, native(gradient(98)))...),
		image("4:2:0 without data", explicitLE, true, with(size(most, most, 3, 8), el{0x00280004, "CS", "YBR_PARTIAL_420"})...))
}

// counts lie about the number of frames.
func counts() []specimen {
	var all []specimen
	for _, n := range []string{"2147483647", "9999999999999999999999", "1e9", "-1", "0", "", "+2", " 3 ", `1\2`, "0x10", "4294967297", "2000000000"} {
		all = append(all, image(named("%q frames, native", n), explicitLE, false, frames(n)),
			image(named("%q frames, in fragments", n), rle, false, frames(n), fragments(0, "", rleFrame(64, 0, 64))),
			image(named("%q frames, in one fragment with a table", n), jpeg8, true, frames(n), fragments(0, "\x00\x00\x00\x00", "\xFF\xD8\xFF\xD9")))
	}
	many := make([]string, 501)
	many[0] = ""
	for i := range many[1:] {
		many[i+1] = rleFrame(64, 0, 64)
	}
	return append(all,
		image("500 frames of a pixel", explicitLE, false, with(size(1, 1, 1, 8), frames("500"), native(make([]byte, 500)))...),
		image("500 fragments", rle, false, frames("500"), fragments(0, many...)),
		image("500 fragments of a frame", jpeg8, true, fragments(0, many...)))
}

// fragmentLies are about the items of encapsulated pixel data.
func fragmentLies() []specimen {
	var all []specimen
	for _, syntax := range []string{rle, jpeg8, jpegSV1, jpegLS, j2kLL, htj2kLL, deflFrame} {
		for _, claim := range []uint32{1 << 30, 1<<31 - 2, 1 << 31, 1<<32 - 2, 1<<32 - 1} {
			all = append(all, image(named("a fragment of %d bytes in %s", claim, syntax), syntax, true, fragments(claim, "", "\xFF\xD8 and so on")))
		}
		all = append(all,
			image("no items in "+syntax, syntax, true, fragments(0)),
			image("no fragments in "+syntax, syntax, true, fragments(0, "")),
			image("an empty fragment in "+syntax, syntax, true, fragments(0, "", "")),
			image("empty fragments in "+syntax, syntax, true, fragments(0, "", "", "", "", "")),
			image("native pixels in "+syntax, syntax, false, native(gradient(64))),
			image("no pixel data in "+syntax, syntax, true, el{0x7FE00010, "-", ""}),
			image("zeros in "+syntax, syntax, true, fragments(0, "", strings.Repeat("\x00", 4096))),
			image("ones in "+syntax, syntax, true, fragments(0, "", strings.Repeat("\xFF", 4096))))
	}
	for _, syntax := range []string{explicitLE, implicitLE, explicitBE, deflatedLE} {
		all = append(all, image("fragments in "+syntax, syntax, false, fragments(0, "", rleFrame(64, 0, 64))))
	}
	return all
}

// tables of offsets lie (PS3.5 §A.4, PS3.3 §C.7.6.3.1.8).
func tables() []specimen {
	u32 := func(v ...uint32) string {
		var b []byte
		for _, x := range v {
			b = binary.LittleEndian.AppendUint32(b, x)
		}
		return string(b)
	}
	f := rleFrame(64, 0, 64)
	step := uint32(len(f) + 8)
	var all []specimen
	for name, table := range map[string]string{
		"past the end": u32(0, 1<<31), "descending": u32(step, 0), "all the same": u32(0, 0), "not at a fragment": u32(0, 5), "of 10,000 frames": u32(make([]uint32, 10_000)...),
		"of one frame": u32(0), "of an odd length": "\x00\x00\x00", "that begins late": u32(step, 2*step), "right": u32(0, step),
	} {
		all = append(all, image("a Basic Offset Table "+name, rle, false, frames("2"), fragments(0, table, f, f)),
			image("a Basic Offset Table "+name+", of JPEG", jpeg8, true, frames("2"), fragments(0, table, "\xFF\xD8\xFF\xD9", "\xFF\xD8\xFF\xD9")))
	}
	for name, table := range map[string][2]string{
		"past the end": {quads(0, 1<<62), quads(uint64(len(f)), uint64(len(f)))}, "that overflows": {quads(math.MaxUint64-7, math.MaxUint64), quads(16, 16)}, "with giant lengths": {quads(0, uint64(step)), quads(1<<40, math.MaxUint64)},
		"with no lengths": {quads(0, uint64(step)), ""}, "with too few lengths": {quads(0, uint64(step)), quads(2)}, "of 10,000 frames": {quads(make([]uint64, 10_000)...), quads(make([]uint64, 10_000)...)},
		"with lengths of nothing": {quads(0, uint64(step)), quads(0, 0)}, "that overlaps": {quads(0, 0), quads(uint64(2*step), uint64(2*step))},
	} {
		all = append(all, image("an Extended Offset Table "+name, rle, false, frames("2"), el{0x7FE00001, "OV", table[0]}, el{0x7FE00002, "OV", table[1]}, fragments(0, "", f, f)))
	}
	return all
}

// rleFrame is a frame of n bytes in segments of one run each (PS3.5 §G);
// segments 0 is one.
func rleFrame(n, segments, each int) string {
	segments = max(1, segments)
	head := make([]byte, 64)
	binary.LittleEndian.PutUint32(head, uint32(segments))
	var body []byte
	for i := range segments {
		binary.LittleEndian.PutUint32(head[4+4*i:], uint32(64+len(body)))
		for left := each; left > 0; left -= min(left, 128) {
			body = append(body, byte(257-min(left, 128)), byte(n))
		}
		if len(body)%2 == 1 {
			body = append(body, 128)
		}
	}
	return string(head) + string(body)
}

// deflated is the deflated form of a beginning and n bytes more.
func deflated(begin []byte, n int, of byte) []byte {
	var b bytes.Buffer
	w, _ := flate.NewWriter(&b, flate.BestSpeed)
	_, _ = w.Write(begin)
	block := bytes.Repeat([]byte{of}, 1<<16)
	for ; n > 0; n -= len(block) {
		_, _ = w.Write(block[:min(n, len(block))])
	}
	_ = w.Close()
	return append(b.Bytes(), make([]byte, b.Len()%2)...)
}

// bombs are small and want to become large.
func bombs() []specimen {
	// A data set that ends with n bytes of a value of which claimed are said.
	data := func(name string, refused bool, last uint32, vr string, claimed uint32, n int, list ...el) specimen {
		return specimen{name, func(u uids) []byte {
			all := elements(u, append(list, el{0x7FE00010, "-", ""})...)
			head := binary.LittleEndian.AppendUint16(encode(all...), uint16(last>>16))
			head = append(binary.LittleEndian.AppendUint16(head, uint16(last)), vr[0], vr[1], 0, 0)
			return part10(deflatedLE, deflated(binary.LittleEndian.AppendUint32(head, claimed), n, 0))
		}, refused}
	}
	frame := func(name string, refused bool, n int, of byte, list ...el) specimen {
		return specimen{name, func(u uids) []byte {
			return part10(deflFrame, encode(elements(u, append(list, fragments(0, "", string(deflated(nil, n, of))))...)...))
		}, refused}
	}
	zeros := strings.Repeat("\x81\x00", 5<<20) // runs of 640 MiB
	return []specimen{
		data("a deflated data set with 160 MB of pixels", false, 0x7FE00010, "OW", 12_650*12_650, 12_650*12_650, size(12_650, 12_650, 1, 8)...),
		data("a deflated data set with 400 MB of pixels", true, 0x7FE00010, "OW", 400_000_000, 400_000_000, size(20_000, 20_000, 1, 8)...),
		data("a deflated data set with 64 MB of text", false, 0x0040A160, "UT", 64<<20, 64<<20),
		data("a deflated data set of gigabytes", true, 0x7FE00010, "OB", 0x7FFFFFFE, 0x7FFFFFFE, size(most, most, 1, 8)...),
		data("a deflated data set cut short", true, 0x7FE00010, "OB", 0x7FFFFFFE, 1<<20, size(most, most, 1, 8)...),
		{"a deflated data set of noise", func(u uids) []byte { return part10(deflatedLE, gradient(5000)) }, true},
		frame("a deflated frame of a gigabyte for 64 pixels", false, 1<<30, 0),
		frame("a deflated frame of 190 MB", false, 14_000*14_000, 7, size(14_000, 14_000, 1, 8)...),
		frame("a deflated frame of too many bytes", true, 400_000_000, 0, size(20_000, 20_000, 1, 8)...),
		image("runs of 640 MB for 64 pixels", rle, false, fragments(0, "", rleFrame(1, 1, 1)+zeros)),
		image("runs of 190 MB", rle, false, with(size(14_000, 14_000, 1, 8), fragments(0, "", rleFrame(9, 1, 14_000*14_000)))...),
		image("runs for too many pixels", rle, true, with(size(20_000, 20_000, 1, 8), fragments(0, "", rleFrame(9, 1, 400_000)))...),
		image("15 segments for one", rle, true, fragments(0, "", rleFrame(9, 15, 64))),
		image("no segments", rle, true, fragments(0, "", strings.Repeat("\x00", 128))),
		image("4 billion segments", rle, true, fragments(0, "", "\xFF\xFF\xFF\xFF"+strings.Repeat("\x40\x00\x00\x00", 15)+strings.Repeat("\x00", 128))),
		image("segments outside of the frame", rle, true, fragments(0, "", "\x01\x00\x00\x00\xF0\xFF\xFF\xFF"+strings.Repeat("\x00", 120))),
		image("segments in each other", rle, true, with(size(8, 8, 3, 8), fragments(0, "", "\x03\x00\x00\x00\x40\x00\x00\x00\x40\x00\x00\x00\x41\x00\x00\x00"+strings.Repeat("\x00", 48)+strings.Repeat("\xC1\x07", 8)))...),
	}
}
