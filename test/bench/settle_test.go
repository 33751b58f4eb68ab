package bench

import (
	"bytes"
	"testing"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/ingest"
	"github.com/strata-pacs/strata/internal/keys"
	"github.com/strata-pacs/strata/internal/ledger"
	"github.com/strata-pacs/strata/internal/retrieve/retrievetest"
	"github.com/strata-pacs/strata/internal/settle"
	"github.com/strata-pacs/strata/storage"
	"github.com/strata-pacs/strata/storage/delaystore"
)

const (
	loose    = 500 // instances of a study that came one a request, of 128 KiB
	looseUID = "1.2.900"
)

// BenchmarkSettled measures what a study that came one instance at a time costs to read
// from 50 ms away, over HTTP, before it is settled and after, and what settling it there takes.
func BenchmarkSettled(b *testing.B) {
	const delay = 50 * time.Millisecond
	s := newStore(b)
	px := retrievetest.Pattern(256*256*2 + 8*loose)
	for i := range loose {
		u := archive.UIDs{Study: looseUID, Series: looseUID + ".1", Instance: instanceUID(899, i)}
		r := s.Store.Begin(ingest.RequestOptions{})
		r.Add(b.Context(), bytes.NewReader(retrievetest.Part10(retrievetest.Image{UIDs: u, Rows: 256, Columns: 256, Pixels: px[8*i:][:256*256*2], Name: "Fern^Ada", Number: i + 1})))
		if res := r.Commit(b.Context()); res[0].Outcome != ingest.Stored {
			b.Fatalf("%v: %s", res[0].Outcome, res[0].Detail)
		}
	}
	read := func(when string) {
		for _, cached := range []bool{true, false} {
			name := when + "/study"
			if !cached {
				name += "/no-cache"
			}
			b.Run(name, func(b *testing.B) {
				var requests int64
				for range b.N {
					b.StopTimer()
					v := s.serve(b, delay, cached)
					b.StartTimer()
					b.SetBytes(v.get("/studies/"+looseUID, asStored))
					b.StopTimer()
					requests += v.far.Requests()
					v.close()
				}
				b.ReportMetric(float64(b.Elapsed().Milliseconds())/float64(b.N), "ms/op")
				b.ReportMetric(float64(requests)/float64(b.N), "requests/op")
			})
		}
	}
	read("loose")
	far := delaystore.New(s.objects, delaystore.Options{Delay: delay, Rate: line})
	bucket := storage.New(far.Driver)
	ring, err := keys.Open(b.Context(), keys.Options{Bucket: bucket, Wrapper: s.kek, KEK: s.kek.ID(), Tenant: archive.DefaultTenant})
	if err != nil {
		b.Fatal(err)
	}
	defer ring.Close()
	log, err := ledger.Open(ledger.Options{Bucket: bucket, Tenant: archive.DefaultTenant, Secrets: ring.Secret, Session: ulid.Make().String()})
	if err != nil {
		b.Fatal(err)
	}
	st, err := settle.New(settle.Options{Tenant: archive.DefaultTenant, Bucket: bucket, Index: s.Index, Log: log, Keys: ring})
	if err != nil {
		b.Fatal(err)
	}
	defer st.Close()
	before, from := far.Requests(), time.Now()
	r, err := st.Settle(b.Context(), ring.Ref(looseUID))
	if err != nil || r.Before != loose || r.After != 2 {
		b.Fatalf("%+v, %v", r, err)
	}
	b.Logf("settling %d objects of %d bytes into %d: %v, %d requests", r.Before, r.Copied, r.After, time.Since(from).Round(time.Millisecond), far.Requests()-before)
	read("settled")
}
