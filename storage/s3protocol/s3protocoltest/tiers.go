package s3protocoltest

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/storage/driver"
)

// tiers: classes and restores. No server here has an archive, so that the proxy
// answers in the words of Amazon S3.
func (s Suite) tiers(t *testing.T) {
	p := NewProxy(t, s.Server.Endpoint)
	d := s.openAt(t, p.URL, plain, "tiers", "")
	mustPut(t, d, "t/x", []byte("x"), driver.CreateOptions{})
	class, restore := "", ""
	var asked []string
	p.Answer(func(w http.ResponseWriter, r *http.Request) bool {
		switch Kind(r) {
		case "head":
			if class != "" {
				w.Header().Set("x-amz-storage-class", class)
			}
			if restore != "" {
				w.Header().Set("x-amz-restore", restore)
			}
			return false
		case "get":
			if class == "GLACIER" && !strings.Contains(restore, "expiry-date") {
				refuse(w, r, http.StatusForbidden, "InvalidObjectState")
				return true
			}
		case "restore":
			var b [512]byte
			n, _ := r.Body.Read(b[:])
			asked = append(asked, string(b[:n]))
			if restore == `ongoing-request="true"` {
				refuse(w, r, http.StatusConflict, "RestoreAlreadyInProgress")
				return true
			}
			restore = `ongoing-request="true"`
			w.WriteHeader(http.StatusAccepted)
			return true
		case "put":
			if r.Header.Get("x-amz-copy-source") != "" {
				class = r.Header.Get("x-amz-storage-class")
				w.Header().Set("Content-Type", "application/xml")
				_, _ = w.Write([]byte(`<?xml version="1.0" encoding="UTF-8"?><CopyObjectResult>` +
					`<LastModified>2030-01-01T00:00:00.000Z</LastModified><ETag>"0123456789abcdef0123456789abcdef"</ETag></CopyObjectResult>`))
				return true
			}
		}
		return false
	})
	state := func(want driver.Restore, wantClass string) {
		t.Helper()
		a, err := d.Stat(t.Context(), "t/x")
		if err != nil || a.Restore != want || a.Class != wantClass {
			t.Errorf("%+v, %v; want class %q, %+v", a, err, wantClass, want)
		}
	}
	state(driver.Restore{}, "")
	if err := d.Thaw(t.Context(), "t/x", driver.ThawOptions{}); err != nil || len(asked) != 0 {
		t.Errorf("thawing what is not frozen: %v, %d requests", err, len(asked))
	}
	if err := d.SetClass(t.Context(), "t/x", "GLACIER"); err != nil {
		t.Fatal(err)
	}
	state(driver.Restore{State: driver.Archived}, "GLACIER")
	_, err := get(t.Context(), d, "t/x", 0, -1)
	wantKind(t, err, fault.Archived)
	for range 2 {
		if err := d.Thaw(t.Context(), "t/x", driver.ThawOptions{For: 25 * time.Hour, Speed: "Bulk"}); err != nil {
			t.Fatal(err)
		}
		state(driver.Restore{State: driver.Restoring}, "GLACIER")
	}
	if len(asked) != 1 || !strings.Contains(asked[0], "<Days>2</Days>") || !strings.Contains(asked[0], "<Tier>Bulk</Tier>") {
		t.Errorf("asked for %q", asked)
	}
	restore = `ongoing-request="false", expiry-date="Fri, 21 Dec 2012 00:00:00 GMT"`
	state(driver.Restore{State: driver.Restored, Until: time.Date(2012, 12, 21, 0, 0, 0, 0, time.UTC)}, "GLACIER")
	wantBytes(t, d, "t/x", []byte("x"))
	wantKind(t, d.Thaw(t.Context(), "t/none", driver.ThawOptions{}), fault.NotFound)
	wantKind(t, d.SetClass(t.Context(), "t/none", "GLACIER"), fault.NotFound)
	restore = ""
	if err := d.SetClass(t.Context(), "t/x", ""); err != nil || class != "STANDARD" {
		t.Errorf("back to the default: class %q, %v", class, err)
	}

	// An address's class and encryption go with every object.
	var got http.Header
	p.Answer(func(_ http.ResponseWriter, r *http.Request) bool {
		if k := Kind(r); k == "put" || k == "start" {
			got = r.Header.Clone()
		}
		return false
	})
	d = s.openAt(t, p.URL, plain, "tiers", "&class=STANDARD_IA")
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
