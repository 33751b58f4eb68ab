package dicomweb

import (
	"context"
	"iter"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/labstack/echo/v4"

	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/internal/retrieve"
)

// getFrames answers with frames of an instance (PS3.18 §10.4.1.1.6), as the
// parts of a message in the order asked for, or when asked and there is one
// only, as the body.
func (s *Server) getFrames(c echo.Context) error {
	numbers, err := framesOf(c)
	if err != nil {
		return err
	}
	list, err := s.find(c, retrieve.Layouts)
	if err != nil {
		return err
	}
	in := &list[0]
	bodies, err := s.frames(in, numbers, "")
	if err != nil {
		return err
	}
	f, err := s.choosePixels(c.Request().Context(), wants(ParseAccept(c.Request()), true), in, bodies[0], len(numbers), true)
	if err != nil {
		return err
	}
	from := bodies[0].Syntax
	if !f.stored {
		if bodies, err = s.frames(in, numbers, f.syntax); err != nil {
			return err
		}
	}
	first := bodies[0]
	contentType := withSyntax(first.MediaType, f.called)
	if !f.multipart {
		etag := etagOf(first.Version, strconv.Itoa(numbers[0]), contentType)
		if !reproducible(from, first.Syntax) {
			etag = "W/" + etag
		}
		if unchanged(c, etag, cachePixels) {
			return nil
		}
		return sendBody(c, contentType, etag, first)
	}
	if unchanged(c, "W/"+etagOf(first.Version, c.Param("frames"), contentType), cachePixels) {
		return nil
	}
	url := instanceURL(s.BaseURL(c.Request()), &in.UIDs) + "/frames/"
	boundary := newBoundary()
	parts := make([]part, len(bodies))
	for i, b := range bodies {
		parts[i] = part{b, contentType, url + strconv.Itoa(numbers[i])}
	}
	size := partsSize(boundary, parts)
	return sendParts(c, http.StatusOK, first.MediaType, boundary, size, size >= aheadFrom, retrieve.Ahead(c.Request().Context(), each(parts), part.content))
}

// frames opens frames of an instance in a transfer syntax; "" is as stored.
func (s *Server) frames(in *retrieve.Instance, numbers []int, syntax string) ([]*retrieve.Body, error) {
	bodies := make([]*retrieve.Body, len(numbers))
	for i, n := range numbers {
		var err error
		if bodies[i], err = s.o.Retrieve.Frame(in, n, syntax); err != nil {
			return nil, err
		}
	}
	return bodies, nil
}

// partsSize is the size of a message of the parts, -1 when that of one is not known.
func partsSize(boundary string, parts []part) int64 {
	size := closeOverhead(boundary)
	for i, p := range parts {
		if p.body.Size < 0 {
			return -1
		}
		size += p.body.Size + partOverhead(boundary, p.contentType, p.location, i == 0)
	}
	return size
}

func each(parts []part) iter.Seq2[part, error] {
	return func(yield func(part, error) bool) {
		for _, p := range parts {
			if !yield(p, nil) {
				return
			}
		}
	}
}

// maxFrames bounds the frames of one request.
const maxFrames = 20_000

// framesOf reads the frame list of the path.
func framesOf(c echo.Context) ([]int, error) {
	v := c.Param("frames")
	if strings.Contains(v, "/") { // the last parameter of a path takes all the rest
		return nil, echo.ErrNotFound
	}
	return frameNumbers(v)
}

// frameNumbers reads a list such as "1,2,3". The path has been unescaped.
func frameNumbers(v string) ([]int, error) {
	list := make([]int, 0, 1+strings.Count(v, ","))
	if cap(list) > maxFrames {
		return nil, fault.New(fault.TooLarge, "a request may name %d frames; ask for fewer at a time", maxFrames)
	}
	for item := range strings.SplitSeq(v, ",") {
		n, err := strconv.ParseUint(strings.TrimSpace(item), 10, 31)
		if err != nil || n == 0 {
			return nil, fault.New(fault.Invalid, "frames are asked for by a list of numbers from 1, such as /frames/1,2,3")
		}
		list = append(list, int(n))
	}
	return list, nil
}

// choosePixels finds how the client takes count pixel values that are stored
// like b. With convert, they may be given in another transfer syntax than they
// are stored in.
func (s *Server) choosePixels(ctx context.Context, accept accepts, in *retrieve.Instance, b *retrieve.Body, count int, convert bool) (form, error) {
	forms, single := accept.pixels(b.MediaType, b.Syntax), false
	forms = slices.DeleteFunc(forms, func(f form) bool {
		if !f.stored && !convert {
			return true
		}
		single = single || !f.multipart
		return !f.multipart && count > 1
	})
	f, err := s.convertible(ctx, in, forms)
	switch {
	case f != nil:
		return *f, nil
	case err != nil && !fault.Is(err, fault.NotAcceptable):
		return form{}, err
	case err == nil && single:
		return form{}, fault.New(fault.NotAcceptable, "only multipart/related can carry %d frames; ask with Accept: multipart/related; type=%q; transfer-syntax=*", count, b.MediaType)
	case err != nil || accept.meansPixels(b.MediaType):
		return form{}, notAcceptableSyntax([]retrieve.Instance{*in}, err)
	}
	return form{}, fault.New(fault.NotAcceptable, "these pixels are stored as %s in transfer syntax %s; ask with Accept: multipart/related; type=%q; transfer-syntax=*, or for the resource rendered to look at them", b.MediaType, syntaxName(b.Syntax), b.MediaType)
}

// meansPixels reports whether the client named a media type of pixels, though
// in a transfer syntax that there is not.
func (a *accepts) meansPixels(stored string) bool {
	return slices.ContainsFunc(a.list, func(w want) bool { return w.takes(stored) || w.takes(octets) })
}
