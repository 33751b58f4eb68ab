package thumbnail

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/fault"
)

// The cursor is a line of text: the sequence number up to which the feed has
// been followed, and 16 bytes of the blob that its entry names, which tell this
// feed from that of another index: a rebuild numbers anew. It is a hint; losing
// it costs pictures made in advance, no more.

func (f *follower) save(ctx context.Context) error {
	n := f.done()
	if n == f.saved {
		return nil
	}
	mark, err := f.mark(ctx, n)
	if err != nil {
		return err
	}
	if err := write(f.o.Cursor, fmt.Sprintf("%d %s\n", n, mark)); err != nil {
		f.m.complain(err)
		return nil // following goes on all the same
	}
	f.saved = n
	return nil
}

// write puts a file in another's place, whole or not at all.
func write(path, text string) error {
	tmp := path + ".new"
	err := os.WriteFile(tmp, []byte(text), 0o600)
	if err == nil {
		err = os.Rename(tmp, path)
	}
	if err != nil {
		return errors.Join(fault.Wrap(fault.Unavailable, err, "remembering which thumbnails are made"), os.Remove(tmp))
	}
	return nil
}

// mark returns what an entry of the feed is known by, "" when there is no such entry.
func (f *follower) mark(ctx context.Context, n int64) (string, error) {
	if n == 0 {
		return "start", nil
	}
	list, err := f.o.Feed.Changes(ctx, f.o.Tenant, archive.ChangeQuery{After: n - 1, Limit: 1})
	if err != nil || len(list) == 0 || list[0].Sequence != n {
		return "", err
	}
	return hex.EncodeToString(list[0].Blob[:16]), nil
}

// begin finds where to go on.
func (f *follower) begin(ctx context.Context) error {
	text, err := os.ReadFile(f.o.Cursor)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fault.Wrap(fault.Unavailable, err, "reading which thumbnails are made")
	}
	var n int64
	var mark string
	if k, _ := fmt.Sscanf(string(text), "%d %s", &n, &mark); k == 2 && n >= 0 {
		is, err := f.mark(ctx, n)
		if err != nil {
			return err
		}
		if is == mark {
			f.at, f.saved = n, n
			return nil
		}
	}
	return f.anew(ctx)
}

// anew begins at the end of the feed, as on an archive that was there before:
// its pictures are made as they are asked for. Those of what was deleted are removed.
func (f *follower) anew(ctx context.Context) error {
	last, err := f.o.Feed.Last(ctx, f.o.Tenant)
	if err != nil {
		return err
	}
	const page = 1000
	swept := ""
	for after := int64(0); ; {
		list, err := f.o.Feed.Changes(ctx, f.o.Tenant, archive.ChangeQuery{After: after, Limit: page, Actions: []string{"delete", "replace"}})
		if err != nil {
			return err
		}
		for _, c := range list {
			after = c.Sequence
			if c.Study == swept {
				continue
			}
			if _, err := f.m.Sweep(ctx, f.o.Tenant, c.Study); err != nil {
				return err
			}
			swept = c.Study
		}
		if len(list) < page {
			break
		}
	}
	f.at, f.saved = last, -1
	return nil
}
