package dicomweb

import (
	"slices"
	"strconv"
	"strings"

	"github.com/labstack/echo/v4"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/internal/pixel/render"
	"github.com/strata-pacs/strata/internal/retrieve"
)

// getWADOURI answers the URI service (PS3.18 §9): one instance as
// application/dicom, or rendered.
func (s *Server) getWADOURI(c echo.Context) error {
	q, err := parseQuery(c.Request().URL.RawQuery)
	if err != nil {
		return err
	}
	u, err := readURI(q)
	if err != nil {
		return err
	}
	list, err := s.lookup(c, u.sel, retrieve.Layouts)
	if err != nil {
		return err
	}
	in := &list[0]
	types, err := s.uriTypes(in, u.frames != nil)
	if err != nil {
		return err
	}
	accept := u.accept
	if len(accept.list) == 0 && len(accept.never) == 0 {
		accept = wants(ParseAccept(c.Request()), false)
	}
	f, ok := accept.rendered(types, false)
	switch {
	case !ok && u.frames != nil && accept.takesDICOM():
		return fault.New(fault.Invalid, "the parameter frameNumber is not for application/dicom; ask with contentType=image/jpeg, or without frameNumber")
	case !ok:
		return fault.New(fault.NotAcceptable, "this instance is given as %s; ask for one of them with contentType", strings.Join(types, ", "))
	case f.mediaType == typeDICOM:
		return s.sendURIFile(c, in, u.syntax)
	case f.mediaType == typeHTML && !u.utf8:
		return fault.New(fault.NotAcceptable, "text is given in UTF-8; ask with charset=UTF-8, or without charset")
	}
	if err := s.uriRegion(c, in, u); err != nil {
		return err
	}
	return s.sendRendered(c, picture{in, u.frames, f.mediaType, ""}, rendering{u.options, s.BaseURL(c.Request()) + pathStudies})
}

// uriTypes lists the media types of an instance, that first which is meant when
// the client names none (PS3.18 §9.1.2.2.1): image/jpeg of an image of one
// frame, text/html of a report, application/dicom of anything else. A frame is
// never application/dicom.
func (s *Server) uriTypes(in *retrieve.Instance, frame bool) ([]string, error) {
	types := slices.Clone(s.o.Retrieve.Renderings(in))
	if frame {
		if len(types) == 0 {
			return nil, notRendered(types)
		}
		return types, nil
	}
	px, err := in.Pixels()
	if err != nil {
		return nil, err
	}
	if len(types) > 0 && (types[0] == typeHTML || types[0] == render.JPEG && px.Frames == 1) {
		return append(types, typeDICOM), nil
	}
	return append([]string{typeDICOM}, types...), nil
}

// takesDICOM reports whether application/dicom is among what is accepted.
func (a *accepts) takesDICOM() bool {
	return slices.ContainsFunc(a.list, func(w want) bool { return w.takes(typeDICOM) })
}

// sendURIFile answers with the Part 10 file in the transfer syntax asked for, or
// without one in Explicit VR Little Endian.
func (s *Server) sendURIFile(c echo.Context, in *retrieve.Instance, syntax string) error {
	accept := accepts{list: []want{{mediaType: typeDICOM, syntax: syntax, q: 1000}}}
	f, err := s.convertible(c.Request().Context(), in, accept.files(in.Syntax))
	if fault.Is(err, fault.NotAcceptable) {
		return notAcceptableSyntax([]retrieve.Instance{*in}, err)
	} else if err != nil {
		return err
	}
	return s.sendFile(c, in, f.syntax)
}

// uri are the parameters of the URI service.
type uri struct {
	sel     archive.UIDs
	accept  accepts // of contentType
	syntax  string  // transferSyntax
	frames  []int   // frameNumber; nil without
	utf8    bool    // charset allows UTF-8
	options render.Options
	rows    int         // 0 without
	columns int         // 0 without
	region  *[4]float64 // left, top, right, bottom; of the image, 0 to 1
}

// uriParameters are the names of PS3.18 Tables 9.1.2-1, 9.1.2-2 and 9.4-1.
var uriParameters = [...]string{"requestType", "studyUID", "seriesUID", "objectUID", "contentType", "charset", "anonymize",
	"annotation", "rows", "columns", "region", "windowCenter", "windowWidth", "imageQuality", "frameNumber",
	"presentationUID", "presentationSeriesUID", "transferSyntax"}

// readURI reads the parameters.
func readURI(q query) (*uri, error) {
	v := make(map[string]string, len(uriParameters))
	for _, name := range uriParameters {
		one, err := q.one(name)
		if err != nil {
			return nil, err
		}
		v[name] = one
	}
	u := &uri{sel: archive.UIDs{Study: v["studyUID"], Series: v["seriesUID"], Instance: v["objectUID"]}, syntax: v["transferSyntax"]}
	if v["requestType"] != "WADO" {
		return nil, fault.New(fault.Invalid, "the parameter requestType has to be WADO")
	}
	for _, name := range [...]string{"studyUID", "seriesUID", "objectUID"} {
		if !validUID(v[name]) {
			return nil, fault.New(fault.Invalid, "the parameter %s has to be a UID of up to 64 digits and dots", name)
		}
	}
	if u.syntax != "" && u.syntax != "*" && !validUID(u.syntax) {
		return nil, fault.New(fault.Invalid, "the parameter transferSyntax has to be a UID")
	}
	if a := v["anonymize"]; a != "" && a != "no" {
		return nil, fault.New(fault.NotAcceptable, "this service does not de-identify; ask without the parameter anonymize")
	}
	if t := v["contentType"]; t != "" {
		a := appendSorted(t)
		if len(a) == 0 {
			return nil, fault.New(fault.Invalid, "the parameter contentType is not a media type; ask with contentType=application/dicom or contentType=image/jpeg")
		}
		u.accept = wants(a, false)
	}
	u.utf8 = allowsUTF8(v["charset"])
	if err := u.presentation(v["presentationUID"], v["presentationSeriesUID"]); err != nil {
		return nil, err
	}
	return u, u.readPicture(v)
}

// presentation refuses presentation states, which are not applied here: a
// picture without what one says of it would be another than was asked for.
func (u *uri) presentation(instance, series string) error {
	switch {
	case instance == "" && series == "":
		return nil
	case !validUID(instance) || !validUID(series):
		return fault.New(fault.Invalid, "the parameters presentationUID and presentationSeriesUID come together, and each is a UID")
	}
	return fault.New(fault.NotAcceptable, "this service does not apply presentation states; ask without presentationUID and presentationSeriesUID")
}

// readPicture reads the parameters of rendered instances.
func (u *uri) readPicture(v map[string]string) error {
	if v["frameNumber"] != "" {
		n, err := strconv.ParseUint(v["frameNumber"], 10, 31)
		if err != nil || n == 0 {
			return fault.New(fault.Invalid, "the parameter frameNumber is a whole number from 1")
		}
		u.frames = []int{int(n)}
	}
	for name, read := range map[string]func(string) error{
		"annotation":   func(x string) error { return readAnnotation(&u.options, x) },
		"imageQuality": func(x string) error { return readQuality(&u.options, "imageQuality", x) },
		"rows":         func(x string) (err error) { u.rows, err = side("rows", x); return err },
		"columns":      func(x string) (err error) { u.columns, err = side("columns", x); return err },
		"region":       u.readRegion,
	} {
		if x := v[name]; x != "" {
			if err := read(x); err != nil {
				return err
			}
		}
	}
	if v["windowCenter"] != "" || v["windowWidth"] != "" {
		center, ok := decimal(v["windowCenter"])
		width, ok2 := decimal(v["windowWidth"])
		if !ok || !ok2 {
			return fault.New(fault.Invalid, "the parameters windowCenter and windowWidth come together, and each is a number")
		}
		u.options.Window = &render.Window{Center: center, Width: width, Function: render.Linear}
	}
	if u.rows > 0 || u.columns > 0 {
		u.options.Viewport = &render.Viewport{Width: u.columns, Height: u.rows}
		if u.columns == 0 {
			u.options.Viewport.Width = render.MaxViewport
		}
		if u.rows == 0 {
			u.options.Viewport.Height = render.MaxViewport
		}
	}
	return u.options.Validate()
}

func side(name, v string) (int, error) {
	n, err := strconv.Atoi(v)
	if err != nil || n < 1 || n > render.MaxViewport {
		return 0, fault.New(fault.Invalid, "the parameter %s is a whole number of pixels from 1 to %d", name, render.MaxViewport)
	}
	return n, nil
}

// readRegion reads left,top,right,bottom as parts of the image's width and height.
func (u *uri) readRegion(v string) error {
	items := strings.Split(v, ",")
	var r [4]float64
	ok := len(items) == len(r)
	for i := 0; ok && i < len(r); i++ {
		r[i], ok = decimal(items[i])
		ok = ok && r[i] >= 0 && r[i] <= 1
	}
	if !ok || r[0] >= r[2] || r[1] >= r[3] {
		return fault.New(fault.Invalid, "the parameter region is left,top,right,bottom, each from 0 to 1, such as region=0.25,0.25,0.75,0.75")
	}
	u.region = &r
	return nil
}

// uriRegion turns the region into pixels of the image; without rows and columns
// it is shown in its own size.
func (s *Server) uriRegion(c echo.Context, in *retrieve.Instance, u *uri) error {
	if u.region == nil {
		return nil
	}
	h, err := s.o.Retrieve.Header(c.Request().Context(), in)
	if err != nil {
		return err
	}
	if h.FormatErr != nil {
		return h.FormatErr
	}
	w, high, r := float64(h.Format.Columns), float64(h.Format.Rows), u.region
	view := u.options.Viewport
	if view == nil {
		view = &render.Viewport{Width: max(1, int((r[2]-r[0])*w)), Height: max(1, int((r[3]-r[1])*high))}
	}
	view.X, view.Y, view.W, view.H = r[0]*w, r[1]*high, (r[2]-r[0])*w, (r[3]-r[1])*high
	u.options.Viewport = view
	return u.options.Validate()
}

// appendSorted reads a list of media ranges, best first.
func appendSorted(v string) Accept {
	a := appendRanges(nil, v)
	slices.SortStableFunc(a, func(x, y MediaRange) int { return y.Q - x.Q })
	return a
}

// allowsUTF8 reports whether a list of character sets (RFC 9110 §12.5.2) has the
// one that there is.
func allowsUTF8(v string) bool {
	if v == "" {
		return true
	}
	for item := range strings.SplitSeq(v, ",") {
		name, q, _ := strings.Cut(item, ";")
		_, q, _ = strings.Cut(q, "=")
		switch strings.ToLower(strings.TrimSpace(name)) {
		case "utf-8", "utf8", "*", "us-ascii":
			if q = strings.TrimSpace(q); quality(q) > 0 {
				return true
			}
		}
	}
	return false
}
