package index

import (
	"context"
	"fmt"
	"sort"
	"strings"
	"testing"

	"github.com/strata-pacs/strata/internal/archive"
)

func wordList(t testing.TB, x *Index, match func(string) bool, most int) ([]string, bool) {
	t.Helper()
	ws, more, err := x.Words(context.Background(), hospital, 0x00100010, match, most)
	if err != nil {
		t.Fatal(err)
	}
	sort.Strings(ws)
	return ws, more
}

func TestWords(t *testing.T) { both(t, testWords) }

func testWords(t *testing.T, e engine) {
	o := e(t)
	open := func() *Index {
		x, err := Open(context.Background(), o)
		if err != nil {
			t.Fatal(err)
		}
		return x
	}
	x := open()
	all := func(string) bool { return true }
	if ws, more := wordList(t, x, all, 5); len(ws) != 0 || more {
		t.Error("words before anything is stored")
	}
	want := map[string]bool{"anna": true}
	for i := range uint64(150) { // pages are folded twice meanwhile
		s := ctSpec
		s.study = fmt.Sprintf("2.%d", i)
		s.name = fmt.Sprintf("Größe%d^Anna", i)
		want[fmt.Sprintf("grosse%d", i)] = true
		apply(t, x, stored(i+1, s))
		if i%10 == 9 {
			if ws, more := wordList(t, x, all, 1000); len(ws) != len(want) || more {
				t.Fatalf("%d words after %d studies", len(ws), i+1)
			}
		}
	}
	if ws, more := wordList(t, x, func(w string) bool { return strings.HasPrefix(w, "grosse8") }, 4); len(ws) != 4 || !more {
		t.Errorf("%v %v", ws, more)
	}
	if ids, _, _ := x.Words(context.Background(), hospital, 0x00100020, all, 9); len(ids) != 1 || ids[0] != "pat-77" {
		t.Errorf("full values: %v", ids)
	}
	x.Close()
	x = open() // what is known is not added again
	defer x.Close()
	pages := func() (n int64) {
		_ = x.read(context.Background(), hospital, func(c *conn, _ *tenant) (err error) {
			n, err = c.integer(`SELECT count(*) FROM words`)
			return err
		})
		return n
	}
	before := pages()
	s := ctSpec
	s.study, s.name = "3", "Größe4^Anna"
	apply(t, x, stored(200, s))
	if after := pages(); after != before {
		t.Errorf("%d pages became %d", before, after)
	}
	if ws, _ := wordList(t, x, all, 1000); len(ws) != len(want) {
		t.Errorf("%d words", len(ws))
	}
}

func TestStudiesFilter(t *testing.T) { both(t, testStudiesFilter) }

func testStudiesFilter(t *testing.T, e engine) {
	x := openTest(t, e)
	// 300 studies over three years; one in three a Meier, one in fifty an MR, two without a date.
	for i := range uint64(300) {
		s := ctSpec
		s.study = fmt.Sprintf("5.%d", i)
		s.series, s.instance = s.study+".1", s.study+".1.1"
		s.date = fmt.Sprintf("%d%02d%02d", 2020+i%3, 1+i%12, 1+i%28)
		if i < 2 {
			s.date = ""
		}
		s.name = [...]string{"Meier^A", "Müller^B", "Weiß^C"}[i%3]
		s.id = fmt.Sprintf("ID%d", i)
		if i%50 == 0 {
			s.modality = "MR"
		}
		apply(t, x, stored(i+1, s))
	}
	var many []archive.Term
	for i := range 100 {
		many = append(many, archive.Term{Tag: 0x00100010, Word: fmt.Sprintf("w%d", i)})
	}
	many = append(many, archive.Term{Tag: 0x00100010, Word: "meier"})
	name := func(w string) []archive.Term { return []archive.Term{{Tag: 0x00100010, Word: w}} }
	id := func(w string) []archive.Term { return []archive.Term{{Tag: 0x00100020, Word: w, Full: true}} }
	for _, c := range []struct {
		what string
		f    archive.StudyFilter
		want int
	}{
		{"all", archive.StudyFilter{}, 300},
		{"skipped", archive.StudyFilter{Skip: 290}, 10},
		{"all skipped", archive.StudyFilter{Skip: 300}, 0},
		{"a year", archive.StudyFilter{From: "20210101", To: "20211231"}, 99},
		{"to", archive.StudyFilter{To: "20201231"}, 99},
		{"a word", archive.StudyFilter{All: [][]archive.Term{name("meier")}}, 100},
		{"a word and a year", archive.StudyFilter{From: "20200101", To: "20201231", All: [][]archive.Term{name("meier")}}, 99},
		{"two words", archive.StudyFilter{All: [][]archive.Term{name("meier"), {{Tag: 0x00081030, Word: "thorax"}}}}, 100},
		{"a rare one and a common one", archive.StudyFilter{All: [][]archive.Term{{{Tag: 0x00081030, Word: "thorax"}}, id("id77")}}, 1},
		{"none", archive.StudyFilter{All: [][]archive.Term{name("niemand")}}, 0},
		{"no word at all", archive.StudyFilter{All: [][]archive.Term{nil}}, 0},
		{"no word and one", archive.StudyFilter{All: [][]archive.Term{nil, name("meier")}}, 0},
		{"modality", archive.StudyFilter{Modalities: []string{"MR"}}, 6},
		{"modality, skipped", archive.StudyFilter{Modalities: []string{"MR", "US"}, Skip: 4}, 2},
		{"modality and time", archive.StudyFilter{Modalities: []string{"MR"}, From: "20200101", To: "20200120"}, 0},
		{"unknown modality", archive.StudyFilter{Modalities: []string{"ZZ"}}, 0},
		{"UIDs", archive.StudyFilter{UIDs: []string{"5.7", "5.8", "5.7", "9"}}, 2},
		{"no UIDs", archive.StudyFilter{UIDs: []string{}}, 0},
		{"UID and modality", archive.StudyFilter{UIDs: []string{"5.50", "5.51"}, Modalities: []string{"MR"}}, 1},
	} {
		got := studies(t, x, c.f)
		if len(got) != c.want {
			t.Errorf("%s: %d studies instead of %d", c.what, len(got), c.want)
		}
		for i := 1; i < len(got); i++ {
			a, _ := got[i-1].Attrs.Get(tagStudyDate)
			b, _ := got[i].Attrs.Get(tagStudyDate)
			if a < b || a == b && got[i-1].ID < got[i].ID {
				t.Fatalf("%s: not newest first: %s, %s", c.what, a, b)
			}
		}
	}
	// Candidates of a common condition are found by a walk and by lookup, each once.
	seen, matching := map[string]bool{}, 0
	for _, s := range studies(t, x, archive.StudyFilter{All: [][]archive.Term{many}}) {
		if seen[s.UID] {
			t.Error("a study twice")
		}
		seen[s.UID] = true
		if v, _ := s.Attrs.Get(0x00100010); v == "Meier^A" {
			matching++
		}
	}
	if matching != 100 {
		t.Errorf("%d of 100 are candidates", matching)
	}
	// A caller that stops, and one that asks more while it gets.
	n := 0
	err := x.Studies(context.Background(), hospital, archive.StudyFilter{}, func(s *archive.StudyRow) bool {
		rows, err := x.SeriesOf(context.Background(), hospital, s.ID)
		if err != nil || len(rows) != 1 {
			t.Error(rows, err)
		}
		n++
		return n < 10
	})
	if err != nil || n != 10 {
		t.Error(n, err)
	}
}
