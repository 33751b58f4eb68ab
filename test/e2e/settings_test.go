//go:build linux

package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// wrongSettings starts nodes that are told something wrong. Each ends soon, and
// says which setting is wrong.
func wrongSettings(t *testing.T, w *world) {
	conf := w.settings(t, 0)
	dsn, store, vault := conf["database"].(string), conf["store"].(string), conf["providers"].(map[string]any)["vault"].(string)
	providers := func(vault string) map[string]any { return map[string]any{"providers": map[string]any{"vault": vault}} }
	const nowhere = "127.0.0.1:1"
	at := strings.TrimPrefix(w.Reach.Vault, "http://")
	for _, c := range []struct {
		name   string
		change map[string]any
		env    []string
		want   string // how what it says begins
		slow   bool
	}{
		{"no address of a database", map[string]any{"database": "postgres://%zz"}, nil, "database: ", false},
		{"nobody there", map[string]any{"database": "postgres://strata:x@" + nowhere + "/strata?sslmode=disable"}, nil, "database: ", true},
		{"another password", map[string]any{"database": strings.Replace(dsn, "strata:", "strata:x", 1)}, nil, "database: ", false},
		{"another database", map[string]any{"database": strings.Replace(dsn, "/strata?", "/nothing?", 1)}, nil, "database: ", false},
		{"no such kind of store", map[string]any{"store": "ftp://strata-objects"}, nil, "store: ", false},
		{"no such bucket", map[string]any{"store": strings.Replace(store, "strata-objects", "strata-nothing", 1)}, nil, "store: ", false},
		{"no store there", map[string]any{"store": "s3://strata-objects?pathstyle=true&region=us-east-1&endpoint=http://" + nowhere}, nil, "store: ", false},
		{"another secret", nil, []string{"AWS_SECRET_ACCESS_KEY=wrong"}, "store: ", false},
		{"no such bucket for keys", map[string]any{"key-store": strings.Replace(store, "strata-objects", "strata-nothing", 1)}, nil, "key-store: ", false},
		{"an empty store", map[string]any{"store": strings.Replace(store, "strata-objects", "strata-objects/empty", 1), "key-store": nil}, nil, "store: ", false},
		{"no such provider", providers("safe:" + at), nil, "providers.vault: ", false},
		{"no parameters of a provider", providers("vault:http://" + at + "/transit/strata"), nil, "providers.vault: ", false},
		{"no secret for the provider", providers(strings.Replace(vault, "vault-secret-id", "nothing", 1)), nil, "providers.vault: vault: secret-id-file names a file", false},
		{"no such key at the provider", map[string]any{"kek": "vault/nothing", "tenant": "new"}, nil, "kek vault/nothing, or", false},
		{"a key of no provider", map[string]any{"kek": "safe/strata"}, nil, "kek: ", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.slow && !*long {
				t.Skip("waits for ten seconds; -e2e.long does")
			}
			dir := t.TempDir()
			wrong := w.settings(t, 0)
			wrong["data"], wrong["listen"], wrong["read-cache"] = filepath.Join(dir, "data"), "127.0.0.1:0", filepath.Join(dir, "cache")
			for k, v := range c.change {
				if wrong[k] = v; v == nil {
					delete(wrong, k)
				}
			}
			file := filepath.Join(dir, "strata.yaml")
			write(t, file, wrong)
			ctx, cancel := context.WithTimeout(t.Context(), 45*time.Second)
			defer cancel()
			began := time.Now()
			cmd := exec.CommandContext(ctx, w.program, "serve", "--config", file)
			cmd.Env = append(w.environment(w.Nodes[0]), c.env...)
			out, err := cmd.CombinedOutput()
			var exit *exec.ExitError
			if !errors.As(err, &exit) || ctx.Err() != nil || !strings.Contains("\n"+string(out), "\nstrata: "+c.want) {
				t.Fatalf("%v after %.1f s:\n%s", err, time.Since(began).Seconds(), out)
			}
			t.Logf("status %d after %.1f s: %s", exit.ExitCode(), time.Since(began).Seconds(), out[max(0, strings.Index(string(out), "strata: ")):])
		})
	}
}

// settings are those of a node.
func (w *world) settings(t *testing.T, node int) (conf map[string]any) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(w.Nodes[node].Folder, "strata.yaml"))
	if err == nil {
		err = json.Unmarshal(b, &conf)
	}
	if err != nil {
		t.Fatal(err)
	}
	return conf
}

func write(t *testing.T, file string, conf map[string]any) {
	t.Helper()
	b, err := json.Marshal(conf)
	if err == nil {
		err = os.WriteFile(file, b, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}
