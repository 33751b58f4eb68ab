package reconcile

import (
	"cmp"
	"slices"
	"sort"

	"github.com/strata-pacs/strata/internal/archive"
)

// superseded are the numbers of the log that settled facts stand for: their objects
// may be missing, and so may the packs that they alone name.
type superseded map[string][]archive.Range

func (s superseded) add(ranges []archive.LogRange) {
	for _, r := range ranges {
		s[r.Session] = append(s[r.Session], r.Range)
	}
}

// merge sorts the ranges and joins those that touch, after which has and left may be asked.
func (s superseded) merge() {
	for session, all := range s {
		slices.SortFunc(all, func(a, b archive.Range) int { return cmp.Compare(a.From, b.From) })
		out := all[:0]
		for _, r := range all {
			if n := len(out); n > 0 && r.From <= out[n-1].To+1 {
				out[n-1].To = max(out[n-1].To, r.To)
				continue
			}
			out = append(out, r)
		}
		s[session] = out
	}
}

// from returns the ranges of the session that end at n or behind.
func (s superseded) from(session string, n uint64) []archive.Range {
	all := s[session]
	return all[sort.Search(len(all), func(i int) bool { return all[i].To >= n }):]
}

// has reports whether a settled fact stands for the number.
func (s superseded) has(session string, n uint64) bool {
	r := s.from(session, n)
	return len(r) > 0 && r[0].From <= n
}

// left returns what of a run of numbers no settled fact stands for.
func (s superseded) left(session string, run archive.Range) (out []archive.Range) {
	for _, r := range s.from(session, run.From) {
		if r.From > run.To {
			break
		}
		if r.From > run.From {
			out = append(out, archive.Range{From: run.From, To: r.From - 1})
		}
		run.From = r.To + 1
	}
	if run.From <= run.To {
		out = append(out, run)
	}
	return out
}
