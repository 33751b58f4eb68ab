package index

import (
	"bytes"
	"context"
	"encoding/hex"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode/utf16"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/dicom"
)

// TestNothingReadable: whoever reads the files of the index finds no name, no
// identifier, no description and no UID, in whatever spelling.
func TestNothingReadable(t *testing.T) {
	t.Run("sqlite", func(t *testing.T) {
		o := onSQLite(t)
		testNothingReadable(t, o, filepath.Dir(o.Path))
	})
	t.Run("postgres", func(t *testing.T) {
		o := onPostgres(t)
		testNothingReadable(t, o, sharedPostgres(t).Dir)
	})
}

func testNothingReadable(t *testing.T, o Options, dir string) {
	began := time.Now().Add(-2 * time.Second) // times of files are coarse
	x, err := Open(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	secrets := []string{"Wolkenstein", "wolkenstein", "Eberhardine", "eberhardine", "GEHEIM4711", "geheim4711", "Pankreaskopf", "pankreaskopf",
		"1.2.826.0.1.77777", "19391224", "ZAHNSTEIN", "Kurzbauch", "SOPCLASS9", "LEBERLAPPEN", "leberlappen", "Sonderfall"}
	s := spec{study: "1.2.826.0.1.77777.1", series: "1.2.826.0.1.77777.1.2", instance: "1.2.826.0.1.77777.1.2.3", name: "Wolkenstein^Eberhardine",
		id: "GEHEIM4711", date: "20240305", desc: "Pankreaskopf", modality: "ZAHNSTEIN", seriesDesc: "Kurzbauch", sopClass: "1.2.SOPCLASS9", body: "LEBERLAPPEN"}
	two := s
	two.body = "LEBERLAPPEN2"
	two.instance, two.name, two.modality, two.series, two.sopClass = s.instance+".1", "Wolkenstein^Kurzbauch", "ZAHNSTEIN2", s.series+".9", "1.2.SOPCLASS9.2"
	e := stored(1, s, two) // with conflicts: variants and facets have rows
	for i := range e.Fact.Instances {
		in := &e.Fact.Instances[i]
		in.Patient = append(in.Patient, archive.Attr{Tag: 0x00100030, VR: dicom.DA, Value: "19391224"})
		in.Attrs = append(in.Attrs, archive.Attr{Tag: 0x00420010, VR: dicom.ST, Value: "Pankreaskopf"})
	}
	e.Fact.Chunks[0].Data = []byte("Wolkenstein GEHEIM4711 1.2.826.0.1.77777.1")
	held, rule := holdsPatient(5, "GEHEIM4711", "Eberhardine"), rules(7, archive.RulesLifecycle, `{"description":"Kurzbauch"}`)
	held.Fact.Hold.Reason = "Wolkenstein 1.2.826.0.1.77777"
	apply(t, x, held, releases(6, 5, "Eberhardine"), rule)
	apply(t, x, e, deletes(2, s.build(0).UIDs, blobOf(s, 1)), undeletes(3, s.study, []uint64{2}, blobOf(s, 1)))
	e.Fact.Key = archive.KeyID{1}
	for i := range e.Fact.Instances {
		e.Fact.Instances[i].Key = e.Fact.Key
	}
	settled := settles(4, e)
	settled.Fact.Chunks[0].Data = e.Fact.Chunks[0].Data
	settled.Fact.Dropped = []archive.BlobID{{7}}
	apply(t, x, settled, moves(5, settled.Fact.Study, "hot", "cold", "hospital/pack/4"), tags(6, s.study, "Sonderfall"))
	for i := range uint64(80) { // enough for pages of words to be folded
		n := two
		n.instance = "1.2.826.0.1.77777.5." + strings.Repeat("7", int(i+1))
		n.desc = "Pankreaskopf " + strings.Repeat("x", int(i))
		apply(t, x, stored(10+i, n))
	}
	if n := len(studies(t, x, archive.StudyFilter{Modalities: []string{"ZAHNSTEIN2"}})); n != 1 {
		t.Fatalf("%d studies", n)
	}
	look := func(when string) {
		n := 0
		err := filepath.WalkDir(dir, func(f string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return nil // files of a server come and go
			}
			if info, err := d.Info(); err != nil || info.ModTime().Before(began) {
				return nil // gone, or written by none of this: a cluster has a thousand files of its own
			}
			b, err := os.ReadFile(f)
			if err != nil {
				return nil
			}
			n++
			low := bytes.ToLower(b)
			for _, s := range secrets {
				for spelling, form := range forms(s) {
					if bytes.Contains(low, bytes.ToLower(form)) {
						t.Errorf("%s: %s is in %s (%s)", when, s, filepath.Base(f), spelling)
					}
				}
			}
			return nil
		})
		if err != nil || n == 0 {
			t.Fatal(n, err)
		}
	}
	look("open")
	if err := x.Close(); err != nil {
		t.Fatal(err)
	}
	look("closed")
}

func forms(s string) map[string][]byte {
	wide := utf16.Encode([]rune(s))
	var le []byte
	for _, c := range wide {
		le = append(le, byte(c), byte(c>>8))
	}
	return map[string][]byte{"as it is": []byte(s), "UTF-16": le, "hexadecimal": []byte(hex.EncodeToString([]byte(s)))}
}

// TestRowsAreBound: a sealed value opens in its own row, table and tenant only.
func TestRowsAreBound(t *testing.T) {
	n := newNonces(nil)
	secret, _ := fakeKeys("a").Derive("x")
	a, err := newSealer(secret, "a", n)
	if err != nil {
		t.Fatal(err)
	}
	b, _ := newSealer(secret, "b", n)
	sealed, err := a.seal(nil, []byte("plain"), inStudies, 7)
	if err != nil {
		t.Fatal(err)
	}
	if p, err := a.open(sealed, inStudies, 7); err != nil || string(p) != "plain" {
		t.Error(p, err)
	}
	changed := bytes.Clone(sealed)
	changed[30] ^= 1
	for name, f := range map[string]func() ([]byte, error){
		"another row":    func() ([]byte, error) { return a.open(sealed, inStudies, 8) },
		"another table":  func() ([]byte, error) { return a.open(sealed, inSeries, 7) },
		"another tenant": func() ([]byte, error) { return b.open(sealed, inStudies, 7) },
		"changed":        func() ([]byte, error) { return a.open(changed, inStudies, 7) },
		"cut":            func() ([]byte, error) { return a.open(sealed[:39], inStudies, 7) },
	} {
		if _, err := f(); err == nil {
			t.Errorf("%s opens", name)
		}
	}
}

func FuzzRows(f *testing.F) {
	in := ctSpec.build(1)
	r := &row{sv: 1, ev: 2}
	r.Instance, r.ID, r.ChunkID = in, 99, 98
	r.Replaces = []archive.BlobID{{1}}
	f.Add(appendInstance(nil, r, 5, "x"))
	s := studyRec{uid: "1.2", modes: facet{values: []string{"CT"}, total: 1}, set: attrSet{attrs: appendAttrs(nil, in.Patient), minValid: true}}
	f.Add(s.append(nil))
	e := seriesRec{uid: "1.2.3", counted: "CT"}
	f.Add(e.append(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		var s studyRec
		if s.decode(b) == nil {
			s.set.get(tagModality)
			s.set.differing(nil)
		}
		var e seriesRec
		_ = e.decode(b)
		_, _ = decodeInstance(1, StateVisible, b)
		_ = eachWord(b, 0, func(dicom.Tag, string) {})
		_ = eachWord(b, 1, func(dicom.Tag, string) {})
	})
}
