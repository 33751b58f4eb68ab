package retrieve_test

import (
	"bytes"
	"context"
	"testing"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/dicom"
	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/internal/retrieve/retrievetest"
)

// FuzzDocument: of whatever can be stored there is a document that is as long
// as it says and one of its ranges is what the whole has there, or none.
func FuzzDocument(f *testing.F) {
	f.Add(instance(f, dicom.ExplicitVRLittleEndian, classPDF, dicom.Element{Tag: 0x00420011, VR: dicom.OB, Value: pdf(200)}, dicom.Element{Tag: 0x00420015, VR: dicom.UL, Value: []byte{1, 2, 0, 0}}))
	f.Add(instance(f, dicom.DeflatedExplicitVRLittleEndian, classPDF, dicom.Element{Tag: 0x00420011, VR: dicom.OB, Value: pdf(2)}))
	f.Add(instance(f, dicom.ImplicitVRLittleEndian, "1.2.840.10008.5.1.4.1.1.88.11", dicom.Element{Tag: 0x0040A040, VR: dicom.CS, Value: []byte("CONTAINER ")}))
	f.Add(retrievetest.Part10(retrievetest.Image{UIDs: ct, Syntax: "1.2.840.10008.1.2.4.102", Rows: 8, Columns: 8, Bits: 8, Fragments: [][]byte{[]byte("\x00\x00\x00\x20ftypisom"), []byte("more")}}))
	f.Fuzz(func(t *testing.T, raw []byte) {
		file, err := dicom.Read(context.Background(), bytes.NewReader(raw), dicom.Limits{Elements: 5000})
		if err != nil {
			return
		}
		if _, err := dicom.NewLayout(file); err != nil {
			return
		}
		a := retrievetest.New()
		r := newReader(t, a)
		u := a.Store(t, tenant, raw)[0]
		list, err := r.Find(context.Background(), tenant, archive.UIDs{Study: u.Study}, 1)
		if err != nil || len(list) != 1 {
			return
		}
		b, err := r.Document(context.Background(), &list[0])
		if err != nil {
			if !fault.Is(err, fault.NotAcceptable) {
				t.Fatal(err)
			}
			return
		}
		checkRange(t, b, read(t, b, nil))
	})
}
