package dicomweb

import (
	"iter"
	"net/http"
	"slices"
	"strings"

	"github.com/labstack/echo/v4"

	"github.com/strata-pacs/strata/internal/dicom"
	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/internal/retrieve"
)

// aheadFrom is the size of answer in bytes from which making it overlaps sending it.
const aheadFrom = 4 << 20

// getInstances answers with the instances of a study or series, or with one
// (PS3.18 §10.4.1.1.1 to §10.4.1.1.3): as parts, or when asked and there is one
// only, as the body.
func (s *Server) getInstances(c echo.Context) error {
	list, err := s.find(c, retrieve.Files)
	if err != nil {
		return err
	}
	accept := wants(ParseAccept(c.Request()), true)
	multipart, chosen := chooseFiles(accept, list)
	if len(chosen) == 0 {
		return notAcceptableFiles(accept, list)
	}
	version := make([]string, 0, 2*len(chosen)+1)
	for _, f := range chosen {
		version = append(version, string(f.in.Blob[:]), f.syntax)
	}
	if !multipart {
		return s.sendFile(c, chosen[0].in, chosen[0].syntax)
	}
	if unchanged(c, "W/"+etagOf(append(version, "parts")...), cachePixels) {
		return nil
	}
	status := http.StatusOK
	if len(chosen) < len(list) {
		status = http.StatusPartialContent
		warn(c, s.BaseURL(c.Request()), "some instances are stored in a transfer syntax that was not accepted; ask with transfer-syntax=* for all of them")
	}
	boundary := newBoundary()
	size, long := filesSize(boundary, chosen)
	return sendParts(c, status, typeDICOM, boundary, size, long, s.files(chosen))
}

// file is an instance and the transfer syntax it is to be given in.
type file struct {
	in     *retrieve.Instance
	syntax string
}

// chooseFiles follows the client's preference between parts and a single body,
// and returns the instances that can be given so.
func chooseFiles(accept []want, list []retrieve.Instance) (multipart bool, chosen []file) {
	for _, w := range accept {
		if !w.takes(typeDICOM) || !w.multipart && len(list) > 1 {
			continue
		}
		for i := range list {
			if syntax, ok := fileSyntax(accept, w.multipart, list[i].Syntax); ok {
				chosen = append(chosen, file{&list[i], syntax})
			}
		}
		if len(chosen) > 0 {
			return w.multipart, chosen
		}
	}
	return false, nil
}

// filesSize returns the size of the whole message, -1 when a conversion decides
// it, and whether it is long.
func filesSize(boundary string, chosen []file) (size int64, long bool) {
	size = closeOverhead(boundary)
	known := true
	for i, f := range chosen {
		size += f.in.Size + partOverhead(boundary, withSyntax(typeDICOM, f.syntax), "", i == 0)
		known = known && f.syntax == f.in.Syntax
	}
	long = size >= aheadFrom
	if !known {
		size = -1
	}
	return size, long
}

func (s *Server) files(chosen []file) iter.Seq2[part, error] {
	return func(yield func(part, error) bool) {
		for _, f := range chosen {
			b, err := s.o.Retrieve.File(f.in, f.syntax)
			if !yield(part{body: b, contentType: withSyntax(typeDICOM, f.syntax)}, err) || err != nil {
				return
			}
		}
	}
}

// sendFile answers with one Part 10 file as the body.
func (s *Server) sendFile(c echo.Context, in *retrieve.Instance, syntax string) error {
	b, err := s.o.Retrieve.File(in, syntax)
	if err != nil {
		return err
	}
	etag := etagOf(b.Version, b.Syntax)
	if unchanged(c, etag, cachePixels) {
		return nil
	}
	// A file may begin with anything: browsers are to save it, not to look at it.
	c.Response().Header().Set("Content-Disposition", `attachment; filename="`+in.Instance+`.dcm"`)
	return sendBody(c, withSyntax(typeDICOM, b.Syntax), etag, b)
}

// notAcceptableFiles says why nothing can be given, and what to ask for.
func notAcceptableFiles(accept []want, list []retrieve.Instance) error {
	takesDICOM, multipart := false, false
	for i := range accept {
		if accept[i].takes(typeDICOM) {
			takesDICOM, multipart = true, multipart || accept[i].multipart
		}
	}
	switch {
	case !takesDICOM:
		return fault.New(fault.NotAcceptable, "instances are given as application/dicom; ask with Accept: multipart/related; type=\"application/dicom\"; transfer-syntax=*")
	case !multipart && len(list) > 1:
		return fault.New(fault.NotAcceptable, "there are %d instances, which only multipart/related can carry; ask with Accept: multipart/related; type=\"application/dicom\"; transfer-syntax=*", len(list))
	}
	return notAcceptableSyntax(list)
}

// notAcceptableSyntax names the transfer syntaxes that there are.
func notAcceptableSyntax(list []retrieve.Instance) error {
	const most = 5
	var names []string
	for i := range list {
		if n := syntaxName(list[i].Syntax); !slices.Contains(names, n) && len(names) < most {
			names = append(names, n)
		}
	}
	hint := "ask with transfer-syntax=* for the bytes as stored"
	if len(list) > 0 && dicom.Uncompressed(list[0].Syntax) {
		hint = "ask without transfer-syntax for Explicit VR Little Endian, or with transfer-syntax=* for the bytes as stored"
	}
	return fault.New(fault.NotAcceptable, "this is stored in transfer syntax %s, which the request does not accept and which cannot be converted to what it does; %s", strings.Join(names, ", "), hint)
}
