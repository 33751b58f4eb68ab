package dicomweb

import (
	"net/url"
	"strings"

	"github.com/labstack/echo/v4"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/internal/retrieve"
)

// getWADOURI answers the URI service (PS3.18 §9) with the instance as
// application/dicom. Rendered images, frames and de-identified copies are not
// made here.
func (s *Server) getWADOURI(c echo.Context) error {
	q, err := url.ParseQuery(c.Request().URL.RawQuery)
	if err != nil {
		return fault.New(fault.Invalid, "the query cannot be read: a parameter is not percent-encoded properly")
	}
	if v := q.Get("requestType"); v != "WADO" {
		return fault.New(fault.Invalid, "the parameter requestType has to be WADO")
	}
	sel := archive.UIDs{Study: q.Get("studyUID"), Series: q.Get("seriesUID"), Instance: q.Get("objectUID")}
	for _, p := range [...]struct{ name, uid string }{{"studyUID", sel.Study}, {"seriesUID", sel.Series}, {"objectUID", sel.Instance}} {
		if !validUID(p.uid) {
			return fault.New(fault.Invalid, "the parameter %s has to be a UID of up to 64 digits and dots", p.name)
		}
	}
	if v := q.Get("anonymize"); v != "" && v != "no" {
		return fault.New(fault.NotAcceptable, "this service does not de-identify; ask without the parameter anonymize")
	}
	if q.Has("frameNumber") {
		return fault.New(fault.NotAcceptable, "this service gives whole instances; frames are at /studies/{study}/series/{series}/instances/{instance}/frames/{number}")
	}
	if err := uriContentType(c, q["contentType"]); err != nil {
		return err
	}
	list, err := s.o.Retrieve.Find(c.Request().Context(), s.o.Tenant, sel, retrieve.Files)
	if err != nil {
		return err
	}
	if len(list) == 0 {
		return errNothing
	}
	accept := accepts{list: []want{{mediaType: typeDICOM, syntax: strings.TrimSpace(q.Get("transferSyntax")), q: 1000}}}
	f, err := s.convertible(c.Request().Context(), &list[0], accept.files(list[0].Syntax))
	if fault.Is(err, fault.NotAcceptable) {
		return notAcceptableSyntax(list, err)
	} else if err != nil {
		return err
	}
	return s.sendFile(c, &list[0], f.syntax)
}

// uriContentType checks that application/dicom is among what the contentType
// parameter lists (PS3.18 §9.1.2.2.1), or without one, what the Accept header does.
func uriContentType(c echo.Context, values []string) error {
	var a Accept
	for _, v := range values {
		a = appendRanges(a, v)
	}
	if len(a) == 0 {
		a = ParseAccept(c.Request())
	}
	for _, w := range wants(a, false).list {
		if w.takes(typeDICOM) {
			return nil
		}
	}
	if len(values) > 0 && len(a) == 0 {
		return fault.New(fault.Invalid, "the parameter contentType is not a media type; ask with contentType=application/dicom")
	}
	return fault.New(fault.NotAcceptable, "this service gives application/dicom; ask with contentType=application/dicom")
}
