package dicomxml

import (
	"encoding/binary"
	"encoding/json"
	"encoding/xml"
	"strings"
	"testing"

	"github.com/strata-pacs/strata/internal/dicom"
	"github.com/strata-pacs/strata/internal/dicom/dicomjson"
	"github.com/strata-pacs/strata/internal/fault"
)

// document wraps attributes in the model's element.
func document(s string) string { return head + s + tail }

func TestFromJSON(t *testing.T) {
	for _, c := range []struct{ name, in, want string }{
		{"nothing", `{}`, ``},
		{"empty", `{"00081030":{"vr":"LO"}}`, `<DicomAttribute tag="00081030" vr="LO" keyword="StudyDescription"></DicomAttribute>`},
		{"values", `{"00080008":{"vr":"CS","Value":["A",null,"B"]}}`,
			`<DicomAttribute tag="00080008" vr="CS" keyword="ImageType"><Value number="1">A</Value><Value number="3">B</Value></DicomAttribute>`},
		{"empty last value", `{"00101001":{"vr":"PN","Value":[{"Alphabetic":"A"},null]}}`,
			`<DicomAttribute tag="00101001" vr="PN" keyword="OtherPatientNames"><PersonName number="1"><Alphabetic><FamilyName>A</FamilyName></Alphabetic></PersonName><PersonName number="2"></PersonName></DicomAttribute>`},
		{"numbers", `{"00280010":{"vr":"US","Value":[512]},"00180050":{"vr":"DS","Value":[1.50,"x"]}}`,
			`<DicomAttribute tag="00280010" vr="US" keyword="Rows"><Value number="1">512</Value></DicomAttribute>` +
				`<DicomAttribute tag="00180050" vr="DS" keyword="SliceThickness"><Value number="1">1.50</Value><Value number="2">x</Value></DicomAttribute>`},
		{"escapes", `{"00204000":{"vr":"LT","Value":["<a & b> \"c\"\\\r\n\u0001é"]}}`,
			`<DicomAttribute tag="00204000" vr="LT" keyword="ImageComments"><Value number="1">&lt;a &amp; b&gt; "c"\&#13;` + "\n\uFFFDé" + `</Value></DicomAttribute>`},
		{"name", `{"00100010":{"vr":"PN","Value":[{"Alphabetic":"A^B^C^D^E^F","Phonetic":"X^^Y"}]}}`,
			`<DicomAttribute tag="00100010" vr="PN" keyword="PatientName"><PersonName number="1"><Alphabetic><FamilyName>A</FamilyName><GivenName>B</GivenName>` +
				`<MiddleName>C</MiddleName><NamePrefix>D</NamePrefix><NameSuffix>E^F</NameSuffix></Alphabetic><Phonetic><FamilyName>X</FamilyName><MiddleName>Y</MiddleName></Phonetic></PersonName></DicomAttribute>`},
		{"sequence", `{"00081111":{"vr":"SQ","Value":[{},{"00081150":{"vr":"UI","Value":["1.2"]}}]},"00400275":{"vr":"SQ"}}`,
			`<DicomAttribute tag="00081111" vr="SQ" keyword="ReferencedPerformedProcedureStepSequence"><Item number="1"></Item><Item number="2">` +
				`<DicomAttribute tag="00081150" vr="UI" keyword="ReferencedSOPClassUID"><Value number="1">1.2</Value></DicomAttribute></Item></DicomAttribute>` +
				`<DicomAttribute tag="00400275" vr="SQ" keyword="RequestAttributesSequence"></DicomAttribute>`},
		{"bulk data", `{"7FE00010":{"vr":"OW","BulkDataURI":"bulkdata/7FE00010"}}`,
			`<DicomAttribute tag="7FE00010" vr="OW" keyword="PixelData"><BulkData uri="http://h/a?b&amp;c/bulkdata/7FE00010"/></DicomAttribute>`},
		{"inline", `{"00282000":{"vr":"OB","InlineBinary":"AAEC"}}`, `<DicomAttribute tag="00282000" vr="OB" keyword="ICCProfile"><InlineBinary>AAEC</InlineBinary></DicomAttribute>`},
		{"private", `{"00290010":{"vr":"LO","Value":["A \"&\" B"]},"00291012":{"vr":"LO"},"00291101":{"vr":"LO"}}`,
			`<DicomAttribute tag="00290010" vr="LO"><Value number="1">A "&amp;" B</Value></DicomAttribute>` +
				`<DicomAttribute tag="00290012" vr="LO" privateCreator="A &quot;&amp;&quot; B"></DicomAttribute><DicomAttribute tag="00291101" vr="LO"></DicomAttribute>`},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := FromJSON([]byte("kept"), []byte(c.in), "http://h/a?b&c/")
			if err != nil || string(got) != "kept"+document(c.want) {
				t.Errorf("got  %s, %v\nwant %s", got, err, document(c.want))
			}
			if err := xml.Unmarshal(got[4:], new(struct{})); err != nil {
				t.Error(err)
			}
		})
	}
	for _, in := range []string{"", "[]", "{", `{"00081030":}`, "null"} {
		if _, err := FromJSON(nil, []byte(in), ""); !fault.Is(err, fault.Corrupt) {
			t.Errorf("%q: %v", in, err)
		}
	}
}

func TestParse(t *testing.T) {
	for _, c := range []struct{ name, in, want string }{
		{"nothing", ``, `{}`},
		{"values by number", `<DicomAttribute tag="00080008" vr="CS"><Value number="1">A</Value><Value number="3">B</Value></DicomAttribute>`, `{"00080008":{"vr":"CS","Value":["A",null,"B"]}}`},
		{"without numbers", `<DicomAttribute tag="00080008" vr="CS"><Value>A</Value><Value number="x">B</Value><Value number="1">C</Value></DicomAttribute>`, `{"00080008":{"vr":"CS","Value":["A","B","C"]}}`},
		{"a number far off", `<DicomAttribute tag="00080008" vr="CS"><Value number="2000000000">A</Value></DicomAttribute>`, ``},
		{"keyword for tag, no VR", `<DicomAttribute keyword="Modality"><Value>CT</Value></DicomAttribute>`, `{"00080060":{"vr":"CS","Value":["CT"]}}`},
		{"numbers", `<DicomAttribute tag="00280010" vr="US"><Value number="1"> 512 </Value></DicomAttribute><DicomAttribute tag="00720074" vr="FD"><Value>0.1</Value></DicomAttribute>`,
			`{"00280010":{"vr":"US","Value":[512]},"00720074":{"vr":"FD","Value":[0.1]}}`},
		{"white space between", "\n  <DicomAttribute tag=\"00280010\" vr=\"US\">\n<!-- x --><Value number=\"1\">512</Value>\n</DicomAttribute>\n<Other><Value>1</Value></Other>", `{"00280010":{"vr":"US","Value":[512]}}`},
		{"text", `<DicomAttribute tag="00204000" vr="LT"><Value number="1">&lt;a&gt; <![CDATA[&b]]>&#13;` + "\n" + `é</Value></DicomAttribute>`,
			`{"00080005":{"vr":"CS","Value":["ISO_IR 192"]},"00204000":{"vr":"LT","Value":["<a> &b\r\né"]}}`},
		{"name", `<DicomAttribute tag="00100010" vr="PN"><PersonName number="1"><Alphabetic><FamilyName>A</FamilyName><MiddleName>C</MiddleName><x/></Alphabetic><x/><Ideographic><GivenName>B</GivenName></Ideographic></PersonName></DicomAttribute>`,
			`{"00100010":{"vr":"PN","Value":[{"Alphabetic":"A^^C","Ideographic":"^B"}]}}`},
		{"empty last value", `<DicomAttribute tag="00101001" vr="PN"><PersonName number="1"><Alphabetic><FamilyName>A</FamilyName></Alphabetic></PersonName><PersonName number="2"/></DicomAttribute>`,
			`{"00101001":{"vr":"PN","Value":[{"Alphabetic":"A"},null]}}`},
		{"sequence", `<DicomAttribute tag="00081111" vr="SQ"><Item number="1"/><Item number="2"><DicomAttribute tag="00081150" vr="UI"><Value>1.2</Value></DicomAttribute></Item></DicomAttribute>`,
			`{"00081111":{"vr":"SQ","Value":[{},{"00081150":{"vr":"UI","Value":["1.2"]}}]}}`},
		{"inline", `<DicomAttribute tag="00282000" vr="OB"><InlineBinary>AA` + "\n" + `EC</InlineBinary></DicomAttribute>`, `{"00282000":{"vr":"OB","InlineBinary":"AAECAA=="}}`},
		{"private without creators", `<DicomAttribute tag="00290012" vr="LO" privateCreator="A"><Value>x</Value></DicomAttribute><DicomAttribute tag="00290013" vr="LO" privateCreator="B"/><DicomAttribute tag="00290014" vr="LO" privateCreator="A"/>`,
			`{"00290010":{"vr":"LO","Value":["A"]},"00290011":{"vr":"LO","Value":["B"]},"00291012":{"vr":"LO","Value":["x"]},"00291014":{"vr":"LO"},"00291113":{"vr":"LO"}}`},
		{"private with creator", `<DicomAttribute tag="00290020" vr="LO"><Value>A</Value></DicomAttribute><DicomAttribute tag="00290012" vr="LO" privateCreator="A"/>`,
			`{"00290020":{"vr":"LO","Value":["A"]},"00292012":{"vr":"LO"}}`},
		{"private with block", `<DicomAttribute tag="00293012" vr="LO" privateCreator="A"/><DicomAttribute tag="00293013" vr="LO" privateCreator="A"/>`,
			`{"00290030":{"vr":"LO","Value":["A"]},"00293012":{"vr":"LO"},"00293013":{"vr":"LO"}}`},
	} {
		t.Run(c.name, func(t *testing.T) {
			p, err := Parse([]byte(document(c.in)), dicomjson.Limits{})
			if err != nil {
				t.Fatal(err)
			}
			if got := string(dicomjson.Append(nil, p.Data)); got != c.want && c.want != "" {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
		})
	}
	latin := "<?xml version=\"1.0\" encoding=\"ISO-8859-1\"?><NativeDicomModel><DicomAttribute tag=\"00081030\" vr=\"LO\"><Value>M\xfcller</Value></DicomAttribute></NativeDicomModel>"
	if p, err := Parse([]byte(latin), dicomjson.Limits{}); err != nil {
		t.Error(err)
	} else if v, _ := p.Data.Text(0x00081030); v != "Müller" {
		t.Errorf("got %q", v)
	}
	p, err := Parse([]byte(document(`<DicomAttribute tag="00020010" vr="UI"><Value>1.2.840.10008.1.2.1</Value></DicomAttribute>`+
		`<DicomAttribute tag="7FE00010" vr="OW"><BulkData uri="http://h/&amp;x"/></DicomAttribute><DicomAttribute tag="00282000" vr="OB"><BulkData uuid="u"/></DicomAttribute>`)), dicomjson.Limits{})
	if err != nil || len(p.Bulk) != 2 || p.Bulk[0].URI != "u" || p.Bulk[1].URI != "http://h/&x" || p.Meta.Lookup(0x00020010) == nil {
		t.Errorf("got %+v, %v", p, err)
	}
}

func TestParseRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		in   string
		kind fault.Kind
	}{
		"nothing":         {"", fault.Invalid},
		"no XML":          {"{}", fault.Invalid},
		"another root":    {"<html></html>", fault.Invalid},
		"not closed":      {head, fault.Invalid},
		"more after":      {document("") + "<x/>", fault.Invalid},
		"wrong end":       {head + "</x>", fault.Invalid},
		"unknown entity":  {document(`<DicomAttribute tag="00080060" vr="CS"><Value>&x;</Value></DicomAttribute>`), fault.Invalid},
		"external entity": {`<!DOCTYPE x [<!ENTITY x SYSTEM "file:///etc/passwd">]>` + document(`<DicomAttribute tag="00080060" vr="CS"><Value>&x;</Value></DicomAttribute>`), fault.Invalid},
		"encoding":        {`<?xml version="1.0" encoding="UTF-16"?><NativeDicomModel/>`, fault.Invalid},
		"bad number":      {document(`<DicomAttribute tag="00280010" vr="US"><Value>x</Value></DicomAttribute>`), fault.Invalid},
		"depth":           {document(strings.Repeat(`<DicomAttribute tag="00081111" vr="SQ"><Item>`, 70) + strings.Repeat(`</Item></DicomAttribute>`, 70)), fault.TooLarge},
	} {
		if _, err := Parse([]byte(c.in), dicomjson.Limits{}); !fault.Is(err, c.kind) {
			t.Errorf("%s: %v", name, err)
		}
	}
	var b strings.Builder
	for i := range 241 {
		b.WriteString(`<DicomAttribute tag="00290012" vr="LO" privateCreator="` + dicom.Tag(i).String() + `"/>`)
	}
	if _, err := Parse([]byte(document(b.String())), dicomjson.Limits{}); !fault.Is(err, fault.Invalid) {
		t.Errorf("241 creators: %v", err)
	}
}

func TestAppend(t *testing.T) {
	d := &dicom.Dataset{Order: binary.LittleEndian, Elements: []dicom.Element{{Tag: 0x00080060, VR: dicom.CS, Value: []byte("CT")}}}
	want := document(`<DicomAttribute tag="00080060" vr="CS" keyword="Modality"><Value number="1">CT</Value></DicomAttribute>`)
	if got := string(Append(nil, d, "")); got != want {
		t.Errorf("got %s", got)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(document(`<DicomAttribute tag="00100010" vr="PN"><PersonName number="1"><Alphabetic><FamilyName>A</FamilyName></Alphabetic></PersonName></DicomAttribute>`)))
	f.Add([]byte(document(`<DicomAttribute tag="00290012" vr="SQ" privateCreator="A"><Item number="3"><DicomAttribute keyword="Rows"><Value number="2">1</Value></DicomAttribute></Item></DicomAttribute>`)))
	f.Add([]byte(document(`<DicomAttribute tag="00282000" vr="OB"><InlineBinary>AAEC</InlineBinary></DicomAttribute><DicomAttribute tag="7FE00010" vr="OW"><BulkData uri="x"/></DicomAttribute>`)))
	f.Fuzz(func(t *testing.T, in []byte) {
		p, err := Parse(in, dicomjson.Limits{Elements: 10_000})
		if err != nil {
			if k := fault.KindOf(err); k != fault.Invalid && k != fault.TooLarge {
				t.Fatalf("%v is %v", err, k)
			}
			return
		}
		text := dicomjson.Append(nil, p.Data)
		if !json.Valid(text) {
			t.Fatalf("%s", text)
		}
		out, err := FromJSON(nil, text, "")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := Parse(out, dicomjson.Limits{Elements: 20_000}); err != nil {
			t.Fatalf("%s: %v", out, err)
		}
	})
}
