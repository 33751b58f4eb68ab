package index

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/lifecycle"
)

// swept has nothing to settle or to sweep.
type swept struct{}

func (swept) Settle(context.Context, archive.Ref) (lifecycle.Settled, error) {
	return lifecycle.Settled{}, nil
}
func (swept) Sweep(context.Context) (lifecycle.Swept, error) { return lifecycle.Swept{}, nil }

// benchRules are rules by which nothing is to be done to any study before so many years are over since its date, or
// its receipt (since: age, received); then it is due again.
func benchRules(since string, years int) string {
	return fmt.Sprintf(`{"rules":[
		{"name":"teaching","when":{"tag":["teaching"]},"action":"move","to":"hot"},
		{"name":"back","when":{"tier":["cold"],"accessed":{"under":"30d"}},"action":"move","to":"hot"},
		{"name":"old","when":{"any":[{"%s":{"over":"%dy"}},{"all":[{"size":{"over":"900TB"}},{"age":{"over":"1y"}}]}],"not":{"modality":["MG"]}},"action":"move","to":"cold"},
		{"name":"others","action":"keep"}]}`, since, years)
}

// BenchmarkLifecycle measures rounds in which nothing is to be done to any study: the first one; after other rules,
// by which each is due at another time, some time after it came or, which is harder, after its date, which is random; after
// rules by which each is due when it was; that of a day, for a hundredth of the studies; then plans. For a million studies:
//
//	STRATA_BENCH_STUDIES=1000000 STRATA_BENCH_INSTANCES=1 [STRATA_BENCH_DSN=new] go test ./internal/index -run '^$' -bench Lifecycle -benchtime 3x -timeout 30m
func BenchmarkLifecycle(b *testing.B) {
	total := studyCount()
	loading := time.Now()
	x := benchIndex(b, total)
	b.Logf("loaded in %v", time.Since(loading))
	benchLifecycle(b, x, total)
}

func benchLifecycle(b *testing.B, x *Index, total int) {
	ctx := context.Background()
	now := time.Date(2045, 1, 1, 0, 0, 0, 0, time.UTC)
	k := lifecycle.New(lifecycle.Options{Tenant: hospital, Index: x, Settler: swept{}, Tiers: []archive.Tier{{Name: "hot"}, {Name: "cold", Store: "s3://b"}}, Now: func() time.Time { return now }})
	stated, years := uint64(time.Now().UnixNano()), 90
	state := func(b *testing.B, since string) {
		stated, years = stated+1, 90+(years+1)%10
		if _, err := x.Apply(ctx, hospital, rules(stated, archive.RulesLifecycle, benchRules(since, years))); err != nil {
			b.Fatal(err)
		}
	}
	round := func(b *testing.B, want int) {
		done, err := k.Round(ctx)
		if err != nil || done.Looked != int64(want) {
			b.Fatalf("%+v, %v", done, err)
		}
	}
	measured := func(name string, studies int, f func(b *testing.B)) {
		b.Run(name, func(b *testing.B) {
			resetPeak()
			before := processorTime()
			f(b)
			b.ReportMetric((processorTime()-before).Seconds()/float64(b.N), "cpu-s/op")
			b.ReportMetric(b.Elapsed().Seconds()/float64(b.N), "s/op")
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(studies), "ns/study")
			if m := peak(); m > 0 {
				b.ReportMetric(m, "peak-RSS-MiB")
			}
		})
	}
	if ls, err := x.Lives(ctx, hospital, 0, 1); err != nil || len(ls) == 0 {
		b.Fatal(len(ls), err)
	} else if ls[0].Mark.Judged == 0 {
		start := time.Now()
		state(b, "received")
		round(b, total)
		b.Logf("first round: %v", time.Since(start))
	}
	for _, since := range []string{"received", "age"} {
		measured("other-rules/"+since, total, func(b *testing.B) {
			longest := storeMeanwhile(b, x)
			for b.Loop() {
				state(b, since)
				round(b, total)
			}
			b.ReportMetric(longest().Seconds(), "s-store-max")
		})
	}
	measured("same-times", total, func(b *testing.B) {
		for b.Loop() {
			if err := x.AllDue(ctx, hospital); err != nil {
				b.Fatal(err)
			}
			round(b, total)
		}
	})
	measured("day", total/100, func(b *testing.B) {
		for b.Loop() {
			b.StopTimer()
			due := make([]archive.NextDue, 0, total/100)
			for after := int64(0); len(due) < total/100; {
				ls, err := x.Lives(ctx, hospital, after, 5000)
				if err != nil || len(ls) == 0 {
					b.Fatal(len(ls), err)
				}
				for i := 0; i < len(ls) && len(due) < total/100; i += 100 {
					due = append(due, ls[i].Next(now.Add(-time.Duration(len(due))*time.Millisecond)))
				}
				after = ls[len(ls)-1].ID
			}
			if err := x.SetDue(ctx, hospital, due...); err != nil {
				b.Fatal(err)
			}
			b.StartTimer()
			round(b, len(due))
		}
	})
	now = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for _, years := range []int{1, 10, 30} {
		measured(fmt.Sprintf("plan/years=%d", years), total, func(b *testing.B) {
			ask := archive.LifecycleQuestion{Years: years, Rules: []byte(`{"rules":[{"when":{"age":{"over":"1y"},"not":{"modality":["MG"]}},"action":"move","to":"cold"}]}`)}
			for b.Loop() {
				p, err := k.Plan(ctx, ask)
				if err != nil || p.Studies != int64(total) {
					b.Fatalf("%d studies, %v", p.Studies, err)
				}
			}
		})
	}
}

// storeMeanwhile has another tenant store now and then, until the longest that it took is asked for.
func storeMeanwhile(b *testing.B, x *Index) (longest func() time.Duration) {
	var most time.Duration
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(50 * time.Millisecond)
		defer tick.Stop()
		for n := uint64(time.Now().UnixNano()); ; n++ {
			select {
			case <-stop:
				return
			case <-tick.C:
			}
			start := time.Now()
			if _, err := x.Apply(context.Background(), "practice", benchStudy(n, 1)); err != nil {
				b.Error(err)
				return
			}
			most = max(most, time.Since(start))
		}
	}()
	return func() time.Duration {
		close(stop)
		<-done
		return most
	}
}

// processorTime is what the process has used of processors; a database elsewhere is not in it.
func processorTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// resetPeak begins anew to note the most memory that the process had; Linux does.
func resetPeak() { _ = os.WriteFile("/proc/self/clear_refs", []byte("5"), 0) }

// peak is that in MiB, 0 where it is not known.
func peak() float64 {
	b, _ := os.ReadFile("/proc/self/status")
	_, most, _ := strings.Cut(string(b), "VmHWM:")
	kib, _, _ := strings.Cut(strings.TrimSpace(most), " ")
	n, _ := strconv.ParseFloat(kib, 64)
	return n / 1024
}
