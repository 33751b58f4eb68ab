package dicomjson

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/strata-pacs/strata/internal/dicom"
	"github.com/strata-pacs/strata/internal/fault"
)

func parseOne(t *testing.T, in string) *Parsed {
	t.Helper()
	out, err := Parse([]byte(in), Limits{})
	if err != nil || len(out) != 1 {
		t.Fatalf("%s: %d instances, %v", in, len(out), err)
	}
	return out[0]
}

func TestParseValues(t *testing.T) {
	for _, c := range []struct {
		name, in string
		vr       dicom.VR
		want     string
	}{
		{"text", `{"vr":"LO","Value":["a\"b","ü\u00e9\ud83d\ude00"]}`, dicom.LO, "a\"b\\üé😀"},
		{"padding", `{"vr":"LO","Value":["abc"]}`, dicom.LO, "abc "},
		{"uid padding", `{"vr":"UI","Value":["1.2"]}`, dicom.UI, "1.2\x00"},
		{"null", `{"vr":"LO","Value":[null]}`, dicom.LO, ""},
		{"null Value", `{"vr":"LO","Value":null}`, dicom.LO, ""},
		{"empty string", `{"vr":"LO","Value":[""]}`, dicom.LO, ""},
		{"bare empty string", `{"vr":"LO","Value":""}`, dicom.LO, ""},
		{"empty array", `{"vr":"LO","Value":[]}`, dicom.LO, ""},
		{"only nulls", `{"vr":"LO","Value":[null,""]}`, dicom.LO, ""},
		{"no Value", `{"vr":"LO"}`, dicom.LO, ""},
		{"null between", `{"vr":"LO","Value":["a",null,"b"]}`, dicom.LO, `a\\b`},
		{"bare value", `{"vr":"CS","Value":"CT"}`, dicom.CS, "CT"},
		{"number as text", `{"vr":"LO","Value":[12.5]}`, dicom.LO, "12.5"},
		{"boolean as text", `{"vr":"LO","Value":[true]}`, dicom.LO, "true"},
		{"VR last", `{"Value":["a"],"vr":"LO"}`, dicom.LO, "a "},
		{"white space", " {\n\t\"vr\" : \"LO\" ,\r\"Value\" : [ \"a\" , \"b\" ] } ", dicom.LO, `a\b `},
		{"unknown members", `{"vr":"LO","x":{"y":["}",{}]},"Value":["a"],"z":null}`, dicom.LO, "a "},
		{"bad VR", `{"vr":"OB or OW","Value":["a"]}`, dicom.LO, "a "},
		{"lone surrogate", `{"vr":"LO","Value":["\ud800x\ud800\u0041"]}`, dicom.LO, "\uFFFDx\uFFFDA"},
		{"not UTF-8", "{\"vr\":\"LO\",\"Value\":[\"M\xfcller\"]}", dicom.LO, "Müller "},
		{"escapes", `{"vr":"ST","Value":["\b\f\n\r\t\/\\"]}`, dicom.ST, "\b\f\n\r\t/\\ "},

		{"name", `{"vr":"PN","Value":[{"Alphabetic":"A^B","Phonetic":"C"}]}`, dicom.PN, "A^B==C"},
		{"bare name", `{"vr":"PN","Value":["A^B=C"]}`, dicom.PN, "A^B=C "},
		{"name with null", `{"vr":"PN","Value":[{"Alphabetic":null,"Ideographic":"山","x":{}},null]}`, dicom.PN, "=山\\ "},
		{"no name", `{"vr":"PN","Value":[{}]}`, dicom.PN, ""},

		{"decimal", `{"vr":"DS","Value":[1.50,"2.5",-3,null,1e2]}`, dicom.DS, `1.50\2.5\-3\\1e2`},
		{"decimal too long", `{"vr":"DS","Value":[0.12345678901234567,-1.2345678901234567e-100]}`, dicom.DS, `0.12345678901235\-1.23456789e-100 `},
		{"decimal that is none", `{"vr":"DS","Value":["1,5"]}`, dicom.DS, "1,5 "},
		{"integer", `{"vr":"IS","Value":[1,"2",3.0,1e3," 4 "]}`, dicom.IS, `1\2\3\1000\4`},
		{"integer that is none", `{"vr":"IS","Value":[1.5,"x"]}`, dicom.IS, `1.5\x `},

		{"us", `{"vr":"US","Value":[512,"1",2.0,null]}`, dicom.US, "\x00\x02\x01\x00\x02\x00"},
		{"ss", `{"vr":"SS","Value":[-1]}`, dicom.SS, "\xff\xff"},
		{"ul", `{"vr":"UL","Value":[4294967295]}`, dicom.UL, "\xff\xff\xff\xff"},
		{"sl", `{"vr":"SL","Value":[-2]}`, dicom.SL, "\xfe\xff\xff\xff"},
		{"sv", `{"vr":"SV","Value":["-1",1]}`, dicom.SV, "\xff\xff\xff\xff\xff\xff\xff\xff\x01\x00\x00\x00\x00\x00\x00\x00"},
		{"uv", `{"vr":"UV","Value":["18446744073709551615"]}`, dicom.UV, "\xff\xff\xff\xff\xff\xff\xff\xff"},
		{"fl", `{"vr":"FL","Value":[0.1,"NaN"]}`, dicom.FL, "\xcd\xcc\xcc\x3d\x00\x00\xc0\x7f"},
		{"fd", `{"vr":"FD","Value":["-Infinity"]}`, dicom.FD, "\x00\x00\x00\x00\x00\x00\xf0\xff"},
		{"at", `{"vr":"AT","Value":["00181063","PatientID"]}`, dicom.AT, "\x18\x00\x63\x10\x10\x00\x20\x00"},

		{"inline", `{"vr":"OB","InlineBinary":"AAEC"}`, dicom.OB, "\x00\x01\x02\x00"},
		{"inline without padding", `{"vr":"OB","InlineBinary":"AAE"}`, dicom.OB, "\x00\x01"},
		{"inline with lines", `{"vr":"OB","InlineBinary":"AA\r\nE=\n"}`, dicom.OB, "\x00\x01"},
		{"inline in an array", `{"vr":"OB","InlineBinary":["AAE="]}`, dicom.OB, "\x00\x01"},
		{"inline null", `{"vr":"OB","InlineBinary":null}`, dicom.OB, ""},
		{"inline text", `{"vr":"LO","InlineBinary":"YWI="}`, dicom.LO, "ab"},
		{"empty binary Value", `{"vr":"OW","Value":[]}`, dicom.OW, ""},
		{"unknown with text", `{"vr":"UN","Value":["ab"]}`, dicom.UN, "ab"},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := parseOne(t, `{"00081030":`+c.in+`}`)
			e := p.Data.Lookup(0x00081030)
			if e == nil || e.VR != c.vr || string(e.Value) != c.want || e.Length != int64(len(c.want)) || e.Value == nil {
				t.Errorf("got %+v with %q, want %v %q", e, e.Value, c.vr, c.want)
			}
		})
	}
}

func TestParseDataset(t *testing.T) {
	p := parseOne(t, "\xef\xbb\xbf"+`[{
		"PatientName": {"vr":"PN","Value":[{"Alphabetic":"Müller"}]},
		"00080060": {"Value":["CT"]},
		"00080060": {"Value":["MR"]},
		"00080000": {"vr":"UL","Value":[1]},
		"_vrMap": {"x":1}, "00080050": null,
		"00020010": {"vr":"UI","Value":["1.2.840.10008.1.2.1"]},
		"7fe00010": {"vr":"OW","BulkDataURI":"https://h/x"},
		"00091001": {"Value":["x"]},
		"00400275": {"vr":"SQ","Value":[{"00080005":{"vr":"CS","Value":["ISO_IR 100"]},"00291010":{"vr":"OB","BulkDataURI":"cid:2"}},{},null,""]},
		"00400260": {"vr":"SQ"}
	}]`)
	var tags []string
	for _, e := range p.Data.Elements {
		tags = append(tags, e.Tag.String()+e.VR.String())
	}
	if got := strings.Join(tags, " "); got != "00080005CS 00080060CS 00091001UN 00100010PN 00400260SQ 00400275SQ 7FE00010OW" {
		t.Errorf("got %s", got)
	}
	if v, _ := p.Data.Text(0x00080060); v != "CT" {
		t.Errorf("of two members of one name, %q was taken", v)
	}
	if v, _ := p.Data.Text(0x00080005); v != "ISO_IR 192" || p.Data.Charset[0] != v {
		t.Errorf("charset %q", v)
	}
	if v, _ := p.Meta.Text(0x00020010); v != "1.2.840.10008.1.2.1" {
		t.Errorf("transfer syntax %q", v)
	}
	items := p.Data.Lookup(0x00400275).Items
	if v, _ := items[0].Text(0x00080005); len(items) != 2 || v != "ISO_IR 192" {
		t.Errorf("%d items, charset %q", len(items), v)
	}
	if len(p.Bulk) != 2 || p.Bulk[0].URI != "cid:2" || p.Bulk[0].Element != items[0].Lookup(0x00291010) ||
		p.Bulk[1].URI != "https://h/x" || p.Bulk[1].Element != p.Data.Lookup(0x7FE00010) || !p.Bulk[1].Element.Bulk || p.Bulk[1].Element.Value != nil {
		t.Errorf("bulk %+v", p.Bulk)
	}
	if p := parseOne(t, `{}`); p.Meta != nil || len(p.Data.Elements) != 0 || p.Data.Charset != nil {
		t.Errorf("got %+v", p)
	}
	if p := parseOne(t, `{"00181050":{"vr":"DS","Value":["abc"]}}`); len(p.Warnings) != 1 || strings.Contains(p.Warnings[0], "abc") {
		t.Errorf("warnings %q", p.Warnings)
	}
	if out, err := Parse([]byte(`[{},{}, {}]`), Limits{}); err != nil || len(out) != 3 {
		t.Errorf("%d instances, %v", len(out), err)
	}
}

func TestParseRefuses(t *testing.T) {
	element := func(s string) string { return `[{"00081030":` + s + `}]` }
	for _, in := range []string{
		"", " ", "null", "1", `"x"`, "[", "[{", "[{}", "[{}]x", "[{},]", "[,{}]", "[1]", "{}{}", "[{}}", `[{"00081030"}]`, `[{"00081030":}]`,
		`[{"00081030":{},}]`, `[{"00081030":{}"x":1}]`, `[{x:1}]`,
		element(`{"vr":"LO","Value":["a]}`), element(`{"vr":"LO","Value":["\x"]}`), element(`{"vr":"LO","Value":["\u12"]}`), element(`{"vr":"LO","Value":["\ud800\u12"]}`),
		element(`{"vr":"LO","Value":[nul]}`), element(`{"vr":"LO","Value":[1.2.3]}`), element(`{"vr":"LO","Value":["a" "b"]}`), element(`{"vr":"LO","Value":[[]]}`),
		element(`{"vr":"US","Value":[65536]}`), element(`{"vr":"US","Value":[-1]}`), element(`{"vr":"SS","Value":[40000]}`), element(`{"vr":"US","Value":["x"]}`),
		element(`{"vr":"US","Value":[1.5]}`), element(`{"vr":"UV","Value":[1e300]}`), element(`{"vr":"FD","Value":["x"]}`), element(`{"vr":"AT","Value":["x"]}`),
		element(`{"vr":"OB","InlineBinary":"!"}`), element(`{"vr":"OB","InlineBinary":{}}`), element(`{"vr":"OB","BulkDataURI":{}}`), element(`{"vr":"OW","Value":[1]}`),
		element(`{"vr":"SQ","Value":[1]}`), element(`{"vr":"SQ","Value":[[{}]]}`), element(`{"vr":"PN","Value":[{"Alphabetic"}]}`),
	} {
		if out, err := Parse([]byte(in), Limits{}); !fault.Is(err, fault.Invalid) {
			t.Errorf("%s: %d instances, %v", in, len(out), err)
		}
	}
}

func TestParseLimits(t *testing.T) {
	nested := func(n int, vrFirst bool) string {
		open, close := `{"00091001":{"Value":[`, `],"vr":"SQ"}}`
		if vrFirst {
			open, close = `{"00091001":{"vr":"SQ","Value":[`, `]}}`
		}
		return strings.Repeat(open, n) + strings.Repeat(close, n)
	}
	for name, c := range map[string]struct {
		in string
		l  Limits
	}{
		"depth":     {nested(70, true), Limits{}},
		"elements":  {`{"00080050":{},"00080060":{}}`, Limits{Elements: 1}},
		"values":    {`{"00080008":{"vr":"CS","Value":["","","",""]}}`, Limits{Elements: 3}},
		"items":     {`{"00400275":{"vr":"SQ","Value":[{},{},{},{}]}}`, Limits{Elements: 3}},
		"instances": {`[{},{}]`, Limits{Instances: 1}},
		"rereading": {strings.Replace(nested(60, false), "[]", `[{"00091002":{"vr":"UN","InlineBinary":"`+strings.Repeat("AAAA", 10000)+`"}}]`, 1), Limits{}},
	} {
		if _, err := Parse([]byte(c.in), c.l); !fault.Is(err, fault.TooLarge) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := Parse([]byte(nested(10, false)), Limits{}); err != nil {
		t.Errorf("ten levels: %v", err)
	}
	if _, err := Parse([]byte(strings.Repeat("[", 1<<20)), Limits{}); err == nil {
		t.Error("a million brackets are JSON")
	}
}

func TestRoundTrip(t *testing.T) {
	d := header()
	d.Elements = append(d.Elements,
		text(0x00290010, dicom.LO, "ACME"), text(0x00291001, dicom.UN, "\x00\x01\x02\x03"), text(0x00291002, dicom.FD, "\x00\x00\x00\x00\x00\x00\xf0\xff"),
		dicom.Element{Tag: 0x00400275, VR: dicom.SQ, Items: []*dicom.Dataset{dataset("ISO_IR 100", text(0x00400007, dicom.LO, "\xfc"), text(0x00400008, dicom.SQ, ""))}})
	first := Append(nil, d)
	p := parseOne(t, string(first))
	if second := Append(nil, p.Data); !bytes.Equal(first, second) {
		t.Errorf("got  %s\nfrom %s", second, first)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(`[{"00080005":{"vr":"CS","Value":["ISO_IR 192"]},"00100010":{"vr":"PN","Value":[{"Alphabetic":"M\u00fc"}]}}]`))
	f.Add([]byte(`{"00181050":{"vr":"DS","Value":[1.5e3,"x",null]},"7FE00010":{"vr":"OW","BulkDataURI":"x"},"00091001":{"vr":"OB","InlineBinary":"AAEC"}}`))
	f.Add([]byte(`{"00400275":{"Value":[{"00400007":{"vr":"LO"}},{}],"vr":"SQ"},"00720074":{"vr":"FD","Value":["NaN",0.1]}}`))
	f.Fuzz(func(t *testing.T, in []byte) {
		out, err := Parse(in, Limits{Elements: 10_000})
		if err != nil {
			if k := fault.KindOf(err); k != fault.Invalid && k != fault.TooLarge {
				t.Fatalf("%v is %v", err, k)
			}
			return
		}
		for _, p := range out {
			for i, e := range p.Data.Elements {
				if i > 0 && e.Tag <= p.Data.Elements[i-1].Tag || len(e.Value)%2 == 1 {
					t.Fatalf("%v with %d bytes at %d", e.Tag, len(e.Value), i)
				}
			}
			first := Append(nil, p.Data)
			if !json.Valid(first) {
				t.Fatalf("%s is not JSON", first)
			}
			again, err := Parse(first, Limits{Elements: 20_000})
			if err != nil {
				t.Fatalf("%s: %v", first, err)
			}
			if second := Append(nil, again[0].Data); !bytes.Equal(first, second) {
				t.Fatalf("%s became %s", first, second)
			}
		}
	})
}

// FuzzAppend makes elements of arbitrary bytes: whatever they are, the JSON is
// valid and reads back.
func FuzzAppend(f *testing.F) {
	f.Add(uint32(0x00100010), uint16(dicom.PN), []byte("M\xfcller^=\\"), "ISO_IR 100")
	f.Add(uint32(0x00181050), uint16(dicom.DS), []byte("1.5\\+.5e3\\x"), "")
	f.Add(uint32(0x00720074), uint16(dicom.FD), []byte("\x00\x00\x00\x00\x00\x00\xf0\xff"), "")
	f.Fuzz(func(t *testing.T, tag uint32, vr uint16, value []byte, terms string) {
		d := dataset(terms, text(dicom.Tag(tag), dicom.VR(vr), string(value)))
		out := Append(nil, d)
		if !json.Valid(out) {
			t.Fatalf("%q", out)
		}
		if bytes.Contains(out, []byte("BulkDataURI")) {
			return
		}
		for tag, element := range Elements(out) {
			a := ParseAttr(tag, element)
			if again := AppendAttr(nil, a); !json.Valid(append(append([]byte{'{'}, again...), '}')) {
				t.Fatalf("%q", again)
			}
		}
		if _, err := Parse(out, Limits{}); err != nil {
			t.Fatalf("%s: %v", out, err)
		}
	})
}
