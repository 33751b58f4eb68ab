package search

import (
	"cmp"
	"context"
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/dicom"
)

// attrs makes attributes of "keyword=value" texts.
func attrs(t testing.TB, kv ...string) (as archive.Attrs) {
	t.Helper()
	for _, s := range kv {
		keyword, value, _ := strings.Cut(s, "=")
		tag, ok := dicom.TagOf(keyword)
		if !ok {
			t.Fatalf("no attribute %s", keyword)
		}
		as = append(as, archive.Attr{Tag: tag, VR: dicom.VROf(tag), Value: value})
	}
	slices.SortFunc(as, func(a, b archive.Attr) int { return cmp.Compare(a.Tag, b.Tag) })
	return as
}

// sample is a small archive: five studies, of which one has no date.
func sample(t testing.TB) []archive.Instance {
	var out []archive.Instance
	add := func(study string, patient archive.Attrs, series string, of archive.Attrs, class string, n int) {
		for i := range n {
			in := archive.Instance{Patient: patient, Series: of, SOPClass: class, Syntax: "1.2.840.10008.1.2.1", Size: 1000}
			in.UIDs = archive.UIDs{Study: study, Series: series, Instance: fmt.Sprintf("%s.%d", series, i+1)}
			in.Attrs = attrs(t, fmt.Sprintf("InstanceNumber=%d", i+1), "Rows=512", "SOPClassUID="+class, "SOPInstanceUID="+in.UIDs.Instance)
			out = append(out, in)
		}
	}
	const ct, sr, mr, us = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.88.33", "1.2.840.10008.5.1.4.1.1.4", "1.2.840.10008.5.1.4.1.1.6.1"
	a := attrs(t, "PatientName=Müller^Jürgen", "PatientID=PAT-1", "StudyDate=20240105", "StudyTime=101500", "AccessionNumber=ACC1",
		"StudyDescription=CT Thorax nativ", "PatientBirthDate=19600229", "PatientSex=M", "StudyID=S1", "StudyInstanceUID=1.2.1")
	add("1.2.1", a, "1.2.1.20", attrs(t, "Modality=SR", "SeriesNumber=20", "SeriesInstanceUID=1.2.1.20"), sr, 1)
	add("1.2.1", a, "1.2.1.3", attrs(t, "Modality=CT", "SeriesNumber=3", "SeriesDescription=axial", "StationName=SCANNER01", "SeriesInstanceUID=1.2.1.3",
		`RequestAttributesSequence=[{"00400007":{"vr":"LO","Value":["x"]},"00400009":{"vr":"SH","Value":["SPS1"]}}]`), ct, 12)
	b := attrs(t, "PatientName=Yamada^Tarou=山田^太郎=やまだ^たろう", "PatientID=PAT-2", "StudyDate=20240106", "StudyTime=235900", "AccessionNumber=ACC2",
		"StudyDescription=MR Schädel", "PatientBirthDate=19800101", "StudyInstanceUID=1.2.2")
	add("1.2.2", b, "1.2.2.1", attrs(t, "Modality=MR", "SeriesNumber=1", "SeriesInstanceUID=1.2.2.1"), mr, 2)
	c := attrs(t, "PatientName=O'Brien^Mary", "PatientID=PAT-3", "StudyDate=", "AccessionNumber=ACC3", "StudyInstanceUID=1.2.3")
	add("1.2.3", c, "1.2.3.1", attrs(t, "Modality=US", "SeriesNumber=1", "SeriesInstanceUID=1.2.3.1"), us, 1)
	d := attrs(t, "PatientName=Müller^Hans", "PatientID=PAT-1x", "StudyDate=20231231", "StudyTime=0800", "AccessionNumber=ACC4", "StudyDescription=CT Abdomen", "StudyInstanceUID=1.2.4")
	add("1.2.4", d, "1.2.4.1", attrs(t, "Modality=CT", "SeriesNumber=1", "SeriesInstanceUID=1.2.4.1"), ct, 3)
	e := attrs(t, "PatientName=Smith^John", "PatientID=PAT-5", "StudyDate=20240105", "StudyTime=120000", "AccessionNumber=", "StudyDescription=CT Thorax", "StudyInstanceUID=1.2.5")
	add("1.2.5", e, "1.2.5.1", attrs(t, "Modality=CT", "SeriesNumber=1", "SeriesInstanceUID=1.2.5.1"), ct, 2)
	add("1.2.5", e, "1.2.5.2", attrs(t, "Modality=PT", "SeriesNumber=2", "SeriesInstanceUID=1.2.5.2"), ct, 2)
	return out
}

// scan is a catalog that looks nothing up: every study is a candidate. What it
// finds is what any index must find.
type scan struct {
	studies   []archive.StudyRow // newest first
	series    map[int64][]archive.SeriesRow
	instances map[int64][]archive.InstanceRow
}

func newScan(list []archive.Instance) *scan {
	c := &scan{series: map[int64][]archive.SeriesRow{}, instances: map[int64][]archive.InstanceRow{}}
	studies, series := map[string]int{}, map[string]int64{}
	for _, in := range list {
		i, ok := studies[in.UIDs.Study]
		if !ok {
			i = len(c.studies)
			studies[in.UIDs.Study] = i
			c.studies = append(c.studies, archive.StudyRow{ID: int64(i + 1), UID: in.UIDs.Study, Attrs: in.Patient, Tier: archive.Online})
		}
		st := &c.studies[i]
		key := in.UIDs.Study + "/" + in.UIDs.Series
		id, ok := series[key]
		if !ok {
			id = int64(len(series) + 1)
			series[key] = id
			c.series[st.ID] = append(c.series[st.ID], archive.SeriesRow{ID: id, StudyID: st.ID, UID: in.UIDs.Series, Attrs: in.Series, Tier: archive.Online})
			st.Series++
			if m, _ := in.Series.Get(tagModality); !slices.Contains(st.Modalities, m) {
				st.Modalities = append(st.Modalities, m)
				slices.Sort(st.Modalities)
			}
		}
		if !slices.Contains(st.SOPClasses, in.SOPClass) {
			st.SOPClasses = append(st.SOPClasses, in.SOPClass)
		}
		st.Instances++
		for k := range c.series[st.ID] {
			if c.series[st.ID][k].ID == id {
				c.series[st.ID][k].Instances++
			}
		}
		row := archive.InstanceRow{ID: int64(st.Instances), SeriesID: id, StudyID: st.ID, Instance: in, Tier: archive.Online}
		row.Patient, row.Series = nil, nil
		c.instances[id] = append(c.instances[id], row)
	}
	for _, list := range c.series {
		slices.SortStableFunc(list, func(a, b archive.SeriesRow) int {
			return cmp.Compare(numberOf(a.Attrs, 0x00200011), numberOf(b.Attrs, 0x00200011))
		})
	}
	slices.SortStableFunc(c.studies, func(a, b archive.StudyRow) int {
		da, _ := a.Attrs.Get(tagStudyDate)
		db, _ := b.Attrs.Get(tagStudyDate)
		return cmp.Or(strings.Compare(db, da), cmp.Compare(b.ID, a.ID))
	})
	return c
}

func numberOf(as archive.Attrs, t dicom.Tag) int64 {
	v, _ := as.Get(t)
	n, _ := number(v)
	return n
}

func (c *scan) Studies(_ context.Context, _ archive.Tenant, f archive.StudyFilter, yield func(*archive.StudyRow) bool) error {
	skip := f.Skip
	for i := range c.studies {
		st := &c.studies[i]
		date, _ := st.Attrs.Get(tagStudyDate)
		if f.UIDs != nil && !slices.Contains(f.UIDs, st.UID) || f.IDs != nil && !slices.Contains(f.IDs, st.ID) ||
			(f.From != "" || f.To != "") && (date == "" || date < f.From || f.To != "" && date > f.To) ||
			f.Modalities != nil && !slices.ContainsFunc(f.Modalities, func(m string) bool { return slices.Contains(st.Modalities, m) }) {
			continue
		}
		if skip > 0 {
			skip--
			continue
		}
		if !yield(st) {
			break
		}
	}
	return nil
}

func (c *scan) SeriesOf(_ context.Context, _ archive.Tenant, study int64) ([]archive.SeriesRow, error) {
	return c.series[study], nil
}

func (c *scan) SeriesByUID(_ context.Context, _ archive.Tenant, uids []string) (out []archive.SeriesRow, _ error) {
	for _, list := range c.series {
		for _, r := range list {
			if slices.Contains(uids, r.UID) {
				out = append(out, r)
			}
		}
	}
	return out, nil
}

func (c *scan) InstancesByUID(_ context.Context, _ archive.Tenant, uids []string) (out []archive.InstanceRow, _ error) {
	for _, list := range c.instances {
		for _, r := range list {
			if slices.Contains(uids, r.UIDs.Instance) {
				out = append(out, r)
			}
		}
	}
	return out, nil
}

func (c *scan) Instances(_ context.Context, _ archive.Tenant, sel archive.UIDs, yield func(*archive.InstanceRow) bool) error {
	for _, st := range c.studies {
		for _, se := range c.series[st.ID] {
			for i := range c.instances[se.ID] {
				r := &c.instances[se.ID][i]
				if st.UID == sel.Study && (sel.Series == "" || se.UID == sel.Series) && (sel.Instance == "" || r.UIDs.Instance == sel.Instance) && !yield(r) {
					return nil
				}
			}
		}
	}
	return nil
}

func (c *scan) Words(context.Context, archive.Tenant, dicom.Tag, func(string) bool, int) ([]string, bool, error) {
	return nil, true, nil
}

// entries states the instances as facts, one a study, in order.
func entries(list []archive.Instance) (out []archive.Entry) {
	for i, in := range list {
		in.Blob[0], in.Blob[1] = byte(i>>8), byte(i)
		in.Digest[0], in.Digest[1] = byte(i>>8), byte(i)
		in.SegmentBits = 16
		if i == 0 || list[i-1].UIDs.Study != in.UIDs.Study {
			f := &archive.Fact{Kind: archive.FactStored}
			ms := time.Date(2024, 1, 1, 0, 0, len(out), 0, time.UTC).UnixMilli()
			for k := range 6 {
				f.ID[k] = byte(ms >> (40 - 8*k))
			}
			f.Key[0] = byte(len(out) + 1)
			f.Study = testKeys{}.Ref(in.UIDs.Study)
			out = append(out, archive.Entry{Session: "01HKZZZZZZZZZZZZZZZZZZZZZZ", N: uint64(len(out) + 1), Object: fmt.Sprintf("t/log/s/%d", len(out)+1), Size: 1000, Fact: f})
		}
		f := out[len(out)-1].Fact
		in.Key = f.Key
		f.Instances = append(f.Instances, in)
	}
	return out
}

// testKeys are keys that everybody knows.
type testKeys struct{}

func (testKeys) Derive(purpose string) (archive.Secret, error) {
	return sha256.Sum256([]byte(purpose)), nil
}

func (testKeys) Ref(uid string) (r archive.Ref) {
	h := sha256.Sum256([]byte(uid))
	copy(r[:], h[:])
	return r
}
