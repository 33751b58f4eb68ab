package dicomweb

import (
	"context"
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
	multipart, chosen, why, err := s.chooseFiles(c.Request().Context(), accept, list)
	if err != nil {
		return err
	}
	if len(chosen) == 0 {
		return notAcceptableFiles(accept, list, why)
	}
	if !multipart {
		return s.sendFile(c, chosen[0].in, chosen[0].syntax)
	}
	version := make([]string, 0, 2*len(chosen)+1)
	for _, f := range chosen {
		version = append(version, string(f.in.Blob[:]), f.syntax)
	}
	if unchanged(c, "W/"+etagOf(append(version, "parts")...), cachePixels) {
		return nil
	}
	status := http.StatusOK
	if len(chosen) < len(list) {
		status = http.StatusPartialContent
		warn(c, s.BaseURL(c.Request()), "some instances cannot be given in a transfer syntax that was accepted; ask with transfer-syntax=* for all of them")
	}
	boundary := newBoundary()
	size, long := filesSize(boundary, chosen)
	return sendParts(c, status, typeDICOM, boundary, size, long, s.files(c.Request().Context(), chosen))
}

// file is an instance and the transfer syntax it is to be given in.
type file struct {
	in     *retrieve.Instance
	syntax string
}

// chooseFiles returns the instances that can be given as the client wants them.
// Of those that cannot, why is the reason of the first.
func (s *Server) chooseFiles(ctx context.Context, accept accepts, list []retrieve.Instance) (multipart bool, chosen []file, why, err error) {
	for i := range list {
		forms := accept.files(list[i].Syntax)
		if len(list) > 1 {
			forms = slices.DeleteFunc(forms, func(f form) bool { return !f.multipart })
		}
		f, err := s.convertible(ctx, &list[i], forms)
		switch {
		case err != nil && !fault.Is(err, fault.NotAcceptable):
			return false, nil, nil, err
		case err != nil && why == nil:
			why = err
		case f != nil:
			chosen, multipart = append(chosen, file{&list[i], f.syntax}), f.multipart
		}
	}
	return multipart, chosen, why, nil
}

// convertible returns the first of the forms that the instance can be given in.
// It is nil, without an error, when there are no forms; else the error says why
// the first one is impossible.
func (s *Server) convertible(ctx context.Context, in *retrieve.Instance, forms []form) (*form, error) {
	var why error
	for i := range forms {
		if forms[i].stored {
			return &forms[i], nil
		}
		err := s.o.Retrieve.Convertible(ctx, in, forms[i].syntax)
		switch {
		case err == nil:
			return &forms[i], nil
		case !fault.Is(err, fault.NotAcceptable):
			return nil, err
		case why == nil:
			why = err
		}
	}
	return nil, why
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

// files opens the files one after another; what has to be converted is begun
// while those before it are sent.
func (s *Server) files(ctx context.Context, chosen []file) iter.Seq2[part, error] {
	return retrieve.Ahead(ctx, func(yield func(part, error) bool) {
		for _, f := range chosen {
			b, err := s.o.Retrieve.File(f.in, f.syntax)
			if !yield(part{body: b, contentType: withSyntax(typeDICOM, f.syntax)}, err) || err != nil {
				return
			}
		}
	}, part.content)
}

// sendFile answers with one Part 10 file as the body.
func (s *Server) sendFile(c echo.Context, in *retrieve.Instance, syntax string) error {
	b, err := s.o.Retrieve.File(in, syntax)
	if err != nil {
		return err
	}
	etag := etagOf(b.Version, b.Syntax)
	if !reproducible(in.Syntax, b.Syntax) {
		etag = "W/" + etag
	}
	if unchanged(c, etag, cachePixels) {
		return nil
	}
	// A file may begin with anything: browsers are to save it, not to look at it.
	c.Response().Header().Set("Content-Disposition", `attachment; filename="`+in.Instance+`.dcm"`)
	return sendBody(c, withSyntax(typeDICOM, b.Syntax), etag, b)
}

// reproducible reports whether a conversion gives the same bytes whenever and
// wherever it is made, which a strong entity tag promises: what is not
// compressed, made of what was compressed without loss, is determined. Other
// decoders round in their own way, and encoders and deflating change with
// their versions.
func reproducible(from, to string) bool {
	if from == to {
		return true
	}
	if !dicom.Uncompressed(to) || to == dicom.DeflatedExplicitVRLittleEndian {
		return false
	}
	switch from {
	case dicom.RLELossless, dicom.JPEGLossless, dicom.JPEGLosslessSV1, dicom.JPEGLSLossless, dicom.JPEG2000Lossless,
		dicom.HTJ2KLossless, dicom.HTJ2KLosslessRPCL, dicom.EncapsulatedUncompressed, dicom.DeflatedImageFrame:
		return true
	}
	return dicom.Uncompressed(from)
}

// notAcceptableFiles says why nothing can be given, and what to ask for.
func notAcceptableFiles(accept accepts, list []retrieve.Instance, why error) error {
	takesDICOM, multipart := false, false
	for i := range accept.list {
		if accept.list[i].takes(typeDICOM) {
			takesDICOM, multipart = true, multipart || accept.list[i].multipart
		}
	}
	switch {
	case !takesDICOM:
		return fault.New(fault.NotAcceptable, "instances are given as application/dicom; ask with Accept: multipart/related; type=\"application/dicom\"; transfer-syntax=*, or for the resource rendered to look at them")
	case !multipart && len(list) > 1:
		return fault.New(fault.NotAcceptable, "there are %d instances, which only multipart/related can carry; ask with Accept: multipart/related; type=\"application/dicom\"; transfer-syntax=*", len(list))
	}
	return notAcceptableSyntax(list, why)
}

// notAcceptableSyntax names the transfer syntaxes that there are, and says why
// there is no other.
func notAcceptableSyntax(list []retrieve.Instance, why error) error {
	const most = 5
	var names []string
	for i := range list {
		if n := syntaxName(list[i].Syntax); !slices.Contains(names, n) && len(names) < most {
			names = append(names, n)
		}
	}
	stored, hint := strings.Join(names, ", "), "ask with transfer-syntax=* for the bytes as stored"
	if len(list) > 0 && dicom.Uncompressed(list[0].Syntax) {
		hint = "ask without transfer-syntax for Explicit VR Little Endian, or with transfer-syntax=* for the bytes as stored"
	}
	if why != nil {
		return fault.New(fault.NotAcceptable, "%s (this is stored in transfer syntax %s; %s)", strings.TrimRight(fault.Message(why), "."), stored, hint)
	}
	return fault.New(fault.NotAcceptable, "this is stored in transfer syntax %s, which the request does not accept; %s", stored, hint)
}
