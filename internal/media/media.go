// Package media reads and writes DICOM media: single files, folders, ZIP
// archives and file-sets with a DICOMDIR (PS3.10 §8, PS3.3 Annex F).
package media

import (
	"archive/zip"
	"context"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
	"strings"

	"github.com/strata-pacs/strata/internal/dicom"
	"github.com/strata-pacs/strata/internal/fault"
)

// dirName is the name of a file-set's directory (PS3.10 §8.6).
const dirName = "DICOMDIR"

// File is one candidate for an instance.
type File struct {
	Name string // for messages: the path, and behind an exclamation mark the name in a ZIP
	Size int64  // bytes; of a ZIP's entry when inflated, as the ZIP claims
	// Stamp changes when the file does; with Name it identifies its contents.
	Stamp int64
	Open  func() (io.ReadCloser, error)
}

// Walk calls visit with every file of the paths, in a stable order: the path
// itself, the files of a folder and all below, the entries of a ZIP, the files
// that a DICOMDIR names. A path that cannot be read is visited with its error,
// and the walk goes on; visit's error ends it.
func Walk(ctx context.Context, paths []string, visit func(File, error) error) error {
	for _, p := range paths {
		info, err := os.Stat(p)
		switch {
		case err != nil:
			err = visit(File{Name: p}, fault.Wrap(fault.NotFound, err, "cannot be read"))
		case info.IsDir():
			err = walkFolder(ctx, p, visit)
		default:
			err = walkFile(ctx, p, info, true, visit)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func walkFolder(ctx context.Context, dir string, visit func(File, error) error) error {
	return filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			if err := visit(File{Name: p}, fault.Wrap(fault.NotFound, err, "cannot be read")); err != nil {
				return err
			}
			if d != nil && d.IsDir() {
				return fs.SkipDir
			}
			return nil
		}
		hidden := strings.HasPrefix(d.Name(), ".") && p != dir
		switch {
		case d.IsDir() && hidden:
			return fs.SkipDir
		case d.IsDir(), hidden, strings.EqualFold(d.Name(), dirName):
			return nil // what a DICOMDIR names lies in the folder anyway
		}
		info, err := os.Stat(p) // follows links
		if err != nil || !info.Mode().IsRegular() {
			return nil
		}
		return walkFile(ctx, p, info, false, visit)
	})
}

// walkFile visits a file. A DICOMDIR stands for its file-set only when it was
// named itself.
func walkFile(ctx context.Context, p string, info fs.FileInfo, named bool, visit func(File, error) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if named && strings.EqualFold(filepath.Base(p), dirName) {
		return walkFileSet(ctx, p, visit)
	}
	if isZIP(p) {
		return walkZIP(ctx, p, visit)
	}
	return visit(File{Name: p, Size: info.Size(), Stamp: info.ModTime().UnixNano(),
		Open: func() (io.ReadCloser, error) { return os.Open(p) }}, nil)
}

func isZIP(p string) bool {
	f, err := os.Open(p)
	if err != nil {
		return false
	}
	defer f.Close()
	var magic [4]byte
	_, err = io.ReadFull(f, magic[:])
	return err == nil && string(magic[:]) == "PK\x03\x04"
}

func walkZIP(ctx context.Context, p string, visit func(File, error) error) error {
	z, err := zip.OpenReader(p)
	if err != nil {
		return visit(File{Name: p}, fault.Wrap(fault.Invalid, err, "not a readable ZIP archive"))
	}
	defer z.Close()
	for _, e := range z.File {
		if err := ctx.Err(); err != nil {
			return err
		}
		base := e.Name[strings.LastIndexByte(e.Name, '/')+1:]
		if e.FileInfo().IsDir() || base == "" || strings.HasPrefix(base, ".") || strings.EqualFold(base, dirName) {
			continue
		}
		// The entry is opened through a reader of its own: visits outlive this walk.
		name := e.Name
		f := File{Name: p + "!" + name, Size: int64(e.UncompressedSize64), Stamp: int64(e.CRC32),
			Open: func() (io.ReadCloser, error) { return openEntry(p, name) }}
		if err := visit(f, nil); err != nil {
			return err
		}
	}
	return nil
}

// entry is an entry of a ZIP together with the archive it is read from.
type entry struct {
	io.ReadCloser
	z *zip.ReadCloser
}

func (e entry) Close() error {
	err := e.ReadCloser.Close()
	if zerr := e.z.Close(); err == nil {
		err = zerr
	}
	return err
}

func openEntry(p, name string) (io.ReadCloser, error) {
	z, err := zip.OpenReader(p)
	if err != nil {
		return nil, err
	}
	for _, e := range z.File {
		if e.Name == name {
			r, err := e.Open()
			if err != nil {
				z.Close()
				return nil, err
			}
			return entry{r, z}, nil
		}
	}
	z.Close()
	return nil, fs.ErrNotExist
}

const (
	tagDirectoryRecords dicom.Tag = 0x00041220
	tagReferencedFileID dicom.Tag = 0x00041500
)

// walkFileSet visits the files that a DICOMDIR names.
func walkFileSet(ctx context.Context, p string, visit func(File, error) error) error {
	f, err := os.Open(p)
	if err != nil {
		return visit(File{Name: p}, fault.Wrap(fault.NotFound, err, "cannot be read"))
	}
	defer f.Close()
	dir, err := dicom.Read(ctx, f, dicom.Limits{})
	if err != nil {
		return visit(File{Name: p}, err)
	}
	records := dir.Data.Lookup(tagDirectoryRecords)
	if records == nil {
		return visit(File{Name: p}, fault.New(fault.Invalid, "the DICOMDIR lists no files"))
	}
	var names []string
	for _, record := range records.Items {
		id, _ := record.Text(tagReferencedFileID)
		if id != "" {
			names = append(names, id)
		}
	}
	sort.Strings(names)
	for _, id := range names {
		name, info, err := resolve(filepath.Dir(p), strings.Split(id, `\`))
		if err != nil {
			err = visit(File{Name: name}, fault.Wrap(fault.NotFound, err, "named by the DICOMDIR and not there"))
		} else {
			err = walkFile(ctx, name, info, false, visit)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// resolve finds a File ID's file below dir. Media written on systems that do
// not tell case apart are met in either case.
func resolve(dir string, id []string) (string, fs.FileInfo, error) {
	for _, part := range id {
		if part == "" || part == "." || part == ".." || strings.ContainsAny(part, `/\`) {
			return dir, nil, fs.ErrInvalid
		}
	}
	var info fs.FileInfo
	var err error
	name := dir
	for _, part := range id {
		for _, try := range []string{part, strings.ToLower(part), strings.ToUpper(part)} {
			if info, err = os.Stat(filepath.Join(name, try)); err == nil {
				name = filepath.Join(name, try)
				break
			}
		}
		if err != nil {
			return filepath.Join(append([]string{dir}, id...)...), nil, err
		}
	}
	if info == nil || !info.Mode().IsRegular() {
		return name, nil, fs.ErrInvalid
	}
	return name, info, nil
}
