package api

import (
	"bytes"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"

	"github.com/strata-pacs/strata/internal/fault"
)

// TestGeneratedCodeIsFresh makes the generated files anew and compares.
func TestGeneratedCodeIsFresh(t *testing.T) {
	for _, name := range []string{"server", "client"} {
		made := filepath.Join(t.TempDir(), name+".gen.go")
		out, err := exec.Command("go", "tool", "oapi-codegen", "-config", name+".cfg.yaml", "-o", made, "openapi.yaml").CombinedOutput()
		if err != nil {
			t.Fatalf("oapi-codegen: %v\n%s", err, out)
		}
		want, err := os.ReadFile(made)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := os.ReadFile(name + ".gen.go"); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s.gen.go is older than openapi.yaml (%v): run go generate ./api", name, err)
		}
	}
}

func TestContract(t *testing.T) {
	doc, err := openapi3.NewLoader().LoadFromData(contract)
	if err != nil {
		t.Fatal(err)
	}
	if err := doc.Validate(t.Context()); err != nil {
		t.Error(err)
	}
	h := serve(t, nil)
	if r := h.do("GET", "/openapi.yaml", ""); r.body != string(contract) || r.Header.Get("Content-Type") != "application/yaml" {
		t.Errorf("served: %d %s", r.StatusCode, r.Header)
	}
}

// TestEveryOperationIsGuarded calls whatever the contract has: without a token
// nothing comes through, and with one every operation is there.
func TestEveryOperationIsGuarded(t *testing.T) {
	doc, err := openapi3.NewLoader().LoadFromData(contract)
	if err != nil {
		t.Fatal(err)
	}
	closed := serve(t, func(r *http.Request) error {
		return fault.New(fault.Unauthenticated, "send a token")
	})
	open := serve(t, nil)
	path := strings.NewReplacer("{tenant}", "alpha", "{job}", strings.Repeat("0", 26), "{restore}", strings.Repeat("0", 26), "{hold}", strings.Repeat("0", 32))
	operations := 0
	for p, item := range doc.Paths.Map() {
		for method := range item.Operations() {
			operations++
			if r := closed.do(method, path.Replace(p), "{}"); r.StatusCode != 401 || !strings.HasPrefix(r.Header.Get("WWW-Authenticate"), "Bearer") {
				t.Errorf("%s %s without a token: %d", method, p, r.StatusCode)
			}
			if r := open.do(method, path.Replace(p), "{}"); r.StatusCode == 405 || r.StatusCode >= 500 || strings.Contains(r.body, "no such resource") {
				t.Errorf("%s %s: %d %s", method, p, r.StatusCode, r.body)
			}
		}
	}
	if operations < 40 {
		t.Errorf("only %d operations", operations)
	}
	if r := closed.do("GET", "/openapi.yaml", ""); r.StatusCode != 401 {
		t.Errorf("the contract without a token: %d", r.StatusCode)
	}
}
