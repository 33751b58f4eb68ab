package dicomweb

import (
	"encoding/json"
	"encoding/xml"
	"net/http"
	"slices"
	"strings"

	"github.com/labstack/echo/v4"

	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/internal/pixel/render"
)

const (
	typeWADL = "application/vnd.sun.wadl+xml"
	// What a resource takes and gives, beside metadata.
	relatedDICOM = `multipart/related; type="application/dicom"`
	relatedJSON  = `multipart/related; type="application/dicom+json"`
	relatedXML   = `multipart/related; type="application/dicom+xml"`
	relatedBulk  = `multipart/related; type="application/octet-stream"`
)

// capability is one resource of the capabilities description (PS3.18 Annex H),
// as WADL. It doubles as the JSON form.
type capability struct {
	Path      string        `xml:"path,attr" json:"path"`
	Methods   []method      `xml:"method" json:"methods,omitempty"`
	Resources []*capability `xml:"resource" json:"resources,omitempty"`
}

type method struct {
	Name     string  `xml:"name,attr" json:"name"`
	ID       string  `xml:"id,attr" json:"id"`
	Request  *shape  `xml:"request,omitempty" json:"request,omitempty"`
	Response []shape `xml:"response" json:"response"`
}

type shape struct {
	Status         string           `xml:"status,attr,omitempty" json:"status,omitempty"`
	Params         []wadlParam      `xml:"param" json:"params,omitempty"`
	Representation []representation `xml:"representation" json:"representations,omitempty"`
}

type wadlParam struct {
	Name  string `xml:"name,attr" json:"name"`
	Style string `xml:"style,attr" json:"style"`
}

type representation struct {
	MediaType string `xml:"mediaType,attr" json:"mediaType"`
}

type application struct {
	XMLName   xml.Name `xml:"http://wadl.dev.java.net/2009/02 application" json:"-"`
	Software  string   `xml:"-" json:"software,omitempty"`
	Resources struct {
		Base      string        `xml:"base,attr" json:"base"`
		Resources []*capability `xml:"resource" json:"resources"`
	} `xml:"resources" json:"resources"`
}

// mountCapabilities mounts the Retrieve Capabilities transaction (PS3.18 §8.9):
// OPTIONS of the service, and of each of its resources, which is then described
// with what is below it. GET of the service answers the same.
func (s *Server) mountCapabilities() {
	s.e.OPTIONS(Root, s.capabilities)
	s.get("", s.capabilities)
	seen := map[string]bool{Root: true}
	for _, r := range s.e.Routes() {
		if strings.HasPrefix(r.Path, Root+"/") && !seen[r.Path] {
			seen[r.Path] = true
			s.e.OPTIONS(r.Path, s.capabilities)
		}
	}
}

func (s *Server) capabilities(c echo.Context) error {
	offers := []Offer{{Type: typeWADL, Alias: []string{"application/xml", "text/xml"}}, {Type: "application/json", Alias: []string{typeJSON}}}
	chosen, _ := ParseAccept(c.Request()).Choose(offers...)
	if chosen < 0 {
		return fault.New(fault.NotAcceptable, "capabilities are described in %s or application/json; accept one of them", typeWADL)
	}
	path := strings.TrimPrefix(c.Path(), Root)
	var a application
	if s.o.Version != "" {
		a.Software = "Strata " + s.o.Version
	}
	a.Resources.Base = s.BaseURL(c.Request())
	a.Resources.Resources = s.describe(path)
	if c.Request().Method == http.MethodOptions {
		c.Response().Header().Set("Allow", s.allowed(c.Path()))
	}
	var body []byte
	var err error
	if chosen == 0 {
		body, err = xml.MarshalIndent(a, "", "  ")
		body = append([]byte(xml.Header), body...)
	} else {
		body, err = json.MarshalIndent(a, "", "  ")
	}
	if err != nil {
		return fault.Wrap(fault.Internal, err, "describing the service")
	}
	return respondText(c, http.StatusOK, offers[chosen].Type, body)
}

// allowed lists the methods of a route.
func (s *Server) allowed(route string) string {
	var methods []string
	for _, r := range s.e.Routes() {
		if r.Path == route && !slices.Contains(methods, r.Method) && !strings.HasPrefix(r.Method, "echo_") {
			methods = append(methods, r.Method)
		}
	}
	slices.Sort(methods)
	return strings.Join(methods, ", ")
}

// describe makes the tree of the resources at and below a path, from the routes
// that are mounted.
func (s *Server) describe(at string) []*capability {
	root, methods := &capability{}, describeMethods()
	routes := s.e.Routes()
	slices.SortFunc(routes, func(a, b *echo.Route) int {
		if c := strings.Compare(a.Path, b.Path); c != 0 {
			return c
		}
		return strings.Compare(a.Method, b.Method)
	})
	for _, r := range routes {
		path, below := strings.CutPrefix(r.Path, Root+"/")
		inside := at == "" || "/"+path == at || strings.HasPrefix("/"+path, at+"/")
		known, described := methods[r.Method+" /"+path]
		if !below || !inside || !described {
			continue
		}
		node := root
		for _, name := range strings.Split(path, "/") {
			node = node.child(templateName(name))
		}
		m := method{Name: r.Method, ID: known.id}
		q := shape{}
		for _, p := range known.params {
			q.Params = append(q.Params, wadlParam{p, "query"})
		}
		if r.Method == http.MethodGet || r.Method == http.MethodPost {
			q.Params = append(q.Params, wadlParam{"Accept", "header"})
		}
		for _, t := range known.takes {
			q.Representation = append(q.Representation, representation{t})
		}
		if q.Params != nil || q.Representation != nil {
			m.Request = &q
		}
		answer := shape{Status: known.status}
		for _, t := range known.gives {
			answer.Representation = append(answer.Representation, representation{t})
		}
		m.Response = []shape{answer}
		node.Methods = append(node.Methods, m)
	}
	return root.Resources
}

func (c *capability) child(path string) *capability {
	for _, r := range c.Resources {
		if r.Path == path {
			return r
		}
	}
	r := &capability{Path: path}
	c.Resources = append(c.Resources, r)
	return r
}

// templateName is a path element as PS3.18 Table H-1 names it.
func templateName(name string) string {
	switch name {
	case ":" + paramStudy:
		return "{StudyInstanceUID}"
	case ":" + paramSeries:
		return "{SeriesInstanceUID}"
	case ":" + paramInstance:
		return "{SOPInstanceUID}"
	case ":frames":
		return "{frames}"
	case ":restore":
		return "{restore}"
	case "*":
		return "{bulkdata}"
	}
	return name
}

type description struct {
	id     string
	status string
	params []string
	takes  []string
	gives  []string
}

// frameTypes are the media types of frames, as parts and as the body.
func frameTypes() []string {
	types := []string{relatedBulk, octets}
	for _, d := range defaultSyntaxes {
		types = append(types, `multipart/related; type="`+d.mediaType+`"`, d.mediaType)
	}
	return types
}

// describeMethods describes what may be mounted, by method and path below Root.
func describeMethods() map[string]description {
	search := []string{"{attribute}", "includefield", "fuzzymatching", "limit", "offset", "accept"}
	found := []string{typeJSON, relatedXML}
	metadata := []string{typeJSON, relatedXML}
	renderedParams, renderedTypes := []string{"accept"}, []string{render.JPEG, render.PNG, render.GIF, typeHTML, typePDF, "video/mp4", "video/mpeg"}
	for _, p := range renderParameters {
		renderedParams = append(renderedParams, p.name)
	}
	m := map[string]description{}
	for _, d := range []struct{ path, id string }{
		{pathStudies, "SearchForStudies"}, {"/series", "SearchForSeries"}, {"/instances", "SearchForInstances"},
		{pathStudy + "/series", "SearchForStudySeries"}, {pathStudy + "/instances", "SearchForStudyInstances"},
		{pathSeries + "/instances", "SearchForStudySeriesInstances"},
	} {
		m["GET "+d.path] = description{id: d.id, status: "200", params: search, gives: found}
	}
	for _, d := range []struct{ path, id string }{{pathStudies, "StoreInstances"}, {pathStudy, "StoreStudyInstances"}} {
		m["POST "+d.path] = description{id: d.id, status: "200 202 409",
			takes: []string{relatedDICOM, relatedJSON, relatedXML, typeDICOM}, gives: []string{typeJSON, typeXML}}
	}
	for _, d := range []struct{ path, id string }{{pathStudy, "Study"}, {pathSeries, "Series"}, {pathInstance, "Instance"}} {
		files := []string{relatedDICOM}
		if d.path == pathInstance {
			files = append(files, typeDICOM)
		}
		accept := []string{"accept"}
		m["GET "+d.path] = description{id: "Retrieve" + d.id, status: "200", params: accept, gives: files}
		m["GET "+d.path+"/metadata"] = description{id: "Retrieve" + d.id + "Metadata", status: "200", params: accept, gives: metadata}
		m["GET "+d.path+"/bulkdata"] = description{id: "Retrieve" + d.id + "Bulkdata", status: "200", params: accept, gives: []string{relatedBulk}}
		m["GET "+d.path+"/pixeldata"] = description{id: "Retrieve" + d.id + "PixelData", status: "200", params: accept, gives: []string{relatedBulk}}
		m["GET "+d.path+"/rendered"] = description{id: "RetrieveRendered" + d.id, status: "200 206", params: renderedParams, gives: renderedTypes}
		m["GET "+d.path+"/thumbnail"] = description{id: "Retrieve" + d.id + "Thumbnail", status: "200", params: []string{"accept", "viewport"}, gives: []string{render.JPEG}}
		m["DELETE "+d.path] = description{id: "Delete" + d.id, status: "204"}
	}
	m["GET "+pathFrames] = description{id: "RetrieveFrames", status: "200", params: []string{"accept"}, gives: frameTypes()}
	m["GET "+pathFrames+"/rendered"] = description{id: "RetrieveRenderedFrames", status: "200", params: renderedParams, gives: []string{render.JPEG, render.PNG, render.GIF}}
	m["GET "+pathFrames+"/thumbnail"] = description{id: "RetrieveFrameThumbnail", status: "200", params: []string{"accept", "viewport"}, gives: []string{render.JPEG}}
	m["GET "+pathInstance+"/bulkdata/*"] = description{id: "RetrieveBulkdata", status: "200 206", params: []string{"accept"}, gives: []string{"application/octet-stream", relatedBulk}}
	m["GET /changes"] = description{id: "RetrieveChanges", status: "200", params: []string{"after", "limit", "from", "to", "action", "order", "accept"},
		gives: []string{"application/json", "text/event-stream"}}
	m["GET "+pathRestore] = description{id: "RetrieveRestore", status: "200", gives: []string{"application/json"}}
	return m
}
