package index

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/dicom"
)

// benchEngine is SQLite, or the PostgreSQL database of the address STRATA_BENCH_DSN; "new": one that is made for the run.
func benchEngine() engine {
	dsn := os.Getenv("STRATA_BENCH_DSN")
	switch dsn {
	case "":
		return onSQLite
	case "new":
		return onPostgres
	}
	return func(testing.TB) Options {
		o := baseOptions()
		o.DSN = dsn
		return o
	}
}

// Benchmarks run on an archive of STRATA_BENCH_STUDIES studies (2,000 when it
// is not set) of STRATA_BENCH_INSTANCES (ten) each. STRATA_BENCH_DIR keeps it from one run to the next.

var (
	surnames = [...]string{"Müller", "Schmidt", "Schneider", "Fischer", "Weber", "Meyer", "Wagner", "Becker", "Schulz", "Hoffmann", "Koch", "Bauer"}
	given    = [...]string{"Anna", "Peter", "Ursula", "Karl", "Sabine", "Jürgen", "Lea", "Paul"}
	regions  = [...]string{"Thorax", "Abdomen", "Schädel", "Becken", "Knie links", "HWS", "LWS", "Handgelenk"}
	kinds    = [...]string{"CT", "MR", "CR", "US", "DX", "MG", "XA", "NM"}
)

func syllables(n uint64) string {
	const s = "babedolufikonaresitovamuzigepahy"
	var b strings.Builder
	for range 4 {
		b.WriteString(s[n%16*2 : n%16*2+2])
		n = n*6364136223846793005>>4 + 1442695040888963407>>9
		n >>= 3
	}
	return b.String()
}

// benchStudy is a study of n instances in one fact.
func benchStudy(number uint64, instances int) archive.Entry {
	r := rand.New(rand.NewPCG(number, 7))
	study := fmt.Sprintf("1.2.826.0.1.3680043.9.7133.%d.1", number)
	series := study + ".1"
	surname := surnames[r.IntN(len(surnames))]
	if r.IntN(2) == 0 {
		surname = syllables(uint64(r.IntN(20000)))
	}
	kind := kinds[min(int(r.ExpFloat64()*2), len(kinds)-1)]
	patient := archive.Attrs{
		{Tag: 0x00080005, VR: dicom.CS, Value: "ISO_IR 100"},
		{Tag: 0x00080020, VR: dicom.DA, Value: fmt.Sprintf("%04d%02d%02d", 2014+r.IntN(11), 1+r.IntN(12), 1+r.IntN(28))},
		{Tag: 0x00080030, VR: dicom.TM, Value: "101112"},
		{Tag: 0x00080050, VR: dicom.SH, Value: fmt.Sprintf("ACC%08d", number)},
		{Tag: 0x00080080, VR: dicom.LO, Value: "Klinikum Beispielstadt"},
		{Tag: 0x00080090, VR: dicom.PN, Value: surnames[r.IntN(len(surnames))] + "^" + given[r.IntN(len(given))]},
		{Tag: 0x00081030, VR: dicom.LO, Value: kind + " " + regions[r.IntN(len(regions))] + " nativ"},
		{Tag: 0x00100010, VR: dicom.PN, Value: surname + "^" + given[r.IntN(len(given))]},
		{Tag: 0x00100020, VR: dicom.LO, Value: fmt.Sprintf("PID%07d", number/3)},
		{Tag: 0x00100030, VR: dicom.DA, Value: fmt.Sprintf("%04d%02d%02d", 1930+r.IntN(80), 1+r.IntN(12), 1+r.IntN(28))},
		{Tag: 0x00100040, VR: dicom.CS, Value: "F"},
		{Tag: 0x0020000D, VR: dicom.UI, Value: study},
		{Tag: 0x00200010, VR: dicom.SH, Value: strconv.FormatUint(number, 10)},
	}
	ser := archive.Attrs{
		{Tag: 0x00080060, VR: dicom.CS, Value: kind},
		{Tag: 0x00080070, VR: dicom.LO, Value: "SIEMENS"},
		{Tag: 0x0008103E, VR: dicom.LO, Value: "axial 1.0 I30f"},
		{Tag: 0x00180015, VR: dicom.CS, Value: "CHEST"},
		{Tag: 0x0020000E, VR: dicom.UI, Value: series},
		{Tag: 0x00200011, VR: dicom.IS, Value: "2"},
	}
	chunk := make([]byte, 300*instances)
	for i := range chunk {
		chunk[i] = byte(r.Uint32())
	}
	f := &archive.Fact{Kind: archive.FactStored, Chunks: []archive.Chunk{{Data: chunk, Size: 2000 * instances}}, Study: fakeKeys(hospital).Ref(study)}
	for i := range instances {
		sop := fmt.Sprintf("%s.%d", series, i+1)
		s := spec{study: study, series: series, instance: sop}
		in := archive.Instance{
			UIDs: archive.UIDs{Study: study, Series: series, Instance: sop}, SOPClass: "1.2.840.10008.5.1.4.1.1.2", Syntax: "1.2.840.10008.1.2.1",
			Patient: patient, Series: ser, Blob: blobOf(s, number), Key: archive.KeyID{byte(number), byte(number >> 8), 1}, SegmentBits: 16,
			At: archive.Location{Offset: int64(i) * 1000, Length: 1000}, Size: 900, Digest: archive.Digest(blobOf(s, number)), Layout: []byte{1, 0, 0, 2, 2, 1, 4, 4},
			JSON: archive.JSONRef{Offset: i * 2000, Length: 2000},
			Attrs: archive.Attrs{
				{Tag: 0x00080008, VR: dicom.CS, Value: `ORIGINAL\PRIMARY\AXIAL`},
				{Tag: 0x00080016, VR: dicom.UI, Value: "1.2.840.10008.5.1.4.1.1.2"},
				{Tag: 0x00080018, VR: dicom.UI, Value: sop},
				{Tag: 0x00080023, VR: dicom.DA, Value: "20200101"},
				{Tag: 0x00080033, VR: dicom.TM, Value: "101113"},
				{Tag: 0x00200013, VR: dicom.IS, Value: strconv.Itoa(i + 1)},
				{Tag: 0x00280010, VR: dicom.US, Value: "512"},
				{Tag: 0x00280011, VR: dicom.US, Value: "512"},
				{Tag: 0x00280100, VR: dicom.US, Value: "16"},
			},
		}
		f.Instances = append(f.Instances, in)
	}
	return entry(number, f)
}

func envInt(name string, otherwise int) int {
	if n, err := strconv.Atoi(os.Getenv(name)); err == nil {
		return n
	}
	return otherwise
}

// benchIndex returns an index of n studies, numbered from 1.
func benchIndex(b *testing.B, n int) *Index {
	o := benchEngine()(b)
	if dir := os.Getenv("STRATA_BENCH_DIR"); dir != "" && o.Path != "" {
		o.Path = filepath.Join(dir, fmt.Sprintf("bench-%d.db", n))
	}
	x, err := Open(context.Background(), o)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { x.Close() })
	if s, err := x.Last(context.Background(), hospital); err != nil || s > 0 {
		return x
	}
	fill(b, x, 1, n)
	return x
}

func fill(b *testing.B, x *Index, from, n int) {
	err := x.Bulk(context.Background(), hospital, func(add func(archive.Entry) error) error {
		for i := range n {
			if err := add(benchStudy(uint64(from+i), envInt("STRATA_BENCH_INSTANCES", 10))); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		b.Fatal(err)
	}
}

func studyCount() int { return envInt("STRATA_BENCH_STUDIES", 2000) }

// BenchmarkBulk rebuilds: one operation is one fact of ten instances.
func BenchmarkBulk(b *testing.B) {
	x := openTest(b, benchEngine())
	es := make([]archive.Entry, b.N)
	for i := range es {
		es[i] = benchStudy(uint64(i+1), 10)
	}
	b.ResetTimer()
	err := x.Bulk(context.Background(), hospital, func(add func(archive.Entry) error) error {
		for _, e := range es {
			if err := add(e); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(float64(10*b.N)/b.Elapsed().Seconds(), "instances/s")
}

// BenchmarkApply stores: a study of one instance, one of 50, and more of a study that is there,
// alone and by 16 clients at once.
func BenchmarkApply(b *testing.B) {
	x := benchIndex(b, studyCount())
	ctx := context.Background()
	var next atomic.Uint64
	next.Store(uint64(envInt("STRATA_BENCH_FROM", 1<<32)) + uint64(rand.Uint32()))
	for _, n := range []int{1, 10, 50} {
		for _, clients := range []int{1, 16} {
			b.Run(fmt.Sprintf("instances=%d/clients=%d", n, clients), func(b *testing.B) {
				b.SetParallelism(max(1, clients/2))
				work := func(more func() bool) {
					for more() {
						e := benchStudy(next.Add(1), n)
						if _, err := x.Apply(ctx, hospital, e); err != nil {
							b.Error(err)
							return
						}
					}
				}
				if clients == 1 {
					work(b.Loop)
				} else {
					b.RunParallel(func(pb *testing.PB) { work(pb.Next) })
				}
				b.ReportMetric(float64(n*b.N)/b.Elapsed().Seconds(), "instances/s")
			})
		}
	}
}

func BenchmarkQuery(b *testing.B) {
	total := studyCount()
	x := benchIndex(b, total)
	ctx := context.Background()
	r := rand.New(rand.NewPCG(1, 2))
	term := func(tag dicom.Tag, full bool, words ...string) (out []archive.Term) {
		for _, w := range words {
			out = append(out, archive.Term{Tag: tag, Word: archive.Fold(w), Full: full})
		}
		return out
	}
	words := func(tag dicom.Tag, match func(string) bool) []archive.Term {
		ws, _, err := x.Words(ctx, hospital, tag, match, 2000)
		if err != nil {
			b.Fatal(err)
		}
		return term(tag, false, ws...)
	}
	attrsOf := func() archive.Attrs { return benchStudy(uint64(1+r.IntN(total)), 1).Fact.Instances[0].Patient }
	value := func(t dicom.Tag) string { v, _ := attrsOf().Get(t); return v }
	filters := []struct {
		name  string
		limit int
		f     func() archive.StudyFilter
	}{
		{"page", 101, func() archive.StudyFilter { return archive.StudyFilter{} }},
		{"page-5000", 101, func() archive.StudyFilter { return archive.StudyFilter{Skip: 5000} }},
		{"uid", 101, func() archive.StudyFilter { return archive.StudyFilter{UIDs: []string{value(0x0020000D)}} }},
		{"patient-id", 101, func() archive.StudyFilter {
			return archive.StudyFilter{All: [][]archive.Term{term(0x00100020, true, value(0x00100020))}}
		}},
		{"accession", 101, func() archive.StudyFilter {
			return archive.StudyFilter{All: [][]archive.Term{term(0x00080050, true, value(0x00080050))}}
		}},
		{"name-prefix", 101, func() archive.StudyFilter {
			return archive.StudyFilter{All: [][]archive.Term{words(0x00100010, func(w string) bool { return strings.HasPrefix(w, "mull") })}}
		}},
		{"name-rare", 101, func() archive.StudyFilter {
			p := syllables(uint64(r.IntN(20000)))[1:7]
			return archive.StudyFilter{All: [][]archive.Term{words(0x00100010, func(w string) bool { return strings.Contains(w, p) })}}
		}},
		{"name-common", 101, func() archive.StudyFilter {
			return archive.StudyFilter{All: [][]archive.Term{words(0x00100010, func(w string) bool { return strings.Contains(w, "a") })}}
		}},
		{"name-and-description", 101, func() archive.StudyFilter {
			return archive.StudyFilter{All: [][]archive.Term{term(0x00100010, false, "schmidt"), term(0x00081030, false, "thorax"), term(0x00081030, false, "nativ")}}
		}},
		{"week-ct", 101, func() archive.StudyFilter {
			return archive.StudyFilter{From: "20200601", To: "20200607", Modalities: []string{"CT"}}
		}},
		{"modality", 101, func() archive.StudyFilter { return archive.StudyFilter{Modalities: []string{"NM"}} }},
		{"modality-none", 101, func() archive.StudyFilter { return archive.StudyFilter{Modalities: []string{"XC"}} }},
		{"name-week", 101, func() archive.StudyFilter {
			return archive.StudyFilter{From: "20200601", To: "20200630", All: [][]archive.Term{term(0x00100010, false, "schmidt")}}
		}},
	}
	for _, q := range filters {
		b.Run(q.name, func(b *testing.B) {
			b.ReportAllocs()
			rows := 0
			for b.Loop() {
				n := 0
				if err := x.Studies(ctx, hospital, q.f(), func(*archive.StudyRow) bool { n++; return n < q.limit }); err != nil {
					b.Fatal(err)
				}
				rows += n
			}
			b.ReportMetric(float64(rows)/float64(b.N), "rows/op")
		})
	}
	b.Run("instances", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			n := 0
			if err := x.Instances(ctx, hospital, archive.UIDs{Study: value(0x0020000D)}, func(*archive.InstanceRow) bool { n++; return true }); err != nil || n == 0 {
				b.Fatal(n, err)
			}
		}
	})
	b.Run("versions", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, _, err := x.Versions(ctx, hospital, archive.UIDs{Study: "1", Series: "2", Instance: value(0x0020000D)}); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("changes", func(b *testing.B) {
		for b.Loop() {
			if _, err := x.Changes(ctx, hospital, ChangeQuery{Newest: true}); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// BenchmarkNodes stores a study of ten instances by 16 clients on one node and on three, to one
// tenant and to three. It needs PostgreSQL.
func BenchmarkNodes(b *testing.B) {
	if os.Getenv("STRATA_BENCH_DSN") == "" {
		b.Skip("one process alone opens a SQLite index; set STRATA_BENCH_DSN")
	}
	var nodes []*Index
	for range 3 {
		nodes = append(nodes, openTest(b, benchEngine()))
	}
	var next atomic.Uint64
	next.Store(1<<33 + uint64(rand.Uint32()))
	for _, n := range []int{1, 3} {
		for _, tenants := range []uint64{1, 3} {
			b.Run(fmt.Sprintf("nodes=%d/tenants=%d", n, tenants), func(b *testing.B) {
				b.SetParallelism(8)
				b.RunParallel(func(pb *testing.PB) {
					for pb.Next() {
						i := next.Add(1)
						e := benchStudy(i, 10)
						x := nodes[int(i)%n]
						e.Session = fmt.Sprintf("node%d", int(i)%n)
						name := archive.Tenant(fmt.Sprintf("tenant%d", i/7%tenants))
						if _, err := x.Apply(context.Background(), name, e); err != nil {
							b.Error(err)
							return
						}
					}
				})
				b.ReportMetric(float64(10*b.N)/b.Elapsed().Seconds(), "instances/s")
			})
		}
	}
}
