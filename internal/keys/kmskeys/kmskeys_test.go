package kmskeys

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/internal/keys"
	"github.com/strata-pacs/strata/internal/keys/keystest"
)

const (
	kek   = keys.ID("12345678-90ab-cdef-1234-567890abcdef")
	multi = keys.ID("mrk-1234567890abcdef1234567890abcdef")
	arn   = keys.ID("arn:aws:kms:eu-central-1:123456789012:key/") + kek
)

// open opens a provider with the credentials of a shared file, as AWS's tools read them.
func open(t testing.TB, s *stub) *KMS {
	t.Helper()
	file := filepath.Join(t.TempDir(), "credentials")
	if err := os.WriteFile(file, []byte(`[default]
aws_access_key_id = USER
aws_secret_access_key = secret
[keeper]
aws_access_key_id = ADMIN
aws_secret_access_key = secret
`), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", file)
	t.Setenv("AWS_CONFIG_FILE", filepath.Join(t.TempDir(), "none"))
	for _, name := range []string{"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE", "AWS_REGION", "AWS_DEFAULT_REGION"} {
		t.Setenv(name, "")
	}
	k, err := Open(t.Context(), Options{Region: "eu-central-1", Endpoint: s.URL, AdminProfile: "keeper", Timeout: 500 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestWrapper(t *testing.T) {
	for name, id := range map[string]keys.ID{"id": kek, "arn": arn, "multi-region": multi} {
		t.Run(name, func(t *testing.T) {
			var s *stub
			keystest.Run(t, keystest.Harness{
				New: func(t *testing.T) (keys.Wrapper, keys.ID) {
					s = newStub(t, string(kek), string(multi))
					return open(t, s), id
				},
				Deny: func(*testing.T) func() {
					s.fail(400, "AccessDeniedException")
					return func() { s.fail(0, "") }
				},
				Silence: func(*testing.T) func() {
					s.fail(500, "KMSInternalException")
					return func() { s.fail(0, "") }
				},
			})
		})
	}
}

// TestCodes: what KMS may answer, and what that is. The codes are those of its API reference.
func TestCodes(t *testing.T) {
	s := newStub(t, string(kek))
	k := open(t, s)
	w, err := k.Wrap(t.Context(), kek, []byte("key"), []byte("a"))
	if err != nil {
		t.Fatal(err)
	}
	for code, want := range map[string]fault.Kind{
		"DisabledException": fault.KeyDenied, "KMSInvalidStateException": fault.KeyDenied, "NotFoundException": fault.KeyDenied,
		"AccessDeniedException": fault.KeyDenied, "UnrecognizedClientException": fault.KeyDenied, "ExpiredTokenException": fault.KeyDenied, "InvalidKeyUsageException": fault.KeyDenied,
		"InvalidCiphertextException": fault.Corrupt, "IncorrectKeyException": fault.Corrupt,
		"ThrottlingException": fault.KeyUnreachable, "KMSInternalException": fault.KeyUnreachable, "DependencyTimeoutException": fault.KeyUnreachable,
		"KeyUnavailableException": fault.KeyUnreachable, "LimitExceededException": fault.KeyUnreachable, "ServiceUnavailable": fault.KeyUnreachable, "SomethingNewException": fault.KeyUnreachable,
	} {
		s.fail(400, code)
		if _, err := k.Unwrap(t.Context(), w, []byte("a")); !fault.Is(err, want) {
			t.Errorf("%s: %v is of kind %v, want %v", code, err, fault.KindOf(err), want)
		}
	}
	s.fail(0, "")
	if _, err := k.Wrap(t.Context(), kek[:len(kek)-1]+"0", []byte("key"), nil); !fault.Is(err, fault.KeyDenied) {
		t.Errorf("a key that is not there: %v", err)
	}
	for _, bad := range []keys.ID{"", "alias/strata", "arn:aws:kms:eu-central-1:123456789012:alias/strata", "../x", kek + "\n"} {
		if _, err := k.Wrap(t.Context(), bad, []byte("key"), nil); !fault.Is(err, fault.KeyDenied) {
			t.Errorf("under %q: %v", bad, err)
		}
	}
	for _, n := range []int{0, maxKey + 1} {
		if _, err := k.Wrap(t.Context(), kek, make([]byte, n), nil); !fault.Is(err, fault.Invalid) {
			t.Errorf("a key of %d bytes: %v", n, err)
		}
	}
	w.Version = "2"
	if _, err := k.Unwrap(t.Context(), w, []byte("a")); !fault.Is(err, fault.KeyDenied) {
		t.Errorf("version 2: %v", err)
	}
}

// TestSilence: no answer costs the timeout, and the caller's own end is told from it.
func TestSilence(t *testing.T) {
	s := newStub(t, string(kek))
	k := open(t, s)
	w, err := k.Wrap(t.Context(), kek, []byte("key"), []byte("a"))
	if err != nil {
		t.Fatal(err)
	}
	s.mu.Lock()
	s.hang = make(chan struct{})
	defer close(s.hang)
	s.mu.Unlock()
	start := time.Now()
	if _, err := k.Unwrap(t.Context(), w, []byte("a")); !fault.Is(err, fault.KeyUnreachable) {
		t.Errorf("%v", err)
	}
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("it took %v", took)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := k.Unwrap(ctx, w, []byte("a")); !fault.Is(err, fault.KeyUnreachable) {
		t.Errorf("the caller's time is over: %v", err)
	}
	ctx, cancel = context.WithCancel(t.Context())
	time.AfterFunc(20*time.Millisecond, cancel)
	if _, err := k.Unwrap(ctx, w, []byte("a")); !fault.Is(err, fault.Canceled) {
		t.Errorf("the caller went away: %v", err)
	}
	s.CloseClientConnections()
	s.Listener.Close()
	if _, err := k.Wrap(t.Context(), kek, []byte("key"), nil); !fault.Is(err, fault.KeyUnreachable) {
		t.Errorf("nobody listens: %v", err)
	}
}

// TestContext: what is bound is not in what AWS logs.
func TestContext(t *testing.T) {
	s := newStub(t, string(kek))
	k := open(t, s)
	if got := encryptionContext([]byte("tenant\x00key")); len(got) != 1 || got["strata"] != "ch39pKKx47W9fak0YGBq2385ZbvKZYMHwgBuwzUFoik=" { // made by other code
		t.Errorf("context %v", got)
	}
	for _, aad := range []string{"tenant-a", "tenant-b"} {
		if _, err := k.Wrap(t.Context(), kek, []byte("key"), []byte(aad)); err != nil {
			t.Fatal(err)
		}
	}
	if len(s.contexts) != 2 || s.contexts[0] == s.contexts[1] || strings.Contains(strings.Join(s.contexts, ""), "tenant") {
		t.Errorf("contexts %q", s.contexts)
	}
}

func TestOptions(t *testing.T) {
	s := newStub(t, string(kek))
	k := open(t, s) // and its environment
	d, err := k.Describe(t.Context(), kek)
	if err != nil || len(d.Versions) != 1 || d.Versions[0].Created.Year() != 2026 {
		t.Errorf("%+v, %v", d, err)
	}
	for name, o := range map[string]Options{
		"no region":    {},
		"no endpoint":  {Region: "eu-central-1", Endpoint: "kms"},
		"no profile":   {Region: "eu-central-1", Profile: "none"},
		"no admin":     {Region: "eu-central-1", AdminProfile: "none"},
		"no scheme":    {Region: "eu-central-1", Endpoint: "ftp://kms"},
		"no host name": {Region: "eu-central-1", Endpoint: "https://"},
	} {
		if _, err := Open(t.Context(), o); !fault.Is(err, fault.Invalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	plain, err := Open(t.Context(), Options{Region: "eu-central-1", Endpoint: s.URL})
	if err != nil {
		t.Fatal(err)
	}
	if err := plain.Disable(t.Context(), kek); !fault.Is(err, fault.Invalid) || !strings.Contains(fault.Message(err), "admin-profile") {
		t.Errorf("disabling without a credential for it: %v", err)
	}
}

func BenchmarkStub(b *testing.B) {
	s := newStub(b, string(kek))
	keystest.Benchmark(b, open(b, s), kek)
}
