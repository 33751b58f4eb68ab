package dicomweb

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/labstack/echo/v4"

	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/internal/pixel/render"
	"github.com/strata-pacs/strata/internal/report"
	"github.com/strata-pacs/strata/internal/retrieve"
)

// Media types of what is rendered beside pictures.
const (
	typeHTML = "text/html"
	typePDF  = "application/pdf"
)

// picture is one thing to render: an instance, or frames of it.
type picture struct {
	in        *retrieve.Instance
	frames    []int // from 1; nil is the instance
	mediaType string
	path      string // below the instance's URL
}

// rendering is how a client wants things rendered.
type rendering struct {
	options render.Options
	studies string // URL that links of a page begin with
}

// getRendered answers with what a person sees of a study, a series or an
// instance (PS3.18 §10.4.1.1.3): of one instance the picture, the page, the
// document or the video as the body; of a study or series one part each.
func (s *Server) getRendered(c echo.Context) error {
	o, err := renderOptions(c.Request().URL.RawQuery)
	if err != nil {
		return err
	}
	list, err := s.find(c, retrieve.Layouts)
	if err != nil {
		return err
	}
	whole := c.Param(paramInstance) == ""
	accept := wants(ParseAccept(c.Request()), whole)
	var chosen []picture
	var types []string
	multipart, left := false, 0
	for i := range list {
		t := s.o.Retrieve.Renderings(&list[i])
		f, ok := accept.rendered(t, len(list) > 1)
		if ok && len(chosen) < maxRendered {
			chosen = append(chosen, picture{&list[i], nil, f.mediaType, "/rendered"})
			multipart = multipart || f.multipart
			continue
		}
		left++
		if types == nil {
			types = t
		}
	}
	base := s.BaseURL(c.Request())
	r := rendering{o, base + pathStudies}
	switch {
	case len(chosen) == 0:
		return notRendered(types)
	case len(list) == 1 && !multipart:
		return s.sendRendered(c, chosen[0], r)
	case len(chosen) == maxRendered && left > 0:
		warn(c, base, "there is more than the "+strconv.Itoa(maxRendered)+" that one answer has; ask for a series or an instance at a time")
	case left > 0:
		warn(c, base, "some instances cannot be rendered as what was accepted")
	}
	status := http.StatusOK
	if left > 0 {
		status = http.StatusPartialContent
	}
	return s.sendPictures(c, status, chosen, r)
}

// maxRendered bounds the parts of an answer with rendered resources.
const maxRendered = 1000

// getRenderedFrames answers with pictures of frames in the order asked for
// (PS3.18 §10.4.1.1.3): of one as the body, of several as parts; of several as
// GIF one animation.
func (s *Server) getRenderedFrames(c echo.Context) error {
	o, err := renderOptions(c.Request().URL.RawQuery)
	if err != nil {
		return err
	}
	numbers, err := framesOf(c)
	if err != nil {
		return err
	}
	list, err := s.find(c, retrieve.Layouts)
	if err != nil {
		return err
	}
	in := &list[0]
	px, err := in.Pixels()
	if err != nil {
		return err
	}
	types := s.o.Retrieve.Renderings(in)
	f, ok := wants(ParseAccept(c.Request()), len(numbers) > 1).rendered(types, len(numbers) > 1)
	switch {
	case px.Path != "" && slices.Max(numbers) > px.Frames:
		return fault.New(fault.NotFound, "this instance has %d frames, counted from 1", px.Frames)
	case !ok:
		return notRendered(types)
	case len(numbers) > maxRendered && f.mediaType != render.GIF:
		return fault.New(fault.TooLarge, "one answer has %d pictures; ask for fewer frames at a time", maxRendered)
	}
	r := rendering{o, s.BaseURL(c.Request()) + pathStudies}
	if len(numbers) == 1 || f.mediaType == render.GIF {
		p := picture{in, numbers, f.mediaType, "/frames/" + strings.ReplaceAll(c.Param("frames"), " ", "") + "/rendered"}
		if f.multipart && f.mediaType != render.GIF {
			return s.sendPictures(c, http.StatusOK, []picture{p}, r)
		}
		return s.sendRendered(c, p, r)
	}
	chosen := make([]picture, len(numbers))
	for i, n := range numbers {
		chosen[i] = picture{in, numbers[i : i+1], f.mediaType, "/frames/" + strconv.Itoa(n) + "/rendered"}
	}
	return s.sendPictures(c, http.StatusOK, chosen, r)
}

// rendered chooses among media types, given best first. Where there are several
// things to give they come as parts, whether or not the client says so: the
// rendered media types that it names are those of the parts (PS3.18 §8.7.4).
func (a accepts) rendered(types []string, several bool) (form, bool) {
	var forms []form
	for i := range a.list {
		w := &a.list[i]
		for _, t := range types {
			if w.takes(t) && !a.refuses(w, t, "") {
				forms = append(forms, form{multipart: w.multipart || several, mediaType: t, q: w.q})
			}
		}
	}
	if len(forms) == 0 {
		return form{}, false
	}
	return sorted(forms)[0], true
}

// notRendered says what there is instead.
func notRendered(types []string) error {
	if len(types) == 0 {
		return fault.New(fault.NotAcceptable, "there is nothing here that could be shown: no image, structured report, PDF or video; retrieve it as application/dicom")
	}
	return fault.New(fault.NotAcceptable, "this is rendered as %s; accept one of them", strings.Join(types, ", "))
}

// render makes what the client sees of p. A video's container shows only then:
// its media type may be another than was hoped for.
func (s *Server) render(ctx context.Context, p picture, r rendering) (*retrieve.Body, error) {
	var b *retrieve.Body
	var err error
	if p.mediaType == typeHTML {
		b, err = s.o.Retrieve.Report(ctx, p.in, r.studies)
	} else {
		b, err = s.o.Retrieve.Rendered(ctx, p.in, p.frames, p.mediaType, r.options)
	}
	if err == nil && b.MediaType != p.mediaType {
		return nil, fault.New(fault.NotAcceptable, "this instance is rendered as %s, which the request does not accept", b.MediaType)
	}
	return b, err
}

// drawn reports whether it is a picture, which is made of pixels: others are
// stored as they are shown, or nearly.
func (p *picture) drawn() bool { return strings.HasPrefix(p.mediaType, "image/") }

// validator is the entity tag of what is rendered. It is weak where another
// version of the server may write it otherwise.
func (p *picture) validator(r rendering) string {
	tag := etagOf(retrieve.RenderedVersion(p.in, p.frames, p.mediaType, r.options), p.mediaType, r.studies)
	if p.drawn() || p.mediaType == typeHTML {
		return "W/" + tag
	}
	return tag
}

// sendRendered answers with one rendered thing as the body. A picture that the
// client has, or asks nothing of but the header, is not made.
func (s *Server) sendRendered(c echo.Context, p picture, r rendering) error {
	etag := p.validator(r)
	if unchanged(c, etag, cachePixels) {
		return nil
	}
	if p.drawn() && c.Request().Method == http.MethodHead {
		setPage(c, p.mediaType)
		return sendBody(c, p.mediaType, etag, &retrieve.Body{MediaType: p.mediaType, Size: -1})
	}
	b, err := s.render(c.Request().Context(), p, r)
	if err != nil {
		return err
	}
	setPage(c, p.mediaType)
	return sendBody(c, pageType(p.mediaType), etag, b)
}

// pageType is the Content-Type of a rendered media type.
func pageType(mediaType string) string {
	if mediaType == typeHTML {
		return typeHTML + "; charset=utf-8"
	}
	return mediaType
}

// What browsers may do with what they are to show. Nothing is loaded from
// elsewhere and nothing runs. A PDF has no sandbox: browsers show none in it,
// and their viewers let no script of a document out.
const (
	pagePolicy = "; frame-ancestors 'none'; sandbox allow-popups"
	showPolicy = "default-src 'none'; img-src 'self'; media-src 'self'; style-src 'unsafe-inline'; frame-ancestors 'none'; sandbox"
	pdfPolicy  = "default-src 'none'; img-src 'self'; object-src 'self'; style-src 'unsafe-inline'; frame-ancestors 'none'"
)

// setPage sets the security headers of what a browser is to show.
func setPage(c echo.Context, mediaType string) {
	policy := showPolicy
	switch mediaType {
	case typeHTML:
		policy = report.ContentSecurityPolicy() + pagePolicy
	case typePDF:
		policy = pdfPolicy
	}
	h := c.Response().Header()
	h.Set("Content-Security-Policy", policy)
	h.Set("Content-Disposition", "inline")
}

// sendPictures answers with rendered things as parts.
func (s *Server) sendPictures(c echo.Context, status int, list []picture, r rendering) error {
	version := make([]string, 0, 2*len(list)+1)
	for i := range list {
		version = append(version, list[i].validator(r), list[i].path)
	}
	if unchanged(c, "W/"+etagOf(append(version, "parts")...), cachePixels) {
		return nil
	}
	base := s.BaseURL(c.Request())
	parts := inOrder(c.Request().Context(), list, func(ctx context.Context, p picture) (part, error) {
		location := locationOf(base, &p.in.UIDs, p.path)
		b, err := s.render(ctx, p, r)
		if err == nil {
			return part{b, pageType(p.mediaType), location}, nil
		}
		if fault.Is(err, fault.NotAcceptable) {
			return part{location: location}, &unshown{err}
		}
		return part{}, err
	})
	return sendParts(c, status, list[0].mediaType, newBoundary(), -1, false, told(parts))
}

// unshown is an error of one part that is no reason to give up the others.
type unshown struct{ err error }

func (u *unshown) Error() string { return u.err.Error() }
func (u *unshown) Unwrap() error { return u.err }

func isUnshown(err error) bool {
	var u *unshown
	return errors.As(err, &u)
}
