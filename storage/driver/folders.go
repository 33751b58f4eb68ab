package driver

import (
	"context"
	"strings"
)

// AfterFolder is a key that comes after all those of a folder, which ends in '/', and before
// those of every folder that follows it.
func AfterFolder(folder string) string { return strings.TrimSuffix(folder, "/") + "0" } // the byte after '/'

// ListFolders is [Folders] for a store that can only list: one request for each folder.
func ListFolders(ctx context.Context, d interface {
	List(ctx context.Context, prefix, after string, limit int) (Page, error)
}, folder, after string, limit int) (names []string, more bool, err error) {
	from := ""
	if after != "" {
		from = AfterFolder(folder + after)
	}
	for {
		p, err := d.List(ctx, folder, from, 1)
		if err != nil || len(p.Objects) == 0 {
			return names, false, err
		}
		from = p.Objects[0].Key
		name, _, ok := strings.Cut(strings.TrimPrefix(from, folder), "/")
		if !ok {
			continue // an object of its own
		}
		if len(names) == limit {
			return names, true, nil
		}
		names = append(names, name)
		from = AfterFolder(folder + name)
	}
}

// MergeFolders makes one answer, of at most limit names, of answers of [Folders] that began after the same name.
func MergeFolders(limit int, a, b []string, moreA, moreB bool) (names []string, more bool) {
	for len(names) < limit {
		switch {
		case len(a) == 0 && moreA || len(b) == 0 && moreB:
			return names, true // beyond what it told there may be names before those of the other
		case len(a) == 0 && len(b) == 0:
			return names, false
		case len(b) == 0 || len(a) > 0 && a[0]+"/" < b[0]+"/":
			names, a = append(names, a[0]), a[1:]
		case len(a) == 0 || b[0]+"/" < a[0]+"/":
			names, b = append(names, b[0]), b[1:]
		default:
			names, a, b = append(names, a[0]), a[1:], b[1:]
		}
	}
	return names, moreA || moreB || len(a) > 0 || len(b) > 0
}
