package dicomweb

import (
	"crypto/tls"
	"net/http/httptest"
	"net/netip"
	"testing"
)

func TestBaseURL(t *testing.T) {
	nobody, lan := []netip.Prefix{}, []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}
	type headers map[string]string
	tests := []struct {
		name    string
		public  string
		trusted []netip.Prefix
		remote  string
		host    string
		tls     bool
		h       headers
		want    string
	}{
		{name: "as asked", host: "pacs:8080", want: "http://pacs:8080/dicom-web"},
		{name: "TLS", host: "pacs", tls: true, want: "https://pacs/dicom-web"},
		{name: "configured wins", public: "https://x.example/pacs/", host: "pacs", h: headers{"X-Forwarded-Host": "y"}, want: "https://x.example/pacs/dicom-web"},
		{name: "configured with the service's path", public: "https://x.example/dicom-web", host: "pacs", want: "https://x.example/dicom-web"},
		{name: "X-Forwarded", host: "in", h: headers{"X-Forwarded-Host": "out.example", "X-Forwarded-Proto": "https", "X-Forwarded-Prefix": "/pacs/"}, want: "https://out.example/pacs/dicom-web"},
		{name: "first of several", host: "in", h: headers{"X-Forwarded-Host": "out.example, mid", "X-Forwarded-Proto": "https,http"}, want: "https://out.example/dicom-web"},
		{name: "port", host: "in", h: headers{"X-Forwarded-Host": "out.example", "X-Forwarded-Proto": "https", "X-Forwarded-Port": "8443"}, want: "https://out.example:8443/dicom-web"},
		{name: "usual port", host: "in", h: headers{"X-Forwarded-Host": "out.example", "X-Forwarded-Proto": "https", "X-Forwarded-Port": "443"}, want: "https://out.example/dicom-web"},
		{name: "Forwarded", host: "in", h: headers{"Forwarded": `for=1.2.3.4;proto=https;host="out.example:444", for=10.0.0.1`}, want: "https://out.example:444/dicom-web"},
		{name: "Forwarded before X-Forwarded", host: "in", h: headers{"Forwarded": "Host=a;Proto=HTTPS", "X-Forwarded-Host": "b"}, want: "https://a/dicom-web"},
		{name: "nobody is trusted", trusted: nobody, host: "in", h: headers{"X-Forwarded-Host": "out"}, want: "http://in/dicom-web"},
		{name: "others are not trusted", remote: "192.0.2.1:99", host: "in", h: headers{"Forwarded": "host=out"}, want: "http://in/dicom-web"},
		{name: "a trusted network", trusted: lan, remote: "10.1.2.3:99", host: "in", h: headers{"X-Forwarded-Host": "out"}, want: "http://out/dicom-web"},
		{name: "a trusted network, mapped address", trusted: lan, remote: "[::ffff:10.1.2.3]:99", host: "in", h: headers{"X-Forwarded-Host": "out"}, want: "http://out/dicom-web"},
		{name: "loopback by IPv6", remote: "[::1]:99", host: "in", h: headers{"X-Forwarded-Host": "out"}, want: "http://out/dicom-web"},
		{name: "hostile host", host: "in", h: headers{"X-Forwarded-Host": `o"><script>`, "X-Forwarded-Proto": "javascript", "X-Forwarded-Prefix": `//evil`}, want: "http://in/dicom-web"},
		{name: "hostile Host", host: `x"y`, want: "http://localhost/dicom-web"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := New(Options{PublicURL: tt.public, TrustedProxies: tt.trusted})
			r := httptest.NewRequest("GET", "/dicom-web/studies", nil)
			r.Host, r.RemoteAddr = tt.host, "127.0.0.1:4711"
			if tt.remote != "" {
				r.RemoteAddr = tt.remote
			}
			if tt.tls {
				r.TLS = &tls.ConnectionState{}
			}
			for k, v := range tt.h {
				r.Header.Set(k, v)
			}
			if got := s.BaseURL(r); got != tt.want {
				t.Errorf("%s, want %s", got, tt.want)
			}
		})
	}
}
