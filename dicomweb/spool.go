package dicomweb

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"io"
	"os"
	"syscall"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/internal/seal"
)

// spool keeps the bulk data of one request until its instances are put
// together: in memory up to a limit, the rest sealed under a key that is never
// written down, in a temporary file that has no name any more.
type spool struct {
	dir    string
	tenant archive.Tenant
	left   int64 // of memory
	file   *os.File
	end    int64 // bytes in the file
	secret archive.Secret
}

// spooled is one value in a spool.
type spooled struct {
	s      *spool
	size   int64
	held   []byte // in memory; nil when in the file
	off    int64
	sealed int64
	blob   archive.BlobID
}

// put reads a value to its end.
func (s *spool) put(r io.Reader) (*spooled, error) {
	var head bytes.Buffer
	n, err := io.Copy(&head, io.LimitReader(r, s.left+1))
	if err != nil {
		return nil, err
	}
	if n <= s.left {
		s.left -= n
		return &spooled{s: s, size: n, held: append([]byte{}, head.Bytes()...)}, nil
	}
	if err := s.open(); err != nil {
		return nil, err
	}
	out := &spoolWriter{s: s, at: s.end}
	w, err := seal.NewWriter(out, s.secret, s.binding(), seal.Options{})
	if err != nil {
		return nil, err
	}
	_, err = io.Copy(w, io.MultiReader(&head, r))
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		return nil, err
	}
	v := &spooled{s: s, size: w.Plain(), off: s.end, sealed: w.Sealed(), blob: w.Blob()}
	s.end = out.at
	return v, nil
}

func (s *spool) binding() seal.Binding { return seal.Binding{Tenant: s.tenant, Kind: "spool"} }

func (s *spool) open() error {
	if s.file != nil {
		return nil
	}
	f, err := os.CreateTemp(s.dir, "bulk-")
	if err != nil {
		return spoolError(err)
	}
	if err := os.Remove(f.Name()); err != nil {
		_ = f.Close()
		return spoolError(err)
	}
	_, _ = rand.Read(s.secret[:]) // never fails
	s.file = f
	return nil
}

// close forgets everything.
func (s *spool) close() {
	if s.file != nil {
		_ = s.file.Close()
		s.file = nil
	}
	s.secret.Wipe()
}

func spoolError(err error) error {
	kind := fault.Unavailable
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		kind = fault.Full
	}
	return fault.Wrap(kind, err, "bulk data could not be kept in the temporary folder; free some room there and send it again")
}

type spoolWriter struct {
	s  *spool
	at int64
}

func (w *spoolWriter) Write(p []byte) (int, error) {
	n, err := w.s.file.WriteAt(p, w.at)
	w.at += int64(n)
	if err != nil {
		return n, spoolError(err)
	}
	return n, nil
}

// reader reads the value from its beginning. Several readers may be open at once.
func (v *spooled) reader(ctx context.Context) (io.ReadCloser, error) {
	if v.held != nil {
		return io.NopCloser(bytes.NewReader(v.held)), nil
	}
	r := seal.NewReader(v, v.s.secret, v.s.binding(), seal.ReadOptions{Blob: v.blob, Plain: v.size, Sealed: v.sealed})
	return r.Stream(ctx, 0, v.size)
}

// ReadRange implements seal.Source.
func (v *spooled) ReadRange(_ context.Context, off, n int64) (io.ReadCloser, error) {
	return io.NopCloser(io.NewSectionReader(v.s.file, v.off+off, n)), nil
}
