package dicomweb

import (
	"context"
	"errors"
	"io"
	"strings"

	"github.com/klauspost/compress/gzip"

	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/internal/ingest"
)

// intake reads the payload of one store request.
type intake struct {
	s       *Server
	req     StoreRequest
	message storeMessage
	body    *bodyReader
	meta    *metadataStore

	// results in the order of the parts; where index is not -1, those of Commit
	// take their place.
	results []ingest.Result
	index   []int
	added   int
}

// bodyReader remembers why the body could not be read.
type bodyReader struct {
	io.Reader
	err error
}

func (b *bodyReader) Read(p []byte) (int, error) {
	n, err := b.Reader.Read(p)
	if err != nil && err != io.EOF {
		b.err = err
	}
	return n, err
}

func (in *intake) close() {
	if in.meta != nil {
		in.meta.close()
	}
}

// read takes in all parts. An error means that nothing is to be stored: the
// client went away, or is past a limit. What is wrong with single parts becomes
// their result.
func (in *intake) read(ctx context.Context, body io.Reader) error {
	in.body = &bodyReader{Reader: body}
	var r io.Reader = in.body
	if in.message.gzip {
		z, err := gzip.NewReader(r)
		if err != nil {
			return in.broken(fault.Wrap(fault.Invalid, err, "the request is not in gzip, as its Content-Encoding says"))
		}
		defer z.Close()
		r = &boundedReader{r: z, left: in.s.o.Limits.RequestBytes, limit: in.s.o.Limits.RequestBytes}
	}
	switch {
	case in.message.parts:
		if err := in.readParts(ctx, r); err != nil {
			return err
		}
	case in.message.kind == typeDICOM:
		in.add(ctx, r)
	default:
		if err := in.metadata().text(ctx, r, in.message.kind); err != nil {
			return in.broken(err)
		}
	}
	if err := in.broken(nil); err != nil {
		return err
	}
	if in.meta != nil {
		return in.meta.store(ctx, in)
	}
	return nil
}

// broken returns why the body could not be read on, if that is so, else err.
func (in *intake) broken(err error) error {
	if in.body.err != nil {
		return in.body.err
	}
	return err
}

func (in *intake) readParts(ctx context.Context, r io.Reader) error {
	m, err := newMultipartReader(r, in.message.boundary, in.s.o.Limits.PartHeaders)
	if err != nil {
		return err
	}
	defer m.Close()
	for n := 0; ; n++ {
		p, err := m.Next()
		switch {
		case err == io.EOF:
			// What may follow the message is read, so that the connection can be used again.
			_, _ = io.CopyN(io.Discard, in.body.Reader, maxEpilogue)
			return nil
		case in.broken(nil) != nil:
			return in.broken(nil)
		case err != nil && (n == 0 || !fault.Is(err, fault.Invalid)):
			return err
		case errors.Is(err, errTruncated):
			// The part that was cut off has failed already, unless only the closing boundary is missing behind it.
			if len(in.results) == 0 || in.results[len(in.results)-1].Outcome != ingest.Refused {
				in.refuse(errTruncated)
			}
			return nil
		case err != nil:
			in.refuse(err)
			return nil
		case n >= in.s.o.Limits.Parts:
			return fault.New(fault.TooLarge, "the request has more than %d parts; send fewer at a time", in.s.o.Limits.Parts)
		}
		if err := in.part(ctx, p, n == 0); err != nil {
			return in.broken(err)
		}
	}
}

// maxEpilogue is how many bytes behind the closing boundary are read.
const maxEpilogue = 64 << 10

// part takes in one part of the message.
func (in *intake) part(ctx context.Context, p *messagePart, first bool) error {
	switch strings.ToLower(p.Encoding) {
	case "", "binary", "7bit", "8bit":
	default:
		in.refuse(fault.New(fault.UnsupportedMedia, "a part has a Content-Transfer-Encoding; send parts in binary, as they are"))
		return nil
	}
	kind, known := payloadKind(p.Type)
	if in.message.kind == "" {
		if in.message.kind = kind; !known {
			in.message.kind = typeDICOM
		}
	}
	if in.message.kind != typeDICOM {
		switch {
		case known && kind != typeDICOM:
			return in.metadata().text(ctx, p, kind)
		case p.Type == "" && first:
			return in.metadata().text(ctx, p, in.message.kind)
		}
		return in.metadata().bulk(p)
	}
	if media, _ := parseMediaType(p.Type); p.Type != "" && kind != typeDICOM && media != "application/octet-stream" {
		in.refuse(fault.New(fault.UnsupportedMedia, "a part's Content-Type is not that of the message; send each instance as %s", typeDICOM))
		return nil
	}
	in.add(ctx, p)
	return nil
}

// add hands one Part 10 file on.
func (in *intake) add(ctx context.Context, r io.Reader) {
	in.results = append(in.results, in.req.Add(ctx, r))
	in.index = append(in.index, in.added)
	in.added++
}

// refuse notes a part that is not handed on.
func (in *intake) refuse(err error) {
	in.results = append(in.results, ingest.Result{Outcome: ingest.Refused, Reason: ingest.ReasonNotUnderstood, Detail: fault.Message(err), Err: err})
	in.index = append(in.index, -1)
}

// finish puts the final results in their places.
func (in *intake) finish(final []ingest.Result) []ingest.Result {
	for i, k := range in.index {
		if k >= 0 && k < len(final) {
			in.results[i] = final[k]
		}
	}
	return in.results
}

func (in *intake) metadata() *metadataStore {
	if in.meta == nil {
		in.meta = newMetadataStore(in.s)
	}
	return in.meta
}

// boundedReader ends in fault.TooLarge past its limit: of what is unpacked.
type boundedReader struct {
	r           io.Reader
	left, limit int64
}

func (b *boundedReader) Read(p []byte) (int, error) {
	n, err := b.r.Read(p)
	if b.left -= int64(n); b.left < 0 {
		return n, tooLarge(b.limit)
	}
	if err != nil && err != io.EOF && fault.KindOf(err) == fault.Internal {
		err = fault.Wrap(fault.Invalid, err, "the request's gzip is damaged")
	}
	return n, err
}
