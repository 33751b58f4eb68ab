package glaciertest

import (
	"encoding/xml"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/minio/minio-go/v7"
)

// copied is the answer to a copy.
type copied struct {
	XMLName      xml.Name `xml:"CopyObjectResult"`
	LastModified time.Time
	ETag         string
}

// copy answers a CopyObject, or the upload of a part by copy.
func (s *Server) copy(r *http.Request, to name, class string) (*http.Response, error) {
	from, err := source(r.Header.Get(sourceHeader))
	if err != nil {
		return refuse(r, http.StatusBadRequest, "InvalidArgument", "Copy Source must mention the source bucket and key"), nil
	}
	named := from.Version != ""
	info, err := s.own.StatObject(r.Context(), from.Bucket, from.Key, minio.StatObjectOptions{VersionID: from.Version})
	if err != nil {
		return s.failed(r, err)
	}
	from.Version = version(info.VersionID)
	s.mu.Lock()
	rec := s.get(from)
	s.mu.Unlock()
	part := r.URL.Query().Has("partNumber")
	same := from.Bucket == to.Bucket && from.Key == to.Key && !named && r.Header.Get("X-Amz-Metadata-Directive") != "REPLACE"
	switch {
	case !rec.readable():
		return archived(r, http.NoBody, rec.Class, "Operation is not valid for the source object's storage class"), nil
	case part:
		return s.behind.RoundTrip(r)
	case !same:
		return s.write(r, to, class)
	case class == rec.Class:
		return refuse(r, http.StatusBadRequest, "InvalidRequest", "This copy request is illegal because it is trying to copy an object to itself "+
			"without changing the object's metadata, storage class, website redirect location or encryption attributes."), nil
	}
	return s.rewrite(r, to, info.ETag, class)
}

// rewrite writes an object anew, as a copy onto itself does that changes the class:
// the server behind has no classes and refuses it.
func (s *Server) rewrite(r *http.Request, n name, etag, class string) (*http.Response, error) {
	var get minio.GetObjectOptions
	get.Set("x-amz-checksum-mode", "ENABLED")
	err := get.SetMatchETag(etag)
	if want := strings.Trim(r.Header.Get("X-Amz-Copy-Source-If-Match"), `"`); want != "" {
		err = get.SetMatchETag(want)
	}
	if err != nil {
		return nil, err
	}
	body, info, header, err := s.own.GetObject(r.Context(), n.Bucket, n.Key, get)
	if err != nil {
		return s.failed(r, err)
	}
	defer body.Close()
	put := minio.PutObjectOptions{ContentType: info.ContentType, UserMetadata: map[string]string{}, DisableContentSha256: true}
	for k := range header {
		if meta, ok := strings.CutPrefix(k, "X-Amz-Meta-"); ok {
			put.UserMetadata[strings.ToLower(meta)] = header.Get(k)
		}
	}
	if header.Get("X-Amz-Checksum-Type") == "FULL_OBJECT" && header.Get("X-Amz-Checksum-Crc32c") != "" {
		put.UserMetadata["x-amz-checksum-crc32c"] = header.Get("X-Amz-Checksum-Crc32c")
	}
	put.SetMatchETag(info.ETag)
	put.Mode = minio.RetentionMode(r.Header.Get("X-Amz-Object-Lock-Mode"))
	put.LegalHold = minio.LegalHoldStatus(r.Header.Get("X-Amz-Object-Lock-Legal-Hold"))
	if until := r.Header.Get("X-Amz-Object-Lock-Retain-Until-Date"); until != "" {
		if put.RetainUntilDate, err = time.Parse(time.RFC3339, until); err != nil {
			return refuse(r, http.StatusBadRequest, "InvalidArgument", "The retain until date must be provided in ISO 8601 format"), nil
		}
	}
	done, err := s.own.PutObject(r.Context(), n.Bucket, n.Key, body, info.Size, "", "", put)
	if err != nil {
		return s.failed(r, err)
	}
	n.Version = version(done.VersionID)
	if err := s.remember(n, class); err != nil {
		return nil, err
	}
	stat, err := s.own.StatObject(r.Context(), n.Bucket, n.Key, minio.StatObjectOptions{VersionID: n.Version})
	if err != nil {
		return s.failed(r, err)
	}
	resp := answer(r, http.StatusOK, copied{LastModified: stat.LastModified.UTC(), ETag: `"` + done.ETag + `"`})
	if n.Version != "" {
		resp.Header.Set(versionHeader, n.Version)
	}
	return resp, nil
}

// source reads x-amz-copy-source: "/bucket/key?versionId=id", the key percent-encoded.
func source(header string) (name, error) {
	u, err := url.Parse("/" + strings.TrimPrefix(header, "/"))
	if err != nil {
		return name{}, err
	}
	bucket, key, ok := strings.Cut(strings.TrimPrefix(u.Path, "/"), "/")
	if !ok || bucket == "" || key == "" {
		return name{}, http.ErrMissingFile
	}
	return name{bucket, key, version(u.Query().Get("versionId"))}, nil
}
