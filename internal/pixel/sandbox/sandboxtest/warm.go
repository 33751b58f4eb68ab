package sandboxtest

import (
	"debug/buildinfo"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
)

// Warm puts the codecs, compiled by an earlier server of a program, into the data folder of one
// that is yet to start: compiling takes seconds of a processor, which those who test other things
// lack. Without a program, the server is the test binary. What the first one compiles
// is kept when its test ends.
func Warm(tb testing.TB, program, data string) {
	tb.Helper()
	pixels := filepath.Join(data, "pixels")
	if err := os.MkdirAll(pixels, 0o700); err != nil {
		tb.Fatal(err)
	}
	shared := Cache(tb)
	if program != "" {
		shared += "-" + wazeroOf(tb, program)
	}
	compiled, err := filepath.Glob(filepath.Join(shared, "codecs-*"))
	if err != nil {
		tb.Fatal(err)
	}
	for _, dir := range compiled {
		// Of codecs that changed since, or that another test is compiling just now: the server does not take it.
		_ = os.CopyFS(filepath.Join(pixels, filepath.Base(dir)), os.DirFS(dir))
	}
	if program != "" {
		tb.Cleanup(func() { keep(tb, pixels, shared) })
	}
}

// keep has what a server compiled be what others begin with, unless there is something already.
func keep(tb testing.TB, pixels, shared string) {
	tb.Helper()
	made, err := filepath.Glob(filepath.Join(pixels, "codecs-*", "SUM"))
	if err != nil || len(made) != 1 {
		return // it did not get as far
	}
	name := filepath.Base(filepath.Dir(made[0]))
	if _, err := os.Stat(filepath.Join(shared, name, "SUM")); err == nil {
		return
	}
	if err := os.MkdirAll(shared, 0o700); err != nil {
		tb.Error(err)
		return
	}
	part, err := os.MkdirTemp(shared, "part-")
	if err == nil {
		err = os.CopyFS(part, os.DirFS(filepath.Dir(made[0])))
	}
	if err == nil {
		err = os.Rename(part, filepath.Join(shared, name))
	}
	if err != nil {
		_ = os.RemoveAll(part)
		if !errors.Is(err, fs.ErrExist) { // another test was first
			tb.Errorf("keeping compiled codecs: %v", err)
		}
	}
}

// wazeroOf is the version of the compiler in a program: another one's code is of no use to it.
func wazeroOf(tb testing.TB, program string) string {
	tb.Helper()
	info, err := buildinfo.ReadFile(program)
	if err != nil {
		tb.Fatal(err)
	}
	for _, d := range info.Deps {
		if d.Path == "github.com/tetratelabs/wazero" {
			return d.Version
		}
	}
	tb.Fatalf("%s is built without the compiler of codecs", program)
	return ""
}
