package ledger

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/dicom"
	"github.com/strata-pacs/strata/internal/fault"
)

// settledFact restates n instances that lie in two packs.
func settledFact(n int) *archive.Fact {
	f := &archive.Fact{Kind: archive.FactSettled, Study: archive.Ref{7}, Key: studyKey,
		Packs: []archive.PackPlace{{Object: "default/pack/A", Size: 4096, Digest: archive.Digest{1}, Tier: archive.HotTier},
			{Object: "default/pack/B", Size: 300, Digest: archive.Digest{2}, Tier: "cold"}},
		Supersedes: []archive.LogRange{{Session: "S0", Range: archive.Range{From: 3, To: 6}}, {Session: "S0", Range: archive.Range{From: 9, To: 9}},
			{Session: "S2", Range: archive.Range{From: 1, To: 1}}},
		Dropped: []archive.BlobID{{9}},
		Chunks:  []archive.Chunk{{Data: []byte("zstd"), Size: 10 * n}},
	}
	at := int64(16)
	for i := range n {
		in := instance(i % 20)
		in.Instance = fmt.Sprintf("1.2.3.1.%d", i)
		in.Blob, in.Size, in.Stated = archive.BlobID{byte(i), byte(i >> 8), 1}, 50, archive.FactID{1, byte(i), byte(i >> 8)}
		in.At = archive.Location{Object: f.Packs[i%2].Object, Offset: at, Length: 100}
		in.JSON = archive.JSONRef{Offset: 10 * i, Length: 10}
		at += 100
		f.Instances = append(f.Instances, in)
	}
	return f
}

func placesIn(t testing.TB, l *Log, f *archive.Fact) places {
	t.Helper()
	p, err := l.placesOf(f)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestSettledRoundTrip(t *testing.T) {
	ctx := context.Background()
	store := newStore()
	l := newLog(t, store)
	nothing := &archive.Fact{Kind: archive.FactSettled, Study: archive.Ref{7}, Supersedes: settledFact(1).Supersedes, Dropped: []archive.BlobID{{1}}}
	moved := &archive.Fact{Kind: archive.FactMoved, Study: archive.Ref{7}, Packs: []archive.PackPlace{{Object: "default/pack/A", Size: 1 << 40, Tier: "cold", From: archive.HotTier}}}
	under := *nothing
	under.Key = studyKey
	for i, f := range []*archive.Fact{settledFact(1), settledFact(50), nothing, &under, moved} {
		e, err := l.Append(ctx, f, nil)
		if err != nil {
			t.Fatal(i, err)
		}
		got, err := Read(ctx, store, tenant, e.Session, e.N, secrets, All)
		if err != nil {
			t.Fatal(i, err)
		}
		for _, f := range []*archive.Fact{e.Fact, got.Fact} { // none and empty are the same
			if len(f.Instances) == 0 {
				f.Instances, f.Chunks = nil, nil
			}
		}
		if diff := cmp.Diff(e, got); diff != "" {
			t.Errorf("%d: %s", i, diff)
		}
	}
	// Without its key a settled fact still says which objects it is about.
	absent := errors.New("destroyed")
	_, err := Read(ctx, store, tenant, "S1", 1, func(context.Context, archive.KeyID) (archive.Secret, error) { return archive.Secret{}, absent }, Index)
	var u *Unopened
	if !errors.As(err, &u) || !errors.Is(err, absent) {
		t.Fatal(err)
	}
	want := settledFact(1)
	if diff := cmp.Diff([]any{want.Packs, want.Supersedes, want.Key, want.Study}, []any{u.Fact.Packs, u.Fact.Supersedes, u.Fact.Key, u.Fact.Study}); diff != "" || u.Fact.Instances != nil {
		t.Errorf("unopened: %s", diff)
	}
}

func TestSettledRefuses(t *testing.T) {
	ctx := context.Background()
	l := newLog(t, newStore())
	many := make([]archive.LogRange, 200_000)
	for i := range many {
		many[i] = archive.LogRange{Session: fmt.Sprintf("S%d", i), Range: archive.Range{From: 1, To: 1}}
	}
	long := func(from, to uint64) []archive.LogRange {
		return []archive.LogRange{{Session: "S0", Range: archive.Range{From: from, To: to}}}
	}
	for name, c := range map[string]struct {
		edit func(f *archive.Fact)
		want fault.Kind
	}{
		"two keys":          {func(f *archive.Fact) { f.Instances[1].Key = archive.KeyID{6} }, fault.Internal},
		"no key":            {func(f *archive.Fact) { f.Key = archive.KeyID{} }, fault.Internal},
		"no study":          {func(f *archive.Fact) { f.Study = archive.Ref{} }, fault.Internal},
		"never stated":      {func(f *archive.Fact) { f.Instances[1].Stated = archive.FactID{} }, fault.Internal},
		"a pack not named":  {func(f *archive.Fact) { f.Packs = f.Packs[:1] }, fault.Internal},
		"in no pack":        {func(f *archive.Fact) { f.Instances[0].At.Object = "" }, fault.Internal},
		"no tier":           {func(f *archive.Fact) { f.Packs[0].Tier = "" }, fault.Internal},
		"another tenant's":  {func(f *archive.Fact) { f.Packs[0].Object = "other/pack/A" }, fault.Internal},
		"an empty range":    {func(f *archive.Fact) { f.Supersedes = long(7, 6) }, fault.Internal},
		"number 0":          {func(f *archive.Fact) { f.Supersedes = long(0, 6) }, fault.Internal},
		"out of order":      {func(f *archive.Fact) { f.Supersedes = append(long(7, 9), long(9, 9)...) }, fault.Internal},
		"no session":        {func(f *archive.Fact) { f.Supersedes[0].Session = "a/b" }, fault.Internal},
		"too many entries":  {func(f *archive.Fact) { f.Supersedes = long(1, MaxSuperseded+1) }, fault.TooLarge},
		"too long a header": {func(f *archive.Fact) { f.Supersedes = many }, fault.TooLarge},
		"too large a record": {func(f *archive.Fact) {
			f.Instances[0].Attrs = attrs(0x00204000, dicom.LT, strings.Repeat("x", MaxIndex))
		}, fault.TooLarge},
		"moved: no packs": {func(f *archive.Fact) { *f = archive.Fact{Kind: archive.FactMoved, Study: f.Study} }, fault.Internal},
		"moved: a key":    {func(f *archive.Fact) { f.Kind = archive.FactMoved }, fault.Internal},
		"too many packs":  {func(f *archive.Fact) { f.Packs = make([]archive.PackPlace, maxPacks+1) }, fault.TooLarge},
	} {
		f := settledFact(2)
		c.edit(f)
		if _, err := l.Append(ctx, f, nil); !fault.Is(err, c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	f, body := storedFact(t, newStore(), 1, 10)
	f.Kind = archive.FactSettled
	if _, err := l.Append(ctx, f, &body); !fault.Is(err, fault.Internal) {
		t.Errorf("with blobs of its own: %v", err)
	}
}

// TestSettledSize holds what a large study takes against the limits of a fact.
func TestSettledSize(t *testing.T) {
	const n = 20_000
	f := settledFact(n)
	f.Supersedes = nil
	for i := range uint64(n) { // stored one by one, between others
		f.Supersedes = append(f.Supersedes, archive.LogRange{Session: "01HZZZZZZZZZZZZZZZZZZZZZZZ", Range: archive.Range{From: 3*i + 1, To: 3*i + 1}})
	}
	l := newLog(t, newStore())
	d, err := l.draft(context.Background(), f, nil)
	if err != nil {
		t.Fatal(err)
	}
	d.head.session = "S1"
	head := d.head.append(nil)
	t.Logf("%d instances: %d bytes of record, %d of header", n, len(d.payload), len(head))
	if len(d.payload) > MaxIndex/2 || len(head) > MaxHeader/4 {
		t.Errorf("%d bytes of record, %d of header", len(d.payload), len(head))
	}
	if h, err := parseHeader(head); err != nil || len(h.places.supersedes) != n || !bytes.Equal(h.append(nil), head) {
		t.Errorf("the header does not read back: %v", err)
	}
}
