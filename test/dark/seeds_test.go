//go:build linux

package dark

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"net/url"
	"strings"
	"testing"
	"unicode/utf16"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/retrieve/retrievetest"
)

// root begins the UIDs of these tests; what follows is looked for.
const root = "2.999.7740815"

// The seeded instances: an image of names in UTF-8, one in Latin-1, one in
// Japanese with escapes, a report, and one that takes long to send.
var (
	utf8Image   = archive.UIDs{Study: root + ".1", Series: root + ".1.21", Instance: root + ".1.21.301"}
	latinImage  = archive.UIDs{Study: root + ".2", Series: root + ".2.22", Instance: root + ".2.22.302"}
	kanjiImage  = archive.UIDs{Study: root + ".3", Series: root + ".3.23", Instance: root + ".3.23.303"}
	reportOf    = archive.UIDs{Study: root + ".1", Series: root + ".1.24", Instance: root + ".1.24.304"}
	longImage   = archive.UIDs{Study: root + ".4", Series: root + ".4.25", Instance: root + ".4.25.305"}
	fromJSON    = archive.UIDs{Study: root + ".1", Series: root + ".1.26", Instance: root + ".1.26.306"}
	neverStored = archive.UIDs{Study: root + ".5", Series: root + ".5.27", Instance: root + ".5.27.307"}
)

// seeds are what must be nowhere in the clear. Each is rare enough to be found by chance nowhere.
var seeds = []string{root + ".", "Quetzlkranich", "Wölfflinshügel", "Jäckelmeißner", "渡辺幽玄", "PATNR-8841-ZQX", "ACC-QJ-771204", "Seltenbefund-Brustraum",
	"Fernklinikum-Xanten", "GEHEIMES-PRIVATFELD", "Verschattung-im-Oberfeld", "BILDPUNKTE-ZWJQ-LESBAR", "19280229", "JSONSPOOL-KQXW"}

// forms are the ways in which a text may be written down.
func forms(s string) map[string][]byte {
	f := map[string][]byte{"in UTF-8": []byte(s), "in lower case": []byte(strings.ToLower(s)), "in capitals": []byte(strings.ToUpper(s)),
		"in hexadecimal": []byte(hex.EncodeToString([]byte(s))), "percent-encoded": []byte(url.QueryEscape(s))}
	var little, big, latin []byte
	for _, u := range utf16.Encode([]rune(s)) {
		little, big = append(little, byte(u), byte(u>>8)), append(big, byte(u>>8), byte(u))
		if u < 256 {
			latin = append(latin, byte(u))
		}
	}
	f["in UTF-16LE"], f["in UTF-16BE"] = little, big
	if len(latin) == len([]rune(s)) {
		f["in Latin-1"] = latin
	}
	for shift := range 3 { // what base64 makes of it depends on where it begins
		b := base64.RawStdEncoding.EncodeToString(append(make([]byte, shift), s...))
		from := (shift*8 + 5) / 6
		f[fmt.Sprintf("in base64/%d", shift)] = []byte(b[from : len(b)-len(b)%4-1])
	}
	return f
}

// el is an element of Explicit VR Little Endian.
type el struct {
	tag       uint32
	vr, value string
}

func encode(list ...el) (b []byte) {
	for _, e := range list {
		if len(e.value)%2 == 1 {
			pad := " "
			if e.vr == "UI" || e.vr == "OB" {
				pad = "\x00"
			}
			e.value += pad
		}
		b = binary.LittleEndian.AppendUint16(b, uint16(e.tag>>16))
		b = binary.LittleEndian.AppendUint16(b, uint16(e.tag))
		b = append(b, e.vr...)
		if strings.Contains("OB OW SQ UN UT", e.vr) {
			b = binary.LittleEndian.AppendUint32(append(b, 0, 0), uint32(len(e.value)))
		} else {
			b = binary.LittleEndian.AppendUint16(b, uint16(len(e.value)))
		}
		b = append(b, e.value...)
	}
	return b
}

func item(list ...el) string {
	b := encode(list...)
	return string(binary.LittleEndian.AppendUint32([]byte{0xFE, 0xFF, 0x00, 0xE0}, uint32(len(b)))) + string(b)
}

// file is a Part 10 file of the elements.
func file(list ...el) []byte {
	const explicit = "1.2.840.10008.1.2.1"
	meta := encode(el{0x00020001, "OB", "\x00\x01"}, el{0x00020010, "UI", explicit}, el{0x00020012, "UI", "1.2.3.4"})
	b := append(make([]byte, 128), "DICM"...)
	b = append(b, encode(el{0x00020000, "UL", string(binary.LittleEndian.AppendUint32(nil, uint32(len(meta))))})...)
	return append(append(b, meta...), encode(list...)...)
}

func us(n uint16) string { return string(binary.LittleEndian.AppendUint16(nil, n)) }

// image is a seeded instance of side by side pixels of 16 bits.
func image(u archive.UIDs, charset, name, institution string, side int, number string) []byte {
	pixels := retrievetest.Pattern(2 * side * side)
	copy(pixels[len(pixels)/2:], "BILDPUNKTE-ZWJQ-LESBAR")
	return file(el{0x00080005, "CS", charset}, el{0x00080016, "UI", "1.2.840.10008.5.1.4.1.1.7"}, el{0x00080018, "UI", u.Instance},
		el{0x00080020, "DA", "20240917"}, el{0x00080050, "SH", "ACC-QJ-771204"}, el{0x00080060, "CS", "OT"}, el{0x00080080, "LO", institution},
		el{0x00081030, "LO", "Seltenbefund-Brustraum"}, el{0x00090010, "LO", "STRATA TESTS"}, el{0x00091001, "LO", "GEHEIMES-PRIVATFELD"},
		el{0x00100010, "PN", name}, el{0x00100020, "LO", "PATNR-8841-ZQX"}, el{0x00100030, "DA", "19280229"},
		el{0x0020000D, "UI", u.Study}, el{0x0020000E, "UI", u.Series}, el{0x00200013, "IS", number},
		el{0x00280002, "US", us(1)}, el{0x00280004, "CS", "MONOCHROME2"}, el{0x00280010, "US", us(uint16(side))}, el{0x00280011, "US", us(uint16(side))},
		el{0x00280100, "US", us(16)}, el{0x00280101, "US", us(16)}, el{0x00280102, "US", us(15)}, el{0x00280103, "US", us(0)},
		el{0x7FE00010, "OW", string(pixels)})
}

// report is a structured report with a seeded sentence.
func report() []byte {
	u := reportOf
	title := el{0x0040A043, "SQ", item(el{0x00080100, "SH", "18748-4"}, el{0x00080102, "SH", "LN"}, el{0x00080104, "LO", "Diagnostic imaging study"})}
	finding := el{0x0040A043, "SQ", item(el{0x00080100, "SH", "121071"}, el{0x00080102, "SH", "DCM"}, el{0x00080104, "LO", "Finding"})}
	return file(el{0x00080005, "CS", "ISO_IR 192"}, el{0x00080016, "UI", "1.2.840.10008.5.1.4.1.1.88.11"}, el{0x00080018, "UI", u.Instance},
		el{0x00080060, "CS", "SR"}, el{0x00100010, "PN", "Quetzlkranich^Otto"}, el{0x00100020, "LO", "PATNR-8841-ZQX"},
		el{0x0020000D, "UI", u.Study}, el{0x0020000E, "UI", u.Series}, el{0x0040A040, "CS", "CONTAINER"}, title, el{0x0040A050, "CS", "SEPARATE"},
		el{0x0040A730, "SQ", item(el{0x0040A010, "CS", "CONTAINS"}, el{0x0040A040, "CS", "TEXT"}, finding, el{0x0040A160, "UT", "Verschattung-im-Oberfeld"})})
}

// jsonStore is a store of metadata and of bulk data, which is spooled.
func jsonStore() (body []byte, contentType string) {
	u := fromJSON
	json := `{"00080016":{"vr":"UI","Value":["1.2.840.10008.5.1.4.1.1.7"]},"00080018":{"vr":"UI","Value":["` + u.Instance + `"]},"0020000D":{"vr":"UI","Value":["` + u.Study + `"]},` +
		`"0020000E":{"vr":"UI","Value":["` + u.Series + `"]},"00100010":{"vr":"PN","Value":[{"Alphabetic":"Quetzlkranich^Otto"}]},"00091001":{"vr":"OB","BulkDataURI":"x"}}`
	return []byte("--b\r\nContent-Type: application/dicom+json\r\n\r\n" + json + "\r\n--b\r\nContent-Location: x\r\n\r\n" +
		strings.Repeat("JSONSPOOL-KQXW ", 1<<20) + "\r\n--b--\r\n"), `multipart/related; type="application/dicom+json"; boundary=b`
}

// seeded are the files that every archive of these tests holds.
func seeded() [][]byte {
	return [][]byte{
		image(utf8Image, "ISO_IR 192", "Quetzlkranich^Otto", "Wölfflinshügel", 64, "1"),
		image(latinImage, "ISO_IR 100", "J\xe4ckelmei\xdfner^Ida", "Fernklinikum-Xanten", 64, "1"),
		image(kanjiImage, `\ISO 2022 IR 87`, "Watanabe^Yugen=\x1b$BEOJUM)8<\x1b(B", "Fernklinikum-Xanten", 64, "1"),
		report(),
		image(longImage, "ISO_IR 192", "Quetzlkranich^Lang", "Wölfflinshügel", 3000, "1"),
	}
}

// TestForms holds that what is looked for would be found.
func TestForms(t *testing.T) {
	m := seedMatcher()
	for _, seed := range seeds {
		for how, form := range forms(seed) {
			if found := m.count(append([]byte("before "), append(form, " behind"...)...)); len(found) == 0 {
				t.Errorf("%s %s is not found", seed, how)
			}
		}
		text := base64.StdEncoding.EncodeToString([]byte("12345 " + seed + " and more"))
		if len(m.count([]byte(text))) == 0 {
			t.Errorf("%s is not found in base64", seed)
		}
	}
	if found := m.count([]byte(strings.Repeat("nothing of it is here ", 1000))); len(found) != 0 {
		t.Errorf("found where it is not: %v", found)
	}
}
