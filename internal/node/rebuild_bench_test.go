package node

import (
	"bytes"
	"context"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/strata-pacs/strata/internal/ingest"
	"github.com/strata-pacs/strata/internal/keys/localkeys"
	"github.com/strata-pacs/strata/storage/delaystore"
	"github.com/strata-pacs/strata/storage/filestore"
)

// BenchmarkRebuild rebuilds the index of 200 studies of 100 small instances, each stored by one request, as part of
// the log or as a pack, from a disk and from a store that is 20 ms away. It reports instances a second,
// and requests of the store a study.
func BenchmarkRebuild(b *testing.B) {
	for _, packed := range []bool{false, true} {
		for _, delay := range []time.Duration{0, 20 * time.Millisecond} {
			b.Run(fmt.Sprintf("packed=%v/delay=%v", packed, delay), func(b *testing.B) { benchmarkRebuild(b, packed, delay) })
		}
	}
}

func benchmarkRebuild(b *testing.B, packed bool, delay time.Duration) {
	const studies, instances = 200, 100
	dir := b.TempDir()
	if err := localkeys.Create(filepath.Join(dir, "kek"), nil); err != nil {
		b.Fatal(err)
	}
	kek, err := localkeys.Open(filepath.Join(dir, "kek"), nil)
	if err != nil {
		b.Fatal(err)
	}
	o := Options{Data: filepath.Join(dir, "data"), Wrapper: kek, KEK: kek.ID()}
	if packed {
		o.StoreMemory = 1
	}
	ctx := context.Background()
	n, a, err := OpenArchive(ctx, o)
	if err != nil {
		b.Fatal(err)
	}
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
	files, err := filestore.New(filepath.Join(o.Data, "objects"), filestore.Options{})
	if err != nil {
		b.Fatal(err)
	}
	far := delaystore.New(files, delaystore.Options{Delay: delay})
	o.Driver = far.Driver
	before := far.Requests()
	for b.Loop() {
		report, err := Rebuild(ctx, o, nil)
		if err != nil || report.Instances != studies*instances || len(report.Gaps) > 0 {
			b.Fatalf("%+v, %v", report, err)
		}
	}
	b.ReportMetric(float64(b.N*studies*instances)/b.Elapsed().Seconds(), "instances/s")
	b.ReportMetric(float64(far.Requests()-before)/float64(b.N*studies), "requests/study")
}
