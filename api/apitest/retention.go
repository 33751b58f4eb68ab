package apitest

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/internal/remove"
	"github.com/strata-pacs/strata/internal/retention"
)

// Retention is what api.Retention and api.Rewinder are of. Study 1.2.3 must be kept until the end of
// 2030 by set de, 1.2.4 was free at the end of 2020; 40 deletions can be undone, 20 in a call.
type Retention struct{ *Memory }

// Retention returns what keeps.
func (m *Memory) Retention() Retention { return Retention{m} }

// Policy is of api.Retention.
func (r Retention) Policy(_ context.Context, t archive.Tenant) (retention.Policy, error) {
	unlock, err := r.lock()
	defer unlock()
	return r.policy(t, err)
}

func (m *Memory) policy(t archive.Tenant, err error) (retention.Policy, error) {
	if _, ok := m.Tenants[t]; !ok && err == nil {
		err = fault.New(fault.NotFound, "there is no such tenant")
	}
	p := retention.Policy{Set: retention.Sets()[0], Default: m.Retained.Set == "", Rules: m.Retained.Rules, By: m.RetainedBy}
	if m.RetainedBy != "" {
		p.Stated = archive.FactID{1}
	}
	return p, err
}

// SetRules is of api.Retention.
func (r Retention) SetRules(_ context.Context, t archive.Tenant, document []byte, by string) (retention.Policy, error) {
	unlock, err := r.lock()
	defer unlock()
	d, bad := retention.Parse(document)
	if err == nil {
		err = bad
	}
	if err == nil {
		r.Retained, r.RetainedBy = d, by
	}
	return r.policy(t, err)
}

func check(study, until string) retention.Check {
	day, _ := time.Parse(time.DateOnly, until)
	return retention.Check{Study: archive.KeptStudy{UID: study, Instances: 3, Bytes: 3000, Modalities: []string{"CT"}, Received: Noon},
		Verdict: retention.Verdict{Until: day, Set: "de@2018-12-31", Rule: "examination", Why: "StrlSchG § 85 (2) no. 2: 10 years after the last examination"}}
}

// Check is of api.Retention.
func (r Retention) Check(_ context.Context, _ archive.Tenant, study string) (retention.Check, error) {
	unlock, err := r.lock()
	defer unlock()
	if study != "1.2.3" && err == nil {
		err = fault.New(fault.NotFound, "there is no such study")
	}
	c := check("1.2.3", "2030-12-31")
	for _, h := range r.HoldList {
		if !h.Lifted {
			c.Holds = append(c.Holds, h)
		}
	}
	return c, err
}

// Report is of api.Retention: two pages.
func (r Retention) Report(_ context.Context, _ archive.Tenant, ask retention.Report) (retention.Page, error) {
	unlock, err := r.lock()
	defer unlock()
	switch {
	case ask.After == (archive.Ref{}) && !ask.Held:
		return retention.Page{Studies: []retention.Check{check("1.2.4", "2020-12-31")}, Next: archive.Ref{1}}, err
	case ask.Before.Year() > 2031:
		return retention.Page{Studies: []retention.Check{check("1.2.3", "2030-12-31")}}, err
	}
	return retention.Page{}, err
}

// Hold is of api.Retention.
func (r Retention) Hold(_ context.Context, _ archive.Tenant, target retention.HoldTarget, reason, by string) (archive.Held, error) {
	unlock, err := r.lock()
	defer unlock()
	if err == nil && (target.Study == "") == (target.PatientID == "") {
		err = fault.New(fault.Invalid, "name either a study, or a patient")
	}
	if err != nil {
		return archive.Held{}, err
	}
	h := archive.Held{ID: archive.FactID{15: byte(len(r.HoldList) + 1)}, Hold: archive.Hold{Study: archive.Ref{1}, Reason: reason, By: by}}
	if target.PatientID != "" {
		h.Study, h.Patient = archive.Ref{}, archive.Ref{2}
		h.Studies = new(int)
	}
	r.HoldList = append(r.HoldList, h)
	return h, nil
}

// Release is of api.Retention.
func (r Retention) Release(_ context.Context, _ archive.Tenant, id archive.FactID, reason, by string) (archive.Held, error) {
	unlock, err := r.lock()
	defer unlock()
	if err == nil && by == "" {
		err = fault.New(fault.Forbidden, "only a named person can release a hold")
	}
	if err != nil {
		return archive.Held{}, err
	}
	for i := range r.HoldList {
		h := &r.HoldList[i]
		if h.ID != id {
			continue
		}
		for _, o := range h.Releases {
			if strings.EqualFold(o.By, by) {
				return archive.Held{}, fault.New(fault.Conflict, "you have released this hold")
			}
		}
		h.Releases = append(h.Releases, archive.Released{Fact: archive.FactID{14: 1}, Release: archive.Release{Hold: id, Reason: reason, By: by}})
		h.Lifted = archive.Lifted(h.Releases)
		return *h, nil
	}
	return archive.Held{}, fault.New(fault.NotFound, "there is no such hold")
}

// Holds is of api.Retention.
func (r Retention) Holds(_ context.Context, _ archive.Tenant, after archive.FactID, limit int) (out []archive.Held, err error) {
	unlock, err := r.lock()
	defer unlock()
	for _, h := range r.HoldList {
		if string(h.ID[:]) > string(after[:]) && len(out) < limit {
			out = append(out, h)
		}
	}
	return out, err
}

// Rewind is of api.Rewinder.
func (r Retention) Rewind(_ context.Context, _ archive.Tenant, w remove.Rewind) (remove.Rewound, error) {
	unlock, err := r.lock()
	defer unlock()
	if !w.DryRun {
		r.Rewinds = append(r.Rewinds, w)
	}
	out := remove.Rewound{Deletions: 20, Instances: 200, Versions: 1, StoredSince: 7, Next: fmt.Sprint("d:", len(w.After))}
	if len(out.Next)+len(w.After) > 5 {
		out.Next = ""
	}
	return out, err
}
