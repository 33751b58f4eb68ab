package ledger

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io"

	"github.com/zeebo/blake3"

	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/internal/pack"
)

// Check reads a whole log object and checks, without any key, that its bytes
// are those that were written: what a region that holds only ciphertext can do.
// It finds damage, not forgery: only Read, with the key, finds that. Errors are
// fault.Corrupt and those of the store.
func Check(ctx context.Context, b Opener, key string) error {
	attrs, err := b.Stat(ctx, key)
	if err != nil {
		return fmt.Errorf("checking the log: %w", err)
	}
	x := object{b: b, key: key, size: attrs.Size}
	if err := x.read(ctx, max(0, x.size-trailerSize), make([]byte, trailerSize)); err != nil {
		return fmt.Errorf("checking the log: %w", err)
	}
	t, err := parseTrailer(x.tail, x.size)
	if err != nil {
		return fmt.Errorf("checking the log: %w", err)
	}
	r, err := b.Open(ctx, key, 0, x.size)
	if err != nil {
		return fmt.Errorf("checking the log: %w", err)
	}
	defer r.Close()
	if err := t.check(r, x.size); err != nil {
		return fmt.Errorf("checking the log: %w", err)
	}
	return nil
}

// check compares a whole object with its trailer.
func (t *trailer) check(r io.Reader, size int64) error {
	head := make([]byte, pack.HeaderSize)
	if _, err := io.ReadFull(r, head); err != nil {
		return ended(err)
	}
	if string(head) != magic {
		return corrupt(ErrVersion)
	}
	buf := make([]byte, 256<<10)
	c := crcWriter(crc32.Update(0, castagnoli, head))
	if _, err := io.CopyBuffer(&c, io.LimitReader(r, t.fact-pack.HeaderSize), buf); err != nil {
		return ended(err)
	}
	h := blake3.New()
	n, err := io.CopyBuffer(struct{ io.Writer }{h}, io.LimitReader(r, size-t.fact-trailerSize+16), buf)
	switch {
	case err != nil:
		return ended(err)
	case n < size-t.fact-trailerSize+16:
		return corrupt(ErrLength)
	case uint32(c) != t.crc || [32]byte(h.Sum(nil)) != t.digest:
		return corrupt(ErrDigest)
	}
	return nil
}

// ended classifies the end of an object that came too early.
func ended(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || fault.Is(err, fault.RangeInvalid) {
		return corrupt(ErrLength)
	}
	return err
}
