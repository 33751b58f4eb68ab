//go:build linux

package crash

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"net/http"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

// rest waits until the rules have nothing left to do and all graces are over, and holds
// the stores to what is needed: each pack once, in one store, none that nothing names, and nothing half done.
func (w *world) rest(t *testing.T, s *server, cold string) {
	t.Helper()
	began, clean := time.Now(), time.Time{}
	for end := began.Add(time.Minute); clean.IsZero() || time.Since(clean) < readGrace+time.Second; time.Sleep(500 * time.Millisecond) {
		left := w.left(t, s, cold)
		switch {
		case left == "" && clean.IsZero():
			clean = time.Now() // what was let go of lately is not due yet
		case left != "" && time.Now().After(end):
			t.Fatalf("after %v of rest %s\n%s", time.Since(began).Round(time.Second), left, s.tail())
		case left != "":
			clean = time.Time{}
		}
	}
	t.Logf("at rest after %.1f s", time.Since(began).Seconds())
}

// left says what is there that should not be; nothing where all is well.
func (w *world) left(t *testing.T, s *server, cold string) string {
	t.Helper()
	status, answer, err := s.api(t.Context(), http.MethodGet, "/lifecycle", "")
	var state struct{ Pending bool }
	if err == nil {
		err = json.Unmarshal([]byte(answer), &state)
	}
	if err != nil || status != http.StatusOK {
		t.Fatalf("asking for the lifecycle: status %d, %v: %s", status, err, answer)
	}
	if state.Pending {
		return "something is due"
	}
	files, last := map[string]int{}, map[string]string{}
	packs := map[string]int{}
	for _, root := range []string{filepath.Join(s.data, "objects"), cold} {
		for _, sub := range []string{"objects", "tmp"} {
			dir := filepath.Join(root, sub)
			err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
				if err != nil || e.IsDir() {
					return nil // removed meanwhile
				}
				rel, _ := filepath.Rel(dir, path)
				kind := sub
				if parts := strings.Split(rel, "/"); sub == "objects" && len(parts) > 2 {
					kind = parts[1]
				}
				if kind == "pack" {
					packs[filepath.Base(path)]++
				} else if root == cold {
					kind = "cold " + kind
				}
				files[kind], last[kind] = files[kind]+1, rel
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	for name, n := range packs {
		if n > 1 {
			return fmt.Sprintf("the pack %s is in both stores", name)
		}
	}
	for kind, n := range files {
		switch kind {
		case "pack", "log", "key", "root":
		default:
			return fmt.Sprintf("%d files of %s are there, such as %s", n, kind, last[kind])
		}
	}
	report := s.must(t, "verify")
	if n := reported(t, report, "packs"); n != files["pack"] {
		return fmt.Sprintf("%d packs are there, and facts name %d", files["pack"], n)
	}
	return ""
}

var lines = regexp.MustCompile(`(?m)^(\w[\w ]*?)\s\s+(\d+)$`)

// reported is a number of a report.
func reported(t *testing.T, report, what string) int {
	t.Helper()
	for _, m := range lines.FindAllStringSubmatch(report, -1) {
		if m[1] == what {
			n, _ := strconv.Atoi(m[2]) // digits
			return n
		}
	}
	t.Fatalf("there is no %q in the report:\n%s", what, report)
	return 0
}
