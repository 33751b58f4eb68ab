package node

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/ingest"
	"github.com/strata-pacs/strata/internal/keys/localkeys"
	"github.com/strata-pacs/strata/internal/retrieve"
)

// BenchmarkFill fills the index of an archive in use whose database was lost:
// 200 studies of 100 small instances, each stored by one request. It reports how long the
// newest study took to be found, and instances a second until all are.
func BenchmarkFill(b *testing.B) {
	const studies, instances = 200, 100
	dir := b.TempDir()
	if err := localkeys.Create(filepath.Join(dir, "kek"), nil); err != nil {
		b.Fatal(err)
	}
	kek, err := localkeys.Open(filepath.Join(dir, "kek"), nil)
	if err != nil {
		b.Fatal(err)
	}
	o := Options{Data: filepath.Join(dir, "data"), Wrapper: kek, KEK: kek.ID(), LongLog: 10}
	ctx := context.Background()
	open := func() (*Node, *Archive) {
		n, err := Open(ctx, o)
		if err != nil {
			b.Fatal(err)
		}
		a, err := n.Pin(ctx, n.Tenant)
		if err != nil {
			b.Fatal(err)
		}
		return n, a
	}
	n, a := open()
	for s := range studies {
		r := a.Store.Begin(ingest.RequestOptions{})
		for i := range instances {
			_, file := image(s, i)
			r.Add(ctx, bytes.NewReader(file))
		}
		r.Commit(ctx)
	}
	if err := n.Close(ctx); err != nil {
		b.Fatal(err)
	}
	newest, whole := time.Duration(0), time.Duration(0)
	for b.Loop() {
		b.StopTimer()
		if err := os.Remove(filepath.Join(o.Data, "index.db")); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
		start := time.Now()
		n, a := open()
		for found := 0; found == 0; time.Sleep(time.Millisecond) {
			list, err := a.Retrieve.Find(ctx, a.Tenant, archive.UIDs{Study: "1.2.199"}, retrieve.Files)
			if err != nil {
				b.Fatal(err)
			}
			found = len(list)
		}
		newest += time.Since(start)
		for a.Partial() {
			time.Sleep(time.Millisecond)
		}
		whole += time.Since(start)
		if err := n.Close(ctx); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(newest.Milliseconds())/float64(b.N), "newest-ms")
	b.ReportMetric(float64(b.N*studies*instances)/whole.Seconds(), "instances/s")
}
