package dicomjson

import (
	"encoding/binary"
	"encoding/json"
	"strings"
	"testing"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/dicom"
)

// dataset makes a little endian data set; terms is its Specific Character Set.
func dataset(terms string, elements ...dicom.Element) *dicom.Dataset {
	d := &dicom.Dataset{Order: binary.LittleEndian, Elements: elements}
	if terms != "" {
		d.Charset = strings.Split(terms, `\`)
	}
	return d
}

func text(t dicom.Tag, vr dicom.VR, v string) dicom.Element {
	return dicom.Element{Tag: t, VR: vr, Value: []byte(v), Length: int64(len(v))}
}

func TestAppend(t *testing.T) {
	const private = dicom.Tag(0x00091001)
	for _, c := range []struct {
		name string
		in   *dicom.Dataset
		want string
	}{
		{"nothing", dataset(""), `{}`},
		{"empty element", dataset("", text(0x00081030, dicom.LO, "")), `{"00081030":{"vr":"LO"}}`},
		{"only padding", dataset("", text(0x00081030, dicom.LO, "  ")), `{"00081030":{"vr":"LO"}}`},
		{"only empty values", dataset("", text(0x00081030, dicom.LO, `\ \`)), `{"00081030":{"vr":"LO"}}`},
		{"values", dataset("", text(0x00080008, dicom.CS, `ORIGINAL\\ AXIAL `)), `{"00080008":{"vr":"CS","Value":["ORIGINAL",null,"AXIAL"]}}`},
		{"uid", dataset("", text(0x00080018, dicom.UI, "1.2.3\x00")), `{"00080018":{"vr":"UI","Value":["1.2.3"]}}`},
		{"text is one value", dataset("", text(0x00081048, dicom.ST, "a\\b\r\n\"\x01")), `{"00081048":{"vr":"ST","Value":["a\\b\r\n\"\u0001"]}}`},
		{"group length, meta, repeated", dataset("",
			text(0x00020010, dicom.UI, "1.2"), text(0x00080000, dicom.UL, "\x01\x00\x00\x00"),
			text(0x00080060, dicom.CS, "CT"), text(0x00080060, dicom.CS, "MR"), text(0x00080050, dicom.SH, "a"), text(0x00080060, dicom.CS, "US")),
			`{"00080060":{"vr":"CS","Value":["CT"]},"00080050":{"vr":"SH","Value":["a"]}}`},

		{"name", dataset("", text(0x00100010, dicom.PN, "Doe^John ")), `{"00100010":{"vr":"PN","Value":[{"Alphabetic":"Doe^John"}]}}`},
		{"name of three groups", dataset(`\ISO 2022 IR 87`, text(0x00080005, dicom.CS, `\ISO 2022 IR 87`),
			text(0x00100010, dicom.PN, "Yamada^Tarou=\x1b$B;3ED\x1b(B^\x1b$BB@O:\x1b(B=\x1b$B$d$^$@\x1b(B^\x1b$B$?$m$&\x1b(B")),
			`{"00080005":{"vr":"CS","Value":["ISO_IR 192"]},"00100010":{"vr":"PN","Value":[{"Alphabetic":"Yamada^Tarou","Ideographic":"山田^太郎","Phonetic":"やまだ^たろう"}]}}`},
		{"name without first group", dataset("", text(0x00100010, dicom.PN, "==Phone")), `{"00100010":{"vr":"PN","Value":[{"Phonetic":"Phone"}]}}`},
		{"empty names", dataset("", text(0x00101001, dicom.PN, `=\A`)), `{"00101001":{"vr":"PN","Value":[null,{"Alphabetic":"A"}]}}`},
		{"no name", dataset("", text(0x00100010, dicom.PN, `==`)), `{"00100010":{"vr":"PN"}}`},

		{"charset present", dataset("ISO_IR 100", text(0x00080005, dicom.CS, "ISO_IR 100"), text(0x00080060, dicom.CS, "CT")),
			`{"00080005":{"vr":"CS","Value":["ISO_IR 192"]},"00080060":{"vr":"CS","Value":["CT"]}}`},
		{"charset added", dataset("", text(0x00080001, dicom.UL, "\x01\x00\x00\x00"), text(0x00080060, dicom.CS, "CT"), text(0x00100010, dicom.PN, "M\xfcller")),
			`{"00080001":{"vr":"UL","Value":[1]},"00080005":{"vr":"CS","Value":["ISO_IR 192"]},"00080060":{"vr":"CS","Value":["CT"]},"00100010":{"vr":"PN","Value":[{"Alphabetic":"Müller"}]}}`},
		{"charset added first", dataset("", text(0x00100010, dicom.PN, "M\xfcller")),
			`{"00080005":{"vr":"CS","Value":["ISO_IR 192"]},"00100010":{"vr":"PN","Value":[{"Alphabetic":"Müller"}]}}`},
		{"charset added last", dataset("", text(0x00041130, dicom.CS, "\xc3\xbc")),
			`{"00041130":{"vr":"CS","Value":["ü"]},"00080005":{"vr":"CS","Value":["ISO_IR 192"]}}`},
		{"text of an item", dataset("", dicom.Element{Tag: 0x00081032, VR: dicom.SQ, Items: []*dicom.Dataset{dataset("ISO_IR 144", text(0x00080104, dicom.LO, "\xbb"))}}),
			`{"00080005":{"vr":"CS","Value":["ISO_IR 192"]},"00081032":{"vr":"SQ","Value":[{"00080104":{"vr":"LO","Value":["Л"]}}]}}`},

		{"decimals", dataset("", text(0x00180050, dicom.DS, `1.5\+2\-0.50\.5\5.\007\1E+2\-1.5e-3 \0`)),
			`{"00180050":{"vr":"DS","Value":[1.5,2,-0.50,0.5,5,7,1e+2,-1.5e-3,0]}}`},
		{"decimals that are none", dataset("", text(0x00180050, dicom.DS, `1,5\abc\.\-\1e\1e+\--1\1.2.3\NaN\0x10\1e999\\2`)),
			`{"00180050":{"vr":"DS","Value":["1,5","abc",".","-","1e","1e+","--1","1.2.3","NaN","0x10","1e999",null,2]}}`},
		{"decimals of many digits", dataset("", text(0x00180050, dicom.DS, `0.1234567890123456\1234567890123456789\0.10000000000000000000001\1e-400\12345678901234567890000`)),
			`{"00180050":{"vr":"DS","Value":[0.1234567890123456,"1234567890123456789","0.10000000000000000000001","1e-400","12345678901234567890000"]}}`},
		{"integers", dataset("", text(0x00200013, dicom.IS, `12\-1\+3\1.0\1e3\ 7 \x\99999999999999999999`)),
			`{"00200013":{"vr":"IS","Value":[12,-1,3,"1.0","1e3",7,"x","99999999999999999999"]}}`},
		{"binary numbers", dataset("", text(0x00280010, dicom.US, "\x00\x02\xff\xff"), text(0x00280106, dicom.SS, "\xff\xff"),
			text(0x00280009, dicom.AT, "\x18\x00\x63\x10"), text(0x00720082, dicom.SV, "\xff\xff\xff\xff\xff\xff\xff\xff"),
			text(0x00720083, dicom.UV, "\x00\x00\x00\x00\x00\x00\x20\x00\x01\x00\x00\x00\x00\x00\x20\x00")),
			`{"00280010":{"vr":"US","Value":[512,65535]},"00280106":{"vr":"SS","Value":[-1]},"00280009":{"vr":"AT","Value":["00181063"]},` +
				`"00720082":{"vr":"SV","Value":[-1]},"00720083":{"vr":"UV","Value":[9007199254740992,"9007199254740993"]}}`},
		{"floats", dataset("", text(0x00720076, dicom.FL, "\xcd\xcc\xcc\x3d\x00\x00\xc0\x7f\x00\x00\x80\xff\x00\x00\x80\x7f"), text(0x00720074, dicom.FD, "\x9a\x99\x99\x99\x99\x99\xb9\x3f")),
			`{"00720076":{"vr":"FL","Value":[0.1,"NaN","-Infinity","Infinity"]},"00720074":{"vr":"FD","Value":[0.1]}}`},
		{"cut number", dataset("", text(0x00280010, dicom.US, "\x01")), `{"00280010":{"vr":"US"}}`},

		{"inline binary", dataset("", text(0x00020102, dicom.OB, "x"), text(private, dicom.UN, "\x00\x01\x02"), text(0x00282000, dicom.OB, "")),
			`{"00091001":{"vr":"UN","InlineBinary":"AAEC"},"00282000":{"vr":"OB"}}`},
		{"unknown, but in the dictionary", dataset("ISO_IR 100", text(0x00080060, dicom.UN, "CT"), text(0x00100010, dicom.UN, "M\xfcller"), text(0x00280010, dicom.UN, "\x00\x02"),
			text(0x00081111, dicom.UN, "\xfe\xff\x00\xe0\x00\x00\x00\x00"), text(0x00282000, dicom.UN, "ab")),
			`{"00080005":{"vr":"CS","Value":["ISO_IR 192"]},"00080060":{"vr":"CS","Value":["CT"]},"00100010":{"vr":"PN","Value":[{"Alphabetic":"Müller"}]},"00280010":{"vr":"US","Value":[512]},` +
				`"00081111":{"vr":"UN","InlineBinary":"/v8A4AAAAAA="},"00282000":{"vr":"OB","InlineBinary":"YWI="}}`},
		{"a VR that does not exist", dataset("", text(0x00091001, dicom.MakeVR('"', '\n'), "ab")), `{"00091001":{"vr":"UN","InlineBinary":"YWI="}}`},
		{"bulk data", dataset("", dicom.Element{Tag: 0x7FE00010, VR: dicom.OW, Bulk: true, Length: 4096}), `{"7FE00010":{"vr":"OW","BulkDataURI":"bulkdata/7FE00010"}}`},
		{"bulk data in items", dataset("", dicom.Element{Tag: 0x52009229, VR: dicom.SQ, Items: []*dicom.Dataset{dataset(""),
			dataset("", dicom.Element{Tag: 0x00289110, VR: dicom.SQ, Items: []*dicom.Dataset{
				dataset("", dicom.Element{Tag: 0x00091010, VR: dicom.OB, Bulk: true, Length: 4096})}})}}),
			`{"52009229":{"vr":"SQ","Value":[{},{"00289110":{"vr":"SQ","Value":[{"00091010":{"vr":"OB","BulkDataURI":"bulkdata/52009229/1/00289110/0/00091010"}}]}}]}}`},
		{"sequences", dataset("", dicom.Element{Tag: 0x00081111, VR: dicom.SQ}, dicom.Element{Tag: 0x00091002, VR: dicom.UN, Items: []*dicom.Dataset{dataset("")}}),
			`{"00081111":{"vr":"SQ"},"00091002":{"vr":"SQ","Value":[{}]}}`},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := string(Append([]byte("kept"), c.in))
			if got != "kept"+c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
			if !json.Valid([]byte(got[4:])) {
				t.Error("not JSON")
			}
		})
	}
}

func TestAppendBigEndian(t *testing.T) {
	d := &dicom.Dataset{Order: binary.BigEndian, Elements: []dicom.Element{
		text(0x00280010, dicom.US, "\x02\x00"), text(0x00280009, dicom.AT, "\x00\x18\x10\x63"),
		text(0x00091001, dicom.OW, "\x01\x02\x03\x04"), text(0x00091002, dicom.OF, "\x01\x02\x03\x04"),
		text(0x00091003, dicom.OD, "\x01\x02\x03\x04\x05\x06\x07\x08"), text(0x00091004, dicom.OB, "\x01\x02"),
	}}
	want := `{"00280010":{"vr":"US","Value":[512]},"00280009":{"vr":"AT","Value":["00181063"]},` +
		`"00091001":{"vr":"OW","InlineBinary":"AgEEAw=="},"00091002":{"vr":"OF","InlineBinary":"BAMCAQ=="},` +
		`"00091003":{"vr":"OD","InlineBinary":"CAcGBQQDAgE="},"00091004":{"vr":"OB","InlineBinary":"AQI="}}`
	if got := string(Append(nil, d)); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if d.Elements[2].Value[0] != 1 {
		t.Error("the value itself was swapped")
	}
}

func TestAppendAttr(t *testing.T) {
	for _, c := range []struct {
		in   archive.Attr
		want string
	}{
		{archive.Attr{Tag: 0x00100010, VR: dicom.PN, Value: "Müller^Jörg=山田"}, `"00100010":{"vr":"PN","Value":[{"Alphabetic":"Müller^Jörg","Ideographic":"山田"}]}`},
		{archive.Attr{Tag: 0x00100010, VR: dicom.PN}, `"00100010":{"vr":"PN"}`},
		{archive.Attr{Tag: 0x00080061, VR: dicom.CS, Value: `CT\MR`}, `"00080061":{"vr":"CS","Value":["CT","MR"]}`},
		{archive.Attr{Tag: 0x00280010, VR: dicom.US, Value: "512"}, `"00280010":{"vr":"US","Value":[512]}`},
		{archive.Attr{Tag: 0x00280010, VR: dicom.US, Value: "x1"}, `"00280010":{"vr":"US","Value":["x1"]}`},
		{archive.Attr{Tag: 0x00200013, VR: dicom.IS, Value: "7"}, `"00200013":{"vr":"IS","Value":[7]}`},
		{archive.Attr{Tag: 0x00720083, VR: dicom.UV, Value: `18446744073709551615\1`}, `"00720083":{"vr":"UV","Value":["18446744073709551615",1]}`},
		{archive.Attr{Tag: 0x00720074, VR: dicom.FD, Value: `0.1\NaN`}, `"00720074":{"vr":"FD","Value":[0.1,"NaN"]}`},
		{archive.Attr{Tag: 0x00280009, VR: dicom.AT, Value: "00181063"}, `"00280009":{"vr":"AT","Value":["00181063"]}`},
		{archive.Attr{Tag: 0x00081048, VR: dicom.ST, Value: `a\b`}, `"00081048":{"vr":"ST","Value":["a\\b"]}`},
		{archive.Attr{Tag: 0x00400275, VR: dicom.SQ, Value: `[{"00400007":{"vr":"LO"}}]`}, `"00400275":{"vr":"SQ","Value":[{"00400007":{"vr":"LO"}}]}`},
		{archive.Attr{Tag: 0x00400275, VR: dicom.SQ, Value: "[]"}, `"00400275":{"vr":"SQ"}`},
		{archive.Attr{Tag: 0x00091001, VR: dicom.OB}, `"00091001":{"vr":"OB"}`},
	} {
		got := string(AppendAttr(nil, c.in))
		if got != c.want {
			t.Errorf("got  %s\nwant %s", got, c.want)
		}
		if back := ParseAttr(c.in.Tag, []byte(got[11:])); back != c.in && c.in.Value != "[]" {
			t.Errorf("%s reads back as %+v", got, back)
		}
	}
	dst := make([]byte, 0, 1000)
	attr := archive.Attr{Tag: 0x00100010, VR: dicom.PN, Value: "Müller^Jörg^Maria Magdalena von und zu Hohenlohe=山田"}
	if n := testing.AllocsPerRun(100, func() { AppendAttr(dst, attr) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestAttrOf(t *testing.T) {
	d := dataset("ISO_IR 100", text(0x00080005, dicom.CS, "ISO_IR 100"), text(0x00100010, dicom.PN, "M\xfcller "),
		dicom.Element{Tag: 0x00400275, VR: dicom.SQ, Items: []*dicom.Dataset{dataset("ISO_IR 100", text(0x00400007, dicom.LO, "\xfc"))}},
		dicom.Element{Tag: 0x00400260, VR: dicom.SQ}, text(0x00280010, dicom.UN, "\x00\x02"), text(0x00091001, dicom.UN, "ab"))
	big := &dicom.Dataset{Order: binary.BigEndian, Elements: []dicom.Element{text(0x00280010, dicom.UN, "\x00\x02")}}
	if got := string(Append(nil, big)); got != `{"00280010":{"vr":"US","Value":[512]}}` {
		t.Errorf("UN in big endian: %s", got)
	}
	for tag, want := range map[dicom.Tag]archive.Attr{
		0x00080005: {Tag: 0x00080005, VR: dicom.CS, Value: "ISO_IR 192"},
		0x00100010: {Tag: 0x00100010, VR: dicom.PN, Value: "Müller"},
		0x00400275: {Tag: 0x00400275, VR: dicom.SQ, Value: `[{"00400007":{"vr":"LO","Value":["ü"]}}]`},
		0x00400260: {Tag: 0x00400260, VR: dicom.SQ},
		0x00280010: {Tag: 0x00280010, VR: dicom.US, Value: "512"},
		0x00091001: {Tag: 0x00091001, VR: dicom.UN},
	} {
		if got := AttrOf(d, d.Lookup(tag)); got != want {
			t.Errorf("got %+v, want %+v", got, want)
		}
	}
}

func TestElements(t *testing.T) {
	in := `{"00080005":{"vr":"CS","Value":["a}\"]\\"]},"00400275":{"vr":"SQ","Value":[{"00400007":{"vr":"LO"}}]},"00100020":{"vr":"LO"}}`
	var got []string
	for tag, element := range Elements([]byte(in)) {
		got = append(got, `"`+tag.String()+`":`+string(element))
	}
	if joined := "{" + strings.Join(got, ",") + "}"; joined != in {
		t.Errorf("got %s", joined)
	}
	for range Elements([]byte(in)) {
		break
	}
	for _, bad := range []string{"", "{", `{"00080005"`, `{"00080005":`, `{"00080005":{`, `{"00080005":{"`, `{"00080005":{}x`, `[]`, `{"x":1}`} {
		for tag := range Elements([]byte(bad)) {
			if tag != 0x00080005 {
				t.Errorf("%s yields %v", bad, tag)
			}
		}
	}
	n := 0
	for range Items([]byte(`[{},{"00080005":{}},{}]`)) {
		n++
	}
	if n != 3 {
		t.Errorf("%d items", n)
	}
}

// header is what a CT image has besides its pixels.
func header() *dicom.Dataset {
	d := dataset("ISO_IR 100", text(0x00080005, dicom.CS, "ISO_IR 100"), text(0x00080008, dicom.CS, `ORIGINAL\PRIMARY\AXIAL`),
		text(0x00080016, dicom.UI, "1.2.840.10008.5.1.4.1.1.2\x00"), text(0x00100010, dicom.PN, "M\xfcller^J\xf6rg"))
	for i := range dicom.Tag(32) {
		d.Elements = append(d.Elements,
			text(0x00180050+i*4, dicom.DS, `-158.135803\-179.035797\-75.699997`),
			text(0x00180051+i*4, dicom.LO, "Some description, of a length that is usual"),
			text(0x00180052+i*4, dicom.US, "\x00\x02"))
	}
	return d
}

func BenchmarkAppend(b *testing.B) {
	d := header()
	dst := make([]byte, 0, 64<<10)
	b.ReportAllocs()
	for b.Loop() {
		dst = Append(dst[:0], d)
	}
	b.SetBytes(int64(len(dst)))
}

func BenchmarkAppendAttr(b *testing.B) {
	dst := make([]byte, 0, 1000)
	attr := archive.Attr{Tag: 0x00100010, VR: dicom.PN, Value: "Müller^Jörg"}
	b.ReportAllocs()
	for b.Loop() {
		AppendAttr(dst, attr)
	}
}

func BenchmarkElements(b *testing.B) {
	text := Append(nil, header())
	b.ReportAllocs()
	for b.Loop() {
		for range Elements(text) {
		}
	}
}

func TestPlain(t *testing.T) {
	for n := range 20 {
		b := []byte(strings.Repeat("ü~ a", 5))[:n]
		if !plain(b) {
			t.Errorf("%q is not plain", b)
		}
		for i := range b {
			for _, c := range []byte{0, 1, 0x1F, '"', '\\', '\n'} {
				old := b[i]
				b[i] = c
				if plain(b) {
					t.Errorf("%q is plain", b)
				}
				b[i] = old
			}
			for _, c := range []byte{' ', '!', '#', '[', ']', 0x7F, 0x80, 0xA0, 0xFF} {
				old := b[i]
				b[i] = c
				if !plain(b) {
					t.Errorf("%q is not plain", b)
				}
				b[i] = old
			}
		}
	}
}
