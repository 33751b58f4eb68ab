package localkeys

import (
	"encoding/hex"
	"os"
	"path/filepath"
	"testing"

	"github.com/strata-pacs/strata/internal/keys"
)

// TestEarlier: key files of the first version, and what was wrapped with them,
// open unchanged, before and after a rotation.
func TestEarlier(t *testing.T) {
	for _, tt := range []struct{ passphrase, file, kek, wrapped string }{
		{"", `{
  "format": "strata-local-key v1",
  "note": "Keep a copy of this file in another place. Without it the archive cannot be read by anyone.",
  "id": "local-09b1c0a891f67c9a",
  "keys": [
    {
      "version": 1,
      "created": "2026-11-29T20:39:40Z",
      "key": "10hSVTHFKaLEegwrhFR9x65BTmU/ZrVbQu5VPZck860="
    }
  ]
}
`, "local-09b1c0a891f67c9a", "3496791988072081273d89614651be5c92ff4b0b8e2f1c7d90953583cdc721a745ea536c081d2da2f3ee6592c011f30cfcb1a73c217f2fa61bb89d72"},
		{"correct horse", `{
  "format": "strata-local-key v1",
  "note": "Keep a copy of this file in another place. Without it the archive cannot be read by anyone.",
  "id": "local-c619547919a234b1",
  "kdf": {
    "time": 3,
    "memory": 65536,
    "threads": 4,
    "salt": "CpYx571y71sWc0xtiA4jvQ=="
  },
  "keys": [
    {
      "version": 1,
      "created": "2026-11-29T20:39:40Z",
      "key": "1CzkYLJwXDRuUhR7Uv8KkEZwuKAtMXY2j3jIT4tMNDeXszp1VIkG0njzJdYKDq/15PLlfm15RSWbk398"
    }
  ]
}
`, "local-c619547919a234b1", "e91b419ac057afa15bcbb46ba0a7de3c108bb8b6e460cfc08842d95e87e8f8188592fc702366da27b8bb6296bd18c2fa442079a1f2bf4f369caa3c81"},
	} {
		if testing.Short() && tt.passphrase != "" {
			continue
		}
		path := filepath.Join(t.TempDir(), "strata.key")
		if err := os.WriteFile(path, []byte(tt.file), 0o600); err != nil {
			t.Fatal(err)
		}
		b, err := hex.DecodeString(tt.wrapped)
		if err != nil {
			t.Fatal(err)
		}
		w := keys.Wrapped{KEK: keys.ID(tt.kek), Version: "1", Bytes: b}
		f := mustOpen(t, path, tt.passphrase)
		for range 2 {
			if got, err := f.Unwrap(t.Context(), w, []byte("tenant\x00key")); err != nil || string(got) != "0123456789abcdef0123456789abcdef" {
				t.Errorf("%q, %v", got, err)
			}
			if _, err := f.Rotate(t.Context(), f.ID()); err != nil {
				t.Fatal(err)
			}
			f = mustOpen(t, path, tt.passphrase)
		}
	}
}
