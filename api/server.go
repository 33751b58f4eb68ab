package api

import (
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/labstack/echo/v4"
	validator "github.com/oapi-codegen/echo-middleware"
	"golang.org/x/sync/semaphore"

	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/internal/fault/problem"
)

// contract is what the server promises.
//
//go:embed openapi.yaml
var contract []byte

// pathContract is where the contract is served.
const pathContract = Root + "/openapi.yaml"

// maxBody bounds the body of a request in bytes; the largest that the contract
// allows, documents of rules, lists of studies and of appointments, are smaller.
const maxBody = 1 << 20

// server implements the generated interface. It is safe for concurrent use.
type server struct {
	o       Options
	origins *http.CrossOriginProtection
	streams *semaphore.Weighted // of events
}

// New returns the handler of everything below [Root]. It panics when the
// contract that is built in cannot be read, which a test rules out.
func New(o Options) http.Handler {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	doc, err := openapi3.NewLoader().LoadFromData(contract)
	if err != nil {
		panic(fmt.Sprintf("api: reading the contract: %v", err))
	}
	s := &server{o: o, origins: http.NewCrossOriginProtection(), streams: semaphore.NewWeighted(maxStreams)}
	e := echo.New()
	e.Binder = binder{}
	e.HTTPErrorHandler = func(err error, c echo.Context) {} // observe has answered
	e.Use(s.observe, s.guard)
	check := validate(doc)
	checks := map[string][]echo.MiddlewareFunc{}
	for _, path := range doc.Paths.Map() {
		for _, op := range path.Operations() {
			checks[op.OperationID] = []echo.MiddlewareFunc{check, knownQuery(path, op)}
		}
	}
	RegisterHandlersWithOptions(e, NewStrictHandler(s, nil), RegisterHandlersOptions{BaseURL: Root, OperationMiddlewares: checks})
	e.GET(pathContract, func(c echo.Context) error { return c.Blob(http.StatusOK, "application/yaml", contract) })
	return e
}

// guard sets headers, keeps other sites out, asks for authorisation and bounds the body.
func (s *server) guard(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		r, h := c.Request(), c.Response().Header()
		h.Set("Cache-Control", "no-store")
		h.Set("X-Content-Type-Options", "nosniff")
		// A page of another site must not administer with the browser's help.
		if err := s.origins.Check(r); err != nil {
			return fault.Wrap(fault.Forbidden, err, "administration is not for pages of other sites")
		}
		if s.o.Authorize != nil {
			if err := s.o.Authorize(r); err != nil {
				return err
			}
			again := func() error { return s.o.Authorize(r) }
			c.SetRequest(r.WithContext(context.WithValue(r.Context(), authorizing{}, again)))
			r = c.Request()
		}
		r.Body = http.MaxBytesReader(c.Response(), r.Body, maxBody)
		if s.o.Person != nil {
			c.SetRequest(r.WithContext(context.WithValue(r.Context(), personKey{}, s.o.Person(r))))
		}
		return next(c)
	}
}

// personKey is the context's name of who sends the request.
type personKey struct{}

// person is who sends the request, "" for nobody in particular.
func person(ctx context.Context) string {
	name, _ := ctx.Value(personKey{}).(string)
	return name
}

// validate holds requests against the contract.
func validate(doc *openapi3.T) echo.MiddlewareFunc {
	return validator.OapiRequestValidatorWithOptions(doc, &validator.Options{
		SilenceServersWarning: true, // the server of the contract is a path, which fits every host
		ErrorHandler: func(_ echo.Context, err *echo.HTTPError) error {
			if err.Internal == nil { // the contract has no such path
				return err
			}
			return violation(err.Internal)
		},
		// guard has authorised the request.
		Options: openapi3filter.Options{AuthenticationFunc: openapi3filter.NoopAuthenticationFunc},
	})
}

// knownQuery refuses parameters of the query that the contract does not name for the operation: one that is
// misspelt is to be noticed, as a member of a body is.
func knownQuery(path *openapi3.PathItem, op *openapi3.Operation) echo.MiddlewareFunc {
	known := map[string]bool{}
	for _, p := range slices.Concat(path.Parameters, op.Parameters) {
		known[p.Value.Name] = known[p.Value.Name] || p.Value.In == openapi3.ParameterInQuery
	}
	return func(next echo.HandlerFunc) echo.HandlerFunc {
		return func(c echo.Context) error {
			for name := range c.QueryParams() {
				if !known[name] { // which may be anything, and is not repeated
					return fault.New(fault.Invalid, "the query has a parameter that the contract does not; see %s", pathContract)
				}
			}
			return next(c)
		}
	}
}

// violation says what of the contract a request does not fulfil, without
// repeating what the request holds: that may be data of a patient.
func violation(err error) error {
	var re *openapi3filter.RequestError
	if !errors.As(err, &re) {
		return fault.Wrap(fault.Invalid, err, "the request does not follow the contract; see %s", pathContract)
	}
	var long *http.MaxBytesError
	if errors.As(err, &long) {
		return fault.Wrap(fault.TooLarge, err, "the body is longer than %d bytes", maxBody)
	}
	where := "the body"
	if re.Parameter != nil {
		where = re.Parameter.Name
	} else if re.Err == nil {
		return fault.Wrap(fault.UnsupportedMedia, err, "the body's Content-Type is not one that this call takes; see %s", pathContract)
	}
	var schema *openapi3.SchemaError
	switch {
	case errors.As(err, &schema):
		if at := schema.JSONPointer(); len(at) > 0 && re.Parameter == nil {
			where = strings.Join(at, ".")
		}
		switch {
		case schema.SchemaField == "properties": // the reason would quote the unknown member
			return fault.Wrap(fault.Invalid, err, "%s has a member that the contract does not; see %s", where, pathContract)
		case schema.SchemaField == "required":
			return fault.Wrap(fault.Invalid, err, "%s is missing", where)
		case schema.SchemaField == "pattern" && schema.Schema.Description != "":
			return fault.Wrap(fault.Invalid, err, "%s is not of its form: %s", where, schema.Schema.Description)
		}
		return fault.Wrap(fault.Invalid, err, "%s: %s", where, schema.Reason)
	case errors.Is(err, openapi3filter.ErrInvalidRequired):
		return fault.Wrap(fault.Invalid, err, "%s is missing", where)
	}
	return fault.Wrap(fault.Invalid, err, "%s cannot be understood; see %s", where, pathContract)
}

// binder reads a body that was validated, whatever its JSON media type.
type binder struct{}

func (binder) Bind(v any, c echo.Context) error {
	return fault.Wrap(fault.Invalid, json.NewDecoder(c.Request().Body).Decode(v), "the body cannot be understood; see %s", pathContract)
}

// fail answers with the problem document of err.
func fail(c echo.Context, err error) {
	problem.Write(c.Response(), problem.Of(err, pathContract+" says which there are"))
}
