//go:build linux

package stacktest

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
)

// Node is one `strata serve`.
type Node struct {
	*Process
	URL    string // of the server, without /dicom-web
	Folder string // what is its own: data folder, read cache, credentials
}

// newNode writes the configuration of a node, a file of the given settings, and
// returns the node. env is what its environment holds beyond the ordinary.
func newNode(program, dir, log, name string, port int, settings map[string]any, env []string) (*Node, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	addr := fmt.Sprintf("127.0.0.1:%d", port)
	n := &Node{URL: "http://" + addr, Folder: dir}
	all := map[string]any{"data": filepath.Join(dir, "data"), "listen": addr}
	maps.Copy(all, settings)
	b, err := json.MarshalIndent(all, "", "  ") // JSON is YAML
	if err != nil {
		return nil, err
	}
	file := filepath.Join(dir, "strata.yaml")
	if err := os.WriteFile(file, b, 0o600); err != nil {
		return nil, err
	}
	n.Process = &Process{name: name, log: log, ending: syscall.SIGTERM,
		command: func() *exec.Cmd {
			cmd := exec.Command(program, "serve", "--config", file)
			// A home of its own, so that no key and no setting of the caller's is used.
			cmd.Env = append([]string{"HOME=" + dir, "PATH=" + os.Getenv("PATH"), "TMPDIR=" + os.TempDir()}, env...)
			return cmd
		},
		ready: func(ctx context.Context) error { return ask(ctx, n.URL+"/readyz") }}
	return n, nil
}

// sharing are the settings by which nodes are one archive, and the environment
// that goes with them.
func (s *Stack) sharing(ctx context.Context, i int, dir string) (map[string]any, []string, error) {
	name := filepath.Base(dir)
	secret, err := s.Vault.role(ctx, "strata-"+name, nodePolicy, disabledPolicy)
	if err != nil {
		return nil, nil, err
	}
	admin, err := s.Vault.role(ctx, "strata-admin-"+name, adminPolicy)
	if err != nil {
		return nil, nil, err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, nil, err
	}
	files := map[string]string{filepath.Join(dir, "vault-secret-id"): secret, filepath.Join(dir, "vault-admin-secret-id"): admin, filepath.Join(dir, "token"): s.Token}
	for file, value := range files {
		if err := os.WriteFile(file, []byte(value+"\n"), 0o600); err != nil {
			return nil, nil, err
		}
	}
	vault := url.URL{Scheme: "vault", Opaque: s.Reach.Vault + "/" + Transit + "/" + Key, RawQuery: url.Values{
		"auth": {"approle"}, "role-id": {"strata-" + name}, "secret-id-file": {filepath.Join(dir, "vault-secret-id")},
		"admin-role-id": {"strata-admin-" + name}, "admin-secret-id-file": {filepath.Join(dir, "vault-admin-secret-id")},
	}.Encode()}
	return map[string]any{
		"database":   s.Reach.Databases[i],
		"store":      bucket(s.Reach.Store, ObjectBucket),
		"key-store":  bucket(s.Reach.Store, KeyBucket),
		"read-cache": filepath.Join(dir, "read-cache"),
		"providers":  map[string]string{"vault": vault.String()},
		"kek":        "vault/" + Key,
		"token-file": filepath.Join(dir, "token"),
	}, []string{"AWS_ACCESS_KEY_ID=" + s.S3.Key, "AWS_SECRET_ACCESS_KEY=" + s.S3.Secret}, nil
}

// bucket is the address of a bucket as a setting names it.
func bucket(endpoint, name string) string {
	return "s3://" + name + "?" + url.Values{"endpoint": {endpoint}, "region": {Region}, "pathstyle": {"true"}}.Encode()
}

// Build builds the program of the nodes into a folder, from the sources that the
// caller was built from.
func Build(ctx context.Context, dir string) (string, error) {
	program := filepath.Join(dir, "strata")
	_, err := output(exec.CommandContext(ctx, "go", "build", "-o", program, "github.com/strata-pacs/strata/cmd/strata"))
	return program, err
}
