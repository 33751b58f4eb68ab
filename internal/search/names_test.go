package search

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/strata-pacs/strata/internal/archive"
)

// Names of many scripts are found by what people type of them.
func TestNamesOfTheWorld(t *testing.T) {
	names := []string{"Müller^Jürgen", "Smith^John^A", "García^José^María", "Yamada^Tarou=山田^太郎=やまだ^たろう", "Ковалёв^Алексей",
		"Åkesson^Björn^^Dr", "Nguyễn^Thị^Hương", "Dupont^François", "Wang^XiaoDong=王^小东", "Παπαδόπουλος^Γιώργος", "O'Neill^Seán",
		"Hong^Gildong=洪^吉洞=홍^길동", "قباني^لنزار", "Łukasiewicz^Żaneta", "Straße^Ægir", "de la Cruz^Juan Carlos"}
	var list []archive.Instance
	for i, name := range names {
		uid := fmt.Sprintf("1.2.%d", i+1)
		in := archive.Instance{Patient: attrs(t, "PatientName="+name, "StudyInstanceUID="+uid), Series: attrs(t, "Modality=CT", "SeriesInstanceUID="+uid+".1"), Syntax: "1.2.840.10008.1.2.1"}
		in.UIDs = archive.UIDs{Study: uid, Series: uid + ".1", Instance: uid + ".1.1"}
		list = append(list, in)
	}
	s := New(Options{Catalog: indexed(t, list)})
	for i, name := range names {
		groups := strings.Split(name, "=")
		family, _, _ := strings.Cut(name, "^")
		keys := []string{name, groups[0], strings.ToUpper(groups[0]), archive.Fold(groups[0]), strings.ToLower(string([]rune(name)[:4])) + "*",
			"*" + string([]rune(family)[1:]) + "*", string([]rune(family)[0]) + "?" + string([]rune(family)[2:]) + "^*"}
		keys = append(keys, groups[1:]...)
		for _, g := range groups[1:] {
			keys = append(keys, string([]rune(g)[0])+"*")
		}
		for k, key := range append(keys, family, strings.ToUpper(family)) {
			query := "PatientName=" + url.QueryEscape(key)
			if k >= len(keys) {
				query += "&fuzzymatching=true"
			}
			if got, _ := found(t, s, archive.LevelStudy, archive.UIDs{}, query); !slices.Contains(got, fmt.Sprintf("1.2.%d", i+1)) {
				t.Errorf("%q is not found by %q", name, key)
			}
		}
	}
}
