package conformance

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/strata-pacs/strata/internal/pixel/sandbox"
	"github.com/strata-pacs/strata/internal/testdata"
)

// TestClients runs two public DICOMweb clients against the server: dicomweb-client
// and dcmjs, at the versions of ../clients/package-lock.json. They are fetched,
// so it runs only when STRATA_TEST_CLIENTS is set.
func TestClients(t *testing.T) {
	t.Parallel()
	if os.Getenv("STRATA_TEST_CLIENTS") == "" {
		t.Skip("set STRATA_TEST_CLIENTS=1 to run public JavaScript clients; it needs node, npm and its registry")
	}
	dir := t.TempDir()
	for _, name := range []string{"package.json", "package-lock.json", "client.js"} {
		b, err := os.ReadFile(filepath.Join("..", "clients", name))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	run := func(name string, args ...string) {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), name, args...)
		cmd.Dir = dir
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%s: %v\n%s", name, err, out)
		}
		t.Logf("%s", out)
	}
	run("npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund")
	files := []string{"dicom/pydicom/CT_small.dcm", "dicom/pydicom/JPEG2000.dcm"}
	for _, f := range testdata.Files(t, "ok") {
		for _, name := range files {
			if f.Name == name {
				w := open(t)
				args := []string{"client.js", w.url, f.Path}
				if !sandbox.Available() {
					args = append(args, "--no-codecs")
				}
				run("node", args...)
			}
		}
	}
}
