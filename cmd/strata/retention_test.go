package main

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/retrieve/retrievetest"
)

// TestDeleteBeforeItsTime: what must be kept answers 409 with the day, and under a hold that there is one, on
// both databases; two persons lift a hold, and a token without a name is nobody's.
func TestDeleteBeforeItsTime(t *testing.T) { engines(t, testDeleteBeforeItsTime) }

func testDeleteBeforeItsTime(t *testing.T, h *house) {
	u := archive.UIDs{Study: "1.2.77", Series: "1.2.77.1", Instance: "1.2.77.1.1"}
	file := retrievetest.Part10(retrievetest.Image{UIDs: u, Rows: 4, Columns: 4, Name: "Geheim^Gerda", PatientID: "G-4711", StudyDate: time.Now().Format("20060102"), BirthDate: "19601231", Modality: "CT"})
	if r := h.do(asked{"POST", "/t/a/dicom-web/studies", aToken, []string{"Content-Type", "application/dicom"}, file}); r.status != 200 {
		t.Fatal(r)
	}
	call := func(method, path, token, body string) response {
		t.Helper()
		q := asked{method: method, path: path, token: token}
		if body != "" {
			q.headers, q.body = []string{"Content-Type", "application/json"}, []byte(body)
		}
		r := h.do(q)
		for _, secret := range []string{"Geheim", "G-4711", "19601231", "1960-12-31"} {
			if r.status/100 != 2 && strings.Contains(r.body, secret) {
				t.Errorf("%s %s tells %s: %s", method, path, secret, r.body)
			}
		}
		return r
	}
	refused := func(what string, r response, status int, says string) {
		t.Helper()
		if r.status != status || !strings.Contains(r.body, says) || r.header.Get("Content-Type") != "application/problem+json" {
			t.Errorf("%s: %d %s", what, r.status, r.body)
		}
	}
	const web, api = "/t/a/dicom-web/studies/1.2.77", "/api/tenants/a/"
	if r := call("PUT", api+"retention", ownerToken, `{"set":"de"}`); r.status != 200 || !strings.Contains(r.body, `"by":"alice"`) {
		t.Fatal(r)
	}
	day := time.Now().AddDate(10, 0, 0).Format(time.DateOnly)
	for _, path := range []string{"", "/series/1.2.77.1", "/series/1.2.77.1/instances/1.2.77.1.1"} {
		refused("before its time"+path, call("DELETE", web+path, aToken, ""), 409, "must be kept until "+day)
	}
	refused("shredding", call("POST", api+"shred", ownerToken, `{"confirm":"a","study":"1.2.77"}`), 409, day)
	if r := call("PUT", api+"retention", ownerToken, `{"set":"none"}`); r.status != 200 {
		t.Fatal(r)
	}
	var hold struct{ ID, By string }
	if r := call("POST", api+"holds", someToken, `{"patientId":"G-4711","reason":"case"}`); r.status != 201 || json.Unmarshal([]byte(r.body), &hold) != nil || hold.By == "" {
		t.Fatal(r)
	}
	refused("under a hold", call("DELETE", web, aToken, ""), 409, "legal hold")
	refused("shredding under a hold", call("POST", api+"shred", ownerToken, `{"confirm":"a","patientId":"G-4711"}`), 409, "legal hold")
	release := func(token string) response {
		t.Helper()
		return call("POST", api+"holds/"+hold.ID+"/release", token, `{"reason":"settled"}`)
	}
	refused("released by nobody", release(someToken), 403, "named person")
	refused("released by a tenant", release(aToken), 403, "operator")
	if r := release(ownerToken); r.status != 200 {
		t.Error(r)
	}
	refused("twice the same person", release(ownerToken), 409, "somebody else")
	refused("after one release", call("DELETE", web, aToken, ""), 409, "legal hold")
	if r := release(bobToken); r.status != 200 || !strings.Contains(r.body, `"lifted":true`) {
		t.Error(r)
	}
	if r := call("DELETE", web, aToken, ""); r.status != 204 {
		t.Errorf("at last: %d %s", r.status, r.body)
	}
	refused("a hold that is not there", call("POST", api+"holds/"+strings.Repeat("0", 32)+"/release", bobToken, `{"reason":"r"}`), 404, "no such hold")
	refused("another tenant's hold", call("POST", "/api/tenants/b/holds/"+hold.ID+"/release", bobToken, `{"reason":"r"}`), 404, "no such hold")
}

// TestDeleteStorm: many studies are deleted over HTTP while others are stored; one call of the API brings back
// exactly what there was, byte for byte, beside what was stored since. STRATA_STORM sets how many.
func TestDeleteStorm(t *testing.T) {
	studies := 200
	if n, err := strconv.Atoi(os.Getenv("STRATA_STORM")); err == nil {
		studies = n
	}
	h := newHouse(t, "STRATA_LIMITS_RESULTS=1000000")
	image := func(study, i int) (archive.UIDs, []byte) {
		u := archive.UIDs{Study: fmt.Sprint("1.2.", study), Series: fmt.Sprintf("1.2.%d.1", study), Instance: fmt.Sprintf("1.2.%d.1.%d", study, i)}
		return u, retrievetest.Part10(retrievetest.Image{UIDs: u, Rows: 8, Columns: 8, Name: "Doe^Jane", PatientID: fmt.Sprint("P", study), StudyDate: "20240305", Number: i})
	}
	storm := func(from, to int, do func(i int)) time.Duration {
		began := time.Now()
		var wg sync.WaitGroup
		for worker := range 4 {
			wg.Go(func() {
				for i := from + worker; i < to; i += 4 {
					do(i)
				}
			})
		}
		wg.Wait()
		return time.Since(began)
	}
	store := func(i int) {
		for k := 1; k <= 2; k++ {
			_, file := image(i, k)
			if r := h.do(asked{"POST", "/t/a/dicom-web/studies", aToken, []string{"Content-Type", "application/dicom"}, file}); r.status != 200 {
				t.Errorf("storing: %d %s", r.status, r.body)
			}
		}
	}
	state := func() map[string][sha256.Size]byte {
		t.Helper()
		r := h.do(asked{method: "GET", path: "/t/a/dicom-web/studies?limit=1000000", token: aToken, headers: []string{"Accept", "application/dicom+json"}})
		var list []map[string]struct{ Value []any }
		if r.body != "" && json.Unmarshal([]byte(r.body), &list) != nil {
			t.Fatal(r.status, r.body)
		}
		var mu sync.Mutex
		out := map[string][sha256.Size]byte{}
		storm(0, len(list), func(i int) {
			uid := list[i]["0020000D"].Value[0].(string)
			for k := 1; k <= 2; k++ {
				path := fmt.Sprintf("/t/a/dicom-web/studies/%s/series/%s.1/instances/%s.1.%d", uid, uid, uid, k)
				r := h.do(asked{method: "GET", path: path, token: aToken, headers: []string{"Accept", "application/dicom; transfer-syntax=*"}})
				if r.status != 200 {
					continue // deleted alone
				}
				mu.Lock()
				out[path] = sha256.Sum256([]byte(r.body))
				mu.Unlock()
			}
		})
		return out
	}
	stored := storm(0, studies, store)
	h.do(asked{method: "DELETE", path: "/t/a/dicom-web/studies/1.2.0", token: aToken}) // before the moment
	want := state()
	if len(want) != 2*(studies-1) {
		t.Fatalf("%d instances before the storm", len(want))
	}
	time.Sleep(2 * time.Millisecond)
	moment := time.Now()
	time.Sleep(2 * time.Millisecond)

	deleted := storm(0, 2*studies, func(i int) {
		if i%2 == 0 { // while others are stored
			if i < studies/2 {
				store(studies + i)
			}
			return
		}
		if i/2+1 == studies {
			return // the first of those that are stored since
		}
		path := fmt.Sprint("/t/a/dicom-web/studies/1.2.", i/2+1)
		if i%10 == 1 { // an instance first, then the rest
			u, _ := image(i/2+1, 1)
			h.do(asked{method: "DELETE", path: path + "/series/" + u.Series + "/instances/" + u.Instance, token: aToken})
		}
		if r := h.do(asked{method: "DELETE", path: path, token: aToken}); r.status != 204 {
			t.Errorf("deleting: %d %s", r.status, r.body)
		}
	})
	since := state()
	for path := range want {
		if _, ok := since[path]; ok {
			t.Fatal("something was not deleted")
		}
	}
	began := time.Now()
	calls, instances := 0, 0
	for after := ""; ; calls++ {
		r := h.do(asked{"POST", "/api/tenants/a/undelete", ownerToken, []string{"Content-Type", "application/json"},
			fmt.Appendf(nil, `{"asOf":%q,"after":%q}`, moment.UTC().Format(time.RFC3339Nano), after)})
		var got struct {
			Deletions, Instances, Versions int
			StoredSince                    *int
			Next                           string
		}
		if r.status != 200 || json.Unmarshal([]byte(r.body), &got) != nil {
			t.Fatal(r.status, r.body)
		}
		if after == "" && (got.StoredSince == nil || *got.StoredSince != len(since)) {
			t.Errorf("%d were stored since: %s", len(since), r.body)
		}
		instances += got.Instances
		if after = got.Next; after == "" {
			break
		}
	}
	took := time.Since(began)
	if instances != len(want) {
		t.Errorf("%d instances come back, want %d", instances, len(want))
	}
	got := state()
	for path, sum := range since {
		if got[path] != sum {
			t.Error("what was stored since is gone or another")
		}
		delete(got, path)
	}
	if len(got) != len(want) {
		t.Errorf("%d instances, want %d", len(got), len(want))
	}
	for path, sum := range want {
		if got[path] != sum {
			t.Error("an instance is gone or another")
		}
	}
	t.Logf("%d studies of 2 instances: stored in %v, deleted in %v, back in %v with %d calls", studies, stored, deleted, took, calls+1)
}

// TestNamedTokens: a line may say whose token it is, and a token with an equals sign stays one.
func TestNamedTokens(t *testing.T) {
	const secret = "Secret-0123456789=="
	for _, tt := range []struct{ line, person, tenant string }{
		{secret, "", ""}, {"alice=" + secret, "alice", ""}, {"alice=north:" + secret, "alice", "north"}, {"north:" + secret, "", "north"},
		{"north:alice=" + secret, "", "north"}, {"Alice=" + secret, "", ""}, {"=" + secret, "", ""},
	} {
		got, err := parseToken(tt.line)
		if err != nil || got.person != tt.person || string(got.tenant) != tt.tenant {
			t.Errorf("%s: %+v, %v", tt.line, got, err)
		}
	}
	for _, line := range []string{"alice=short", "alice=north:short", "alice=North:" + secret} {
		if _, err := parseToken(line); err == nil {
			t.Errorf("%s is a token", line)
		}
	}
}

// TestPeer: over the control socket the kernel says who asks.
func TestPeer(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	who := make(chan string, 1)
	s := &http.Server{ConnContext: knowPeer, Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { who <- peer(r) })}
	served := make(chan error, 1)
	go func() { served <- s.Serve(l) }()
	defer func() { s.Close(); <-served }()
	c := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", path)
	}}}
	defer c.CloseIdleConnections()
	resp, err := c.Get("http://strata/")
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	me, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	if got := <-who; got != me.Username {
		t.Errorf("%q asks, not %q", got, me.Username)
	}
}

// TestKeysAreNotLocked: keys in a bucket that locks could never be destroyed.
func TestKeysAreNotLocked(t *testing.T) {
	_, _, err := loadConfig("", []string{"STRATA_DATA=" + t.TempDir(), "STRATA_KEY_FILE=/elsewhere/kek", "STRATA_STORE=s3://objects?lock=compliance", "STRATA_KEY_STORE=s3://keys?lock=governance"}, nil)
	if err == nil || !strings.Contains(err.Error(), "key-store: must lock nothing") {
		t.Error(err)
	}
}
