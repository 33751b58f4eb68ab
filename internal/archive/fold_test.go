package archive

import (
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/strata-pacs/strata/internal/dicom"
)

func TestFold(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{"", ""}, {"abc 12", "abc 12"}, {"ABC^Def", "abc^def"},
		{"Müller", "muller"}, {"Mu\u0308ller", "muller"}, {"MÜLLER", "muller"},
		{"Straße", "strasse"}, {"STRAẞE", "strasse"}, {"Søren Ærø", "soren aero"}, {"Łukasz", "lukasz"},
		{"ﬁn", "fin"}, {"ΣΊΣΥΦΟΣ", "σισυφοσ"}, {"Σίσυφος", "σισυφοσ"},
		{"Люкceмбypг", "люкceмбypг"}, {"Ёлкин", "елкин"},
		{"ﾔﾏﾀﾞ", "ヤマダ"}, {"山田", "山田"}, {"김희중", "김희중"}, {"İstanbul", "istanbul"}, {"Ｙａｍａｄａ", "yamada"},
		{"قَبَّانِي", "قباني"}, {"bad\xff", "bad\uFFFD"},
	} {
		if got := Fold(c.in); got != c.want {
			t.Errorf("Fold(%q) = %q, want %q", c.in, got, c.want)
		}
	}
}

func TestFoldWords(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{"", ""}, {"^^", ""}, {"Müller^Hans Peter^^Dr.", "muller hans peter dr"},
		{"Yamada^Tarou=山田^太郎=やまだ^たろう", "yamada tarou 山田 太郎 やまだ たろう"},
		{"O'Brien^O'Brien", "o brien"}, {"CT Thorax/Abdomen 5mm", "ct thorax abdomen 5mm"},
	} {
		if got := strings.Join(FoldWords(nil, dicom.PN, c.in), " "); got != c.want {
			t.Errorf("FoldWords(%q) = %q, want %q", c.in, got, c.want)
		}
	}
	var long strings.Builder
	for i := range 1000 {
		long.WriteString(strings.Repeat("é", i) + " ")
	}
	got := FoldWords([]string{"kept"}, dicom.LO, long.String())
	if got[0] != "kept" || len(got) > 1+MaxValueWords {
		t.Errorf("%d words", len(got))
	}
	for _, w := range got {
		if len(w) > MaxWordBytes || !utf8.ValidString(w) {
			t.Errorf("word of %d bytes", len(w))
		}
	}
}

func TestFoldFull(t *testing.T) {
	for _, c := range []struct {
		vr   dicom.VR
		in   string
		want []string
	}{
		{dicom.LO, "", nil},
		{dicom.LO, ` A 1 \b\a 1`, []string{"a 1", "b"}},
		{dicom.ST, `A\b`, []string{`a\b`}},
		{dicom.PN, `Smith^John^^^`, []string{"smith^john"}},
		{dicom.PN, `Yamada ^Tarou=山田^太郎==`, []string{"yamada^tarou", "山田^太郎"}},
		{dicom.PN, `=山田^太郎\A^B`, []string{"山田^太郎", "a^b"}},
		{dicom.LO, strings.Repeat("é", 500), []string{strings.Repeat("e", 256)}},
	} {
		if got := FoldFull(nil, c.vr, c.in); !slices.Equal(got, c.want) {
			t.Errorf("FoldFull(%v, %q) = %q, want %q", c.vr, c.in, got, c.want)
		}
	}
}

func BenchmarkFold(b *testing.B) {
	for _, s := range []string{"smith^john", "Smith^John", "Müller^Jürgen"} {
		b.Run(s, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				Fold(s)
			}
		})
	}
}

func FuzzFold(f *testing.F) {
	for _, s := range []string{"Müller^Hans", "山田^太郎=やまだ", "ﾀﾞ", "\xff\xfe", "ſß"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		once := Fold(s)
		if !utf8.ValidString(once) {
			t.Errorf("Fold(%q) = %q is not UTF-8", s, once)
		}
		for _, w := range FoldWords(nil, dicom.PN, s) {
			if w == "" || len(w) > MaxWordBytes {
				t.Errorf("word %q", w)
			}
		}
		FoldFull(nil, dicom.PN, s)
	})
}
