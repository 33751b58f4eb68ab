package glaciertest

import (
	"bytes"
	"html"
	"io"
	"net/http"
	"net/url"
	"regexp"
)

var (
	listed      = regexp.MustCompile(`(?s)<(Contents|Version)>.*?</(Contents|Version)>`)
	listedClass = regexp.MustCompile(`<StorageClass>[^<]*</StorageClass>`)
	listedKey   = regexp.MustCompile(`<Key>([^<]*)</Key>`)
	listedID    = regexp.MustCompile(`<VersionId>([^<]*)</VersionId>`)
)

// list puts the classes into a list of objects or versions.
func (s *Server) list(r *http.Request, bucket string) (*http.Response, error) {
	resp, err := s.behind.RoundTrip(r)
	if err != nil || resp.StatusCode >= 300 {
		return resp, err
	}
	body, err := content(resp)
	if err != nil {
		return nil, err
	}
	encoded := bytes.Contains(body, []byte("<EncodingType>url</EncodingType>"))
	s.mu.Lock()
	defer s.mu.Unlock()
	body = listed.ReplaceAllFunc(body, func(entry []byte) []byte {
		n := name{Bucket: bucket, Key: text(listedKey, entry), Version: version(text(listedID, entry))}
		if encoded {
			if key, err := url.QueryUnescape(n.Key); err == nil {
				n.Key = key
			}
		}
		return listedClass.ReplaceAllLiteral(entry, []byte("<StorageClass>"+s.get(n).Class+"</StorageClass>"))
	})
	resp.Body = io.NopCloser(bytes.NewReader(body))
	return resp, nil
}

// text returns what an element holds.
func text(element *regexp.Regexp, entry []byte) string {
	m := element.FindSubmatch(entry)
	if m == nil {
		return ""
	}
	return html.UnescapeString(string(m[1]))
}
