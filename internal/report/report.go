// Package report shows structured reports to people: the content tree of PS3.3
// §C.17.3 as one HTML page.
//
// The page is whole in itself: no script, no image, no font from elsewhere, one
// embedded style. Every text of the report is escaped for where it stands, and
// [ContentSecurityPolicy] is what the page lives under. However large the
// report, the page is bounded, and says so at its top when it leaves something
// out.
package report

import (
	"bufio"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"html/template"
	"io"
	"strings"
	"sync"

	"github.com/strata-pacs/strata/internal/dicom"
	"github.com/strata-pacs/strata/internal/fault"
)

// FromInstance is the URL of the studies as seen from the rendered resource of
// an instance (PS3.18 §10.4.1.1.3), for [HTML].
const FromInstance = "../../../../.."

// Bounds of a page.
const (
	maxItems = 20_000 // content items
	maxDepth = 100    // of their nesting
	maxList  = 200    // values of one kind in a row: points, frames, observers
	maxShort = 1024   // bytes of a text that is to be short, such as the meaning of a code
)

// HTML writes the report as an HTML page in UTF-8. References to other
// instances become links to their rendered resources below studies, the URL of
// the studies resource without a slash at its end; there are none when it is "".
//
// Values that the data set does not hold (see dicom.Limits) are named and not
// shown. The error is fault.NotAcceptable when the data set has no content
// tree, before anything is written; any other is that of w.
func HTML(w io.Writer, d *dicom.Dataset, studies string) error {
	p, err := newPage(d, studies)
	if err != nil {
		return err
	}
	b := bufio.NewWriterSize(w, 32<<10)
	if err := page().Execute(b, p); err != nil {
		return err
	}
	return b.Flush()
}

// ContentSecurityPolicy returns the value of the header of that name for pages
// that HTML writes: nothing is loaded and nothing runs but the embedded style.
func ContentSecurityPolicy() string {
	sum := sha256.Sum256([]byte(style))
	return "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'; base-uri 'none'; form-action 'none'"
}

var (
	//go:embed style.css
	style string
	//go:embed page.html
	source string
)

// page returns the parsed template. It has the style and the policy in it, so
// that the page is safe where nobody sends the header.
var page = sync.OnceValue(func() *template.Template {
	text := strings.NewReplacer("STYLE", style, "POLICY", ContentSecurityPolicy()).Replace(source)
	return template.Must(template.New("page").Parse(text))
})

// view is one page: what the template is given.
type view struct {
	Title  string
	Status []status
	Facts  []fact
	Root   *item
	Hidden int    // content items that are left out
	Lang   string // of the content; "" when it does not say
	Class  string

	studies  string
	evidence map[string]place
	left     int // content items that may still be shown
}

func newPage(d *dicom.Dataset, studies string) (*view, error) {
	kind, ok := d.Text(valueType)
	content := d.Lookup(contentSequence)
	if (!ok || kind == "") && content == nil {
		return nil, fault.New(fault.NotAcceptable, "this instance has no content tree, so there is no report to show")
	}
	p := &view{studies: studies, left: maxItems, Lang: language(d), Class: className(short(d, 0x00080016))}
	p.evidence = evidence(d)
	p.Root = newItem(p, d, "i1", 0)
	all, near := count(d, 0)
	p.Hidden = all - min(near, maxItems)
	if p.Title = codeIn(d, conceptName).Text(); p.Title == "" {
		p.Title = p.Class
	}
	p.Status = statuses(d)
	p.Facts = p.facts(d)
	p.left--
	return p, nil
}

// count counts the content items of a tree, and those of them that are not
// nested too deep to be shown.
func count(d *dicom.Dataset, depth int) (all, near int) {
	all = 1
	if depth <= maxDepth {
		near = 1
	}
	for _, child := range items(d, contentSequence) {
		a, n := count(child, depth+1)
		all, near = all+a, near+n
	}
	return all, near
}
