package vaultkeys

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/internal/keys"
	"github.com/strata-pacs/strata/internal/keys/keystest"
	"github.com/strata-pacs/strata/internal/testservers"
)

const kek = keys.ID("tenant-a")

// policy lets Strata wrap and unwrap under every key, and tend it.
const policy = `
path "transit/encrypt/*" { capabilities = ["update"] }
path "transit/decrypt/*" { capabilities = ["update"] }
path "transit/keys/*"    { capabilities = ["read", "update"] }
`

// prepare makes a KEK and the policy of Strata's credential.
func prepare(t testing.TB, v *testservers.VaultServer) {
	t.Helper()
	v.Write(t, "transit/keys/"+string(kek), nil)
	v.Write(t, "sys/policies/acl/strata", map[string]any{"policy": policy})
}

func file(t testing.TB, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(path, []byte(content+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// token makes one with Strata's policy.
func token(t testing.TB, v *testservers.VaultServer, more map[string]any) string {
	t.Helper()
	body := map[string]any{"policies": []string{"strata", "strata-disabled-" + string(kek)}}
	for k, x := range more {
		body[k] = x
	}
	return v.Write(t, "auth/token/create", body)["client_token"].(string)
}

func open(t testing.TB, v *testservers.VaultServer, auth Auth, change ...func(*Options)) *Transit {
	t.Helper()
	o := Options{Address: v.Address, Auth: auth}
	for _, c := range change {
		c(&o)
	}
	p, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	return p
}

func byToken(t testing.TB, v *testservers.VaultServer) Auth {
	return Auth{Method: "token", TokenFile: file(t, token(t, v, nil))}
}

func mustWrap(t testing.TB, p *Transit) keys.Wrapped {
	t.Helper()
	w, err := p.Wrap(t.Context(), kek, []byte("key"), []byte("a"))
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// TestWrapper sits the exam once for every way in which Vault refuses, and for
// every way in which it is silent.
func TestWrapper(t *testing.T) {
	t.Parallel()
	v := testservers.Vault(t)
	deny := func(t *testing.T) func() {
		v.Write(t, "sys/policies/acl/strata", map[string]any{"policy": `path "transit/encrypt/none" { capabilities = ["update"] }`})
		return func() { prepare(t, v) }
	}
	sealed := func(t *testing.T) func() { v.Seal(t); return func() { v.Unseal(t) } }
	stopped := func(t *testing.T) func() { v.Stop(t); return func() { v.Continue(t) } }
	killed := func(t *testing.T) func() { v.Kill(t); return func() { v.Start(t); v.Unseal(t) } }
	for name, silence := range map[string]func(t *testing.T) func(){"Sealed": sealed, "Stopped": stopped, "Killed": killed} {
		t.Run(name, func(t *testing.T) {
			keystest.Run(t, keystest.Harness{
				New: func(t *testing.T) (keys.Wrapper, keys.ID) {
					prepare(t, v) // unless it is there
					v.Write(t, "transit/keys/"+string(kek)+"/config", map[string]any{"deletion_allowed": true})
					v.Delete(t, "transit/keys/"+string(kek))
					prepare(t, v)
					return open(t, v, byToken(t, v), func(o *Options) { o.Admin = &Auth{Method: "token", TokenFile: file(t, v.Token)} }), kek
				},
				Deny:    deny,
				Silence: silence,
				Rotate: func(t *testing.T, w keys.Wrapper) keys.Wrapper {
					v.Write(t, "transit/keys/"+string(kek)+"/rotate", nil)
					return w
				},
			})
		})
	}
}

// TestDenied: each of these is a denial, told from damage and from silence.
func TestDenied(t *testing.T) {
	t.Parallel()
	v := testservers.Vault(t)
	prepare(t, v)
	p := open(t, v, byToken(t, v))
	old := mustWrap(t, p)
	denied := func(what string) {
		t.Helper()
		if _, err := p.Unwrap(t.Context(), old, []byte("a")); !fault.Is(err, fault.KeyDenied) {
			t.Errorf("%s: unwrapping: %v", what, err)
		}
	}
	config := func(body map[string]any) { v.Write(t, "transit/keys/"+string(kek)+"/config", body) }

	v.Write(t, "transit/keys/"+string(kek)+"/rotate", nil)
	config(map[string]any{"min_decryption_version": 2})
	denied("a version below min_decryption_version")
	config(map[string]any{"min_decryption_version": 1})
	if _, err := p.Unwrap(t.Context(), old, []byte("a")); err != nil {
		t.Errorf("allowed again: %v", err)
	}
	config(map[string]any{"min_decryption_version": 2, "min_encryption_version": 2})
	v.Write(t, "transit/keys/"+string(kek)+"/trim", map[string]any{"min_available_version": 2})
	denied("a trimmed version")

	old = mustWrap(t, p)
	config(map[string]any{"deletion_allowed": true})
	v.Delete(t, "transit/keys/"+string(kek))
	denied("a deleted key")
	// With the right to create keys too, none is made.
	root := open(t, v, Auth{Method: "token", TokenFile: file(t, v.Token)})
	if _, err := root.Wrap(t.Context(), kek, []byte("key"), []byte("a")); !fault.Is(err, fault.KeyDenied) {
		t.Errorf("wrapping under no key: %v", err)
	}
	denied("a deleted key, after wrapping")

	for _, kind := range []string{"rsa-2048", "ecdsa-p256", "ed25519"} {
		v.Write(t, "transit/keys/wrong-"+kind, map[string]any{"type": kind})
		if _, err := p.Wrap(t.Context(), keys.ID("wrong-"+kind), []byte("key"), []byte("a")); !fault.Is(err, fault.KeyDenied) {
			t.Errorf("wrapping under %s: %v", kind, err)
		}
	}
	v.Write(t, "transit/keys/derived", map[string]any{"derived": true})
	if _, err := p.Wrap(t.Context(), "derived", []byte("key"), []byte("a")); !fault.Is(err, fault.KeyDenied) {
		t.Errorf("wrapping under a derived key: %v", err)
	}
	for _, name := range []keys.ID{"", "..", "a/b", "../../sys/seal", "a?b", "a b"} {
		if _, err := root.Wrap(t.Context(), name, []byte("key"), nil); !fault.Is(err, fault.KeyDenied) {
			t.Errorf("under %q: %v", name, err)
		}
		if _, err := root.Unwrap(t.Context(), keys.Wrapped{KEK: name, Version: "1", Bytes: []byte("x")}, nil); !fault.Is(err, fault.KeyDenied) {
			t.Errorf("under %q: %v", name, err)
		}
	}
	if _, err := p.Unwrap(t.Context(), keys.Wrapped{KEK: kek, Version: "01", Bytes: []byte("x")}, nil); !fault.Is(err, fault.KeyDenied) {
		t.Errorf("version 01: %v", err)
	}

	v.Delete(t, "sys/mounts/transit")
	denied("no engine")
}

// testUnattached: a policy that Vault does not apply is no lock, and is told.
func testUnattached(t *testing.T, v *testservers.VaultServer) {
	auth := byToken(t, v)
	if err := open(t, v, auth).Disable(t.Context(), kek); !fault.Is(err, fault.Invalid) || !strings.Contains(fault.Message(err), "admin") {
		t.Errorf("without a credential for it: %v", err)
	}
	p := open(t, v, auth, func(o *Options) {
		o.DisablePolicy = "unattached-"
		o.Admin = &Auth{Method: "token", TokenFile: file(t, v.Token)}
	})
	if err := p.Disable(t.Context(), kek); !fault.Is(err, fault.Invalid) || !strings.Contains(fault.Message(err), "attach") {
		t.Errorf("%v", err)
	}
}

// TestSilence: a Vault that hangs costs a call its timeout and no more; the
// caller's own end is told from it.
func TestSilence(t *testing.T) {
	t.Parallel()
	v := testservers.Vault(t)
	prepare(t, v)
	p := open(t, v, byToken(t, v), func(o *Options) { o.Timeout = 500 * time.Millisecond })
	w := mustWrap(t, p)
	v.Stop(t)
	defer v.Continue(t)
	start := time.Now()
	if _, err := p.Unwrap(t.Context(), w, []byte("a")); !fault.Is(err, fault.KeyUnreachable) {
		t.Errorf("%v", err)
	}
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("it took %v", took)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := p.Unwrap(ctx, w, []byte("a")); !fault.Is(err, fault.KeyUnreachable) {
		t.Errorf("the caller's time is over: %v", err)
	}
	ctx, cancel = context.WithCancel(t.Context())
	time.AfterFunc(20*time.Millisecond, cancel)
	if _, err := p.Unwrap(ctx, w, []byte("a")); !fault.Is(err, fault.Canceled) {
		t.Errorf("the caller went away: %v", err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add("vault:v1:AAAA")
	f.Add("vault:v:")
	f.Fuzz(func(t *testing.T, text string) {
		if version, body, ok := parse(text); ok && (version == "" || len(body) == 0 || !strings.HasPrefix(text, "vault:v"+version+":")) {
			t.Errorf("%q gave version %q and %d bytes", text, version, len(body))
		}
	})
}

func BenchmarkTransit(b *testing.B) {
	v := testservers.Vault(b)
	prepare(b, v)
	keystest.Benchmark(b, open(b, v, byToken(b, v)), kek)
}

// TestStatus: what a Vault or something before it may answer, and what that is.
func TestStatus(t *testing.T) {
	for _, tt := range []struct {
		status int
		body   string
		want   fault.Kind
	}{
		{403, `{"errors":["permission denied"]}`, fault.KeyDenied},
		{403, `<html>firewall</html>`, fault.KeyUnreachable},
		{404, `{"errors":["no handler for route"]}`, fault.KeyDenied},
		{404, `<html>no such backend</html>`, fault.KeyUnreachable},
		{400, `{"errors":["invalid ciphertext: unable to decrypt"]}`, fault.Corrupt},
		{400, `{"errors":["encryption key not found"]}`, fault.KeyDenied},
		{401, `{"errors":[]}`, fault.KeyUnreachable},
		{412, `{"errors":["required index state not present"]}`, fault.KeyUnreachable},
		{429, `{"errors":["rate limited"]}`, fault.KeyUnreachable},
		{472, `{"errors":[]}`, fault.KeyUnreachable},
		{473, `{"errors":[]}`, fault.KeyUnreachable},
		{500, `{"errors":["internal error"]}`, fault.KeyUnreachable},
		{502, `bad gateway`, fault.KeyUnreachable},
		{503, `{"errors":["Vault is sealed"]}`, fault.KeyUnreachable},
		{200, `{"data":{}}`, fault.KeyUnreachable},
		{200, `not json`, fault.KeyUnreachable},
		{204, ``, fault.KeyUnreachable},
	} {
		t.Run(fmt.Sprint(tt.status, tt.body), func(t *testing.T) {
			v := answering(t, func(w http.ResponseWriter, r *http.Request) {
				if strings.HasPrefix(r.URL.Path, "/v1/auth/token/") {
					fmt.Fprint(w, `{"data":{"ttl":0,"renewable":false}}`)
					return
				}
				w.WriteHeader(tt.status)
				fmt.Fprint(w, tt.body)
			})
			_, err := open(t, v, Auth{Method: "token", TokenFile: file(t, "t")}).Unwrap(t.Context(), keys.Wrapped{KEK: kek, Version: "1", Bytes: []byte("x")}, nil)
			if !fault.Is(err, tt.want) {
				t.Errorf("%v is of kind %v, want %v", err, fault.KindOf(err), tt.want)
			}
		})
	}
}
