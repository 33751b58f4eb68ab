package drill

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/internal/pack"
	"github.com/strata-pacs/strata/internal/seal"
)

// pack copies a pack from its tier and checks the copy as a region without keys would.
// False: there is no copy to look into.
func (d *drill) pack(ctx context.Context, k archive.PackPlace, blobs []blob) (bool, error) {
	b, _, ok := d.o.Tiers.Tier(k.Tier)
	if !ok {
		d.fail(fmt.Sprintf("a pack lies in tier %s, which is not configured: add it to tiers", k.Tier), k.Object)
		return false, nil
	}
	until := d.spend(&d.tier(k.Tier).Copying)
	n, err := d.scratch.copy(ctx, b, k.Object)
	until()
	switch {
	case errors.Is(err, errRoom):
		return false, err
	case err != nil:
		if err := stops(ctx, err); err != nil {
			return false, err
		}
		what := "a pack cannot be read in tier %s: %s"
		if fault.Is(err, fault.NotFound) {
			what = "a pack is missing in tier %s: %s"
		}
		d.fail(fmt.Sprintf(what, k.Tier, fault.Message(err)), k.Object)
		return false, nil
	}
	d.copied(k.Tier, n)
	return true, d.digest(ctx, k, n, blobs)
}

// digest compares a copy with itself and with what the fact says of it.
func (d *drill) digest(ctx context.Context, k archive.PackPlace, size int64, blobs []blob) error {
	defer d.spend(&d.report.Times.Checking)()
	table, err := pack.Verify(ctx, d.scratch, k.Object, size)
	if err != nil {
		if err := stops(ctx, err); err != nil {
			return err
		}
		d.fail(fmt.Sprintf("a pack is damaged in tier %s: %s", k.Tier, reason(err)), k.Object)
		return nil
	}
	if k.Size > 0 && k.Size != size {
		d.fail(fmt.Sprintf("this is another pack than the log names: it has %d bytes instead of %d", size, k.Size), k.Object)
		return nil
	}
	if k.Digest != (archive.Digest{}) {
		got, err := pack.ReadDigest(ctx, d.scratch, k.Object, size)
		if err != nil {
			return err
		}
		if got != k.Digest {
			d.fail("this is another pack than the log names: its digest differs", k.Object)
			return nil
		}
	}
	at := make(map[archive.BlobID]pack.Entry, len(table))
	for _, e := range table {
		at[e.Blob] = e
	}
	for _, b := range blobs {
		if e, ok := at[b.id]; !ok || e.Offset != b.at.Offset || e.Length != b.at.Length {
			d.fail("a pack does not hold what the log says it does", k.Object)
			return nil
		}
	}
	return nil
}

// reason is why something is damaged, in a word.
func reason(err error) string {
	for _, known := range []error{pack.ErrDigest, pack.ErrLength, pack.ErrTable, pack.ErrVersion} {
		if errors.Is(err, known) {
			return known.Error()
		}
	}
	return fault.Message(err)
}

// instances opens what lies in a copy, and compares it with the facts.
func (d *drill) instances(ctx context.Context, object string, blobs []blob) error {
	defer d.spend(&d.report.Times.Checking)()
	bad, why := 0, ""
	for i := range blobs {
		err := d.instance(ctx, &blobs[i])
		if err == nil {
			d.report.Instances++
			continue
		}
		if err := stops(ctx, err); err != nil {
			return err
		}
		if bad++; bad == 1 {
			why = fault.Message(err)
		}
	}
	if bad > 0 {
		d.fail(fmt.Sprintf("%d of %d instances cannot be restored from this object: %s", bad, len(blobs), why), object)
	}
	return nil
}

var errDigest = fault.New(fault.Corrupt, "the bytes are not those that were received")

func (d *drill) instance(ctx context.Context, b *blob) error {
	secret, err := d.o.Keys.Secret(ctx, b.key)
	if err != nil {
		return err
	}
	defer secret.Wipe()
	sum := d.o.Keys.Digest()
	r := seal.NewReader(sealed{d.scratch, b.at}, secret, seal.Binding{Tenant: d.o.Tenant, Kind: seal.KindInstance, Key: b.key},
		seal.ReadOptions{Blob: b.id, Coding: b.coding, SegmentBits: b.bits, Plain: b.size, Sealed: b.at.Length})
	if _, err := r.WriteRange(ctx, struct{ io.Writer }{sum}, 0, -1); err != nil {
		return err
	}
	if archive.Digest(sum.Sum(nil)) != b.digest {
		return errDigest
	}
	return nil
}

// sealed reads a blob where it lies in a copy.
type sealed struct {
	s  *scratch
	at archive.Location
}

// ReadRange implements [seal.Source].
func (s sealed) ReadRange(ctx context.Context, off, n int64) (io.ReadCloser, error) {
	return s.s.Open(ctx, s.at.Object, s.at.Offset+off, n)
}
