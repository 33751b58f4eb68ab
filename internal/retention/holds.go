package retention

import (
	"context"
	"fmt"
	"strings"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/fault"
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
	switch {
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
	return k.o.Index.HoldOf(ctx, k.o.Tenant, f.ID)
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
	if err := k.state(ctx, f); err != nil {
		return archive.Held{}, fmt.Errorf("releasing a hold: %w", err)
	}
	return k.o.Index.HoldOf(ctx, k.o.Tenant, id)
}

// Holds returns up to limit holds that were stated after one, lifted ones too, ascending.
func (k *Keeper) Holds(ctx context.Context, after archive.FactID, limit int) ([]archive.Held, error) {
	return k.o.Index.Holds(ctx, k.o.Tenant, after, limit)
}
