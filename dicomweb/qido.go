package dicomweb

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"sync"

	"github.com/labstack/echo/v4"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/dicom/dicomxml"
	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/internal/search"
)

// Searcher answers queries; a [search.Searcher] is one.
type Searcher interface {
	// Search yields the matches of the query in order until yield returns false.
	Search(ctx context.Context, t archive.Tenant, q *search.Query, yield func(*search.Match) bool) (search.Outcome, error)
}

// mountSearch mounts the resources of PS3.18 Table 10.6.1-5.
func (s *Server) mountSearch() {
	s.get(pathStudies, s.searchAt(archive.LevelStudy))
	s.get("/series", s.searchAt(archive.LevelSeries))
	s.get("/instances", s.searchAt(archive.LevelInstance))
	s.get(pathStudy+"/series", s.searchAt(archive.LevelSeries))
	s.get(pathStudy+"/instances", s.searchAt(archive.LevelInstance))
	s.get(pathSeries+"/instances", s.searchAt(archive.LevelInstance))
}

// searchBytes bounds the body of one answer, which is held whole, as what it
// has to say about further matches goes before it.
const searchBytes = 32 << 20

// keepBuffer is the largest buffer that is used again.
const keepBuffer = 1 << 20

var searchBuffers = sync.Pool{New: func() any { return &answer{buf: make([]byte, 0, 64<<10)} }}

// answer is a list of matches in DICOM JSON.
type answer struct {
	buf  []byte
	ends []int // of each match in buf, for parts of XML
}

func (a *answer) release() {
	if cap(a.buf) <= keepBuffer {
		a.buf, a.ends = a.buf[:0], a.ends[:0]
		searchBuffers.Put(a)
	}
}

// searchAt returns the handler of the resources of one level (PS3.18 §10.6). No
// match is 200 and an empty list (CP-2473).
func (s *Server) searchAt(level archive.Level) echo.HandlerFunc {
	return func(c echo.Context) error {
		chosen, _ := ParseAccept(c.Request()).Choose(
			Offer{Type: typeJSON, Alias: []string{"application/json", "text/json"}},
			Offer{Type: typeXML, Alias: []string{"application/xml", "text/xml"}, Multipart: true})
		if chosen < 0 {
			return fault.New(fault.NotAcceptable, `search results are application/dicom+json or multipart/related; type="application/dicom+xml"`)
		}
		scope, err := uids(c)
		if err != nil {
			return err
		}
		q, err := search.Parse(level, scope, c.Request().URL.RawQuery)
		if err != nil {
			return err
		}
		base := s.BaseURL(c.Request())
		q.Base, q.Results = base, s.o.Limits.Results
		a := searchBuffers.Get().(*answer)
		defer a.release()
		row := newRowWriter(q, base)
		a.buf = append(a.buf, '[')
		out, err := s.o.Search.Search(c.Request().Context(), s.o.Tenant, q, func(m *search.Match) bool {
			if len(a.ends) > 0 {
				a.buf = append(a.buf, ',')
			}
			a.buf = row.append(a.buf, m)
			a.ends = append(a.ends, len(a.buf))
			return len(a.buf) < searchBytes
		})
		if err != nil {
			return err
		}
		a.buf = append(a.buf, ']')
		if out.More {
			warn(c, base, "There are additional results that can be requested, with offset="+strconv.Itoa(q.Offset+len(a.ends)))
		}
		if s.o.Partial != nil && s.o.Partial() {
			warn(c, base, "The index is being filled anew, the newest first; this answer may miss what was stored before")
		}
		for _, text := range out.Warnings {
			warn(c, base, text)
		}
		c.Response().Header().Set("Cache-Control", "private, no-cache")
		if chosen == 1 {
			return sendXML(c, a)
		}
		return respondText(c, http.StatusOK, typeJSON, a.buf)
	}
}

// sendXML answers with each match as a part in the Native DICOM Model (PS3.19 §A.1).
func sendXML(c echo.Context, a *answer) error {
	m := beginMultipart(c, typeXML, newBoundary(), -1)
	var text []byte
	from := 1
	for _, end := range a.ends {
		var err error
		if text, err = dicomxml.FromJSON(text[:0], a.buf[from:end], ""); err != nil {
			return fmt.Errorf("writing a match as XML: %w", err)
		}
		from = end + 1
		w, err := m.Part(typeXML, "")
		if err != nil {
			return err
		}
		if _, err := w.Write(text); err != nil {
			return err
		}
	}
	return m.Close()
}
