package dicomweb

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/dicom"
	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/internal/ingest"
)

// fakeStore stores in memory. Instances in fail are refused at their commit.
type fakeStore struct {
	mu    sync.Mutex
	files map[string][]byte // by SOP Instance UID
	fail  map[string]ingest.Result
	study string
	ended string
}

type fakeRequest struct {
	s       *fakeStore
	results []ingest.Result
	files   [][]byte
}

func (s *fakeStore) begin(_ archive.Tenant, study string) StoreRequest {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.study, s.ended = study, ""
	return &fakeRequest{s: s}
}

func (r *fakeRequest) Add(ctx context.Context, file io.Reader) ingest.Result {
	b, err := io.ReadAll(file)
	var res ingest.Result
	var f *dicom.File
	if err == nil {
		f, err = dicom.Read(ctx, bytes.NewReader(b), dicom.Limits{})
	}
	if err != nil {
		res = ingest.Result{Reason: ingest.ReasonNotUnderstood, Detail: fault.Message(err), Err: err}
	} else {
		res.UIDs, res.SOPClass, _ = identity(f.Data)
		res.Outcome = ingest.Stored
		if r.s.study != "" && res.Study != r.s.study {
			res.Outcome, res.Reason, res.Err = ingest.Refused, ingest.ReasonMismatch, fault.New(fault.Conflict, "another study")
		}
	}
	r.results, r.files = append(r.results, res), append(r.files, b)
	return res
}

func (r *fakeRequest) Commit(context.Context) []ingest.Result {
	r.s.mu.Lock()
	defer r.s.mu.Unlock()
	if r.s.files == nil {
		r.s.files = map[string][]byte{}
	}
	r.s.ended = "commit"
	for i := range r.results {
		res := &r.results[i]
		if f, ok := r.s.fail[res.Instance]; ok {
			res.Outcome, res.Reason, res.Err, res.Detail = f.Outcome, f.Reason, f.Err, f.Detail
		}
		if res.Outcome == ingest.Refused {
			continue
		}
		if _, ok := r.s.files[res.Instance]; ok {
			res.Outcome = ingest.Known
		}
		r.s.files[res.Instance] = r.files[i]
	}
	return r.results
}

func (r *fakeRequest) Abort() {
	r.s.mu.Lock()
	defer r.s.mu.Unlock()
	if r.s.ended == "" {
		r.s.ended = "abort"
	}
}

// instanceFile is a small Part 10 file.
func instanceFile(t testing.TB, study, instance string) []byte {
	t.Helper()
	ui := func(tag dicom.Tag, v string) dicom.Element {
		if len(v)%2 == 1 {
			v += "\x00"
		}
		return dicom.Element{Tag: tag, VR: dicom.UI, Value: []byte(v)}
	}
	var b bytes.Buffer
	err := dicom.Write(&b, &dicom.File{Preamble: true, Syntax: dicom.ExplicitVRLittleEndian, Data: &dicom.Dataset{Elements: []dicom.Element{
		ui(0x00080016, "1.2.840.10008.5.1.4.1.1.7"), ui(0x00080018, instance), ui(0x0020000D, study), ui(0x0020000E, study+".1"),
	}}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// message makes a multipart message of parts: a type, perhaps a location behind a blank, and content.
func message(parts ...string) string {
	var b bytes.Buffer
	w := &multipartWriter{w: &b, boundary: "b"}
	for i := 0; i < len(parts); i += 2 {
		typ, location, _ := strings.Cut(parts[i], " ")
		p, _ := w.Part(typ, location)
		_, _ = io.WriteString(p, parts[i+1])
	}
	_ = w.Close()
	return b.String()
}

const relatedType = `multipart/related; type="application/dicom"; boundary=b`

// storeResponse is a Store Instances Response Module.
type storeResponse map[string]struct {
	VR    string `json:"vr"`
	Value []any
}

func (r storeResponse) items(t *testing.T, tag string) []storeResponse {
	t.Helper()
	var out []storeResponse
	b, _ := json.Marshal(r[tag].Value)
	if err := json.Unmarshal(b, &out); err != nil && r[tag].Value != nil {
		t.Fatal(err)
	}
	return out
}

func (r storeResponse) value(tag string) string {
	if len(r[tag].Value) == 0 {
		return ""
	}
	return fmt.Sprint(r[tag].Value[0])
}

func TestStore(t *testing.T) {
	one, two := string(instanceFile(t, "1.2", "1.2.3")), string(instanceFile(t, "1.2", "1.2.4"))
	other := string(instanceFile(t, "1.9", "1.9.3"))
	typ := typeDICOM
	var zipped bytes.Buffer
	z := gzip.NewWriter(&zipped)
	_, _ = io.WriteString(z, message(typ, one))
	_ = z.Close()
	refuse := func(reason uint16, k fault.Kind) ingest.Result {
		return ingest.Result{Reason: reason, Detail: "no", Err: fault.New(k, "no")}
	}
	tests := []struct {
		name, path, contentType, body string
		headers                       []string
		fail                          map[string]ingest.Result
		status                        int
		stored, failed, others        int
	}{
		{name: "one", contentType: relatedType, body: message(typ, one), status: 200, stored: 1},
		{name: "several", contentType: relatedType, body: message(typ, one, typ, two, typ, other), status: 200, stored: 3},
		{name: "bare type, transfer-syntax, quoted boundary", contentType: `multipart/related; type=application/dicom; transfer-syntax=1.2.840.10008.1.2.1; boundary="b"`,
			body: "\r\n" + message(typ+";transfer-syntax=1.2.840.10008.1.2.1", one), status: 200, stored: 1},
		{name: "no type parameter", contentType: `multipart/related; boundary=b`, body: message(typ, one), status: 200, stored: 1},
		{name: "parts without headers", contentType: relatedType, body: "--b\r\n\r\n" + one + "\r\n--b--", status: 200, stored: 1},
		{name: "octet-stream parts", contentType: relatedType, body: message("application/octet-stream", one), status: 200, stored: 1},
		{name: "single part", contentType: "application/dicom", body: one, status: 200, stored: 1},
		{name: "into its study", path: "/1.2", contentType: relatedType, body: message(typ, one), status: 200, stored: 1},
		{name: "the same twice", contentType: relatedType, body: message(typ, one, typ, one), status: 200, stored: 2},
		{name: "gzip", contentType: relatedType, body: zipped.String(), headers: []string{"Content-Encoding", "gzip"}, status: 200, stored: 1},

		{name: "another study", path: "/1.2", contentType: relatedType, body: message(typ, one, typ, other), status: 202, stored: 1, failed: 1},
		{name: "only another study", path: "/1.7", contentType: relatedType, body: message(typ, one), status: 409, failed: 1},
		{name: "one does not parse", contentType: relatedType, body: message(typ, one, typ, "rubbish"), status: 202, stored: 1, others: 1},
		{name: "an image among them", contentType: relatedType, body: message(typ, one, "image/png", "rubbish"), status: 202, stored: 1, others: 1},
		{name: "with a warning", contentType: relatedType, body: message(typ, one), status: 202, stored: 1,
			fail: map[string]ingest.Result{"1.2.3": {Outcome: ingest.Stored, Reason: ingest.WarningDataset, Detail: "a value is odd"}}},
		{name: "no line break at the end", contentType: relatedType, body: strings.TrimSpace(message(typ, one)), status: 200, stored: 1},
		{name: "cut off in the second", contentType: relatedType, body: strings.TrimSuffix(message(typ, one, typ, two), "\r\n--b--\r\n"), status: 202, stored: 1, others: 1},
		{name: "cut off in headers", contentType: relatedType, body: "--b\r\n\r\n" + one + "\r\n--b\r\nContent-", status: 202, stored: 1, others: 1},
		{name: "refused by policy", contentType: relatedType, body: message(typ, one), status: 409, failed: 1,
			fail: map[string]ingest.Result{"1.2.3": refuse(ingest.ReasonDuplicate, fault.Exists)}},
		{name: "full for one", contentType: relatedType, body: message(typ, one, typ, two), status: 202, stored: 1, failed: 1,
			fail: map[string]ingest.Result{"1.2.3": refuse(ingest.ReasonOutOfResources, fault.Full)}},

		{name: "full", contentType: relatedType, body: message(typ, one), status: 507, fail: map[string]ingest.Result{"1.2.3": refuse(ingest.ReasonOutOfResources, fault.Full)}},
		{name: "store away", contentType: relatedType, body: message(typ, one, typ, "rubbish"), status: 503, fail: map[string]ingest.Result{"1.2.3": refuse(ingest.ReasonProcessing, fault.Unavailable)}},
		{name: "key revoked", contentType: relatedType, body: message(typ, one), status: 403, fail: map[string]ingest.Result{"1.2.3": refuse(ingest.ReasonProcessing, fault.KeyDenied)}},
		{name: "nothing parses", contentType: relatedType, body: message(typ, "rubbish", typ, "more"), status: 400},
		{name: "no part", contentType: relatedType, body: "--b--\r\n", status: 400},
		{name: "empty body", contentType: relatedType, body: "", status: 400},
		{name: "empty single part", contentType: "application/dicom", body: "", status: 400},
		{name: "no boundary parameter", contentType: `multipart/related; type="application/dicom"`, body: message(typ, one), status: 400},
		{name: "another boundary", contentType: `multipart/related; type="application/dicom"; boundary=c`, body: message(typ, one), status: 400},
		{name: "study is no UID", path: "/abc", contentType: relatedType, body: message(typ, one), status: 400},
		{name: "no content type", body: one, status: 415},
		{name: "another content type", contentType: "image/jpeg", body: one, status: 415},
		{name: "form data", contentType: "multipart/form-data; boundary=b", body: message(typ, one), status: 415},
		{name: "parts of another type", contentType: `multipart/related; type="image/png"; boundary=b`, body: message("image/png", one), status: 415},
		{name: "only images inside", contentType: relatedType, body: message("image/png", one), status: 415},
		{name: "base64", contentType: relatedType, body: "--b\r\nContent-Type: application/dicom\r\nContent-Transfer-Encoding: base64\r\n\r\nAAAA\r\n--b--", status: 415},
		{name: "unknown encoding", contentType: relatedType, body: message(typ, one), headers: []string{"Content-Encoding", "br"}, status: 415},
		{name: "not gzip", contentType: relatedType, body: message(typ, one), headers: []string{"Content-Encoding", "gzip"}, status: 400},
		{name: "not acceptable", contentType: relatedType, body: message(typ, one), headers: []string{"Accept", "image/png"}, status: 406},
		{name: "too many parts", contentType: relatedType, body: message(typ, one, typ, one, typ, one, typ, one), status: 413},
		{name: "too large", contentType: relatedType, body: message(typ, strings.Repeat(one, 30)), status: 413},
		{name: "too large, length unknown", contentType: relatedType, body: message(typ, strings.Repeat(one, 30)), headers: []string{"Transfer-Encoding", "chunked"}, status: 413},
		{name: "part headers too long", contentType: relatedType, body: "--b\r\nX: " + strings.Repeat("y", 2000) + "\r\n\r\n" + one + "\r\n--b--", status: 413},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			fake := &fakeStore{fail: tt.fail}
			m := &metered{}
			url := serve(t, New(Options{Store: fake.begin, Metrics: m, Limits: Limits{Parts: 3, RequestBytes: 10_000, PartHeaders: 1000}}))
			var body io.Reader = strings.NewReader(tt.body)
			if len(tt.headers) > 0 && tt.headers[0] == "Transfer-Encoding" {
				body = struct{ io.Reader }{body}
				tt.headers = nil
			}
			r := do(t, "POST", url+Root+"/studies"+tt.path, body, append(tt.headers, "Content-Type", tt.contentType)...)
			if r.StatusCode != tt.status {
				t.Fatalf("status %d, want %d: %s", r.StatusCode, tt.status, r.body)
			}
			if tt.stored+tt.failed+tt.others == 0 {
				r.problem(t)
				if len(fake.files) > 0 {
					t.Errorf("%d files were stored", len(fake.files))
				}
				return
			}
			if ct := r.Header.Get("Content-Type"); ct != typeJSON {
				t.Errorf("Content-Type %s", ct)
			}
			var module storeResponse
			if err := json.Unmarshal([]byte(r.body), &module); err != nil {
				t.Fatalf("%v: %s", err, r.body)
			}
			good, failed, others := module.items(t, "00081199"), module.items(t, "00081198"), module.items(t, "0008119A")
			if len(good) != tt.stored || len(failed) != tt.failed || len(others) != tt.others {
				t.Fatalf("%d stored, %d failed, %d others: %s", len(good), len(failed), len(others), r.body)
			}
			if _, ok := module["00081198"]; ok && tt.failed == 0 {
				t.Error("an empty FailedSOPSequence")
			}
			for _, g := range good {
				if !strings.HasPrefix(g.value("00081190"), url+"/dicom-web/studies/1.") || g.value("00081150") == "" || g.value("00081155") == "" {
					t.Errorf("item %v", g)
				}
			}
			for _, f := range append(failed, others...) {
				if f.value("00081197") == "" {
					t.Errorf("no reason: %v", f)
				}
			}
			if m.stored["stored"]+m.stored["known"] != tt.stored || m.stored["refused"] != tt.failed+tt.others {
				t.Errorf("metrics %v", m.stored)
			}
			if got := fake.files["1.2.3"]; got != nil && string(got) != one {
				t.Error("other bytes were stored")
			}
			if r.StatusCode == 202 && tt.fail["1.2.3"].Detail != "" && !strings.Contains(strings.Join(r.Header.Values("Warning"), ""), tt.fail["1.2.3"].Detail) {
				t.Errorf("Warning %q", r.Header.Values("Warning"))
			}
		})
	}
}

func TestStoreResponse(t *testing.T) {
	results := []ingest.Result{
		{UIDs: archive.UIDs{Study: "1", Series: "2", Instance: "3"}, SOPClass: "9", Outcome: ingest.Stored, Reason: ingest.WarningDataset},
		{UIDs: archive.UIDs{Study: "1", Series: "2", Instance: "4"}, SOPClass: "9", Outcome: ingest.Known},
		{UIDs: archive.UIDs{Instance: "5\"\\é"}, Outcome: ingest.Refused, Reason: ingest.ReasonMissingAttribute},
		{Outcome: ingest.Refused, Reason: ingest.ReasonNotUnderstood},
	}
	const want = `{"00081190":{"vr":"UR","Value":["http://h/dicom-web/studies/1"]},` +
		`"00081198":{"vr":"SQ","Value":[{"00081150":{"vr":"UI"},"00081155":{"vr":"UI","Value":["5\"\\é"]},"00081197":{"vr":"US","Value":[288]}}]},` +
		`"00081199":{"vr":"SQ","Value":[{"00081150":{"vr":"UI","Value":["9"]},"00081155":{"vr":"UI","Value":["3"]},"00081190":{"vr":"UR","Value":["http://h/dicom-web/studies/1/series/2/instances/3"]},"00081196":{"vr":"US","Value":[45063]}},` +
		`{"00081150":{"vr":"UI","Value":["9"]},"00081155":{"vr":"UI","Value":["4"]},"00081190":{"vr":"UR","Value":["http://h/dicom-web/studies/1/series/2/instances/4"]}}]},` +
		`"0008119A":{"vr":"SQ","Value":[{"00081197":{"vr":"US","Value":[49152]}}]}}`
	if got := string(appendStoreResponse(nil, "http://h/dicom-web", results)); got != want {
		t.Errorf("\n%s\nwant\n%s", got, want)
	}
}

// TestStoreClientLeaves ends the connection in the middle of a part.
func TestStoreClientLeaves(t *testing.T) {
	fake := &fakeStore{}
	done := make(chan struct{})
	s := New(Options{Store: fake.begin})
	url := serve(t, s)
	pr, pw := io.Pipe()
	go func() {
		defer close(done)
		r, _ := http.NewRequest("POST", url+Root+"/studies", pr)
		r.Header.Set("Content-Type", relatedType)
		if resp, err := http.DefaultClient.Do(r); err == nil {
			_ = resp.Body.Close()
		}
	}()
	_, _ = io.WriteString(pw, "--b\r\n\r\n"+string(instanceFile(t, "1.2", "1.2.3"))+"\r\n--b\r\n\r\nDIC")
	_ = pw.CloseWithError(fmt.Errorf("the cable was pulled"))
	<-done
	s.Shutdown()
	for range 1000 {
		fake.mu.Lock()
		ended := fake.ended
		fake.mu.Unlock()
		if ended == "commit" {
			t.Fatal("a request whose client had gone was committed")
		}
		if ended == "abort" {
			return
		}
		http.DefaultClient.CloseIdleConnections()
		do(t, "GET", url+"/healthz", nil) // lets the server go on
	}
	t.Error("the store request was not let go")
}

// discardStore reads and forgets.
type discardStore struct {
	buf  []byte
	pool *sync.Pool
}

func (d *discardStore) Add(_ context.Context, r io.Reader) ingest.Result {
	for {
		if _, err := io.ReadFull(r, d.buf); err != nil {
			return ingest.Result{}
		}
	}
}

func (d *discardStore) Commit(context.Context) []ingest.Result {
	return []ingest.Result{{UIDs: archive.UIDs{Study: "1", Series: "2", Instance: "3"}, SOPClass: "4", Outcome: ingest.Stored}}
}
func (d *discardStore) Abort() { d.pool.Put(d) }

// BenchmarkStore is what HTTP and the message cost for an instance of 512 KiB
// over loopback, client included.
func BenchmarkStore(b *testing.B) {
	var pool sync.Pool
	pool.New = func() any { return &discardStore{make([]byte, 1<<20), &pool} }
	s := New(Options{Store: func(archive.Tenant, string) StoreRequest { return pool.Get().(StoreRequest) }})
	hs := httptest.NewServer(s)
	defer hs.Close()
	body := []byte(message(typeDICOM, strings.Repeat("\x12\x03", 256<<10)))
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		resp, err := http.Post(hs.URL+Root+"/studies", relatedType, bytes.NewReader(body))
		if err != nil || resp.StatusCode != 200 {
			b.Fatal(resp, err)
		}
		_, _ = io.Copy(io.Discard, resp.Body)
		_ = resp.Body.Close()
	}
}
