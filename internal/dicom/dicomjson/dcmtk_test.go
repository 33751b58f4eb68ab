package dicomjson_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math"
	"os/exec"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/strata-pacs/strata/internal/dicom"
	"github.com/strata-pacs/strata/internal/dicom/dicomjson"
	"github.com/strata-pacs/strata/internal/testdata"
)

// TestAgainstDCMTK compares the metadata of every storable file with what
// dcm2json makes of it. These differences are allowed:
//
//   - dcm2json leaves out Pixel Data that is encapsulated, and what follows it.
//   - Binary values of more than 1024 bytes are inline there, by reference here.
//   - DCMTK knows private attributes under Implicit VR, and reads them by their
//     VR; here they are UN, which PS3.5 §6.2.2 wants of who does not know them.
//   - Curve Data, Audio Sample Data: OB or OW under Implicit VR. OW here.
//   - A VR of two spaces, or UN, stays UN there; here it is the dictionary's.
//   - Trailing ^ of a name, which say nothing (PS3.5 §6.2.1.1), are kept here.
//   - An empty element is `{"vr":"LT"}` here, and may hold [null] there.
//   - FL and FD are equal as the floats they were, not as decimal text.
//   - Trailing NULs of text, and spaces where there is nothing else, are padding
//     here and part of the value there; so a number padded with NUL is no number there.
//   - A binary value of odd length is as long as it is here, padded there.
func TestAgainstDCMTK(t *testing.T) {
	if testing.Short() {
		t.Skip("-short leaves out the comparison with DCMTK, which starts dcm2json for every file")
	}
	files := testdata.Files(t, "ok", "ok-derived")
	tool, err := exec.LookPath("dcm2json")
	if err != nil {
		t.Skip("dcm2json is not here: install dcmtk (apt-get install dcmtk)")
	}
	var compared atomic.Int32
	t.Run("files", func(t *testing.T) {
		for _, f := range files {
			t.Run(f.Name, func(t *testing.T) {
				t.Parallel()
				if compareFile(t, tool, &f) {
					compared.Add(1)
				}
			})
		}
	})
	t.Logf("compared %d files of %d", compared.Load(), len(files))
	if int(compared.Load()) < len(files)*95/100 {
		t.Error("dcm2json read too few of them for this to mean much")
	}
}

// compareFile reports whether dcm2json made anything of the file.
func compareFile(t *testing.T, tool string, f *testdata.File) bool {
	theirs, err := exec.Command(tool, "-q", f.Path).Output()
	if len(theirs) == 0 {
		return false // it does not know the character set, or what is labelled as one
	}
	cut := err != nil
	if cut { // it leaves the comma before what it leaves out
		theirs = regexp.MustCompile(`,\s*\}`).ReplaceAll(theirs, []byte("}"))
	}
	var want, got map[string]any
	if err := json.Unmarshal(theirs, &want); err != nil {
		t.Fatalf("dcm2json's output: %v", err)
	}
	df, err := dicom.Read(t.Context(), bytes.NewReader(f.Bytes(t)), dicom.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	text := dicomjson.Append(nil, df.Data)
	if err := json.Unmarshal(text, &got); err != nil {
		t.Fatal(err)
	}
	if bytes.ContainsAny(text, "\n\t") {
		t.Error("there is white space")
	}
	c := comparison{t: t, implicit: df.Syntax == "1.2.840.10008.1.2", cut: cut}
	c.datasets("", got, want)
	again, err := dicomjson.Parse(text, dicomjson.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	if len(again[0].Bulk) != bytes.Count(text, []byte(`"BulkDataURI":"bulkdata/`)) {
		t.Errorf("%d references came back", len(again[0].Bulk))
	}
	roundTrip(t, got, again[0])
	return true
}

// roundTrip checks that what was parsed is written as it was.
func roundTrip(t *testing.T, want map[string]any, p *dicomjson.Parsed) {
	var got map[string]any
	if err := json.Unmarshal(dicomjson.Append(nil, p.Data), &got); err != nil {
		t.Fatal(err)
	}
	strip(got)
	strip(want)
	if !reflect.DeepEqual(got, want) {
		for k := range want {
			if !reflect.DeepEqual(got[k], want[k]) {
				t.Errorf("%s was %.300v, comes back as %.300v", k, want[k], got[k])
			}
		}
	}
}

// strip removes what a round trip may change: URIs, and the byte that makes
// a binary value's length even.
func strip(d map[string]any) {
	for _, e := range d {
		e := e.(map[string]any)
		delete(e, "BulkDataURI")
		delete(e, "InlineBinary")
		if items, ok := e["Value"].([]any); ok && e["vr"] == "SQ" {
			for _, item := range items {
				strip(item.(map[string]any))
			}
		}
	}
}

type comparison struct {
	t        *testing.T
	implicit bool
	cut      bool // dcm2json gave up at some element
}

func (c *comparison) datasets(path string, got, want map[string]any) {
	for k, w := range want {
		if g, ok := got[k]; ok {
			c.elements(path+" "+k, g.(map[string]any), w.(map[string]any))
		} else {
			c.t.Errorf("%s %s is missing", path, k)
		}
	}
	last := ""
	for k := range want {
		last = max(last, k)
	}
	for k, g := range got {
		if _, ok := want[k]; !ok && (!c.cut || k < last) {
			c.t.Errorf("%s %s is not there for dcm2json: %.200v", path, k, g)
		}
	}
}

func (c *comparison) elements(path string, got, want map[string]any) {
	vr, _ := got["vr"].(string)
	tag, _ := dicom.ParseTag(path[len(path)-8:])
	if vr != want["vr"] {
		private := c.implicit && tag.IsPrivate() && vr == "UN"
		curve := c.implicit && vr == "OW" && want["vr"] == "OB" && tag.Group()&0xFF00 == 0x5000
		if !private && !curve && want["vr"] != "UN" {
			c.t.Errorf("%s: got %.200v, want %.200v", path, got, want)
		}
		return
	}
	gv, _ := got["Value"].([]any)
	wv, _ := want["Value"].([]any)
	switch {
	case vr == "SQ":
		if len(gv) != len(wv) {
			c.t.Errorf("%s: %d items, want %d", path, len(gv), len(wv))
			return
		}
		for i := range gv {
			c.datasets(fmt.Sprintf("%s/%d", path, i), gv[i].(map[string]any), wv[i].(map[string]any))
		}
	case got["BulkDataURI"] != nil:
		if want["InlineBinary"] == nil && want["BulkDataURI"] == nil && len(wv) == 0 {
			c.t.Errorf("%s: bulk data of nothing", path)
		}
	case len(gv) == 0 && (len(wv) == 0 || len(wv) == 1 && wv[0] == nil):
		g, _ := got["InlineBinary"].(string)
		w, _ := want["InlineBinary"].(string)
		if !slices.Equal(even(g), even(w)) {
			c.t.Errorf("%s: got %.200v, want %.200v", path, got, want)
		}
	default:
		if len(gv) == 0 && len(wv) == 1 {
			gv = []any{""}
		}
		if len(gv) != len(wv) {
			c.t.Errorf("%s: got %.200v, want %.200v", path, gv, wv)
			return
		}
		for i := range gv {
			if !same(vr, gv[i], wv[i]) {
				c.t.Errorf("%s: got %v, want %v", path, gv[i], wv[i])
			}
		}
	}
}

// even decodes base64 and pads it to even length.
func even(s string) []byte {
	b, err := base64.StdEncoding.DecodeString(s)
	if err == nil && len(b)%2 == 1 {
		b = append(b, 0)
	}
	return b
}

// same reports whether two values say the same.
func same(vr string, got, want any) bool {
	if s, ok := want.(string); ok {
		want = strings.TrimRight(s, " \x00")
		if n, err := strconv.ParseFloat(want.(string), 64); err == nil && s != want && (vr == "DS" || vr == "IS") {
			want = n
		}
	}
	g, ok1 := got.(float64)
	w, ok2 := want.(float64)
	switch {
	case ok1 && ok2 && vr == "FL":
		return float32(g) == float32(w)
	case ok1 && ok2 && (vr == "FD" || vr == "DS"):
		return math.Abs(g-w) <= 1e-15*math.Abs(w)
	case vr == "PN":
		g, ok1 := got.(map[string]any)
		w, ok2 := want.(map[string]any)
		if !ok1 || !ok2 {
			return false
		}
		for _, group := range []string{"Alphabetic", "Ideographic", "Phonetic"} {
			gs, _ := g[group].(string)
			ws, _ := w[group].(string)
			if strings.TrimRight(gs, "^") != strings.TrimRight(ws, "^") {
				return false
			}
		}
		return true
	}
	return reflect.DeepEqual(got, want)
}
