package testservers

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// VaultServer is a Vault of its own with the Transit engine at transit. It keeps
// what it has in a file, so that it can be killed and started again.
type VaultServer struct {
	Address string // http://127.0.0.1:port
	Token   string // root

	t                       testing.TB // it lives as long as this test
	program, config, unseal string
	cmd                     *exec.Cmd
}

// Vault starts a Vault, unsealed.
func Vault(t testing.TB) *VaultServer {
	t.Helper()
	dir, program := t.TempDir(), binary(t, "vault-1.21.2")
	address, cluster := fmt.Sprintf("127.0.0.1:%d", freePort(t)), fmt.Sprintf("127.0.0.1:%d", freePort(t))
	v := &VaultServer{t: t, Address: "http://" + address, program: program, config: filepath.Join(dir, "vault.json")}
	config, err := json.Marshal(map[string]any{
		"storage":       map[string]any{"raft": map[string]any{"path": dir, "node_id": "only", "performance_multiplier": "1"}},
		"listener":      map[string]any{"tcp": map[string]any{"address": address, "cluster_address": cluster, "tls_disable": true}},
		"api_addr":      v.Address,
		"cluster_addr":  "http://" + cluster,
		"disable_mlock": true,
	})
	if err == nil {
		err = os.WriteFile(v.config, config, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	v.Start(t)
	var made struct {
		Keys  []string `json:"keys"`
		Token string   `json:"root_token"`
	}
	b := v.must(t, http.MethodPut, "sys/init", map[string]any{"secret_shares": 1, "secret_threshold": 1})
	if err := json.Unmarshal(b, &made); err != nil || len(made.Keys) != 1 {
		t.Fatalf("initialising Vault: %d keys, %v", len(made.Keys), err)
	}
	v.unseal, v.Token = made.Keys[0], made.Token
	v.Unseal(t)
	v.Write(t, "sys/mounts/transit", map[string]any{"type": "transit"})
	return v
}

// Start starts it again after Kill. It is sealed then.
func (v *VaultServer) Start(t testing.TB) {
	t.Helper()
	v.cmd = exec.Command(v.program, "server", "-config="+v.config)
	run(v.t, "vault", v.cmd, func() error {
		_, _, err := v.call(http.MethodGet, "sys/seal-status", nil)
		return err
	})
}

// Kill ends it at once.
func (v *VaultServer) Kill(t testing.TB) {
	t.Helper()
	v.signal(t, syscall.SIGKILL)
	for !errors.Is(v.cmd.Process.Signal(syscall.Signal(0)), os.ErrProcessDone) {
		time.Sleep(time.Millisecond)
	}
}

// Stop makes it hang, until Continue.
func (v *VaultServer) Stop(t testing.TB) {
	t.Helper()
	v.signal(t, syscall.SIGSTOP)
	for !stopped(t, v.cmd.Process.Pid) {
		time.Sleep(time.Millisecond)
	}
}

// stopped reports whether every thread of a process has stopped; proc(5).
func stopped(t testing.TB, pid int) bool {
	t.Helper()
	threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", pid))
	if err != nil || len(threads) == 0 {
		t.Fatalf("looking at process %d: %v", pid, err)
	}
	for _, path := range threads {
		b, err := os.ReadFile(path)
		if err != nil {
			return false
		}
		if i := bytes.LastIndexByte(b, ')'); i < 0 || !bytes.HasPrefix(b[i:], []byte(") T")) {
			return false
		}
	}
	return true
}

// Continue ends Stop.
func (v *VaultServer) Continue(t testing.TB) { v.signal(t, syscall.SIGCONT) }

func (v *VaultServer) signal(t testing.TB, s syscall.Signal) {
	t.Helper()
	if err := v.cmd.Process.Signal(s); err != nil {
		t.Fatal(err)
	}
}

// Seal makes it forget its keys, until Unseal.
func (v *VaultServer) Seal(t testing.TB) {
	t.Helper()
	v.Write(t, "sys/seal", nil)
}

// Unseal gives them back and waits until it works.
func (v *VaultServer) Unseal(t testing.TB) {
	t.Helper()
	v.must(t, http.MethodPut, "sys/unseal", map[string]any{"key": v.unseal})
	for start := time.Now(); ; time.Sleep(10 * time.Millisecond) {
		if status, _, err := v.call(http.MethodGet, "sys/health", nil); err == nil && status == http.StatusOK {
			return
		} else if time.Since(start) > 30*time.Second {
			t.Fatalf("Vault is not unsealed: status %d, %v", status, err)
		}
	}
}

// Write writes to a path of the API as root and returns the answer's data.
func (v *VaultServer) Write(t testing.TB, path string, body any) map[string]any {
	t.Helper()
	var answer struct {
		Data map[string]any `json:"data"`
		Auth map[string]any `json:"auth"`
	}
	if b := v.must(t, http.MethodPut, path, body); len(b) > 0 {
		if err := json.Unmarshal(b, &answer); err != nil {
			t.Fatal(err)
		}
	}
	if answer.Auth != nil {
		return answer.Auth
	}
	return answer.Data
}

// Delete deletes a path of the API as root.
func (v *VaultServer) Delete(t testing.TB, path string) {
	t.Helper()
	v.must(t, http.MethodDelete, path, nil)
}

func (v *VaultServer) must(t testing.TB, method, path string, body any) []byte {
	t.Helper()
	status, b, err := v.call(method, path, body)
	if err != nil || status/100 != 2 {
		t.Fatalf("%s %s: status %d, %v: %s", method, path, status, err, b)
	}
	return b
}

func (v *VaultServer) call(method, path string, body any) (status int, answer []byte, err error) {
	b, err := json.Marshal(body)
	if err != nil {
		return 0, nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, v.Address+"/v1/"+path, bytes.NewReader(b))
	if err != nil {
		return 0, nil, err
	}
	req.Header.Set("X-Vault-Token", v.Token)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer res.Body.Close()
	var out bytes.Buffer
	_, err = out.ReadFrom(res.Body)
	return res.StatusCode, out.Bytes(), err
}
