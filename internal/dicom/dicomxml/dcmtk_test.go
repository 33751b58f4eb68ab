package dicomxml_test

import (
	"bytes"
	"encoding/json"
	"math"
	"os/exec"
	"reflect"
	"strings"
	"testing"

	"github.com/strata-pacs/strata/internal/dicom"
	"github.com/strata-pacs/strata/internal/dicom/dicomjson"
	"github.com/strata-pacs/strata/internal/dicom/dicomxml"
	"github.com/strata-pacs/strata/internal/testdata"
)

// TestAgainstDCMTK reads the XML of every storable file twice: as it is written
// here, which must come back whole, and as dcm2xml writes it, which must say
// the same of every standard attribute that is no binary value. Allowed is that
// dcm2xml leaves out private creators, rounds floats, drops trailing ^ of names,
// repeats the second component group of a name as the third where that is
// empty, keeps padding, does not decode what XML has no encoding for, and calls a
// VR of two spaces UN.
func TestAgainstDCMTK(t *testing.T) {
	if testing.Short() {
		t.Skip("-short leaves out the comparison with DCMTK, which starts dcm2xml for every file")
	}
	files := testdata.Files(t, "ok", "ok-derived")
	tool, err := exec.LookPath("dcm2xml")
	if err != nil {
		t.Log("dcm2xml is not here: install dcmtk (apt-get install dcmtk) to compare with it")
	}
	for _, f := range files {
		t.Run(f.Name, func(t *testing.T) {
			t.Parallel()
			df, err := dicom.Read(t.Context(), bytes.NewReader(f.Bytes(t)), dicom.Limits{})
			if err != nil {
				t.Fatal(err)
			}
			text := dicomjson.Append(nil, df.Data)
			ours, err := dicomxml.FromJSON(nil, text, "")
			if err != nil {
				t.Fatal(err)
			}
			p, err := dicomxml.Parse(ours, dicomjson.Limits{})
			if err != nil {
				t.Fatal(err)
			}
			want, got := object(t, text), object(t, dicomjson.Append(nil, p.Data))
			if !reflect.DeepEqual(got, want) {
				report(t, "ours", got, want)
			}
			if tool == "" {
				return
			}
			theirs, err := exec.Command(tool, "-q", "-nat", "+Xn", f.Path).Output()
			if err != nil || !bytes.HasPrefix(theirs, []byte("<?xml")) {
				return // it does not know the character set
			}
			if bytes.Contains(theirs, []byte("&#27;")) || strings.HasPrefix(f.Field("charset"), "GB") {
				return // it copies what is in no encoding that XML knows
			}
			if p, err = dicomxml.Parse(theirs, dicomjson.Limits{}); err != nil {
				t.Fatalf("dcm2xml's output: %v", err)
			}
			report(t, "dcm2xml's", object(t, dicomjson.Append(nil, p.Data)), want)
		})
	}
}

func object(t *testing.T, text []byte) map[string]any {
	var d map[string]any
	if err := json.Unmarshal(text, &d); err != nil {
		t.Fatal(err)
	}
	normal(d)
	return d
}

// normal removes binary values, and what may differ in others.
func normal(d map[string]any) {
	for tag, e := range d {
		e := e.(map[string]any)
		delete(e, "BulkDataURI")
		delete(e, "InlineBinary")
		if t, _ := dicom.ParseTag(tag); t.IsPrivate() || t == 0x00080005 || t&0xFF00FFFF == 0x50003000 {
			delete(d, tag)
			continue
		}
		values, _ := e["Value"].([]any)
		for i, v := range values {
			switch v := v.(type) {
			case map[string]any:
				if e["vr"] == "SQ" {
					normal(v)
				}
				if v["Phonetic"] == v["Ideographic"] {
					delete(v, "Phonetic")
				}
				for k, s := range v {
					if s, ok := s.(string); ok {
						v[k] = strings.TrimRight(s, "^ ")
					}
				}
			case string:
				values[i] = strings.TrimRight(v, " \x00\uFFFD")
			case float64:
				if e["vr"] == "FD" || e["vr"] == "DS" {
					values[i] = math.Round(v*1e9) / 1e9
				} else if e["vr"] == "FL" {
					values[i] = float32(v)
				}
			}
		}
	}
}

func report(t *testing.T, whose string, got, want map[string]any) {
	for k, w := range want {
		if g, _ := got[k].(map[string]any); g["vr"] == "UN" && len(g) == 1 {
			continue
		}
		if !reflect.DeepEqual(got[k], w) {
			t.Errorf("%s %s: got %.300v, want %.300v", whose, k, got[k], w)
		}
	}
	for k, g := range got {
		if want[k] == nil {
			t.Errorf("%s %s: got %.300v, want nothing", whose, k, g)
		}
	}
}
