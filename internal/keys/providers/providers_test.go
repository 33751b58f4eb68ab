package providers

import (
	"net/url"
	"path/filepath"
	"strings"
	"testing"

	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/internal/keys"
	"github.com/strata-pacs/strata/internal/keys/keystest"
	"github.com/strata-pacs/strata/internal/keys/localkeys"
	"github.com/strata-pacs/strata/internal/keys/pkcs11keys"
	"github.com/strata-pacs/strata/internal/testservers"
)

// roundTrip opens a setting and wraps under the key that it names.
func roundTrip(t *testing.T, setting string, want keys.ID) keys.Description {
	t.Helper()
	s, err := Open(t.Context(), map[string]string{"p": setting})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	kek := id(t, s, "p")
	if kek != "p/"+want {
		t.Errorf("key %q, want %q", kek, want)
	}
	w, err := s.Wrap(t.Context(), kek, []byte("key"), []byte("a"))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := s.Unwrap(t.Context(), w, []byte("a")); err != nil || string(got) != "key" {
		t.Errorf("%q, %v", got, err)
	}
	d, err := keys.Describe(t.Context(), s, kek)
	if err != nil {
		t.Error(err)
	}
	return d
}

func TestLocal(t *testing.T) {
	for _, passphrase := range []string{"", "correct horse"} {
		path := filepath.Join(t.TempDir(), "a key?.json")
		if err := localkeys.Create(path, []byte(passphrase)); err != nil {
			t.Fatal(err)
		}
		f, err := localkeys.Open(path, []byte(passphrase))
		if err != nil {
			t.Fatal(err)
		}
		setting := "local:" + (&url.URL{Path: path}).EscapedPath()
		if passphrase != "" {
			setting += "?passphrase-file=" + url.QueryEscape(secretFile(t, passphrase))
		}
		if d := roundTrip(t, setting, f.ID()); d.Provider != "local" {
			t.Errorf("%+v", d)
		}
	}
}

func TestVault(t *testing.T) {
	v := testservers.Vault(t)
	v.Write(t, "sys/mounts/team/transit", map[string]any{"type": "transit"})
	v.Write(t, "team/transit/keys/tenant-a", nil)
	token := secretFile(t, v.Token)
	setting := "vault:" + v.Address + "/team/transit/tenant-a?auth=token&timeout=2s&token-file=" + token + "&admin-token-file=" + token
	if d := roundTrip(t, setting, "tenant-a"); d.Provider != "vault" {
		t.Errorf("%+v", d)
	}

	// Two locks, on a file and on Vault.
	path := filepath.Join(t.TempDir(), "key")
	if err := localkeys.Create(path, nil); err != nil {
		t.Fatal(err)
	}
	setting, _, _ = strings.Cut(setting, "&admin")
	s, err := Open(t.Context(), map[string]string{"operator": "local:" + path, "hospital": setting})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	keystest.Run(t, keystest.Harness{
		New: func(t *testing.T) (keys.Wrapper, keys.ID) {
			return s, keys.Pair(id(t, s, "operator"), id(t, s, "hospital"))
		},
		Silence: func(t *testing.T) func() { v.Stop(t); return func() { v.Continue(t) } },
	})
}

func TestPKCS11(t *testing.T) {
	h := testservers.SoftHSM(t)
	h.MakeKey(t, "tenant a", "0a")
	setting := "pkcs11:token=" + h.Label + ";object=tenant%20a?module-path=" + h.Module + "&pin-source=file:" + h.PINFile
	if _, err := Open(t.Context(), map[string]string{"p": setting}); err != nil && strings.Contains(err.Error(), "CGO_ENABLED") {
		t.Skip(err)
	}
	if d := roundTrip(t, setting, "tenant a"); d.Provider != "pkcs11" || d.Newest != "10" {
		t.Errorf("%+v", d)
	}
	roundTrip(t, strings.Replace(setting, "object=tenant%20a", "id=%0A", 1)+"&mechanism=key-wrap-pad&sessions=2&timeout=5s", pkcs11keys.ByID([]byte{10}))
}

// TestPKCS11Twice: two providers of one library share it, and one may be closed before the other.
func TestPKCS11Twice(t *testing.T) {
	h := testservers.SoftHSM(t)
	h.MakeKey(t, "a", "01")
	h.MakeKey(t, "b", "01")
	setting := "?module-path=" + h.Module + "&pin-source=" + h.PINFile
	s, err := Open(t.Context(), map[string]string{"a": "pkcs11:token=" + h.Label + ";object=a" + setting, "b": "pkcs11:token=" + h.Label + ";object=b" + setting})
	if err != nil && strings.Contains(err.Error(), "CGO_ENABLED") {
		t.Skip(err)
	} else if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	keystest.Run(t, keystest.Harness{New: func(t *testing.T) (keys.Wrapper, keys.ID) {
		return s, keys.Pair(id(t, s, "a"), id(t, s, "b"))
	}})
	if err := s.byName["a"].Close(); err != nil {
		t.Fatal(err)
	}
	p := s.byName["a"]
	p.Close = nil
	s.byName["a"] = p
	if _, err := s.Wrap(t.Context(), id(t, s, "b"), []byte("key"), nil); err != nil {
		t.Errorf("after the other was closed: %v", err)
	}
}

func TestKMS(t *testing.T) {
	const key = "12345678-90ab-cdef-1234-567890abcdef"
	for setting, want := range map[string]keys.ID{
		"awskms:" + key + "?region=eu-central-1&endpoint=https://kms.example.org&timeout=1s": "p/" + key,
		"awskms:arn:aws:kms:eu-central-1:123456789012:key/" + key:                            "p/arn:aws:kms:eu-central-1:123456789012:key/" + key,
	} {
		s, err := Open(t.Context(), map[string]string{"p": setting})
		if err != nil {
			t.Fatal(err)
		}
		if kek := id(t, s, "p"); kek != want {
			t.Errorf("key %q, want %q", kek, want)
		}
		s.Close()
	}
}

// TestWrong: an error names the provider and the parameter, and repeats no value.
func TestWrong(t *testing.T) {
	path := filepath.Join(t.TempDir(), "key")
	if err := localkeys.Create(path, nil); err != nil {
		t.Fatal(err)
	}
	const vault = "vault:https://vault.example.org/transit/key?auth=token&token-file=/t"
	const hsm = "pkcs11:token=t;object=k?module-path=/m.so&pin-source=/p"
	const kms = "awskms:arn:aws:kms:eu-central-1:123456789012:key/12345678-90ab-cdef-1234-567890abcdef"
	for setting, want := range map[string]string{
		"":                             "by a URL",
		"vault":                        "by a URL",
		"gcpkms:x":                     `no key provider "gcpkms"`,
		vault + "&x=%zz":               "by a URL",
		vault + "&colour=hunter2":      `"colour"`,
		vault:                          "token-file names a file that cannot be read",
		vault + "&token-file=/hunter2": "token-file is given twice",
		vault + "&namespace=":          "namespace is empty",
		vault + "&timeout=hunter2":     "timeout is a time",
		vault + "&timeout=-1s":         "timeout is a time",
		vault + "&ca-file=/none":       "CA file",
		vault + "&client-cert=/none":   "client certificate",
		vault + "&admin-token-file=/t&admin-role-id=r":                       "admin-token-file and admin-role-id",
		vault + "&admin-auth-mount=x":                                        "role id",
		"vault:https://vault.example.org/transit/key":                        "auth is missing",
		"vault:https://vault.example.org/transit/key?auth=hunter":            "not by",
		"vault:https://vault.example.org/key?auth=token&token-file=/t":       "mount",
		"vault:https://u:hunter2@example.org/transit/key?auth=token":         "without a user",
		"vault:ftp://vault.example.org/transit/key?auth=token&token-file=/t": "address",
		"vault:/transit/key?auth=token":                                      "address",
		"local:":                                                             "no key file",
		"local:" + path + "?passphrase=hunter2":                              `"passphrase"`,
		"local:" + path + "?passphrase-file=/none":                           "passphrase-file",
		"pkcs11:?module-path=/m.so":                                          "attributes",
		"pkcs11:token=t?module-path=/m.so&pin-source=/p":                     "object is missing",
		"pkcs11:token=t;object=k;id=1?module-path=/m.so&pin-source=/p":       "object and id",
		"pkcs11:token=t;object=k;colour=red?module-path=/m.so&pin-source=/p": `"colour"`,
		"pkcs11:object=k?module-path=/m.so&pin-source=/p":                    "token",
		"pkcs11:token=t;slot-id=x;object=k?module-path=/m.so&pin-source=/p":  "slot-id is a number",
		"pkcs11:token=t;object=k?pin-source=/p":                              "module-path is missing",
		"pkcs11:token=t;object=k?module-path=/m.so":                          "pin-source is missing",
		hsm + "&pin-value=hunter2":                                           "pin-value",
		hsm + "&mechanism=cbc":                                               "cbc",
		hsm + "&sessions=many":                                               "sessions is a number",
		"awskms:alias/strata?region=eu-central-1":                            "alias",
		"awskms:":                 "ARN",
		kms + "?region=us-east-1": "region",
		kms + "?endpoint=hunter2": "endpoint",
		kms + "?secret=hunter2":   `"secret"`,
	} {
		s, err := Open(t.Context(), map[string]string{"name": setting})
		if !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), want) || !strings.HasPrefix(err.Error(), "providers.name: ") {
			t.Errorf("%q: %v, want %q", setting, err, want)
		}
		if err != nil && strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%q: the error repeats a value: %v", setting, err)
		}
		if err == nil {
			s.Close()
		}
	}
	if _, err := Open(t.Context(), map[string]string{"name": "local:" + path + ".none"}); !fault.Is(err, fault.KeyDenied) {
		t.Errorf("no key file: %v", err)
	}
	if _, err := Open(t.Context(), map[string]string{"Name": "local:" + path}); !fault.Is(err, fault.Invalid) {
		t.Errorf("a bad name: %v", err)
	}
}
