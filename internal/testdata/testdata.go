// Package testdata finds the shared folder of real DICOM files for tests, and
// reads its manifest. It is imported by tests only.
package testdata

import (
	"bufio"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// Env names the environment variable with the folder's path.
const Env = "STRATA_TESTDATA"

// Dir returns the folder that holds manifest.tsv: the one that STRATA_TESTDATA
// names, or shared/testdata beside the module or one of its parents. Without
// one the test is skipped.
func Dir(tb testing.TB) string {
	tb.Helper()
	if d := os.Getenv(Env); d != "" {
		if _, err := os.Stat(filepath.Join(d, "manifest.tsv")); err != nil {
			tb.Fatalf("%s does not name the folder of test files: %v", Env, err)
		}
		return d
	}
	wd, err := os.Getwd()
	if err != nil {
		tb.Fatal(err)
	}
	for d := wd; ; d = filepath.Dir(d) {
		if c := filepath.Join(d, "shared", "testdata"); exists(filepath.Join(c, "manifest.tsv")) {
			return c
		}
		if d == filepath.Dir(d) {
			break
		}
	}
	tb.Skipf("the DICOM test files are not here: set %s to the folder that holds their manifest.tsv, or put it at shared/testdata beside the source", Env)
	return ""
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// File is one line of the manifest.
type File struct {
	Name   string // path relative to the folder, with slashes
	Kind   string // ok, ok-derived, missing-uid, invalid-uid, no-preamble, no-transfer-syntax, dicomdir, malformed, malformed-derived
	Path   string // path to open
	Syntax string // transfer syntax UID; empty where the file names none
	Size   int64
	fields map[string]string
}

// Field returns the value of a column by the manifest's name for it.
func (f *File) Field(column string) string { return f.fields[column] }

// Storable reports whether the file is a valid instance that must be stored.
func (f *File) Storable() bool { return f.Kind == "ok" || f.Kind == "ok-derived" }

// Int returns a column as a number, and whether it is one.
func (f *File) Int(column string) (int, bool) {
	n, err := strconv.Atoi(f.fields[column])
	return n, err == nil
}

// Bytes reads the file.
func (f *File) Bytes(tb testing.TB) []byte {
	tb.Helper()
	b, err := os.ReadFile(f.Path)
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

// Files returns the files of the given kinds, all of them when none is given,
// in the manifest's order.
func Files(tb testing.TB, kinds ...string) []File {
	tb.Helper()
	dir := Dir(tb)
	r, err := os.Open(filepath.Join(dir, "manifest.tsv"))
	if err != nil {
		tb.Fatal(err)
	}
	defer r.Close()
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 1<<20)
	var columns []string
	var files []File
	for lines.Scan() {
		values := strings.Split(lines.Text(), "\t")
		if columns == nil {
			columns = values
			continue
		}
		fields := make(map[string]string, len(columns))
		for i, v := range values {
			if i < len(columns) {
				fields[columns[i]] = v
			}
		}
		size, _ := strconv.ParseInt(fields["size"], 10, 64)
		f := File{Name: fields["file"], Kind: fields["kind"], Syntax: fields["transfer_syntax"], Size: size, fields: fields}
		f.Path = filepath.Join(dir, filepath.FromSlash(f.Name))
		if wanted(f.Kind, kinds) {
			files = append(files, f)
		}
	}
	if err := lines.Err(); err != nil {
		tb.Fatal(err)
	}
	return files
}

func wanted(kind string, kinds []string) bool {
	for _, k := range kinds {
		if k == kind {
			return true
		}
	}
	return len(kinds) == 0
}
