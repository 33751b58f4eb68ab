package filestore

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"

	"github.com/strata-pacs/strata/storage/driver"
)

// List implements driver.Driver. It reads the folders that can hold keys of the
// answer and no others; memory is bounded by limit, not by the size of a folder.
func (s *Store) List(ctx context.Context, prefix, after string, limit int) (driver.Page, error) {
	base := prefix[:strings.LastIndexByte(prefix, '/')+1]
	l := lister{s: s, ctx: ctx, prefix: prefix, after: after, limit: limit}
	if err := l.folder(base); err != nil {
		return driver.Page{}, classifyList(err)
	}
	return l.page, nil
}

func classifyList(err error) error {
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return classify(err, "listing objects")
}

type lister struct {
	s             *Store
	ctx           context.Context
	prefix, after string
	limit         int
	page          driver.Page
}

// entry is an object or, when its name ends in '/', a folder. That '/' makes
// names sort as the keys that they begin.
type entry struct{ name, shard string }

// folder adds the objects whose keys begin with base, which is empty or ends in '/'.
func (l *lister) folder(base string) error {
	for {
		entries, cut, err := l.read(base)
		if err != nil {
			return err
		}
		for _, e := range entries {
			if e.shard == "" {
				err = l.folder(base + e.name)
			} else {
				err = l.object(base, e)
			}
			if err != nil || l.page.More {
				return err
			}
		}
		if !cut {
			return nil
		}
		// More entries than were kept: go on after the last. A folder's keys all
		// sort before its name with a '0', the byte after '/'.
		last := base + entries[len(entries)-1].name
		if f, ok := strings.CutSuffix(last, "/"); ok {
			last = f + "0"
		}
		l.after = max(l.after, last)
	}
}

// object adds one object, if it is there.
func (l *lister) object(base string, e entry) error {
	info, err := os.Lstat(l.s.objects + "/" + base + e.shard + "/" + e.name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	key := base + e.name
	if l.s.busy.hidden(key) {
		return nil
	}
	if len(l.page.Objects) == l.limit {
		l.page.More = true
		return nil
	}
	l.page.Objects = append(l.page.Objects, driver.Object{Key: key, Size: info.Size(), Modified: info.ModTime().UTC()})
	return nil
}

// read returns the smallest entries of a folder that can hold keys of the answer,
// in order, and whether there are more of them.
func (l *lister) read(base string) (kept []entry, cut bool, err error) {
	most := 2*l.limit + 2
	keep := func(e entry) {
		if kept = append(kept, e); len(kept) >= 2*most {
			sortEntries(kept)
			kept, cut = kept[:most], true
		}
	}
	dir := l.s.objects + "/" + base
	err = l.names(dir, func(name string) error {
		if name[0] != '+' {
			if l.wantFolder(base + name + "/") {
				keep(entry{name: name + "/"})
			}
			return nil
		}
		return l.names(dir+name, func(file string) error {
			if key := base + file; key > l.after && strings.HasPrefix(key, l.prefix) {
				keep(entry{file, name})
			}
			return nil
		})
	})
	sortEntries(kept)
	if cut {
		kept = kept[:most] // only of these is it known that none between is missing
	}
	return kept, cut, err
}

// Folders implements driver.Folders. Memory is bounded by limit.
func (s *Store) Folders(ctx context.Context, folder, after string, limit int) (names []string, more bool, err error) {
	l := lister{s: s, ctx: ctx}
	sorted := func() {
		slices.Sort(names)
		if len(names) > limit {
			names, more = names[:limit], true
		}
	}
	err = l.names(s.objects+"/"+folder, func(name string) error {
		if name += "/"; name[0] != '+' && (after == "" || name > after+"/") { // with it names sort as the keys that they begin
			if names = append(names, name); len(names) > 2*limit {
				sorted()
			}
		}
		return nil
	})
	if err != nil {
		return nil, false, classifyList(err)
	}
	sorted()
	for i := range names {
		names[i] = strings.TrimSuffix(names[i], "/")
	}
	return names, more, nil
}

func (l *lister) wantFolder(key string) bool {
	if !strings.HasPrefix(key, l.prefix) && !strings.HasPrefix(l.prefix, key) {
		return false
	}
	return key > l.after || strings.HasPrefix(l.after, key)
}

func sortEntries(e []entry) {
	slices.SortFunc(e, func(a, b entry) int { return strings.Compare(a.name, b.name) })
}

// names calls each for every name in a folder. A folder that is not there is empty.
func (l *lister) names(dir string, each func(string) error) error {
	d, err := os.Open(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer d.Close()
	for {
		if err := l.ctx.Err(); err != nil {
			return err
		}
		names, err := d.Readdirnames(1024)
		for _, n := range names {
			if err := each(n); err != nil {
				return err
			}
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}
