package dicomweb

import (
	"bytes"
	"iter"
	"net/http"
	"strconv"

	"github.com/labstack/echo/v4"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/internal/retrieve"
)

// bulk is one value of an answer: a bulk value of an instance, or a frame of
// compressed Pixel Data.
type bulk struct {
	in   *retrieve.Instance
	path string // below the instance's URL
	body *retrieve.Body
}

// getBulkValue answers a BulkDataURI (PS3.18 §10.4.1.1.5): the value as the body,
// of which a range may be asked for, or as the only part when asked. Of compressed
// Pixel Data the frames are the parts.
func (s *Server) getBulkValue(c echo.Context) error {
	list, err := s.find(c, retrieve.Layouts)
	if err != nil {
		return err
	}
	in, path := &list[0], c.Param("*")
	px, err := in.Pixels()
	if err != nil {
		return err
	}
	var values []bulk
	if path == px.Path && px.Encapsulated {
		values, err = s.frameValues(in, px)
	} else {
		var b *retrieve.Body
		if b, err = s.o.Retrieve.Bulk(in, path); err == nil {
			values, err = []bulk{{in, "/bulkdata/" + path, b}}, s.documentType(c, in, path, b)
		}
	}
	if err != nil {
		return err
	}
	first := values[0].body
	multipart, syntax, err := choosePixels(wants(ParseAccept(c.Request()), len(values) > 1), first, len(values), list)
	if err != nil {
		return err
	}
	contentType := contentTypeOf(first, syntax)
	if multipart {
		return s.sendBulk(c, list, path, first.MediaType, values)
	}
	etag := etagOf(first.Version, path, contentType)
	if unchanged(c, etag, cachePixels) {
		return nil
	}
	// A value may hold anything: browsers are to save it, not to run it.
	c.Response().Header().Set("Content-Disposition", "attachment")
	return sendBody(c, contentType, etag, first)
}

// contentTypeOf names the transfer syntax with everything but documents, which have none.
func contentTypeOf(b *retrieve.Body, syntax string) string {
	if b.Syntax == "" {
		return b.MediaType
	}
	return withSyntax(b.MediaType, syntax)
}

// frameValues returns the frames of compressed Pixel Data.
func (s *Server) frameValues(in *retrieve.Instance, px retrieve.Pixels) ([]bulk, error) {
	values := make([]bulk, 0, px.Frames)
	for n := 1; n <= max(px.Frames, 1); n++ {
		b, err := s.o.Retrieve.Frame(in, n, "")
		if err != nil {
			return nil, err
		}
		values = append(values, bulk{in, "/frames/" + strconv.Itoa(n), b})
	}
	return values, nil
}

// encapsulatedDocument is the path of Encapsulated Document (0042,0011).
const encapsulatedDocument = "00420011"

// documentType gives an encapsulated document its own media type where the
// client asks for that, and not for octets.
func (s *Server) documentType(c echo.Context, in *retrieve.Instance, path string, b *retrieve.Body) error {
	if path != encapsulatedDocument {
		return nil
	}
	asked := false
	for _, w := range wants(ParseAccept(c.Request()), false) {
		asked = asked || w.mediaType != "" && w.mediaType != octets && w.mediaType != "application/*"
	}
	if !asked {
		return nil
	}
	m, err := s.o.Retrieve.Metadata(c.Request().Context(), s.o.Tenant, in.UIDs)
	if err != nil {
		return err
	}
	var json bytes.Buffer
	if err := m.WriteJSON(c.Request().Context(), &json, ""); err != nil {
		return err
	}
	if t := documentMediaType(json.Bytes()); t != "" {
		for _, w := range wants(ParseAccept(c.Request()), false) {
			if w.mediaType == t {
				b.MediaType, b.Syntax = t, ""
			}
		}
	}
	return nil
}

// documentMediaType reads the MIME Type of Encapsulated Document (0042,0012) of
// DICOM JSON; "" for one that a browser would run.
func documentMediaType(json []byte) string {
	_, rest, _ := bytes.Cut(json, []byte(`"00420012":{"vr":"LO","Value":["`))
	v, _, _ := bytes.Cut(rest, []byte(`"`))
	switch t := string(v); t {
	case "application/pdf", "model/stl", "model/obj", "model/mtl", "application/sla":
		return t
	}
	return ""
}

// getBulkdata answers with all bulk values of a study, series or instance.
func (s *Server) getBulkdata(c echo.Context) error {
	return s.getValues(c, "bulkdata", func(in *retrieve.Instance, px retrieve.Pixels) ([]bulk, error) {
		paths, err := in.BulkPaths()
		if err != nil {
			return nil, err
		}
		var values []bulk
		for _, path := range paths {
			if path == px.Path && px.Encapsulated {
				frames, err := s.frameValues(in, px)
				if err != nil {
					return nil, err
				}
				values = append(values, frames...)
				continue
			}
			b, err := s.o.Retrieve.Bulk(in, path)
			if err != nil {
				return nil, err
			}
			values = append(values, bulk{in, "/bulkdata/" + path, b})
		}
		return values, nil
	})
}

// getPixeldata answers with the pixel data of a study, series or instance:
// native as one value, compressed a frame a part.
func (s *Server) getPixeldata(c echo.Context) error {
	return s.getValues(c, "pixeldata", func(in *retrieve.Instance, px retrieve.Pixels) ([]bulk, error) {
		switch {
		case px.Path == "":
			return nil, nil
		case px.Encapsulated:
			return s.frameValues(in, px)
		}
		b, err := s.o.Retrieve.Bulk(in, px.Path)
		return []bulk{{in, "/bulkdata/" + px.Path, b}}, err
	})
}

// getValues answers with the values of every instance that the path names.
// Those that the client does not accept are left out, and 206 says so.
func (s *Server) getValues(c echo.Context, what string, values func(*retrieve.Instance, retrieve.Pixels) ([]bulk, error)) error {
	list, err := s.find(c, retrieve.Layouts)
	if err != nil {
		return err
	}
	var all []bulk
	for i := range list {
		px, err := list[i].Pixels()
		if err != nil {
			return err
		}
		v, err := values(&list[i], px)
		if err != nil {
			return err
		}
		if all = append(all, v...); len(all) > maxValues {
			return fault.New(fault.TooLarge, "there are more than %d values; ask for a series or an instance at a time", maxValues)
		}
	}
	if len(all) == 0 {
		return fault.New(fault.NotFound, "there is no %s here", what)
	}
	accept := wants(ParseAccept(c.Request()), true)
	if len(all) == 1 {
		multipart, syntax, err := choosePixels(accept, all[0].body, 1, list)
		if err == nil && !multipart {
			contentType := contentTypeOf(all[0].body, syntax)
			etag := etagOf(all[0].body.Version, all[0].path, contentType)
			if unchanged(c, etag, cachePixels) {
				return nil
			}
			c.Response().Header().Set("Content-Disposition", "attachment")
			return sendBody(c, contentType, etag, all[0].body)
		}
	}
	taken, mediaType := all[:0:0], ""
	for _, v := range all {
		multipart, _, e := choosePixels(accept, v.body, 2, list)
		if e != nil || !multipart {
			if err == nil {
				err = e
			}
			continue
		}
		if taken = append(taken, v); mediaType == "" {
			mediaType = v.body.MediaType
		}
	}
	if len(taken) == 0 {
		return err
	}
	if len(taken) < len(all) {
		c.Set(keyPartial, true)
	}
	return s.sendBulk(c, list, what, mediaType, taken)
}

// maxValues bounds the values of one answer; keyPartial marks one that lacks some.
const (
	maxValues  = 200_000
	keyPartial = "partial"
)

// sendBulk answers with values as parts.
func (s *Server) sendBulk(c echo.Context, list []retrieve.Instance, what, mediaType string, values []bulk) error {
	version := []string{what, "parts"}
	for i := range list {
		version = append(version, string(list[i].Blob[:]))
	}
	for i := range values {
		version = append(version, values[i].body.MediaType, values[i].path)
	}
	if unchanged(c, "W/"+etagOf(version...), cachePixels) {
		return nil
	}
	base := s.BaseURL(c.Request())
	status := http.StatusOK
	if c.Get(keyPartial) != nil {
		status = http.StatusPartialContent
		warn(c, base, "some values are stored in a transfer syntax that was not accepted; ask with transfer-syntax=* for all of them")
	}
	boundary := newBoundary()
	size := closeOverhead(boundary)
	for i, v := range values {
		size += v.body.Size + partOverhead(boundary, contentTypeOf(v.body, v.body.Syntax), locationOf(base, &v.in.UIDs, v.path), i == 0)
	}
	return sendParts(c, status, mediaType, boundary, size, size >= aheadFrom, s.bulkParts(base, values))
}

func locationOf(base string, u *archive.UIDs, path string) string { return instanceURL(base, u) + path }

func (s *Server) bulkParts(base string, values []bulk) iter.Seq2[part, error] {
	return func(yield func(part, error) bool) {
		for _, v := range values {
			if !yield(part{v.body, contentTypeOf(v.body, v.body.Syntax), locationOf(base, &v.in.UIDs, v.path)}, nil) {
				return
			}
		}
	}
}
