package webhook

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/strata-pacs/strata/internal/fault"
)

const secret = "0123456789abcdef0123456789abcdef"

func TestRead(t *testing.T) {
	list, err := Read(strings.NewReader("# people\n\nhttps://RIS.example/hooks/ " + secret + "\n  http://127.0.0.1:9000/x " + secret + " alpha\n"))
	if err != nil || len(list) != 2 || list[0].URL.Host != "ris.example" || list[1].Tenant != "alpha" || list[0].Tenant != "" {
		t.Fatalf("%+v %v", list, err)
	}
	for _, bad := range []string{
		"https://a.example/", "https://a.example/ short", "https://a.example/ " + secret + " alpha more", "http://a.example/ " + secret,
		"ftp://a.example/ " + secret, "https://user@a.example/ " + secret, "https://a.example/../x " + secret, "https://a.example/%2e%2e/x " + secret,
		"https://a.example/?x " + secret, "https:///x " + secret, "https://a.example/ " + secret + " NO",
	} {
		if _, err := Read(strings.NewReader("\n" + bad)); !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), "line 2") || strings.Contains(err.Error(), secret) {
			t.Errorf("%s: %v", bad, err)
		}
	}
}

func TestAllowed(t *testing.T) {
	list, err := Read(strings.NewReader("https://ris.example/hooks " + secret + "\nhttp://localhost:1234 " + secret + " alpha\nhttps://own.example/a " + secret + " alpha\n"))
	if err != nil {
		t.Fatal(err)
	}
	s := New(list, nil)
	for url, ok := range map[string]bool{
		"https://ris.example/hooks":             true,
		"https://ris.example/hooks/":            true,
		"https://RIS.example/hooks/a/b":         true,
		"https://own.example/a/b":               true,
		"http://localhost:1234/any":             true,
		"https://ris.example/hookshot":          false,
		"https://ris.example/":                  false,
		"https://ris.example:444/hooks":         false,
		"http://ris.example/hooks":              false,
		"https://ris.example.evil/hooks":        false,
		"https://ris.example@evil/hooks":        false,
		"https://ris.example/hooks/../admin":    false,
		"https://ris.example/hooks/%2e%2e/x":    false,
		"https://ris.example/hooks/..%2fadmin":  false,
		"https://ris.example/hooks?x=1":         false,
		"https://ris.example/hooks/\\..\\admin": false,
		"http://localhost:1235/any":             false,
		"http://169.254.169.254/hooks":          false,
		"":                                      false,
	} {
		if err := s.Allowed("alpha", url); (err == nil) != ok || err != nil && !fault.Is(err, fault.Invalid) {
			t.Errorf("%q: %v, want allowed %v", url, err, ok)
		}
	}
	if err := s.Allowed("beta", "https://own.example/a"); !fault.Is(err, fault.Invalid) {
		t.Errorf("another tenant's: %v", err)
	}
	if got := s.Always("alpha"); len(got) != 2 || len(s.Always("beta")) != 0 {
		t.Errorf("always: %v, %v", got, s.Always("beta"))
	}
}

func TestPost(t *testing.T) {
	type seen struct {
		body string
		h    http.Header
	}
	got := make(chan seen, 10)
	status := http.StatusNoContent
	target := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		got <- seen{string(b), r.Header}
		w.Header().Set("Location", "/elsewhere")
		w.WriteHeader(status)
	}))
	defer target.Close()
	at := time.Unix(1800000000, 0)
	list, err := Read(strings.NewReader(target.URL + "/hook " + secret + "\n"))
	if err != nil {
		t.Fatal(err)
	}
	s := New(list, func() time.Time { return at })
	body, _ := json.Marshal(map[string]string{"state": "done"})
	if err := s.Post(t.Context(), "alpha", target.URL+"/hook/a", "id-1", body); err != nil {
		t.Fatal(err)
	}
	r := <-got
	// Reckoned with openssl: printf '1800000000.{"state":"done"}' | openssl dgst -sha256 -hmac SECRET
	const want = "c99e5ed64c4299f61a0636e6b8b2dde0e971b22d164446a16b16ac036a2f5fe6"
	if r.body != string(body) || r.h.Get("Strata-Event-Id") != "id-1" || r.h.Get("Strata-Timestamp") != "1800000000" || r.h.Get("Strata-Signature") != "sha256="+want {
		t.Errorf("%+v", r)
	}
	for _, status = range []int{302, 400, 500} {
		if err := s.Post(t.Context(), "alpha", target.URL+"/hook/a", "id-1", body); !fault.Is(err, fault.Unavailable) {
			t.Errorf("%d: %v", status, err)
		}
		<-got
	}
	select {
	case r := <-got:
		t.Errorf("a redirection was followed: %+v", r)
	default:
	}
	if err := s.Post(t.Context(), "alpha", target.URL+"/other", "id-1", body); !fault.Is(err, fault.Invalid) {
		t.Errorf("beside the list: %v", err)
	}
	target.Close()
	if err := s.Post(t.Context(), "alpha", target.URL+"/hook", "id-1", body); !fault.Is(err, fault.Unavailable) {
		t.Errorf("nobody there: %v", err)
	}
}

func FuzzAllowed(f *testing.F) {
	list, err := Read(strings.NewReader("https://ris.example/hooks " + secret + "\n"))
	if err != nil {
		f.Fatal(err)
	}
	s := New(list, nil)
	for _, seed := range []string{"https://ris.example/hooks/a", "https://ris.example/hooks/../a", "https://x@ris.example/hooks", "//ris.example/hooks", "https://ris.example:/hooks"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		if s.Allowed("alpha", raw) != nil {
			return
		}
		r, err := http.NewRequest(http.MethodPost, raw, nil)
		if err != nil || r.URL.Scheme != "https" || !strings.EqualFold(r.URL.Host, "ris.example") || !strings.HasPrefix(r.URL.EscapedPath(), "/hooks") || strings.Contains(r.URL.Path, "/..") {
			t.Errorf("%q is allowed: %v %v", raw, r, err)
		}
	})
}
