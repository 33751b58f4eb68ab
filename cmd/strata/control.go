package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/internal/ingest"
	"github.com/strata-pacs/strata/internal/node"
	"github.com/strata-pacs/strata/internal/reconcile"
)

// The control socket lies in the data folder: who may open it may read the
// folder anyway. Over it the other commands reach a running server.
const socketName = "control.sock"

// socketPath returns a path to the folder's socket that is short enough for the
// 108 bytes of a socket address, however deep the folder lies. The folder must
// stay open while the path is used.
func socketPath(data string) (string, *os.File, error) {
	dir, err := os.Open(data)
	if err != nil {
		return "", nil, fault.Wrap(fault.Invalid, err, "data: cannot open the folder %s", data)
	}
	return fmt.Sprintf("/proc/self/fd/%d/%s", dir.Fd(), socketName), dir, nil
}

// listenControl opens the socket. The caller holds the data folder's lock, so a socket
// that is there belongs to nobody.
func listenControl(data string) (net.Listener, error) {
	if err := os.Remove(filepath.Join(data, socketName)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("removing a socket that was left behind: %w", err)
	}
	path, dir, err := socketPath(data)
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, fmt.Errorf("opening the control socket: %w", err)
	}
	l.(*net.UnixListener).SetUnlinkOnClose(false) // its path is gone by then
	if err := os.Chmod(filepath.Join(data, socketName), 0o600); err != nil {
		l.Close()
		return nil, fmt.Errorf("protecting the control socket: %w", err)
	}
	return l, nil
}

// imported is the outcome of one file of an import, in the order of the parts.
type imported struct {
	Outcome string `json:"outcome"` // stored, known, refused
	Warning bool   `json:"warning,omitempty"`
	Detail  string `json:"detail,omitempty"`
}

// line is one line of a long answer: progress, then at last a result or an error.
type line struct {
	Done, Total int
	Report      *reconcile.Report `json:",omitempty"`
	Error       string            `json:",omitempty"`
}

// controlHandler serves the commands beside DICOMweb, for the tenant that the
// query names.
func controlHandler(n *node.Node, web, admin http.Handler) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/", withAPI(admin, web))
	handle := func(pattern string, f func(http.ResponseWriter, *http.Request, *node.Archive)) {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			v, err := n.Enter(r.Context(), archive.Tenant(r.URL.Query().Get("tenant")))
			if err != nil {
				answer(w, nil, err)
				return
			}
			defer v.Leave()
			within, cancel := v.Within(r.Context())
			defer cancel()
			f(w, r.WithContext(within), v.Archive)
		})
	}
	handle("POST /control/import", func(w http.ResponseWriter, r *http.Request, n *node.Archive) {
		results, err := takeIn(r.Context(), n, r)
		answer(w, results, err)
	})
	handle("GET /control/journal-key", func(w http.ResponseWriter, r *http.Request, n *node.Archive) {
		key, err := n.Derive("import-journal")
		answer(w, key[:], err)
	})
	handle("POST /control/undelete", func(w http.ResponseWriter, r *http.Request, n *node.Archive) {
		q := r.URL.Query()
		count, err := n.Remove.Undelete(r.Context(), n.Tenant, archive.UIDs{Study: q.Get("study"), Series: q.Get("series"), Instance: q.Get("instance")})
		answer(w, count, err)
	})
	handle("POST /control/verify", func(w http.ResponseWriter, r *http.Request, n *node.Archive) {
		sample, err := strconv.ParseFloat(r.URL.Query().Get("sample"), 64)
		if err != nil {
			answer(w, nil, fault.New(fault.Invalid, "sample must be a number"))
			return
		}
		verify(w, r, n, sample)
	})
	return mux
}

// takeIn stores the parts of a multipart message and says what became of each.
func takeIn(ctx context.Context, n *node.Archive, r *http.Request) ([]imported, error) {
	_, params, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil {
		return nil, fault.Wrap(fault.Invalid, err, "an import sends multipart messages")
	}
	req := n.Store.Begin(ingest.RequestOptions{})
	defer req.Abort()
	for parts := multipart.NewReader(r.Body, params["boundary"]); ; {
		p, err := parts.NextPart()
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, fault.Wrap(fault.Invalid, err, "the import broke off")
		}
		req.Add(ctx, p)
	}
	var out []imported
	for _, res := range req.Commit(ctx) {
		i := imported{Outcome: outcomeNames[res.Outcome], Warning: res.Outcome != ingest.Refused && res.Detail != "", Detail: res.Detail}
		out = append(out, i)
	}
	return out, nil
}

var outcomeNames = map[ingest.Outcome]string{ingest.Stored: "stored", ingest.Known: "known", ingest.Refused: "refused"}

// answer writes a value, or an error with its kind, as JSON.
func answer(w http.ResponseWriter, v any, err error) {
	w.Header().Set("Content-Type", "application/json")
	if err != nil {
		w.WriteHeader(http.StatusUnprocessableEntity)
		v = line{Error: err.Error()}
	}
	json.NewEncoder(w).Encode(v)
}

// verify streams progress, then the report.
func verify(w http.ResponseWriter, r *http.Request, n *node.Archive, sample float64) {
	lines := json.NewEncoder(w)
	progress := make(chan line)
	done := make(chan struct{})
	go func() { // the only writer until it is done
		defer close(done)
		for l := range progress {
			lines.Encode(l)
			http.NewResponseController(w).Flush()
		}
	}()
	report, err := n.Reconcile.Verify(r.Context(), reconcile.VerifyOptions{Sample: sample,
		Progress: func(k, total int) { progress <- line{Done: k, Total: total} }})
	close(progress)
	<-done
	last := line{Report: &report}
	if err != nil {
		last = line{Error: err.Error()}
	}
	lines.Encode(last)
}
