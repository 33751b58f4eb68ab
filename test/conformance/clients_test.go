package conformance

import (
	"bufio"
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/strata-pacs/strata/internal/pixel/sandbox"
	"github.com/strata-pacs/strata/internal/testdata"
	"github.com/strata-pacs/strata/internal/testservers"
)

// scripts returns a folder with the scripts of ../clients and the public clients that they use, at
// the versions of its package-lock.json.
func scripts(t *testing.T) (dir string) {
	t.Helper()
	const from = "../clients"
	lock, err := os.ReadFile(filepath.Join(from, "package-lock.json"))
	if err != nil {
		t.Fatal(err)
	}
	testservers.Program(t, "node")
	brought := testservers.Folder(t, fmt.Sprintf("clients-%.8x", sha256.Sum256(lock)))
	dir = t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(filepath.Join(brought, "node_modules"), filepath.Join(dir, "node_modules")); err != nil {
		t.Fatal(err)
	}
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
	talk(t, dir, []string{"archived.js", c.url, uid[2], uid[4], uid[6], "file.dcm"}, func() {
		c.wait(c.archived(c.get(t, instance, partsStored)).Href)
	})
}

// talk runs a script that says "archived" and then "restored", and does something between the two,
// of which it tells the script by a line.
func talk(t *testing.T, dir string, args []string, between func()) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "node", args...)
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
		between()
		if _, err := io.WriteString(in, "restored\n"); err != nil {
			t.Error(err)
		}
	}
	said := lines.Scan() && lines.Text() == "restored"
	if err := cmd.Wait(); err != nil || !said {
		t.Errorf("the client failed: %v", err)
	}
}
