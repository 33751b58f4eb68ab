package conformance

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"reflect"
	"strconv"
	"strings"
	"testing"

	"github.com/strata-pacs/strata/internal/dicom"
	"github.com/strata-pacs/strata/internal/dicom/dicomjson"
	"github.com/strata-pacs/strata/internal/testdata"
)

// TestRealFiles stores every valid file of the test set and reads it back in
// every way. Several files share their UIDs: the earlier one is deleted before.
func TestRealFiles(t *testing.T) {
	t.Parallel()
	files := testdata.Files(t, "ok", "ok-derived")
	w := open(t)
	const lanes = 4 // side by side, files of the same UIDs in the same one
	var lane [lanes][]testdata.File
	for _, f := range files {
		n := crc32.ChecksumIEEE([]byte(f.Field("sop_uid"))) % lanes
		lane[n] = append(lane[n], f)
	}
	for n := range lane {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			t.Parallel()
			here := map[string]bool{}
			for i := range lane[n] {
				f := &lane[n][i]
				t.Run(f.Name, func(t *testing.T) {
					storeAndRead(t, w, f, here[f.Field("sop_uid")], i%2 == 0)
				})
				here[f.Field("sop_uid")] = true
			}
		})
	}
}

func storeAndRead(t *testing.T, w *world, f *testdata.File, again, multipart bool) {
	r := &realFile{t: t, w: w, f: f, raw: f.Bytes(t)}
	r.path = fmt.Sprintf("/studies/%s/series/%s/instances/%s", f.Field("study_uid"), f.Field("series_uid"), f.Field("sop_uid"))
	if again {
		w.do(t, "DELETE", r.path, nil).is(204)
		w.get(t, r.path, partsStored).problem(404)
	}
	if multipart {
		w.post(t, r.raw).is(200, 202)
	} else {
		w.do(t, "POST", "/studies", r.raw, "Content-Type", typeDICOM).is(200, 202)
	}
	r.asStored()
	r.metadata()
	r.frames()
	r.converted()
	r.rendered()
	w.do(t, "GET", w.root+"/healthz", nil).is(200)
}

// realFile is a file of the test set that is stored at path.
type realFile struct {
	t    *testing.T
	w    *world
	f    *testdata.File
	raw  []byte
	path string
	file *dicom.File
}

func (r *realFile) asStored() {
	t := r.t
	if one := r.w.get(t, r.path, `application/dicom; transfer-syntax=*`).is(200); !bytes.Equal(one.Body, r.raw) || mediaType(one.Header) != typeDICOM {
		t.Errorf("as a single part: %d bytes of %s, %d were stored", len(one.Body), mediaType(one.Header), len(r.raw))
	}
	parts := r.w.get(t, r.path, partsStored).is(200).parts()
	if len(parts) != 1 || !bytes.Equal(parts[0].Body, r.raw) {
		t.Fatalf("as %d parts: not what was stored", len(parts))
	}
	var err error
	if r.file, err = dicom.Read(t.Context(), bytes.NewReader(r.raw), dicom.Limits{}); err != nil {
		t.Fatal(err)
	}
	if got := parts[0].syntax(); got != r.file.Syntax {
		t.Errorf("the part says transfer syntax %q, the file %q", got, r.file.Syntax)
	}
}

// metadata checks that the metadata is what package dicomjson, which is
// compared with DCMTK, makes of the file, and that its URIs lead to values.
func (r *realFile) metadata() {
	t := r.t
	got := r.w.get(t, r.path+"/metadata", typeJSON).is(200)
	bare := bytes.ReplaceAll(got.Body, []byte(r.w.url+r.path+"/bulkdata/"), []byte("bulkdata/"))
	var have, want []map[string]any
	if err := json.Unmarshal(bare, &have); err != nil {
		t.Fatal(err)
	}
	text := append(dicomjson.Append([]byte("["), r.file.Data), ']')
	if err := json.Unmarshal(text, &want); err != nil {
		t.Fatal(err)
	}
	if len(have) != 1 {
		t.Fatalf("metadata of %d instances", len(have))
	}
	for tag := range want[0] {
		if !reflect.DeepEqual(have[0][tag], want[0][tag]) {
			t.Errorf("%s: %.300v, want %.300v", tag, have[0][tag], want[0][tag])
		}
	}
	if len(have[0]) != len(want[0]) {
		t.Errorf("%d attributes, want %d", len(have[0]), len(want[0]))
	}
	count := 0
	got.datasets()[0].bulk(t, "", func(path, uri string) {
		if count++; count <= 40 {
			r.bulkValue(path, uri)
		}
	})
}

func (r *realFile) bulkValue(path, uri string) {
	t := r.t
	if !strings.HasPrefix(uri, r.w.url+"/studies/") {
		t.Errorf("%s: BulkDataURI %s", path, uri)
		return
	}
	a := r.w.get(t, uri, "*/*; transfer-syntax=*")
	if a.Status != 200 {
		t.Errorf("%s: %d %.300s", path, a.Status, a.Body)
		return
	}
	e := elementAt(r.file.Data, path)
	if e == nil {
		t.Errorf("%s: there is no such element", path)
		return
	}
	if strings.HasPrefix(mediaType(a.Header), "multipart/") {
		if len(e.Fragments) == 0 {
			t.Errorf("%s: several parts of a value that is not encapsulated", path)
		}
		return
	}
	want := e.Length
	if len(e.Fragments) > 0 {
		if want = 0; len(a.Body) == 0 {
			t.Errorf("%s: nothing", path)
		}
		return
	}
	if int64(len(a.Body)) != want && int64(len(a.Body)) != want+want%2 {
		t.Errorf("%s: %d bytes, the element has %d", path, len(a.Body), want)
	}
}

// elementAt finds the element of a bulk data path such as 52009229/0/00289110.
func elementAt(d *dicom.Dataset, path string) *dicom.Element {
	steps := strings.Split(path, "/")
	for {
		tag, _ := dicom.ParseTag(steps[0])
		e := d.Lookup(tag)
		if e == nil || len(steps) == 1 {
			return e
		}
		n, err := strconv.Atoi(steps[1])
		if err != nil || n >= len(e.Items) {
			return nil
		}
		d, steps = e.Items[n], steps[2:]
	}
}

func (r *realFile) frames() {
	t := r.t
	px := r.file.Data.Lookup(0x7FE00010)
	if px != nil && px.Length == 0 {
		r.w.get(t, r.path+"/frames/1", framesStored).problem(404)
		return
	}
	if px == nil {
		for _, tag := range []dicom.Tag{0x7FE00008, 0x7FE00009} {
			if r.file.Data.Lookup(tag) != nil {
				r.w.get(t, r.path+"/frames/1", framesStored).is(200)
				return
			}
		}
		r.w.get(t, r.path+"/frames/1", framesStored).problem(404)
		return
	}
	count := 1
	if n, ok := r.f.Int("frames"); ok && n > 0 {
		count = n
	}
	var list []string
	for n := range min(count, 200) {
		list = append(list, strconv.Itoa(n+1))
	}
	r.w.get(t, fmt.Sprintf("%s/frames/%d", r.path, count+1), framesStored).problem(404)
	all := r.w.get(t, r.path+"/frames/"+strings.Join(list, ","), framesStored).is(200).parts()
	if len(all) != len(list) {
		t.Fatalf("%d frames for %d asked for", len(all), len(list))
	}
	last := r.w.get(t, r.path+"/frames/"+list[len(list)-1], framesStored).is(200).parts()
	if len(last) != 1 || !bytes.Equal(last[0].Body, all[len(all)-1].Body) {
		t.Error("the last frame alone is not the last of the list")
	}
	if len(px.Fragments) > 0 {
		r.encapsulated(px, all, count)
	} else {
		r.native(all)
	}
}

// encapsulated checks that the frames together are the fragments of the file.
func (r *realFile) encapsulated(px *dicom.Element, all []part, count int) {
	t := r.t
	var want, got []byte
	for _, s := range px.Fragments[1:] {
		want = append(want, r.raw[s.Offset:s.Offset+s.Length]...)
	}
	for i := range all {
		got = append(got, all[i].Body...)
		if len(all[i].Body) == 0 || all[i].syntax() != r.file.Syntax {
			t.Errorf("frame %d: %d bytes of %q", i+1, len(all[i].Body), all[i].syntax())
		}
	}
	if count <= len(all) && !bytes.Equal(got, want) {
		t.Errorf("the frames hold %d bytes, the fragments %d", len(got), len(want))
	}
}

// native checks frame 1 against the pixels that pydicom reads.
func (r *realFile) native(all []part) {
	t := r.t
	want := r.f.Field("frame1_sha256")
	if want == "" || r.f.Field("photometric") == "YBR_FULL_422" {
		return
	}
	body := all[0].Body
	if r.file.Syntax == dicom.ExplicitVRBigEndian { // as stored, its words are big endian
		body = r.w.get(t, r.path+"/frames/1", "application/octet-stream").is(200).Body
	}
	allocated, _ := r.f.Int("bits_allocated")
	stored, _ := r.f.Int("bits_stored")
	planar, _ := r.file.Data.Text(0x00280006)
	rows, _ := r.f.Int("rows")
	cols, _ := r.f.Int("cols")
	switch {
	case r.f.Field("samples") == "3" && planar == "1":
		body = interleave(body, allocated/8)
	case allocated == 1:
		body = unpack(body, rows*cols)
	}
	plain := sha256.Sum256(body)
	signed := plain
	if r.f.Field("pixel_representation") == "1" && allocated == 16 {
		signed = sha256.Sum256(extend(body, 16-stored))
	}
	if hex.EncodeToString(plain[:]) != want && hex.EncodeToString(signed[:]) != want {
		t.Errorf("frame 1 of %d bytes is not what pydicom reads (%s, %d bits)", len(body), r.f.Field("frame1_shape"), stored)
	}
}

// extend extends the sign of words whose highest bits are not stored.
func extend(words []byte, unused int) []byte {
	out := make([]byte, 0, len(words))
	for i := 0; i+1 < len(words); i += 2 {
		v := int16(binary.LittleEndian.Uint16(words[i:])) << unused >> unused
		out = binary.LittleEndian.AppendUint16(out, uint16(v))
	}
	return out
}

func interleave(planes []byte, width int) []byte {
	out, n := make([]byte, 0, len(planes)), len(planes)/3
	for i := 0; i < n; i += width {
		for p := range 3 {
			out = append(out, planes[p*n+i:p*n+i+width]...)
		}
	}
	return out
}

func unpack(bits []byte, n int) []byte {
	out := make([]byte, n)
	for i := range out {
		if i/8 < len(bits) {
			out[i] = bits[i/8] >> (i % 8) & 1
		}
	}
	return out
}

// converted asks without a transfer-syntax parameter, which means Explicit VR
// Little Endian (PS3.18 §8.7.3.5.2).
func (r *realFile) converted() {
	t := r.t
	if !dicom.Uncompressed(r.file.Syntax) {
		r.decoded()
		return
	}
	parts := r.w.get(t, r.path, `multipart/related; type="application/dicom"`).is(200).parts()
	if len(parts) != 1 || parts[0].syntax() != dicom.ExplicitVRLittleEndian {
		t.Fatalf("%d parts, of %s", len(parts), parts[0].syntax())
	}
	again, err := dicom.Read(t.Context(), bytes.NewReader(parts[0].Body), dicom.Limits{})
	if err != nil {
		t.Fatalf("what was converted cannot be read: %v", err)
	}
	if again.Syntax != dicom.ExplicitVRLittleEndian {
		t.Errorf("converted to %s", again.Syntax)
	}
	var have, want map[string]any
	if json.Unmarshal(dicomjson.Append(nil, again.Data), &have) != nil || json.Unmarshal(dicomjson.Append(nil, r.file.Data), &want) != nil {
		t.Fatal("not JSON")
	}
	for tag := range want {
		if !reflect.DeepEqual(have[tag], want[tag]) {
			t.Errorf("%s is %.200v, was %.200v", tag, have[tag], want[tag])
		}
	}
	if px := again.Data.Lookup(0x7FE00010); px != nil && px.Length > 0 {
		pixels := parts[0].Body[px.Offset : px.Offset+px.Length]
		frame := r.w.get(t, r.path+"/frames/1", "application/octet-stream").is(200).Body
		if len(frame) > 0 && !bytes.HasPrefix(pixels, frame[:len(frame)-1]) {
			t.Error("the frame is not the beginning of the converted pixel data")
		}
	}
}
