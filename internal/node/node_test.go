package node

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/internal/ingest"
	"github.com/strata-pacs/strata/internal/keys/localkeys"
	"github.com/strata-pacs/strata/internal/reconcile"
	"github.com/strata-pacs/strata/internal/retrieve"
	"github.com/strata-pacs/strata/internal/retrieve/retrievetest"
)

// place is a data folder and its key, to be opened more than once.
type place struct {
	t    *testing.T
	o    Options
	host *Node // open
}

func newPlace(t *testing.T) *place {
	t.Helper()
	dir := t.TempDir()
	if err := localkeys.Create(filepath.Join(dir, "kek"), nil); err != nil {
		t.Fatal(err)
	}
	kek, err := localkeys.Open(filepath.Join(dir, "kek"), nil)
	if err != nil {
		t.Fatal(err)
	}
	return &place{t: t, o: Options{Data: filepath.Join(dir, "data"), Wrapper: kek, KEK: kek.ID()}}
}

func (p *place) open() *Archive {
	p.t.Helper()
	n, err := Open(p.t.Context(), p.o)
	if err != nil {
		p.t.Fatal(err)
	}
	p.host = n
	a, err := n.Pin(p.t.Context(), n.Tenant)
	if err != nil {
		p.t.Fatal(err)
	}
	return a
}

func (p *place) close(*Archive) {
	p.t.Helper()
	if err := p.host.Close(context.Background()); err != nil {
		p.t.Error(err)
	}
}

// abandon lets go of the folder as a killed process does: nothing is finished.
func (p *place) abandon(a *Archive) {
	a.cut(errClosing)
	a.wg.Wait()
	p.host.stop()
	p.host.wg.Wait()
	p.host.Index.Close()
	p.host.lock.Close()
}

func image(study, i int) (archive.UIDs, []byte) {
	u := archive.UIDs{Study: fmt.Sprintf("1.2.%d", study), Series: fmt.Sprintf("1.2.%d.1", study), Instance: fmt.Sprintf("1.2.%d.1.%d", study, i)}
	return u, retrievetest.Part10(retrievetest.Image{UIDs: u, Rows: 16, Columns: 16, Name: "Doe^Jane"})
}

func store(t *testing.T, n *Archive, files ...[]byte) []ingest.Result {
	t.Helper()
	r := n.Store.Begin(ingest.RequestOptions{})
	defer r.Abort()
	for _, f := range files {
		r.Add(t.Context(), bytes.NewReader(f))
	}
	return r.Commit(t.Context())
}

func (p *place) wants(n *Archive, u archive.UIDs, file []byte) {
	p.t.Helper()
	found, err := n.Retrieve.Find(p.t.Context(), n.Tenant, u, retrieve.Files)
	if err != nil || len(found) != 1 {
		p.t.Fatalf("%d instances found, %v", len(found), err)
	}
	body, err := n.Retrieve.File(&found[0], "")
	if err != nil {
		p.t.Fatal(err)
	}
	var got bytes.Buffer
	if err := body.Write(p.t.Context(), &got); err != nil {
		p.t.Fatal(err)
	}
	if !bytes.Equal(got.Bytes(), file) {
		p.t.Error("other bytes come back")
	}
}

func (p *place) verify(n *Archive) reconcile.Report {
	p.t.Helper()
	r, err := n.Reconcile.Verify(p.t.Context(), reconcile.VerifyOptions{Sample: 1})
	if err != nil {
		p.t.Fatal(err)
	}
	return r
}

func TestReopen(t *testing.T) {
	p := newPlace(t)
	n := p.open()
	u, file := image(1, 1)
	if res := store(t, n, file); res[0].Outcome != ingest.Stored || res[0].Reason != 0 {
		t.Fatalf("%+v", res[0])
	}
	if res := store(t, n, file); res[0].Outcome != ingest.Known {
		t.Errorf("sent again: %+v", res[0])
	}
	p.close(n)
	for range 3 { // a session without a store leaves nothing to trip over
		n = p.open()
		p.wants(n, u, file)
		if r := p.verify(n); len(r.Gaps) > 0 || r.Instances != 1 || r.Read != int64(len(file)) {
			t.Errorf("%+v", r)
		}
		p.close(n)
	}
}

func TestLock(t *testing.T) {
	p := newPlace(t)
	n := p.open()
	if _, err := Open(t.Context(), p.o); !errors.Is(err, ErrInUse) {
		t.Errorf("a second process got %v", err)
	}
	p.close(n)
	p.close(p.open())
}

// TestFactWithoutRow: the process dies between the fact and the index.
func TestFactWithoutRow(t *testing.T) {
	p := newPlace(t)
	n := p.open()
	u, file := image(1, 1)
	store(t, n, file)
	p.abandon(n)
	for _, s := range []string{"", "-wal", "-shm"} {
		os.Remove(filepath.Join(p.o.Data, "index.db"+s))
	}
	n = p.open()
	defer p.close(n)
	p.wants(n, u, file)
	if res := store(t, n, file); res[0].Outcome != ingest.Known {
		t.Errorf("sent again: %+v", res[0])
	}
}

// TestLostObjects: one log object that is gone is a gap, for verify and for rebuild.
func TestLostObjects(t *testing.T) {
	p := newPlace(t)
	n := p.open()
	var last archive.UIDs
	for i := range 5 {
		u, file := image(i, 1)
		store(t, n, file)
		last = u
	}
	rows, err := n.Retrieve.Find(t.Context(), n.Tenant, last, retrieve.Files)
	if err != nil || len(rows) != 1 {
		t.Fatal(len(rows), err)
	}
	p.close(n)
	n = p.open()
	if err := n.Bucket.Delete(t.Context(), rows[0].At.Object); err != nil {
		t.Fatal(err)
	}
	r := p.verify(n)
	if len(r.Gaps) != 1 || !strings.Contains(r.Gaps[0].Object, "/log/") {
		t.Errorf("verify: %+v", r.Gaps)
	}
	p.close(n)

	report, err := Rebuild(t.Context(), p.o, nil)
	if err != nil || len(report.Gaps) != 1 || report.Instances != 4 {
		t.Fatalf("rebuild: %+v, %v", report, err)
	}
	n = p.open()
	defer p.close(n)
	if found, err := n.Retrieve.Find(t.Context(), n.Tenant, archive.UIDs{Study: "1.2.0"}, retrieve.Files); err != nil || len(found) != 1 {
		t.Errorf("after the rebuild: %d instances, %v", len(found), err)
	}
	if found, _ := n.Retrieve.Find(t.Context(), n.Tenant, last, retrieve.Files); len(found) != 0 {
		t.Error("what is lost is still shown")
	}
	if r := p.verify(n); len(r.Gaps) != 1 {
		t.Errorf("the gap must go on to show: %+v", r.Gaps)
	}
}

// TestDamage: a flipped byte in a body is found, and not served.
func TestDamage(t *testing.T) {
	p := newPlace(t)
	n := p.open()
	defer p.close(n)
	u, file := image(1, 1)
	store(t, n, file)
	rows, err := n.Retrieve.Find(t.Context(), n.Tenant, u, retrieve.Files)
	if err != nil {
		t.Fatal(err)
	}
	flip(t, p.o.Data, rows[0].At.Object, rows[0].At.Offset+200)
	if r := p.verify(n); len(r.Gaps) != 1 {
		t.Errorf("%+v", r.Gaps)
	}
	body, err := n.Retrieve.File(&rows[0], "")
	if err != nil {
		t.Fatal(err)
	}
	var got bytes.Buffer
	if err := body.Write(t.Context(), &got); !fault.Is(err, fault.Corrupt) || got.Len() > 0 {
		t.Errorf("%d bytes were let out, %v", got.Len(), err)
	}
}

// flip changes a byte of an object's file, behind the store's back.
func flip(t *testing.T, data, object string, at int64) {
	t.Helper()
	session, found := filepath.Base(filepath.Dir(object)), false
	err := filepath.WalkDir(data, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() || filepath.Base(path) != filepath.Base(object) || !strings.Contains(path, session) {
			return err
		}
		found = true
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if at < int64(len(b)) {
			b[at] ^= 1
			os.Chmod(path, 0o600)
			return os.WriteFile(path, b, 0o600)
		}
		return nil
	})
	if err != nil || !found {
		t.Fatal(found, err)
	}
}

func TestRebuildSameAnswers(t *testing.T) {
	p := newPlace(t)
	n := p.open()
	for i := range 20 {
		_, file := image(i/4, i)
		store(t, n, file)
	}
	if err := n.Remove.Delete(t.Context(), n.Tenant, archive.UIDs{Study: "1.2.0"}); err != nil {
		t.Fatal(err)
	}
	if err := n.Remove.Delete(t.Context(), n.Tenant, archive.UIDs{Study: "1.2.1"}); err != nil {
		t.Fatal(err)
	}
	if k, err := n.Remove.Undelete(t.Context(), n.Tenant, archive.UIDs{Study: "1.2.1", Series: "1.2.1.1", Instance: "1.2.1.1.5"}); err != nil || k != 1 {
		t.Fatal(k, err)
	}
	before := studies(t, n)
	p.close(n)
	var steps int
	r, err := Rebuild(t.Context(), p.o, func(int, int) { steps++ })
	if err != nil || len(r.Gaps) > 0 || r.Instances != 20 || steps == 0 {
		t.Fatalf("%+v, %v, %d steps", r, err, steps)
	}
	n = p.open()
	defer p.close(n)
	if after := studies(t, n); after != before {
		t.Errorf("before:\n%s\nafter:\n%s", before, after)
	}
}

// studies lists what the index shows.
func studies(t *testing.T, n *Archive) string {
	t.Helper()
	var b strings.Builder
	err := n.Index.Studies(t.Context(), n.Tenant, archive.StudyFilter{}, func(s *archive.StudyRow) bool {
		fmt.Fprintln(&b, s.UID, s.Modalities, s.Series, s.Instances, s.Bytes, s.Attrs)
		return true
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestDeleteAndUndelete(t *testing.T) {
	p := newPlace(t)
	n := p.open()
	defer p.close(n)
	u, file := image(1, 1)
	if err := n.Remove.Delete(t.Context(), n.Tenant, u); !fault.Is(err, fault.NotFound) {
		t.Errorf("deleting what is not there: %v", err)
	}
	if _, err := n.Remove.Undelete(t.Context(), n.Tenant, u); !fault.Is(err, fault.NotFound) {
		t.Errorf("undeleting what was not deleted: %v", err)
	}
	store(t, n, file)
	if err := n.Remove.Delete(t.Context(), n.Tenant, archive.UIDs{Study: u.Study}); err != nil {
		t.Fatal(err)
	}
	if found, _ := n.Retrieve.Find(t.Context(), n.Tenant, u, retrieve.Files); len(found) != 0 {
		t.Error("a deleted instance is found")
	}
	if k, err := n.Remove.Undelete(t.Context(), n.Tenant, archive.UIDs{Study: u.Study}); err != nil || k != 1 {
		t.Fatal(k, err)
	}
	p.wants(n, u, file)
}

// TestGraceFence: a writer that is too slow gives up, and its pack is reaped.
func TestGraceFence(t *testing.T) {
	p := newPlace(t)
	p.o.Grace = 1
	n := p.open()
	defer p.close(n)
	_, file := image(1, 1)
	res := store(t, n, append(bytes.Clone(file), make([]byte, 17<<20)...))
	if res[0].Outcome != ingest.Refused || !fault.Is(res[0].Err, fault.Timeout) {
		t.Fatalf("a writer past half the grace: %+v", res[0])
	}
	if k, err := n.Reconcile.Reap(t.Context()); err != nil || k.Packs != 1 {
		t.Errorf("reaped %+v, %v", k, err)
	}
	if r := p.verify(n); len(r.Gaps) > 0 {
		t.Errorf("%+v", r.Gaps)
	}
}

// TestReapKeepsWhatIsNamed: however old.
func TestReapKeepsWhatIsNamed(t *testing.T) {
	p := newPlace(t)
	n := p.open()
	u, file := image(1, 1)
	large := append(bytes.Clone(file), make([]byte, 17<<20)...)
	store(t, n, large)
	p.close(n)
	p.o.Grace = 1
	n = p.open()
	defer p.close(n)
	if k, err := n.Reconcile.Reap(t.Context()); err != nil || k.Packs != 0 {
		t.Errorf("reaped %+v, %v", k, err)
	}
	p.wants(n, u, large)
}
