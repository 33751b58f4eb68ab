package dicom

import (
	"strings"
	"testing"

	"github.com/strata-pacs/strata/internal/testdata"
)

func TestSyntaxes(t *testing.T) {
	seen := map[string]bool{}
	for _, ts := range TransferSyntaxes() {
		if seen[ts.UID] || ts.Name == "" || ts.MediaType == "" || len(ts.UID) > 64 {
			t.Errorf("%+v", ts)
		}
		seen[ts.UID] = true
		if ts.Video != strings.HasPrefix(ts.MediaType, "video/") || ts.Encapsulated && (ts.Implicit || ts.BigEndian || ts.Deflated) {
			t.Errorf("%+v", ts)
		}
		if Uncompressed(ts.UID) && ts.Encapsulated {
			t.Errorf("%s is converted and encapsulated", ts.UID)
		}
	}
	for uid, want := range map[string]TransferSyntax{
		ImplicitVRLittleEndian:         {Implicit: true, MediaType: octets},
		ExplicitVRBigEndian:            {BigEndian: true, MediaType: octets},
		DeflatedExplicitVRLittleEndian: {Deflated: true, MediaType: octets},
		JPEGLosslessSV1:                {Encapsulated: true, MediaType: "image/jpeg"},
		JPEGLSNearLossless:             {Encapsulated: true, MediaType: "image/jls"},
		JPEG2000:                       {Encapsulated: true, MediaType: "image/jp2"},
		HTJ2K:                          {Encapsulated: true, MediaType: "image/jphc"},
		RLELossless:                    {Encapsulated: true, MediaType: "image/dicom-rle"},
		DeflatedImageFrame:             {Encapsulated: true, MediaType: "application/x-deflate"},
		"1.2.840.10008.1.2.4.105":      {Encapsulated: true, Video: true, MediaType: "video/mp4"},
	} {
		got := Syntax(uid)
		if got.Name == "" {
			t.Errorf("%s has no name", uid)
		}
		if got.UID, got.Name = "", ""; got != want {
			t.Errorf("%s: %+v", uid, got)
		}
	}
	if got := Syntax("1.2.3"); got != (TransferSyntax{UID: "1.2.3", Encapsulated: true, MediaType: octets}) {
		t.Errorf("an unknown one: %+v", got)
	}
	for _, m := range testdata.Files(t, "ok", "ok-derived") {
		if Syntax(m.Syntax).Name == "" {
			t.Errorf("%s is not in the table", m.Syntax)
		}
	}
}

func TestSwapper(t *testing.T) {
	for _, c := range []struct {
		word int
		want string
	}{{1, "abcdefghi"}, {2, "badcfehgi"}, {4, "dcbahgfei"}, {8, "hgfedcbai"}} {
		var out strings.Builder
		w := NewSwapper(&out, c.word)
		for _, part := range []string{"a", "bcd", "efghi"} {
			if n, err := w.Write([]byte(part)); n != len(part) || err != nil {
				t.Fatal(n, err)
			}
		}
		if err := w.Close(); err != nil || out.String() != c.want {
			t.Errorf("words of %d: %q %v", c.word, out.String(), err)
		}
	}
}
