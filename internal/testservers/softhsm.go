package testservers

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// SoftHSMToken is a token of SoftHSM with one AES key.
type SoftHSMToken struct {
	Module  string // path of the PKCS #11 library
	Label   string // of the token
	PIN     string
	Folder  string // of the tokens
	PINFile string
}

// SoftHSM makes a token. The library finds it by the environment variable
// SOFTHSM2_CONF of this process when it is next initialised, so the test cannot
// be parallel to another one with a token.
func SoftHSM(t testing.TB) *SoftHSMToken {
	t.Helper()
	dir := t.TempDir()
	h := &SoftHSMToken{Label: "strata-test", PIN: "7391", Folder: filepath.Join(dir, "tokens"), PINFile: filepath.Join(dir, "pin")}
	for _, path := range []string{"/usr/lib/softhsm/libsofthsm2.so", "/usr/lib64/softhsm/libsofthsm2.so", "/usr/local/lib/softhsm/libsofthsm2.so"} {
		if _, err := os.Stat(path); err == nil {
			h.Module = path
			break
		}
	}
	if h.Module == "" {
		missing(t, "libsofthsm2.so")
	}
	conf := filepath.Join(dir, "softhsm2.conf")
	for path, content := range map[string]string{
		conf:      fmt.Sprintf("directories.tokendir = %s\nobjectstore.backend = file\nlog.level = ERROR\n", h.Folder),
		h.PINFile: h.PIN + "\n",
	} {
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(h.Folder, 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("SOFTHSM2_CONF", conf)
	h.tool(t, "softhsm2-util", "--init-token", "--free", "--label", h.Label, "--pin", h.PIN, "--so-pin", "73917391")
	return h
}

// MakeKey makes an AES-256 key of a label and an id in hexadecimal.
func (h *SoftHSMToken) MakeKey(t testing.TB, label, id string) {
	t.Helper()
	h.Do(t, "--keygen", "--key-type", "AES:32", "--label", label, "--id", id)
}

// DeleteKey deletes it.
func (h *SoftHSMToken) DeleteKey(t testing.TB, label, id string) {
	t.Helper()
	h.Do(t, "--delete-object", "--type", "secrkey", "--label", label, "--id", id)
}

// Do runs pkcs11-tool, logged in to the token, in a process of its own.
func (h *SoftHSMToken) Do(t testing.TB, args ...string) {
	t.Helper()
	h.tool(t, "pkcs11-tool", append([]string{"--module", h.Module, "--token-label", h.Label, "--login", "--pin", h.PIN}, args...)...)
}

func (h *SoftHSMToken) tool(t testing.TB, name string, args ...string) {
	t.Helper()
	if out, err := exec.Command(binary(t, name), args...).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", name, err, out)
	}
}
