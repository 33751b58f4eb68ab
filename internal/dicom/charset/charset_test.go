package charset

import (
	"bytes"
	"testing"
	"unicode/utf8"

	"golang.org/x/text/encoding/simplifiedchinese"
)

func TestDecode(t *testing.T) {
	gb := func(s string) string {
		b, err := simplifiedchinese.GB18030.NewEncoder().String(s)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	for _, c := range []struct {
		name  string
		in    string
		terms []string
		kind  Kind
		want  string
	}{
		// PS3.5 Annexes H to K: the standard's own examples.
		{"H.3.1", "Yamada^Tarou=\x1b$B;3ED\x1b(B^\x1b$BB@O:\x1b(B=\x1b$B$d$^$@\x1b(B^\x1b$B$?$m$&\x1b(B",
			[]string{"", "ISO 2022 IR 87"}, Name, "Yamada^Tarou=山田^太郎=やまだ^たろう"},
		{"H.3.2", "\xd4\xcf\xc0\xde^\xc0\xdb\xb3=\x1b$B;3ED\x1b(J^\x1b$BB@O:\x1b(J=\x1b$B$d$^$@\x1b(J^\x1b$B$?$m$&\x1b(J",
			[]string{"ISO 2022 IR 13", "ISO 2022 IR 87"}, Name, "ﾔﾏﾀﾞ^ﾀﾛｳ=山田^太郎=やまだ^たろう"},
		{"I.2", "Hong^Gildong=\x1b$)C\xfb\xf3^\x1b$)C\xd1\xce\xd4\xd7=\x1b$)C\xc8\xab^\x1b$)C\xb1\xe6\xb5\xbf",
			[]string{"", "ISO 2022 IR 149"}, Name, "Hong^Gildong=洪^吉洞=홍^길동"},
		{"I.3", "\x1b$)C\xb1\xe8\xc8\xf1\xc1\xdf\r\n\x1b$)C\xb1\xe8", []string{"", "ISO 2022 IR 149"}, Text, "김희중\r\n김"},
		{"J.1", "Wang^XiaoDong=\xe7\x8e\x8b^\xe5\xb0\x8f\xe6\x9d\xb1=", []string{"ISO_IR 192"}, Name, "Wang^XiaoDong=王^小東="},
		{"J.3", "Wang^XiaoDong=\xcd\xf5^\xd0\xa1\xb6\xab=", []string{"GB18030"}, Name, "Wang^XiaoDong=王^小东="},
		{"K.2", "Zhang^XiaoDong=\x1b$)A\xd5\xc5^\x1b$)A\xd0\xa1\xb6\xab=", []string{"", "ISO 2022 IR 58"}, Name, "Zhang^XiaoDong=张^小东="},
		{"greek", "\xc4\xe9\xef\xed\xf5\xf3\xe9\xef\xf2", []string{"ISO_IR 126"}, Name, "Διονυσιος"},
		{"arabic", "\xe2\xc8\xc7\xe6\xea^\xe4\xe6\xd2\xc7\xd1", []string{"ISO_IR 127"}, Name, "قباني^لنزار"},
		{"cyrillic", "\xbb\xee\xdace\xda\xd1yp\xd3", []string{"ISO_IR 144"}, Name, "Люкceкбypг"},
		{"hebrew", "\xf9\xf8\xe5\xef^\xe3\xe1\xe5\xf8\xe4", []string{"ISO_IR 138"}, Name, "שרון^דבורה"},
		{"thai", "\xa1\xd2\xc3", []string{"ISO_IR 166"}, Values, "การ"},
		{"latin 9", "\xa4", []string{"ISO_IR 203"}, Values, "€"},
		{"jis x 0212", "\x1b$(D0!\x1b(B", []string{"", "ISO 2022 IR 159"}, Values, "丂"},
		{"several single-byte", "\xe9\x1b-F\xc4\x1b-A\xe9", []string{"ISO 2022 IR 100", "ISO 2022 IR 126"}, Values, "éΔé"},

		// Code extensions end at delimiters.
		{"reset at backslash", "\x1b-F\xc4\\\xe9", []string{"ISO 2022 IR 100", "ISO 2022 IR 126"}, Values, `Δ\é`},
		{"reset at caret", "\x1b-F\xc4^\xe9=\xe9", []string{"ISO 2022 IR 100", "ISO 2022 IR 126"}, Name, "Δ^é=é"},
		{"no reset at caret in text", "\x1b-F\xc4^\xc4\\\xc4", []string{"ISO 2022 IR 100", "ISO 2022 IR 126"}, Text, `Δ^Δ\Δ`},
		{"reset at lines", "\x1b-F\xc4\n\xe9\r\xe9\f\xe9\t\xe9", []string{"ISO 2022 IR 100", "ISO 2022 IR 126"}, Text, "Δ\né\ré\fé\té"},
		{"line ends in two-byte mode", "\x1b$B;3\nED", []string{"", "ISO 2022 IR 87"}, Text, "山\nED"},

		// A backslash inside a character does not split values.
		{"gbk backslash", "\x95\x5c\\A", []string{"GBK"}, Values, `昞\A`},
		{"shift-jis backslash", "\x95\x5c\\A", []string{"SHIFT_JIS"}, Values, `表\A`},
		{"jis backslash", "\x1b$B\x5c\x5c\x1b(B\\A", []string{"", "ISO 2022 IR 87"}, Values, `樛\A`},

		// Spellings.
		{"hyphen", "\xfc", []string{"ISO-IR 100"}, Values, "ü"},
		{"underscores", "\xfc", []string{"ISO_IR_100"}, Values, "ü"},
		{"lower case", "\xfc", []string{"iso_ir 100"}, Values, "ü"},
		{"latin1", "\xfc", []string{"LATIN1 "}, Values, "ü"},
		{"2022 alone", "\xfc", []string{"ISO 2022 IR 100"}, Values, "ü"},
		{"korean alone", "\x1b$)C\xb1\xe8", []string{"ISO 2022 IR 149"}, Values, "김"},
		{"unknown", "M\xfcller", []string{"KLINGON"}, Values, "Müller"},
		{"too long", "M\xfcller", []string{"ISO_IR 100 and a lot more"}, Values, "Müller"},

		// Wrong labels.
		{"utf-8 without label", "Müller", nil, Name, "Müller"},
		{"utf-8 as latin-1", "Müller^Jörg", []string{"ISO_IR 100"}, Name, "Müller^Jörg"},
		{"latin-1 without label", "M\xfcller^J\xf6rg", nil, Name, "Müller^Jörg"},
		{"latin-1 pair without label", "Gr\xf6\xdfe Concei\xe7\xe3o", nil, Values, "Größe Conceição"},
		{"latin-1 as utf-8", "M\xfcller", []string{"ISO_IR 192"}, Name, "Müller"},
		{"latin-1 capitals", "\xc4\xd6\xdc", []string{"ISO_IR 100"}, Values, "ÄÖÜ"},
		{"windows-1252", "\x93x\x94 \x80 \x81", []string{"ISO_IR 100"}, Values, "“x” € \u0081"},
		{"gbk without label", gb("王^小东"), nil, Name, "王^小东"},
		{"gbk as latin-1", gb("王小东"), []string{"ISO_IR 100"}, Name, "王小东"},
		{"gbk as utf-8", gb("王^小东"), []string{"ISO_IR 192"}, Name, "王^小东"},
		{"gbk among ascii", "CT " + gb("胸部平扫"), []string{"ISO_IR 100"}, Values, "CT 胸部平扫"},
		{"rare character", gb("王玥"), nil, Name, "王玥"},
		{"utf-8 as gb18030", "王小东", []string{"GB18030"}, Name, "王小东"},
		{"utf-8 as korean", "김희중", []string{"", "ISO 2022 IR 149"}, Name, "김희중"},
		{"utf-8 as cyrillic", "Юлия", []string{"ISO_IR 144"}, Name, "Юлия"},
		{"utf-8 cut short", "王小\xe4\xb8", []string{"ISO_IR 192"}, Values, "王小ä¸"},
		{"gb18030 cut short", gb("王小") + "\xb6", []string{"GB18030"}, Values, "王小¶"},
		{"korean without escape", "\xb1\xe8\xc8\xf1", []string{"", "ISO 2022 IR 149"}, Values, "김희"},
		{"korean escape lost after caret", "\x1b$)C\xb1\xe8^\xb1\xe8", []string{"", "ISO 2022 IR 149"}, Name, "김^김"},
		{"undeclared escape", "\x1b$B;3\x1b(B", nil, Values, "山"},
		{"unknown escape", "a\x1b%Gb", nil, Values, "a\x1b%Gb"},
		{"escape at the end", "a\x1b", nil, Values, "a\x1b"},
		{"undefined in latin-3", "\xa5", []string{"ISO_IR 109"}, Values, "¥"},
		{"overline", "\xb1~", []string{"ISO_IR 13"}, Values, "ｱ‾"},
		{"empty", "", []string{"GBK"}, Values, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := Decode([]byte(c.in), c.terms, c.kind); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

func TestKnown(t *testing.T) {
	for term, want := range map[string]bool{"ISO-8859-1": true, "utf-8": true, "ISO_IR 192": true, "": false, "ISO 2022 IR 6": false, "UTF-16": false} {
		if Known(term) != want {
			t.Errorf("Known(%q) is %v", term, !want)
		}
	}
}

func TestIsASCII(t *testing.T) {
	for n := range 20 {
		b := bytes.Repeat([]byte{'a'}, n)
		if !IsASCII(b) {
			t.Errorf("%d letters are not ASCII", n)
		}
		for i := range b {
			for _, c := range []byte{0x80, 0xff, esc} {
				b[i] = c
				if IsASCII(b) {
					t.Errorf("%x at %d of %d is ASCII", c, i, n)
				}
			}
			b[i] = 0x1a
			if !IsASCII(b) {
				t.Errorf("1A at %d of %d is not ASCII", i, n)
			}
			b[i] = 'a'
		}
	}
}

func FuzzDecode(f *testing.F) {
	terms := []string{"", "ISO_IR 100", "ISO_IR 144", "ISO_IR 13", "ISO_IR 192", "GB18030", "SHIFT_JIS",
		"ISO 2022 IR 87", "ISO 2022 IR 149", "ISO 2022 IR 58", "ISO 2022 IR 159", "ISO_IR 166"}
	f.Add([]byte("Yamada^Tarou=\x1b$B;3ED\x1b(B^\x1b$BB@O:\x1b(B"), uint8(0), uint8(7), uint8(1))
	f.Add([]byte("\x95\x5c\xff\xfe\x81"), uint8(6), uint8(0), uint8(0))
	f.Add([]byte("\x1b$)C\xb1"), uint8(0), uint8(8), uint8(2))
	f.Fuzz(func(t *testing.T, b []byte, first, second, kind uint8) {
		set := Parse([]string{terms[int(first)%len(terms)], terms[int(second)%len(terms)]})
		out := set.Append([]byte("kept"), b, Kind(kind%3))
		if !bytes.HasPrefix(out, []byte("kept")) || !utf8.Valid(out) {
			t.Fatalf("%q", out)
		}
		if len(out) > 4+3*len(b) {
			t.Fatalf("%d bytes became %d", len(b), len(out)-4)
		}
	})
}

func BenchmarkLatin1(b *testing.B) {
	in := []byte("M\xfcller^J\xf6rg^^^")
	set := Parse([]string{"ISO_IR 100"})
	dst := make([]byte, 0, 100)
	b.ReportAllocs()
	for b.Loop() {
		set.Append(dst, in, Name)
	}
}

func BenchmarkParse(b *testing.B) {
	terms := []string{"ISO_IR 100"}
	b.ReportAllocs()
	for b.Loop() {
		Parse(terms)
	}
}
