package dicomweb

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"strings"
	"testing"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/strata-pacs/strata/internal/fault"
)

// TestCutOff: a request that is cut off says why, and the connection serves the
// next one, unless a read of its body had to be broken off.
func TestCutOff(t *testing.T) {
	s := New(Options{})
	var cut context.CancelCauseFunc // of the request at hand
	during := func(c echo.Context) error {
		cut(fault.New(fault.KeyDenied, "the key was taken away"))
		<-c.Request().Context().Done()
		time.Sleep(20 * time.Millisecond) // for what the end of the context sets off
		return c.Request().Context().Err()
	}
	s.e.GET("/cut", during)
	s.e.GET("/alive", func(c echo.Context) error {
		if err := c.Request().Context().Err(); err != nil {
			return err
		}
		return c.NoContent(http.StatusNoContent)
	})
	s.e.POST("/read", func(c echo.Context) error {
		_, _ = io.Copy(io.Discard, c.Request().Body)
		return during(c)
	})
	s.e.POST("/reading", func(c echo.Context) error {
		time.AfterFunc(20*time.Millisecond, func() { cut(fault.New(fault.KeyDenied, "the key was taken away")) })
		_, err := io.Copy(io.Discard, c.Request().Body)
		return err
	})
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithCancelCause(r.Context())
		defer cancel(nil)
		cut = cancel
		s.ServeHTTP(w, r.WithContext(ctx))
	}))
	defer srv.Close()
	for _, tt := range []struct {
		method, path string
		body         io.Reader
		kept         bool
	}{
		{"GET", "/cut", nil, true},
		{"POST", "/read", strings.NewReader("all of it"), true},
		{"POST", "/reading", endless{}, false},
	} {
		client := &http.Client{Transport: &http.Transport{}, Timeout: 20 * time.Second}
		ask := func(method, path string, body io.Reader) (status int, reused bool) {
			ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{GotConn: func(i httptrace.GotConnInfo) { reused = i.Reused }})
			r, err := http.NewRequestWithContext(ctx, method, srv.URL+path, body)
			if err != nil {
				t.Fatal(err)
			}
			resp, err := client.Do(r)
			if err != nil {
				t.Fatalf("%s: %v", path, err)
			}
			defer resp.Body.Close()
			if _, err := io.Copy(io.Discard, resp.Body); err != nil {
				t.Errorf("%s: %v", path, err)
			}
			return resp.StatusCode, reused
		}
		if status, _ := ask(tt.method, tt.path, tt.body); status != http.StatusForbidden {
			t.Errorf("%s: status %d", tt.path, status)
		}
		status, reused := ask("GET", pathHealth, nil)
		if status != http.StatusOK || reused != tt.kept {
			t.Errorf("after %s: status %d, same connection %v", tt.path, status, reused)
		}
		// The context of a connection ends with it, and with it all that is asked over it.
		if status, _ := ask("GET", "/alive", nil); status != http.StatusNoContent {
			t.Errorf("after %s: status %d", tt.path, status)
		}
		client.CloseIdleConnections()
	}
}

// endless is a body of which something comes now and then.
type endless struct{}

func (endless) Read(p []byte) (int, error) {
	time.Sleep(time.Second)
	return copy(p, "more"), nil
}
