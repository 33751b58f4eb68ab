//go:build linux

package dark

import (
	"encoding/json"
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/strata-pacs/strata/api"
	"github.com/strata-pacs/strata/internal/keys"
	"github.com/strata-pacs/strata/internal/keys/providers"
	"github.com/strata-pacs/strata/storage"
	"github.com/strata-pacs/strata/storage/s3store"
	"github.com/strata-pacs/strata/storage/splitstore"
	"github.com/strata-pacs/strata/test/stacktest"
)

// TestStack takes the key away from nodes that share an archive, in Vault and from
// Strata's side, and looks for what was seeded wherever any of the servers writes.
func TestStack(t *testing.T) {
	st := stacktest.Start(t, stacktest.Options{Nodes: 2, Program: built(t, false), Settings: map[string]any{"pixel-workers": 1, "key-grace": "9s",
		"reconcile-every": "1s", "thumbnail-after": "500ms", "log": map[string]any{"level": "debug"}}})
	tellAll(t, st)
	nodes := []*server{of(st, st.Nodes[0]), of(st, st.Nodes[1])}
	seed(t, nodes[0])
	for _, n := range append(nodes, &server{name: "balancer", url: st.Balancer.URL, token: st.Token}) {
		use(t, n)
	}
	texts := seedMatcher()
	look := func(when string) {
		t.Helper()
		n := noFile(t, texts, st.Dir)
		for _, s := range nodes {
			clean(t, texts, "the metrics", s.must(t, http.StatusOK, route{path: "/metrics"}))
		}
		t.Logf("%s: %d MB in files of all servers, nothing readable", when, n>>20)
	}
	look("granted")
	all := stackKeys(t, st)
	known := keyMatcher(all)
	for name, b := range filesWith(t, known, st.Dir) {
		t.Errorf("%s holds the key %v", name, b)
	}
	before := map[*server]int{}
	for _, n := range nodes {
		f, _ := memory(t, known, n.pid())
		before[n] = f.places()
	}
	ctx := t.Context()
	t.Run("Vault denies", func(t *testing.T) {
		revoked(t, func() error { return st.Vault.Deny(ctx) }, func() error { return st.Vault.Allow(ctx) }, nodes...)
	})
	t.Run("Strata revokes", func(t *testing.T) {
		call := func(what string, body any) func() error {
			return func() error {
				b, err := json.Marshal(body)
				if err != nil {
					return err
				}
				status, answer, err := nodes[0].do(ctx, route{method: http.MethodPost, path: api.Root + "/tenants/default/keys/" + what, contentType: "application/json", body: b})
				if err == nil && status != http.StatusOK {
					err = fmt.Errorf("status %d: %s", status, answer)
				}
				return err
			}
		}
		revoked(t, call("revoke", api.Revoke{Confirm: "default"}), call("grant", api.Grant{}), nodes...)
	})
	t.Run("Vault is silent", func(t *testing.T) { silent(t, st, nodes) })
	t.Run("Vault lost the key", func(t *testing.T) {
		v := st.Vault.Root.Logical()
		if _, err := v.WriteWithContext(ctx, stacktest.Transit+"/keys/"+stacktest.Key+"/config", map[string]any{"deletion_allowed": true}); err != nil {
			t.Fatal(err)
		}
		var watches []*watch
		for _, n := range nodes {
			watches = append(watches, begin(t, n))
		}
		denied := time.Now()
		if _, err := v.DeleteWithContext(ctx, stacktest.Transit+"/keys/"+stacktest.Key); err != nil {
			t.Fatal(err)
		}
		for _, w := range watches {
			w.darkness(t, denied)
			refused(t, w.s, http.StatusForbidden, "key-revoked")
		}
	})
	look("revoked")
	for _, n := range nodes {
		afterwards(t, n, known, texts, before[n])
	}
}

// silent stops Vault: the nodes go on for the grace, then say that it is not
// reached, and are all there when it is back.
func silent(t *testing.T, st *stacktest.Stack, nodes []*server) {
	if err := st.Vault.Freeze(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = st.Vault.Thaw() }() // it may be awake
	since := time.Now()
	search := route{path: "/studies?PatientName=Quetzlkranich*", accept: textJSON}
	for _, n := range nodes {
		for time.Since(since) < 3*time.Second { // the grace is 9 s, the last proof up to 2 s old
			n.must(t, http.StatusOK, search)
			time.Sleep(100 * time.Millisecond)
		}
		n.must(t, http.StatusOK, search)
	}
	for _, n := range nodes {
		for {
			status, b, err := n.do(t.Context(), search)
			if err == nil && status == http.StatusServiceUnavailable && problem(b) == "key-unreachable" {
				break
			}
			// An answer that had begun when the archive was closed breaks off.
			if err == nil && status != http.StatusOK || time.Since(since) > 20*time.Second {
				t.Fatalf("%s: status %d, %v, %v after Vault went silent: %s", n.name, status, err, time.Since(since), b)
			}
			time.Sleep(100 * time.Millisecond)
		}
		t.Logf("%s: 503 came %.1f s after Vault went silent, with a grace of 9 s", n.name, time.Since(since).Seconds())
	}
	for _, n := range nodes {
		for _, r := range []route{reads()[0], {path: pathOf(utf8Image), accept: anyDICOM}, {path: pathOf(utf8Image) + "/thumbnail", accept: "image/jpeg"}, writes()[0]} {
			if b := n.must(t, http.StatusServiceUnavailable, r); problem(b) != "key-unreachable" {
				t.Errorf("%s: %v: %s", n.name, r, b)
			}
		}
	}
	if err := st.Vault.Thaw(); err != nil {
		t.Fatal(err)
	}
	for _, n := range nodes {
		t.Logf("%s: all there %.1f s after Vault was back", n.name, back(t, n, time.Now()).Seconds())
	}
}

// tellAll has PostgreSQL log every statement with its parameters.
func tellAll(t *testing.T, st *stacktest.Stack) {
	t.Helper()
	c, err := pgx.Connect(t.Context(), st.Postgres.AdminDSN)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close(t.Context())
	for _, sql := range []string{"ALTER SYSTEM SET log_statement = 'all'", "ALTER SYSTEM SET log_min_duration_statement = 0",
		"ALTER SYSTEM SET log_parameter_max_length = -1", "SELECT pg_reload_conf()"} {
		if _, err := c.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
}

// stackKeys reads the archive's keys as a node does.
func stackKeys(t *testing.T, st *stacktest.Stack) map[string][]byte {
	t.Helper()
	var c struct {
		Store     string            `json:"store"`
		KeyStore  string            `json:"key-store"`
		Providers map[string]string `json:"providers"`
	}
	readJSON(t, st.Nodes[0].Folder+"/strata.yaml", &c)
	t.Setenv("AWS_ACCESS_KEY_ID", st.S3.Key)
	t.Setenv("AWS_SECRET_ACCESS_KEY", st.S3.Secret)
	objects, err := s3store.Open(t.Context(), c.Store, s3store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	wrapped, err := s3store.Open(t.Context(), c.KeyStore, s3store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	set, err := providers.Open(t.Context(), c.Providers)
	if err != nil {
		t.Fatal(err)
	}
	defer set.Close()
	return keysOf(t, storage.New(splitstore.New(splitstore.Options{Picked: wrapped, Other: objects, Pick: keys.Holds})), set)
}
