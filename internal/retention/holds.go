package retention

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/internal/ledger"
)

// HoldTarget names what is held: a study, or all studies of a patient, also those to come.
type HoldTarget struct {
	Study string // Study Instance UID
	// PatientID is (0010,0020); Issuer (0010,0021) narrows it where it is set.
	PatientID, Issuer string
}

// Hold states a legal hold by a person. What is held need not be there yet. What is there when it returns is not destroyed
// from then on, whatever was under way.
func (k *Keeper) Hold(ctx context.Context, target HoldTarget, reason, by string) (archive.Held, error) {
	h := &archive.Hold{Reason: strings.TrimSpace(reason), By: by}
	given := target
	target.PatientID, target.Issuer = significant(target.PatientID), significant(target.Issuer)
	switch {
	case given.PatientID != "" && target.PatientID == "", given.Issuer != "" && target.Issuer == "":
		return archive.Held{}, fault.New(fault.Invalid, "a Patient ID or issuer of blanks alone names nobody")
	case (target.Study == "") == (target.PatientID == "") || target.Study != "" && target.Issuer != "":
		return archive.Held{}, fault.New(fault.Invalid, "name either a study, or a patient with or without an issuer, to hold")
	case target.Study != "":
		h.Study = k.o.Refs.Ref(target.Study)
	case target.Issuer != "":
		h.Patient = k.o.Refs.Ref(archive.IssuedRef(target.PatientID, target.Issuer))
	default:
		h.Patient = k.o.Refs.Ref(archive.PatientRef(target.PatientID))
	}
	if err := words(h.Reason); err != nil {
		return archive.Held{}, err
	}
	if !h.Valid() {
		return archive.Held{}, fault.New(fault.Forbidden, "a hold needs somebody who orders it")
	}
	f := &archive.Fact{ID: k.o.Log.NewFactID(), Kind: archive.FactHeld, Study: h.Study, Hold: h}
	if err := k.protect(ctx, f); err != nil {
		return archive.Held{}, fmt.Errorf("stating a hold: %w", err)
	}
	held, err := k.o.Index.HoldOf(ctx, k.o.Tenant, f.ID)
	if err != nil {
		return held, err
	}
	list := []archive.Held{held}
	_ = k.count(ctx, list) // the hold stands all the same: an error would have it stated twice
	return list[0], nil
}

// significant is a Patient ID or its issuer without what has no meaning in a value of representation LO: blanks around
// it (PS3.5 6.2), and padding.
func significant(value string) string { return strings.Trim(value, " \x00") }

// patients are the references by which a hold may name a patient: with and without an issuer, and, as blanks
// around them have no meaning, as stated, too, since holds of earlier versions name them so.
func (k *Keeper) patients(id, issuer string) []archive.Ref {
	refs := []archive.Ref{k.o.Refs.Ref(archive.PatientRef(id)), k.o.Refs.Ref(archive.IssuedRef(id, issuer))}
	if i, by := significant(id), significant(issuer); i != "" && (i != id || by != issuer) {
		refs = append(refs, k.o.Refs.Ref(archive.PatientRef(i)), k.o.Refs.Ref(archive.IssuedRef(i, by)))
		slices.SortFunc(refs, func(a, b archive.Ref) int { return bytes.Compare(a[:], b[:]) })
		refs = slices.Compact(refs)
	}
	return refs
}

// countPage is how many studies are read at once where those of patients are counted.
const countPage = 2000

// count finds out how many studies the holds that stand are about now. For those of patients it reads all
// there are, as a hold does not tell who they are. While the index is being filled nobody knows.
func (k *Keeper) count(ctx context.Context, holds []archive.Held) error {
	if !k.whole() {
		return nil
	}
	about := map[archive.Ref]int{} // studies by the reference of a patient
	for i := range holds {
		switch h := &holds[i]; {
		case h.Lifted:
		case h.Patient != archive.Ref{}:
			about[h.Patient] = 0
		default:
			_, there, err := k.o.Index.Kept(ctx, k.o.Tenant, h.Study)
			if err != nil {
				return err
			}
			n := 0
			if there {
				n = 1
			}
			h.Studies = &n
		}
	}
	if len(about) == 0 {
		return nil
	}
	for after := (archive.Ref{}); ; {
		page, err := k.o.Index.PersonsAfter(ctx, k.o.Tenant, after, countPage)
		if err != nil {
			return err
		}
		for i := range page {
			after = page[i].Study
			found := map[archive.Ref]bool{}
			for _, p := range page[i].Persons {
				if p.PatientID == "" {
					continue
				}
				for _, ref := range k.patients(p.PatientID, p.Issuer) {
					if _, held := about[ref]; held {
						found[ref] = true
					}
				}
			}
			for ref := range found {
				about[ref]++
			}
		}
		if len(page) < countPage {
			break
		}
	}
	for i := range holds {
		if h := &holds[i]; !h.Lifted && h.Patient != (archive.Ref{}) {
			n := about[h.Patient]
			h.Studies = &n
		}
	}
	return nil
}

func words(reason string) error {
	if reason == "" || len(reason) > archive.MaxReason {
		return fault.New(fault.Invalid, "give a reason, at most %d bytes", archive.MaxReason)
	}
	return nil
}

// Release states that a person lets go of a hold. It is lifted when a second, different person
// does. fault.NotFound when there is no such hold, fault.Forbidden for nobody in particular, fault.Conflict where the
// person has released it before or it is lifted already.
func (k *Keeper) Release(ctx context.Context, id archive.FactID, reason, by string) (archive.Held, error) {
	if by == "" || len(by) > archive.MaxPerson {
		return archive.Held{}, fault.New(fault.Forbidden, "only a named person can release a hold: use a token that has a name (name=token in the token file), or the control socket under one's own account")
	}
	reason = strings.TrimSpace(reason)
	if err := words(reason); err != nil {
		return archive.Held{}, err
	}
	h, err := k.o.Index.HoldOf(ctx, k.o.Tenant, id)
	if err != nil {
		return archive.Held{}, err
	}
	if h.Lifted {
		return archive.Held{}, fault.New(fault.Conflict, "this hold has been lifted")
	}
	for i := range h.Releases {
		if strings.EqualFold(h.Releases[i].By, by) {
			return archive.Held{}, fault.New(fault.Conflict, "you have released this hold; somebody else must do so too")
		}
	}
	f := &archive.Fact{ID: k.o.Log.NewFactID(), Kind: archive.FactReleased, Study: h.Study, Release: &archive.Release{Hold: id, Reason: reason, By: by}}
	if err := ledger.State(ctx, k.o.Log, k.o.Index, k.o.Tenant, f); err != nil {
		return archive.Held{}, fmt.Errorf("releasing a hold: %w", err)
	}
	return k.o.Index.HoldOf(ctx, k.o.Tenant, id)
}

// Holds returns up to limit holds that were stated after one, lifted ones too, ascending. Those that stand say how
// many studies they are about.
func (k *Keeper) Holds(ctx context.Context, after archive.FactID, limit int) ([]archive.Held, error) {
	holds, err := k.o.Index.Holds(ctx, k.o.Tenant, after, limit)
	if err == nil {
		if err = k.count(ctx, holds); err != nil {
			err = fmt.Errorf("counting the studies that are held: %w", err)
		}
	}
	return holds, err
}
