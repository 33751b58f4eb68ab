//go:build linux

package e2e

import (
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/strata-pacs/strata/test/stacktest"
)

// nodesDie kills, stops and restarts nodes under load, one after another and two at once.
func nodesDie(t *testing.T, w *world) {
	l := w.load(t, 4)
	defer l.end(t)
	l.more(t, 20, "at first")
	for i := range times(3, 21) {
		n, other := w.Nodes[i%nodes], w.Nodes[(i+1)%nodes]
		n.Kill()
		l.more(t, 5, "a node is killed")
		if i%3 == 2 { // a second one, while the first is gone
			other.Kill()
			l.more(t, 5, "two nodes are killed")
			if err := other.Start(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		if err := n.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		l.more(t, 10, "all are back")
	}
	if err := w.Nodes[1].Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	l.more(t, 10, "a node was stopped and started")
	w.verify(t) // beside the load
}

// nodeSleeps freezes a node under load for so long that the others take it for dead.
func nodeSleeps(t *testing.T, w *world) {
	l := w.load(t, 4)
	defer l.end(t)
	for i := range times(1, 3) {
		n := w.Nodes[i%nodes]
		l.more(t, 20, "before")
		was := logged(t, w, n.Name())
		if err := n.Freeze(); err != nil {
			t.Fatal(err)
		}
		asleep := time.Now()
		took := l.more(t, 20, "a node sleeps")
		t.Logf("20 stores while %s sleeps took %.1f s", n.Name(), took.Seconds())
		time.Sleep(time.Until(asleep.Add(lasting(7*time.Second, time.Minute))))
		if err := n.Thaw(); err != nil {
			t.Fatal(err)
		}
		awake := time.Now()
		// It takes stores again, as another member than before.
		for {
			u, file := w.image("", 64)
			if status, _, err := w.store(t.Context(), n.URL, u, file); err == nil && status == http.StatusOK {
				if strings.Contains(logged(t, w, n.Name())[len(was):], "goes on under a new name") {
					break
				}
			}
			if time.Since(awake) > 20*time.Second {
				t.Fatalf("%s does not go on under a new name", n.Name())
			}
			time.Sleep(50 * time.Millisecond)
		}
		t.Logf("%s goes on under a new name %.1f s after it woke", n.Name(), time.Since(awake).Seconds())
	}
	l.more(t, 20, "all are awake")
}

// logged is what a part of the stack has written.
func logged(t *testing.T, w *world, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(w.Dir, "log", name+".log"))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// strata runs a command of the program with the configuration of the first node, and returns what it wrote.
func (w *world) strata(t *testing.T, command string) string {
	t.Helper()
	n := w.Nodes[0]
	cmd := exec.CommandContext(t.Context(), w.program, command, "--config", filepath.Join(n.Folder, "strata.yaml"))
	cmd.Env = w.environment(n)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Errorf("strata %s: %v\n%s", command, err, out)
		return ""
	}
	said := strings.Join(strings.Fields(string(out)), " ")
	t.Logf("strata %s: %s", command, said)
	return said
}

func (w *world) environment(n *stacktest.Node) []string {
	return []string{"HOME=" + n.Folder, "PATH=" + os.Getenv("PATH"), "AWS_ACCESS_KEY_ID=" + w.S3.Key, "AWS_SECRET_ACCESS_KEY=" + w.S3.Secret}
}

func (w *world) verify(t *testing.T) string { t.Helper(); return w.strata(t, "verify") }

// nothingMissing asks every node, the log, and an index that is made anew from the log alone.
func nothingMissing(t *testing.T, w *world) {
	w.check(t)
	w.feed.holds(t, w)
	w.verify(t)
	for _, n := range w.Nodes {
		if err := n.Stop(); err != nil {
			t.Error(err)
		}
	}
	// As after the loss of the database: an empty schema.
	n, conf := w.Nodes[0], w.settings(t, 0)
	conf["database"] = conf["database"].(string) + "&search_path=rebuilt"
	write(t, filepath.Join(n.Folder, "strata.yaml"), conf)
	w.strata(t, "rebuild")
	if err := n.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.finds(t, n) // and verify reads
	w.verify(t)
}
