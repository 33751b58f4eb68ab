package driver

import "context"

// ListOnly returns the next page of those objects that keep lets through; it is
// not empty unless there are no more of them.
func ListOnly(ctx context.Context, d Driver, keep func(key string) bool, prefix, after string, limit int) (Page, error) {
	for {
		p, err := d.List(ctx, prefix, after, limit)
		if err != nil {
			return Page{}, err
		}
		kept := p.Objects[:0:0]
		for _, o := range p.Objects {
			after = o.Key
			if keep(o.Key) {
				kept = append(kept, o)
			}
		}
		more := p.More && len(p.Objects) > 0
		if len(kept) > 0 || !more {
			return Page{Objects: kept, More: more}, nil
		}
	}
}

// MergePages makes one page, of at most limit objects, of pages that began after
// the same key. A key that several have is listed once: as the first has it, but
// with the latest time, so that nobody takes it for older than any of its copies.
func MergePages(limit int, pages ...Page) (out Page) {
	for {
		first := -1
		for i, p := range pages {
			if len(p.Objects) > 0 && (first < 0 || p.Objects[0].Key < pages[first].Objects[0].Key) {
				first = i
			}
		}
		if first < 0 {
			return out
		}
		if len(out.Objects) == limit {
			out.More = true
			return out
		}
		next, ended := pages[first].Objects[0], false
		for i := range pages {
			p := &pages[i]
			if len(p.Objects) == 0 || p.Objects[0].Key != next.Key {
				continue
			}
			if p.Objects[0].Modified.After(next.Modified) {
				next.Modified = p.Objects[0].Modified
			}
			p.Objects = p.Objects[1:]
			ended = ended || len(p.Objects) == 0 && p.More
		}
		out.Objects = append(out.Objects, next)
		if ended { // beyond this page it may have keys before those of the others
			out.More = true
			return out
		}
	}
}
