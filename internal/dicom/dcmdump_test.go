package dicom

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/strata-pacs/strata/internal/testdata"
)

// dcmdump returns what dcmtk makes of each file, an element a line: depth, tag,
// VR and length.
func dcmdump(t *testing.T, paths ...string) [][]string {
	t.Helper()
	tool, err := exec.LookPath("dcmdump")
	if err != nil {
		t.Skip("dcmdump is not here: install dcmtk to compare with a second opinion")
	}
	// One run for all: loading its dictionary takes it longer than a file.
	out, _ := exec.Command(tool, append([]string{"-q", "-Un", "+F"}, paths...)...).Output()
	var dumps [][]string
	heads := dumpHead.FindAllIndex(out, -1)
	for i, h := range heads {
		end := len(out)
		if i+1 < len(heads) {
			end = heads[i+1][0]
		}
		dumps = append(dumps, parseDump(out[h[1]:end]))
	}
	if len(dumps) != len(paths) {
		t.Fatalf("dcmdump told of %d files, not %d", len(dumps), len(paths))
	}
	return dumps
}

var (
	dumpHead   = regexp.MustCompile(`(?m)^# dcmdump .*$`)
	dumpStart  = regexp.MustCompile(`(?m)^( *)\(([0-9a-f]{4}),([0-9a-f]{4})\) (..) `)
	dumpLength = regexp.MustCompile(`# +(\d+|u/l), *\d+ `)
)

func parseDump(out []byte) []string {
	var lines []string
	at := dumpStart.FindAllSubmatchIndex(out, -1)
	for i, m := range at {
		end := len(out)
		if i+1 < len(at) {
			end = at[i+1][0]
		}
		lengths := dumpLength.FindAllSubmatch(out[m[0]:end], -1)
		if len(lengths) == 0 {
			continue
		}
		length := string(lengths[len(lengths)-1][1])
		depth := (m[3] - m[2]) / 2
		tag := strings.ToUpper(string(out[m[4]:m[5]]) + string(out[m[6]:m[7]]))
		vr := string(out[m[8]:m[9]])
		if vr == "up" { // dcmtk's own name for an offset in a DICOMDIR
			vr = "UL"
		}
		if n, err := strconv.Atoi(length); err == nil && n%2 == 1 {
			length = strconv.Itoa(n + 1)
		}
		if tag == "FFFEE00D" || tag == "FFFEE0DD" || strings.HasPrefix(tag, "0002") {
			continue
		}
		if vr == "SQ" || tag == "FFFEE000" && vr == "na" {
			length = "-" // of sequences and items dcmtk prints what it would write
		}
		lines = append(lines, fmt.Sprintf("%d %s %s %s", depth, tag, vr, length))
	}
	return lines
}

// dump writes a data set as dcmdump does.
func dump(d *Dataset, depth int, lines []string) []string {
	elements := slices.Clone(d.Elements)
	sortElements(elements)
	for i := range elements {
		e := &elements[i]
		switch {
		case e.Fragments != nil:
			lines = append(lines, fmt.Sprintf("%d %s %s u/l", depth, e.Tag, e.VR))
			for _, s := range e.Fragments {
				lines = append(lines, fmt.Sprintf("%d FFFEE000 pi %d", depth+1, s.Length+s.Length%2))
			}
		case e.Items != nil:
			lines = append(lines, fmt.Sprintf("%d %s SQ -", depth, e.Tag))
			for _, item := range e.Items {
				lines = append(lines, fmt.Sprintf("%d FFFEE000 na -", depth+1))
				lines = dump(item, depth+2, lines)
			}
		default:
			lines = append(lines, fmt.Sprintf("%d %s %s %d", depth, e.Tag, e.VR, e.Length+e.Length%2))
		}
	}
	return lines
}

// TestSecondOpinion compares the structure of every valid file with dcmtk's.
func TestSecondOpinion(t *testing.T) {
	if testing.Short() {
		t.Skip("-short leaves out every file against another tool")
	}
	files := testdata.Files(t, "ok", "ok-derived", "missing-uid", "invalid-uid", "dicomdir")
	files = slices.DeleteFunc(files, func(f testdata.File) bool {
		return f.Name == "odd/pydicom/DICOMDIR-nooffset" // its lengths are wrong
	})
	var paths []string
	for _, f := range files {
		paths = append(paths, f.Path)
	}
	want := dcmdump(t, paths...)
	for i, f := range files {
		t.Run(f.Name, func(t *testing.T) {
			compareDumps(t, dump(read(t, f.Bytes(t)).Data, 0, nil), want[i])
		})
	}
}

func compareDumps(t *testing.T, got, want []string) {
	t.Helper()
	for i := range max(len(got), len(want)) {
		g, w := "(end)", "(end)"
		if i < len(got) {
			g = got[i]
		}
		if i < len(want) {
			w = want[i]
		}
		if g != w && !sameButVR(g, w) {
			t.Errorf("element %d: %s, dcmdump says %s", i, g, w)
			return
		}
	}
}

// sameButVR reports whether two lines differ only in a VR that one of the two
// does not know or leaves open: dcmtk has a dictionary of private elements.
func sameButVR(got, want string) bool {
	g, w := strings.Fields(got), strings.Fields(want)
	if len(g) != 4 || len(w) != 4 || g[0] != w[0] || g[1] != w[1] || g[3] != w[3] {
		return false
	}
	return g[2] == "UN" || w[2] == "??" || w[2] == "xs" || w[2] == "lt" || strings.HasPrefix(g[1], "50") // curves: OB or OW
}

// write puts b in a file for a tool to read.
func write(t *testing.T, b []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "f.dcm")
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func read(t testing.TB, b []byte) *File {
	t.Helper()
	f, err := Read(t.Context(), bytes.NewReader(b), Limits{})
	if err != nil {
		t.Fatal(err)
	}
	return f
}
