package conformance

import (
	"bufio"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/strata-pacs/strata/internal/pixel/sandbox"
	"github.com/strata-pacs/strata/internal/testdata"
)

// scripts returns a folder with the scripts of ../clients and the public DICOMweb clients that they
// use, at the versions of its package-lock.json. They are fetched, so tests of them run only when
// STRATA_TEST_CLIENTS is set.
func scripts(t *testing.T) (dir string) {
	t.Helper()
	if os.Getenv("STRATA_TEST_CLIENTS") == "" {
		t.Skip("set STRATA_TEST_CLIENTS=1 to run public JavaScript clients; it needs node, npm and its registry")
	}
	dir = t.TempDir()
	for _, name := range []string{"package.json", "package-lock.json", "client.js", "archived.js"} {
		b, err := os.ReadFile(filepath.Join("..", "clients", name))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	script(t, dir, "npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund")
	return dir
}

func script(t *testing.T, dir, name string, args ...string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", name, err, out)
	}
	t.Logf("%s", out)
}

// TestClients runs two public DICOMweb clients against the server: dicomweb-client and dcmjs.
func TestClients(t *testing.T) {
	t.Parallel()
	dir := scripts(t)
	files := []string{"dicom/pydicom/CT_small.dcm", "dicom/pydicom/JPEG2000.dcm"}
	for _, f := range testdata.Files(t, "ok") {
		for _, name := range files {
			if f.Name == name {
				w := open(t)
				args := []string{"client.js", w.url, f.Path}
				if !sandbox.Available() {
					args = append(args, "--no-codecs")
				}
				script(t, dir, "node", args...)
			}
		}
	}
}

// TestArchivedClients runs dicomweb-client before, during and after a restore.
func TestArchivedClients(t *testing.T) {
	t.Parallel()
	dir := scripts(t)
	c := newCold(t)
	c.fill()
	c.freeze()
	// Of CT_small.dcm, in the transfer syntax that the client asks for.
	instance := c.of("/studies/1.3.6.1.4.1.5962.1.2.1.20040119072730.12322")[0]
	if err := os.WriteFile(filepath.Join(dir, "file.dcm"), c.files[instance], 0o600); err != nil {
		t.Fatal(err)
	}
	uid := strings.Split(instance, "/") // "", studies, its, series, its, instances, its
	cmd := exec.CommandContext(t.Context(), "node", "archived.js", c.url, uid[2], uid[4], uid[6], "file.dcm")
	cmd.Dir, cmd.Stderr = dir, os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	if lines.Scan() && lines.Text() == "archived" {
		c.wait(c.archived(c.get(t, instance, partsStored)).Href)
		if _, err := io.WriteString(in, "restored\n"); err != nil {
			t.Error(err)
		}
	}
	said := lines.Scan() && lines.Text() == "restored"
	if err := cmd.Wait(); err != nil || !said {
		t.Errorf("the client failed: %v", err)
	}
}
