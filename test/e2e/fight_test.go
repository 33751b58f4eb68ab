//go:build linux

package e2e

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/testservers"
	"github.com/strata-pacs/strata/storage/s3protocol/glaciertest"
	"github.com/strata-pacs/strata/test/stacktest"
)

// Hours of a lifecycle in seconds.
const (
	fightLease = 4 * time.Second
	fightHold  = 4 * time.Second
	fightReap  = 12 * time.Second
)

// newFight is a stack of two nodes with three tiers: the bucket, another one, and an archive
// in a stand-in of a provider that restores within seconds.
func newFight(t *testing.T) (*world, *glaciertest.Server) {
	program, err := stacktest.Build(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	w := &world{program: program,
		http:  &http.Client{Timeout: 40 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: 16, DisableCompression: true}},
		acked: map[archive.UIDs]sum{}, tried: map[archive.UIDs]bool{}}
	settings := map[string]any{"pixel-workers": 1, "thumbnails": false, "reconcile-every": "1s", "node-lease": fightLease.String(), "settle-after": "1s", "lifecycle-every": "1s",
		"read-grace": fightHold.String(), "move-hold": fightHold.String(), "reap-grace": fightReap.String(), "read-cache-bytes": 0, "log": map[string]any{"level": "warn"}}
	var provider *glaciertest.Server
	w.Stack = stacktest.Start(t, stacktest.Options{Nodes: 2, Program: program, Settings: settings,
		Route: func(s *stacktest.Stack) {
			server := testservers.S3{Endpoint: s.S3.Endpoint, Region: stacktest.Region, AccessKey: s.S3.Key, SecretKey: s.S3.Secret}
			provider = glaciertest.Start(t, server, glaciertest.Options{Delay: func(string, string) time.Duration { return 2 * time.Second }})
			for _, bucket := range []string{"cold", "archive"} {
				server.NewBucket(t, bucket, false)
			}
			settings["tiers"] = []any{map[string]any{"name": "hot"},
				map[string]any{"name": "cold", "store": "s3://cold?pathstyle=true&region=" + stacktest.Region + "&endpoint=" + server.Endpoint},
				map[string]any{"name": "archive", "store": provider.URL("archive", "GLACIER"), "restore": true,
					"speeds": []any{map[string]any{"priority": "standard", "word": "Standard", "typical": "1s", "longest": "5s"}}}}
		}})
	return w, provider
}

// TestFight has two nodes settle, move and restore the same studies at the same time, each told to by
// the API and doing so by itself, while one of them is killed, frozen for longer than its lease, or PostgreSQL dies.
func TestFight(t *testing.T) {
	began := time.Now()
	w, provider := newFight(t)
	random := rand.New(rand.NewPCG(uint64(began.UnixNano()), 0))
	var faults [3]int
	var did fought
	const rounds = 3
	var studies []string
	for round := range rounds {
		var fresh []string
		for range 4 {
			u := w.mustStore(t, "", 64)
			fresh = append(fresh, u.Study)
			for range 2 {
				w.mustStore(t, u.Study, 64)
			}
		}
		studies = append(studies, fresh...)
		// Some of what lies elsewhere gets one more, and is merged anew if it can be read.
		w.mustStore(t, studies[random.IntN(len(studies))], 64)
		w.rules(t, []string{"archive", "cold", "archive", "hot"}[round%4])
		var wg sync.WaitGroup
		stop := make(chan struct{})
		for i := range w.Nodes {
			wg.Go(func() { w.fight(t, w.Nodes[i], studies, stop, &did) })
		}
		time.Sleep(time.Second + time.Duration(random.Int64N(int64(2*time.Second))))
		victim := w.Nodes[random.IntN(len(w.Nodes))]
		kind := round % 3
		faults[kind]++
		var err error
		switch kind {
		case 0:
			victim.Kill()
			time.Sleep(time.Second)
			err = victim.Start(t.Context())
		case 1:
			if err = victim.Freeze(); err == nil {
				time.Sleep(fightLease + 2*time.Second)
				err = victim.Thaw()
			}
		case 2:
			w.Postgres.Kill()
			err = w.Postgres.Start(t.Context())
		}
		time.Sleep(2 * time.Second)
		close(stop)
		wg.Wait()
		if err != nil {
			t.Fatal(err)
		}
		w.ready(t, []int{0, 1})
		w.finds(t, w.Nodes...)
		if t.Failed() {
			return
		}
	}
	w.rules(t, "cold") // what is archived stays, since nobody restores to move
	w.settled(t)
	w.bring(t)
	w.check(t)
	w.apart(t, w.verify(t))
	t.Logf("%d rounds, %.0f s: %d kills, %d freezes, %d times PostgreSQL; %d studies, %d instances; %d calls of apply answered, %d refused or lost; %d restores asked for, %d refused or lost; the provider began %d restores by %d requests",
		rounds, time.Since(began).Seconds(), faults[0], faults[1], faults[2], len(studies), len(w.acked), did.applied.Load(), did.unapplied.Load(), did.restored.Load(), did.unrestored.Load(),
		provider.Begun(), provider.Faults.Count("restore"))
	for _, n := range w.Nodes {
		t.Logf("%s: %d lines of its log are warnings or errors", n.Name(), strings.Count(logged(t, w, n.Name()), "level=WARN")+strings.Count(logged(t, w, n.Name()), "level=ERROR"))
	}
}

// fought counts what was asked of the nodes.
type fought struct{ applied, unapplied, restored, unrestored atomic.Int64 }

// ask asks a node's API about the tenant.
func (w *world) ask(t *testing.T, n *stacktest.Node, method, path string, body any) (int, []byte, error) {
	b, err := json.Marshal(body)
	if err != nil {
		t.Error(err)
	}
	return w.do(t.Context(), method, n.URL+"/api/tenants/default"+path, "application/json", "application/json", b)
}

// rules moves everything to a tier.
func (w *world) rules(t *testing.T, tier string) {
	t.Helper()
	rules := map[string]any{"rules": []any{map[string]any{"name": "all", "action": "move", "to": tier}}}
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(200 * time.Millisecond) {
		status, body, err := w.ask(t, w.Nodes[0], "PUT", "/lifecycle/rules", rules)
		if err == nil && status == http.StatusOK {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("stating rules: status %d, %v: %s", status, err, body)
		}
	}
}

// fight has a node carry out the rules and restore the studies, again and again.
func (w *world) fight(t *testing.T, n *stacktest.Node, studies []string, stop <-chan struct{}, did *fought) {
	for {
		select {
		case <-stop:
			return
		default:
		}
		if status, _, err := w.ask(t, n, "POST", "/lifecycle/apply", nil); err == nil && status == http.StatusOK {
			did.applied.Add(1)
		} else {
			did.unapplied.Add(1)
			time.Sleep(100 * time.Millisecond)
		}
		if status, _, err := w.ask(t, n, "POST", "/restores", map[string]any{"studies": studies}); err == nil && status < 300 {
			did.restored.Add(1)
		} else {
			did.unrestored.Add(1)
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// settled waits until nothing is due and all graces are over.
func (w *world) settled(t *testing.T) {
	t.Helper()
	for since, end := time.Now(), time.Now().Add(90*time.Second); time.Since(since) < fightReap+2*time.Second; time.Sleep(500 * time.Millisecond) {
		status, body, err := w.ask(t, w.Nodes[0], "GET", "/lifecycle", nil)
		var state struct{ Pending bool }
		if err == nil {
			err = json.Unmarshal(body, &state)
		}
		if err != nil || status != http.StatusOK || state.Pending {
			since = time.Now()
		}
		if time.Now().After(end) {
			t.Fatalf("something stays due: status %d, %v: %s", status, err, body)
		}
	}
}

// bring restores all that was stored and waits for it.
func (w *world) bring(t *testing.T) {
	t.Helper()
	all := map[string]bool{}
	for u := range w.acked {
		all[u.Study] = true
	}
	studies := slices.Sorted(maps.Keys(all))
	for end := time.Now().Add(2 * time.Minute); ; time.Sleep(time.Second) {
		status, body, err := w.ask(t, w.Nodes[1], "POST", "/restores", map[string]any{"studies": studies})
		if err == nil && status == http.StatusOK { // all can be read
			return
		}
		if time.Now().After(end) {
			t.Fatalf("restoring: status %d, %v: %s", status, err, body)
		}
	}
}

// apart holds the buckets to what is needed: each pack lies in one of them, and facts name it.
func (w *world) apart(t *testing.T, report string) {
	t.Helper()
	var twice string
	var count map[string]int
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(time.Second) {
		twice, count = "", map[string]int{}
		seen := map[string]string{}
		for _, bucket := range []string{stacktest.ObjectBucket, "cold", "archive"} {
			dir := filepath.Join(w.S3.Folder, bucket, "default", "pack")
			if _, err := os.Stat(dir); err != nil {
				continue
			}
			err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
				if err != nil || e.IsDir() {
					return nil // removed meanwhile
				}
				if other := seen[e.Name()]; other != "" {
					twice = fmt.Sprintf("the pack %s lies in %s and in %s", e.Name(), other, bucket)
				}
				seen[e.Name()] = bucket
				count[bucket]++
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		if twice == "" || time.Now().After(end) {
			break
		}
	}
	if twice != "" {
		t.Error(twice)
	}
	all := 0
	for _, n := range count {
		all += n
	}
	if want := fmt.Sprintf(" packs %d ", all); !strings.Contains(report, want) {
		t.Errorf("%d packs are there: %v, and verify says %s", all, count, report)
	}
}
