package node

import (
	"context"
	"slices"
	"strings"

	"github.com/strata-pacs/strata/internal/archive"
)

const (
	tagModality = 0x00080060
	tagBodyPart = 0x00180015
)

// likeness is how much of what is planned an earlier study has: 0 to 2, for the modality and
// the body part. What the appointment does not say, every study has.
func likeness(ctx context.Context, a *Archive, s *archive.StudyRow, ap archive.Appointment) (alike int, err error) {
	if ap.Modality == "" || slices.Contains(s.Modalities, ap.Modality) {
		alike++
	}
	if ap.BodyPart == "" {
		return alike + 1, nil
	}
	series, err := a.Index.SeriesOf(ctx, a.Tenant, s.ID)
	if err != nil {
		return 0, err
	}
	for i := range series {
		part, _ := series[i].Attrs.Get(tagBodyPart)
		modality, _ := series[i].Attrs.Get(tagModality)
		if strings.EqualFold(part, ap.BodyPart) && (ap.Modality == "" || modality == ap.Modality) {
			return alike + 1, nil
		}
	}
	return alike, nil
}
