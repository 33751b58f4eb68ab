package dicomweb

import (
	"bytes"
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
	in     *retrieve.Instance
	path   string // below the instance's URL
	body   *retrieve.Body
	frame  int    // 0 unless it is one
	called string // its transfer syntax in the answer
}

func (v *bulk) contentType() string {
	if v.body.Syntax == "" { // documents have none
		return v.body.MediaType
	}
	return withSyntax(v.body.MediaType, v.called)
}

// give gives the value the form that the client wants.
func (s *Server) give(v bulk, f form) (bulk, error) {
	v.called = f.called
	if f.stored {
		return v, nil
	}
	var err error
	v.body, err = s.o.Retrieve.Frame(v.in, v.frame, f.syntax)
	return v, err
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
			values, err = []bulk{{in: in, path: "/bulkdata/" + path, body: b}}, s.documentType(c, in, path, b)
		}
	}
	if err != nil {
		return err
	}
	f, err := s.choosePixels(c.Request().Context(), wants(ParseAccept(c.Request()), len(values) > 1), in, values[0].body, len(values), values[0].frame > 0)
	if err != nil {
		return err
	}
	for i := range values {
		if values[i], err = s.give(values[i], f); err != nil {
			return err
		}
	}
	if f.multipart {
		return s.sendBulk(c, list, path, false, values)
	}
	return sendValue(c, &values[0])
}

// sendValue answers with one value as the body.
func sendValue(c echo.Context, v *bulk) error {
	contentType := v.contentType()
	etag := etagOf(v.body.Version, v.path, contentType)
	if v.frame > 0 && !reproducible(v.in.Syntax, v.body.Syntax) {
		etag = "W/" + etag
	}
	if unchanged(c, etag, cachePixels) {
		return nil
	}
	// A value may hold anything: browsers are to save it, not to run it.
	c.Response().Header().Set("Content-Disposition", "attachment")
	return sendBody(c, contentType, etag, v.body)
}

// frameValues returns the frames of compressed Pixel Data.
func (s *Server) frameValues(in *retrieve.Instance, px retrieve.Pixels) ([]bulk, error) {
	values := make([]bulk, 0, px.Frames)
	for n := 1; n <= max(px.Frames, 1); n++ {
		b, err := s.o.Retrieve.Frame(in, n, "")
		if err != nil {
			return nil, err
		}
		values = append(values, bulk{in: in, path: "/frames/" + strconv.Itoa(n), body: b, frame: n})
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
	for _, w := range wants(ParseAccept(c.Request()), false).list {
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
		for _, w := range wants(ParseAccept(c.Request()), false).list {
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
			values = append(values, bulk{in: in, path: "/bulkdata/" + path, body: b})
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
		return []bulk{{in: in, path: "/bulkdata/" + px.Path, body: b}}, err
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
	taken, f, why := all[:0:0], form{}, error(nil)
	for i, v := range all {
		// Frames of one instance are taken alike.
		if i == 0 || v.frame <= 1 || v.in != all[i-1].in {
			if f, err = s.choosePixels(c.Request().Context(), accept, v.in, v.body, len(all), v.frame > 0); fault.Is(err, fault.NotAcceptable) {
				if why == nil {
					why = err
				}
				f, err = form{}, nil
			}
			if err != nil {
				return err
			}
		}
		if f.called == "" && v.body.Syntax != "" {
			continue
		}
		if v, err = s.give(v, f); err != nil {
			return err
		}
		if !f.multipart {
			return sendValue(c, &v)
		}
		taken = append(taken, v)
	}
	if len(taken) == 0 {
		return why
	}
	return s.sendBulk(c, list, what, len(taken) < len(all), taken)
}

// maxValues bounds the values of one answer.
const maxValues = 200_000

// sendBulk answers with values as parts; partial says that some are missing.
func (s *Server) sendBulk(c echo.Context, list []retrieve.Instance, what string, partial bool, values []bulk) error {
	version := []string{what, "parts"}
	for i := range list {
		version = append(version, string(list[i].Blob[:]))
	}
	for i := range values {
		version = append(version, values[i].contentType(), values[i].path)
	}
	if unchanged(c, "W/"+etagOf(version...), cachePixels) {
		return nil
	}
	base := s.BaseURL(c.Request())
	status := http.StatusOK
	if partial {
		status = http.StatusPartialContent
		warn(c, base, "some values cannot be given in a transfer syntax that was accepted; ask with transfer-syntax=* for all of them")
	}
	boundary := newBoundary()
	parts := make([]part, len(values))
	for i, v := range values {
		parts[i] = part{v.body, v.contentType(), locationOf(base, &v.in.UIDs, v.path)}
	}
	size := partsSize(boundary, parts)
	return sendParts(c, status, values[0].body.MediaType, boundary, size, size >= aheadFrom, retrieve.Ahead(c.Request().Context(), each(parts), part.content))
}

func locationOf(base string, u *archive.UIDs, path string) string { return instanceURL(base, u) + path }
