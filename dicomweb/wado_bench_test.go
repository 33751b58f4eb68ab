package dicomweb

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"testing"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/retrieve/retrievetest"
)

// BenchmarkWADO measures answers over a loopback connection, client included,
// from an archive in memory: what HTTP, unsealing and the handlers cost.
func BenchmarkWADO(b *testing.B) {
	ct := make([][]byte, 120)
	for i := range ct {
		u := archive.UIDs{Study: "1.2", Series: "1.2.1", Instance: fmt.Sprintf("1.2.1.%d", i+1)}
		ct[i] = retrievetest.Part10(retrievetest.Image{UIDs: u, Rows: 512, Columns: 512, Name: "Fern^Ada"})
	}
	large := archive.UIDs{Study: "1.3", Series: "1.3.1", Instance: "1.3.1.1"}
	s := newWADO(b, append(ct, retrievetest.Part10(retrievetest.Image{UIDs: large, Rows: 512, Columns: 512, Frames: 400}))...)
	one := path(archive.UIDs{Study: "1.2", Series: "1.2.1", Instance: "1.2.1.60"})
	for _, c := range []struct{ name, path, accept string }{
		{"instance", one, asIs},
		{"frame", one + "/frames/1", `multipart/related; type="application/octet-stream"; transfer-syntax=1.2.840.10008.1.2.1`},
		{"frame-of-210MB", path(large) + "/frames/%d", `multipart/related; type="application/octet-stream"; transfer-syntax=1.2.840.10008.1.2.1`},
		{"study-120", study, asIs},
		{"large", path(large), asIs},
		{"metadata-120", study + "/metadata", typeJSON},
		{"metadata-1", one + "/metadata", typeJSON},
	} {
		b.Run(c.name, func(b *testing.B) {
			tr := &http.Transport{DisableCompression: true, ReadBufferSize: 256 << 10, DialContext: (&net.Dialer{}).DialContext}
			defer tr.CloseIdleConnections()
			buf := make([]byte, 256<<10)
			for n := 0; b.Loop(); n++ {
				p := c.path
				if c.name == "frame-of-210MB" {
					p = fmt.Sprintf(p, 1+n*37%400)
				}
				req, err := http.NewRequest("GET", s.URL+Root+p, nil)
				if err != nil {
					b.Fatal(err)
				}
				req.Header.Set("Accept", c.accept)
				resp, err := tr.RoundTrip(req)
				if err != nil || resp.StatusCode != 200 {
					b.Fatal(resp, err)
				}
				k, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, resp.Body, buf)
				resp.Body.Close()
				if err != nil {
					b.Fatal(err)
				}
				b.SetBytes(k)
			}
		})
	}
}
