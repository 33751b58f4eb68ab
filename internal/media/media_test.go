package media

import (
	"archive/zip"
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/strata-pacs/strata/internal/dicom"
	"github.com/strata-pacs/strata/internal/fault"
)

// part10 is an instance with a name that is not ASCII.
func part10(t *testing.T, study, series, instance, class string) []byte {
	t.Helper()
	f := &dicom.File{Syntax: dicom.ExplicitVRLittleEndian, Data: &dicom.Dataset{Charset: []string{"ISO_IR 100"}}}
	for _, e := range []struct {
		tag dicom.Tag
		v   string
	}{{0x00080005, "ISO_IR 100"}, {0x00080016, class}, {0x00080018, instance}, {0x00080060, "OT"}, {0x00100010, "M\xfcller^Z\xf6e"}, {0x00100020, "P1"},
		{0x0020000D, study}, {0x0020000E, series}, {0x00200013, "7"}} {
		vr := dicom.VROf(e.tag)
		if len(e.v)%2 == 1 {
			if e.v += " "; vr == dicom.UI {
				e.v = e.v[:len(e.v)-1] + "\x00"
			}
		}
		f.Data.Elements = append(f.Data.Elements, dicom.Element{Tag: e.tag, VR: vr, Value: []byte(e.v), Length: int64(len(e.v))})
	}
	var b bytes.Buffer
	if err := dicom.Write(&b, f, nil); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

const storage = "1.2.840.10008.5.1.4.1.1."

func files(t *testing.T) [][]byte {
	return [][]byte{
		part10(t, "1.1", "1.1.1", "1.1.1.1", storage+"7"),
		part10(t, "1.1", "1.1.1", "1.1.1.2", storage+"7"),
		part10(t, "1.1", "1.1.2", "1.1.2.1", storage+"88.11"),
		part10(t, "1.2", "1.2.1", "1.2.1.1", storage+"66.4"),
	}
}

// walked lists what a walk visits: names below dir, and errors' kinds.
func walked(t *testing.T, dir string, paths ...string) (names []string, contents [][]byte) {
	t.Helper()
	err := Walk(t.Context(), paths, func(f File, err error) error {
		name := strings.TrimPrefix(f.Name, dir+"/")
		if err != nil {
			names = append(names, name+" "+fault.KindOf(err).String())
			return nil
		}
		r, err := f.Open()
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		b, err := io.ReadAll(r)
		if err != nil || int64(len(b)) != f.Size {
			t.Errorf("%s: %d bytes of %d, %v", name, len(b), f.Size, err)
		}
		names, contents = append(names, name), append(contents, b)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return names, contents
}

func TestFileSetRoundTrip(t *testing.T) {
	want := files(t)
	for _, kind := range []string{"folder", "set.zip"} {
		target := filepath.Join(t.TempDir(), kind)
		create := CreateFolder
		if kind == "set.zip" {
			create = CreateZIP
		}
		set, err := create(target)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range want {
			if err := set.Add(t.Context(), bytes.NewReader(f)); err != nil {
				t.Fatal(err)
			}
		}
		if err := set.Close(); err != nil {
			t.Fatal(err)
		}
		if _, got := walked(t, target, target); !slices.EqualFunc(got, want, bytes.Equal) {
			t.Errorf("%s: other files come back", kind)
		}
		if _, err := create(target); !fault.Is(err, fault.Exists) {
			t.Errorf("%s was written over: %v", kind, err)
		}
		if kind == "folder" {
			checkDirectory(t, target, want)
		}
	}
}

// checkDirectory reads the DICOMDIR back, follows its links, and asks DCMTK.
func checkDirectory(t *testing.T, dir string, want [][]byte) {
	path := filepath.Join(dir, dirName)
	if _, got := walked(t, dir, path); !slices.EqualFunc(got, want, bytes.Equal) {
		t.Error("the DICOMDIR names other files")
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	f, err := dicom.Read(t.Context(), bytes.NewReader(b), dicom.Limits{})
	if err != nil || len(f.Warnings) > 0 {
		t.Fatal(err, f.Warnings)
	}
	at := map[string]*dicom.Dataset{}
	for _, r := range f.Data.Lookup(tagDirectoryRecords).Items {
		// The item begins 8 bytes before its first element's header, which is 8 long.
		at[itoa(r.Elements[0].Offset-16)] = r
	}
	var kinds []string
	var follow func(offset string)
	follow = func(offset string) {
		for offset != "0" {
			r := at[offset]
			if r == nil {
				t.Fatalf("a link to offset %s leads nowhere", offset)
			}
			kind, _ := r.Text(0x00041430)
			kinds = append(kinds, kind)
			if kind == "PATIENT" {
				if name, _ := r.Text(0x00100010); name != "Müller^Zöe" {
					t.Errorf("name %q", name)
				}
			}
			lower, _ := r.Text(0x00041420)
			follow(lower)
			offset, _ = r.Text(0x00041400)
		}
	}
	first, _ := f.Data.Text(0x00041200)
	follow(first)
	if got := strings.Join(kinds, " "); got != "PATIENT STUDY SERIES IMAGE IMAGE SERIES SR DOCUMENT STUDY SERIES IMAGE" {
		t.Errorf("records: %s", got)
	}
	if _, err := exec.LookPath("dcmdump"); err != nil {
		t.Skip("dcmdump is not here; make test installs it")
	}
	if out, err := exec.Command("dcmdump", "-q", path).CombinedOutput(); err != nil {
		t.Errorf("dcmdump: %v\n%s", err, out)
	}
}

func itoa(n int64) string {
	d := &dicom.Dataset{Elements: []dicom.Element{{Tag: 0x00041400, VR: dicom.UL, Value: []byte(ul(n))}}}
	s, _ := d.Text(0x00041400)
	return s
}

func TestWalk(t *testing.T) {
	dir := t.TempDir()
	write := func(name string, b []byte) {
		p := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(p), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(p, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("b/2.dcm", []byte("two"))
	write("b/1.dcm", []byte("one"))
	write("b/.hidden", []byte("no"))
	write("b/.git/x", []byte("no"))
	write("b/DICOMDIR", []byte("no"))
	var z bytes.Buffer
	w := zip.NewWriter(&z)
	for _, n := range []string{"in/3", "in/.x", "in/dicomdir", "in/"} {
		e, _ := w.Create(n)
		if !strings.HasSuffix(n, "/") {
			e.Write([]byte("three"))
		}
	}
	w.Close()
	write("c.zip", z.Bytes())
	write("bad.zip", []byte("PK\x03\x04 nothing"))
	names, _ := walked(t, dir, dir, filepath.Join(dir, "none"))
	want := []string{"b/1.dcm", "b/2.dcm", "bad.zip invalid", "c.zip!in/3", "none not-found"}
	if !slices.Equal(names, want) {
		t.Errorf("%q", names)
	}
	stop := errors.New("enough")
	if err := Walk(t.Context(), []string{dir}, func(File, error) error { return stop }); !errors.Is(err, stop) {
		t.Error(err)
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if err := Walk(gone, []string{dir}, func(File, error) error { return nil }); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// TestHostileDirectory: a DICOMDIR must not lead out of its folder.
func TestHostileDirectory(t *testing.T) {
	dir := t.TempDir()
	os.WriteFile(filepath.Join(dir, "secret"), []byte("x"), 0o600)
	os.Mkdir(filepath.Join(dir, "set"), 0o700)
	os.WriteFile(filepath.Join(dir, "set", "lower"), []byte("y"), 0o600)
	var root []*record
	for _, id := range []string{`..\SECRET`, `.`, `A\\B`, `../secret`, `MISSING`, `LOWER`} {
		root = append(root, &record{kind: "IMAGE", keys: []field{{tagReferencedFileID, dicom.CS, id}}})
	}
	b, err := directory("X", "1.2.3", root)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "set", dirName)
	os.WriteFile(path, b, 0o600)
	names, contents := walked(t, dir, path)
	if len(contents) != 1 || string(contents[0]) != "y" || len(names) != 6 {
		t.Errorf("%q", names)
	}
	os.WriteFile(path, part10(t, "1", "2", "3", "4"), 0o600)
	if names, _ := walked(t, dir, path); len(names) != 1 || !strings.HasSuffix(names[0], "invalid") {
		t.Errorf("a DICOMDIR without records: %q", names)
	}
}

func TestRecordType(t *testing.T) {
	for class, want := range map[string]string{storage + "2": "IMAGE", storage + "88.59": "KEY OBJECT DOC", storage + "88.11": "SR DOCUMENT",
		storage + "11.1": "PRESENTATION", storage + "104.1": "ENCAP DOC", storage + "481.2": "RT DOSE", storage + "481.20": "IMAGE",
		storage + "66": "RAW DATA", storage + "66.4": "IMAGE", storage + "9.1.1": "WAVEFORM", "1.2.3": "IMAGE"} {
		if got := recordType(class); got != want {
			t.Errorf("%s: %s, want %s", class, got, want)
		}
	}
}
