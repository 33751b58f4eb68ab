package drill

import (
	"context"
	"fmt"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/ledger"
)

// compare holds what the index says of a study to its facts.
func (d *drill) compare(ctx context.Context, p *picked, v *view) error {
	known := map[string]bool{}
	for i := range p.packs {
		k := &p.packs[i]
		known[k.Object] = true
		if _, ok := v.needed[k.Object]; !ok {
			continue // of a stored fact, or on its way out
		}
		if says := v.pack(k.Object); says.Tier != k.Tier {
			d.fail(fmt.Sprintf("the index says that a pack is in tier %s, the log says %s; run strata rebuild", k.Tier, says.Tier), k.Object)
		}
	}
	for object, settled := range v.needed {
		if settled && !known[object] {
			d.fail("the index does not know a pack that the log names; run strata rebuild", object)
		}
	}
	var seen, wrong, unknown int
	err := d.o.Index.StudyInstances(ctx, d.o.Tenant, p.ref, func(r *archive.InstanceRow, _ archive.State) bool {
		b, ok := v.blobs[r.Blob]
		switch {
		case !ok:
			unknown++
		default:
			seen++
			if b.at != r.At || b.key != r.Key || b.size != r.Size || b.digest != r.Digest || b.coding != r.Coding || b.bits != r.SegmentBits {
				wrong++
			}
		}
		return true
	})
	if err != nil {
		return fmt.Errorf("asking the index for a study: %w", err)
	}
	object := ""
	if len(p.entries) > 0 {
		object = ledger.ObjectName(d.o.Tenant, p.entries[0].Session, p.entries[0].N)
	}
	if wrong > 0 {
		d.fail(fmt.Sprintf("the index says otherwise than the log of %d instances of a study; run strata rebuild", wrong), object)
	}
	if unknown > 0 {
		d.fail(fmt.Sprintf("the index has %d instances of a study that no fact states of which it knows; run strata rebuild", unknown), object)
	}
	if missing := len(v.blobs) - seen; missing > 0 {
		d.fail(fmt.Sprintf("the log has %d instances of a study that the index does not know; run strata rebuild", missing), object)
	}
	return nil
}
