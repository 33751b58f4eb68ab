package dicomweb

import (
	"iter"
	"net/http"
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
	if strings.Contains(c.Param("frames"), "/") { // the last parameter of a path takes all the rest
		return echo.ErrNotFound
	}
	numbers, err := frameNumbers(c.Param("frames"))
	if err != nil {
		return err
	}
	list, err := s.find(c, retrieve.Layouts)
	if err != nil {
		return err
	}
	in := &list[0]
	bodies := make([]*retrieve.Body, len(numbers))
	for i, n := range numbers {
		if bodies[i], err = s.o.Retrieve.Frame(in, n, ""); err != nil {
			return err
		}
	}
	first := bodies[0]
	multipart, syntax, err := choosePixels(wants(ParseAccept(c.Request()), true), first, len(bodies), list)
	if err != nil {
		return err
	}
	contentType := withSyntax(first.MediaType, syntax)
	if !multipart {
		etag := etagOf(first.Version, strconv.Itoa(numbers[0]), contentType)
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
	size := closeOverhead(boundary)
	parts := make([]part, len(bodies))
	for i, b := range bodies {
		parts[i] = part{b, contentType, url + strconv.Itoa(numbers[i])}
		size += b.Size + partOverhead(boundary, contentType, parts[i].location, i == 0)
	}
	return sendParts(c, http.StatusOK, first.MediaType, boundary, size, size >= aheadFrom, each(parts))
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

// choosePixels finds how the client takes count pixel values like b, and the
// transfer syntax to call them.
func choosePixels(accept []want, b *retrieve.Body, count int, list []retrieve.Instance) (multipart bool, syntax string, err error) {
	single := false
	for i := range accept {
		w := &accept[i]
		syntax, ok := w.pixels(b.MediaType, b.Syntax)
		if !ok {
			continue
		}
		if w.multipart || count == 1 {
			return w.multipart, syntax, nil
		}
		single = true
	}
	if single {
		return false, "", fault.New(fault.NotAcceptable, "only multipart/related can carry %d frames; ask with Accept: multipart/related; type=%q; transfer-syntax=*", count, b.MediaType)
	}
	for i := range accept {
		if accept[i].takes(b.MediaType) || accept[i].takes(octets) {
			return false, "", notAcceptableSyntax(list)
		}
	}
	return false, "", fault.New(fault.NotAcceptable, "these pixels are stored as %s in transfer syntax %s; ask with Accept: multipart/related; type=%q; transfer-syntax=*", b.MediaType, syntaxName(b.Syntax), b.MediaType)
}
