package s3protocol

import (
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/strata-pacs/strata/internal/fault"
)

func TestParse(t *testing.T) {
	for raw, want := range map[string]Location{
		"s3://bucket":            {Bucket: "bucket"},
		"s3://bucket/":           {Bucket: "bucket"},
		"s3://my.bucket-1/a/b.c": {Bucket: "my.bucket-1", Prefix: "a/b.c/"},
		"s3://bucket/a/?region=eu-central-1&class=STANDARD_IA&sse=kms&kmskey=arn:aws:kms:eu-central-1:1:key/2": {
			Bucket: "bucket", Prefix: "a/", Region: "eu-central-1", Class: "STANDARD_IA", SSE: "kms", KMSKey: "arn:aws:kms:eu-central-1:1:key/2"},
		"s3://bucket?lock=compliance": {Bucket: "bucket", Lock: "compliance"},
		"s3://bucket?endpoint=https://host:9000/&pathstyle=true&sse=s3": {
			Bucket: "bucket", Endpoint: &url.URL{Scheme: "https", Host: "host:9000"}, PathStyle: true, SSE: "s3"},
	} {
		got, err := Parse("s3", raw)
		if err != nil {
			t.Errorf("%s: %v", raw, err)
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("%s: %s", raw, d)
		}
	}
	for raw, say := range map[string]string{
		"":                          "does not begin with s3://",
		"bucket":                    "does not begin with s3://",
		"minio://bucket":            "does not begin with s3://",
		"s3://%zz":                  "not a URL",
		"s3://key:secret@bucket":    "credentials",
		"s3://":                     "name of a bucket",
		"s3://Bucket":               "name of a bucket",
		"s3://bu":                   "name of a bucket",
		"s3://a..b":                 "name of a bucket",
		"s3://bucket:9000":          "name of a bucket",
		"s3://data--use1-az4--x-s3": "directory bucket",
		"s3://bucket/a//b":          "prefix",
		"s3://bucket/../b":          "prefix",
		"s3://bucket/" + strings.Repeat("a", 300): "prefix",
		"s3://bucket#x":                          "'#'",
		"s3://bucket?region=":                    "region",
		"s3://bucket?region=a%20b":               "region",
		"s3://bucket?region=a&region=b":          "more than once",
		"s3://bucket?pathstyle=yes":              "pathstyle",
		"s3://bucket?class=":                     "class",
		"s3://bucket?sse=aes":                    "sse",
		"s3://bucket?lock=COMPLIANCE":            "lock",
		"s3://bucket?kmskey=1":                   "kmskey",
		"s3://bucket?sse=s3&kmskey=1":            "kmskey",
		"s3://bucket?endpoint=host:9000":         "endpoint",
		"s3://bucket?endpoint=ftp://host":        "endpoint",
		"s3://bucket?endpoint=https://u:p@host":  "endpoint",
		"s3://bucket?endpoint=https://host/path": "endpoint",
		"s3://bucket?access_key=1":               "access_key",
		"s3://bucket?a=%zz":                      "what follows '?'",
	} {
		_, err := Parse("s3", raw)
		if !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), say) {
			t.Errorf("%s: %v; want it to say %q", raw, err, say)
		}
		if err != nil && strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: the error tells the secret", raw)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add("s3://bucket/a/b?endpoint=https://host:9000&region=r&pathstyle=true&class=C&sse=kms&kmskey=k")
	f.Add("s3://bucket?endpoint=://&x=1")
	f.Fuzz(func(t *testing.T, raw string) {
		l, err := Parse("s3", raw)
		if err != nil {
			if !fault.Is(err, fault.Invalid) {
				t.Fatalf("an error of kind %v", fault.KindOf(err))
			}
			return
		}
		if !validBucket(l.Bucket) || l.Prefix != "" && (!strings.HasSuffix(l.Prefix, "/") || strings.HasPrefix(l.Prefix, "/") ||
			strings.Contains(l.Prefix, "//") || strings.Contains("/"+l.Prefix, "/../")) {
			t.Fatalf("%+v", l)
		}
	})
}

func FuzzAnswers(f *testing.F) {
	f.Add("bytes 0-9/100", `ongoing-request="false", expiry-date="Fri, 21 Dec 2012 00:00:00 GMT"`)
	f.Fuzz(func(t *testing.T, contentRange, restore string) {
		if size, err := SizeOf(7, contentRange); err == nil && size <= 7 {
			t.Fatalf("%q: size %d", contentRange, size)
		}
		if r, err := parseRestore("GLACIER", restore, ""); err != nil && r.Until.Year() > 1 {
			t.Fatalf("%q: %+v with an error", restore, r)
		}
	})
}
