package dicom

import (
	_ "embed"
	"encoding/binary"
	"strings"
	"sync"
)

//go:generate go run dictgen.go

// dictText is PS3.6 §6 to §8, a line an attribute: eight digits of the tag, two
// letters of the VR ("xs": US or SS, by Pixel Representation), the keyword.
//
//go:embed dict.txt
var dictText string

// entry is one attribute of the dictionary.
type entry struct {
	tag     Tag
	vr      VR
	signed  bool // US or SS, as Pixel Representation says
	keyword string
}

// dict is a hash table with open addressing: a lookup is a multiplication and
// one or two comparisons, since reading Implicit VR makes one an element.
type dict struct {
	entries  []entry
	slots    [1 << slotBits]uint16 // index into entries, plus 1
	keywords map[string]Tag
}

const slotBits = 14

func slotOf(t Tag) uint32 { return uint32(t) * 2654435769 >> (32 - slotBits) }

var dictionary = sync.OnceValue(func() *dict {
	d := &dict{
		entries:  make([]entry, 0, 5200),
		keywords: make(map[string]Tag, 5200),
	}
	for line := range strings.Lines(dictText) {
		line = strings.TrimSuffix(line, "\n")
		tag, _ := parseHex(line[:8])
		e := entry{tag: tag, vr: MakeVR(line[8], line[9]), keyword: line[10:]}
		if line[8] == 'x' {
			e.vr, e.signed = US, true
		}
		d.entries = append(d.entries, e)
		s := slotOf(tag)
		for d.slots[s] != 0 {
			s = (s + 1) % (1 << slotBits)
		}
		d.slots[s] = uint16(len(d.entries))
		if e.keyword != "" {
			d.keywords[e.keyword] = tag
		}
	}
	return d
})

func (d *dict) find(t Tag) *entry {
	for s := slotOf(t); d.slots[s] != 0; s = (s + 1) % (1 << slotBits) {
		if e := &d.entries[d.slots[s]-1]; e.tag == t {
			return e
		}
	}
	return nil
}

// lookup finds the attribute of a standard tag, repeating groups included (PS3.5 §7.6).
func lookup(t Tag) *entry {
	d := dictionary()
	if e := d.find(t); e != nil {
		return e
	}
	switch g := t >> 16; {
	case g > 0x5000 && g <= 0x50FF, g > 0x6000 && g <= 0x60FF, g > 0x7F00 && g <= 0x7F1E:
		return d.find(t & 0xFF00FFFF)
	case t&0xFFFFFF00 == 0x00203100: // Source Image IDs (0020,31xx)
		return d.find(0x00203100)
	case t&0xFFFFFF0C == 0x00280400: // (0028,04x0) to (0028,04x3)
		return d.find(t&0xFFFFFF0F | 0x10)
	case g == 0x1000:
		return d.find(t&0xFFFF000F | 0x10)
	case g == 0x1010:
		return d.find(0x10100004)
	}
	return nil
}

// VROf returns the VR of the attribute under Implicit VR: UN when the
// dictionary does not know it, as all private elements are, but LO for private
// creators and UL for group lengths. Where the standard leaves a choice it is
// OW for OB or OW (PS3.5 §A.1) and US for US or SS, which Pixel Representation decides.
func VROf(t Tag) VR {
	switch {
	case t.IsGroupLength():
		return UL
	case t.IsPrivateCreator():
		return LO
	case t.IsPrivate():
		return UN
	}
	if e := lookup(t); e != nil {
		return e.vr
	}
	return UN
}

// KeywordOf returns the attribute's keyword (PS3.6), or "" when it has none.
func KeywordOf(t Tag) string {
	if t.IsPrivate() {
		return ""
	}
	if e := lookup(t); e != nil {
		return e.keyword
	}
	return ""
}

// TagOf returns the tag of a keyword, spelled as PS3.6 does.
func TagOf(keyword string) (Tag, bool) {
	t, ok := dictionary().keywords[keyword]
	return t, ok
}

// ParseTag reads an attribute as users and query parameters write it: a
// keyword, or eight hexadecimal digits, also as "gggg,eeee" and in parentheses.
func ParseTag(s string) (Tag, bool) {
	if n := len(s); n >= 2 && s[0] == '(' && s[n-1] == ')' {
		s = s[1 : n-1]
	}
	if len(s) == 9 && s[4] == ',' {
		group, ok1 := parseHex(s[:4])
		element, ok2 := parseHex(s[5:])
		return group<<16 | element, ok1 && ok2
	}
	if len(s) == 8 {
		if t, ok := parseHex(s); ok {
			return t, true
		}
	}
	return TagOf(s)
}

// parseHex reads at most eight hexadecimal digits.
func parseHex(s string) (Tag, bool) {
	var n Tag
	for _, c := range []byte(s) {
		switch {
		case c >= '0' && c <= '9':
			c -= '0'
		case c >= 'A' && c <= 'F':
			c -= 'A' - 10
		case c >= 'a' && c <= 'f':
			c -= 'a' - 10
		default:
			return 0, false
		}
		n = n<<4 | Tag(c)
	}
	return n, true
}

const pixelRepresentation Tag = 0x00280103

// byteOrder returns the order of d's values; little endian when d does not say.
func (d *Dataset) byteOrder() binary.ByteOrder {
	if d.Order == nil {
		return binary.LittleEndian
	}
	return d.Order
}
