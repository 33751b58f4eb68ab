//go:build linux

package e2e

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/testservers"
	"github.com/strata-pacs/strata/storage/s3protocol/glaciertest"
	"github.com/strata-pacs/strata/storage/s3protocol/s3protocoltest"
	"github.com/strata-pacs/strata/test/stacktest"
)

const (
	fightNodes  = 3
	fightDelete = 12 * time.Second // how long a deletion can be undone
	fightSkew   = time.Second      // between any two clocks, at most
	restEvery   = 4                // rounds
)

// fight is a stack whose nodes fight for the same studies, and what is known of these.
type fight struct {
	*world
	provider *glaciertest.Server
	tokens   map[string]string // of operators, by name
	seed     uint64
	clocks   bool       // of nodes may differ
	ruling   sync.Mutex // rules and pauses, one at a time

	mu           sync.Mutex
	rnd          *rand.Rand
	studies      []*contested
	done, failed map[string]int
	faults       map[string]int
	trouble      map[s3protocoltest.Action]int
	doubts       int
	schemas      int
	verified     atomic.Int64
}

// n is a number below n.
func (f *fight) n(n int) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.rnd.IntN(n)
}

// before is a moment that is before another one by any node's clock.
func (f *fight) before(at time.Time) time.Time {
	if f.clocks {
		at = at.Add(-fightSkew)
	}
	return at.Add(-time.Millisecond) // the time in a fact is in whole milliseconds
}

// newLongFight starts the stack.
func newLongFight(t *testing.T) *fight {
	seed := uint64(time.Now().UnixNano())
	if v, err := strconv.ParseUint(os.Getenv("STRATA_FIGHT_SEED"), 10, 64); err == nil {
		seed = v
	}
	t.Logf("STRATA_FIGHT_SEED=%d", seed)
	clocks := os.Getenv("STRATA_FIGHT_CLOCKS")
	var program string
	if clocks != "" {
		program = buildClocked(t, clocks)
	} else {
		var err error
		if program, err = stacktest.Build(t.Context(), t.TempDir()); err != nil {
			t.Fatal(err)
		}
	}
	f := &fight{seed: seed, clocks: clocks != "", rnd: rand.New(rand.NewPCG(seed, 0)), done: map[string]int{}, failed: map[string]int{}, faults: map[string]int{}, trouble: map[s3protocoltest.Action]int{},
		world: &world{program: program, http: &http.Client{Timeout: 40 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: 16, DisableCompression: true}},
			acked: map[archive.UIDs]sum{}, tried: map[archive.UIDs]bool{}}}
	tokens := filepath.Join(t.TempDir(), "tokens")
	settings := map[string]any{"pixel-workers": 1, "thumbnails": false, "reconcile-every": "1s", "node-lease": fightLease.String(), "settle-after": "1s", "lifecycle-every": "1s",
		"read-grace": fightHold.String(), "move-hold": fightHold.String(), "reap-grace": fightReap.String(), "delete-hold": fightDelete.String(), "store-stall": "2s",
		"read-cache-bytes": 0, "token-file": tokens, "log": map[string]any{"level": "warn"}}
	f.Stack = stacktest.Start(t, stacktest.Options{Nodes: fightNodes, Program: program, Settings: settings, Network: stacktest.NetworkUnavailable() == nil,
		Route: func(s *stacktest.Stack) {
			f.tokens = map[string]string{"": s.Token, "alice": strings.Repeat("a", 40), "bob": strings.Repeat("b", 40)}
			text := fmt.Sprintf("%s\nalice=%s\nbob=%s\n", s.Token, f.tokens["alice"], f.tokens["bob"])
			if err := os.WriteFile(tokens, []byte(text), 0o600); err != nil {
				t.Error(err)
			}
			f.store3 = s3protocoltest.NewProxy(t, s.S3.Endpoint)
			s.Reach.Store = f.store3.URL
			server := testservers.S3{Endpoint: s.S3.Endpoint, Region: stacktest.Region, AccessKey: s.S3.Key, SecretKey: s.S3.Secret}
			f.provider = glaciertest.Start(t, server, glaciertest.Options{Delay: func(string, string) time.Duration { return 2 * time.Second }})
			for _, bucket := range []string{"cold", "archive"} {
				server.NewBucket(t, bucket, false)
			}
			settings["tiers"] = []any{map[string]any{"name": "hot"}, map[string]any{"name": "cold", "store": f.provider.URL("cold", "")},
				map[string]any{"name": "archive", "store": f.provider.URL("archive", "GLACIER"), "restore": true,
					"speeds": []any{map[string]any{"priority": "standard", "word": "Standard", "typical": "1s", "longest": "5s"}}}}
		}})
	return f
}

// TestFightLong has three nodes store, settle, move, restore, hold, delete, bring
// back and purge the same studies at once, under one fault after another, chosen at random. After each round the
// nodes are held to what they acknowledged.
func TestFightLong(t *testing.T) {
	v := os.Getenv("STRATA_FIGHT_ROUNDS")
	if v == "" {
		t.Skip("takes half a minute a round: set STRATA_FIGHT_ROUNDS to have it")
	}
	rounds, err := strconv.Atoi(v)
	if err != nil || rounds < 1 {
		t.Fatal("STRATA_FIGHT_ROUNDS must be a number above zero")
	}
	began := time.Now()
	f := newLongFight(t)
	for round := range rounds {
		f.round(t)
		if !t.Failed() {
			f.weigh(t, round)
		}
		if !t.Failed() && (round%restEvery == restEvery-1 || round == rounds-1) {
			f.finale(t)
		}
		if t.Failed() {
			break
		}
	}
	t.Logf("%d rounds, %.0f s; faults: %v; of requests to the stores: %v", rounds, time.Since(began).Seconds(), f.faults, f.trouble)
	deleted, images := 0, 0
	for _, s := range f.studies {
		shown, hidden, _ := s.state()
		images += len(shown) + len(hidden)
		if len(shown) == 0 && len(hidden) > 0 {
			deleted++
		}
	}
	t.Logf("%d studies, %d of them deleted, %d instances acknowledged, %d times an instance asked for in checks, %d answers in doubt; the provider began %d restores",
		len(f.studies), deleted, images, f.verified.Load(), f.doubts, f.provider.Begun())
	for _, what := range slices.Sorted(maps.Keys(f.done)) {
		t.Logf("%s: %d done, %d refused or lost", what, f.done[what], f.failed[what])
	}
	if t.Failed() {
		f.keepLogs(t)
	}
}

// keepLogs leaves the programs' logs where STRATA_FIGHT_LOGS says.
func (f *fight) keepLogs(t *testing.T) {
	to := os.Getenv("STRATA_FIGHT_LOGS")
	if to == "" {
		return
	}
	if err := os.CopyFS(filepath.Join(to, fmt.Sprintf("%d-%d", f.seed, time.Now().Unix())), os.DirFS(filepath.Join(f.Dir, "log"))); err != nil {
		t.Log(err)
	}
}

// round has all of it done at once, under faults, and then waits until all nodes serve.
func (f *fight) round(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	wg := f.brawl(ctx, t)
	for range 1 + f.n(3) {
		time.Sleep(time.Duration(f.n(2500)) * time.Millisecond)
		if err := f.fault(t); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			break
		}
	}
	time.Sleep(time.Second)
	f.provider.Faults.Script(nil)
	f.store3.Script(nil)
	stop()
	wg.Wait()
	f.ready(t)
	f.ruling.Lock()
	f.resume(t) // it may not have been answered
	f.ruling.Unlock()
	// Whatever those have left who were killed is indexed by then.
	time.Sleep(fightLease + 3*time.Second)
	if !t.Failed() {
		f.settleDoubts(t)
	}
}

// weigh checks, while the lifecycle is paused, what each node says.
func (f *fight) weigh(t *testing.T, round int) {
	t.Helper()
	f.ruling.Lock()
	defer f.ruling.Unlock()
	if status, body, err := f.call(t, "pause", "", f.node(), "POST", "/lifecycle/pause", nil); err != nil || status != http.StatusOK {
		t.Fatalf("pausing: status %d, %v: %s", status, err, body)
	}
	defer f.resume(t)
	some := f.studies
	if len(some) > 50 { // the others come at rest
		some = slices.Clone(some[len(some)-25:])
		for range 25 {
			some = append(some, f.studies[f.n(len(f.studies)-25)])
		}
	}
	f.check(t, some, false)
	if round%restEvery != restEvery-1 {
		f.counted(t)
		f.verify(t)
	}
}

// finale brings the archive to rest, looks at everything, and does so again with an index that is made anew.
func (f *fight) finale(t *testing.T) {
	t.Helper()
	f.ruling.Lock()
	defer f.ruling.Unlock()
	tier := []string{"cold", "archive", "hot"}[f.n(3)]
	if !f.state(t, f.Nodes[0], []any{map[string]any{"name": "all", "action": "move", "to": tier}}) {
		t.Fatal("the rules for the end are not taken")
	}
	f.rest(t)
	f.restored(t)
	f.check(t, f.studies, true)
	if t.Failed() {
		return
	}
	for _, n := range f.Nodes {
		if err := n.Stop(); err != nil {
			t.Error(err)
		}
	}
	f.schemas++
	for i, n := range f.Nodes {
		conf := f.settings(t, i)
		database, _, _ := strings.Cut(conf["database"].(string), "&search_path=")
		conf["database"] = fmt.Sprintf("%s&search_path=rebuilt%d", database, f.schemas)
		write(t, filepath.Join(n.Folder, "strata.yaml"), conf)
	}
	f.strata(t, "rebuild")
	for _, n := range f.Nodes {
		if err := n.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	f.restored(t)
	f.check(t, f.studies, true)
	f.rest(t)
}

// restored waits until all can be read.
func (f *fight) restored(t *testing.T) {
	t.Helper()
	var uids []string
	for _, s := range f.studies {
		if shown, _, _ := s.state(); len(shown) > 0 {
			uids = append(uids, s.uid)
		}
	}
	for end := time.Now().Add(2 * time.Minute); len(uids) > 0; time.Sleep(time.Second) {
		status, body, err := f.call(t, "restore of all", "", f.node(), "POST", "/restores", map[string]any{"studies": uids})
		if err == nil && status == http.StatusOK {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("restoring: status %d, %v: %s", status, err, body)
		}
	}
}
