package s3protocoltest

import (
	"bytes"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// Action says what becomes of a request.
type Action uint8

// The actions.
const (
	Pass        Action = iota
	Reset              // the connection is reset before the server sees it
	SlowDown           // 503 with that code; the server does not see it
	Broken             // 500 InternalError; the server does not see it
	Raced              // 409 ConditionalRequestConflict; the server does not see it
	NoRoom             // 507; the server does not see it
	Lost               // the server does it; then the connection is reset
	Truncate           // the answer's body breaks off in its middle
	Stall              // nothing is answered, until the client goes away; its clock runs fast meanwhile
	StallBody          // the answer's body stops in its middle, likewise
	Stuck              // nothing of the request is read
	FlipAnswer         // one bit of the answer's body is wrong
	FlipRequest        // one bit of the request's body is wrong
)

// Proxy stands between a client and a server, and breaks what its script says.
type Proxy struct {
	URL    string
	target string
	http   http.RoundTripper
	gone   chan struct{} // closed at the end, for those that stall
	clock  clock         // runs while something stalls, and at no other time

	mu     sync.Mutex
	script func(*http.Request) Action
	answer func(http.ResponseWriter, *http.Request) bool // instead of the server, if it returns true
	n      map[string]int                                // by kind
	under  map[string]int                                // of these, under way
}

// NewProxy starts a proxy for a server at the URL; it ends with the test.
func NewProxy(t testing.TB, target string) *Proxy {
	return NewProxyOver(t, target, func(server http.RoundTripper) http.RoundTripper { return server })
}

// NewProxyOver is NewProxy with something between the proxy and the server, which
// sees what the server would, and answers for it. It may read a request's body, which is all there.
func NewProxyOver(t testing.TB, target string, over func(server http.RoundTripper) http.RoundTripper) *Proxy {
	tr := &http.Transport{DisableCompression: true, MaxIdleConnsPerHost: 16}
	p := &Proxy{target: target, http: over(tr), gone: make(chan struct{}), n: map[string]int{}, under: map[string]int{}}
	srv := httptest.NewServer(http.HandlerFunc(p.serve))
	p.URL = srv.URL
	t.Cleanup(func() {
		close(p.gone)
		srv.CloseClientConnections()
		srv.Close()
		tr.CloseIdleConnections()
	})
	return p
}

// Script sets what becomes of requests from now on.
func (p *Proxy) Script(script func(*http.Request) Action) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.script = script
}

// Answer sets what answers requests in the server's place; it returns false for
// those that it leaves to the server.
func (p *Proxy) Answer(answer func(http.ResponseWriter, *http.Request) bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.answer = answer
}

// Count returns how many requests of a kind there were (see Kind).
func (p *Proxy) Count(kind string) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.n[kind]
}

// Await waits until there were n requests of a kind and none is under way.
func (p *Proxy) Await(t testing.TB, kind string, n int) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(time.Millisecond) {
		p.mu.Lock()
		done := p.n[kind] >= n && p.under[kind] == 0
		p.mu.Unlock()
		if done {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("after 30 s there were not %d requests of %s", n, kind)
		}
	}
}

// settings are the parts of a bucket or an object that are asked for by name in the query.
var settings = []string{"acl", "attributes", "delete", "legal-hold", "lifecycle", "location", "object-lock",
	"policy", "retention", "tagging", "versioning"}

// Kind names what a request does: "get", "head", "put", "copy" and "delete" of objects, "list",
// "start", "part", "complete" and "drop" of uploads, "restore", and settings by their own names.
func Kind(r *http.Request) string {
	q := r.URL.Query()
	if i := slices.IndexFunc(settings, q.Has); i >= 0 {
		return settings[i]
	}
	switch {
	case r.Method == http.MethodPut && q.Has("partNumber"):
		return "part"
	case r.Method == http.MethodPost && q.Has("uploads"):
		return "start"
	case r.Method == http.MethodPost && q.Has("uploadId"):
		return "complete"
	case r.Method == http.MethodPost && q.Has("restore"):
		return "restore"
	case r.Method == http.MethodDelete && q.Has("uploadId"):
		return "drop"
	case r.Method == http.MethodGet && (q.Has("list-type") || q.Has("versions") || q.Has("uploads")):
		return "list"
	case r.Method == http.MethodPut && r.Header.Get("x-amz-copy-source") != "":
		return "copy"
	}
	return strings.ToLower(r.Method)
}

func (p *Proxy) serve(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	p.n[Kind(r)]++
	p.under[Kind(r)]++
	defer func() {
		p.mu.Lock()
		p.under[Kind(r)]--
		p.mu.Unlock()
	}()
	action := Pass
	if p.script != nil {
		action = p.script(r)
	}
	answer := p.answer
	p.mu.Unlock()
	switch action {
	case Reset:
		reset(w)
		return
	case Stuck:
		select {
		case <-r.Context().Done():
		case <-p.gone:
		}
		return
	case SlowDown:
		refuse(w, r, http.StatusServiceUnavailable, "SlowDown")
		return
	case Broken:
		refuse(w, r, http.StatusInternalServerError, "InternalError")
		return
	case NoRoom:
		refuse(w, r, http.StatusInsufficientStorage, "XMinioStorageFull")
		return
	case Raced:
		refuse(w, r, http.StatusConflict, "ConditionalRequestConflict")
		return
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	if action == Stall {
		p.stall(r)
		return
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	if answer != nil && answer(w, r) {
		return
	}
	if action == FlipRequest && len(body) > 0 {
		body[len(body)/2] ^= 1
	}
	p.forward(w, r, body, action)
}

func (p *Proxy) forward(w http.ResponseWriter, r *http.Request, body []byte, action Action) {
	out, err := http.NewRequestWithContext(r.Context(), r.Method, p.target+r.URL.RequestURI(), bytes.NewReader(body))
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	out.Header, out.Host = r.Header.Clone(), r.Host // which is signed
	resp, err := p.http.RoundTrip(out)
	if err != nil {
		reset(w)
		return
	}
	defer resp.Body.Close()
	got, err := io.ReadAll(resp.Body)
	if err != nil || action == Lost {
		reset(w)
		return
	}
	for k, v := range resp.Header {
		if _, ours := w.Header()[k]; !ours {
			w.Header()[k] = v
		}
	}
	if r.Method != http.MethodHead {
		w.Header().Set("Content-Length", strconv.Itoa(len(got)))
	}
	w.WriteHeader(resp.StatusCode)
	switch action {
	case Truncate, StallBody:
		_, _ = w.Write(got[:len(got)/2])
		_ = http.NewResponseController(w).Flush()
		if action == StallBody {
			p.stall(r)
		}
		panic(http.ErrAbortHandler)
	case FlipAnswer:
		if len(got) > 0 {
			got[len(got)/2] ^= 1
		}
	}
	_, _ = w.Write(got)
}

// stall waits until the client goes away, which the server notices because the
// request has been read. Hours pass for the client.
func (p *Proxy) stall(r *http.Request) {
	for {
		select {
		case <-r.Context().Done():
			return
		case <-p.gone:
			return
		case <-time.After(5 * time.Millisecond):
			p.clock.pass(time.Hour)
		}
	}
}

// refuse answers with an error of the protocol.
func refuse(w http.ResponseWriter, r *http.Request, status int, code string) {
	_, _ = io.Copy(io.Discard, r.Body)
	w.Header().Set("Content-Type", "application/xml")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, `<?xml version="1.0" encoding="UTF-8"?><Error><Code>`+code+`</Code><Message>no</Message></Error>`)
}

// reset ends the connection as a broken network does.
func reset(w http.ResponseWriter) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = conn.Close()
}

// Series returns a script with actions for the first requests of a kind.
func Series(what string, actions ...Action) func(*http.Request) Action {
	return func(r *http.Request) Action {
		if Kind(r) != what || len(actions) == 0 {
			return Pass
		}
		a := actions[0]
		actions = actions[1:]
		return a
	}
}

// Times returns a script with an action for the first n requests of a kind.
func Times(n int, what string, a Action) func(*http.Request) Action {
	return Series(what, slices.Repeat([]Action{a}, n)...)
}
