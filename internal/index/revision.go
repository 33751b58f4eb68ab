package index

import (
	"context"
	"database/sql/driver"
	"encoding/binary"

	"github.com/strata-pacs/strata/internal/archive"
)

// Revision returns a number that is another whenever the answer of Instances for
// the selection may be; 0 when there is no such study. It costs one look-up.
//
// The number is the beginning of the nonce that the study's row is sealed with:
// the row is written anew, under a fresh random nonce, with every change to what
// is visible of the study.
func (x *Index) Revision(ctx context.Context, name archive.Tenant, sel archive.UIDs) (revision int64, err error) {
	if sel.Study == "" {
		return 0, errNoStudy
	}
	err = x.read(ctx, name, func(c *conn, t *tenant) error {
		ref := t.keys.Ref(sel.Study)
		_, err := c.one(`SELECT substr(sealed, 1, 8) FROM studies WHERE tenant = ? AND ref = ?`, func(v []driver.Value) error {
			b := blob(v[0])
			if len(b) < 8 {
				return errRow
			}
			revision = int64(binary.LittleEndian.Uint64(b))
			return nil
		}, t.id, ref[:])
		return err
	})
	return revision, err
}
