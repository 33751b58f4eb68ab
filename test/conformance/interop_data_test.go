package conformance

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"regexp"
	"strings"
	"testing"
)

// keep stores an instance with further elements and returns its metadata and
// the answer to the store.
func (w *world) keep(t *testing.T, uid string, more ...el) (dataset, *answer) {
	t.Helper()
	stored := w.post(t, image(uid, uid+".1", uid+".1.1", more...)).is(200, 202)
	return w.get(t, "/studies/"+uid+"/metadata", typeJSON).is(200).datasets()[0], stored
}

func interop24(t *testing.T, w *world) {
	more := []el{{0x00081030, "LO", ""}, {0x00100030, "DA", ""}, {0x00104000, "LT", ""}, {0x00081140, "SQ", ""}, {0x00081115, "SQ", item()},
		{0x00189306, "FD", ""}, {0x00280009, "AT", ""}, {0x00420011, "OB", ""}, {0x00100020, "LO", ""}, {0x00081080, "LO", `a\\b`}}
	d, _ := w.keep(t, "1.24", more...)
	for tag, vr := range map[string]string{"00081030": "LO", "00100030": "DA", "00104000": "LT", "00081140": "SQ", "00189306": "FD", "00280009": "AT", "00420011": "OB", "00100020": "LO"} {
		if a, ok := d[tag]; !ok || a.VR != vr || a.Value != nil || a.InlineBinary != "" || a.BulkDataURI != "" {
			t.Errorf("%s: %+v", tag, a)
		}
	}
	for _, path := range []string{"/studies/1.24/metadata", "/studies?StudyInstanceUID=1.24", "/instances?StudyInstanceUID=1.24&includefield=all"} {
		a := w.get(t, path, typeJSON)
		if m := regexp.MustCompile(`"Value":\[(null)?\]|"Value":\[""\]|"Alphabetic":""|"InlineBinary":""`).Find(a.Body); m != nil {
			t.Errorf("%s says %s", path, m)
		}
		var any []map[string]any
		if err := json.Unmarshal(a.Body, &any); err != nil {
			t.Error(err)
		}
	}
	if got := len(d["00081080"].Value); got != 3 || d["00081080"].Value[1] != nil {
		t.Errorf("an empty value among others: %v", d["00081080"].Value)
	}
	for i, empty := range []string{`{"vr":"ST"}`, `{"vr":"ST","Value":[null]}`, `{"vr":"ST","Value":[""]}`, `{"vr":"ST","Value":[]}`, `{"vr":"ST","Value":null}`} {
		uid := fmt.Sprintf("1.24.%d", i)
		body := `[{"00080016":{"vr":"UI","Value":["` + secondaryCapture + `"]},"00080018":{"vr":"UI","Value":["` + uid + `.1.1"]},"00080081":` + empty + `,` +
			`"00100010":{"vr":"PN","Value":[{}]},"0020000D":{"vr":"UI","Value":["` + uid + `"]},"0020000E":{"vr":"UI","Value":["` + uid + `.1"]}}]`
		w.do(t, "POST", "/studies", []byte(body), "Content-Type", typeJSON).is(200, 202)
		if a := w.get(t, "/studies/"+uid+"/metadata", typeJSON).is(200).datasets()[0]["00080081"]; a.VR != "ST" || a.Value != nil {
			t.Errorf("%s became %+v", empty, a)
		}
	}
}

func interop25(t *testing.T, w *world) {
	for i, c := range []struct{ charset, name, want string }{
		{"ISO_IR 192", "Wang^XiaoDong=王^小东=", "Wang^XiaoDong=王^小东"},
		{"ISO_IR 100", "Buc^J\xe9r\xf4me", "Buc^Jérôme"},
		{"ISO_IR 144", "\xbb\xee\xda\x63\x65\xdc\xd1\x79\x70\xd3", "Люкceмбypг"},
		{`\ISO 2022 IR 87`, "Yamada^Tarou=\x1b$B;3ED\x1b(B^\x1b$BB@O:\x1b(B=\x1b$B$d$^$@\x1b(B^\x1b$B$?$m$&\x1b(B", "Yamada^Tarou=山田^太郎=やまだ^たろう"},
		{`\ISO 2022 IR 149`, "Hong^Gildong=\x1b$)C\xfb\xf3^\x1b$)C\xd1\xce\xd4\xd7=\x1b$)C\xc8\xab^\x1b$)C\xb1\xe6\xb5\xbf", "Hong^Gildong=洪^吉洞=홍^길동"},
		{"GB18030", "Wang^XiaoDong=\xcd\xf5^\xd0\xa1\xb6\xab", "Wang^XiaoDong=王^小东"},
		{"GBK", "\xcd\xf5^\xd0\xa1\xb6\xab", "王^小东"},
		{"ISO-IR 100", "Buc^J\xe9r\xf4me", "Buc^Jérôme"},
		{"ISO_IR 100", "M\xc3\xbcller^J\xc3\xb6rg", "Müller^Jörg"},
	} {
		uid := fmt.Sprintf("1.25.%d", i)
		d, _ := w.keep(t, uid, el{0x00080005, "CS", c.charset}, el{0x00100010, "PN", c.name})
		if got := d.text("00100010"); got != c.want || d.text("00080005") != "ISO_IR 192" {
			t.Errorf("%s: %q, want %q", c.charset, got, c.want)
		}
		if got := w.get(t, "/studies?StudyInstanceUID="+uid, "").datasets()[0]; got.text("00100010") != c.want || got.text("00080005") != "ISO_IR 192" {
			t.Errorf("%s: found as %q", c.charset, got.text("00100010"))
		}
	}
	// Mislabelled for good: bytes that are nothing in their character set are not dropped.
	if d, _ := w.keep(t, "1.25.90", el{0x00080005, "CS", ""}, el{0x00100010, "PN", "\xcd\xf5^\xd0\xa1\xb6\xab"}); d.text("00100010") == "" || d.text("00100010") == "^" {
		t.Errorf("an unlabelled name became %q", d.text("00100010"))
	}
}

func interop26(t *testing.T, w *world) {
	nan := binary.LittleEndian.AppendUint64(nil, math.Float64bits(math.NaN()))
	nan = binary.LittleEndian.AppendUint64(nan, math.Float64bits(math.Inf(1)))
	more := []el{{0x00280030, "DS", `0.5\0.25`}, {0x00180050, "DS", "1,5"}, {0x00180060, "DS", "NaN"}, {0x00181151, "IS", "12.7"}, {0x00181152, "IS", "abc"},
		{0x00189306, "FD", string(nan)}, {0x00091001, "SV", words(math.MaxUint64)}, {0x00091002, "UV", words(math.MaxUint64)}, {0x00090010, "LO", "STRATA TESTS"},
		{0x00181150, "IS", "2147483647"}, {0x00180081, "DS", "1e400"}, {0x00180080, "DS", " 3.50 "}}
	d, stored := w.keep(t, "1.26", more...)
	_ = stored
	for tag, want := range map[string]string{"00280030": `0.5\0.25`, "00180050": "1,5", "00181152": "abc", "00181150": "2.147483647e+09", "00180080": "3.5", "00091001": "-1"} {
		if got := d.text(tag); got != want {
			t.Errorf("%s is %q, want %q", tag, got, want)
		}
	}
	if _, ok := d["00280030"].Value[0].(float64); !ok {
		t.Error("a DS that is a number came as text")
	}
	for _, tag := range []string{"00180050", "00181152", "00180060", "00180081"} {
		if _, ok := d[tag].Value[0].(string); !ok {
			t.Errorf("%s came as %#v", tag, d[tag].Value[0])
		}
	}
	raw := string(w.get(t, "/studies/1.26/metadata", typeJSON).Body)
	if !strings.Contains(raw, "18446744073709551615") {
		t.Errorf("UV lost its value: %s", raw)
	}
	w.finds(t, "/studies", "StudyInstanceUID=1.26", "1.26")
}

func interop27(t *testing.T, w *world) {
	more := []el{{0x00090010, "LO", "STRATA TESTS"}, {0x00091001, "LO", "a private value"}, {0x00091002, "UN", "\x01\x02\x03\x04"},
		undefined(0x00091003, el{0x00090010, "LO", "STRATA TESTS"}, el{0x00091004, "SH", "inside"}),
		undefined(0x00400275, el{0x00400009, "SH", "SPS-27"})}
	file := image("1.27", "1.27.1", "1.27.1.1", more...)
	d, _ := w.keep(t, "1.27", more...)
	if got := w.get(t, "/studies/1.27", partsStored).is(200).parts()[0].Body; string(got) != string(file) {
		t.Error("the file changed")
	}
	check := func(d dataset, what string) {
		t.Helper()
		if d.text("00091001") != "a private value" || d["00091002"].InlineBinary != "AQIDBA==" || d["00091002"].VR != "UN" || d.text("00090010") != "STRATA TESTS" {
			t.Errorf("%s: %+v %+v", what, d["00091001"], d["00091002"])
		}
		if items := d.items(t, "00091003"); len(items) != 1 || items[0].text("00091004") != "inside" {
			t.Errorf("%s: %+v", what, items)
		}
		if items := d.items(t, "00400275"); len(items) != 1 || items[0].text("00400009") != "SPS-27" {
			t.Errorf("%s: %+v", what, items)
		}
	}
	check(d, "as stored")
	for _, syntax := range []string{explicitLE, implicitLE, explicitBE} {
		other := w.get(t, "/studies/1.27/series/1.27.1/instances/1.27.1.1", "application/dicom; transfer-syntax="+syntax).is(200).Body
		w.do(t, "DELETE", "/studies/1.27", nil).is(204)
		w.post(t, other).is(200)
		again := w.get(t, "/studies/1.27/metadata", typeJSON).is(200).datasets()[0]
		if syntax == implicitLE { // which tells no VR of private elements
			if again["00091001"].VR != "UN" || again["00091001"].InlineBinary == "" {
				t.Errorf("implicit: %+v", again["00091001"])
			}
		} else {
			check(again, syntax)
		}
		w.do(t, "DELETE", "/studies/1.27", nil).is(204)
		w.post(t, file).is(200)
	}
	// Through metadata and back.
	a := w.get(t, "/studies/1.27/metadata", typeJSON)
	body := regexp.MustCompile(`"BulkDataURI":"[^"]*"`).ReplaceAll(a.Body, []byte(`"InlineBinary":"AQI="`))
	body = []byte(strings.ReplaceAll(string(body), "1.27", "1.270"))
	w.do(t, "POST", "/studies", body, "Content-Type", typeJSON).is(200, 202)
	check(w.get(t, "/studies/1.270/metadata", typeJSON).is(200).datasets()[0], "sent as JSON")
}
