package dicom

import (
	"encoding/binary"
	"testing"
)

func TestTextOf(t *testing.T) {
	le, be := binary.LittleEndian, binary.BigEndian
	for _, c := range []struct {
		name    string
		order   binary.ByteOrder
		vr      VR
		value   string
		charset string
		want    string
	}{
		{"padding", le, LO, "Skull ", "", "Skull"},
		{"uid", le, UI, "1.2.3\x00", "", "1.2.3"},
		{"padding of every value", le, CS, "ORIGINAL\\ PRIMARY \\AXIAL ", "", `ORIGINAL\PRIMARY\AXIAL`},
		{"leading space kept", le, LO, " a", "", " a"},
		{"leading space of a number", le, DS, " 1.5\\ 2", "", `1.5\2`},
		{"empty values", le, LO, `a\\ `, "", `a\\`},
		{"backslash in text", le, ST, `C:\a `, "", `C:\a`},
		{"backslash in a character", le, LO, "\x95\x5c\\b", "GBK", `昞\b`},
		{"name", le, PN, "M\xfcller^J\xf6rg ", "ISO_IR 100", "Müller^Jörg"},
		{"us", le, US, "\x01\x00\xff\xff", "", `1\65535`},
		{"us big endian", be, US, "\x00\x01", "", "1"},
		{"ss", le, SS, "\xff\xff", "", "-1"},
		{"ul", be, UL, "\x00\x00\x01\x00", "", "256"},
		{"sl", le, SL, "\xfe\xff\xff\xff", "", "-2"},
		{"uv", le, UV, "\xff\xff\xff\xff\xff\xff\xff\xff", "", "18446744073709551615"},
		{"sv", le, SV, "\xff\xff\xff\xff\xff\xff\xff\xff", "", "-1"},
		{"fl", le, FL, "\xcd\xcc\xcc\x3d\x00\x00\xc0\x7f", "", `0.1\NaN`},
		{"fd", be, FD, "\x3f\xb9\x99\x99\x99\x99\x99\x9a\xff\xf0\x00\x00\x00\x00\x00\x00", "", `0.1\-Infinity`},
		{"fd infinite", be, FD, "\x7f\xf0\x00\x00\x00\x00\x00\x00", "", "Infinity"},
		{"fd tiny", be, FD, "\x00\x00\x00\x00\x00\x00\x00\x01", "", "5e-324"},
		{"at", le, AT, "\x10\x00\x20\x00\xe0\x7f\x10\x00", "", `00100020\7FE00010`},
		{"at big endian", be, AT, "\x7f\xe0\x00\x10", "", "7FE00010"},
		{"cut number", le, UL, "\x01\x00\x00\x00\x02", "", "1"},
		{"too short", le, FD, "\x01", "", ""},
		{"no order", nil, US, "\x01\x00", "", "1"},
		{"binary", le, OB, "abcd", "", ""},
		{"unknown", le, UN, "abcd", "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := &Dataset{Order: c.order, Elements: []Element{{Tag: 0x00091001, VR: c.vr, Value: []byte(c.value)}}}
			if c.charset != "" {
				d.Charset = []string{c.charset}
			}
			if got, ok := d.Text(0x00091001); !ok || got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
	un := &Dataset{Order: be, Charset: []string{"ISO_IR 100"}, Elements: []Element{
		{Tag: 0x00100010, VR: UN, Value: []byte("M\xfcller ")}, {Tag: 0x00280010, VR: UN, Value: []byte{0, 2}},
	}}
	for i, want := range []string{"Müller", "512"} {
		if got := un.TextOf(&un.Elements[i]); got != want {
			t.Errorf("what the dictionary knows, sent as UN, is %q, want %q", got, want)
		}
	}
	if got, ok := (&Dataset{}).Text(1); ok || got != "" {
		t.Errorf("an absent attribute is %q", got)
	}
}

func TestTagAppend(t *testing.T) {
	for _, tag := range []Tag{0, 0x00080005, 0x7FE00010, 0xFFFFFFFF, 0x0123ABCD} {
		if got := string(tag.Append(nil)); got != tag.String() {
			t.Errorf("got %s, want %s", got, tag)
		}
	}
}
