package index

import (
	"context"
	"testing"
	"time"

	"github.com/strata-pacs/strata/internal/archive"
)

// BenchmarkLives goes through all studies as a plan does, and as rules do when they have changed.
func BenchmarkLives(b *testing.B) {
	total := studyCount()
	x := benchIndex(b, total)
	ctx := context.Background()
	const page = 1000
	each := func(b *testing.B) {
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*total), "ns/study")
	}
	b.Run("lives", func(b *testing.B) {
		for b.Loop() {
			n := 0
			for after, more := int64(0), true; more; {
				ls, err := x.Lives(ctx, hospital, after, page)
				if err != nil {
					b.Fatal(err)
				}
				if n += len(ls); len(ls) > 0 {
					after = ls[len(ls)-1].ID
				}
				more = len(ls) == page
			}
			if n != total {
				b.Fatalf("%d studies", n)
			}
		}
		each(b)
	})
	b.Run("all-due", func(b *testing.B) {
		for b.Loop() {
			if err := x.AllDue(ctx, hospital); err != nil {
				b.Fatal(err)
			}
		}
	})
	due := func(b *testing.B, set bool) {
		now := time.Now()
		for b.Loop() {
			if err := x.AllDue(ctx, hospital); err != nil {
				b.Fatal(err)
			}
			n := 0
			var at archive.DuePlace
			for more := true; more; {
				ls, end, err := x.Due(ctx, hospital, now, at, page)
				if err != nil {
					b.Fatal(err)
				}
				if set {
					next := make([]archive.NextDue, len(ls))
					for i := range ls {
						next[i] = ls[i].Next(now.Add(time.Duration(ls[i].ID) * time.Hour))
					}
					if err := x.SetDue(ctx, hospital, next...); err != nil {
						b.Fatal(err)
					}
				}
				if err := x.Judged(ctx, hospital, end); err != nil {
					b.Fatal(err)
				}
				n, at, more = n+len(ls), end, len(ls) == page
			}
			if n != total {
				b.Fatalf("%d studies", n)
			}
		}
		each(b)
	}
	b.Run("due", func(b *testing.B) { due(b, false) })
	b.Run("due-and-set", func(b *testing.B) { due(b, true) })
	b.Run("nothing-due", func(b *testing.B) {
		for b.Loop() {
			if ls, _, err := x.Due(ctx, hospital, time.UnixMilli(1), archive.DuePlace{}, page); err != nil || len(ls) != 0 {
				b.Fatal(len(ls), err)
			}
		}
	})
	b.Run("accessed-1000", func(b *testing.B) {
		ls, err := x.Lives(ctx, hospital, 0, page)
		if err != nil {
			b.Fatal(err)
		}
		refs := make([]archive.Ref, len(ls))
		for i := range ls {
			refs[i] = ls[i].Study
		}
		day := time.Now()
		for b.Loop() {
			day = day.AddDate(0, 0, 1)
			if err := x.Accessed(ctx, hospital, day, refs...); err != nil {
				b.Fatal(err)
			}
		}
	})
}
