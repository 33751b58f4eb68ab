package drill

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/internal/ledger"
)

// errNoKey is what a scan of the log gives instead of keys: the clear headers are enough.
var errNoKey = errors.New("no key is used")

func noKeys(context.Context, archive.KeyID) (archive.Secret, error) {
	return archive.Secret{}, errNoKey
}

// readers is how many log objects are asked for at once.
const readers = 16

// drawFromLog looks at the clear header of every fact, and keeps the entries of the studies that are drawn.
func (d *drill) drawFromLog(ctx context.Context, s *sampler) ([]*picked, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	todo := make(chan ledger.Place)
	var mu sync.Mutex // guards the report and the sampler
	var wg sync.WaitGroup
	for range readers {
		wg.Go(func() {
			for p := range todo {
				e, err := ledger.ReadPlace(ctx, d.hot, d.o.Tenant, p, noKeys, ledger.Index)
				var u *ledger.Unopened
				mu.Lock()
				switch {
				case errors.As(err, &u):
					d.report.Of.Facts++
					d.note(s, archive.Entry{Session: p.Session, N: p.N, Size: e.Size, Fact: &u.Fact})
				case ctx.Err() != nil, fault.Is(err, fault.NotFound): // superseded and removed since it was listed
				case err != nil:
					d.fail("a fact of the log cannot be read: "+fault.Message(err), e.Object)
				}
				mu.Unlock()
			}
		})
	}
	err := d.list(ctx, func(p ledger.Place) bool {
		select {
		case todo <- p:
			return true
		case <-ctx.Done():
			return false
		}
	})
	close(todo)
	wg.Wait()
	if err == nil {
		err = context.Cause(ctx)
	}
	if err == nil {
		err = d.measure(ctx)
	}
	if err != nil {
		return nil, err
	}
	out := s.drawn()
	d.report.Of.Studies = s.studies()
	for _, p := range out {
		p.settle()
	}
	return slices.DeleteFunc(out, func(p *picked) bool { return len(p.entries) == 0 }), nil
}

// list calls yield for every log object.
func (d *drill) list(ctx context.Context, yield func(ledger.Place) bool) error {
	sessions, err := ledger.Sessions(ctx, d.hot, d.o.Tenant)
	if err != nil {
		return err
	}
	for _, session := range sessions {
		for p, err := range ledger.Numbers(ctx, d.hot, d.o.Tenant, session, 0) {
			if err != nil {
				return err
			}
			u := d.whole[archive.HotTier]
			u.Tier, u.Objects, u.Bytes = archive.HotTier, u.Objects+1, u.Bytes+p.Size
			d.whole[archive.HotTier] = u
			if !yield(p) {
				return nil
			}
		}
	}
	return nil
}

// note keeps what a header says of a study that is drawn so far.
func (d *drill) note(s *sampler, e archive.Entry) {
	if e.Fact.Study == (archive.Ref{}) {
		return
	}
	switch e.Fact.Kind {
	case archive.FactStored, archive.FactSettled, archive.FactMoved, archive.FactKeyClosed:
	default:
		return
	}
	p := s.offer(e.Fact.Study)
	if p == nil {
		return
	}
	p.entries = append(p.entries, archive.LogEntry{Session: e.Session, N: e.N, Fact: e.Fact.ID, Kind: e.Fact.Kind, Size: e.Size})
	p.headers = append(p.headers, e)
}

// settle leaves out what settled facts supersede, and tells where the packs are.
func (p *picked) settle() {
	v := viewOf(p.headers)
	p.headers = nil
	p.entries = slices.DeleteFunc(p.entries, func(e archive.LogEntry) bool { return v.superseded(e.Session, e.N) })
	if !slices.ContainsFunc(p.entries, func(e archive.LogEntry) bool {
		return e.Kind == archive.FactStored || e.Kind == archive.FactSettled
	}) {
		p.entries = nil
	}
	slices.SortFunc(p.entries, func(a, b archive.LogEntry) int { return strings.Compare(string(a.Fact[:]), string(b.Fact[:])) })
	for _, k := range v.packs {
		if _, ok := v.needed[k.Object]; ok {
			p.packs = append(p.packs, archive.PackState{PackPlace: k.PackPlace, Fact: k.fact})
		}
	}
	slices.SortFunc(p.packs, func(a, b archive.PackState) int { return strings.Compare(a.Object, b.Object) })
}

// measure counts the packs in each store. Which of the tiers of a store each is in, only the facts
// tell: all count for the slowest.
func (d *drill) measure(ctx context.Context) error {
	slowest := map[string]archive.Tier{}
	for _, t := range d.o.Tiers.All() {
		slowest[t.Store] = t
	}
	for _, t := range slowest {
		b, _, _ := d.o.Tiers.Tier(t.Name)
		u := d.whole[t.Name]
		u.Tier = t.Name
		for o, err := range b.All(ctx, string(d.o.Tenant)+"/pack/", "") {
			if err != nil {
				return err
			}
			u.Objects, u.Bytes = u.Objects+1, u.Bytes+o.Size
		}
		d.whole[t.Name] = u
	}
	return nil
}
