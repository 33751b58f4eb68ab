package render

import (
	"context"
	"encoding/binary"
	"image"
	"slices"
	"strings"
	"testing"

	"github.com/strata-pacs/strata/internal/dicom"
	"github.com/strata-pacs/strata/internal/pixel"
)

func pn(name string) dicom.Element {
	return dicom.Element{Tag: patientName, VR: dicom.PN, Value: []byte(name), Length: int64(len(name))}
}

// TestLines checks what is written.
func TestLines(t *testing.T) {
	d := set(pn("Müller^Jörg"), ds(patientID, "A-17"), ds(patientBirthDate, "19700131"), ds(patientSex, "M"),
		ds(modality, "CT"), ds(studyDate, "20260102"), ds(seriesDescription, "Thorax\tnativ"), ds(seriesNumber, "3"), ds(instanceNumber, "12"),
		ds(kvp, "120.000"), ds(exposure, "85"), ds(sliceThickness, "1.5"), ds(windowCenter, `40\50`), ds(windowWidth, `400\350`),
		ds(photometricInterpretation, "MONOCHROME2"))
	d.Charset = []string{"ISO_IR 192"}
	x := New(d, nil)
	if got, want := x.patient(), []string{"Müller Jörg", "ID A-17", "1970-01-31  M"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	if got, want := x.technique(1, Options{}), []string{"CT  2026-01-02", "Series 3  Thorax nativ", "Image 12", "120 kV  85 mAs", "Thickness 1.5 mm", "C 40 W 400"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	if got, want := x.technique(2, Options{Window: &Window{Center: -600, Width: 1500}}), []string{"Image 12  Frame 2", "C -600 W 1500"}; !slices.Contains(got, want[0]) || !slices.Contains(got, want[1]) {
		t.Errorf("%q, want %q among them", got, want)
	}
	if got := New(set(), nil).patient(); len(got) != 0 {
		t.Errorf("%q of nobody", got)
	}
}

// TestNames: the group of a name that can be read; no two names look the same.
func TestNames(t *testing.T) {
	for name, want := range map[string]string{
		"Yamada^Tarou=山田^太郎=やまだ^たろう": "Yamada Tarou",
		"Люкceмбypг":  "Люкceмбypг",
		"Διονυσιος":   "Διονυσιος",
		"王^小東":        "[738B] [5C0F][6771]",
		"=山田=Yamada":  "Yamada",
		"شرون":        "[0634][0631][0648][0646]",
		"":            "",
		"^^^":         "",
		"Doe^J\x01\n": "Doe J",
	} {
		if got := strings.TrimSpace(readable(name)); got != want {
			t.Errorf("%q: %q, want %q", name, got, want)
		}
	}
	if got := drawable(strings.Repeat("x", 1000)); got != strings.Repeat("x", maxText)+"…" {
		t.Errorf("%q", got)
	}
}

// TestAnnotations: text at the top, at the bottom, or nowhere, within the picture,
// on every size.
func TestAnnotations(t *testing.T) {
	d := set(pn("Doe^Jane"), ds(modality, "MR"), ds(patientID, strings.Repeat("long ", 100)))
	for _, size := range []int{1, 8, 40, 128, 512, 3000} {
		img := gradient(size, size, func(int, int) int { return 128 })
		for _, tt := range []struct{ patient, technique bool }{{true, false}, {false, true}, {true, true}} {
			m, err := New(d, nil).Frame(context.Background(), 1, img, Options{Patient: tt.patient, Technique: tt.technique})
			if err != nil {
				t.Fatal(err)
			}
			g := m.(*image.Gray)
			half := len(g.Pix) / 2
			top, bottom := touched(g.Pix[:half]), touched(g.Pix[half:])
			if size >= 128 && (top != tt.patient || bottom != tt.technique) {
				t.Errorf("%d pixels, %+v: at the top %v, at the bottom %v", size, tt, top, bottom)
			}
		}
	}
	red := pixel.Image{Format: pixel.Format{Rows: 100, Columns: 100, Samples: 3, BitsAllocated: 8, BitsStored: 8, HighBit: 7, Photometric: pixel.RGB}, Data: make([]byte, 30000)}
	m, err := New(d, nil).Frame(context.Background(), 1, red, Options{Patient: true})
	if err != nil || !slices.Contains(m.(*image.RGBA).Pix[:4*100*50], 200) && !touched(m.(*image.RGBA).Pix) {
		t.Errorf("nothing on a picture in colour: %v", err)
	}
}

// touched reports whether the text's white is among the pixels.
func touched(pix []uint8) bool { return slices.Max(append(pix, 0)) > 240 }

func FuzzAnnotate(f *testing.F) {
	f.Add([]byte("Doe^Jane"), 100, 50)
	f.Add([]byte("\x1b$B;3ED\x1b(J^"), 9, 3)
	f.Fuzz(func(t *testing.T, name []byte, width, height int) {
		width, height = 1+abs(width)%600, 1+abs(height)%600
		d := &dicom.Dataset{Order: binary.LittleEndian, Charset: []string{"", "ISO 2022 IR 87"}, Elements: []dicom.Element{
			{Tag: patientName, VR: dicom.PN, Value: name}, {Tag: seriesDescription, VR: dicom.LO, Value: name},
			{Tag: patientBirthDate, VR: dicom.DA, Value: name}, {Tag: kvp, VR: dicom.DS, Value: name}}}
		x := New(d, nil)
		x.annotate(image.NewGray(image.Rect(0, 0, width, height)), 1, Options{Patient: true, Technique: true})
		for _, s := range append(x.patient(), x.technique(1, Options{})...) {
			for _, r := range s {
				if !has(string(r)) {
					t.Errorf("%q cannot be drawn", r)
				}
			}
		}
	})
}

func abs(n int) int { return max(n, -n, 0) }
