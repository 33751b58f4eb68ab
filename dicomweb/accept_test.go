package dicomweb

import (
	"net/http/httptest"
	"testing"
)

func TestChoose(t *testing.T) {
	metadata := []Offer{
		{Type: typeJSON, Alias: []string{"application/json"}},
		{Type: typeXML, Multipart: true},
		{Type: typeJSON, Multipart: true},
	}
	const implicit, explicit, jpeg = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.4.50"
	files := []Offer{
		{Type: typeDICOM, Multipart: true, Syntax: explicit, Default: true},
		{Type: typeDICOM, Multipart: true, Syntax: implicit},
		{Type: typeDICOM, Syntax: explicit, Default: true},
	}
	compressed := []Offer{{Type: typeDICOM, Multipart: true, Syntax: jpeg}}
	tests := []struct {
		name, accept, query string
		offers              []Offer
		want                int
	}{
		{"nothing said", "", "", metadata, 0},
		{"anything", "*/*", "", metadata, 0},
		{"JSON", "application/dicom+json", "", metadata, 0},
		{"plain JSON", "application/json", "", metadata, 0},
		{"any application", "application/*", "", metadata, 0},
		{"upper case", "Application/DICOM+JSON", "", metadata, 0},
		{"XML quoted", `multipart/related; type="application/dicom+xml"`, "", metadata, 1},
		{"XML bare", `multipart/related;type=application/dicom+xml`, "", metadata, 1},
		{"XML in single quotes", `multipart/related; type='application/dicom+xml'`, "", metadata, 1},
		{"any parts", "multipart/*", "", metadata, 1},
		{"OHIF: JSON, or octets for bulk data", "application/dicom+json, multipart/related; type=application/octet-stream", "", metadata, 0},
		{"quality", `application/dicom+json;q=0.4, multipart/related; type="application/dicom+xml"; q=0.5`, "", metadata, 1},
		{"never JSON", "application/dicom+json;q=0, */*", "", metadata, 1},
		{"unknown only", "image/png", "", metadata, -1},
		{"zero only", "*/*;q=0", "", metadata, -1},
		{"query parameter wins", "application/dicom+json", "accept=multipart/related;type=application/dicom%2Bxml", metadata, 1},
		{"query parameter escaped whole", "", "limit=1&accept=multipart%2Frelated%3B%20type%3D%22application%2Fdicom%2Bxml%22", metadata, 1},
		{"query parameter with a bare plus", "image/png", "accept=application/dicom+json", metadata, 0},
		{"specific before general of equal quality", `*/*, multipart/related; type="application/dicom+xml"`, "", metadata, 1},
		{"comma inside quotes", `multipart/related; type="application/dicom+xml"; x="a,b;c"`, "", metadata, 1},
		{"nothing but rubbish", `;;, , foo, "x, application/dicom+json`, "", metadata, 0},
		{"rubbish before", `foo, =;, application/dicom+json`, "", metadata, 0},

		{"default syntax", `multipart/related; type="application/dicom"`, "", files, 0},
		{"as stored", `multipart/related; type="application/dicom"; transfer-syntax=*`, "", files, 0},
		{"syntax named", `multipart/related; type="application/dicom"; transfer-syntax=` + implicit, "", files, 1},
		{"syntax quoted", `multipart/related; type="application/dicom"; transfer-syntax="` + implicit + `"`, "", files, 1},
		{"single part", `application/dicom`, "", files, 2},
		{"syntax not to be had", `multipart/related; type="application/dicom"; transfer-syntax=` + jpeg, "", files, -1},
		{"compressed without a syntax", `multipart/related; type="application/dicom"`, "", compressed, -1},
		{"compressed as stored", `multipart/related; type="application/dicom"; transfer-syntax=*`, "", compressed, 0},
		{"second choice", `multipart/related; type="application/dicom"; transfer-syntax=` + implicit + `, multipart/related; type="application/dicom"; transfer-syntax=*;q=0.2`, "", compressed, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := httptest.NewRequest("GET", "/dicom-web/studies?"+tt.query, nil)
			if tt.accept != "" {
				r.Header.Set("Accept", tt.accept)
			}
			if got, _ := ParseAccept(r).Choose(tt.offers...); got != tt.want {
				t.Errorf("chose %d, want %d", got, tt.want)
			}
		})
	}
}

func TestQuality(t *testing.T) {
	for v, want := range map[string]int{"1": 1000, "1.000": 1000, "0": 0, "0.": 0, "0.5": 500, "0.123": 123, "0.1239": 123,
		".8": 800, "": 1000, "x": 1000, "0x": 0, "0.4x": 400, "2": 1000} {
		if got := quality(v); got != want {
			t.Errorf("quality(%q) = %d, want %d", v, got, want)
		}
	}
}

func FuzzAccept(f *testing.F) {
	f.Add(`multipart/related; type="application/dicom"; transfer-syntax=*;q=0.2, */*`)
	f.Add(`a/b;c="\"`)
	f.Fuzz(func(t *testing.T, v string) {
		var a Accept
		a = appendRanges(a, v)
		if len(a) > maxRanges {
			t.Fatal("too many")
		}
		a.Choose(Offer{Type: typeJSON}, Offer{Type: typeXML, Multipart: true})
	})
}
