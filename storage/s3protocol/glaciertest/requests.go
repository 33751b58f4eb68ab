package glaciertest

import (
	"bytes"
	"cmp"
	"encoding/xml"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/strata-pacs/strata/storage/s3protocol/s3protocoltest"
)

// Headers.
const (
	classHeader   = "X-Amz-Storage-Class"
	restoreHeader = "X-Amz-Restore"
	archiveHeader = "X-Amz-Archive-Status"
	versionHeader = "X-Amz-Version-Id"
	sourceHeader  = "X-Amz-Copy-Source"
)

// RoundTrip implements http.RoundTripper: it answers in the place of the server
// behind, mostly by asking it.
func (s *Server) RoundTrip(r *http.Request) (*http.Response, error) {
	if s.slow() {
		return refuse(r, http.StatusServiceUnavailable, "SlowDown", "Please reduce your request rate."), nil
	}
	bucket, key, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	n := name{bucket, key, version(r.URL.Query().Get("versionId"))}
	kind := s3protocoltest.Kind(r)
	class := cmp.Or(r.Header.Get(classHeader), standard)
	if !slices.Contains(classes, class) {
		return refuse(r, http.StatusBadRequest, "InvalidStorageClass", "The storage class you specified is not valid"), nil
	}
	switch {
	case kind == "list":
		return s.list(r, bucket)
	case key == "":
		return s.behind.RoundTrip(r)
	case kind == "restore":
		return s.restore(r, n)
	case r.Header.Get(sourceHeader) != "":
		return s.copy(r, n, class)
	case kind == "get", kind == "head":
		return s.read(r, n)
	case kind == "put":
		return s.write(r, n, class)
	case kind == "start":
		return s.start(r, class)
	case kind == "complete":
		return s.complete(r, n)
	case kind == "delete":
		return s.delete(r, n)
	}
	return s.behind.RoundTrip(r)
}

// version makes the version of a bucket without versions ours, which is empty.
func version(id string) string {
	if id == "null" {
		return ""
	}
	return id
}

// read tells class and restore, and keeps what is archived to itself.
func (s *Server) read(r *http.Request, n name) (*http.Response, error) {
	resp, err := s.behind.RoundTrip(r)
	if err != nil || resp.StatusCode >= 300 {
		return resp, err
	}
	n.Version = version(resp.Header.Get(versionHeader))
	s.mu.Lock()
	rec := s.get(n)
	s.mu.Unlock()
	if r.Method == http.MethodGet && !rec.readable() {
		return archived(r, resp.Body, rec.Class, "The operation is not valid for the object's storage class"), nil
	}
	// Source: HeadObject, "Amazon S3 returns this header for all objects except for S3 Standard".
	resp.Header.Del(classHeader)
	for h, v := range map[string]string{classHeader: rec.Class, restoreHeader: rec.header(), archiveHeader: rec.Access} {
		if v != "" && v != standard {
			resp.Header.Set(h, v)
		}
	}
	return resp, nil
}

// write remembers the class of what was stored.
func (s *Server) write(r *http.Request, n name, class string) (*http.Response, error) {
	resp, err := s.behind.RoundTrip(r)
	if err != nil || resp.StatusCode >= 300 {
		return resp, err
	}
	n.Version = version(resp.Header.Get(versionHeader))
	return resp, s.remember(n, class)
}

func (s *Server) remember(n name, class string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.set(n, record{Class: class})
}

func (s *Server) start(r *http.Request, class string) (*http.Response, error) {
	resp, err := s.behind.RoundTrip(r)
	if err != nil || resp.StatusCode >= 300 {
		return resp, err
	}
	var begun struct{ UploadId string }
	body, err := content(resp)
	if err == nil {
		err = xml.Unmarshal(body, &begun)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.uploads[begun.UploadId] = class
	return resp, err
}

func (s *Server) complete(r *http.Request, n name) (*http.Response, error) {
	upload := r.URL.Query().Get("uploadId")
	s.mu.Lock()
	class := cmp.Or(s.uploads[upload], standard)
	s.mu.Unlock()
	resp, err := s.behind.RoundTrip(r)
	if err != nil || resp.StatusCode >= 300 {
		return resp, err
	}
	body, err := content(resp)
	if err != nil || bytes.Contains(body, []byte("<Error>")) { // which an answer of 200 may hold, too
		return resp, err
	}
	n.Version = version(resp.Header.Get(versionHeader))
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.uploads, upload)
	return resp, s.set(n, record{Class: class})
}

// delete forgets what is gone; a mark of deletion leaves the versions.
func (s *Server) delete(r *http.Request, n name) (*http.Response, error) {
	resp, err := s.behind.RoundTrip(r)
	if err != nil || resp.StatusCode >= 300 {
		return resp, err
	}
	return resp, s.remember(n, standard)
}

// content reads a response's body, and leaves it there.
func content(resp *http.Response) ([]byte, error) {
	body, err := io.ReadAll(resp.Body)
	_ = resp.Body.Close()
	resp.Body = io.NopCloser(bytes.NewReader(body))
	return body, err
}

// failure is an error in the protocol's form.
type failure struct {
	XMLName      xml.Name `xml:"Error"`
	Code         string
	Message      string
	StorageClass string `xml:",omitempty"`
}

func refuse(r *http.Request, status int, code, message string) *http.Response {
	return answer(r, status, failure{Code: code, Message: message})
}

// archived is the refusal of an operation that wants the bytes, in the place of an
// answer whose body is closed.
func archived(r *http.Request, body io.Closer, class, message string) *http.Response {
	_ = body.Close()
	return answer(r, http.StatusForbidden, failure{Code: "InvalidObjectState", Message: message, StorageClass: class})
}

// answer is one of our own; v is its body, nil for none.
func answer(r *http.Request, status int, v any) *http.Response {
	resp := &http.Response{StatusCode: status, Request: r, Header: http.Header{}, Body: http.NoBody}
	if v == nil {
		return resp
	}
	body, err := xml.Marshal(v)
	if err != nil { // none of our types can fail
		panic(err)
	}
	body = append([]byte(xml.Header), body...)
	resp.Header.Set("Content-Type", "application/xml")
	resp.Header.Set("Content-Length", strconv.Itoa(len(body)))
	resp.Body = io.NopCloser(bytes.NewReader(body))
	return resp
}
