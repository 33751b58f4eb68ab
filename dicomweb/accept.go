package dicomweb

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// MediaRange is one element of an Accept header (RFC 9110 §12.5.1). Names are
// lower-case, values without quotes.
type MediaRange struct {
	Type    string // "application/dicom", "multipart/related", "image/*", "*/*"
	Related string // of multipart/related: its type parameter; "" when absent
	// Syntax is the transfer-syntax parameter (PS3.18 §8.7.3.5.2): "" when
	// absent, "*" for the syntax as stored.
	Syntax string
	Params []Param // all parameters but q, type and transfer-syntax
	Q      int     // thousandths: 0 (never) to 1000
	order  int
}

// Param is a parameter of a media type.
type Param struct{ Name, Value string }

// Accept is what a client takes, best first: by quality, then as listed.
type Accept []MediaRange

// maxRanges bounds the elements of an Accept header that are looked at.
const maxRanges = 64

// ParseAccept reads what the client takes: the accept query parameter (PS3.18
// §8.3.3.1) before the Accept header. It is empty when the client named nothing,
// which accepts anything. Elements that cannot be read are passed over.
func ParseAccept(r *http.Request) Accept {
	var values []string
	if query := r.URL.RawQuery; strings.Contains(query, "accept=") {
		// Not url.ParseQuery: it refuses the semicolons of media types.
		for pair := range strings.SplitSeq(query, "&") {
			v, ok := strings.CutPrefix(pair, "accept=")
			if !ok {
				continue
			}
			if v, err := url.PathUnescape(v); err == nil { // which leaves the "+" of "dicom+json" alone
				values = append(values, v)
			}
		}
	}
	if len(values) == 0 {
		values = r.Header.Values("Accept")
	}
	var a Accept
	for _, v := range values {
		a = appendRanges(a, v)
	}
	slices.SortStableFunc(a, func(x, y MediaRange) int { return y.Q - x.Q })
	return a
}

// Offer is a representation that a handler can make.
type Offer struct {
	Type string // "application/dicom+json"
	// Multipart: as parts of a multipart/related message, else as the body.
	Multipart bool
	// Syntax is the transfer syntax UID, or "" where there is none.
	Syntax string
	// Default: chosen also by a range without a transfer-syntax parameter.
	// Offers without a Syntax need not say so.
	Default bool
	// Alias: other media types under which clients ask for this one.
	Alias []string
}

// Choose returns the index of the offer to answer with and the range that chose
// it, or -1. Without any range the first offer is taken. Otherwise the best
// quality wins, then the more specific range, then the order of the client, then
// that of the offers.
func (a Accept) Choose(offers ...Offer) (int, *MediaRange) {
	if len(a) == 0 {
		if len(offers) == 0 {
			return -1, nil
		}
		return 0, nil
	}
	best, bestRange, bestRank := -1, (*MediaRange)(nil), 0
	for i := range offers {
		// The most specific range that matches an offer says how it is liked.
		var by *MediaRange
		spec := 0
		for k := range a {
			if n := a[k].matches(&offers[i]); n > spec {
				spec, by = n, &a[k]
			}
		}
		if by == nil || by.Q == 0 {
			continue
		}
		rank := by.Q<<20 | spec<<12 | (maxRanges-by.order)<<4
		if rank > bestRank {
			best, bestRange, bestRank = i, by, rank
		}
	}
	return best, bestRange
}

// matches returns how specifically the range names the offer; 0 when it does not.
func (m *MediaRange) matches(o *Offer) int {
	spec := 0
	switch {
	case m.Type == "*/*":
		spec = 1
	case m.Type == "multipart/*" || m.Type == "multipart/related" && m.Related == "":
		if !o.Multipart {
			return 0
		}
		spec = 3
	case m.Type == "multipart/related":
		if !o.Multipart {
			return 0
		}
		spec = typeMatch(m.Related, o)
	default:
		if o.Multipart {
			return 0
		}
		spec = typeMatch(m.Type, o)
	}
	switch {
	case spec == 0:
	case m.Syntax == "" && o.Syntax != "" && !o.Default:
		return 0
	case m.Syntax != "" && m.Syntax != "*" && o.Syntax != "" && m.Syntax != o.Syntax:
		return 0
	case m.Syntax != "" && m.Syntax == o.Syntax:
		spec += 4
	}
	return spec
}

func typeMatch(want string, o *Offer) int {
	switch {
	case want == o.Type:
		return 8
	case slices.Contains(o.Alias, want):
		return 7
	case want == "*/*":
		return 3
	case strings.HasSuffix(want, "/*") && strings.HasPrefix(o.Type, want[:len(want)-1]):
		return 5
	}
	return 0
}
