package index

import (
	"context"
	"slices"
	"testing"

	"github.com/strata-pacs/strata/internal/archive"
)

func TestTouched(t *testing.T) { both(t, testTouched) }

func testTouched(t *testing.T, e engine) {
	x := openTest(t, e)
	ctx := context.Background()
	if list, upTo, err := x.Touched(ctx, hospital, 0, 0); err != nil || len(list) != 0 || upTo != 0 {
		t.Fatalf("of nothing: %v up to %d, %v", list, upTo, err)
	}
	a := func(series, instance string) spec {
		return spec{study: "1.1", series: "1.1." + series, instance: "1.1." + series + "." + instance}
	}
	b := spec{study: "1.2", series: "1.2.1", instance: "1.2.1.1"}
	deleted := entry(4, &archive.Fact{Kind: archive.FactDeleted, Blobs: []archive.BlobID{blobOf(b, 2)}, Scope: archive.UIDs{Study: "1.2"}})
	for _, e := range []archive.Entry{stored(1, a("1", "1"), a("2", "1")), stored(2, b), stored(3, a("1", "2")), deleted} {
		if _, err := x.Apply(ctx, hospital, e); err != nil {
			t.Fatal(err)
		}
	}
	last, err := x.Last(ctx, hospital)
	if err != nil || last != 5 {
		t.Fatalf("last %d, %v", last, err)
	}
	type touched struct {
		study       string
		first, last int64
		lost        bool
	}
	for _, tt := range []struct {
		after int64
		limit int
		want  []touched
		upTo  int64
	}{
		{0, 0, []touched{{"1.1", 1, 4, false}, {"1.2", 3, 5, true}}, 5},
		{-7, 3, []touched{{"1.1", 1, 2, false}, {"1.2", 3, 3, false}}, 3},
		{3, 10_000_000, []touched{{"1.1", 4, 4, false}, {"1.2", 5, 5, true}}, 5},
		{4, 1, []touched{{"1.2", 5, 5, true}}, 5},
		{5, 0, nil, 5},
		{9, 0, nil, 9},
	} {
		list, upTo, err := x.Touched(ctx, hospital, tt.after, tt.limit)
		if err != nil || upTo != tt.upTo {
			t.Errorf("after %d: up to %d, %v", tt.after, upTo, err)
		}
		var got []touched
		for _, d := range list {
			got = append(got, touched{d.Study, d.First, d.Last, d.Lost})
			if d.Time.IsZero() {
				t.Error("an entry without a time")
			}
		}
		if !slices.Equal(got, tt.want) {
			t.Errorf("after %d, %d of them: %v, want %v", tt.after, tt.limit, got, tt.want)
		}
	}
	if list, _, err := x.Touched(ctx, "clinic", 0, 0); err != nil || len(list) != 0 {
		t.Errorf("another tenant's: %v, %v", list, err)
	}
}
