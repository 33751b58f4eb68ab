package search

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/index"
)

func openIndex(t testing.TB) *index.Index {
	t.Helper()
	x, err := index.Open(context.Background(), index.Options{
		Path: filepath.Join(t.TempDir(), "index.db"),
		Keys: func(context.Context, archive.Tenant) (index.Keys, error) { return testKeys{}, nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := x.Close(); err != nil {
			t.Error(err)
		}
	})
	return x
}

func indexed(t testing.TB, list []archive.Instance) *index.Index {
	t.Helper()
	x := openIndex(t)
	es := entries(list)
	for len(es) > 0 {
		n := min(len(es), 500)
		if _, err := x.Apply(context.Background(), archive.DefaultTenant, es[:n]...); err != nil {
			t.Fatal(err)
		}
		es = es[n:]
	}
	return x
}

func TestSearchByIndex(t *testing.T) {
	testSearches(t, New(Options{Catalog: indexed(t, sample(t)), Metadata: metadata}))
}

var (
	families = []string{"Müller", "Mueller", "MULLER", "Smith", "Smith-Jones", "O'Brien", "de la Cruz", "Straße", "山田", "Ng", "Łukasz", "김"}
	givens   = []string{"Hans", "John", "Mary Ann", "Jürgen", "太郎", "X", "", "Zoë"}
	texts    = []string{"CT Thorax nativ", "MR Schädel", "Thorax/Abdomen", "", "US Abdomen", "ct thorax"}
	codes    = []string{"CT", "MR", "US", "SR", "PT"}
)

// drawArchive draws studies that look like each other enough to be confused.
func drawArchive(t *rapid.T, tb testing.TB) []archive.Instance {
	var out []archive.Instance
	pick := func(list []string, what string) string { return rapid.SampledFrom(list).Draw(t, what) }
	for i := range rapid.IntRange(1, 12).Draw(t, "studies") {
		uid := fmt.Sprintf("1.2.%d", i+1)
		name := pick(families, "family") + "^" + pick(givens, "given")
		if rapid.IntRange(0, 3).Draw(t, "groups") == 0 {
			name += "=" + pick(families, "ideographic") + "^" + pick(givens, "ideographic")
		}
		date := ""
		if n := rapid.IntRange(0, 9).Draw(t, "day"); n > 0 {
			date = fmt.Sprintf("202401%02d", n)
		}
		p := attrs(tb, "PatientName="+name, fmt.Sprintf("PatientID=P%d", rapid.IntRange(0, 15).Draw(t, "id")), "StudyDate="+date,
			fmt.Sprintf("StudyTime=%02d3000", rapid.IntRange(0, 23).Draw(t, "hour")), fmt.Sprintf("AccessionNumber=A-%d", i), "StudyDescription="+pick(texts, "description"),
			fmt.Sprintf("PatientBirthDate=19%02d0101", rapid.IntRange(50, 60).Draw(t, "born")), "StudyInstanceUID="+uid)
		for k := range rapid.IntRange(1, 2).Draw(t, "series") {
			series := fmt.Sprintf("%s.%d", uid, k+1)
			s := attrs(tb, "Modality="+pick(codes, "modality"), fmt.Sprintf("SeriesNumber=%d", k+1), "SeriesInstanceUID="+series)
			in := archive.Instance{Patient: p, Series: s, SOPClass: "1.2.840.10008.5.1.4.1.1.2", Syntax: "1.2.840.10008.1.2.1", Size: 10}
			in.UIDs = archive.UIDs{Study: uid, Series: series, Instance: series + ".1"}
			in.Attrs = attrs(tb, "InstanceNumber=1", "SOPInstanceUID="+in.UIDs.Instance)
			out = append(out, in)
		}
	}
	return out
}

// drawKey draws a value like those of the archive, with wildcards in it.
func drawKey(t *rapid.T, list []string) string {
	r := []rune(rapid.SampledFrom(list).Draw(t, "value"))
	for range rapid.IntRange(0, 2).Draw(t, "wildcards") {
		from := rapid.IntRange(0, len(r)).Draw(t, "from")
		to := rapid.IntRange(from, len(r)).Draw(t, "to")
		r = []rune(string(r[:from]) + rapid.SampledFrom([]string{"*", "?", "*"}).Draw(t, "with") + string(r[to:]))
	}
	return string(r)
}

func drawQuery(t *rapid.T) string {
	var ps []string
	add := func(name, value string) {
		ps = append(ps, name+"="+strings.NewReplacer("&", "", "%", "", "+", "", "#", "").Replace(value))
	}
	for range rapid.IntRange(1, 3).Draw(t, "keys") {
		switch rapid.IntRange(0, 7).Draw(t, "key") {
		case 0:
			add("PatientName", drawKey(t, families))
		case 1:
			add("PatientName", drawKey(t, families)+"^"+drawKey(t, givens))
		case 2:
			add("PatientName", "="+drawKey(t, families)+"^*")
		case 3:
			add("StudyDescription", drawKey(t, texts))
		case 4:
			add("PatientID", drawKey(t, []string{"P1", "P10", "P2", "P7", `P3\P4`}))
		case 5:
			add("StudyDate", rapid.SampledFrom([]string{"20240103", "20240102-20240105", "20240104-", "-20240106", ""}).Draw(t, "date"))
		case 6:
			add("ModalitiesInStudy", rapid.SampledFrom([]string{"CT", "CT,MR", `US\SR`, "?T", "XX"}).Draw(t, "modality"))
		case 7:
			add("PatientBirthDate", rapid.SampledFrom([]string{"19550101", "19520101-19570101", "-19530101"}).Draw(t, "born"))
		}
	}
	if rapid.Bool().Draw(t, "fuzzy") {
		add("fuzzymatching", "true")
	}
	if rapid.Bool().Draw(t, "page") {
		add("limit", fmt.Sprint(rapid.IntRange(0, 4).Draw(t, "limit")))
		add("offset", fmt.Sprint(rapid.IntRange(0, 3).Draw(t, "offset")))
	}
	return strings.Join(ps, "&")
}

// The index finds what a scan of everything finds, in the same order.
func TestIndexFindsWhatAScanFinds(t *testing.T) {
	x, n := openIndex(t), 0
	rapid.Check(t, func(r *rapid.T) {
		list := drawArchive(r, t)
		n++
		tenant := archive.Tenant(fmt.Sprintf("t%d", n))
		if _, err := x.Apply(context.Background(), tenant, entries(list)...); err != nil {
			r.Fatal(err)
		}
		byIndex, byScan := New(Options{Catalog: x}), New(Options{Catalog: newScan(list)})
		for range 20 {
			level := archive.Level(rapid.IntRange(0, 2).Draw(r, "level"))
			raw := drawQuery(r)
			got, out := foundOf(t, byIndex, tenant, level, archive.UIDs{}, raw)
			want, whole := found(t, byScan, level, archive.UIDs{}, raw)
			if !slices.Equal(got, want) || out.More != whole.More {
				r.Fatalf("level %d ?%s\n got %v more %v\nwant %v more %v", level, raw, got, out.More, want, whole.More)
			}
		}
	})
}
