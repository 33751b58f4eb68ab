package s3protocoltest

import (
	"net/http"
	"testing"

	"github.com/strata-pacs/strata/storage/driver"
)

// tiers: an address's class and encryption go with every object. What becomes of
// classes is examined by package glaciertest.
func (s Suite) tiers(t *testing.T) {
	p := NewProxy(t, s.Server.Endpoint)
	var got http.Header
	p.Answer(func(_ http.ResponseWriter, r *http.Request) bool {
		if k := Kind(r); k == "put" || k == "start" {
			got = r.Header.Clone()
		}
		return false
	})
	d := s.openAt(t, p.URL, plain, "tiers", "&class=STANDARD_IA")
	for _, size := range []int{10, part + 1} {
		_, _ = put(t.Context(), d, "t/y", pattern(size, 1), driver.CreateOptions{}) // versitygw may know no classes
		if c := got.Get("x-amz-storage-class"); c != "STANDARD_IA" {
			t.Errorf("%d bytes were stored with class %q", size, c)
		}
		_, _ = put(t.Context(), d, "t/y", pattern(size, 1), driver.CreateOptions{Class: "ONEZONE_IA"})
		if c := got.Get("x-amz-storage-class"); c != "ONEZONE_IA" {
			t.Errorf("%d bytes were stored with class %q", size, c)
		}
	}
	// Encryption needs keys on the server: what is looked at is what it was asked for.
	for query, want := range map[string][2]string{
		"&sse=s3": {"AES256", ""}, "&sse=kms&kmskey=k1": {"aws:kms", "k1"},
	} {
		d = s.openAt(t, p.URL, plain, "tiers", query)
		for _, size := range []int{10, part + 1} {
			got = nil
			_, _ = put(t.Context(), d, "t/z", pattern(size, 1), driver.CreateOptions{})
			if g := [2]string{got.Get("x-amz-server-side-encryption"), got.Get("x-amz-server-side-encryption-aws-kms-key-id")}; g != want {
				t.Errorf("%s, %d bytes: encrypted with %q", query, size, g)
			}
		}
	}
}
