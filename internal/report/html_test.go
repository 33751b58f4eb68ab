package report

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/strata-pacs/strata/internal/dicom"
	"github.com/strata-pacs/strata/internal/fault"
)

// TestValues holds how an item of each value type reads.
func TestValues(t *testing.T) {
	sop := func(class, uid string, more ...dicom.Element) dicom.Element {
		return sq(referencedSOP, set(append([]dicom.Element{el(referencedClass, dicom.UI, storage+class), el(referencedInstance, dicom.UI, uid)}, more...)...))
	}
	graphic := func(kind, data string) []dicom.Element {
		return []dicom.Element{el(graphicData, dicom.FL, data), el(graphicType, dicom.CS, kind)}
	}
	const one, two, three = 0x3F800000, 0x40000000, 0x40400000
	for _, c := range []struct {
		name, want string
		item       *dicom.Dataset
	}{
		{"text", "Impression No change. As before.", content("CONTAINS", "TEXT", "Impression", el(textValue, dicom.UT, "No change.\r\nAs before.\r\n"))},
		{"text without a name", "Text x", content("CONTAINS", "TEXT", "", el(textValue, dicom.UT, "x"))},
		{"text in other letters", "頚部 Тест ünï", content("CONTAINS", "TEXT", "頚部", el(textValue, dicom.UT, "Тест ünï"))},
		{"code", "Finding modifier Nodule (27925004, SCT)", content("HAS CONCEPT MOD", "CODE", "Finding", coded(conceptCode, "27925004", "SCT", "Nodule"))},
		{"code without a meaning", "Finding 27925004 (SCT)", content("CONTAINS", "CODE", "Finding", coded(conceptCode, "27925004", "SCT", ""))},
		{"long code", "Finding Long (a-very-long-code-value, 99T)", content("CONTAINS", "CODE", "Finding",
			sq(conceptCode, set(el(schemeDesignator, dicom.SH, "99T"), el(codeMeaning, dicom.LO, "Long"), el(longCodeValue, dicom.UC, "a-very-long-code-value"))))},
		{"number", "Area property 1.70 cm2 (square centimetre)", content("HAS PROPERTIES", "NUM", "Area",
			sq(measuredValue, set(coded(measurementUnits, "cm2", "UCUM", "square centimetre"), el(numericValue, dicom.DS, "1.70 "))))},
		{"number without units", "Count 3", content("CONTAINS", "NUM", "Count", sq(measuredValue, set(coded(measurementUnits, "1", "UCUM", "no units"), el(numericValue, dicom.DS, "3"))))},
		{"number in annotated units", "Ratio 3 ratio", content("CONTAINS", "NUM", "Ratio", sq(measuredValue, set(coded(measurementUnits, "{ratio}", "UCUM", "ratio"), el(numericValue, dicom.DS, "3"))))},
		{"number in other units", "Size 3 centimetre (R-1, 99T)", content("CONTAINS", "NUM", "Size", sq(measuredValue, set(coded(measurementUnits, "R-1", "99T", "centimetre"), el(numericValue, dicom.DS, "3"))))},
		{"float", "Size 1.5", content("CONTAINS", "NUM", "Size", sq(measuredValue, set(el(floatingValue, dicom.FD, "\x00\x00\x00\x00\x00\x00\xF8\x3F"))))},
		{"fraction", "Size 1 / 3", content("CONTAINS", "NUM", "Size", sq(measuredValue, set(el(numerator, dicom.SL, "\x01\x00\x00\x00"), el(denominator, dicom.UL, "\x03\x00\x00\x00"))))},
		{"no number", "Size no value Not a number", content("CONTAINS", "NUM", "Size", sq(measuredValue), coded(numericQualifier, "114000", "DCM", "Not a number"))},
		{"date", "On 2024-02-29", content("CONTAINS", "DATE", "On", el(dateValue, dicom.DA, "20240229"))},
		{"time", "At 13:45:01.5", content("CONTAINS", "TIME", "At", el(timeValue, dicom.TM, "134501.5"))},
		{"moment", "When 2024-02-29 13:45:01 +01:00", content("CONTAINS", "DATETIME", "When", el(dateTimeValue, dicom.DT, "20240229134501+0100"))},
		{"person", "Who observation context Yamada, Tarou (山田 太郎)", content("HAS OBS CONTEXT", "PNAME", "Who", el(personValue, dicom.PN, "Yamada^Tarou=山田^太郎"))},
		{"uid", "Device 1.2.3", content("CONTAINS", "UIDREF", "Device", el(uidValue, dicom.UI, "1.2.3\x00"))},
		{"circle", "Region A circle around (1, 2) through (3, 2) (column, row of the image)", content("CONTAINS", "SCOORD", "Region", graphic("CIRCLE", floats(one, two, three, two))...)},
		{"point", "Region The point (1, 2)", content("CONTAINS", "SCOORD", "Region", graphic("POINT", floats(one, two))...)},
		{"closed line", "Region An area within the line through (1, 1), (2, 2), (1, 1)", content("CONTAINS", "SCOORD", "Region", graphic("POLYLINE", floats(one, one, two, two, one, one))...)},
		{"line", "Region A line through (1, 1), (2, 2)", content("CONTAINS", "SCOORD", "Region", graphic("POLYLINE", floats(one, one, two, two))...)},
		{"half a point", "Region A region without points", content("CONTAINS", "SCOORD", "Region", graphic("POINT", floats(one))...)},
		{"unknown shape", "Region SPIRAL (1, 1)", content("CONTAINS", "SCOORD", "Region", graphic("SPIRAL", floats(one, one))...)},
		{"polygon", "Region An area within the line through (1, 1, 1), (2, 2, 2) (x, y, z in mm) in the frame of reference 1.9", content("CONTAINS", "SCOORD3D", "Region",
			append(graphic("POLYGON", floats(one, one, one, two, two, two)), el(frameOfRefUID, dicom.UI, "1.9"))...)},
		{"samples", "Peak A point in time: samples 7", content("CONTAINS", "TCOORD", "Peak", el(temporalRange, dicom.CS, "POINT"), el(samplePositions, dicom.UL, "\x07\x00\x00\x00"))},
		{"segment", "Peak A segment of time: offsets 1.0, 2.5 s", content("CONTAINS", "TCOORD", "Peak", el(temporalRange, dicom.CS, "SEGMENT"), el(timeOffsets, dicom.DS, `1.0\2.5`))},
		{"moments", "Peak From a point in time on: 2024-02-29 12:00", content("CONTAINS", "TCOORD", "Peak", el(temporalRange, dicom.CS, "BEGIN"), el(timeMoments, dicom.DT, "202402291200"))},
		{"image", "Image CT image, frames 5, 2; segment 3 1.2.3 shown with Presentation state 1.2.4", content("CONTAINS", "IMAGE", "",
			sop("2", "1.2.3", el(referencedFrames, dicom.IS, `5\2`), el(referencedSegments, dicom.US, "\x03\x00"), sop("11.1", "1.2.4")))},
		{"waveform", "Waveform Waveform, channels 2 of group 1, all of group 3 1.2.3", content("CONTAINS", "WAVEFORM", "", sop("9.1.1", "1.2.3", el(referencedChannels, dicom.US, "\x01\x00\x02\x00\x03\x00\x00\x00")))},
		{"document", "Document Basic text report 1.2.3", content("CONTAINS", "COMPOSITE", "", sop("88.11", "1.2.3"))},
		{"image of nothing", "Key Image Key Image", content("CONTAINS", "IMAGE", "Key Image")},
		{"table", "A table of 2 rows and 3 columns, which is not shown here.", content("CONTAINS", "TABLE", "T", el(tableRows, dicom.UL, "\x02\x00\x00\x00"), el(tableColumns, dicom.UL, "\x03\x00\x00\x00"))},
		{"unknown", "T An item of the value type SMELL, which is not shown here.", content("CONTAINS", "SMELL", "T")},
		{"observed", "Impression observed 2024-02-29 12:00 x", content("CONTAINS", "TEXT", "Impression", el(textValue, dicom.UT, "x"), el(observationTime, dicom.DT, "202402291200"))},
		{"too long", "Impression [a text of 99999 bytes is too long to be shown here]", content("CONTAINS", "TEXT", "Impression", dicom.Element{Tag: textValue, VR: dicom.UT, Bulk: true, Length: 99999})},
	} {
		t.Run(c.name, func(t *testing.T) {
			if s := show(t, document(c.item)); !strings.Contains(s.text, " "+c.want+" ") {
				t.Errorf("no %q in %q", c.want, s.text)
			}
		})
	}
}

// TestTree: sections, headings, relations, references to elsewhere in the tree.
func TestTree(t *testing.T) {
	section := func(name string, items ...*dicom.Dataset) *dicom.Dataset {
		return content("CONTAINS", "CONTAINER", name, sq(contentSequence, items...))
	}
	pointer := func(v string) *dicom.Dataset {
		return set(el(relationshipType, dicom.CS, "INFERRED FROM"), el(referencedItem, dicom.UL, v))
	}
	text := content("CONTAINS", "TEXT", "Impression", el(textValue, dicom.UT, "well"), sq(contentSequence,
		content("INFERRED FROM", "CODE", "Reason", coded(conceptCode, "2", "99T", "Looks")),
		pointer("\x01\x00\x00\x00\x01\x00\x00\x00\x01\x00\x00\x00"), pointer("\x01\x00\x00\x00\x09\x00\x00\x00"), pointer("\x02\x00\x00\x00"), pointer("\x01\x00\x00\x00")))
	s := show(t, document(section("A", section("B", section("C", section("D", section("E", section("F")))))), section("", text)))
	for _, want := range []string{`<h2 dir="auto"><span title="1, 99T">A</span>`, ">B</span></h3>", ">C</span></h4>", ">D</span></h5>", ">E</span></h6>", `<h6 dir="auto" aria-level="7">`,
		`<h2 dir="auto"><span>Section</span></h2>`, `<a href="#i1.1.1">B</a>`, `<a href="#i1">Findings</a>`, "see item 1.9, which is not in this report", "see item 2, which is not in this report",
		`<section id="i1.1.1">`, `<div id="i1.2.1">`, "inferred from"} {
		if !strings.Contains(s.page, want) {
			t.Errorf("no %s in %s", want, s.page)
		}
	}
}

func TestHeader(t *testing.T) {
	ref := func(series, instance, class string) *dicom.Dataset {
		return set(el(studyInstanceUID, dicom.UI, "1.1"), sq(referencedSeries, set(el(seriesInstanceUID, dicom.UI, series),
			sq(referencedSOP, set(el(referencedClass, dicom.UI, storage+class), el(referencedInstance, dicom.UI, instance))))))
	}
	d := document(content("CONTAINS", "IMAGE", "Seen", sq(referencedSOP, set(el(referencedClass, dicom.UI, storage+"2"), el(referencedInstance, dicom.UI, "1.1.1.1"), el(referencedFrames, dicom.IS, `2\3`)))),
		content("CONTAINS", "WAVEFORM", "Heard", sq(referencedSOP, set(el(referencedClass, dicom.UI, storage+"9.1.1"), el(referencedInstance, dicom.UI, "1.1.3.1")))),
		content("HAS CONCEPT MOD", "CODE", "Language", coded(conceptCode, "de-CH", "RFC5646", "German")))
	d.Elements[3].Items[2].Elements[2] = coded(conceptName, "121049", "DCM", "Language")
	d.Elements = append(d.Elements, el(0x00100010, dicom.PN, "Adams^John Robert^Quincy^Rev.^B.A."), el(0x00100020, dicom.LO, "4711"), el(0x00100030, dicom.DA, "17670711"), el(0x00100040, dicom.CS, "M"),
		el(0x00081030, dicom.LO, "Chest"), el(0x00080020, dicom.DA, "20240102"), el(0x00080030, dicom.TM, "1015"), el(0x00080080, dicom.LO, "St. Elsewhere"),
		el(0x00200011, dicom.IS, "3"), el(0x0040A496, dicom.CS, "PRELIMINARY"), el(0x0040A491, dicom.CS, "PARTIAL"), el(0x0040A492, dicom.LO, "half of it"), el(0x0040A493, dicom.CS, "VERIFIED"),
		sq(0x0040A073, set(el(0x0040A075, dicom.PN, "Weiß^Karl"), el(0x0040A027, dicom.LO, "Lab"), el(0x0040A030, dicom.DT, "20240103")), set(el(0x0040A075, dicom.PN, "Fern^Ada"))),
		sq(0x0040A078, set(el(0x0040A123, dicom.PN, "House^Gregory"), el(0x00080080, dicom.LO, "Plainsboro"))),
		sq(0x0040A370, set(el(0x00321060, dicom.LO, "CT of the chest"), el(0x00080050, dicom.SH, "A-1"))),
		sq(currentEvidence, ref("1.1.1", "1.1.1.1", "2"), ref("1.1.3", "1.1.3.1", "9.1.1")), sq(predecessors, ref("1.1.2", "1.1.2.1", "88.11")))
	s := show(t, d)
	for _, want := range []string{"Patient Adams, Rev. John Robert Quincy, B.A. Patient ID 4711 Birth date 1767-07-11 Sex male Study Chest Study date 2024-01-02 10:15",
		"Institution St. Elsewhere", "Series (#3)", "Preliminary Partial Verified", "Completion half of it", "Verified by Weiß, Karl, Lab, 2024-01-03 Fern, Ada",
		"Author House, Gregory, Plainsboro", "Requested CT of the chest, A-1", "Follows Basic text report 1.1.2.1"} {
		if !strings.Contains(s.text, want) {
			t.Errorf("no %q in %q", want, s.text)
		}
	}
	links := []string{FromInstance + "/1.1/series/1.1.2/instances/1.1.2.1/rendered", FromInstance + "/1.1/series/1.1.1/instances/1.1.1.1/frames/2,3/rendered"}
	if strings.Join(s.links, " ") != strings.Join(links, " ") {
		t.Errorf("links %q", s.links)
	}
	if !strings.Contains(s.page, `<main id="i1" lang="de-CH">`) || !strings.Contains(s.page, "<title>Findings</title>") {
		t.Error("no language or title")
	}
	var b bytes.Buffer
	if err := HTML(&b, d, ""); err != nil || strings.Contains(b.String(), "<a ") {
		t.Errorf("links to nowhere, %v", err)
	}
}

// TestPolicy holds that browsers take the style, and nothing else.
func TestPolicy(t *testing.T) {
	s := show(t, document())
	_, rest, _ := strings.Cut(s.page, "<style>")
	css, _, _ := strings.Cut(rest, "</style>")
	sum := sha256.Sum256([]byte(css))
	policy := ContentSecurityPolicy()
	if !strings.Contains(policy, "style-src 'sha256-"+base64.StdEncoding.EncodeToString(sum[:])+"'") || !strings.HasPrefix(policy, "default-src 'none'") {
		t.Errorf("%s is not the policy of the style", policy)
	}
	if !strings.Contains(s.page, `<meta http-equiv="Content-Security-Policy" content="`+policy+`">`) {
		t.Error("the page lacks its policy")
	}
	for _, bad := range []string{"<script", "style=", "url(", "@import", "ZgotmplZ"} {
		if strings.Contains(s.page, bad) {
			t.Errorf("%s in the page", bad)
		}
	}
}

func TestNoReport(t *testing.T) {
	for _, d := range []*dicom.Dataset{set(), set(el(0x00100010, dicom.PN, "A^B")), set(el(valueType, dicom.CS, ""))} {
		var b bytes.Buffer
		if err := HTML(&b, d, ""); !fault.Is(err, fault.NotAcceptable) || b.Len() > 0 {
			t.Errorf("%v after %d bytes", err, b.Len())
		}
	}
	gone := errors.New("gone")
	r, w := io.Pipe()
	r.CloseWithError(gone)
	if err := HTML(w, document(), ""); !errors.Is(err, gone) {
		t.Errorf("%v instead of the writer's error", err)
	}
}
