package media

import (
	"archive/zip"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"math/big"
	"os"
	"path/filepath"
	"sort"
	"strings"

	"github.com/strata-pacs/strata/internal/dicom"
	"github.com/strata-pacs/strata/internal/fault"
)

// FileSet writes instances as a file-set with a DICOMDIR, into a new folder or
// a ZIP archive. It ends with Close or Abort.
type FileSet struct {
	create func(name string) (io.WriteCloser, error)
	close  func() error
	abort  func()

	patients map[string]*record
	studies  map[string]*record
	series   map[string]*record
	root     []*record
	files    int
}

// CreateFolder starts a file-set in a folder that must not exist, or be empty.
func CreateFolder(dir string) (*FileSet, error) {
	if entries, err := os.ReadDir(dir); err == nil && len(entries) > 0 {
		return nil, fault.New(fault.Exists, "the folder %s is not empty; name a new one", dir)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fault.Wrap(fault.Invalid, err, "cannot make the folder %s", dir)
	}
	fs := newFileSet()
	fs.create = func(name string) (io.WriteCloser, error) {
		p := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(p), 0o700); err != nil {
			return nil, err
		}
		return os.OpenFile(p, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	}
	fs.close = func() error { return nil }
	fs.abort = func() { os.RemoveAll(filepath.Join(dir, "DICOM")) }
	return fs, nil
}

// CreateZIP starts a file-set in a new ZIP archive.
func CreateZIP(path string) (*FileSet, error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, fault.Wrap(fault.Exists, err, "cannot make the file %s; name a new one", path)
	}
	z := zip.NewWriter(f)
	fs := newFileSet()
	fs.create = func(name string) (io.WriteCloser, error) {
		w, err := z.Create(name)
		return nopCloser{w}, err
	}
	fs.close = func() error { return errors.Join(z.Close(), f.Sync(), f.Close()) }
	fs.abort = func() { f.Close(); os.Remove(path) }
	return fs, nil
}

func newFileSet() *FileSet {
	return &FileSet{patients: map[string]*record{}, studies: map[string]*record{}, series: map[string]*record{}}
}

type nopCloser struct{ io.Writer }

func (nopCloser) Close() error { return nil }

// Add copies one Part 10 file into the set.
func (fs *FileSet) Add(ctx context.Context, r io.Reader) error {
	// Eight characters of A to Z, 0 to 9 and _ a component (PS3.10 §8.2).
	id := []string{"DICOM", fmt.Sprintf("D%07d", fs.files/1000), fmt.Sprintf("I%07d", fs.files)}
	w, err := fs.create(strings.Join(id, "/"))
	if err != nil {
		return fmt.Errorf("creating a file of the set: %w", err)
	}
	f, err := dicom.Read(ctx, io.TeeReader(r, w), dicom.Limits{})
	if cerr := w.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return fmt.Errorf("writing an instance: %w", err)
	}
	fs.files++
	fs.enter(f, id)
	return nil
}

// enter files the instance's record below its series, study and patient.
func (fs *FileSet) enter(f *dicom.File, id []string) {
	d := f.Data
	patientID, _ := d.Text(0x00100020)
	name, _ := d.Text(0x00100010)
	study, _ := d.Text(0x0020000D)
	series, _ := d.Text(0x0020000E)

	p := child(fs.patients, patientID+"\x00"+name, &fs.root, func() *record {
		return &record{kind: "PATIENT", keys: keys(d, 0x00100010, 0x00100020)}
	})
	st := child(fs.studies, study, &p.lower, func() *record {
		return &record{kind: "STUDY", keys: keys(d, 0x00080020, 0x00080030, 0x00080050, 0x00081030, 0x0020000D, 0x00200010)}
	})
	se := child(fs.series, series, &st.lower, func() *record {
		return &record{kind: "SERIES", keys: keys(d, 0x00080060, 0x0020000E, 0x00200011)}
	})
	class, _ := d.Text(0x00080016)
	instance, _ := d.Text(0x00080018)
	in := &record{kind: recordType(class), keys: []field{
		{tagReferencedFileID, dicom.CS, strings.Join(id, `\`)},
		{0x00041510, dicom.UI, class}, {0x00041511, dicom.UI, instance}, {0x00041512, dicom.UI, f.Syntax}}}
	in.keys = append(in.keys, keys(d, 0x00200013)...)
	se.lower = append(se.lower, in)
}

func child(all map[string]*record, key string, level *[]*record, make func() *record) *record {
	r := all[key]
	if r == nil {
		r = make()
		all[key] = r
		*level = append(*level, r)
	}
	return r
}

// keys copies elements as text in UTF-8, and says so. Missing ones are empty.
func keys(d *dicom.Dataset, tags ...dicom.Tag) []field {
	fields := []field{{0x00080005, dicom.CS, "ISO_IR 192"}}
	for _, t := range tags {
		text, _ := d.Text(t)
		fields = append(fields, field{t, dicom.VROf(t), text})
	}
	sort.SliceStable(fields, func(i, j int) bool { return fields[i].tag < fields[j].tag })
	return fields
}

// recordType names the Directory Record Type of a SOP Class (PS3.3 Table F.4-1).
func recordType(class string) string {
	const storage = "1.2.840.10008.5.1.4.1.1."
	rest, ok := strings.CutPrefix(class, storage)
	if !ok {
		return "IMAGE"
	}
	for _, t := range []struct{ prefix, kind string }{
		{"88.59", "KEY OBJECT DOC"}, {"88.", "SR DOCUMENT"}, {"11.", "PRESENTATION"}, {"9.", "WAVEFORM"},
		{"104.", "ENCAP DOC"}, {"481.2", "RT DOSE"}, {"481.3", "RT STRUCTURE SET"}, {"481.5", "RT PLAN"},
		{"481.8", "RT PLAN"}, {"481.4", "RT TREAT RECORD"}, {"66.1", "REGISTRATION"}, {"66.2", "FIDUCIAL"},
		{"66.3", "REGISTRATION"}, {"66.4", "IMAGE"}, {"66.5", "SURFACE"}, {"66", "RAW DATA"}, {"4.2", "SPECTROSCOPY"},
		{"67", "VALUE MAP"},
	} {
		if rest == t.prefix || strings.HasPrefix(rest, strings.TrimSuffix(t.prefix, ".")+".") {
			return t.kind
		}
	}
	return "IMAGE"
}

// Close writes the DICOMDIR and finishes the set.
func (fs *FileSet) Close() error {
	uid, err := newUID()
	if err != nil {
		return err
	}
	dir, err := directory("STRATA", uid, fs.root)
	if err != nil {
		return err
	}
	w, err := fs.create(dirName)
	if err != nil {
		return fmt.Errorf("creating the DICOMDIR: %w", err)
	}
	if _, err = w.Write(dir); err != nil {
		w.Close()
		return fmt.Errorf("writing the DICOMDIR: %w", err)
	}
	return errors.Join(w.Close(), fs.close())
}

// Abort removes what was written.
func (fs *FileSet) Abort() { fs.abort() }

// newUID returns a UID made of a random number (PS3.5 §B.2).
func newUID() (string, error) {
	n, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 128))
	if err != nil {
		return "", err
	}
	return "2.25." + n.String(), nil
}
