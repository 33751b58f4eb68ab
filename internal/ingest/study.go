package ingest

import (
	"context"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/dicom"
	"github.com/strata-pacs/strata/internal/dicom/dicomjson"
	"github.com/strata-pacs/strata/internal/pack"
	"github.com/strata-pacs/strata/internal/seal"
)

// chunkBytes is how much DICOM JSON is compressed together: enough that the
// repetition within a series pays, little enough that one instance's metadata is cheap.
const chunkBytes = 128 << 10

// study is one study's share of a request until its fact is written.
type study struct {
	r     *Request
	ref   archive.Ref
	key   *studyKey
	stage *pack.Stage
	fact  archive.Fact
	began int    // the request's result that it began with
	at    []int  // the request's result of each of fact.Instances
	json  []byte // of the chunk that is being filled
}

// study returns the share of the study, starting it if needed.
func (r *Request) study(ctx context.Context, uid string) (*study, error) {
	if st := r.studies[uid]; st != nil {
		return st, nil
	}
	if r.s.o.Room != nil {
		if err := r.s.o.Room(); err != nil {
			return nil, err
		}
	}
	ref := r.s.o.Keys.Ref(uid)
	key, err := r.s.keys.get(ctx, ref)
	if err != nil {
		return nil, err
	}
	st := &study{r: r, ref: ref, key: key, began: len(r.results), stage: pack.NewStage(ctx, r.s.o.Packs, r.s.packName, r.s.o.InlineLimit, r.s.o.Budget)}
	st.fact = archive.Fact{Kind: archive.FactStored, Study: ref, Key: key.id}
	r.studies[uid] = st
	return st, nil
}

// blob is the sealed bytes of one instance while they are written.
type blob struct {
	*seal.Writer
	from   int64 // offset in the stage
	coding archive.Coding
}

func (st *study) open(bits uint8, deflated bool) (*blob, error) {
	b := &blob{from: st.stage.Offset()}
	if deflated {
		b.coding = archive.Deflated
	}
	w, err := seal.NewWriter(st.stage, st.key.secret,
		seal.Binding{Tenant: st.r.s.o.Tenant, Kind: seal.KindInstance, Key: st.key.id},
		seal.Options{Coding: b.coding, SegmentBits: bits, Rand: st.r.s.o.Rand})
	b.Writer = w
	return b, err
}

// drop takes the blob's bytes back.
func (st *study) drop(b *blob) {
	if b != nil {
		st.stage.Truncate(b.from)
	}
}

// add states the instance in the study's fact.
func (st *study) add(b *blob, f *dicom.File, in archive.Instance, at int) error {
	layout, err := dicom.NewLayout(f)
	if err != nil {
		return err
	}
	in.Blob, in.Key = b.Blob(), st.key.id
	in.At = st.stage.Keep(in.Blob, b.from)
	in.Coding, in.SegmentBits, in.Size = b.coding, b.SegmentBits(), b.Plain()
	in.Layout = layout.AppendBinary(nil)
	record(&in, f.Data)

	from := len(st.json)
	st.json = dicomjson.Append(st.json, f.Data)
	in.JSON = archive.JSONRef{Chunk: len(st.fact.Chunks), Offset: from, Length: len(st.json) - from}
	if len(st.json) >= chunkBytes {
		st.cutChunk()
	}
	st.fact.Instances = append(st.fact.Instances, in)
	st.at = append(st.at, at)
	return nil
}

func (st *study) cutChunk() {
	if len(st.json) == 0 {
		return
	}
	st.fact.Chunks = append(st.fact.Chunks, archive.Chunk{Data: st.r.s.zstd.EncodeAll(st.json, nil), Size: len(st.json)})
	st.json = st.json[:0]
}
