package retrieve

import (
	"bytes"
	"context"
	"strconv"
	"strings"

	"github.com/strata-pacs/strata/internal/dicom"
	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/internal/report"
)

// Media types of documents and videos (PS3.18 §8.7.4).
const (
	typeHTML = "text/html"
	typePDF  = "application/pdf"
	typeMP4  = "video/mp4"
	typeMPEG = "video/mpeg"
	typeMP2T = "video/mp2t"
)

// DocumentTypes returns the media types that Document may give of the
// instance, the likeliest first: of structured reports text/html, of
// Encapsulated PDF application/pdf, of video the containers that its transfer
// syntax allows (PS3.5 §8.2.5 to §8.2.8). nil when the instance is neither.
// Nothing is read: which container a video has is seen by Document alone.
func DocumentTypes(in *Instance) []string {
	switch {
	case isReport(in.SOPClass):
		return []string{typeHTML}
	case in.SOPClass == encapsulatedPDF:
		return []string{typePDF}
	}
	switch ts := dicom.Syntax(in.Syntax); {
	case !ts.Video:
		return nil
	case ts.MediaType == typeMPEG:
		return []string{typeMPEG, typeMP2T}
	default:
		return []string{typeMP4, typeMP2T}
	}
}

const (
	encapsulatedPDF = "1.2.840.10008.5.1.4.1.1.104.1"
	macularReport   = "1.2.840.10008.5.1.4.1.1.79.1"
)

// isReport reports whether instances of the SOP Class have an SR Document
// Content Module (PS3.3 §A.35), Key Object Selection included.
func isReport(class string) bool {
	return strings.HasPrefix(class, "1.2.840.10008.5.1.4.1.1.88.") || class == macularReport
}

// Document returns what a person reads or plays of an instance found with
// Layouts: a structured report as an HTML page, an encapsulated PDF, a video as
// stored, all of known size. MediaType says what it is: that of a video is of
// the container found at its beginning and may be another than the client hopes
// for. A page links to others as package report says, from where PS3.18 §10.4.1.1.3 puts it.
//
// fault.NotAcceptable when the instance is none of these, or is damaged.
func (r *Reader) Document(ctx context.Context, in *Instance) (*Body, error) {
	switch {
	case isReport(in.SOPClass):
		return r.Report(ctx, in, report.FromInstance)
	case in.SOPClass == encapsulatedPDF:
		return r.pdf(ctx, in)
	case dicom.Syntax(in.Syntax).Video:
		return r.video(ctx, in)
	}
	return nil, fault.New(fault.NotAcceptable, "this instance is no report, PDF or video; retrieve it as application/dicom")
}

// What is read of a report, and what is made of it.
var reportLimits = dicom.Limits{Elements: 400_000, Hold: 1 << 20, Held: 4 << 20}

const maxPage = 16 << 20

// Report returns the page of a structured report. Its links are below studies,
// see [report.HTML].
func (r *Reader) Report(ctx context.Context, in *Instance, studies string) (*Body, error) {
	// The data set is much larger in memory than in the file: few at a time.
	select {
	case r.reports <- struct{}{}:
		defer func() { <-r.reports }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	src, err := r.stream(ctx, in)
	if err != nil {
		return nil, err
	}
	defer src.Close()
	f, err := dicom.Read(ctx, src, reportLimits)
	if fault.Is(err, fault.TooLarge) {
		return nil, fault.Wrap(fault.NotAcceptable, err, "this report is too large to be shown; retrieve it as application/dicom")
	} else if err != nil {
		return nil, stored(err)
	}
	var b page
	if err := report.HTML(&b, f.Data, studies); err != nil {
		return nil, err
	}
	return NewBody(typeHTML, in.version(), b.Bytes()), nil
}

// page holds a page that has been made, up to maxPage bytes.
type page struct{ bytes.Buffer }

func (b *page) Write(p []byte) (int, error) {
	if b.Len()+len(p) > maxPage {
		return 0, fault.New(fault.NotAcceptable, "this report is longer than the %d MB that are shown; retrieve it as application/dicom", maxPage>>20)
	}
	return b.Buffer.Write(p)
}

// Attributes of the Encapsulated Document Module (PS3.3 §C.24.2).
const (
	encapsulatedDocument       dicom.Tag = 0x00420011
	encapsulatedDocumentLength dicom.Tag = 0x00420015
)

// pdf returns the document of an Encapsulated PDF (PS3.3 §A.45.1) without the
// byte that pads it, where the instance says that there is one.
func (r *Reader) pdf(ctx context.Context, in *Instance) (*Body, error) {
	l, err := r.layoutOf(ctx, in)
	if err != nil {
		return nil, err
	}
	var d *dicom.Dataset // has the length, which comes behind the document
	var at dicom.Span
	if v := l.Find(encapsulatedDocument.String()); v != nil && !l.Deflated {
		at = v.Span
		if d, err = r.behind(ctx, in, at.Offset+at.Length); err != nil {
			return nil, err
		}
	} else { // a short one, or one that cannot be reached but by reading all
		h, err := r.Header(ctx, in)
		if err != nil {
			return nil, err
		}
		if e := h.Data.Lookup(encapsulatedDocument); e != nil && e.Items == nil && e.Fragments == nil {
			at = dicom.Span{Offset: e.Offset, Length: e.Length}
		}
		d = h.Data
	}
	if s, _ := d.Text(encapsulatedDocumentLength); s != "" && s == strconv.FormatInt(at.Length-1, 10) {
		at.Length--
	}
	c := cut{spans: []dicom.Span{at}, size: at.Length}
	begin, err := r.readSpans(ctx, in, within(c.spans, 0, 64))
	if err != nil {
		return nil, err
	}
	if !bytes.HasPrefix(bytes.TrimLeft(begin, "\xEF\xBB\xBF\x00\t\n\f\r "), []byte("%PDF-")) {
		return nil, fault.New(fault.NotAcceptable, "the document in this instance is no PDF; retrieve the instance as application/dicom")
	}
	return r.newBody(in, typePDF, "", c), nil
}

// maxBehind is how much is read of what comes behind a value.
const maxBehind = 64 << 10

// behind reads the elements from an offset on, as far as they are complete
// within maxBehind. What is there may be damaged or missing.
func (r *Reader) behind(ctx context.Context, in *Instance, off int64) (*dicom.Dataset, error) {
	n := min(in.Size-off, maxBehind)
	if off < 0 || n <= 0 {
		return new(dicom.Dataset), nil
	}
	rest, err := r.readSpans(ctx, in, []dicom.Span{{Offset: off, Length: n}})
	if err != nil {
		return nil, err
	}
	// A file of its own (PS3.10 §7.1): the preamble and the transfer syntax.
	head := append(make([]byte, 128), "DICM\x02\x00\x10\x00UI"...)
	uid := in.Syntax + strings.Repeat("\x00", len(in.Syntax)%2)
	head = append(append(head, byte(len(uid)), byte(len(uid)>>8)), uid...)
	f, err := dicom.Read(ctx, bytes.NewReader(append(head, rest...)), dicom.Limits{Elements: 1000})
	if f == nil || f.Data == nil {
		if ctx.Err() != nil {
			return nil, err
		}
		return new(dicom.Dataset), nil
	}
	return f.Data, nil
}

// video returns the stream of a video: its fragments joined (PS3.5 §8.2.5 to §8.2.8, §A.4.6).
func (r *Reader) video(ctx context.Context, in *Instance) (*Body, error) {
	l, err := r.layoutOf(ctx, in)
	if err != nil {
		return nil, err
	}
	c := cut{spans: l.Frames.Fragments()}
	if l.Frames.Native {
		c.spans = nil
	}
	c.size = total(c.spans)
	begin, err := r.readSpans(ctx, in, within(c.spans, 0, 1<<10))
	if err != nil {
		return nil, err
	}
	mediaType := container(begin)
	if mediaType == "" {
		return nil, fault.New(fault.NotAcceptable, "the video in this instance is in no container that players know (MP4, MPEG transport or program stream); ask for its frame 1 with transfer-syntax=* for the stream as stored")
	}
	return r.newBody(in, mediaType, "", c), nil
}

// container returns the media type of a video by its first bytes, "" when they
// are those of a bare stream or of no video at all.
func container(b []byte) string {
	at := func(i int, s string) bool { return len(b) >= i+len(s) && string(b[i:i+len(s)]) == s }
	switch {
	case at(4, "ftyp") && !at(8, "qt  "): // ISO/IEC 14496-12, and not QuickTime
		return typeMP4
	case at(0, "\x00\x00\x01\xBA"), at(0, "\x00\x00\x01\xB3"): // ISO/IEC 13818-1 pack, 13818-2 sequence
		return typeMPEG
	case at(0, "G") && at(188, "G") && at(2*188, "G"), // ISO/IEC 13818-1 packets
		at(4, "G") && at(4+192, "G") && at(4+2*192, "G"): // with the time stamps of Blu-ray
		return typeMP2T
	}
	return ""
}
