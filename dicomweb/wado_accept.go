package dicomweb

import (
	"slices"
	"strings"

	"github.com/strata-pacs/strata/internal/dicom"
)

// want is one way in which a client takes an answer, read from a media range.
type want struct {
	multipart bool
	// mediaType of the part or of the body; "" is any.
	mediaType string
	// syntax is the transfer-syntax parameter: "" absent, "*" as stored.
	syntax string
	// any: the range names no media type, so every transfer syntax will do.
	any bool
	// shapeless: the range leaves open whether it means parts or a body.
	shapeless bool
	q         int
}

// accepts is what a client takes, best first, and what it says it never takes.
type accepts struct{ list, never []want }

// wants reads what the client takes. Where it leaves open whether it wants parts
// or a single body, multipart decides.
func wants(a Accept, multipart bool) accepts {
	if len(a) == 0 {
		return accepts{list: []want{{multipart: multipart, any: true, shapeless: true, q: 1000}}}
	}
	var out accepts
	for _, m := range a {
		w := want{mediaType: m.Type, syntax: m.Syntax, q: m.Q}
		switch m.Type {
		case "*/*":
			w.multipart, w.mediaType, w.any, w.shapeless = multipart, "", true, true
		case "multipart/*":
			w.multipart, w.mediaType, w.any = true, "", true
		case "multipart/related":
			w.multipart, w.mediaType = true, m.Related
			if m.Related == "" || m.Related == "*/*" {
				w.mediaType, w.any = "", true
			}
		}
		w.any = w.any && (m.Syntax == "" || m.Syntax == "*")
		if m.Q > 0 {
			out.list = append(out.list, w)
		} else {
			out.never = append(out.never, w)
		}
	}
	return out
}

// takes reports whether the media type is among those wanted.
func (w *want) takes(mediaType string) bool {
	return w.mediaType == "" || w.mediaType == mediaType || w.mediaType == oldNames[mediaType] ||
		strings.HasSuffix(w.mediaType, "/*") && strings.HasPrefix(mediaType, w.mediaType[:len(w.mediaType)-1])
}

// specific says how closely the range names what it means (RFC 9110 §12.5.1).
func (w *want) specific() int {
	n := 4
	switch {
	case w.shapeless:
		n = 0
	case w.mediaType == "":
		n = 1
	case strings.HasSuffix(w.mediaType, "/*"):
		n = 2
	}
	if w.syntax != "" && w.syntax != "*" {
		n++
	}
	return n
}

// refuses reports whether a range with q=0 takes back what w allows.
func (a *accepts) refuses(w *want, mediaType, syntax string) bool {
	for i := range a.never {
		n := &a.never[i]
		if (n.shapeless || n.multipart == w.multipart) && n.takes(mediaType) && n.specific() >= w.specific() &&
			(n.syntax == "" || n.syntax == "*" || n.syntax == syntax) {
			return true
		}
	}
	return false
}

// form is a way to give something: as a part or as the body, its media type, and
// the transfer syntax to make it in.
type form struct {
	multipart bool
	mediaType string
	syntax    string
	called    string // the transfer-syntax parameter of the answer
	stored    bool   // as it is stored: nothing is converted
	q         int
}

// sorted puts the forms in the client's order; of those it likes as much, the
// stored one is first.
func sorted(forms []form) []form {
	slices.SortStableFunc(forms, func(a, b form) int {
		switch {
		case a.q != b.q:
			return b.q - a.q
		case a.stored == b.stored:
			return 0
		case a.stored:
			return -1
		}
		return 1
	})
	return forms
}

// files lists how the client takes an instance that is stored in a transfer
// syntax, best first. Without a transfer-syntax parameter that is in Explicit VR
// Little Endian (PS3.18 §8.7.3.5.2).
func (a *accepts) files(stored string) []form {
	var forms []form
	for i := range a.list {
		w := &a.list[i]
		if !w.takes(typeDICOM) {
			continue
		}
		to := w.syntax
		switch {
		case to == "*", w.any:
			to = stored
		case to == "":
			to = dicom.ExplicitVRLittleEndian
		}
		if !a.refuses(w, typeDICOM, to) {
			forms = append(forms, form{w.multipart, typeDICOM, to, to, to == stored, w.q})
		}
	}
	return sorted(forms)
}

// octets is the media type of native pixels and bulk values.
const octets = "application/octet-stream"

// pixels lists how the client takes pixels that are stored as a media type in a
// transfer syntax, best first. Native pixels are octets in little endian,
// whatever syntax they are stored in.
func (a *accepts) pixels(mediaType, syntax string) []form {
	var forms []form
	for i := range a.list {
		w := &a.list[i]
		for _, f := range w.pixels(mediaType, syntax) {
			if !a.refuses(w, f.mediaType, f.called) {
				f.multipart, f.q = w.multipart, w.q
				forms = append(forms, f)
			}
		}
	}
	return sorted(forms)
}

func (w *want) pixels(mediaType, syntax string) []form {
	stored := form{mediaType: mediaType, syntax: syntax, called: syntax, stored: true}
	native := mediaType == octets && syntax == dicom.ExplicitVRLittleEndian
	// Viewers ask for octets to get whatever is stored; they have to say so with
	// a transfer syntax, as octets alone are native ones.
	open := w.mediaType == "" || w.mediaType == octets || w.mediaType == "application/*"
	switch w.syntax {
	case "*":
		if open || w.takes(mediaType) {
			return []form{stored}
		}
	case "":
		switch {
		case w.any, w.takes(mediaType) && (native || mediaType != octets):
			return []form{stored}
		case w.takes(octets):
			return []form{made(dicom.ExplicitVRLittleEndian)}
		}
		var forms []form
		for _, d := range defaultSyntaxes {
			if w.takes(d.mediaType) {
				forms = append(forms, made(d.syntax))
			}
		}
		return forms
	case syntax:
		if open || w.takes(mediaType) {
			return []form{stored}
		}
	case dicom.ImplicitVRLittleEndian: // the octets of both syntaxes are the same
		if w.takes(octets) {
			f := made(dicom.ExplicitVRLittleEndian)
			f.called, f.stored = w.syntax, native
			return []form{f}
		}
	default:
		if f := made(w.syntax); frameSyntax(w.syntax) && (open || w.takes(f.mediaType)) {
			return []form{f}
		}
	}
	return nil
}

// made is a form that has to be made.
func made(syntax string) form {
	return form{mediaType: dicom.Syntax(syntax).MediaType, syntax: syntax, called: syntax}
}

// frameSyntax reports whether there are frames in the transfer syntax: not in
// those that say something of the whole data set.
func frameSyntax(uid string) bool {
	t := dicom.Syntax(uid)
	return uid == dicom.ExplicitVRLittleEndian || t.Encapsulated && t.Name != "" && !t.Video
}

// defaultSyntaxes are the transfer syntaxes of frames where a media type comes
// without one (PS3.18 §8.7.3.3).
var defaultSyntaxes = [...]struct{ mediaType, syntax string }{
	{"image/jpeg", dicom.JPEGLosslessSV1},
	{"image/dicom-rle", dicom.RLELossless},
	{"image/jls", dicom.JPEGLSLossless},
	{"image/jp2", dicom.JPEG2000Lossless},
	{"image/jphc", dicom.HTJ2KLossless},
}

// oldNames are media types of PS3.18 before 2020, which clients still send.
var oldNames = map[string]string{
	"image/jls":       "image/x-jls",
	"image/dicom-rle": "image/x-dicom-rle",
	"image/jphc":      "image/jph",
}
