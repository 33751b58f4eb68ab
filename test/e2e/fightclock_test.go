//go:build linux

package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/strata-pacs/strata/test/stacktest"
)

// buildClocked builds the program with a standard library whose time of day is ahead by the nanoseconds in the file
// "ahead" of the node's folder, its home; what it measures durations by stays. The machine's own clock cannot differ between two
// processes. All of the library is compiled anew, which takes
// minutes: once, if the folder stays.
func buildClocked(t *testing.T, dir string) string {
	t.Helper()
	dir, err := filepath.Abs(dir)
	if err == nil {
		err = os.MkdirAll(dir, 0o700)
	}
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), "go", "env", "GOROOT").Output()
	if err != nil {
		t.Fatal(err)
	}
	source := filepath.Join(strings.TrimSpace(string(out)), "src", "time", "time.go")
	b, err := os.ReadFile(source)
	if err != nil {
		t.Fatal(err)
	}
	const read = "	sec, nsec, mono := runtimeNow()\n"
	now := strings.Index(string(b), "func Now() Time {\n")
	if now < 0 || !strings.HasPrefix(string(b[now+len("func Now() Time {\n"):]), read) {
		t.Fatalf("%s reads the time in another way than this test knows", runtime.Version())
	}
	at := now + len("func Now() Time {\n") + len(read)
	edited := string(b[:at]) + "	sec, nsec = shifted(sec, nsec)\n" + string(b[at:])
	overlay := map[string]string{}
	for name, text := range map[string]string{source: edited, filepath.Join(filepath.Dir(source), "shifted.go"): shifted} {
		file := filepath.Join(dir, filepath.Base(name)+".txt")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		overlay[name] = file
	}
	b, err = json.Marshal(map[string]any{"Replace": overlay})
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "overlay.json"), b, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(dir, "strata")
	cmd := exec.CommandContext(t.Context(), "go", "build", "-overlay", filepath.Join(dir, "overlay.json"), "-o", program, "github.com/strata-pacs/strata/cmd/strata")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("building strata with a clock of its own: %v\n%s", err, out)
	}
	return program
}

// shifted goes into package time, which can import little.
const shifted = `package time

import "syscall"

var ahead = func() (n int64) {
	home, _ := syscall.Getenv("HOME")
	f, err := syscall.Open(home+"/ahead", syscall.O_RDONLY, 0)
	if err != nil {
		return 0
	}
	defer syscall.Close(f)
	s := make([]byte, 32)
	size, err := syscall.Read(f, s)
	if err != nil || size == 0 {
		return 0
	}
	negative := s[0] == '-'
	for i := 0; i < size; i++ {
		if c := s[i]; c >= '0' && c <= '9' {
			n = n*10 + int64(c-'0')
		}
	}
	if negative {
		n = -n
	}
	return n
}()

func shifted(sec int64, nsec int32) (int64, int32) {
	all := int64(nsec) + ahead%1e9
	sec += ahead / 1e9
	switch {
	case all < 0:
		all, sec = all+1e9, sec-1
	case all >= 1e9:
		all, sec = all-1e9, sec+1
	}
	return sec, int32(all)
}
`

// setClock says by how much a node's clock is ahead from its next start on.
func setClock(n *stacktest.Node, ahead time.Duration) error {
	return os.WriteFile(filepath.Join(n.Folder, "ahead"), fmt.Appendf(nil, "%d", ahead.Nanoseconds()), 0o600)
}
