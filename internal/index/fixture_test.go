package index

import (
	"context"
	"encoding/binary"
	"fmt"
	"testing"

	"github.com/zeebo/blake3"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/dicom"
)

const hospital archive.Tenant = "hospital"

// fakeKeys derives everything from a name.
type fakeKeys string

func (k fakeKeys) Derive(purpose string) (archive.Secret, error) {
	return archive.Secret(blake3.Sum256([]byte(string(k) + "/" + purpose))), nil
}

func (k fakeKeys) Ref(uid string) (r archive.Ref) {
	sum := blake3.Sum256([]byte(string(k) + "/ref/" + uid))
	copy(r[:], sum[:])
	return r
}

func openTest(t testing.TB, e engine) *Index { return openWith(t, e(t)) }

// spec says what an instance of a test is about; equal specs give equal instances.
type spec struct {
	study, series, instance string
	version                 int // other bytes of the same UIDs
	name, id, date, desc    string
	modality, seriesDesc    string
	number, seriesNumber    int
	sopClass                string
	replaces                []archive.BlobID
}

func blobOf(s spec, fact uint64) archive.BlobID {
	return archive.BlobID(blake3.Sum256(fmt.Append(nil, s.study, s.series, s.instance, s.version, fact)))
}

func factID(n uint64) (f archive.FactID) {
	ms := uint64(1_600_000_000_000) + n
	binary.BigEndian.PutUint64(f[:8], ms<<16)
	binary.BigEndian.PutUint64(f[8:], n)
	return f
}

func attr(as archive.Attrs, t dicom.Tag, vr dicom.VR, v string) archive.Attrs {
	if v == "" {
		return as
	}
	return append(as, archive.Attr{Tag: t, VR: vr, Value: v})
}

func (s spec) build(fact uint64) archive.Instance {
	in := archive.Instance{
		UIDs:     archive.UIDs{Study: s.study, Series: s.series, Instance: s.instance},
		SOPClass: s.sopClass, Syntax: "1.2.840.10008.1.2.1", Blob: blobOf(s, fact), SegmentBits: 16,
		Key: archive.KeyID(fakeKeys("key").Ref(s.study)),
		At:  archive.Location{Offset: 100, Length: 5000}, Size: int64(4000 + s.version),
		Digest: archive.Digest(blake3.Sum256(fmt.Append(nil, s.study, s.series, s.instance, s.version))),
		Layout: []byte{1, 2, 3}, Replaces: s.replaces,
	}
	if in.SOPClass == "" {
		in.SOPClass = "1.2.840.10008.5.1.4.1.1.2"
	}
	in.Patient = attr(in.Patient, 0x00080020, dicom.DA, s.date)
	in.Patient = attr(in.Patient, 0x00081030, dicom.LO, s.desc)
	in.Patient = attr(in.Patient, 0x00100010, dicom.PN, s.name)
	in.Patient = attr(in.Patient, 0x00100020, dicom.LO, s.id)
	in.Series = attr(in.Series, 0x00080060, dicom.CS, s.modality)
	in.Series = attr(in.Series, 0x0008103E, dicom.LO, s.seriesDesc)
	in.Series = attr(in.Series, 0x00200011, dicom.IS, fmt.Sprint(s.seriesNumber))
	in.Attrs = attr(in.Attrs, 0x00200013, dicom.IS, fmt.Sprint(s.number))
	return in
}

const testSession = "01HZZZZZZZZZZZZZZZZZZZZZZZ"

func entry(n uint64, f *archive.Fact) archive.Entry {
	f.ID = factID(n)
	return archive.Entry{Session: testSession, N: n, Object: fmt.Sprintf("%s/log/%s/%016d", hospital, testSession, n), Size: 1000, Fact: f}
}

func stored(n uint64, specs ...spec) archive.Entry {
	f := &archive.Fact{Kind: archive.FactStored, Chunks: []archive.Chunk{{Data: []byte("zstd"), Size: 400}}}
	for i, s := range specs {
		in := s.build(n)
		in.JSON = archive.JSONRef{Offset: i * 10, Length: 10}
		f.Instances = append(f.Instances, in)
	}
	if len(specs) > 0 {
		f.Study = fakeKeys(hospital).Ref(specs[0].study)
	}
	return entry(n, f)
}

func deletes(n uint64, scope archive.UIDs, blobs ...archive.BlobID) archive.Entry {
	return entry(n, &archive.Fact{Kind: archive.FactDeleted, Study: fakeKeys(hospital).Ref(scope.Study), Scope: scope, Blobs: blobs})
}

func undeletes(n uint64, study string, undoes []uint64, blobs ...archive.BlobID) archive.Entry {
	f := &archive.Fact{Kind: archive.FactUndeleted, Study: fakeKeys(hospital).Ref(study), Blobs: blobs}
	for _, u := range undoes {
		f.Undoes = append(f.Undoes, factID(u))
	}
	return entry(n, f)
}

func apply(t testing.TB, x *Index, es ...archive.Entry) []Applied {
	t.Helper()
	out, err := x.Apply(context.Background(), hospital, es...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func studies(t testing.TB, x *Index, f archive.StudyFilter) (out []archive.StudyRow) {
	t.Helper()
	err := x.Studies(context.Background(), hospital, f, func(s *archive.StudyRow) bool {
		out = append(out, *s)
		return true
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func instances(t testing.TB, x *Index, sel archive.UIDs) (out []archive.InstanceRow) {
	t.Helper()
	err := x.Instances(context.Background(), hospital, sel, func(r *archive.InstanceRow) bool {
		out = append(out, *r)
		return true
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

var ctSpec = spec{study: "1.2.3", series: "1.2.3.1", instance: "1.2.3.1.1", name: "Müller^Anna", id: "PAT-77", date: "20240305",
	desc: "Thorax nativ", modality: "CT", seriesDesc: "axial", number: 1, seriesNumber: 1}

// settles restates what the entries, of one study and key, state in a pack of its own, and supersedes them.
func settles(n uint64, sources ...archive.Entry) archive.Entry {
	first := sources[0].Fact
	f := &archive.Fact{Kind: archive.FactSettled, Study: first.Study, Key: keyOf(first, 0), Chunks: []archive.Chunk{{Data: fmt.Appendf(nil, "zstd %d", n), Size: 4000}}}
	pack := archive.PackPlace{Object: fmt.Sprintf("%s/pack/%d", hospital, n), Size: int64(1000 + n), Digest: archive.Digest{byte(n)}, Tier: archive.HotTier}
	f.Packs = []archive.PackPlace{pack}
	for _, e := range sources {
		for _, in := range e.Fact.Instances {
			if e.Fact.Kind == archive.FactStored {
				in.Stated = e.Fact.ID
			}
			at := len(f.Instances)
			in.At, in.JSON = archive.Location{Object: pack.Object, Offset: int64(16 + 5000*at), Length: 5000}, archive.JSONRef{Offset: 10 * at, Length: 10}
			f.Instances = append(f.Instances, in)
		}
		f.Supersedes = append(f.Supersedes, archive.LogRange{Session: e.Session, Range: archive.Range{From: e.N, To: e.N}})
	}
	return entry(n, f)
}

// moves copies packs of the study to another store.
func moves(n uint64, study archive.Ref, from, to archive.TierName, packs ...string) archive.Entry {
	f := &archive.Fact{Kind: archive.FactMoved, Study: study}
	for _, name := range packs {
		f.Packs = append(f.Packs, archive.PackPlace{Object: name, Size: 1000, Tier: to, From: from})
	}
	return entry(n, f)
}
