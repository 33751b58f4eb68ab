package index

import (
	"context"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/strata-pacs/strata/internal/archive"
)

// TestIntents: what is noted is seen by all nodes until it is forgotten, and by no other tenant.
func TestIntents(t *testing.T) {
	both(t, func(t *testing.T, of engine) {
		o := of(t)
		x := openWith(t, o)
		ctx := context.Background()
		keys := fakeKeys(hospital)
		one := archive.Intent{Study: keys.Ref("1.1"), Session: "a-i1", N: 7}
		two := archive.Intent{Study: keys.Ref("1.1"), Session: "b-c1", N: 1}
		other := archive.Intent{Study: keys.Ref("1.2"), Session: "a-i1", N: 8}
		for _, i := range []archive.Intent{one, two, other, one} {
			if err := x.Intend(ctx, hospital, i); err != nil {
				t.Fatal(err)
			}
		}
		seen := func(x *Index, what string, study archive.Ref, want ...archive.Intent) {
			t.Helper()
			got, err := x.Intents(ctx, hospital, study)
			if diff := cmp.Diff(len(want), len(got)); err != nil || diff != "" {
				t.Fatalf("%s: %+v, %v", what, got, err)
			}
			for _, i := range want {
				found := false
				for _, g := range got {
					found = found || g == i
				}
				if !found {
					t.Errorf("%s: %+v is not among %+v", what, i, got)
				}
			}
		}
		seen(x, "all", archive.Ref{}, one, two, other)
		seen(x, "of a study", one.Study, one, two)
		seen(x, "of none", keys.Ref("1.3"))
		if x.shared {
			seen(openWith(t, o), "on another node", archive.Ref{}, one, two, other)
		}
		if got, err := x.Intents(ctx, "practice", archive.Ref{}); err != nil || len(got) != 0 {
			t.Errorf("another tenant sees %+v, %v", got, err)
		}
		for range 2 {
			if err := x.Desist(ctx, hospital, one); err != nil {
				t.Fatal(err)
			}
		}
		seen(x, "forgotten", archive.Ref{}, two, other)
	})
}

// TestDeletedAt: where a deletion is in the log is known, whatever order facts come in, and of one that is there twice the same place is.
func TestDeletedAt(t *testing.T) {
	both(t, func(t *testing.T, of engine) {
		first := deletes(3, archive.UIDs{Study: "1.1"}, blobOf(spec{study: "1.1"}, 1))
		twice := deletes(3, archive.UIDs{Study: "1.1"}, blobOf(spec{study: "1.1"}, 1))
		twice.N = 9
		for _, entries := range [][]archive.Entry{{first, twice}, {twice, first}} {
			x := openWith(t, of(t))
			apply(t, x, entries...)
			got, err := x.DeletedAt(context.Background(), hospital, first.Fact.ID, factID(77))
			want := map[archive.FactID]archive.LogPlace{first.Fact.ID: {Session: first.Session, N: 9}}
			if diff := cmp.Diff(want, got); err != nil || diff != "" {
				t.Errorf("(-want +got): %s %v", diff, err)
			}
		}
	})
}
