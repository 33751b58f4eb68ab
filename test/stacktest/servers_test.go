//go:build linux

package stacktest

import (
	"context"
	"encoding/base64"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/vault/api"
)

// TestServers walks the servers through what tests do to them.
func TestServers(t *testing.T) {
	o := Options{Dir: t.TempDir()}
	s := Start(t, o)
	t.Run("postgres", func(t *testing.T) { testPostgres(t, s.Postgres) })
	t.Run("s3", func(t *testing.T) { testS3(t, s.S3) })
	var sealed string
	t.Run("vault", func(t *testing.T) { sealed = testVault(t, s.Vault) })
	if _, err := Open(t.Context(), o); err == nil || !strings.Contains(err.Error(), "runs already") {
		t.Errorf("a second stack in the same folder: %v", err)
	}
	var pids []int
	for _, p := range s.Processes() {
		pids = append(append(pids, p.PID()), children(p.PID())...)
	}
	if len(pids) < 4 { // three servers, and what PostgreSQL starts
		t.Errorf("only the processes %v", pids)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	for _, pid := range pids {
		if err := syscall.Kill(pid, 0); !errors.Is(err, syscall.ESRCH) {
			t.Errorf("process %d is left: %v", pid, err)
		}
	}

	again := Start(t, o)
	if err := again.Postgres.query(t.Context(), databaseName, `SELECT 1 / count(*) FROM kept`); err != nil {
		t.Errorf("the table is gone: %v", err)
	}
	if _, err := os.Stat(filepath.Join(again.S3.Folder, KeyBucket)); err != nil {
		t.Error(err)
	}
	if got, err := signIn(t, again.Vault, nodePolicy).decrypt(t.Context(), sealed, "one"); err != nil || got != "secret" {
		t.Errorf("what was sealed under the key of before: %q, %v", got, err)
	}
}

func testPostgres(t *testing.T, g *Postgres) {
	ctx := t.Context()
	must := func(sql string) {
		t.Helper()
		if err := g.query(ctx, databaseName, sql); err != nil {
			t.Fatal(err)
		}
	}
	must(`CREATE TABLE kept (n int); INSERT INTO kept VALUES (1)`)
	// The nodes' role owns the database, and is held by row-level security as no superuser is.
	must(`SELECT 1 / count(*) FROM pg_roles r JOIN pg_database d ON d.datdba = r.oid
		WHERE datname = 'strata' AND rolname = 'strata' AND NOT rolsuper AND NOT rolbypassrls`)
	must(`SELECT 1 / (current_setting('fsync') = 'on' AND current_setting('synchronous_commit') = 'on')::int`)
	g.Kill()
	if g.Running() || g.query(ctx, databaseName, `SELECT 1`) == nil {
		t.Fatal("it answers after it was killed")
	}
	if err := g.Start(ctx); err != nil {
		t.Fatal(err)
	}
	must(`SELECT 1 / count(*) FROM kept`)
	if err := g.Freeze(); err != nil {
		t.Fatal(err)
	}
	short, cancel := context.WithTimeout(ctx, 300*time.Millisecond)
	defer cancel()
	if g.query(short, databaseName, `SELECT 1`) == nil {
		t.Error("it answers while it is frozen")
	}
	if err := g.Thaw(); err != nil {
		t.Fatal(err)
	}
	must(`SELECT 1 / count(*) FROM kept`)
	if err := g.Restart(ctx); err != nil {
		t.Fatal(err)
	}
	must(`SELECT 1 / count(*) FROM kept`)
}

func testS3(t *testing.T, g *S3) {
	status := func() int {
		t.Helper()
		resp, err := http.Get(g.Endpoint + "/" + ObjectBucket + "?list-type=2")
		if err != nil {
			return 0
		}
		resp.Body.Close()
		return resp.StatusCode
	}
	if got := status(); got != http.StatusForbidden {
		t.Errorf("a stranger's listing: status %d", got)
	}
	g.Kill()
	if got := status(); got != 0 {
		t.Errorf("killed, it answers %d", got)
	}
	if err := g.open(t.Context()); err != nil { // buckets that are there are no error
		t.Fatal(err)
	}
	for _, bucket := range []string{ObjectBucket, KeyBucket} {
		if _, err := os.Stat(filepath.Join(g.Folder, bucket)); err != nil {
			t.Error(err)
		}
	}
}

// seat is a node's place at Vault.
type seat struct{ *api.Client }

func signIn(t *testing.T, v *Vault, policies ...string) seat {
	t.Helper()
	name := "strata-test-" + policies[0]
	secret, err := v.role(t.Context(), name, policies...)
	if err != nil {
		t.Fatal(err)
	}
	c, err := v.Root.Clone()
	if err != nil {
		t.Fatal(err)
	}
	got, err := c.Logical().WriteWithContext(t.Context(), "auth/approle/login", map[string]any{"role_id": name, "secret_id": secret})
	if err != nil {
		t.Fatal(err)
	}
	c.SetToken(got.Auth.ClientToken)
	return seat{c}
}

func (s seat) encrypt(ctx context.Context, text, about string) (string, error) {
	got, err := s.Logical().WriteWithContext(ctx, Transit+"/encrypt/"+Key, map[string]any{
		"plaintext": base64.StdEncoding.EncodeToString([]byte(text)), "associated_data": base64.StdEncoding.EncodeToString([]byte(about))})
	if err != nil {
		return "", err
	}
	return got.Data["ciphertext"].(string), nil
}

func (s seat) decrypt(ctx context.Context, text, about string) (string, error) {
	got, err := s.Logical().WriteWithContext(ctx, Transit+"/decrypt/"+Key, map[string]any{
		"ciphertext": text, "associated_data": base64.StdEncoding.EncodeToString([]byte(about))})
	if err != nil {
		return "", err
	}
	b, err := base64.StdEncoding.DecodeString(got.Data["plaintext"].(string))
	return string(b), err
}

// status is the HTTP status of an error of Vault, 0 for one that is none.
func status(err error) int {
	var r *api.ResponseError
	if errors.As(err, &r) {
		return r.StatusCode
	}
	return 0
}

func testVault(t *testing.T, v *Vault) string {
	ctx := t.Context()
	node := signIn(t, v, nodePolicy, disabledPolicy)
	admin := signIn(t, v, adminPolicy)
	sealed, err := node.encrypt(ctx, "secret", "one")
	if err != nil {
		t.Fatal(err)
	}
	opens := func(when string) {
		t.Helper()
		if got, err := node.decrypt(ctx, sealed, "one"); err != nil || got != "secret" {
			t.Fatalf("%s: %q, %v", when, got, err)
		}
	}
	opens("at first")
	if _, err := node.decrypt(ctx, sealed, "two"); err == nil {
		t.Error("it opens with other associated data")
	}
	// The policy of deploy/ allows the use of one key and nothing else.
	for path, data := range map[string]map[string]any{Transit + "/encrypt/other": {"plaintext": "eA=="}, Transit + "/keys/other": {},
		Transit + "/keys/" + Key + "/rotate": {}, Transit + "/keys/" + Key + "/config": {"deletion_allowed": true}, "sys/seal": {}} {
		if _, err := node.Logical().WriteWithContext(ctx, path, data); status(err) != http.StatusForbidden {
			t.Errorf("a node writes %s: %v", path, err)
		}
	}
	if key, err := node.Logical().ReadWithContext(ctx, Transit+"/keys/"+Key); err != nil || key.Data["exportable"] != false {
		t.Errorf("a node reads about its key: %v, %v", key, err)
	}
	// The other policy allows what takes the key out of use, and not its use.
	if _, err := admin.encrypt(ctx, "secret", "one"); status(err) != http.StatusForbidden {
		t.Errorf("the administrator uses the key: %v", err)
	}
	rules := `path "` + Transit + "/decrypt/" + Key + `" { capabilities = ["deny"] }`
	for path, data := range map[string]map[string]any{Transit + "/keys/" + Key + "/rotate": nil,
		Transit + "/keys/" + Key + "/config": {"min_encryption_version": 0}, "sys/policies/acl/" + disabledPolicy: {"policy": rules}} {
		if _, err := admin.Logical().WriteWithContext(ctx, path, data); err != nil {
			t.Errorf("the administrator writes %s: %v", path, err)
		}
	}
	if _, err := node.decrypt(ctx, sealed, "one"); status(err) != http.StatusForbidden {
		t.Errorf("disabled: %v", err)
	}
	if _, err := admin.Logical().DeleteWithContext(ctx, "sys/policies/acl/"+disabledPolicy); err != nil {
		t.Fatal(err)
	}
	opens("enabled again")

	if err := v.Deny(ctx); err != nil {
		t.Fatal(err)
	}
	if _, err := node.decrypt(ctx, sealed, "one"); status(err) != http.StatusForbidden {
		t.Errorf("denied: %v", err)
	}
	if err := v.Allow(ctx); err != nil {
		t.Fatal(err)
	}
	opens("allowed again")
	if err := v.Seal(ctx); err != nil {
		t.Fatal(err)
	}
	if _, err := node.decrypt(ctx, sealed, "one"); status(err) != http.StatusServiceUnavailable {
		t.Errorf("sealed: %v", err)
	}
	if err := v.Unseal(ctx); err != nil {
		t.Fatal(err)
	}
	opens("unsealed")
	v.Kill()
	if _, err := node.decrypt(ctx, sealed, "one"); err == nil || status(err) != 0 {
		t.Errorf("killed: %v", err)
	}
	if err := v.Start(ctx); err != nil {
		t.Fatal(err)
	}
	opens("started again")
	return sealed
}

// TestOpenFails has nodes that end at once: what was started goes down again.
func TestOpenFails(t *testing.T) {
	dir := t.TempDir()
	if err := Start(t, Options{Dir: dir}).Close(); err != nil { // skips where there are no servers
		t.Fatal(err)
	}
	program := filepath.Join(t.TempDir(), "strata")
	if err := os.WriteFile(program, []byte("#!/bin/sh\necho no such setting\nexit 2\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	_, err := Open(t.Context(), Options{Dir: dir, Nodes: 1, Program: program})
	if err == nil || !strings.Contains(err.Error(), "node1 ended") || !strings.Contains(err.Error(), "no such setting") {
		t.Fatalf("it opens without a node: %v", err)
	}
	found, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, f := range found {
		if b, _ := os.ReadFile(f); strings.Contains(string(b), dir) {
			t.Errorf("left is %q", b)
		}
	}
	b, err := os.ReadFile(filepath.Join(dir, "node1", "strata.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	for _, setting := range []string{"database", "store", "key-store", "read-cache", "providers", "kek", "token-file"} {
		if !strings.Contains(string(b), `"`+setting+`": `) {
			t.Errorf("the node is not told its %s: %s", setting, b)
		}
	}
	if _, err := Open(t.Context(), Options{Dir: dir, Nodes: 4}); err == nil {
		t.Error("a stack of four nodes")
	}
}
