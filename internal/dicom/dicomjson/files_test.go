package dicomjson_test

import (
	"bytes"
	"encoding/json"
	"testing"

	"github.com/strata-pacs/strata/internal/dicom"
	"github.com/strata-pacs/strata/internal/dicom/dicomjson"
	"github.com/strata-pacs/strata/internal/testdata"
)

// TestEveryFile writes the metadata of every file that can be read at all, the
// odd and malformed ones too: it is valid JSON, and comes back.
func TestEveryFile(t *testing.T) {
	written := 0
	for _, f := range testdata.Files(t) {
		df, err := dicom.Read(t.Context(), bytes.NewReader(f.Bytes(t)), dicom.Limits{})
		if err != nil {
			if f.Storable() {
				t.Errorf("%s: %v", f.Name, err)
			}
			continue
		}
		written++
		text := dicomjson.Append(nil, df.Data)
		if !json.Valid(text) || bytes.Contains(text, []byte("\xEF\xBF\xBD")) {
			t.Errorf("%s: not JSON, or characters lost", f.Name)
		}
		if _, err := dicomjson.Parse(text, dicomjson.Limits{}); err != nil {
			t.Errorf("%s: %v", f.Name, err)
		}
		for tag, element := range dicomjson.Elements(text) {
			a := dicomjson.ParseAttr(tag, element)
			switch a.VR {
			case dicom.SQ, dicom.PN, dicom.DS, dicom.IS: // bulk data in items, empty groups and plus signs differ
				continue
			}
			if e := df.Data.Lookup(tag); e != nil && a != dicomjson.AttrOf(df.Data, e) {
				b := dicomjson.AttrOf(df.Data, e)
				t.Errorf("%s: from the JSON %+v, from the data set %+v", f.Name, a, b)
			}
		}
	}
	if written < 250 {
		t.Errorf("only %d files could be read", written)
	}
}

// TestCharsets checks text that the files hold in other repertoires than ASCII.
func TestCharsets(t *testing.T) {
	want := map[string]string{
		"dicom/pydicom/chrFren.dcm":        "Buc^Jérôme",
		"dicom/pydicom/chrFrenMulti.dcm":   "Buc^Jérôme",
		"dicom/pydicom/chrH31.dcm":         "Yamada^Tarou=山田^太郎=やまだ^たろう",
		"dicom/pydicom/chrHbrw.dcm":        "שרון^דבורה",
		"dicom/pydicom/chrKoreanMulti.dcm": "김희중",
		"dicom/pydicom/chrRuss.dcm":        "Люкceмбypг",
		"dicom/pydicom/chrX1.dcm":          "Wang^XiaoDong=王^小東=",
		"dicom/pydicom/chrX2.dcm":          "Wang^XiaoDong=王^小东=",
	}
	nested := "ﾔﾏﾀﾞ^ﾀﾛｳ=山田^太郎=やまだ^たろう" // of an item with a Specific Character Set of its own
	want["odd/pydicom/chrSQEncoding.dcm"], want["odd/pydicom/chrSQEncoding1.dcm"] = nested, nested
	found := 0
	for _, f := range testdata.Files(t) {
		name, ok := want[f.Name]
		if !ok {
			continue
		}
		found++
		df, err := dicom.Read(t.Context(), bytes.NewReader(f.Bytes(t)), dicom.Limits{})
		if err != nil {
			t.Fatal(err)
		}
		got, _ := df.Data.Text(0x00100010)
		if seq := df.Data.Lookup(0x00321064); seq != nil && len(seq.Items) > 0 {
			got, _ = seq.Items[0].Text(0x00100010)
		}
		if got != name {
			t.Errorf("%s: %q, want %q", f.Name, got, name)
		}
	}
	if found < len(want) {
		t.Errorf("only %d of the files are there", found)
	}
}
