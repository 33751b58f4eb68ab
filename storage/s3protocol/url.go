package s3protocol

import (
	"net/url"
	"strconv"
	"strings"

	"github.com/strata-pacs/strata/internal/fault"
)

// Location is where a store is and how its objects are kept, without secrets.
type Location struct {
	Bucket string
	// Prefix goes before every key: empty, or ending with '/'.
	Prefix string
	// Endpoint is the server, "https://host:port"; nil for the region's own.
	Endpoint *url.URL
	Region   string
	// PathStyle puts the bucket into the path, not into the host's name.
	PathStyle bool
	// Class is the storage class of objects whose options name none.
	Class string
	// SSE is how the store encrypts once more: "", "s3" (keys of the store's own)
	// or "kms" (KMSKey, or the account's default key if that is empty).
	SSE    string
	KMSKey string
	// Lock is how objects are locked that have to be kept: "", not at all; "governance", whoever may bypass it
	// can delete them; "compliance", nobody can, not even the account's owner.
	Lock string
}

// Parse reads
//
//	scheme://bucket/prefix?endpoint=…&region=…&pathstyle=true&class=…&sse=s3|kms&kmskey=…&lock=governance|compliance
//
// An error is fault.Invalid and names the part that is wrong.
func Parse(scheme, raw string) (Location, error) {
	bad := func(format string, args ...any) (Location, error) {
		return Location{}, fault.New(fault.Invalid, "the store's address: "+format, args...)
	}
	u, err := url.Parse(raw)
	if err != nil {
		return bad("it is not a URL: write %s://bucket/prefix?endpoint=https://…", scheme) // err would repeat it all
	}
	switch {
	case u.Scheme != scheme:
		return bad("it does not begin with %s://", scheme)
	case u.User != nil:
		return bad("credentials do not belong into it: give them as settings of their own, or in the environment")
	case u.Fragment != "":
		return bad("it has a part after '#'")
	}
	l := Location{Bucket: u.Host, Prefix: strings.Trim(u.Path, "/")}
	if !validBucket(l.Bucket) {
		return bad("%q cannot be the name of a bucket", l.Bucket)
	}
	if strings.HasSuffix(l.Bucket, "--x-s3") {
		return bad("bucket %q is a directory bucket, which does not list in order: use a general purpose bucket", l.Bucket)
	}
	if l.Prefix != "" {
		if !validPrefix(l.Prefix) {
			return bad("the prefix %q has other than names of A-Z a-z 0-9 . _ - joined by '/', or more than 256 bytes", l.Prefix)
		}
		l.Prefix += "/"
	}
	query, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return bad("what follows '?' cannot be read: write name=value joined by '&'")
	}
	for name, values := range query {
		if len(values) != 1 {
			return bad("parameter %q is given more than once", name)
		}
		v := values[0]
		switch name {
		case "endpoint":
			if l.Endpoint, err = parseEndpoint(v); err != nil {
				return bad("parameter endpoint: %w", err)
			}
		case "region":
			if l.Region = v; v == "" || !validWord(v) {
				return bad("parameter region: %q cannot be a region, like eu-central-1", v)
			}
		case "pathstyle":
			if l.PathStyle, err = strconv.ParseBool(v); err != nil {
				return bad("parameter pathstyle is true or false, not %q", v)
			}
		case "class":
			if l.Class = v; v == "" || !validWord(v) {
				return bad("parameter class: %q cannot be a storage class, like STANDARD_IA", v)
			}
		case "sse":
			if l.SSE = v; v != "s3" && v != "kms" {
				return bad("parameter sse is s3 or kms, not %q", v)
			}
		case "kmskey":
			if l.KMSKey = v; v == "" {
				return bad("parameter kmskey is empty")
			}
		case "lock":
			if l.Lock = v; v != "governance" && v != "compliance" {
				return bad("parameter lock is governance or compliance, not %q", v)
			}
		default:
			return bad("there is no parameter %q: endpoint, region, pathstyle, class, sse, kmskey and lock are known", name)
		}
	}
	if l.KMSKey != "" && l.SSE != "kms" {
		return bad("parameter kmskey needs sse=kms")
	}
	return l, nil
}

func parseEndpoint(v string) (*url.URL, error) {
	u, err := url.Parse(v)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" || u.User != nil ||
		u.RawQuery != "" || u.Fragment != "" || strings.Trim(u.Path, "/") != "" {
		return nil, fault.New(fault.Invalid, "it is the server alone, like https://host:9000")
	}
	u.Path = ""
	return u, nil
}

func validBucket(s string) bool {
	if len(s) < 3 || len(s) > 63 || s[0] == '.' || s[0] == '-' || s[len(s)-1] == '.' || s[len(s)-1] == '-' {
		return false
	}
	for _, c := range []byte(s) {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' && c != '.' {
			return false
		}
	}
	return !strings.Contains(s, "..")
}

func validPrefix(s string) bool {
	for e := range strings.SplitSeq(s, "/") {
		if e == "" || e == "." || e == ".." || !validWord(e) {
			return false
		}
	}
	return len(s) <= 256
}

func validWord(s string) bool {
	for _, c := range []byte(s) {
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '-' && c != '_' && c != '.' {
			return false
		}
	}
	return true
}
