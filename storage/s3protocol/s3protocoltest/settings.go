package s3protocoltest

import (
	"net/http"
	"strings"
	"testing"

	"github.com/strata-pacs/strata/internal/fault"
)

// settings: what is wrong is named.
func (s Suite) settings(t *testing.T) {
	wrong := s
	wrong.Server.SecretKey = "not-the-secret"
	for _, c := range []struct {
		suite           Suite
		bucket, at, say string
	}{
		{s, "no-such-bucket", s.Server.Endpoint, "there is no such bucket"},
		{wrong, plain, s.Server.Endpoint, "check the secret key"},
		{s, plain, "http://127.0.0.1:1", "the store does not answer"},
	} {
		_, err := s.Open(t.Context(), s.address(c.at, c.bucket, "x", ""), c.suite.Server, nil)
		wantKind(t, err, fault.Unavailable)
		if !strings.Contains(err.Error(), c.say) {
			t.Errorf("it says %q, not %q", err, c.say)
		}
		if strings.Contains(err.Error(), c.suite.Server.SecretKey) {
			t.Error("an error tells a secret")
		}
	}
	_, err := s.Open(t.Context(), s.Scheme+"://"+plain+"/x?endpoint="+s.Server.Endpoint+"&bananas=1", s.Server, nil)
	wantKind(t, err, fault.Invalid)
}

// check: a store that ignores conditions is found out.
func (s Suite) check(t *testing.T) {
	p := NewProxy(t, s.Server.Endpoint)
	for _, bucket := range []string{plain, versioned} {
		d := s.openAt(t, p.URL, bucket, "check", "")
		if err := d.Check(t.Context()); err != nil {
			t.Errorf("%s: %v", bucket, err)
		}
		if page, err := d.List(t.Context(), "", "", 10); err != nil || len(page.Objects) != 0 {
			t.Errorf("%s: the check leaves %d objects, %v", bucket, len(page.Objects), err)
		}
	}
	// A store without conditions answers 200 to what it should refuse.
	d := s.openAt(t, p.URL, plain, "check", "")
	for name, ignores := range map[string]func(r *http.Request) bool{
		"If-None-Match of a PUT":      func(r *http.Request) bool { return Kind(r) == "put" && r.Header.Get("If-None-Match") != "" },
		"If-Match of a PUT":           func(r *http.Request) bool { return Kind(r) == "put" && r.Header.Get("If-Match") != "" },
		"If-None-Match of completion": func(r *http.Request) bool { return Kind(r) == "complete" },
	} {
		first := true
		p.Answer(func(w http.ResponseWriter, r *http.Request) bool {
			if Kind(r) == "put" && first {
				first = false
				return false
			}
			if !ignores(r) {
				return false
			}
			w.Header().Set("ETag", `"0123456789abcdef0123456789abcdef"`)
			if Kind(r) == "complete" {
				_, _ = w.Write([]byte(`<?xml version="1.0" encoding="UTF-8"?><CompleteMultipartUploadResult><Bucket>` + plain +
					`</Bucket><Key>x</Key><ETag>"0123456789abcdef0123456789abcdef-1"</ETag></CompleteMultipartUploadResult>`))
			}
			return true
		})
		if err := d.Check(t.Context()); !fault.Is(err, fault.Internal) {
			t.Errorf("a store that ignores %s: %v", name, err)
		}
	}
}
