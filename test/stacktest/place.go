//go:build linux

package stacktest

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// secrets are what the parts of a stack know each other by. They are made at
// random once and kept in the stack's folder, which only its owner reads.
type secrets struct {
	Postgres  string `json:"postgres"`   // password of the cluster's superuser
	Database  string `json:"database"`   // password of the nodes
	S3Key     string `json:"s3_key"`     // access key of the S3 server
	S3Secret  string `json:"s3_secret"`  // its secret
	Token     string `json:"token"`      // operator's bearer token
	VaultKey  string `json:"vault_key"`  // the one unseal key
	VaultRoot string `json:"vault_root"` // root token of Vault
}

// openSecrets reads the secrets of a folder, or makes those of a new one.
func openSecrets(file string) (*secrets, error) {
	s := &secrets{}
	b, err := os.ReadFile(file)
	switch {
	case err == nil:
		if err := json.Unmarshal(b, s); err != nil {
			return nil, fmt.Errorf("%s is damaged: %w", file, err)
		}
		return s, nil
	case !errors.Is(err, fs.ErrNotExist):
		return nil, err
	}
	*s = secrets{Postgres: random(), Database: random(), S3Key: "strata", S3Secret: random(), Token: random()}
	return s, s.save(file)
}

// save replaces the file whole.
func (s *secrets) save(file string) error {
	b, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return err
	}
	if err := os.WriteFile(file+".new", b, 0o600); err != nil {
		return err
	}
	return os.Rename(file+".new", file)
}

// random is a secret of 192 bits.
func random() string {
	b := make([]byte, 24)
	rand.Read(b)
	return hex.EncodeToString(b)
}

// built finds a server that test/servers/build left in the cache folder.
func built(name string) (string, error) {
	cache := os.Getenv("XDG_CACHE_HOME")
	if cache == "" {
		cache = filepath.Join(os.Getenv("HOME"), ".cache")
	}
	path := filepath.Join(cache, "strata-build", "bin", name)
	if _, err := os.Stat(path); err != nil {
		return "", missing(name)
	}
	return path, nil
}

// installed finds a program of a package: on PATH, in the folders of
// administrators, or by a pattern.
func installed(name string, patterns ...string) (string, error) {
	if path, err := exec.LookPath(name); err == nil {
		return path, nil
	}
	for _, pattern := range append(patterns, "/usr/sbin/"+name, "/sbin/"+name) {
		if found, _ := filepath.Glob(pattern); len(found) > 0 {
			return found[len(found)-1], nil
		}
	}
	return "", missing(name)
}

type missing string

func (m missing) Error() string {
	return string(m) + " is not here: run `make setup`, which brings what the stack needs"
}

// ask gets a URL and returns nil for a status below 400.
func ask(ctx context.Context, url string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	b, _ := io.ReadAll(io.LimitReader(resp.Body, 1<<10))
	if resp.StatusCode >= 400 {
		return fmt.Errorf("status %d: %s", resp.StatusCode, strings.TrimSpace(string(b)))
	}
	return nil
}

// output runs a program to its end and returns what it wrote, in the error too.
func output(cmd *exec.Cmd) (string, error) {
	b, err := cmd.CombinedOutput()
	if err != nil {
		return string(b), fmt.Errorf("%s: %w\n%s", filepath.Base(cmd.Path), err, strings.TrimSpace(string(b)))
	}
	return string(b), nil
}
