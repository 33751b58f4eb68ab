//go:build linux

package dark

import (
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/strata-pacs/strata/internal/keys"
	"github.com/strata-pacs/strata/internal/keys/localkeys"
	"github.com/strata-pacs/strata/internal/testservers"
)

// TestTwoLocks has an archive under Vault and a key file, and takes either away.
func TestTwoLocks(t *testing.T) {
	v := testservers.Vault(t)
	dir := t.TempDir()
	key, token := filepath.Join(dir, "key", "second.key"), filepath.Join(dir, "key", "token")
	if err := os.Mkdir(filepath.Dir(key), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := localkeys.Create(key, nil); err != nil {
		t.Fatal(err)
	}
	file, err := localkeys.Open(key, nil)
	if err != nil {
		t.Fatal(err)
	}
	allow := func() error {
		v.Write(t, "sys/policies/acl/strata", map[string]any{"policy": `path "transit/*" { capabilities = ["update", "read"] }`})
		return nil
	}
	deny := func() error {
		v.Write(t, "sys/policies/acl/strata", map[string]any{"policy": `path "transit/*" { capabilities = ["deny"] }`})
		return nil
	}
	_ = allow()
	v.Write(t, "transit/keys/strata", map[string]any{"type": "aes256-gcm96"})
	made, _ := v.Write(t, "auth/token/create", map[string]any{"policies": []string{"strata"}})["client_token"].(string)
	if err := os.WriteFile(token, []byte(made), 0o600); err != nil || made == "" {
		t.Fatal(made == "", err)
	}
	s := alone(t, built(t, false), dir, map[string]any{
		"providers": map[string]string{"vault": "vault:" + v.Address + "/transit/strata?auth=token&token-file=" + token, "file": "local:" + key},
		"kek":       string(keys.Pair("vault/strata", "file/"+file.ID())),
		"key-file":  filepath.Join(dir, "key", "none")})
	seed(t, s)
	use(t, s)
	away := func() error { return os.Rename(key, key+".away") }
	there := func() error { return os.Rename(key+".away", key) }
	t.Run("Vault denies", func(t *testing.T) { revoked(t, deny, allow, s) })
	t.Run("the key file is removed", func(t *testing.T) { revoked(t, away, there, s) })
	t.Run("the key file is removed while Vault is silent", func(t *testing.T) {
		revoked(t, func() error { v.Stop(t); return away() }, func() error { v.Continue(t); return there() }, s)
	})
}

// TestHSM destroys the key in an HSM; its token is put back from a backup then.
func TestHSM(t *testing.T) {
	h := testservers.SoftHSM(t)
	h.MakeKey(t, "strata", "01")
	dir := t.TempDir()
	s := alone(t, built(t, true), dir, map[string]any{
		"providers": map[string]string{"hsm": "pkcs11:token=" + h.Label + ";object=strata?module-path=" + h.Module + "&pin-source=file:" + h.PINFile},
		"kek":       "hsm/strata", "key-file": filepath.Join(dir, "key", "none")}, "SOFTHSM2_CONF="+os.Getenv("SOFTHSM2_CONF"))
	seed(t, s)
	use(t, s)
	backup := filepath.Join(t.TempDir(), "tokens")
	if err := os.CopyFS(backup, os.DirFS(h.Folder)); err != nil {
		t.Fatal(err)
	}
	t.Run("the key is destroyed", func(t *testing.T) {
		revoked(t, func() error { h.DeleteKey(t, "strata", "01"); return nil }, func() error {
			return errors.Join(os.RemoveAll(h.Folder), os.CopyFS(h.Folder, os.DirFS(backup)))
		}, s)
	})
	t.Run("the PIN is another", func(t *testing.T) {
		h.Do(t, "--change-pin", "--new-pin", "9182")
		for since := time.Now(); time.Since(since) < limit; time.Sleep(200 * time.Millisecond) {
			// Who has signed in stays signed in, as PKCS #11 has it: a PIN is no revocation.
			s.must(t, http.StatusOK, route{path: "/studies", accept: textJSON})
		}
	})
}
