package lifecycle

import (
	"context"
	"fmt"
	"slices"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/internal/ledger"
)

// Tag adds tags to a study and takes others from it, and returns those that it has then;
// without any, those that it has. What is added and removed is added. The study is due at once. Two who
// change the tags of a study at the same moment must follow one another, or one change may be lost: see to that.
//
// Errors are fault.NotFound for a study that the archive does not have, fault.Invalid for tags that none may have,
// fault.Unavailable while the index is being filled.
func (k *Keeper) Tag(ctx context.Context, study archive.Ref, add, remove []string) ([]string, error) {
	if k.o.Whole != nil && !k.o.Whole() { // the newest tags may be missing
		return nil, fault.New(fault.Unavailable, "the index is being filled; the tags of studies are known when it is whole: try again later")
	}
	life, ok, err := k.o.Index.Life(ctx, k.o.Tenant, study)
	switch {
	case err != nil:
		return nil, fmt.Errorf("reading a study: %w", err)
	case !ok || life.Instances == 0:
		return nil, fault.New(fault.NotFound, "this study is not in the archive")
	}
	before, stated, err := k.o.Index.TagsOf(ctx, k.o.Tenant, study)
	if err != nil {
		return nil, fmt.Errorf("reading the tags of a study: %w", err)
	}
	after := slices.DeleteFunc(slices.Clone(before), func(tag string) bool { return slices.Contains(remove, tag) })
	after = append(after, add...)
	slices.Sort(after)
	after = slices.Compact(after)
	if slices.Equal(before, after) {
		return before, nil
	}
	if !archive.ValidTags(after) {
		return nil, fault.New(fault.Invalid, "a study has at most %d tags, each of 1 to %d bytes of text without control characters, and without a space at its ends", archive.MaxTags, archive.MaxTag)
	}
	f := &archive.Fact{ID: k.o.Instances.NewFactIDAfter(stated), Kind: archive.FactTagged, Study: study, Tags: after}
	if err := ledger.State(ctx, k.o.Instances, k.o.Index, k.o.Tenant, f); err != nil {
		return nil, fmt.Errorf("stating the tags of a study: %w", err)
	}
	return after, nil
}
