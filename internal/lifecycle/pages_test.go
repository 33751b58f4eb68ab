package lifecycle

import (
	"context"
	"encoding/binary"
	"fmt"
	"testing"
	"time"

	"github.com/zeebo/blake3"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/dicom"
	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/internal/index"
)

type testKeys struct{}

func (testKeys) Derive(purpose string) (archive.Secret, error) {
	return archive.Secret(blake3.Sum256([]byte(purpose))), nil
}

func (testKeys) Ref(uid string) (r archive.Ref) {
	sum := blake3.Sum256([]byte("ref/" + uid))
	copy(r[:], sum[:])
	return r
}

// paged is a Keeper of ten studies that looks at three together, over an index that fails and in which others store meanwhile.
type paged struct {
	*index.Index
	t       *testing.T
	k       *Keeper
	clock   time.Time
	facts   uint64
	settled []archive.Ref

	fails int    // at which call; 0: at none
	calls int    // of what a round reads and notes
	pages int    // that were read
	meets func() // called before the second page is read

	unread int // page that cannot be read; 0: none
}

const pagedStudies = 10

func newPaged(t *testing.T) *paged {
	x, err := index.Open(t.Context(), index.Options{Path: t.TempDir() + "/index.db",
		Keys: func(context.Context, archive.Tenant) (index.Keys, error) { return testKeys{}, nil }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { x.Close() })
	p := &paged{Index: x, t: t, clock: time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)}
	for i := range pagedStudies {
		p.stores(i)
	}
	p.clock = p.clock.Add(time.Hour)
	p.k = New(Options{Tenant: "t", Index: p, Settler: p, Tiers: []archive.Tier{{Name: "hot"}}, Now: func() time.Time { return p.clock }})
	p.k.pageSize = 3
	return p
}

func (p *paged) apply(f *archive.Fact) {
	p.t.Helper()
	p.facts++
	binary.BigEndian.PutUint64(f.ID[:8], uint64(p.clock.UnixMilli())<<16)
	binary.BigEndian.PutUint64(f.ID[8:], p.facts)
	_, err := p.Index.Apply(context.Background(), "t", archive.Entry{Session: "s", N: p.facts, Object: fmt.Sprint("t/log/s/", p.facts), Size: 1000, Fact: f})
	if err != nil {
		p.t.Fatal(err)
	}
}

// stores stores an instance of a study.
func (p *paged) stores(study int) {
	p.t.Helper()
	u := archive.UIDs{Study: fmt.Sprint("5.", study), Series: fmt.Sprint("5.", study, ".1"), Instance: fmt.Sprint("5.", study, ".1.", p.facts)}
	in := archive.Instance{UIDs: u, SOPClass: "1.2.840.10008.5.1.4.1.1.2", Syntax: "1.2.840.10008.1.2.1", SegmentBits: 16, At: archive.Location{Offset: 100, Length: 5000}, Size: 4000,
		Blob: archive.BlobID(blake3.Sum256([]byte(u.Instance))), Series: archive.Attrs{{Tag: 0x00080060, VR: dicom.CS, Value: "CT"}}, JSON: archive.JSONRef{Length: 10}}
	p.apply(&archive.Fact{Kind: archive.FactStored, Study: testKeys{}.Ref(u.Study), Instances: []archive.Instance{in}, Chunks: []archive.Chunk{{Data: []byte("zstd"), Size: 400}}})
}

// keeps states a rule by which studies stay as they are, and are due again after so many days.
func (p *paged) keeps(days int) {
	p.t.Helper()
	p.apply(&archive.Fact{Kind: archive.FactRule, Rules: &archive.RuleSet{Name: archive.RulesLifecycle, By: "test",
		Document: fmt.Appendf(nil, `{"rules":[{"when":{"received":{"over":"%dd"}},"action":"settle"},{"action":"keep"}]}`, days)}})
}

// Settle implements Settler.
func (p *paged) Settle(_ context.Context, study archive.Ref) (Settled, error) {
	p.settled = append(p.settled, study)
	return Settled{}, nil
}

// Sweep implements Settler.
func (p *paged) Sweep(context.Context) (Swept, error) { return Swept{}, nil }

// call fails when it is its turn.
func (p *paged) call() error {
	if p.calls++; p.calls == p.fails {
		return fault.New(fault.Unavailable, "the database does not answer")
	}
	return nil
}

func (p *paged) Due(ctx context.Context, t archive.Tenant, now time.Time, from archive.DuePlace, limit int) ([]archive.StudyLife, archive.DuePlace, error) {
	if p.pages++; p.pages == 2 && p.meets != nil {
		p.meets()
	}
	if p.pages == p.unread {
		return nil, archive.DuePlace{}, fault.New(fault.Unavailable, "the database does not answer")
	}
	return p.Index.Due(ctx, t, now, from, limit)
}

func (p *paged) SetDue(ctx context.Context, t archive.Tenant, next ...archive.NextDue) error {
	if err := p.call(); err != nil {
		return err
	}
	return p.Index.SetDue(ctx, t, next...)
}

func (p *paged) Judged(ctx context.Context, t archive.Tenant, all archive.DuePlace) error {
	if err := p.call(); err != nil {
		return err
	}
	return p.Index.Judged(ctx, t, all)
}

// round does one, of which every call works.
func (p *paged) round() int64 {
	p.t.Helper()
	p.fails, p.calls, p.pages = 0, 0, 0
	done, err := p.k.Round(p.t.Context())
	if err != nil {
		p.t.Fatal(err)
	}
	return done.Looked
}

// are checks that all studies were judged by rules by which they are due after so many days, and nothing is pending.
func (p *paged) are(what string, days int) {
	p.t.Helper()
	lives, err := p.Lives(p.t.Context(), "t", 0, 100)
	if err != nil || len(lives) != pagedStudies {
		p.t.Fatal(len(lives), err)
	}
	for i := range lives {
		if l := &lives[i]; l.Outdated || !l.Due.Equal(l.Received.AddDate(0, 0, days)) {
			p.t.Errorf("%s: %s is due %v, not %d days after %v, outdated: %v", what, l.UID, l.Due, days, l.Received, l.Outdated)
		}
	}
	if pending, err := p.k.Pending(p.t.Context()); err != nil || pending {
		p.t.Errorf("%s: pending %v, %v", what, pending, err)
	}
}

// TestRoundGoesOn: a round that ends anywhere is taken up by the next, which does not begin from the start.
func TestRoundGoesOn(t *testing.T) {
	p := newPaged(t)
	p.keeps(100)
	if n := p.round(); n != pagedStudies {
		t.Fatalf("%d studies were looked at", n)
	}
	p.are("the first round", 100)
	ended := 0
	for fails := 1; ; fails++ {
		days := 100 + fails
		p.keeps(days)
		p.fails, p.calls, p.pages = fails, 0, 0
		done, err := p.k.Round(t.Context())
		if err == nil {
			break // there are no more calls
		}
		ended++
		if !fault.Is(err, fault.Unavailable) {
			t.Fatal(err)
		}
		if n := p.round(); done.Looked+n < pagedStudies || done.Looked+n > pagedStudies+int64(p.k.pageSize) {
			t.Errorf("ended at call %d, it looked at %d studies and the next at %d", fails, done.Looked, n)
		}
		p.are(fmt.Sprint("ended at call ", fails), days)
	}
	if ended < 8 { // four pages, each noted in two calls
		t.Errorf("it ended in %d places", ended)
	}
}

// TestPageUnread: a page that cannot be read ends the round with an error, whichever it is.
func TestPageUnread(t *testing.T) {
	p := newPaged(t)
	for p.unread = 1; p.unread <= 4; p.unread++ {
		p.keeps(100 + p.unread)
		p.pages = 0
		if done, err := p.k.Round(t.Context()); !fault.Is(err, fault.Unavailable) || done.Looked > int64(p.unread*p.k.pageSize) {
			t.Errorf("page %d: %+v, %v", p.unread, done, err)
		}
	}
	p.unread = 0
	p.round()
	p.are("when all can be read", 104)
}

// TestRoundWritesChanges: studies that stay due when they were are looked at, and not noted one by one.
func TestRoundWritesChanges(t *testing.T) {
	p := newPaged(t)
	p.keeps(100)
	p.round()
	before, err := p.Lives(t.Context(), "t", 0, 100)
	if err != nil {
		t.Fatal(err)
	}
	p.keeps(100)
	if n := p.round(); n != pagedStudies {
		t.Errorf("%d studies were looked at", n)
	}
	p.are("the same rules again", 100)
	after, err := p.Lives(t.Context(), "t", 0, 100)
	if err != nil {
		t.Fatal(err)
	}
	for i := range after {
		if after[i].Mark.Judged != before[i].Mark.Judged {
			t.Errorf("%s was written", after[i].UID)
		}
	}
}

// TestStoredInRound: what is stored while a round is under way is looked at when it is quiet, whether the round has been
// at its study or not.
func TestStoredInRound(t *testing.T) {
	p := newPaged(t)
	p.keeps(100)
	p.round()
	p.keeps(101)
	p.meets = func() { p.stores(0); p.stores(4); p.stores(9) }
	if n := p.round(); n < pagedStudies-3 || n > pagedStudies {
		t.Errorf("%d studies were looked at", n)
	}
	p.meets = nil
	if n := p.round(); n != 0 {
		t.Errorf("%d studies were looked at before they were quiet", n)
	}
	p.clock = p.clock.Add(time.Hour)
	if n := p.round(); n != 3 {
		t.Errorf("%d studies were looked at, not the 3 of which something came", n)
	}
	p.are("then", 101)
}

// TestRulesInRound: rules that are stated while a round is under way hold for all studies.
func TestRulesInRound(t *testing.T) {
	p := newPaged(t)
	p.keeps(100)
	p.round()
	p.keeps(101)
	p.meets = func() { p.keeps(102) }
	first := p.round()
	p.meets = nil
	if n := first + p.round(); n < pagedStudies+int64(p.k.pageSize) {
		t.Errorf("%d studies were looked at in all", n)
	}
	p.are("rules that came in between", 102)
}

// TestRulesWhileSettling: a study that is worked on while the rules change is judged by the new ones.
func TestRulesWhileSettling(t *testing.T) {
	p := newPaged(t)
	p.keeps(100)
	p.round()
	p.clock = p.clock.AddDate(0, 0, 101) // now all are to be settled
	k := New(Options{Tenant: "t", Index: p, Settler: statesRules{p}, Tiers: []archive.Tier{{Name: "hot"}}, AtOnce: 1, Now: func() time.Time { return p.clock }})
	if _, err := k.Round(t.Context()); err != nil {
		t.Fatal(err)
	}
	if len(p.settled) == 0 {
		t.Fatal("nothing was settled")
	}
	lives, err := p.Lives(t.Context(), "t", 0, 100)
	if err != nil {
		t.Fatal(err)
	}
	for i := range lives {
		if !lives[i].Outdated {
			t.Errorf("%s counts as judged by the rules that were stated after it was", lives[i].UID)
		}
	}
}

// statesRules states others whenever a study is settled.
type statesRules struct{ *paged }

// Settle implements Settler.
func (s statesRules) Settle(ctx context.Context, study archive.Ref) (Settled, error) {
	s.keeps(500)
	return s.paged.Settle(ctx, study)
}

// TestRoomInPage: how much room there is, is asked for again when some of a page was moved, and what is left of the page is judged by it.
func TestRoomInPage(t *testing.T) {
	p := newPaged(t)
	p.apply(&archive.Fact{Kind: archive.FactRule, Rules: &archive.RuleSet{Name: archive.RulesLifecycle, By: "test",
		Document: []byte(`{"rules":[{"when":{"free":{"under":"50%"}},"action":"settle"},{"action":"keep"}]}`)}})
	k := New(Options{Tenant: "t", Index: p, Settler: p, Tiers: []archive.Tier{{Name: "hot"}}, AtOnce: 1, Now: func() time.Time { return p.clock },
		Disk: func() (int64, int64, error) { return 40 + 5*int64(len(p.settled)), 100, nil }})
	k.mostWork = 2
	done, err := k.Round(t.Context())
	if err != nil || done.Looked != pagedStudies || len(p.settled) != 2 {
		t.Errorf("%+v, %d were settled, %v", done, len(p.settled), err)
	}
}
