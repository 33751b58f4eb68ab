package dicomweb

import (
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
	q   int
}

// wants lists what the client takes, best first. Where it leaves open whether it
// wants parts or a single body, multipart decides.
func wants(a Accept, multipart bool) []want {
	if len(a) == 0 {
		return []want{{multipart: multipart, any: true, q: 1000}}
	}
	list := make([]want, 0, len(a))
	for _, m := range a {
		w := want{mediaType: m.Type, syntax: m.Syntax, q: m.Q}
		switch m.Type {
		case "*/*":
			w.multipart, w.mediaType, w.any = multipart, "", true
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
			list = append(list, w)
		}
	}
	return list
}

// takes reports whether the media type is among those wanted.
func (w *want) takes(mediaType string) bool {
	return w.mediaType == "" || w.mediaType == mediaType ||
		strings.HasSuffix(w.mediaType, "/*") && strings.HasPrefix(mediaType, w.mediaType[:len(w.mediaType)-1])
}

// file returns in which transfer syntax an instance stored in one is given.
// Without a transfer-syntax parameter that is Explicit VR Little Endian (PS3.18
// §8.7.3.5.2), which compressed instances cannot be given in.
func (w *want) file(stored string) (string, bool) {
	switch {
	case w.syntax == "*" || w.syntax == stored:
		return stored, true
	case w.syntax != "" && dicom.Uncompressed(stored) && dicom.Uncompressed(w.syntax):
		return w.syntax, true
	case w.syntax == "" && dicom.Uncompressed(stored):
		return dicom.ExplicitVRLittleEndian, true
	case w.any:
		return stored, true
	}
	return "", false
}

// fileSyntax chooses among wants of the same shape: the client's preference
// first, and of equal ones that which needs no conversion.
func fileSyntax(list []want, multipart bool, stored string) (string, bool) {
	best, found, q := "", false, 0
	for i := range list {
		w := &list[i]
		if w.multipart != multipart || !w.takes(typeDICOM) || found && w.q < q {
			continue
		}
		syntax, ok := w.file(stored)
		if ok && (!found || best != stored && syntax == stored) {
			best, found, q = syntax, true, w.q
		}
	}
	return best, found
}

// octets is the media type of native pixels and bulk values.
const octets = "application/octet-stream"

// pixels returns the Content-Type parameters of stored pixels for the client:
// their media type as stored and transfer syntax. Native pixels are octets in
// little endian, whatever syntax they are stored in.
func (w *want) pixels(mediaType, syntax string) (string, bool) {
	if syntax == dicom.ExplicitVRLittleEndian && mediaType == octets {
		switch w.syntax {
		case "", "*", syntax:
			return syntax, w.takes(octets)
		case dicom.ImplicitVRLittleEndian: // the same octets
			return w.syntax, w.takes(octets)
		}
		return "", false
	}
	switch {
	case w.syntax != "" && w.syntax != "*" && w.syntax != syntax:
		return "", false
	case w.any, w.takes(mediaType) && mediaType != octets:
		return syntax, true
	case w.mediaType == "" || w.mediaType == octets || w.mediaType == "application/*" || w.mediaType == oldNames[mediaType]:
		// Viewers ask for octets to get whatever is stored; they have to say so
		// with a transfer syntax, as octets alone are native ones.
		return syntax, w.syntax != "" || w.mediaType == oldNames[mediaType]
	}
	return "", false
}

// oldNames are media types of PS3.18 before 2020, which clients still send.
var oldNames = map[string]string{
	"image/jls":       "image/x-jls",
	"image/dicom-rle": "image/x-dicom-rle",
	"image/jphc":      "image/jph",
}
