package bench

import (
	"bytes"
	"fmt"
	"sort"
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

// loose is a study that came one instance a request.
type loose struct {
	study     string
	instances int
	side      int // of an image of 16 bits, in pixels
}

func (l loose) store(b *testing.B, s *store) {
	b.Helper()
	size := l.side * l.side * 2
	px := retrievetest.Pattern(size + 8*l.instances)
	for i := range l.instances {
		u := archive.UIDs{Study: l.study, Series: l.study + ".1", Instance: fmt.Sprintf("%s.1.%d", l.study, i+1)}
		r := s.Store.Begin(ingest.RequestOptions{})
		r.Add(b.Context(), bytes.NewReader(retrievetest.Part10(retrievetest.Image{UIDs: u, Rows: l.side, Columns: l.side, Pixels: px[8*i:][:size], Name: "Fern^Ada", Number: i + 1})))
		if res := r.Commit(b.Context()); res[0].Outcome != ingest.Stored {
			b.Fatalf("%v: %s", res[0].Outcome, res[0].Detail)
		}
	}
}

// read measures one retrieval of the whole study over HTTP from a server that has nothing near.
func (l loose) read(b *testing.B, s *store, name string, delay time.Duration, cached bool) {
	b.Run(name, func(b *testing.B) {
		var requests int64
		var took, first []time.Duration
		for range b.N {
			b.StopTimer()
			v := s.serve(b, delay, cached)
			from := time.Now()
			b.StartTimer()
			size, begun := v.getFirst("/studies/"+l.study, asStored)
			b.StopTimer()
			b.SetBytes(size)
			took, first = append(took, time.Since(from)), append(first, begun)
			requests += v.far.Requests()
			v.close()
		}
		b.ReportMetric(median(took), "ms-median")
		b.ReportMetric(median(first), "ms-first")
		b.ReportMetric(float64(requests)/float64(b.N), "requests/op")
	})
}

func median(all []time.Duration) float64 {
	sort.Slice(all, func(i, j int) bool { return all[i] < all[j] })
	return float64(all[len(all)/2].Microseconds()) / 1000
}

// BenchmarkSettled measures what a study that came one instance at a time costs to read
// at a distance, over HTTP, before it is settled and after, with the read cache and without,
// and what settling it costs 50 ms away.
func BenchmarkSettled(b *testing.B) {
	s := newStore(b)
	for _, l := range []loose{{"1.2.900", 500, 256}, {"1.2.901", 120, 512}} {
		l.store(b, s)
		all := func(when string) {
			for _, delay := range []time.Duration{0, 50 * time.Millisecond} {
				for _, cached := range []bool{true, false} {
					name := fmt.Sprintf("%dx%dKiB/%v/%s", l.instances, l.side*l.side/512, delay, when)
					if !cached {
						name += "/no-cache"
					}
					l.read(b, s, name, delay, cached)
				}
			}
		}
		all("loose")
		l.settle(b, s)
		all("settled")
	}
}

// settle settles the study 50 ms away; it can be measured but once.
func (l loose) settle(b *testing.B, s *store) {
	far := delaystore.New(s.objects, delaystore.Options{Delay: 50 * time.Millisecond, Rate: line})
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
	r, err := st.Settle(b.Context(), ring.Ref(l.study))
	took, requests := time.Since(from), far.Requests()-before
	if err != nil || r.Before != l.instances || r.After != 2 {
		b.Fatalf("%+v, %v", r, err)
	}
	b.Run(fmt.Sprintf("%dx%dKiB/settle", l.instances, l.side*l.side/512), func(b *testing.B) {
		b.ReportMetric(float64(took.Milliseconds()), "ms")
		b.ReportMetric(float64(requests), "requests")
	})
}
