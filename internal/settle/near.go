package settle

import (
	"context"

	"github.com/strata-pacs/strata/internal/archive"
)

// follow brings near, where it lies now, what was near of a study where it lay
// before, and lets go of that: nobody is sent there any more. What was not near
// stays far, so that settling pushes nothing out that is in use. Other nodes read it anew.
func (s *Settler) follow(ctx context.Context, v *view, f *archive.Fact) {
	if s.o.Near == nil {
		return
	}
	var warm []archive.Location
	left := map[string]bool{}
	for i := range f.Instances {
		from, to := v.instances[i].At, f.Instances[i].At
		if from.Object == to.Object {
			continue
		}
		left[from.Object] = true
		if !s.o.Near.Holds(from.Object, from.Offset, from.Length) {
			continue
		}
		if n := len(warm) - 1; n >= 0 && warm[n].Object == to.Object && warm[n].Offset+warm[n].Length == to.Offset {
			warm[n].Length += to.Length
			continue
		}
		warm = append(warm, to)
	}
	for object := range left {
		s.o.Near.Forget(object)
	}
	for _, at := range warm {
		if s.o.Pace != nil && s.o.Pace(ctx, int(at.Length)) != nil {
			return
		}
		if err := s.o.Near.Warm(ctx, at.Object, at.Offset, at.Length); err != nil {
			s.o.Slog.Warn("what was read of a study lately could not be kept near when it was settled; it is read anew", "error", err)
			return
		}
	}
}
