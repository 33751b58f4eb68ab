package dicomweb

import (
	"net/url"
	"strconv"
	"strings"

	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/internal/pixel/render"
)

// query are the parameters of a URL, as decoded, by name.
type query map[string][]string

// parseQuery reads the query of a URL. Unlike url.ParseQuery it lets the
// semicolons of media types stand.
func parseQuery(raw string) (query, error) {
	q := query{}
	for pair := range strings.SplitSeq(raw, "&") {
		if pair == "" {
			continue
		}
		name, value, _ := strings.Cut(pair, "=")
		name, err := url.QueryUnescape(name)
		if err != nil {
			return nil, errQuery
		}
		if value, err = url.QueryUnescape(value); err != nil {
			return nil, errQuery
		}
		q[name] = append(q[name], value)
	}
	return q, nil
}

var errQuery = fault.New(fault.Invalid, "the query cannot be read: a parameter is not percent-encoded properly")

// one returns the value of a parameter, "" when it is absent. Two are one too many.
func (q query) one(name string) (string, error) {
	if len(q[name]) > 1 {
		return "", fault.New(fault.Invalid, "the parameter %s is there %d times; give it once", name, len(q[name]))
	}
	if len(q[name]) == 0 {
		return "", nil
	}
	return strings.TrimSpace(q[name][0]), nil
}

// parameter reads a parameter of a rendered resource into options.
type parameter struct {
	name string
	read func(o *render.Options, value string) error
}

// renderParameters are those of PS3.18 §8.3.5.1. Others are passed over.
var renderParameters = [...]parameter{
	{"annotation", readAnnotation},
	{"quality", func(o *render.Options, v string) error { return readQuality(o, "quality", v) }},
	{"viewport", readViewport},
	{"window", readWindow},
	{"iccprofile", func(o *render.Options, v string) error { o.ICC = strings.ToLower(v); return nil }},
}

// renderOptions reads how to render from the query of a URL.
func renderOptions(raw string) (o render.Options, err error) {
	q, err := parseQuery(raw)
	if err != nil {
		return o, err
	}
	for _, p := range renderParameters {
		v, err := q.one(p.name)
		if err == nil && len(q[p.name]) > 0 {
			err = p.read(&o, v)
		}
		if err != nil {
			return o, err
		}
	}
	return o, o.Validate()
}

// readAnnotation reads what is to be burned into the picture (PS3.18 §8.3.5.1.1).
func readAnnotation(o *render.Options, v string) error {
	for item := range strings.SplitSeq(v, ",") {
		switch strings.TrimSpace(item) {
		case "patient":
			o.Patient = true
		case "technique":
			o.Technique = true
		default:
			return fault.New(fault.Invalid, "annotation is a list of patient and technique, such as annotation=patient,technique")
		}
	}
	return nil
}

// readQuality reads the quality of a JPEG (PS3.18 §8.3.5.1.2).
func readQuality(o *render.Options, name, v string) error {
	n, err := strconv.Atoi(v)
	if err != nil || n < 1 || n > 100 {
		return fault.New(fault.Invalid, "%s is a whole number from 1 to 100, the best", name)
	}
	o.Quality = n
	return nil
}

var errViewport = fault.New(fault.Invalid, "viewport is width,height in pixels, or width,height,x,y,w,h with a region of the image, such as viewport=512,512,0,0,256,256")

// readViewport reads vw,vh,sx,sy,sw,sh (PS3.18 §8.3.5.1.3). What of the region is
// absent or empty is that of the whole image.
func readViewport(o *render.Options, v string) error {
	items := strings.Split(v, ",")
	if len(items) < 2 || len(items) > 6 {
		return errViewport
	}
	w, err := strconv.Atoi(strings.TrimSpace(items[0]))
	if err != nil {
		return errViewport
	}
	h, err := strconv.Atoi(strings.TrimSpace(items[1]))
	if err != nil {
		return errViewport
	}
	view := render.Viewport{Width: w, Height: h}
	for i, to := range [...]*float64{&view.X, &view.Y, &view.W, &view.H} {
		if i+2 >= len(items) || strings.TrimSpace(items[i+2]) == "" {
			continue
		}
		n, ok := decimal(items[i+2])
		if !ok || i >= 2 && n == 0 {
			return errViewport
		}
		*to = n
	}
	o.Viewport = &view
	return nil
}

// readWindow reads center,width,function (PS3.18 §8.3.5.1.4). Clients leave the
// function out, which is then linear.
func readWindow(o *render.Options, v string) error {
	items := strings.Split(v, ",")
	if len(items) == 2 || len(items) == 3 {
		center, ok := decimal(items[0])
		width, ok2 := decimal(items[1])
		if ok && ok2 {
			w := render.Window{Center: center, Width: width, Function: render.Linear}
			if len(items) == 3 {
				w.Function = render.Function(strings.ToLower(strings.TrimSpace(items[2])))
			}
			o.Window = &w
			return nil
		}
	}
	return fault.New(fault.Invalid, "window is center,width,function with a function of linear, linear-exact or sigmoid, such as window=40,400,linear")
}

// decimal reads a number in decimal notation (PS3.18 §5.1.1).
func decimal(v string) (float64, bool) {
	v = strings.TrimSpace(v)
	if v == "" || len(v) > 32 || strings.Trim(v, "0123456789+-.eE") != "" {
		return 0, false
	}
	n, err := strconv.ParseFloat(v, 64)
	return n, err == nil
}
