package conformance

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf16"

	"github.com/strata-pacs/strata/dicomweb"
	"github.com/strata-pacs/strata/internal/ingest"
)

// seeds are patient data that must be nowhere in the clear: names, ids, UIDs,
// descriptions, private values, pixels.
var seeds = []string{"Zsigmondy", "Xylander", "山田花子", "QQ-PATIENT-4711", "ACC-ZZ-0815", "Thorax-Seltenheit", "KRANKENHAUS-WEITWEG", "20240917", "privates Geheimnis",
	"BILDPUNKTE-SICHTBAR", "2.999.471108.15", "2.999.471108.16", "2.999.471108.17.1", "2.999.471108.77", "VERWEIGERT-9", "AUS-DER-DATEI"}

// forms are the ways in which a seed may be written.
func forms(seed string) map[string][]byte {
	f := map[string][]byte{"as it is": []byte(seed), "in hexadecimal": []byte(hex.EncodeToString([]byte(seed))), "percent-encoded": []byte(url.QueryEscape(seed)),
		"folded": []byte(strings.ToLower(seed)), "in capitals": []byte(strings.ToUpper(seed))}
	little := make([]byte, 0, 2*len(seed))
	for _, u := range utf16.Encode([]rune(seed)) {
		little = append(little, byte(u), byte(u>>8))
	}
	f["in UTF-16"] = little
	for shift := range 3 { // what base64 makes of it depends on where it begins
		s := base64.RawStdEncoding.EncodeToString(append(make([]byte, shift), seed...))
		from := (shift*8 + 5) / 6
		f[fmt.Sprintf("in base64/%d", shift)] = []byte(s[from : len(s)-len(s)%4-1])
	}
	return f
}

// TestNothingLeaks does everything a client can do with seeded patient data, and
// looks for it in every file of the data folder and in the logs: while the
// server runs, and after it has ended.
func TestNothingLeaks(t *testing.T) {
	t.Parallel()
	tmp := t.TempDir()
	w := open(t, func(o *dicomweb.Options) { o.TempDir, o.Limits.BulkMemory = tmp, 16 })
	use(t, w)
	if found := search(t, w.data, tmp); found < 5 {
		t.Errorf("only %d files in the data folder", found)
	}
	if _, err := os.Stat(filepath.Join(w.data, "index.db-wal")); err != nil {
		t.Error("the write-ahead log is not there to be looked at")
	}
	w.end()
	search(t, w.data, tmp)
	look(t, "the log", w.log.Bytes())
	if len(w.log.Bytes()) == 0 {
		t.Error("nothing was logged")
	}
}

func leaky(instance string, more ...el) []byte {
	return image("2.999.471108.15", "2.999.471108.16", instance, append([]el{
		{0x00080020, "DA", "20240917"}, {0x00080050, "SH", "ACC-ZZ-0815"}, {0x00080080, "LO", "KRANKENHAUS-WEITWEG"}, {0x00081030, "LO", "Thorax-Seltenheit"},
		{0x00080090, "PN", "Xylander^Ruth"}, {0x00100010, "PN", "Zsigmondy^Emil=山田花子"}, {0x00100020, "LO", "QQ-PATIENT-4711"},
		{0x00090010, "LO", "STRATA TESTS"}, {0x00091001, "LO", "privates Geheimnis"}, {0x7FE00010, "OW", strings.Repeat("BILDPUNKTE-SICHTBAR ", 8)}}, more...)...)
}

func use(t *testing.T, w *world) {
	const study, path = "2.999.471108.15", "/studies/2.999.471108.15/series/2.999.471108.16/instances/2.999.471108.17.1"
	w.post(t, leaky("2.999.471108.17.1"), leaky("2.999.471108.17.2", el{0x00100010, "PN", "Zsigmondy^Otto"}), leaky("2.999.471108.17.3", el{0x00080018, "UI", ""})).is(202)
	w.post(t, leaky("2.999.471108.17.1", el{0x00080050, "SH", "VERWEIGERT-9"})).is(200, 202) // other contents, the same UIDs
	w.post(t, bytes.Repeat(leaky("2.999.471108.17.4"), 3)[:900]).is(400, 409, 200, 202)
	for _, q := range []string{"PatientName=Zsigmondy*", "PatientID=QQ-PATIENT-4711", "StudyDate=20240917", "PatientName=" + url.QueryEscape("*花子*"),
		"StudyInstanceUID=" + study, "00091001=privates+Geheimnis", "StudyDate=Zsigmondy", "includefield=00091001", "AccessionNumber=ACC-ZZ*&fuzzymatching=true"} {
		w.get(t, "/studies?"+q, typeJSON).is(200, 400)
		w.get(t, "/instances?"+q, typeJSON).is(200, 400)
	}
	for _, p := range []string{path, path + "/metadata", path + "/frames/1", path + "/frames/9", path + "/bulkdata/7FE00010", "/studies/" + study, "/studies/" + study + "/metadata",
		path + "/rendered", path + "/thumbnail", "/studies/" + study + "/thumbnail", "/studies/2.999.471108.77/thumbnail",
		"/studies/2.999.471108.77", "/studies/Zsigmondy", path + "/QQ-PATIENT-4711", "/changes"} {
		for _, accept := range []string{"*/*; transfer-syntax=*", partsStored, typeJSON, "image/gif"} {
			w.get(t, p, accept)
		}
	}
	// Metadata and bulk data, which is spooled.
	json := `{"00080016":{"vr":"UI","Value":["` + secondaryCapture + `"]},"00080018":{"vr":"UI","Value":["2.999.471108.17.1.5"]},"0020000D":{"vr":"UI","Value":["` + study + `"]},` +
		`"0020000E":{"vr":"UI","Value":["2.999.471108.16"]},"00100010":{"vr":"PN","Value":[{"Alphabetic":"Zsigmondy^Emil"}]},"00091001":{"vr":"OB","BulkDataURI":"x"}}`
	body := "--b\r\nContent-Type: application/dicom+json\r\n\r\n" + json + "\r\n--b\r\nContent-Location: x\r\n\r\n" + strings.Repeat("BILDPUNKTE-SICHTBAR ", 9000) + "\r\n--b--\r\n"
	w.do(t, "POST", "/studies", []byte(body), "Content-Type", `multipart/related; type="application/dicom+json"; boundary=b`).is(200, 202)
	w.do(t, "POST", "/studies", []byte(body[:9000]), "Content-Type", `multipart/related; type="application/dicom+json"; boundary=b`)
	// As the command for importing stores, and large enough for a pack of its own.
	r := w.node.Store.Begin(ingest.RequestOptions{})
	for n := range 2 {
		f := leaky(fmt.Sprintf("2.999.471108.17.1.%d", n+10), el{0x00104000, "LT", "AUS-DER-DATEI"}, el{0x7FE00010, "OW", strings.Repeat("BILDPUNKTE-SICHTBAR ", 450_000)})
		r.Add(t.Context(), bytes.NewReader(f))
	}
	for _, res := range r.Commit(t.Context()) {
		if res.Outcome != ingest.Stored {
			t.Errorf("import: %s", res.Detail)
		}
	}
	w.do(t, "DELETE", path, nil).is(204)
	w.do(t, "DELETE", "/studies/2.999.471108.77", nil).problem(404)
	if err := w.node.Reconcile.Checkpoint(t.Context()); err != nil {
		t.Error(err)
	}
}

// search looks into every file below the folders, names included, and returns
// how many there are.
func search(t *testing.T, folders ...string) (files int) {
	t.Helper()
	for _, folder := range folders {
		err := filepath.WalkDir(folder, func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			files++
			rel, _ := filepath.Rel(folder, path)
			look(t, "the name of a file", []byte(rel))
			b, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			look(t, rel, b)
			return nil
		})
		if err != nil {
			t.Error(err)
		}
	}
	return files
}

func look(t *testing.T, where string, b []byte) {
	t.Helper()
	for _, seed := range seeds {
		for how, form := range forms(seed) {
			if i := bytes.Index(b, form); i >= 0 {
				t.Errorf("%s holds %q %s: …%.120q", where, seed, how, b[max(0, i-40):])
			}
		}
	}
}

// TestForms holds that what is looked for would be found.
func TestForms(t *testing.T) {
	t.Parallel()
	for _, seed := range seeds {
		f := forms(seed)
		for n := range 6 {
			text := append(make([]byte, n), seed+" and more"...)
			found := false
			for shift := range 3 {
				found = found || bytes.Contains([]byte(base64.StdEncoding.EncodeToString(text)), f[fmt.Sprintf("in base64/%d", shift)])
			}
			if !found {
				t.Errorf("%q behind %d bytes is not found in base64", seed, n)
			}
		}
	}
}
