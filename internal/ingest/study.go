package ingest

import (
	"context"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/dicom"
	"github.com/strata-pacs/strata/internal/dicom/dicomjson"
	"github.com/strata-pacs/strata/internal/ledger"
	"github.com/strata-pacs/strata/internal/pack"
	"github.com/strata-pacs/strata/internal/seal"
)

// study is one study's share of a request until its fact is written.
type study struct {
	r     *Request
	ref   archive.Ref
	key   *studyKey
	stage *pack.Stage
	fact  archive.Fact
	began int   // the request's result that it began with
	at    []int // the request's result of each of fact.Instances
	json  ledger.Chunker
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
	st.json.Encoder = r.s.zstd
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

	in.JSON = st.json.Add(func(dst []byte) []byte { return dicomjson.Append(dst, f.Data) })
	st.fact.Instances = append(st.fact.Instances, in)
	st.at = append(st.at, at)
	return nil
}
