// Package test holds what no single package can: the direction of imports, and
// tests of the whole server.
package test

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"strings"
	"testing"
)

const module = "github.com/strata-pacs/strata/"

// layers says what each package of the project may import of it. A pattern
// ending in "/..." stands for a folder and everything below. The first rule
// whose package matches holds.
var layers = []struct {
	pkg   string
	may   []string
	alien []string // modules outside the project that it must not import
}{
	{pkg: "internal/fault"},
	{pkg: "internal/fault/problem", may: []string{"internal/fault"}},
	{pkg: "internal/dicom/charset"},
	{pkg: "internal/dicom", may: []string{"internal/fault", "internal/dicom/charset"}, alien: []string{"net/http"}},
	{pkg: "internal/archive", may: []string{"internal/dicom"}, alien: []string{"net/http", "os", "database/sql"}},
	{pkg: "internal/dicom/...", may: []string{"internal/fault", "internal/dicom/...", "internal/archive"}, alien: []string{"net/http"}},
	{pkg: "storage/driver", may: []string{"internal/fault"}},
	// One library speaks the protocol in each of the two, none in what they share.
	{pkg: "storage/s3protocol", may: []string{"internal/fault", "storage/driver"}, alien: []string{awsSDK, minioSDK}},
	{pkg: "storage/s3protocol/s3protocoltest", may: []string{"internal/fault", "internal/testservers", "storage/..."}, alien: []string{awsSDK, minioSDK}},
	{pkg: "storage/s3protocol/glaciertest", may: []string{"internal/fault", "internal/testservers", "storage/..."}, alien: []string{awsSDK}},
	{pkg: "storage/s3store", may: []string{"internal/fault", "storage/s3protocol"}, alien: []string{minioSDK}},
	{pkg: "storage/miniostore", may: []string{"internal/fault", "storage/s3protocol"}, alien: []string{awsSDK}},
	{pkg: "storage/...", may: []string{"internal/fault", "storage/..."}, alien: []string{"gorm.io"}},
	{pkg: "internal/seal", may: []string{"internal/archive", "internal/fault"}},
	{pkg: "internal/pack", may: []string{"internal/archive", "internal/fault", "internal/seal", "storage/driver"}},
	{pkg: "internal/vectors"},
	{pkg: "internal/held"},
	{pkg: "internal/ledger", may: []string{"internal/archive", "internal/dicom", "internal/fault", "internal/seal", "internal/pack", "storage/driver"}},
	// The key providers' libraries stay in a package each.
	{pkg: "internal/keys", may: []string{"internal/archive", "internal/fault", "internal/seal", "storage", "storage/driver"}, alien: append([]string{"net/http"}, providers...)},
	{pkg: "internal/keys/providers", may: []string{"internal/fault", "internal/keys/..."}, alien: append([]string{"net/http"}, providers...)},
	{pkg: "internal/keys/...", may: []string{"internal/archive", "internal/fault", "internal/seal", "internal/keys/...", "storage", "storage/driver"}},
	{pkg: "internal/index/...", may: []string{"internal/archive", "internal/dicom", "internal/fault", "internal/index/..."}},
	{pkg: "internal/pixel/sandbox", may: []string{"internal/fault"}, alien: []string{"net"}},
	{pkg: "internal/pixel/sandbox/sandboxtest", may: []string{"internal/pixel/sandbox"}},
	{pkg: "internal/pixel", may: []string{"internal/dicom", "internal/fault", "internal/pixel/sandbox"}, alien: []string{"net/http", "os", "os/exec"}},
	{pkg: "internal/pixel/render", may: []string{"internal/dicom", "internal/dicom/charset", "internal/fault", "internal/pixel"}, alien: []string{"net/http", "os"}},
	{pkg: "internal/pixel/transcode", may: []string{"internal/dicom", "internal/fault", "internal/pixel"}, alien: []string{"net/http", "os"}},
	{pkg: "internal/media", may: []string{"internal/archive", "internal/dicom/...", "internal/fault"}, alien: []string{"net/http"}},
	{pkg: "internal/report", may: []string{"internal/dicom", "internal/fault"}, alien: []string{"net/http", "os"}},
	// Use cases: no database, no store driver, no HTTP.
	{pkg: "internal/ingest", may: useCase, alien: noEngines},
	{pkg: "internal/retrieve", may: append([]string{"internal/report", "internal/pixel", "internal/pixel/..."}, useCase...), alien: noEngines},
	{pkg: "internal/retrieve/retrievetest", may: append([]string{"internal/retrieve", "internal/index", "storage/..."}, useCase...)},
	{pkg: "internal/thumbnail", may: append([]string{"internal/retrieve", "internal/pixel/render"}, useCase...), alien: noEngines},
	{pkg: "internal/search", may: useCase, alien: noEngines},
	{pkg: "internal/remove", may: useCase, alien: noEngines},
	{pkg: "internal/shred", may: useCase, alien: noEngines},
	{pkg: "internal/intent", may: []string{"internal/archive", "internal/ledger"}, alien: noEngines},
	{pkg: "internal/retention", may: useCase, alien: noEngines},
	{pkg: "internal/reconcile", may: useCase, alien: noEngines},
	{pkg: "internal/lifecycle", may: append([]string{"internal/lifecycle/cost", "internal/lifecycle/rule", "internal/lifecycle/chart"}, useCase...), alien: noEngines},
	{pkg: "internal/lifecycle/chart", may: []string{"internal/fault"}, alien: append([]string{"os"}, noEngines...)},
	{pkg: "internal/drill", may: append([]string{"internal/lifecycle/cost"}, useCase...), alien: noEngines},
	{pkg: "internal/usage", may: append([]string{"internal/lifecycle/cost"}, useCase...), alien: noEngines},
	{pkg: "internal/lifecycle/cost", may: []string{"internal/archive"}},
	{pkg: "internal/restore", may: append([]string{"internal/lifecycle/cost"}, useCase...), alien: noEngines},
	// It speaks HTTP, and knows nothing of archives but the names of tenants.
	{pkg: "internal/restore/webhook", may: []string{"internal/archive", "internal/fault"}},
	{pkg: "internal/lifecycle/rule", may: []string{"internal/archive", "internal/fault"}, alien: append([]string{"os"}, noEngines...)},
	{pkg: "internal/lifecycle/move", may: useCase, alien: noEngines},
	{pkg: "internal/lifecycle/tiers", may: []string{"internal/archive", "internal/fault", "internal/lifecycle/rule", "storage"}, alien: noEngines},
	{pkg: "internal/lifecycle/access", may: []string{"internal/archive"}, alien: noEngines},
	{pkg: "internal/settle", may: useCase, alien: noEngines},
	{pkg: "internal/custody", may: append([]string{"internal/keys/quorum"}, useCase...), alien: noEngines},
	{pkg: "dicomweb", may: []string{"internal/archive", "internal/dicom/...", "internal/fault", "internal/fault/problem", "internal/ingest", "internal/retrieve",
		"internal/search", "internal/remove", "internal/seal", "internal/pixel/render", "internal/report", "internal/thumbnail"}, alien: []string{"gorm.io"}},
	{pkg: "api/apitest", may: []string{"internal/archive", "internal/fault", "internal/keys/quorum", "internal/remove", "internal/retention"}},
	{pkg: "api", may: []string{"internal/archive", "internal/fault", "internal/fault/problem", "internal/remove", "internal/retention"}, alien: []string{"gorm.io"}},
	// node joins everything below the command line.
	{pkg: "internal/node", may: []string{"internal/...", "storage/...", "storage"}, alien: []string{"gorm.io"}},
	{pkg: "internal/testdata"},
	{pkg: "deploy"},
	{pkg: "internal/testservers"},
	{pkg: "cmd/...", may: []string{"..."}, alien: []string{"gorm.io"}},
	{pkg: "test/...", may: []string{"..."}},
	{pkg: "test", may: []string{"..."}},
}

var (
	useCase = []string{"internal/archive", "internal/dicom/...", "internal/fault", "internal/held", "internal/seal", "internal/pack",
		"internal/ledger", "internal/keys", "storage", "storage/driver"}
	providers = []string{"github.com/hashicorp", "github.com/aws", "github.com/miekg"}
	noEngines = []string{"net/http", "gorm.io", "database/sql"}
	awsSDK    = "github.com/aws"
	minioSDK  = "github.com/minio"
)

func TestImports(t *testing.T) {
	cmd := exec.Command("go", "list", "-json=ImportPath,Imports", "./...")
	cmd.Dir = ".."
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	seen := 0
	for d := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p struct {
			ImportPath string
			Imports    []string
		}
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		seen++
		for _, broken := range check(strings.TrimPrefix(p.ImportPath, module), p.Imports) {
			t.Error(broken)
		}
	}
	if seen < 10 {
		t.Fatalf("only %d packages listed", seen)
	}
}

// TestImportRules keeps the rules themselves from going soft.
func TestImportRules(t *testing.T) {
	for _, tt := range []struct {
		pkg, imports string
		ok           bool
	}{
		{"internal/ingest", module + "internal/keys", true},
		{"internal/ingest", module + "internal/index", false},
		{"internal/search", "gorm.io/gorm", false},
		{"internal/dicom/dicomjson", "net/http", false},
		{"storage/filestore", module + "internal/dicom", false},
		{"storage/s3store", "github.com/minio/minio-go/v7", false},
		{"storage/s3protocol", "github.com/aws/aws-sdk-go-v2/aws", false},
		{"internal/keys", "github.com/hashicorp/vault/api", false},
		{"internal/keys/vaultkeys", "github.com/hashicorp/vault/api", true},
		{"internal/index", module + "internal/ingest", false},
		{"internal/nowhere", module + "internal/fault", false},
		{"cmd/strata", module + "internal/node", true},
		{"api", module + "internal/keys", false}, // it never holds a key
	} {
		if got := len(check(tt.pkg, []string{tt.imports})) == 0; got != tt.ok {
			t.Errorf("%s importing %s: allowed %v, want %v", tt.pkg, tt.imports, got, tt.ok)
		}
	}
}

func check(pkg string, imports []string) (broken []string) {
	for _, l := range layers {
		if !matches(l.pkg, pkg) {
			continue
		}
		for _, imp := range imports {
			own, ours := strings.CutPrefix(imp, module)
			if ours && !anyMatches(l.may, own) {
				broken = append(broken, pkg+" must not import "+own)
			}
			for _, a := range l.alien {
				if imp == a || strings.HasPrefix(imp, a+"/") {
					broken = append(broken, pkg+" must not import "+imp)
				}
			}
		}
		return broken
	}
	return []string{pkg + " has no rule: say what it may import"}
}

func anyMatches(patterns []string, pkg string) bool {
	for _, p := range patterns {
		if matches(p, pkg) {
			return true
		}
	}
	return false
}

func matches(pattern, pkg string) bool {
	if pattern == "..." {
		return true
	}
	if dir, ok := strings.CutSuffix(pattern, "/..."); ok {
		return pkg == dir || strings.HasPrefix(pkg, dir+"/")
	}
	return pattern == pkg
}
