package conformance

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
)

// attribute is an element of the DICOM JSON Model (PS3.18 Annex F).
type attribute struct {
	VR           string `json:"vr"`
	Value        []any  `json:"Value"`
	BulkDataURI  string `json:"BulkDataURI"`
	InlineBinary string `json:"InlineBinary"`
}

type dataset map[string]attribute

// datasets reads an array of data sets.
func (a *answer) datasets() []dataset {
	a.t.Helper()
	var list []dataset
	if m := mediaType(a.Header); m != typeJSON && m != "application/json" {
		a.t.Fatalf("%s: %d %s", a.what, a.Status, m)
	}
	if err := json.Unmarshal(a.Body, &list); err != nil || list == nil {
		a.t.Fatalf("%s: no array of data sets (%v): %.300s", a.what, err, a.Body)
	}
	return list
}

// dataset reads the Store Instances Response Module.
func (a *answer) dataset() dataset {
	a.t.Helper()
	var d dataset
	if err := json.Unmarshal(a.Body, &d); err != nil {
		a.t.Fatalf("%s: %v: %.300s", a.what, err, a.Body)
	}
	return d
}

// text returns the values of an attribute joined by backslashes; names as
// their component groups joined by "=".
func (d dataset) text(tag string) string {
	var out []string
	for _, v := range d[tag].Value {
		switch v := v.(type) {
		case map[string]any:
			s := ""
			for i, g := range []string{"Alphabetic", "Ideographic", "Phonetic"} {
				if i > 0 {
					s += "="
				}
				if t, ok := v[g].(string); ok {
					s += t
				}
			}
			out = append(out, strings.TrimRight(s, "="))
		case float64:
			out = append(out, strings.TrimSuffix(fmt.Sprintf("%g", v), ".0"))
		default:
			out = append(out, fmt.Sprint(v))
		}
	}
	return strings.Join(out, `\`)
}

// items returns the items of a sequence.
func (d dataset) items(t testing.TB, tag string) []dataset {
	t.Helper()
	b, err := json.Marshal(d[tag].Value)
	if err != nil {
		t.Fatal(err)
	}
	var list []dataset
	if err := json.Unmarshal(b, &list); err != nil {
		t.Fatalf("%s: %v", tag, err)
	}
	return list
}

// bulk calls yield with the path and URI of every value by reference.
func (d dataset) bulk(t testing.TB, path string, yield func(path, uri string)) {
	for tag, a := range d {
		if a.BulkDataURI != "" {
			yield(path+tag, a.BulkDataURI)
		}
		if a.VR == "SQ" {
			for i, item := range d.items(t, tag) {
				item.bulk(t, fmt.Sprintf("%s%s/%d/", path, tag, i), yield)
			}
		}
	}
}
