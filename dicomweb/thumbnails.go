package dicomweb

import (
	"strconv"
	"strings"

	"github.com/labstack/echo/v4"

	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/internal/thumbnail"
)

// getThumbnail answers with a small picture of what represents a study, a
// series or an instance, or of a frame (PS3.18 §10.4.1.1.4).
func (s *Server) getThumbnail(c echo.Context) error {
	sel, err := uids(c)
	if err != nil {
		return err
	}
	frame := 0
	if v := c.Param("frames"); v != "" {
		numbers, err := framesOf(c)
		if err != nil {
			return err
		}
		if len(numbers) != 1 {
			return fault.New(fault.Invalid, "a thumbnail is of one frame; ask for them one by one")
		}
		frame = numbers[0]
	}
	q, err := parseQuery(c.Request().URL.RawQuery)
	if err != nil {
		return err
	}
	v, err := thumbnailViewport(q)
	if err != nil {
		return err
	}
	f, ok := wants(ParseAccept(c.Request()), false).rendered([]string{thumbnail.MediaType}, false)
	if !ok {
		return fault.New(fault.NotAcceptable, "thumbnails are given as %s; accept that", thumbnail.MediaType)
	}
	b, err := s.o.Thumbnails.Thumbnail(c.Request().Context(), s.o.Tenant, sel, frame, v)
	if err != nil {
		return err
	}
	// A thumbnail once made is kept, but another version of the server may make another.
	etag := "W/" + etagOf(b.Version, "thumbnail")
	if unchanged(c, etag, cachePixels) {
		return nil
	}
	setPage(c, thumbnail.MediaType)
	if f.multipart {
		boundary := newBoundary()
		parts := []part{{b, thumbnail.MediaType, s.BaseURL(c.Request()) + strings.TrimPrefix(c.Request().URL.Path, Root)}}
		return sendParts(c, 200, thumbnail.MediaType, boundary, partsSize(boundary, parts), false, each(parts))
	}
	return sendBody(c, thumbnail.MediaType, etag, b)
}

// thumbnailViewport reads the viewport of a thumbnail, which has no region
// (PS3.18 §8.3.5.1.3). Without one it is the zero Viewport.
func thumbnailViewport(q query) (thumbnail.Viewport, error) {
	v, err := q.one("viewport")
	if err != nil || len(q["viewport"]) == 0 {
		return thumbnail.Viewport{}, err
	}
	w, h, _ := strings.Cut(v, ",")
	width, err1 := strconv.Atoi(strings.TrimSpace(w))
	height, err2 := strconv.Atoi(strings.TrimSpace(h))
	if err1 != nil || err2 != nil || width < 1 || height < 1 {
		return thumbnail.Viewport{}, fault.New(fault.Invalid, "the viewport of a thumbnail is width,height in pixels, such as viewport=128,128")
	}
	return thumbnail.Viewport{Width: width, Height: height}, nil
}
