package index

import (
	"context"
	"database/sql/driver"
	"encoding/binary"
	"time"

	"github.com/strata-pacs/strata/internal/archive"
)

// afterMoment is the smallest identity of a fact that was stated after a moment, to the millisecond.
func afterMoment(at time.Time) (id archive.FactID) {
	ms := max(0, at.UnixMilli()+1)
	binary.BigEndian.PutUint64(id[:8], uint64(ms)<<16)
	return id
}

// DeletionsSince returns deletions that hold and were stated after a moment, by their facts, behind one, with the blobs of each that
// are in the index and were stored by that moment; of a study alone where ref is not zero. About limit blobs
// are looked at, and no deletion is cut in two. next continues; zero: that was all. A deletion without such blobs is left out.
func (x *Index) DeletionsSince(ctx context.Context, name archive.Tenant, at time.Time, ref archive.Ref, after archive.FactID, limit int) (out []archive.DeletedSince, next archive.FactID, err error) {
	if from := afterMoment(at); string(from[:]) > string(after[:]) {
		after = from
	}
	err = x.read(ctx, name, func(c *conn, t *tenant) error {
		found, cut, err := deletedAfter(ctx, c, t, after, limit)
		if err != nil || len(found) == 0 {
			return err
		}
		if cut {
			next = found[len(found)-1].Fact
		}
		there := map[archive.Ref]map[archive.BlobID]bool{}
		for _, d := range found {
			if ref != (archive.Ref{}) && d.Study != ref {
				continue
			}
			if there[d.Study] == nil {
				if there[d.Study], err = storedBy(ctx, c, t, d.Study, at); err != nil {
					return err
				}
			}
			kept := d.Blobs[:0]
			for _, b := range d.Blobs {
				if there[d.Study][b] {
					kept = append(kept, b)
				}
			}
			if d.Blobs = kept; len(kept) > 0 {
				out = append(out, d)
			}
		}
		return nil
	})
	return out, next, err
}

// deletedAfter reads tombstones by fact, whole facts alone; cut says that there may be more.
func deletedAfter(ctx context.Context, c *conn, t *tenant, after archive.FactID, limit int) (found []archive.DeletedSince, cut bool, err error) {
	n := 0
	add := func(v []driver.Value) error {
		n++
		fact := archive.FactID(blob(v[0]))
		if len(found) == 0 || found[len(found)-1].Fact != fact {
			found = append(found, archive.DeletedSince{Fact: fact, Study: archive.Ref(blob(v[2]))})
		}
		d := &found[len(found)-1]
		d.Blobs = append(d.Blobs, archive.BlobID(blob(v[1])))
		return nil
	}
	err = c.query(ctx, `SELECT fact, blob, study FROM tombstones WHERE tenant = ? AND fact > ? AND NOT void ORDER BY fact, blob LIMIT (?+0)`, add, t.id, after[:], int64(limit))
	if err != nil || n < limit {
		return found, false, err
	}
	// The last one may be longer.
	last := found[len(found)-1].Fact
	found = found[:len(found)-1]
	err = c.query(ctx, `SELECT fact, blob, study FROM tombstones WHERE tenant = ? AND fact = ? AND NOT void ORDER BY blob`, add, t.id, last[:])
	return found, true, err
}

// storedBy returns the blobs of a study that were stored by a moment, whatever their state.
func storedBy(ctx context.Context, c *conn, t *tenant, study archive.Ref, at time.Time) (map[archive.BlobID]bool, error) {
	out := map[archive.BlobID]bool{}
	var series []int64
	err := c.query(ctx, `SELECT e.id FROM series e JOIN studies s ON s.id = e.study WHERE s.tenant = ? AND s.ref = ?`, func(v []driver.Value) error {
		series = append(series, integer(v[0]))
		return nil
	}, t.id, study[:])
	if err != nil {
		return nil, err
	}
	for _, id := range series {
		err := c.query(ctx, `SELECT id, state, sealed FROM instances WHERE id BETWEEN ? AND ?`, func(v []driver.Value) error {
			r, err := t.openInstance(integer(v[0]), State(integer(v[1])), blob(v[2]))
			if err == nil && !r.Source.Fact.Time().After(at) {
				out[r.Blob] = true
			}
			return err
		}, id<<ordinalBits, id<<ordinalBits|ordinalMask)
		if err != nil {
			return nil, err
		}
	}
	return out, nil
}

// CreatedSince counts the instances that appeared after a moment by the change feed's times.
func (x *Index) CreatedSince(ctx context.Context, name archive.Tenant, at time.Time) (n int64, err error) {
	err = x.read(ctx, name, func(c *conn, t *tenant) error {
		var last, ms int64
		if err := c.together(lastChange(t.id, &last, &ms)); err != nil {
			return err
		}
		lo, err := before(c, t, last, at.UnixMilli()+1)
		if err != nil {
			return err
		}
		n, err = c.integer(`SELECT count(*) FROM changes WHERE id > ? AND id <= ? AND action = 1`, t.id<<sequenceBits|lo, t.id<<sequenceBits|last)
		return err
	})
	return n, err
}
