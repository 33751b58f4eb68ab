package dicomweb

import (
	"github.com/labstack/echo/v4"

	"github.com/strata-pacs/strata/internal/fault/problem"
)

// problemOf describes an error to the client.
func problemOf(err error) problem.Document {
	return problem.Of(err, Root+" has the DICOMweb service")
}

// problem answers with the problem document of err. When the answer has begun
// already it can only be cut off: the caller then aborts the connection.
func (s *Server) problem(c echo.Context, err error) {
	if w := c.Response(); !w.Committed && err != nil {
		d := problemOf(err)
		s.addRestore(c, err, &d)
		problem.Write(w, d)
	}
}
