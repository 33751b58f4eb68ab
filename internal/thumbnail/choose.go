package thumbnail

import (
	"cmp"
	"context"
	"slices"
	"strconv"
	"strings"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/dicom"
	"github.com/strata-pacs/strata/internal/fault"
)

// candidate is a frame that may represent what was asked for.
type candidate struct {
	uids     archive.UIDs
	blob     archive.BlobID
	key      archive.KeyID
	frame    int   // from 1; 0: what represents an instance of several frames
	frames   int   // that the instance has, at least 1
	revision int64 // of the study when it was looked at
}

// survey is what may represent a study and each of its series, or an instance.
type survey struct {
	revision int64
	list     []candidate            // of the selection, best first
	series   map[string][]candidate // of a study: of its series
	order    []string               // of a study: its series in the index's order
}

type surveyKey struct {
	tenant archive.Tenant
	uids   archive.UIDs
}

// surveys remembers what was found.
type surveys struct{ lru *lru[surveyKey, *survey] }

// maxSurveys bounds the candidates remembered, of some 400 bytes each.
const maxSurveys = 20_000

func newSurveys() *surveys { return &surveys{newLRU[surveyKey, *survey](maxSurveys)} }

func (s *survey) weight() int64 {
	n := 1 + len(s.list)
	for _, l := range s.series {
		n += 1 + len(l)
	}
	return int64(n)
}

var (
	errNothing = fault.New(fault.NotFound, "there is no such study, series or instance")
	errNoImage = fault.New(fault.NotAcceptable, "there is no image here that a thumbnail could be made of")
)

// represent returns the candidates for a selection, best first, at least one.
func (m *Maker) represent(ctx context.Context, t archive.Tenant, sel archive.UIDs, frame int) ([]candidate, error) {
	revision, err := m.o.Index.Revision(ctx, t, sel)
	if err != nil {
		return nil, err
	}
	if revision == 0 {
		return nil, errNothing
	}
	if sel.Instance == "" {
		s, err := m.study(ctx, t, sel.Study, revision)
		switch {
		case err != nil:
			return nil, err
		case len(s.order) == 0, sel.Series != "" && !slices.Contains(s.order, sel.Series):
			return nil, errNothing
		}
		list := s.list
		if sel.Series != "" {
			list = s.series[sel.Series]
		}
		if len(list) == 0 {
			return nil, errNoImage
		}
		return list, nil
	}
	s, err := m.instance(ctx, t, sel, revision)
	if err != nil {
		return nil, err
	}
	if frame == 0 {
		return s.list, nil
	}
	c := s.list[0]
	if frame > c.frames {
		return nil, fault.New(fault.NotFound, "the instance has %d frames", c.frames)
	}
	c.frame = frame
	return []candidate{c}, nil
}

// instance looks at one instance.
func (m *Maker) instance(ctx context.Context, t archive.Tenant, sel archive.UIDs, revision int64) (*survey, error) {
	k := surveyKey{t, sel}
	if s, ok := m.surveys.lru.get(k); ok && s.revision == revision {
		return s, nil
	}
	err := errNothing
	s := &survey{revision: revision}
	listErr := m.o.Index.Instances(ctx, t, sel, func(row *archive.InstanceRow) bool {
		if err = nil; !drawable(row) {
			err = errNoImage
			return false
		}
		s.list = []candidate{candidateOf(row, revision)}
		return false
	})
	if err := cmp.Or(listErr, err); err != nil {
		return nil, err
	}
	m.surveys.lru.put(k, s, s.weight())
	return s, nil
}

func candidateOf(row *archive.InstanceRow, revision int64) candidate {
	c := candidate{uids: row.UIDs, blob: row.Blob, key: row.Key, frames: framesOf(row), revision: revision}
	if c.frames == 1 {
		c.frame = 1
	}
	return c
}

const (
	tagImageType      dicom.Tag = 0x00080008
	tagNumberOfFrames dicom.Tag = 0x00280008
	tagRows           dicom.Tag = 0x00280010
)

// drawable reports whether the index knows of pixels that are not a video stream.
func drawable(row *archive.InstanceRow) bool {
	_, rows := row.Attrs.Get(tagRows)
	return rows && len(row.Layout) > 0 && !strings.HasPrefix(dicom.Syntax(row.Syntax).MediaType, "video/")
}

func framesOf(row *archive.InstanceRow) int {
	v, _ := row.Attrs.Get(tagNumberOfFrames)
	n, err := strconv.Atoi(strings.TrimSpace(v))
	if err != nil || n < 1 {
		return 1
	}
	return n
}

// rank says how well an image stands for its study, 0 best.
func rank(row *archive.InstanceRow) int {
	class := row.SOPClass
	switch {
	case strings.HasPrefix(class, "1.2.840.10008.5.1.4.1.1.66"), // Segmentation and the like
		strings.HasPrefix(class, "1.2.840.10008.5.1.4.1.1.481"), // RT Dose
		class == "1.2.840.10008.5.1.4.1.1.30":                   // Parametric Map
		return 2
	case class == "1.2.840.10008.5.1.4.1.1.7", strings.HasPrefix(class, "1.2.840.10008.5.1.4.1.1.7."): // Secondary Capture
		return 1
	}
	if v, _ := row.Attrs.Get(tagImageType); strings.Contains(v, `\LOCALIZER`) {
		return 1
	}
	return 0
}

// pile is what was seen of a series: its images of the best rank.
type pile struct {
	uid    string
	rank   int
	images []candidate
	frames int64
}

// The bounds of what is looked at of one study.
const (
	maxImages       = 20_000 // images that the choice is made among
	maxSelections   = 16     // Key Object Selection documents
	seriesChoices   = 3      // candidates a series
	rivals          = 3      // series that stand by for a study
	keyObjectChoice = 4      // candidates by key objects
)

const keyObjectSelection = "1.2.840.10008.5.1.4.1.1.88.59"

// study looks through a study.
func (m *Maker) study(ctx context.Context, t archive.Tenant, uid string, revision int64) (*survey, error) {
	k := surveyKey{t, archive.UIDs{Study: uid}}
	if s, ok := m.surveys.lru.get(k); ok && s.revision == revision {
		return s, nil
	}
	s := &survey{revision: revision, series: map[string][]candidate{}}
	var piles []*pile
	var selections []archive.UIDs
	images := 0
	err := m.o.Index.Instances(ctx, t, archive.UIDs{Study: uid}, func(row *archive.InstanceRow) bool {
		if n := len(s.order); n == 0 || s.order[n-1] != row.UIDs.Series {
			s.order = append(s.order, row.UIDs.Series)
			piles = append(piles, &pile{uid: row.UIDs.Series})
		}
		p := piles[len(piles)-1]
		if row.SOPClass == keyObjectSelection && len(selections) < maxSelections {
			selections = append(selections, row.UIDs)
		}
		if images == maxImages || !drawable(row) {
			return true
		}
		c := candidateOf(row, revision)
		c.uids.Study, c.uids.Series = uid, p.uid // one text, not one an instance
		switch r := rank(row); {
		case len(p.images) == 0 || r < p.rank:
			p.rank, p.images, p.frames = r, append(p.images[:0], c), int64(c.frames)
		case r == p.rank:
			p.images, p.frames = append(p.images, c), p.frames+int64(c.frames)
		}
		images++
		return true
	})
	if err != nil {
		return nil, err
	}
	for _, p := range piles {
		s.series[p.uid] = p.choices()
	}
	slices.SortStableFunc(piles, func(a, b *pile) int {
		return cmp.Or(cmp.Compare(a.rank, b.rank), cmp.Compare(b.frames, a.frames))
	})
	for _, p := range piles {
		if len(s.list) < seriesChoices*rivals {
			s.list = append(s.list, s.series[p.uid]...)
		}
	}
	if len(s.list) > 0 {
		if err := m.keyImages(ctx, t, s, uid, selections); err != nil {
			return nil, err
		}
	}
	m.surveys.lru.put(k, s, s.weight())
	return s, nil
}

// choices returns the middle image, and others where that one cannot be drawn.
func (p *pile) choices() (list []candidate) {
	n := len(p.images)
	for _, i := range []int{n / 2, n / 4, n - 1} {
		if i >= 0 && i < n && !slices.ContainsFunc(list, func(c candidate) bool { return c.blob == p.images[i].blob }) {
			list = append(list, p.images[i])
		}
	}
	return list
}

// keyImages puts what Key Object Selection documents point out before the rest.
func (m *Maker) keyImages(ctx context.Context, t archive.Tenant, s *survey, study string, selections []archive.UIDs) error {
	var marked []candidate
	for _, doc := range selections {
		text, err := m.o.Reader.JSON(ctx, t, doc, "")
		if err != nil {
			return err
		}
		for _, key := range keyObjects(text, study) {
			if len(marked) == keyObjectChoice {
				break
			}
			err := m.o.Index.Instances(ctx, t, key.uids, func(row *archive.InstanceRow) bool {
				if drawable(row) {
					c := candidateOf(row, s.revision)
					if key.frame > 0 && key.frame <= c.frames {
						c.frame = key.frame
					}
					marked = append(marked, c)
				}
				return false
			})
			if err != nil {
				return err
			}
		}
	}
	s.list = slices.Concat(marked, s.list)
	for _, c := range slices.Backward(marked) {
		if _, ok := s.series[c.uids.Series]; ok {
			s.series[c.uids.Series] = slices.Insert(s.series[c.uids.Series], 0, c)
		}
	}
	return nil
}
