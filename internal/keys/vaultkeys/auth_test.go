package vaultkeys

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/internal/testservers"
)

// answering is a server that is not Vault.
func answering(t testing.TB, h http.HandlerFunc) *testservers.VaultServer {
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return &testservers.VaultServer{Address: s.URL}
}

func appRole(t testing.TB, v *testservers.VaultServer, role map[string]any) Auth {
	t.Helper()
	v.Write(t, "sys/auth/approle", map[string]any{"type": "approle"})
	t.Cleanup(func() { v.Delete(t, "sys/auth/approle") })
	role["token_policies"] = []string{"strata"}
	v.Write(t, "auth/approle/role/strata", role)
	return Auth{Method: "approle", RoleID: roleID(t, v), SecretIDFile: file(t, secretID(t, v))}
}

func roleID(t testing.TB, v *testservers.VaultServer) string {
	t.Helper()
	v.Write(t, "auth/approle/role/strata/role-id", map[string]any{"role_id": "the-role"})
	return "the-role"
}

func secretID(t testing.TB, v *testservers.VaultServer) string {
	t.Helper()
	return v.Write(t, "auth/approle/role/strata/secret-id", nil)["secret_id"].(string)
}

// TestLogin has one Vault for what does not stop it.
func TestLogin(t *testing.T) {
	t.Parallel()
	v := testservers.Vault(t)
	for _, tt := range []struct {
		name string
		test func(*testing.T, *testservers.VaultServer)
	}{{"AppRole", testAppRole}, {"GivesBack", testGivesBack}, {"TokenReplaced", testTokenReplaced}, {"Kubernetes", testKubernetes}, {"TLS", testTLS}, {"Unattached", testUnattached}} {
		prepare(t, v)
		t.Run(tt.name, func(t *testing.T) { tt.test(t, v) })
	}
}

func testAppRole(t *testing.T, v *testservers.VaultServer) {
	auth := appRole(t, v, map[string]any{"token_ttl": "1h"})
	p := open(t, v, auth)
	w := mustWrap(t, p)
	if logins, _ := p.use.current(); logins != 1 {
		t.Errorf("%d logins", logins)
	}
	// A token that is revoked is no denial: Strata may log in.
	v.Write(t, "auth/token/revoke", map[string]any{"token": p.use.token.ClientToken})
	if _, err := p.Unwrap(t.Context(), w, []byte("a")); err != nil {
		t.Errorf("with a revoked token: %v", err)
	}
	// A policy that is withdrawn is one, and no reason to log in.
	v.Write(t, "sys/policies/acl/strata", map[string]any{"policy": `path "x" { capabilities = ["read"] }`})
	for range 3 {
		if _, err := p.Unwrap(t.Context(), w, []byte("a")); !fault.Is(err, fault.KeyDenied) {
			t.Errorf("with its policy withdrawn: %v", err)
		}
	}
	if logins, _ := p.use.current(); logins != 2 {
		t.Errorf("%d logins", logins)
	}
	// So is a role that is gone.
	prepare(t, v)
	v.Delete(t, "auth/approle/role/strata")
	v.Write(t, "auth/token/revoke", map[string]any{"token": p.use.token.ClientToken})
	if _, err := p.Unwrap(t.Context(), w, []byte("a")); !fault.Is(err, fault.KeyDenied) {
		t.Errorf("with its role deleted: %v", err)
	}
	if err := p.Check(t.Context(), kek); !fault.Is(err, fault.KeyDenied) {
		t.Errorf("checking: %v", err)
	}
}

// testGivesBack: what was got by logging in is given back.
func testGivesBack(t *testing.T, v *testservers.VaultServer) {
	p := open(t, v, appRole(t, v, map[string]any{"token_ttl": "1h"}))
	mustWrap(t, p)
	used := p.use.token.ClientToken
	p.Close()
	if _, err := open(t, v, Auth{Method: "token", TokenFile: file(t, used)}).Wrap(t.Context(), kek, []byte("key"), nil); !fault.Is(err, fault.KeyDenied) {
		t.Errorf("with the token of a closed provider: %v", err)
	}
}

// TestRenewal: a token is renewed, and one that ends all the same is replaced before it is needed.
func TestRenewal(t *testing.T) {
	t.Parallel()
	v := testservers.Vault(t)
	prepare(t, v)
	patient := func(o *Options) { o.Timeout = 20 * time.Second }
	wait := func(what string, done func() bool) {
		t.Helper()
		for start := time.Now(); !done(); time.Sleep(50 * time.Millisecond) {
			if time.Since(start) > 30*time.Second {
				t.Fatal(what)
			}
		}
	}
	p := open(t, v, appRole(t, v, map[string]any{"token_ttl": "1h"}), patient)
	mustWrap(t, p)
	_, first := p.use.current()
	wait("the token is not renewed", func() bool {
		return v.Write(t, "auth/token/lookup", map[string]any{"token": first.ClientToken})["last_renewal"] != nil
	})
	if logins, _ := p.use.current(); logins != 1 {
		t.Errorf("%d logins", logins)
	}

	v.Write(t, "auth/approle/role/strata", map[string]any{"token_policies": []string{"strata"}, "token_ttl": "2s", "token_max_ttl": "3s"})
	p = open(t, v, Auth{Method: "approle", RoleID: "the-role", SecretIDFile: file(t, secretID(t, v))}, patient)
	w := mustWrap(t, p)
	wait("the token is not replaced", func() bool { // though nobody asks for anything
		logins, _ := p.use.current()
		return logins > 1
	})
	if _, err := p.Unwrap(t.Context(), w, []byte("a")); err != nil {
		t.Error(err)
	}
}

// testTokenReplaced: another program writes a new token to the file, as Vault's agent does.
func testTokenReplaced(t *testing.T, v *testservers.VaultServer) {
	auth := byToken(t, v)
	p := open(t, v, auth)
	w := mustWrap(t, p)
	v.Write(t, "auth/token/revoke", map[string]any{"token": p.use.token.ClientToken})
	if _, err := p.Unwrap(t.Context(), w, []byte("a")); !fault.Is(err, fault.KeyDenied) {
		t.Errorf("with a revoked token: %v", err)
	}
	if err := os.WriteFile(auth.TokenFile, []byte(token(t, v, nil)), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := p.Unwrap(t.Context(), w, []byte("a")); err != nil {
		t.Errorf("with a new token: %v", err)
	}
}

// testKubernetes logs in by a service account's token. Vault's method jwt takes
// the place of kubernetes, which needs a cluster: they are called alike.
func testKubernetes(t *testing.T, v *testservers.VaultServer) {
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	v.Write(t, "sys/auth/kubernetes", map[string]any{"type": "jwt"})
	v.Write(t, "auth/kubernetes/config", map[string]any{"jwt_validation_pubkeys": string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})), "jwt_supported_algs": []string{"EdDSA"}})
	v.Write(t, "auth/kubernetes/role/strata", map[string]any{"role_type": "jwt", "user_claim": "sub", "bound_audiences": []string{"vault"}, "token_policies": []string{"strata"}})
	signed := func(audience string) string {
		s, err := jwt.NewWithClaims(jwt.SigningMethodEdDSA, jwt.MapClaims{"sub": "system:serviceaccount:strata", "aud": audience, "exp": time.Now().Add(time.Minute).Unix()}).SignedString(private)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	mustWrap(t, open(t, v, Auth{Method: "kubernetes", Role: "strata", JWTFile: file(t, signed("vault"))}))
	_, err = open(t, v, Auth{Method: "kubernetes", Role: "strata", JWTFile: file(t, signed("another"))}).Wrap(t.Context(), kek, []byte("key"), nil)
	if !fault.Is(err, fault.KeyDenied) {
		t.Errorf("for another audience: %v", err)
	}
}

// testTLS goes to Vault through a proxy that wants a client certificate, and
// looks at what is sent.
func testTLS(t *testing.T, v *testservers.VaultServer) {
	target, err := url.Parse(v.Address)
	if err != nil {
		t.Fatal(err)
	}
	var namespace atomic.Value
	proxy := httputil.NewSingleHostReverseProxy(target)
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		namespace.Store(r.Header.Get("X-Vault-Namespace"))
		r.Header.Del("X-Vault-Namespace") // only Vault Enterprise has any
		proxy.ServeHTTP(w, r)
	}))
	s.TLS = &tls.Config{ClientAuth: tls.RequireAnyClientCert}
	s.Config.ErrorLog = log.New(io.Discard, "", 0) // of the handshakes that have to fail
	s.StartTLS()
	defer s.Close()
	dir := t.TempDir()
	write := func(name, kind string, der []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	// The test server's certificate is for example.com, and serves as the client's too.
	cert := s.TLS.Certificates[0]
	key, err := x509.MarshalPKCS8PrivateKey(cert.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	good := Options{Address: s.URL, Namespace: "hospital", Auth: byToken(t, v), ServerName: "example.com",
		CAFile: write("ca", "CERTIFICATE", cert.Certificate[0]), ClientCert: write("cert", "CERTIFICATE", cert.Certificate[0]), ClientKey: write("key", "PRIVATE KEY", key)}
	for name, tt := range map[string]struct {
		change func(*Options)
		ok     bool
	}{
		"right":                {func(*Options) {}, true},
		"unknown authority":    {func(o *Options) { o.CAFile = "" }, false},
		"another name":         {func(o *Options) { o.ServerName = "vault.example.org" }, false},
		"no certificate":       {func(o *Options) { o.ClientCert, o.ClientKey = "", "" }, false},
		"no TLS where it is":   {func(o *Options) { o.Address = "http" + strings.TrimPrefix(o.Address, "https") }, false},
		"TLS where it is none": {func(o *Options) { o.Address = "https" + strings.TrimPrefix(v.Address, "http") }, false},
	} {
		o := good
		tt.change(&o)
		p, err := Open(o)
		if err != nil {
			t.Fatal(err)
		}
		_, err = p.Wrap(t.Context(), kek, []byte("key"), nil)
		if (err == nil) != tt.ok || err != nil && !fault.Is(err, fault.KeyUnreachable) {
			t.Errorf("%s: %v", name, err)
		}
		p.Close()
	}
	if namespace.Load() != "hospital" {
		t.Errorf("namespace %v", namespace.Load())
	}
}

func TestOptions(t *testing.T) {
	good := Options{Address: "https://vault.example.org:8200", Auth: Auth{Method: "token", TokenFile: "x"}}
	for name, change := range map[string]func(*Options){
		"no address":    func(o *Options) { o.Address = "" },
		"no scheme":     func(o *Options) { o.Address = "vault.example.org:8200" },
		"no method":     func(o *Options) { o.Auth.Method = "" },
		"no token file": func(o *Options) { o.Auth.TokenFile = "" },
		"no role id":    func(o *Options) { o.Auth.Method = "approle" },
		"no role":       func(o *Options) { o.Auth.Method = "kubernetes" },
		"no CA file":    func(o *Options) { o.CAFile = filepath.Join(t.TempDir(), "none") },
		"no PEM":        func(o *Options) { o.CAFile = file(t, "none") },
		"half a pair":   func(o *Options) { o.ClientCert = "x" },
		"no pair":       func(o *Options) { o.ClientCert, o.ClientKey = "x", "x" },
		"bad admin":     func(o *Options) { o.Admin = &Auth{} },
	} {
		o := good
		change(&o)
		if _, err := Open(o); !fault.Is(err, fault.Invalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	p, err := Open(good)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	if _, err := p.Wrap(t.Context(), kek, []byte("key"), nil); !fault.Is(err, fault.KeyDenied) || !strings.Contains(fault.Message(err), "file with the credential") {
		t.Errorf("a token file that is not there: %v", err)
	}
}
