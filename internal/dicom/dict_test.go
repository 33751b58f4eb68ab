package dicom

import (
	"testing"

	"github.com/suyashkumar/dicom/pkg/tag"
)

func TestDictionaryIsTheLibrarys(t *testing.T) {
	for _, e := range dictionary().entries {
		info, err := tag.Find(tag.Tag{Group: e.tag.Group(), Element: e.tag.Element()})
		if err != nil {
			if got, ok := TagOf(e.keyword); !ok || got != e.tag {
				t.Errorf("%v: %v", e.tag, err)
			}
			continue
		}
		if info.Keyword != e.keyword && lookup(e.tag).keyword != e.keyword {
			t.Errorf("%v is %q, the library says %q; run go generate", e.tag, e.keyword, info.Keyword)
		}
	}
}

func TestVROf(t *testing.T) {
	for _, c := range []struct {
		tag     Tag
		vr      VR
		keyword string
	}{
		{0x00080005, CS, "SpecificCharacterSet"},
		{0x00100010, PN, "PatientName"},
		{0x7FE00010, OW, "PixelData"},
		{0x60023000, OW, "OverlayData"},
		{0x50020005, US, "CurveDimensions"},
		{0x00203102, CS, "SourceImageIDs"},
		{0x00280400, LO, "TransformLabel"},
		{0x00280420, US, "RowsForNthOrderCoefficients"},
		{0x00280423, AT, "CoefficientCodingPointers"},
		{0x10000023, US, "HuffmanTableTriplet"},
		{0x10100042, US, "ZonalMap"},
		{0x00283006, OW, "LUTData"},
		{0x00280120, US, "PixelPaddingValue"},
		{0x00080000, UL, ""},
		{0x00090010, LO, ""},
		{0x00091001, UN, ""},
		{0x60010010, LO, ""},
		{0x60011010, UN, ""},
		{0x00081199, SQ, "ReferencedSOPSequence"},
		{0x00080099, UN, ""},
		{0xFFFFFFFF, UN, ""},
		{0, UL, ""},
	} {
		if got := VROf(c.tag); got != c.vr {
			t.Errorf("VROf(%v) = %v, want %v", c.tag, got, c.vr)
		}
		if got := KeywordOf(c.tag); got != c.keyword {
			t.Errorf("KeywordOf(%v) = %q, want %q", c.tag, got, c.keyword)
		}
	}
}

func TestParseTag(t *testing.T) {
	for in, want := range map[string]Tag{
		"00100010": 0x00100010, "PatientName": 0x00100010, "0010,0010": 0x00100010, "(0010,0010)": 0x00100010,
		"7fe00010": 0x7FE00010, "7FE0,0010": 0x7FE00010, "StudyInstanceUID": 0x0020000D,
	} {
		if got, ok := ParseTag(in); !ok || got != want {
			t.Errorf("ParseTag(%q) = %v, %v", in, got, ok)
		}
	}
	for _, in := range []string{"", "()", "(", "0010001", "001000100", "0010,001", "0010;0010", "Nonsense", "0010,00100", "DeadBeeg", "patientname"} {
		if got, ok := ParseTag(in); ok {
			t.Errorf("ParseTag(%q) = %v, want none", in, got)
		}
	}
}

func BenchmarkVROf(b *testing.B) {
	for b.Loop() {
		VROf(0x00280030)
	}
}
