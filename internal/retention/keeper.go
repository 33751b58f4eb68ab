// Package retention says until when a study must be kept, and refuses to delete it before.
//
// # What is demanded
//
// A [Set] is what a law demands: named, dated, readable. The edition in force on the day of asking counts for
// every study, however old, as laws on records have it, unless a tenant pins an edition. A tenant's own rules
// come on top and can only lengthen. What is not known of a study never shortens: no birth date counts as that of a newborn,
// a date that cannot be right as the day of receipt, no modality as any. Where nobody chose a
// set, nothing is demanded.
//
// # Holds
//
// A legal hold on a study or a patient forbids every deletion until two different persons released it. They are
// told apart by the names of their tokens or accounts; who ordered the hold may be one of them.
//
// # Where it is asked
//
// Deletions over DICOMweb, shredding, rules that delete, and the purge of bytes ask a [Keeper] first. Between its answer and a deletion
// a hold may be stated: what was deleted then can be brought back, since the purge asks again. Purge and shredding, which
// cannot be undone, and holds and rules are stated as package intent has it: who was told that a hold or a rule stands loses nothing to
// what is destroyed afterwards.
//
// # Whose clock
//
// A period is over when it is by the clock of this node and by that of the store, so that neither lets go of anything when it is ahead
// alone. Where the day of receipt counts, it is what the fact says.
package retention

import (
	"context"
	"fmt"
	"time"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/internal/ledger"
	"github.com/strata-pacs/strata/internal/pack"
)

// Index is what keeping needs of the index.
type Index interface {
	// Kept returns what decides how long a study must be kept, and whether there is such a study.
	Kept(ctx context.Context, t archive.Tenant, study archive.Ref) (archive.KeptStudy, bool, error)
	// KeptAfter returns the studies whose references follow one, ascending, up to limit.
	KeptAfter(ctx context.Context, t archive.Tenant, after archive.Ref, limit int) ([]archive.KeptStudy, error)
	// PersonsAfter returns them without their modalities.
	PersonsAfter(ctx context.Context, t archive.Tenant, after archive.Ref, limit int) ([]archive.KeptStudy, error)
	// StudiesOf returns the studies of a Patient ID and, unless it is empty, its issuer.
	StudiesOf(ctx context.Context, t archive.Tenant, patientID, issuer string) ([]archive.Ref, error)
	// Exams returns up to limit examinations of a patient, the newest first by their stated dates.
	Exams(ctx context.Context, t archive.Tenant, patientID, issuer string, limit int) ([]archive.Exam, error)
	// HeldBy returns the holds that stand on a study or one of the patients.
	HeldBy(ctx context.Context, t archive.Tenant, study archive.Ref, patients ...archive.Ref) ([]archive.Held, error)
	Holds(ctx context.Context, t archive.Tenant, after archive.FactID, limit int) ([]archive.Held, error)
	HoldOf(ctx context.Context, t archive.Tenant, id archive.FactID) (archive.Held, error)
	RuleSet(ctx context.Context, t archive.Tenant, name string) (archive.RuleSet, archive.FactID, error)
	Apply(ctx context.Context, t archive.Tenant, entries ...archive.Entry) ([]archive.Applied, error)
}

// Log is what keeping needs of the tenant's log.
type Log interface {
	NewFactID() archive.FactID
	NewFactIDAfter(other archive.FactID) archive.FactID
	Append(ctx context.Context, f *archive.Fact, body *pack.Body) (archive.Entry, error)
}

// Refs gives the keyed hash of a UID.
type Refs interface{ Ref(uid string) archive.Ref }

// Options are the parts of a Keeper. All are required, but for those that say otherwise.
type Options struct {
	Tenant archive.Tenant
	Index  Index
	Log    Log
	Refs   Refs
	Set    string // for a tenant whose rules name none; empty is None
	Now    func() time.Time
	// StoreTime asks the store for its time; nil: its clock is Now.
	StoreTime func(ctx context.Context) (time.Time, error)
	// Protect, if set, has what is about to be destroyed of a study, or with a zero reference of any, not be destroyed any more
	// unless it may be: it is called when a hold or rules are in the index, before that is acknowledged.
	Protect func(ctx context.Context, study archive.Ref) error
	// Whole reports whether the index has all of the log; nil: always. While it has not, the
	// patient's later examinations may be missing, so nothing that has a period is free.
	Whole func() bool
}

// Keeper says what must be kept of a tenant. It is safe for concurrent use.
type Keeper struct{ o Options }

// New returns a Keeper.
func New(o Options) *Keeper { return &Keeper{o} }

// Forever is later than every date; a study that is held must be kept until then.
var Forever = time.Date(9999, 12, 31, 0, 0, 0, 0, time.UTC)

// maxExams bounds how many examinations of a patient are looked at.
const maxExams = 1000

// Policy returns what holds for the tenant now.
func (k *Keeper) Policy(ctx context.Context) (Policy, error) {
	set, stated, err := k.o.Index.RuleSet(ctx, k.o.Tenant, archive.RulesRetention)
	if err != nil {
		return Policy{}, fmt.Errorf("reading the rules of retention: %w", err)
	}
	var d Document
	if stated != (archive.FactID{}) {
		if d, err = Parse(set.Document); err != nil {
			// Newer rules than this version understands, or damage: who cannot read them must not delete.
			return Policy{}, fault.Wrap(fault.Conflict, err, "this version of Strata cannot read the tenant's rules of retention; state them anew, or use a newer one")
		}
	}
	p, err := policy(d, k.o.Set, k.o.Now())
	p.By, p.Stated = set.By, stated
	return p, err
}

// Check is what there is to say of a study.
type Check struct {
	Study   archive.KeptStudy
	Verdict Verdict
	Holds   []archive.Held // that stand
}

// Check looks at a study; fault.NotFound when there is none.
func (k *Keeper) Check(ctx context.Context, study archive.Ref) (Check, error) {
	s, ok, err := k.o.Index.Kept(ctx, k.o.Tenant, study)
	switch {
	case err != nil:
		return Check{}, fmt.Errorf("asking how long a study must be kept: %w", err)
	case !ok && !k.whole():
		return Check{}, errPartial
	case !ok:
		return Check{}, fault.New(fault.NotFound, "there is no such study")
	}
	p, err := k.Policy(ctx)
	if err == nil && len(p.Set.Rules)+len(p.Rules) > 0 && !k.whole() {
		err = errPartial
	}
	if err != nil {
		return Check{}, err
	}
	return k.check(ctx, &p, s, time.Time{})
}

// errPartial is the answer while the index is being filled.
var errPartial = fault.New(fault.Unavailable, "the index is being filled; how long this must be kept is known when it is whole: try again later")

func (k *Keeper) whole() bool { return k.o.Whole == nil || k.o.Whole() }

// check evaluates a study. One whose period, counted from itself alone, ends later than enough need not be looked at further.
func (k *Keeper) check(ctx context.Context, p *Policy, s archive.KeptStudy, enough time.Time) (c Check, err error) {
	now := k.o.Now()
	c.Study = s
	var patients []archive.Ref
	var others []archive.Exam
	alone := p.Evaluate(&s, nil, now)
	look := !alone.Until.IsZero() && (enough.IsZero() || !alone.Until.After(enough) || shortens(p))
	for i, person := range s.Persons {
		if person.PatientID == "" || i > 0 && person.PatientID == s.Persons[i-1].PatientID && person.Issuer == s.Persons[i-1].Issuer {
			continue
		}
		patients = append(patients, k.patients(person.PatientID, person.Issuer)...)
		if !look {
			continue
		}
		exams, err := k.o.Index.Exams(ctx, k.o.Tenant, person.PatientID, person.Issuer, maxExams)
		if err != nil {
			return c, fmt.Errorf("looking up a patient's examinations: %w", err)
		}
		others = append(others, exams...)
	}
	c.Verdict = p.Evaluate(&s, others, now)
	if c.Holds, err = k.o.Index.HeldBy(ctx, k.o.Tenant, s.Study, patients...); err != nil {
		return c, fmt.Errorf("asking whether a study is held: %w", err)
	}
	return c, nil
}

// shortens reports whether a later examination can shorten what a rule demands.
func shortens(p *Policy) bool {
	for _, rules := range [][]Rule{p.Set.Rules, p.Rules} {
		for i := range rules {
			if rules[i].YearsIfLater > 0 {
				return true
			}
		}
	}
	return false
}

// Until returns from when the study may be deleted, and why not before, as a sentence for the user: zero and
// "" where it may be now, [Forever] under a hold, and of a study that is not there zero.
func (k *Keeper) Until(ctx context.Context, t archive.Tenant, study archive.Ref) (time.Time, string, error) {
	if t != k.o.Tenant {
		return Forever, "", fault.New(fault.Internal, "asking how long to keep a study of another tenant")
	}
	c, err := k.Check(ctx, study)
	switch {
	case fault.Is(err, fault.NotFound):
		return time.Time{}, "", nil
	case err != nil:
		return Forever, "", err
	case len(c.Holds) > 0:
		return Forever, "a legal hold stands on this; it can be deleted when two persons have released the hold (strata hold release)", nil
	}
	over, err := k.over(ctx, c.Verdict)
	if err != nil {
		return Forever, "", err
	}
	if free := c.Verdict.Free(); !over {
		return free, fmt.Sprintf("this must be kept until %s (%s); it can be deleted from %s on",
			c.Verdict.Until.Format(time.DateOnly), c.Verdict.Why, free.Format("2006-01-02 15:04Z")), nil
	}
	return time.Time{}, "", nil
}

// over reports whether what a verdict demands is over, by this node's clock and by the store's.
func (k *Keeper) over(ctx context.Context, v Verdict) (bool, error) {
	free := v.Free()
	if free.IsZero() || free.After(k.o.Now()) || k.o.StoreTime == nil {
		return !free.After(k.o.Now()), nil
	}
	now, err := k.o.StoreTime(ctx)
	if err != nil {
		return false, fmt.Errorf("asking the store whether a period is over: %w", err)
	}
	return !free.After(now), nil
}

// LockUntil returns until when the store should lock what it has of a study, where it can: until its period
// ends, by what is known of it now. Zero: it need not. Holds do not count, as no lock can be lifted.
func (k *Keeper) LockUntil(ctx context.Context, t archive.Tenant, study archive.Ref) (time.Time, error) {
	if t != k.o.Tenant {
		return time.Time{}, fault.New(fault.Internal, "asking how long to lock a study of another tenant")
	}
	c, err := k.Check(ctx, study)
	if fault.Is(err, fault.NotFound) {
		return time.Time{}, nil
	}
	return c.Verdict.Free(), err
}

// Others returns the other studies of the patients of one, where the tenant's rules demand anything: how long they must be kept may depend on it.
func (k *Keeper) Others(ctx context.Context, study archive.Ref) (others []archive.Ref, err error) {
	p, err := k.Policy(ctx)
	if err != nil || len(p.Set.Rules)+len(p.Rules) == 0 {
		return nil, err
	}
	s, ok, err := k.o.Index.Kept(ctx, k.o.Tenant, study)
	if err != nil || !ok {
		return nil, err
	}
	seen := map[archive.Ref]bool{study: true}
	asked := map[archive.KeptPerson]bool{}
	for _, person := range s.Persons {
		who := archive.KeptPerson{PatientID: person.PatientID, Issuer: person.Issuer}
		if who.PatientID == "" || asked[who] {
			continue
		}
		asked[who] = true
		refs, err := k.o.Index.StudiesOf(ctx, k.o.Tenant, who.PatientID, who.Issuer)
		if err != nil {
			return nil, fmt.Errorf("looking up the studies of a patient: %w", err)
		}
		for _, ref := range refs {
			if !seen[ref] {
				seen[ref] = true
				others = append(others, ref)
			}
		}
	}
	return others, nil
}

// Held returns why a study must not be destroyed, as a sentence for the user, and "" where it may.
func (k *Keeper) Held(ctx context.Context, t archive.Tenant, study archive.Ref) (string, error) {
	_, reason, err := k.Until(ctx, t, study)
	return reason, err
}

// protect makes a fact durable, then known, and then keeps what it protects, a study or perhaps any, from being destroyed.
func (k *Keeper) protect(ctx context.Context, f *archive.Fact) error {
	err := ledger.State(ctx, k.o.Log, k.o.Index, k.o.Tenant, f)
	if err == nil && k.o.Protect != nil {
		if err = k.o.Protect(ctx, f.Study); err != nil {
			err = fmt.Errorf("it is stated, but something may be about to be destroyed all the same; state it again: %w", err)
		}
	}
	return err
}

// SetRules states the tenant's rules of retention; fault.Invalid where they are none.
func (k *Keeper) SetRules(ctx context.Context, document []byte, by string) (Policy, error) {
	if _, err := Parse(document); err != nil {
		return Policy{}, err
	}
	_, before, err := k.o.Index.RuleSet(ctx, k.o.Tenant, archive.RulesRetention)
	if err != nil {
		return Policy{}, fmt.Errorf("reading the rules of retention: %w", err)
	}
	f := &archive.Fact{ID: k.o.Log.NewFactIDAfter(before), Kind: archive.FactRule, Rules: &archive.RuleSet{Name: archive.RulesRetention, Document: document, By: by}}
	if err := k.protect(ctx, f); err != nil {
		return Policy{}, fmt.Errorf("stating the rules of retention: %w", err)
	}
	return k.Policy(ctx)
}
