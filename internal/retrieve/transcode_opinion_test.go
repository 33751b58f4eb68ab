package retrieve_test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/strata-pacs/strata/internal/dicom"
	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/internal/retrieve"
	"github.com/strata-pacs/strata/internal/retrieve/retrievetest"
	"github.com/strata-pacs/strata/internal/testdata"
)

// decoders are programs that make what they know Explicit VR Little Endian.
var decoders = map[string][]string{
	dicom.RLELossless:      {"dcmdrle"},
	dicom.JPEGLosslessSV1:  {"dcmdjpeg"},
	dicom.JPEGBaseline8Bit: {"dcmdjpeg"},
	dicom.JPEGLSLossless:   {"dcmdjpls"},
	dicom.JPEG2000Lossless: {"gdcmconv", "--raw"},
}

// TestTranscodeSecondOpinion has what was transcoded read, decoded and
// validated by dcmtk, gdcm and dicom3tools: of each kind of image one.
func TestTranscodeSecondOpinion(t *testing.T) {
	for _, tool := range []string{"dcmdump", "dcmdrle", "dcmdjpeg", "dcmdjpls", "gdcmconv", "dciodvfy"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("%s is not installed: run test/setup", tool)
		}
	}
	if testing.Short() {
		t.Skip("many processes")
	}
	seen := map[string]bool{}
	for _, f := range testdata.Files(t, "ok", "ok-derived") {
		if f.Size > 1<<20 {
			continue
		}
		a := retrievetest.New()
		r := newCodecs(t, a)
		in := one(t, r, a.Store(t, tenant, f.Bytes(t))[0])
		h, err := r.Header(t.Context(), in)
		if err != nil {
			t.Fatal(err)
		}
		kind := h.Format
		kind.Rows, kind.Columns = min(h.Frames, 2), 0
		key := fmt.Sprint(in.Syntax, kind)
		if n, err := h.Format.FrameBytes(); err != nil || seen[key] || n*int64(h.Frames) > 300<<10 {
			continue
		}
		seen[key] = true
		if _, err := r.Image(t.Context(), in, 1); err != nil {
			continue
		}
		t.Run(f.Name, func(t *testing.T) {
			t.Parallel()
			for _, to := range append(compressed(), containers...) {
				if to != in.Syntax && to != dicom.DeflatedImageFrame { // which they have not heard of
					secondOpinion(t, r, in, h, f.Path, to)
				}
			}
		})
	}
}

func secondOpinion(t *testing.T, r *retrieve.Reader, in *retrieve.Instance, h *retrieve.Header, source, to string) {
	t.Helper()
	b, err := r.File(in, to)
	var out bytes.Buffer
	if err == nil {
		err = b.Write(t.Context(), &out)
	}
	if fault.Is(err, fault.NotAcceptable) {
		return // TestTranscodeFiles knows whether it should be
	} else if err != nil {
		t.Error(err)
		return
	}
	made := filepath.Join(t.TempDir(), "made.dcm")
	if err := os.WriteFile(made, out.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	if text, err := exec.CommandContext(t.Context(), "dcmdump", "-q", made).CombinedOutput(); err != nil {
		t.Errorf("to %s: dcmdump: %v %.300s", to, err, text)
	}
	switch to {
	case dicom.DeflatedExplicitVRLittleEndian, dicom.EncapsulatedUncompressed, dicom.HTJ2KLossless, dicom.HTJ2KLosslessRPCL:
		// dciodvfy does not read them.
	default:
		was, is := complaints(t, source), complaints(t, made)
		if dicom.Uncompressed(in.Syntax) && dicom.Uncompressed(to) || slices.Contains(was, "Error - Dicom dataset read failed") || slices.Contains(append(was, is...), "Assertion") {
			break // only the container changes, or there is nothing to compare with
		}
		for _, line := range is {
			if !slices.Contains(was, line) {
				t.Errorf("%s to %s: dciodvfy: %s", in.Syntax, to, line)
			}
		}
	}
	tool := decoders[to]
	if tool == nil || tool[0] == "gdcmconv" && in.SOPClass == "1.2.840.10008.5.1.4.1.1.66.7" || // Label Map Segmentation, newer than gdcm
		h.Format.BitsAllocated == 1 && to == dicom.RLELossless { // which dcmtk does not decode yet (CP-2301)
		return
	}
	decoded := made + ".decoded"
	if text, err := exec.CommandContext(t.Context(), tool[0], append(tool[1:], made, decoded)...).CombinedOutput(); err != nil {
		t.Errorf("%s to %s: %s: %v %.300s", in.Syntax, to, tool[0], err, text)
		return
	}
	raw, err := os.ReadFile(decoded)
	if err != nil {
		t.Fatal(err)
	}
	a := retrievetest.New()
	r2 := newReader(t, a)
	other := one(t, r2, a.Store(t, tenant, raw)[0])
	for _, n := range slices.Compact([]int{1, h.Frames}) {
		want := shown(t, r, in, n)
		got := shown(t, r2, other, n)
		if to == dicom.JPEGBaseline8Bit {
			want.Photometric = got.Photometric // which colours is a decoder's choice
		}
		if err := samePixels(got, want, to == dicom.JPEGBaseline8Bit); err != nil {
			t.Errorf("%s to %s, frame %d by %s: %v", in.Syntax, to, n, tool[0], err)
		}
	}
}

// complaints are the errors that dicom3tools finds in a file.
func complaints(t *testing.T, path string) (list []string) {
	t.Helper()
	out, _ := exec.CommandContext(t.Context(), "dciodvfy", path).CombinedOutput() // fails where there are errors
	for line := range strings.Lines(string(out)) {
		switch {
		case strings.HasPrefix(line, "Error"):
			list = append(list, strings.TrimSpace(line))
		case strings.Contains(line, "Assertion"): // it gave up
			list = append(list, "Assertion")
		}
	}
	return list
}
