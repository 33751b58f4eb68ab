package s3protocol

import (
	"bytes"
	"context"
	"errors"
	"hash/crc32"
	"io"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"testing/iotest"
	"time"

	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/storage/driver"
)

func TestClassify(t *testing.T) {
	cause := errors.New("cause")
	for _, c := range []struct {
		status int
		code   string
		want   fault.Kind
	}{
		{0, "", fault.Unavailable}, {200, "", fault.Unavailable}, {200, "InternalError", fault.Unavailable},
		{404, "NoSuchKey", fault.NotFound}, {404, "NotFound", fault.NotFound}, {404, "", fault.NotFound},
		{404, "NoSuchBucket", fault.Unavailable}, {404, "NoSuchUpload", fault.Unavailable},
		{412, "PreconditionFailed", fault.Conflict}, {409, "ConditionalRequestConflict", fault.Unavailable},
		{416, "InvalidRange", fault.RangeInvalid}, {403, "InvalidObjectState", fault.Archived},
		{403, "AccessDenied", fault.Unavailable}, {403, "", fault.Unavailable}, {401, "", fault.Unavailable},
		{301, "PermanentRedirect", fault.Unavailable}, {307, "", fault.Unavailable},
		{503, "SlowDown", fault.Unavailable}, {429, "", fault.Unavailable}, {500, "", fault.Unavailable}, {502, "", fault.Unavailable},
		{400, "RequestTimeout", fault.Unavailable}, {400, "BadDigest", fault.Unavailable}, {400, "IncompleteBody", fault.Unavailable},
		{507, "XMinioStorageFull", fault.Full}, {507, "", fault.Full}, {403, "QuotaExceeded", fault.Full},
		{413, "", fault.TooLarge}, {400, "EntityTooLarge", fault.TooLarge},
		{501, "NotImplemented", fault.Internal}, {501, "", fault.Internal}, {400, "InvalidArgument", fault.Internal},
		{503, "GlacierExpeditedRetrievalNotAvailable", fault.Busy}, {409, "RestoreAlreadyInProgress", fault.Exists},
		{403, "ObjectAlreadyInActiveTierError", fault.Exists}, {403, "ObjectNotInActiveTierError", fault.Archived},
		{400, "InvalidStorageClass", fault.Invalid},
	} {
		err := Classify(t.Context(), c.status, c.code, cause, "testing")
		if !fault.Is(err, c.want) {
			t.Errorf("%d %s: %v is of kind %v, want %v", c.status, c.code, err, fault.KindOf(err), c.want)
		}
	}
	lock := errors.New("api error AccessDenied: Access Denied because object protected by object lock.")
	if err := Classify(t.Context(), 403, "AccessDenied", lock, "testing"); !fault.Is(err, fault.Conflict) {
		t.Errorf("an object lock: %v", err)
	}
	if Classify(t.Context(), 200, "", nil, "testing") != nil {
		t.Error("no error became one")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := Classify(ctx, 503, "SlowDown", cause, "testing"); !fault.Is(err, fault.Canceled) {
		t.Errorf("the caller went away: %v", err)
	}
}

func TestSizeOf(t *testing.T) {
	for _, c := range []struct {
		off  int64
		s    string
		size int64 // 0: an error
	}{
		{0, "bytes 0-9/100", 100}, {5, "bytes 5-5/6", 6}, {0, "bytes 0-0/1", 1},
		{0, "", 0}, {1, "bytes 0-9/100", 0}, {0, "bytes 0-9/*", 0}, {0, "bytes */100", 0}, {9, "bytes 9-9/9", 0}, {0, "0/-1", 0},
	} {
		got, err := SizeOf(c.off, c.s)
		if got != c.size || (err == nil) != (c.size > 0) {
			t.Errorf("%q from %d: %d, %v", c.s, c.off, got, err)
		}
	}
}

func TestParseRestore(t *testing.T) {
	until := time.Date(2012, 12, 21, 0, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		class, header, archive string
		want                   driver.Restore
		bad                    bool
	}{
		{class: "", want: driver.Restore{}},
		{class: "STANDARD_IA", want: driver.Restore{}},
		{class: "GLACIER_IR", want: driver.Restore{}},
		{class: "GLACIER", want: driver.Restore{State: driver.Archived}},
		{class: "DEEP_ARCHIVE", want: driver.Restore{State: driver.Archived}},
		{class: "INTELLIGENT_TIERING", archive: "DEEP_ARCHIVE_ACCESS", want: driver.Restore{State: driver.Archived}},
		{class: "GLACIER", header: `ongoing-request="true"`, want: driver.Restore{State: driver.Restoring}},
		{class: "GLACIER", header: `ongoing-request="false", expiry-date="Fri, 21 Dec 2012 00:00:00 GMT"`,
			want: driver.Restore{State: driver.Restored, Until: until}},
		{class: "GLACIER", header: `ongoing-request="false"`, bad: true},
		{class: "GLACIER", header: `expiry-date="Fri, 21 Dec 2012 00:00:00 GMT"`, bad: true},
		{class: "GLACIER", header: `nonsense`, bad: true},
	} {
		got, err := parseRestore(c.class, c.header, c.archive)
		if got != c.want || (err != nil) != c.bad {
			t.Errorf("%+v: %+v, %v", c, got, err)
		}
	}
}

func TestBody(t *testing.T) {
	data := make([]byte, 3*chunkSize+77)
	for i := range data {
		data[i] = byte(i * 7 >> 3)
	}
	b := new(Body)
	for rest := data; len(rest) > 0; {
		rest = rest[b.write(rest[:min(len(rest), 100_001)], PartSize):]
	}
	if b.Len() != int64(len(data)) || b.CRC32C() != encodeCRC(crc32.Checksum(data, castagnoli)) {
		t.Errorf("%d bytes, checksum %s", b.Len(), b.CRC32C())
	}
	for range 2 { // as a request that is sent again
		if err := iotest.TestReader(b.Reader(), data); err != nil {
			t.Error(err)
		}
	}
	if n := b.write(data, b.Len()+5); n != 5 {
		t.Errorf("took %d bytes where 5 had room", n)
	}
	b.recycle()
	if b.Len() != 0 {
		t.Error("bytes are left")
	}
	if got, err := io.ReadAll(new(Body).Reader()); err != nil || len(got) != 0 || new(Body).CRC32C() != "AAAAAA==" {
		t.Errorf("an empty body: %d bytes, %v", len(got), err)
	}
	if _, err := b.Reader().Seek(1, io.SeekStart); err == nil {
		t.Error("seeking past the end succeeds")
	}
}

// TestReaderEnds: whatever a body does, a reader never ends early without an error.
func TestReaderEnds(t *testing.T) {
	data := []byte("0123456789")
	right := encodeCRC(crc32.Checksum(data, castagnoli))
	for name, c := range map[string]struct {
		body io.Reader
		end  error
		crc  string
		want fault.Kind // Internal: it ends with end
	}{
		"whole":      {bytes.NewReader(data), io.EOF, right, fault.Internal},
		"unverified": {bytes.NewReader(data), io.EOF, "", fault.Internal},
		"byte after byte, and the end with the last": {iotest.DataErrReader(iotest.OneByteReader(bytes.NewReader(data))), io.EOF, right, fault.Internal},
		"the object is short":                        {bytes.NewReader(data), io.ErrUnexpectedEOF, "", fault.Internal},
		"cut":                                        {bytes.NewReader(data[:5]), io.EOF, right, fault.Unavailable},
		"cut with an error":                          {io.MultiReader(bytes.NewReader(data[:5]), iotest.ErrReader(io.ErrUnexpectedEOF)), io.EOF, "", fault.Unavailable},
		"reset":                                      {io.MultiReader(bytes.NewReader(data[:5]), iotest.ErrReader(errors.New("reset"))), io.EOF, "", fault.Unavailable},
		"damaged":                                    {bytes.NewReader([]byte("0123456x89")), io.EOF, right, fault.Corrupt},
		"too long":                                   {bytes.NewReader(append(bytes.Clone(data), 'x')), io.EOF, right, fault.Internal},
	} {
		r := &reader{ctx: t.Context(), body: io.NopCloser(c.body), left: int64(len(data)), end: c.end, want: c.crc}
		var got []byte
		var err error
		for p := make([]byte, 3); err == nil; {
			var n int
			n, err = r.Read(p)
			got = append(got, p[:n]...)
		}
		if c.want == fault.Internal && (err != c.end || !bytes.Equal(got, data)) || c.want != fault.Internal && !fault.Is(err, c.want) {
			t.Errorf("%s: %q, %v", name, got, err)
		}
		if c.want == fault.Corrupt && len(got) == len(data) {
			t.Errorf("%s: all bytes came before the error", name)
		}
		if _, again := r.Read(make([]byte, 3)); again == nil || again != err {
			t.Errorf("%s: then %v", name, again)
		}
	}
}

// TestReporting: bytes are reported while they move, in both directions.
func TestReporting(t *testing.T) {
	var moved atomic.Int32
	sent := make(chan int32, 1)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		sent <- moved.Load()
		_, _ = w.Write(make([]byte, 1<<20))
	}))
	defer srv.Close()
	base := NewTransport(nil)
	defer base.CloseIdleConnections()
	ctx := driver.WithMoved(t.Context(), func() { moved.Add(1) })
	body := new(Body)
	body.write(make([]byte, 1<<20), PartSize)
	req, err := http.NewRequestWithContext(ctx, http.MethodPut, srv.URL, io.NopCloser(body.Reader()))
	if err != nil {
		t.Fatal(err)
	}
	req.ContentLength = body.Len()
	resp, err := Reporting(base).RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	before := <-sent
	if before < 4 {
		t.Errorf("while 1 MiB was sent %d moves were reported", before)
	}
	if n, err := io.Copy(io.Discard, resp.Body); n != 1<<20 || err != nil || moved.Load()-before < 4 {
		t.Errorf("while %d bytes were received (%v), %d moves were reported", n, err, moved.Load()-before)
	}
}
