package render

import (
	"bytes"
	"compress/zlib"
	"context"
	"encoding/binary"
	"image"
	"io"
	"math"
	"strings"
	"testing"

	"github.com/strata-pacs/strata/internal/dicom"
	"github.com/strata-pacs/strata/internal/fault"
)

// TestColorants compares with what is published for the spaces, adapted to D50
// (ICC registry; Adobe RGB (1998) Color Image Encoding §4.3.5.3; ISO 22028-2).
func TestColorants(t *testing.T) {
	for name, want := range map[string]matrix{
		"srgb":      {{0.4361, 0.3851, 0.1431}, {0.2225, 0.7169, 0.0606}, {0.0139, 0.0971, 0.7139}},
		"adobergb":  {{0.6097, 0.2053, 0.1492}, {0.3111, 0.6257, 0.0632}, {0.0195, 0.0609, 0.7446}},
		"rommrgb":   {{0.7977, 0.1352, 0.0313}, {0.2880, 0.7119, 0.0001}, {0.0000, 0.0000, 0.8249}},
		"displayp3": {{0.5151, 0.2920, 0.1571}, {0.2412, 0.6922, 0.0666}, {-0.0011, 0.0419, 0.7841}},
	} {
		got := spaces[name].colorants()
		for i := range 3 {
			for j := range 3 {
				within(t, name, got[i][j], want[i][j], 0.0006)
			}
			within(t, name+": white", got[i][0]+got[i][1]+got[i][2], d50XYZ[i], 1e-9)
		}
	}
}

// TestProfiles reads the profiles that are made with the reader of foreign ones.
func TestProfiles(t *testing.T) {
	for name, s := range spaces {
		b := s.colourICC()
		p, ok := parseProfile(b)
		if !ok || len(b)%4 != 0 || int(binary.BigEndian.Uint32(b)) != len(b) {
			t.Fatalf("%s: %d bytes that are no profile", name, len(b))
		}
		for i := range 3 {
			for j := range 3 {
				within(t, name, p.colorants[i][j], s.colorants()[i][j], 1e-4)
			}
		}
		for v := range 256 {
			within(t, name+" curve", p.light[1][v], s.transfer.light(float64(v)/255), 1e-4)
		}
		for v := range 256 { // there and back
			got := s.encodings()[int(s.transfer.light(float64(v)/255)*(encodingSize-1)+0.5)]
			if d := abs(int(got) - v); d > 1 || d > 0 && v > 4 {
				t.Errorf("%s: %d comes back as %d", name, v, got)
			}
		}
		if n := s.neutralICC(); string(n[16:20]) != "GRAY" || !isProfile(n) {
			t.Errorf("%s: no profile in grey", name)
		}
	}
}

// TestConvert compares with values worked out from the spaces' definitions.
func TestConvert(t *testing.T) {
	for _, tt := range []struct {
		to         string
		from, want [3]uint8
	}{
		{"srgb", [3]uint8{10, 200, 90}, [3]uint8{10, 200, 90}},
		{"adobergb", [3]uint8{0, 0, 0}, [3]uint8{0, 0, 0}},
		{"adobergb", [3]uint8{255, 255, 255}, [3]uint8{255, 255, 255}},
		{"adobergb", [3]uint8{255, 0, 0}, [3]uint8{219, 0, 0}},
		{"adobergb", [3]uint8{0, 255, 0}, [3]uint8{144, 255, 60}},
		{"displayp3", [3]uint8{255, 0, 0}, [3]uint8{234, 51, 35}},
		{"displayp3", [3]uint8{0, 255, 0}, [3]uint8{117, 251, 76}},
		{"rommrgb", [3]uint8{255, 0, 0}, [3]uint8{179, 70, 26}},
	} {
		m := image.NewRGBA(image.Rect(0, 0, 1, 1))
		copy(m.Pix, append(tt.from[:], 255))
		if err := New(set(), nil).convert(context.Background(), m, Options{ICC: tt.to}); err != nil {
			t.Fatal(err)
		}
		for i := range 3 {
			within(t, tt.to, float64(m.Pix[i]), float64(tt.want[i]), 1)
		}
	}
	// 2.2 instead of sRGB: 128 is 0.2159 of light, 127.0 in Adobe RGB; 1.8 in ROMM: 108.8.
	for to, want := range map[string]float64{"srgb": 128, "displayp3": 128, "adobergb": 127, "rommrgb": 109} {
		m := image.NewGray(image.Rect(0, 0, 1, 1))
		m.Pix[0] = 128
		if err := New(set(), nil).convert(context.Background(), m, Options{ICC: to}); err != nil {
			t.Fatal(err)
		}
		within(t, to+" grey", float64(m.Pix[0]), want, 1)
	}
}

// TestOwnProfile: it is embedded as it is, and its colours are converted.
func TestOwnProfile(t *testing.T) {
	ctx := context.Background()
	own := spaces["adobergb"].colourICC()
	colour := ds(photometricInterpretation, "RGB")
	pixels := func() *image.RGBA {
		m := image.NewRGBA(image.Rect(0, 0, 1, 1))
		copy(m.Pix, []byte{144, 255, 60, 255})
		return m
	}
	for name, d := range map[string]*dicom.Dataset{
		"top level":    set(colour, ob(iccProfile, own...)),
		"optical path": set(colour, sq(opticalPath, set(ob(iccProfile, own...)))),
	} {
		x := New(d, nil)
		if b, err := x.Profile(ctx, Options{ICC: "yes"}); err != nil || !bytes.Equal(b, own) {
			t.Errorf("%s: %d bytes, %v", name, len(b), err)
		}
		m := pixels()
		if err := x.convert(ctx, m, Options{ICC: "srgb"}); err != nil {
			t.Fatal(err)
		}
		for i, want := range []float64{0, 255, 0} {
			within(t, name, float64(m.Pix[i]), want, 3)
		}
		m = pixels()
		if err := x.convert(ctx, m, Options{ICC: "yes"}); err != nil || m.Pix[0] != 144 {
			t.Errorf("%s: yes converts: %v, %v", name, m.Pix, err)
		}
	}
	tables := bytes.Clone(own)
	copy(tables[20:], "Lab ")
	x := New(set(colour, ob(iccProfile, tables...)), nil)
	if err := x.convert(ctx, pixels(), Options{ICC: "srgb"}); !fault.Is(err, fault.NotAcceptable) {
		t.Errorf("a profile of tables: %v", err)
	}
	for name, tt := range map[string]struct {
		d    *dicom.Dataset
		icc  string
		want []byte
	}{
		"none asked for":     {set(colour, ob(iccProfile, own...)), "", nil},
		"no":                 {set(colour, ob(iccProfile, own...)), "no", nil},
		"none there":         {set(colour), "yes", spaces["srgb"].colourICC()},
		"not one":            {set(colour, ob(iccProfile, own[:100]...)), "yes", spaces["srgb"].colourICC()},
		"grey":               {set(ds(photometricInterpretation, "MONOCHROME2"), ob(iccProfile, own...)), "yes", spaces["srgb"].neutralICC()},
		"grey, Adobe RGB":    {set(ds(photometricInterpretation, "MONOCHROME1")), "adobergb", spaces["adobergb"].neutralICC()},
		"colour, Display P3": {set(colour), "displayp3", spaces["displayp3"].colourICC()},
	} {
		if got, err := New(tt.d, nil).Profile(ctx, Options{ICC: tt.icc}); err != nil || !bytes.Equal(got, tt.want) {
			t.Errorf("%s: %d bytes, %v", name, len(got), err)
		}
	}
}

// TestEmbedded finds the profile in the files, and none of other components.
func TestEmbedded(t *testing.T) {
	icc, neutral := spaces["srgb"].colourICC(), spaces["srgb"].neutralICC()
	long := append(bytes.Clone(icc), make([]byte, 100_000)...) // in two segments
	binary.BigEndian.PutUint32(long, uint32(len(long)))
	grey, colour := image.NewGray(image.Rect(0, 0, 9, 9)), image.NewRGBA(image.Rect(0, 0, 9, 9))
	for _, tt := range []struct {
		name      string
		m         image.Image
		icc, want []byte
	}{{"colour", colour, icc, icc}, {"grey", grey, neutral, neutral}, {"long", colour, long, long}, {"other components", grey, icc, nil}, {"rubbish", colour, []byte("x"), nil}, {"none", colour, nil, nil}} {
		for _, media := range []string{JPEG, PNG} {
			var b bytes.Buffer
			if err := Encode(&b, tt.m, Options{MediaType: media}, tt.icc); err != nil {
				t.Fatal(err)
			}
			if _, _, err := image.Decode(bytes.NewReader(b.Bytes())); err != nil {
				t.Errorf("%s %s: %v", tt.name, media, err)
			}
			if got := embedded(t, b.Bytes()); !bytes.Equal(got, tt.want) {
				t.Errorf("%s %s: a profile of %d bytes, want %d", tt.name, media, len(got), len(tt.want))
			}
		}
	}
}

// embedded returns the profile in a JPEG or PNG.
func embedded(t *testing.T, b []byte) (icc []byte) {
	t.Helper()
	if b[0] == 0x89 {
		for b = b[8:]; len(b) > 0; {
			n := int(binary.BigEndian.Uint32(b))
			if string(b[4:8]) == "iCCP" {
				_, data, _ := strings.Cut(string(b[8:8+n]), "\x00\x00")
				z, err := zlib.NewReader(strings.NewReader(data))
				if err != nil {
					t.Fatal(err)
				}
				icc, err = io.ReadAll(z)
				if err != nil {
					t.Fatal(err)
				}
			}
			b = b[12+n:]
		}
		return icc
	}
	for b = b[2:]; b[1] != 0xDA; {
		n := int(binary.BigEndian.Uint16(b[2:]))
		if b[1] == 0xE2 {
			icc = append(icc, b[18:2+n]...)
		}
		b = b[2+n:]
	}
	return icc
}

// TestCurves reads each kind of curve (ICC.1 §10.6, §10.18).
func TestCurves(t *testing.T) {
	curv := func(v ...uint16) []byte {
		b := binary.BigEndian.AppendUint32([]byte("curv\x00\x00\x00\x00"), uint32(len(v)))
		for _, n := range v {
			b = binary.BigEndian.AppendUint16(b, n)
		}
		return b
	}
	para := func(kind byte, v ...float64) []byte {
		b := numbersType("para", append([]float64{0}, v...)...)
		b[9] = kind
		return b
	}
	for _, tt := range []struct {
		name    string
		b       []byte
		x, want float64
	}{
		{"identity", curv(), 0.3, 0.3},
		{"gamma", curv(512), 0.5, 0.25},
		{"table", curv(0, 65535, 0), 0.25, 0.5},
		{"table, its end", curv(0, 1000, 65535), 1, 1},
		{"type 0", para(0, 2), 0.5, 0.25},
		{"type 1", para(1, 2, 2, -0.5), 0.5, 0.25},
		{"type 1, below", para(1, 2, 2, -0.5), 0.2, 0},
		{"type 2", para(2, 2, 2, -0.5, 0.25), 0.5, 0.5},
		{"type 2, below", para(2, 2, 2, -0.5, 0.25), 0.2, 0.25},
		{"type 3", para(3, 2, 1, 0, 0.5, 0.25), 0.5, 0.25},
		{"type 3, below", para(3, 2, 1, 0, 0.5, 0.25), 0.2, 0.1},
		{"type 4", para(4, 2, 1, 0, 0.5, 0.25, 0.125, 0.0625), 0.5, 0.375},
		{"type 4, below", para(4, 2, 1, 0, 0.5, 0.25, 0.125, 0.0625), 0.2, 0.1625},
	} {
		f := parseCurve(tt.b)
		if f == nil {
			t.Errorf("%s is not read", tt.name)
			continue
		}
		within(t, tt.name, f(tt.x), tt.want, 1e-4)
	}
	for name, b := range map[string][]byte{"nothing": nil, "cut short": curv(1, 2, 3)[:14], "unknown": []byte("mft2\x00\x00\x00\x00\x00\x00\x00\x00"), "parameters cut short": para(3, 2), "kind": para(9, 2)} {
		if parseCurve(b) != nil {
			t.Errorf("%s is read", name)
		}
	}
	if !math.IsNaN(parametric(1, [7]float64{1, 0, 0})(0.5)) && parametric(1, [7]float64{1, 0, 0})(0.5) != 0 {
		t.Error("a curve of no slope")
	}
}

func FuzzProfile(f *testing.F) {
	f.Add(spaces["srgb"].colourICC())
	f.Add(spaces["adobergb"].colourICC())
	f.Fuzz(func(t *testing.T, b []byte) {
		p, ok := parseProfile(b)
		if !ok {
			return
		}
		m := colours(4)
		back, _ := spaces["srgb"].colorants().inverse()
		p.into(m, back.times(p.colorants), spaces["srgb"].encodings())
	})
}
