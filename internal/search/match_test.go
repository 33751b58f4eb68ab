package search

import (
	"testing"

	"github.com/strata-pacs/strata/internal/dicom"
)

func TestMatching(t *testing.T) {
	const ideographic = "Yamada^Tarou=山田^太郎=やまだ^たろう"
	for _, c := range []struct {
		name  string
		vr    dicom.VR
		key   string
		value string
		o     options
		want  bool
	}{
		{"universal", dicom.LO, "", "x", options{}, true},
		{"universal on absent", dicom.LO, "*", "", options{}, true},
		{"single value", dicom.LO, "PAT-1", "PAT-1 ", options{}, true},
		{"single value, spaces in key", dicom.LO, " PAT-1 ", "PAT-1", options{}, true},
		{"single value is case-sensitive", dicom.LO, "pat-1", "PAT-1", options{}, false},
		{"absent", dicom.LO, "x", "", options{}, false},
		{"one of several values", dicom.LO, "b", `a\b`, options{}, true},
		{"several alternatives", dicom.SH, `a\b`, "b", options{}, true},
		{"wildcard", dicom.LO, "*HAN*", "PHANTOM", options{}, true},
		{"wildcard is case-sensitive", dicom.LO, "*han*", "PHANTOM", options{}, false},
		{"question mark", dicom.SH, "A?1", "AX1", options{}, true},
		{"fuzzy text", dicom.LO, "thorax", "CT Thorax nativ", options{fuzzy: true}, true},
		{"fuzzy text, wildcard", dicom.LO, "*hora*", "CT THORAX", options{fuzzy: true}, true},
		{"fuzzy text, other word", dicom.LO, "abdomen", "CT Thorax", options{fuzzy: true}, false},
		{"text of one value", dicom.LT, `a\b`, `a\b`, options{}, true},
		{"code without case", dicom.CS, "ct", "CT", options{}, true},
		{"code list by comma", dicom.CS, "CT,MR", "MR", options{}, true},
		{"code list by backslash", dicom.CS, `CT\MR`, `SR\MR`, options{}, true},
		{"code wildcard", dicom.CS, "R*", "RTPLAN", options{}, true},
		{"code not listed", dicom.CS, "CT,MR", "US", options{}, false},
		{"uid", dicom.UI, "1.2.3", "1.2.3", options{}, true},
		{"uid is no prefix", dicom.UI, "1.2", "1.2.3", options{}, false},
		{"uid list by comma", dicom.UI, "1.2,1.2.3", "1.2.3", options{}, true},
		{"uid list by backslash", dicom.UI, `1.2\1.2.3`, "1.2.3\x00", options{}, true},
		{"number by value", dicom.IS, "1", " 01", options{}, true},
		{"decimal by value", dicom.DS, "1.50", "1.5", options{}, true},
		{"number differs", dicom.IS, "1", "11", options{}, false},
		{"binary number", dicom.US, "512", "512", options{}, true},
		{"attribute tag", dicom.AT, "0010,0010", "00100010", options{}, true},
		{"empty value", dicom.LO, `""`, "", options{empty: true}, true},
		{"empty value, has one", dicom.LO, `""`, "x", options{empty: true}, false},
		{"quotes are text without emptyvaluematching", dicom.LO, `""`, "", options{}, false},

		{"name", dicom.PN, "Smith^John", "SMITH^JOHN", options{}, true},
		{"name without empty components", dicom.PN, "Smith^John", "Smith^John^^^", options{}, true},
		{"name with empty components", dicom.PN, "Smith^John^^", "Smith^John", options{}, true},
		{"name without accents", dicom.PN, "muller^jurgen", "Müller^Jürgen", options{}, true},
		{"name with accents", dicom.PN, "MÜLLER^Jurgen", "Muller^Jürgen", options{}, true},
		{"name, sharp s", dicom.PN, "STRASSE*", "Straße^A", options{}, true},
		{"name, sharp s by question mark", dicom.PN, "Stra?e^A", "Straße^A", options{}, true},
		{"family name alone is not the name", dicom.PN, "Smith", "Smith^John", options{}, false},
		{"name wildcard", dicom.PN, "*mül*", "Müller^Hans", options{}, true},
		{"name wildcard over components", dicom.PN, "Smi*jo*", "Smith^John", options{}, true},
		{"name wildcard for absent components", dicom.PN, "Smith^*", "Smith", options{}, true},
		{"alphabetic group alone", dicom.PN, "Yamada^Tarou", ideographic, options{}, true},
		{"all groups", dicom.PN, ideographic, ideographic, options{}, true},
		{"ideographic group alone", dicom.PN, "山田^太郎", ideographic, options{}, true},
		{"phonetic group by wildcard", dicom.PN, "やま*", ideographic, options{}, true},
		{"ideographic group by position", dicom.PN, "=山田*", ideographic, options{}, true},
		{"ideographic group at the wrong position", dicom.PN, "==山田*", ideographic, options{}, false},
		{"groups must all match", dicom.PN, "Yamada^Tarou=鈴木*", ideographic, options{}, false},
		{"group that the value lacks", dicom.PN, "Smith=x", "Smith", options{}, false},
		{"first of several names", dicom.PN, "a^b", `A^B\C^D`, options{}, true},
		{"fuzzy: family name", dicom.PN, "Smith", "Smith^John", options{fuzzy: true}, true},
		{"fuzzy: beginning of given name", dicom.PN, "jo", "Smith^John", options{fuzzy: true}, true},
		{"fuzzy: any order", dicom.PN, "john smith", "Smith^John", options{fuzzy: true}, true},
		{"fuzzy: wildcards", dicom.PN, "*mül*", "von Müller^Hans", options{fuzzy: true}, true},
		{"fuzzy: ideographic", dicom.PN, "山田", ideographic, options{fuzzy: true}, true},
		{"fuzzy: every word", dicom.PN, "john doe", "Smith^John", options{fuzzy: true}, false},
		{"fuzzy: not the middle", dicom.PN, "mith", "Smith^John", options{fuzzy: true}, false},
		{"only carets", dicom.PN, "^^", "Smith", options{}, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			cond, err := compile(0x00104000, c.vr, c.key, true, c.o)
			if err != nil {
				t.Fatal(err)
			}
			if got := cond.matches(c.value); got != c.want {
				t.Errorf("%q matches %q: %v", c.key, c.value, got)
			}
		})
	}
}

func TestKeysThatCannotBeRead(t *testing.T) {
	for _, c := range []struct {
		vr  dicom.VR
		key string
	}{
		{dicom.DA, "nonsense"}, {dicom.TM, "noon"}, {dicom.DT, "x"}, {dicom.IS, "one"}, {dicom.DS, "1,5"}, {dicom.US, "*1"},
		{dicom.UI, "1.2.*"}, {dicom.UI, "abc"}, {dicom.SQ, "x"}, {dicom.OB, "x"}, {dicom.PN, "a=b=c=d"},
	} {
		if _, err := compile(0x00104000, c.vr, c.key, false, options{}); err == nil {
			t.Errorf("%v %q was read", c.vr, c.key)
		}
	}
}
