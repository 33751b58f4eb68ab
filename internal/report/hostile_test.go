package report

import (
	"bytes"
	"context"
	"fmt"
	"html"
	"io"
	"os/exec"
	"strings"
	"testing"
	"unicode"

	"github.com/strata-pacs/strata/internal/dicom"
	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/internal/testdata"
)

// payloads try to get out of where a text stands.
var payloads = []string{`"><script>alert(1)</script>`, `</title></style><img src=x onerror=alert(1)>`, `javascript:alert(1)`, `' onmouseover='alert(1)`, "{{.Root}}", "<!--", "]]>", "a\x00b\x1b[31m", `../../x"y`}

// TestTextsStayTexts writes each payload wherever a report has a text.
func TestTextsStayTexts(t *testing.T) {
	for _, bad := range payloads {
		t.Run(html.EscapeString(bad), func(t *testing.T) {
			all := func(more ...dicom.Element) *dicom.Dataset {
				for _, tag := range []dicom.Tag{codeValue, schemeDesignator, codeMeaning, longCodeValue, urnCodeValue} {
					more = append(more, el(tag, dicom.UT, bad))
				}
				for _, tag := range []dicom.Tag{referencedClass, referencedInstance, studyInstanceUID, seriesInstanceUID, referencedFrames, textValue, dateValue, timeValue, dateTimeValue,
					personValue, uidValue, numericValue, observationTime, relationshipType, graphicType, temporalRange, timeOffsets, frameOfRefUID, fiducialUID, referencedItem,
					0x00100010, 0x00100020, 0x00100030, 0x00100040, 0x00081030, 0x00080020, 0x00080030, 0x00080050, 0x00080080, 0x0040A492, 0x00200011, 0x0040A075, 0x0040A027, 0x0040A030} {
					more = append(more, el(tag, dicom.UT, bad))
				}
				return set(more...)
			}
			nested := func() []dicom.Element {
				var list []dicom.Element
				for _, tag := range []dicom.Tag{conceptName, conceptCode, measuredValue, measurementUnits, numericQualifier, referencedSOP, referencedSeries, currentEvidence, predecessors, 0x0040A073, 0x0040A370, 0x0040A078, 0x0040A07A, 0x0040A07C} {
					inner := sq(tag, all(sq(referencedSOP, all()), sq(referencedSeries, all(sq(referencedSOP, all()))), sq(measurementUnits, all())))
					list = append(list, inner)
				}
				return list
			}
			var children []*dicom.Dataset
			for _, kind := range []string{"CONTAINER", "TEXT", "CODE", "NUM", "DATE", "TIME", "DATETIME", "PNAME", "UIDREF", "IMAGE", "COMPOSITE", "WAVEFORM", "SCOORD", "SCOORD3D", "TCOORD", "TABLE", bad, ""} {
				children = append(children, all(append(nested(), el(valueType, dicom.LT, kind))...))
			}
			s := show(t, all(append(nested(), el(valueType, dicom.CS, "CONTAINER"), sq(contentSequence, children...))...))
			if got := strings.Count(html.UnescapeString(s.page), clean(strings.TrimSpace(bad))); got < 50 {
				t.Errorf("the text is in the page only %d times", got)
			}
			for _, x := range []string{"<script", "<img", "onerror=alert(1)>", "onmouseover='", `href="javascript`, "\x00", "\x1b"} {
				if strings.Contains(s.page, x) {
					t.Errorf("%q in the page", x)
				}
			}
		})
	}
}

// TestLargeTrees: what is too much is left out, and the page says so.
func TestLargeTrees(t *testing.T) {
	text := content("CONTAINS", "TEXT", "Impression", el(textValue, dicom.UT, "w"))
	wide := make([]*dicom.Dataset, maxItems+500)
	for i := range wide {
		wide[i] = text
	}
	s := show(t, document(wide...))
	if n := len(s.ids); n != maxItems || !strings.Contains(s.text, fmt.Sprintf("%d of its content items are left out", 501)) {
		t.Errorf("%d items in %.300s", n, s.text)
	}
	if n := strings.Count(show(t, document(wide[:500]...)).text, "are left out"); n != 0 {
		t.Error("a page that is whole says that it is not")
	}
	deep := text
	for range 5 * maxDepth {
		deep = content("CONTAINS", "CONTAINER", "C", sq(contentSequence, deep))
	}
	s = show(t, document(deep))
	if n := len(s.ids); n != maxDepth+1 || !strings.Contains(s.text, "What is nested deeper is not shown here.") || !strings.Contains(s.text, fmt.Sprintf(" %d of its content items are left out", 4*maxDepth+1)) {
		t.Errorf("%d items in %.300s", n, s.text)
	}
}

// TestLongLists: rows of values are cut off, whatever item has them.
func TestLongLists(t *testing.T) {
	many := strings.Repeat(`1\`, 50_000) + "1"
	refs := make([]*dicom.Dataset, 10*maxList)
	for i := range refs {
		refs[i] = set(el(referencedInstance, dicom.UI, "1.2.3"), el(referencedFrames, dicom.IS, many))
	}
	d := document(
		content("CONTAINS", "IMAGE", "I", sq(referencedSOP, refs...)),
		content("CONTAINS", "SCOORD", "S", el(graphicData, dicom.FL, strings.Repeat("\x00", 80_000)), el(graphicType, dicom.CS, "MULTIPOINT")),
		content("CONTAINS", "TCOORD", "T", el(timeOffsets, dicom.DS, many)),
		content("CONTAINS", "TEXT", strings.Repeat("long ", 10_000)),
		set(el(referencedItem, dicom.UL, strings.Repeat("\x01\x00\x00\x00", 10_000))))
	d.Elements = append(d.Elements, sq(0x0040A078, refs...), sq(predecessors, set(sq(referencedSeries, set(sq(referencedSOP, refs...))))))
	s := show(t, d)
	if len(s.page) > 2<<20 || !strings.Contains(s.text, " and 9800 more (column, row of the image)") || !strings.Contains(s.text, " and 49801 more s") {
		t.Errorf("%d bytes: %.300s", len(s.page), s.text)
	}
}

// TestRealReports shows the real files, and finds in the page every word of the
// data set that dcmtk's dsr2html shows.
func TestRealReports(t *testing.T) {
	n := 0
	for _, f := range testdata.Files(t) {
		if f.Field("modality") != "SR" {
			continue
		}
		n++
		t.Run(f.Name, func(t *testing.T) {
			d := parse(t, f.Bytes(t))
			s := show(t, d)
			tool, err := exec.LookPath("dsr2html")
			if err != nil {
				t.Skip("dsr2html is not installed")
			}
			out, err := exec.Command(tool, "--unknown-relationship", "--invalid-item-value", "--ignore-constraints", "--ignore-item-errors", "--skip-invalid-items", "--convert-to-utf8", f.Path).Output()
			if err != nil {
				t.Skipf("dsr2html cannot: %v", err)
			}
			theirs, own, have := words(html.UnescapeString(tags.Replace(string(out)))), map[string]bool{}, words(s.text)
			collect(d, own)
			compared := 0
			for w := range theirs {
				if own[w] {
					compared++
					if !have[w] {
						t.Errorf("%q is not in the page", w)
					}
				}
			}
			if compared < 10 {
				t.Errorf("only %d words were compared", compared)
			}
		})
	}
	if n < 4 {
		t.Errorf("%d reports", n)
	}
}

// tags sets words apart that only a tag is between.
var tags = strings.NewReplacer("<", " <", ">", "> ")

func words(s string) map[string]bool {
	all := map[string]bool{}
	for _, w := range strings.FieldsFunc(s, func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) }) {
		all[w] = true
	}
	return all
}

// collect adds the words of all texts that a report is there to show.
func collect(d *dicom.Dataset, all map[string]bool) {
	for i := range d.Elements {
		e := &d.Elements[i]
		for _, item := range e.Items {
			collect(item, all)
		}
		switch e.Tag {
		case textValue, codeMeaning, numericValue, uidValue, referencedFrames, 0x00081030, 0x0008103E, 0x00100020, 0x0040A492, 0x0040A027, 0x00080070:
			for w := range words(d.TextOf(e)) {
				all[w] = true
			}
		case personValue, 0x00100010, 0x0040A075:
			for w := range words(d.TextOf(e)) {
				all[w] = true
			}
		}
	}
}

func parse(tb testing.TB, raw []byte) *dicom.Dataset {
	tb.Helper()
	f, err := dicom.Read(context.Background(), bytes.NewReader(raw), dicom.Limits{})
	if err != nil {
		tb.Fatal(err)
	}
	return f.Data
}

// FuzzHTML: of whatever a reader understood, the page is well-formed and made of the template's own elements.
func FuzzHTML(f *testing.F) {
	for _, d := range []*dicom.Dataset{document(content("CONTAINS", "TEXT", "Impression", el(textValue, dicom.UT, payloads[0]))),
		document(content("CONTAINS", "CONTAINER", "A", sq(contentSequence, content("INFERRED FROM", "SCOORD", "R", el(graphicData, dicom.FL, floats(0, 0)), el(graphicType, dicom.CS, "POINT"))))),
		document(content("CONTAINS", "NUM", "N", sq(measuredValue, set(el(numericValue, dicom.DS, "1")))), set(el(referencedItem, dicom.UL, "\x01\x00\x00\x00")))} {
		var b bytes.Buffer
		if err := dicom.Write(&b, &dicom.File{Syntax: dicom.ExplicitVRLittleEndian, Data: d}, nil); err != nil {
			f.Fatal(err)
		}
		f.Add(b.Bytes())
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		file, err := dicom.Read(context.Background(), bytes.NewReader(raw), dicom.Limits{Elements: 2000})
		if err != nil {
			return
		}
		if err := HTML(io.Discard, file.Data, ""); err != nil {
			if !fault.Is(err, fault.NotAcceptable) {
				t.Fatal(err)
			}
			return
		}
		show(t, file.Data)
	})
}

func BenchmarkHTML(b *testing.B) {
	group := content("CONTAINS", "CONTAINER", "Measurements", sq(contentSequence,
		content("CONTAINS", "NUM", "Area", sq(measuredValue, set(coded(measurementUnits, "cm2", "UCUM", "square centimetre"), el(numericValue, dicom.DS, "1.70")))),
		content("CONTAINS", "CODE", "Finding", coded(conceptCode, "27925004", "SCT", "Nodule"), sq(contentSequence, content("HAS CONCEPT MOD", "CODE", "Site", coded(conceptCode, "1", "SCT", "Lung"))))))
	groups := make([]*dicom.Dataset, 1000)
	for i := range groups {
		groups[i] = group
	}
	d := document(groups...)
	b.ReportAllocs()
	for b.Loop() {
		if err := HTML(io.Discard, d, FromInstance); err != nil {
			b.Fatal(err)
		}
	}
}
