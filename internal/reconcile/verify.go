package reconcile

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"sync"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/internal/ledger"
	"github.com/strata-pacs/strata/internal/pack"
	"github.com/strata-pacs/strata/internal/seal"
	"github.com/strata-pacs/strata/storage"
)

// Gap is something that is missing or damaged. It names objects, never patients.
type Gap struct {
	What   string // a sentence
	Object string // name in the store; empty when it is about the index
}

// Report is what Verify and Rebuild found.
type Report struct {
	Sessions, Facts, Instances, Packs int

	Archived int   // packs that are there and could not be read: they must be restored first
	Shredded int   // facts whose key was destroyed since: nothing is missing
	Read     int64 // bytes of instances read and checked
	Gaps     []Gap
	MoreGaps int // past those listed
}

// Add adds what another report counted and found.
func (r *Report) Add(o Report) {
	r.Sessions, r.Facts, r.Instances, r.Packs = r.Sessions+o.Sessions, r.Facts+o.Facts, r.Instances+o.Instances, r.Packs+o.Packs
	r.Shredded += o.Shredded
	r.Archived += o.Archived
	r.Read += o.Read
	room := min(len(o.Gaps), max(0, maxGaps-len(r.Gaps)))
	r.Gaps = append(r.Gaps, o.Gaps[:room]...)
	r.MoreGaps += o.MoreGaps + len(o.Gaps) - room
}

// maxGaps is how many gaps a report lists.
const maxGaps = 1000

// VerifyOptions say how much Verify reads.
type VerifyOptions struct {
	// Sample is the share of instances whose bytes are read, 0 to 1. Facts are always all read.
	Sample float64
	// Progress, if set, is called as facts are done with, out of total.
	Progress func(done, total int)
	// Workers read side by side; 0 is 2.
	Workers int
	Seed    uint64 // of the sample
}

// Verify reads the log and what its facts name, and checks every number, tag
// and digest, and that the index knows every fact. Whatever is wrong is a gap in
// the report; the error is for what kept Verify from looking. Of a pack that must be
// restored before it can be read it checks that it is there.
//
// Sessions that are not over may grow meanwhile, this process's and other nodes': of
// them it wants what was there when it began. It catches up with all that is over first,
// so that what was written too late for Catchup is no gap.
func (r *Reconciler) Verify(ctx context.Context, o VerifyOptions) (Report, error) {
	v := r.check()
	v.sample, v.random = o.Sample, rand.New(rand.NewPCG(o.Seed, 1))
	if r.o.Log != nil {
		// What it cannot catch up with is found below, and told there.
		_, err := r.catchup(ctx, func(session string, _ archive.Progress) bool {
			v.growing[session] = r.grows(ctx, session)
			return v.growing[session]
		}, nil)
		if err != nil && len(v.growing) == 0 {
			return Report{}, err // it did not come so far as to look
		}
	}
	progress, err := r.o.Index.Progress(ctx, r.o.Tenant)
	if err != nil {
		return Report{}, fmt.Errorf("asking the index how far it is: %w", err)
	}
	for s, p := range progress {
		v.end(s, p.Last)
		if n := len(p.Applied); n > 0 {
			v.end(s, p.Applied[n-1].To)
		}
	}
	v.first = maps.Clone(v.ends)
	err = v.run(ctx, o.Workers, false, o.Progress, func(e archive.Entry) error {
		if !progress[e.Session].Has(e.N) && !v.growing[e.Session] {
			v.gap("the index does not know this fact; run strata rebuild", e.Object)
		}
		return v.bodies(ctx, ledger.Place{Session: e.Session, N: e.N}, e.Fact)
	})
	return v.report, err
}

func (r *Reconciler) check() *check {
	return &check{r: r, ends: map[string]uint64{}, growing: map[string]bool{}, packs: map[string]bool{}, closed: map[archive.KeyID]bool{},
		passed: map[string][]archive.Range{}}
}

// grows reports whether a session's process lives, and may write more of it.
func (r *Reconciler) grows(ctx context.Context, session string) bool {
	return r.o.Log != nil && (session == r.o.Log.Session() || !r.o.Over(ctx, session))
}

// check is one pass over the log.
type check struct {
	r       *Reconciler
	sample  float64
	first   map[string]uint64 // ends, before anything was listed
	growing map[string]bool   // sessions that were not over at first

	mu     sync.Mutex
	random *rand.Rand
	ends   map[string]uint64 // the last number that each session is known to have
	packs  map[string]bool   // checked
	report Report

	closed   map[archive.KeyID]bool     // that facts destroy
	passed   map[string][]archive.Range // numbers that settled facts supersede
	vanished bool                       // something that was listed is not there
	suspects []suspect
	judging  bool // every fact has been read
}

func (v *check) end(session string, n uint64) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.ends[session] = max(v.ends[session], n)
}

func (v *check) gap(what, object string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if len(v.report.Gaps) >= maxGaps {
		v.report.MoreGaps++
		return
	}
	v.report.Gaps = append(v.report.Gaps, Gap{what, object})
}

// turn is a place of the log, and when it is its turn where those are used in their order.
type turn struct {
	ledger.Place
	before <-chan struct{} // closed when all before it were used
	after  chan struct{}
}

// wait waits for the turn.
func (t turn) wait(ctx context.Context) error {
	select {
	case <-t.before:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// run reads every fact, several side by side, and hands each to use: in the order of the log, or whenever it is read. Missing
// and damaged ones become gaps.
func (v *check) run(ctx context.Context, workers int, ordered bool, progress func(done, total int), use func(archive.Entry) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	places, total, err := v.list(ctx)
	if err != nil {
		return err
	}
	if workers <= 0 {
		workers = 2
	}
	todo := make(chan turn)
	var wg sync.WaitGroup
	done := 0
	for range workers {
		wg.Go(func() {
			for p := range todo {
				err := v.fact(ctx, p.Place, func(e archive.Entry) error {
					if err := p.wait(ctx); err != nil {
						return err
					}
					return use(e)
				})
				if err == nil {
					err = p.wait(ctx)
				}
				if err != nil {
					cancel(err)
				}
				if ordered {
					close(p.after)
				}
				v.mu.Lock()
				done++
				n := done
				v.mu.Unlock()
				if progress != nil && (n%256 == 0 || n == total) {
					progress(n, total)
				}
			}
		})
	}
	first := make(chan struct{})
	close(first)
	before := first
feed:
	for _, session := range places {
		for _, p := range session {
			t := turn{Place: p, before: before}
			if ordered {
				t.after = make(chan struct{})
				before = t.after
			}
			select {
			case todo <- t:
			case <-ctx.Done():
				break feed
			}
		}
	}
	close(todo)
	wg.Wait()
	if err := context.Cause(ctx); err != nil {
		return err
	}
	if v.vanished {
		if err := v.later(ctx, places); err != nil {
			return err
		}
	}
	if err := v.judge(ctx, use); err != nil {
		return err
	}
	v.tails(ctx, places)
	return nil
}

// list finds every log object, session by session.
func (v *check) list(ctx context.Context) (places [][]ledger.Place, total int, err error) {
	sessions, err := ledger.Sessions(ctx, v.r.o.Bucket, v.r.o.Tenant)
	if err != nil {
		return nil, 0, err
	}
	for _, s := range sessions {
		if _, asked := v.growing[s]; !asked {
			v.growing[s] = v.r.o.Log != nil // it began only now
		}
		var of []ledger.Place
		for p, err := range ledger.Numbers(ctx, v.r.o.Bucket, v.r.o.Tenant, s, 0) {
			if err != nil {
				return nil, 0, err
			}
			of = append(of, p)
		}
		places, total = append(places, of), total+len(of)
	}
	v.report.Sessions = len(sessions)
	return places, total, nil
}

// tails compares the numbers that are there with those that must be. In a session
// that grows, numbers are not written in order: it must have what was known before.
func (v *check) tails(ctx context.Context, places [][]ledger.Place) {
	seen := map[string]bool{}
	for _, of := range places {
		session, next := of[0].Session, uint64(1)
		seen[session] = true
		growing, ends := v.growing[session], v.ends
		if growing {
			ends = v.first
		}
		for _, p := range of {
			if p.N > next && !growing {
				v.missing(session, next, p.N-1)
			}
			next = p.N + 1
		}
		if last := ends[session]; last >= next {
			v.missing(session, next, last)
		}
	}
	for session, last := range v.ends {
		if !seen[session] && last > 0 && (v.first[session] > 0 || !v.r.grows(ctx, session)) {
			v.missing(session, 1, last)
		}
	}
}

// missing tells of numbers of a session that are not there, but for those that settled facts explain.
func (v *check) missing(session string, from, to uint64) {
	holes(v.explained(session), from, to, func(from, to uint64) { v.lost(session, from, to) })
}

func (v *check) lost(session string, from, to uint64) {
	what := "a fact of the log is missing: what it stored is lost, or was never acknowledged"
	if from < to {
		what = fmt.Sprintf("%d facts of the log are missing, from this one on: what they stored is lost, or was never acknowledged", to-from+1)
	}
	v.gap(what, ledger.ObjectName(v.r.o.Tenant, session, from))
}

// fact reads one fact. What is wrong with it is a gap, not an error.
func (v *check) fact(ctx context.Context, p ledger.Place, use func(archive.Entry) error) error {
	object := ledger.ObjectName(v.r.o.Tenant, p.Session, p.N)
	e, err := ledger.ReadPlace(ctx, v.r.o.Bucket, v.r.o.Tenant, p, v.r.o.Keys.Secret, ledger.All)
	if u, ok := keyless(err); ok {
		e := shredded(p, v.r.o.Tenant, u)
		v.suspect(u.Fact.Key, p, &e, nil, "the key of a fact is not there: what it stored was never acknowledged, or the key is lost. Packs that it may name are kept", object)
		return nil
	}
	if bad, stop := sort(ctx, err); bad || stop != nil {
		if bad {
			v.gone(err)
			v.suspect(archive.KeyID{}, p, nil, nil, "a fact of the log is damaged: "+fault.Message(err), object)
		}
		return stop
	}
	v.mu.Lock()
	v.report.Facts++
	v.report.Instances += len(e.Fact.Instances)
	v.mu.Unlock()
	for _, end := range e.Fact.Sessions {
		v.end(end.Session, end.Last)
	}
	v.close(e.Fact)
	v.supersede(e.Fact)
	return use(e)
}

// gone notes an error that says that something is not there any more.
func (v *check) gone(err error) {
	if fault.Is(err, fault.NotFound) {
		v.mu.Lock()
		defer v.mu.Unlock()
		v.vanished = true
	}
}

// damaged sorts an error of reading what an entry of the log names, and its key seals: no gap where the key was
// destroyed or the entry superseded. It returns a reason to stop, if it is one.
func (v *check) damaged(ctx context.Context, key archive.KeyID, p ledger.Place, err error, object, what string) error {
	bad, stop := sort(ctx, err)
	if bad {
		v.gone(err)
		v.suspect(key, p, nil, nil, what+": "+fault.Message(err), object)
	}
	return stop
}

// sort reports whether an error of reading is about what was read; else it is a reason to stop, if it is one.
func sort(ctx context.Context, err error) (bad bool, stop error) {
	switch {
	case err == nil:
		return false, nil
	case ctx.Err() != nil:
		return false, context.Cause(ctx)
	case fault.Is(err, fault.Archived):
		return false, nil // it is there, and was checked before it went there
	case fault.Is(err, fault.KeyDenied), fault.Is(err, fault.KeyUnreachable), fault.Is(err, fault.Unavailable):
		return false, err
	}
	return true, nil
}

// bodies reads the blobs of a stored or settled fact.
func (v *check) bodies(ctx context.Context, p ledger.Place, f *archive.Fact) error {
	for i := range f.Instances {
		in := &f.Instances[i]
		v.mu.Lock()
		chosen := v.sample >= 1 || v.random.Float64() < v.sample
		first := in.At.Object != "" && !v.packs[in.At.Object]
		v.packs[in.At.Object] = true
		v.mu.Unlock()
		if first && pack.Is(v.r.o.Tenant, in.At.Object) {
			if err := v.pack(ctx, in.At.Object, in.Key, p); err != nil {
				return err
			}
		}
		if !chosen {
			continue
		}
		if err := v.instance(ctx, in, p); err != nil {
			return err
		}
	}
	return nil
}

// pack checks a pack as a region without keys would.
func (v *check) pack(ctx context.Context, object string, key archive.KeyID, p ledger.Place) error {
	attrs, err := v.r.o.Bucket.Stat(ctx, object)
	if err == nil && v.sample >= 1 {
		_, err = pack.Verify(ctx, v.r.o.Bucket, object, attrs.Size)
	}
	away := fault.Is(err, fault.Archived)
	err = v.damaged(ctx, key, p, err, object, "a pack is missing or damaged")
	v.mu.Lock()
	v.report.Packs++
	if away {
		v.report.Archived++
	}
	v.mu.Unlock()
	return err
}

// instance opens every segment of a blob and compares the digest.
func (v *check) instance(ctx context.Context, in *archive.Instance, p ledger.Place) error {
	secret, err := v.r.o.Keys.Secret(ctx, in.Key)
	if err == nil {
		defer secret.Wipe()
		sum := v.r.o.Keys.Digest()
		rd := seal.NewReader(source{v.r.o.Bucket, in.At}, secret, seal.Binding{Tenant: v.r.o.Tenant, Kind: seal.KindInstance, Key: in.Key},
			seal.ReadOptions{Blob: in.Blob, Coding: in.Coding, SegmentBits: in.SegmentBits, Plain: in.Size, Sealed: in.At.Length})
		var n int64
		if n, err = rd.WriteRange(ctx, struct{ io.Writer }{sum}, 0, -1); err == nil && archive.Digest(sum.Sum(nil)) != in.Digest {
			err = fault.Wrap(fault.Corrupt, errDigest, "the bytes are not those that were received")
		}
		v.mu.Lock()
		v.report.Read += n
		v.mu.Unlock()
	}
	return v.damaged(ctx, in.Key, p, err, in.At.Object, "an instance cannot be read back")
}

var errDigest = errors.New("digest differs")

// source reads a blob where it lies.
type source struct {
	bucket *storage.Bucket
	at     archive.Location
}

// ReadRange implements [seal.Source].
func (s source) ReadRange(ctx context.Context, off, n int64) (io.ReadCloser, error) {
	return s.bucket.Open(ctx, s.at.Object, s.at.Offset+off, n)
}
