package ledger

import (
	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/fault"
)

// ordered encodes the record of what people order: a held, released or rule fact.
func ordered(f *archive.Fact) ([]byte, error) {
	switch {
	case f.Kind == archive.FactHeld && f.Hold.Valid() && f.Hold.Study == f.Study:
		b := append([]byte(nil), f.Hold.Patient[:]...)
		return appendString(appendString(b, f.Hold.Reason), f.Hold.By), nil
	case f.Kind == archive.FactReleased && f.Release.Valid():
		b := append([]byte(nil), f.Release.Hold[:]...)
		return appendString(appendString(b, f.Release.Reason), f.Release.By), nil
	case f.Kind == archive.FactRule && f.Rules.Valid():
		b := appendString(nil, f.Rules.Name)
		return appendString(appendString(b, f.Rules.By), string(f.Rules.Document)), nil
	}
	return nil, fault.New(fault.Internal, "writing a fact: a hold, release or rule that cannot be stated")
}

// decodeOrdered reads the payload of a held, released or rule fact.
func decodeOrdered(s string, f *archive.Fact) error {
	d := &decoder{s: s}
	var valid bool
	switch f.Kind {
	case archive.FactHeld:
		f.Hold = &archive.Hold{Study: f.Study}
		copy(f.Hold.Patient[:], d.bytes(16))
		f.Hold.Reason, f.Hold.By = d.text(), d.text()
		valid = f.Hold.Valid()
	case archive.FactReleased:
		f.Release = &archive.Release{}
		copy(f.Release.Hold[:], d.bytes(16))
		f.Release.Reason, f.Release.By = d.text(), d.text()
		valid = f.Release.Valid()
	case archive.FactRule:
		f.Rules = &archive.RuleSet{Name: d.text(), By: d.text(), Document: []byte(d.text())}
		valid = f.Rules.Valid()
	}
	if d.bad || !valid {
		return corrupt(ErrRecord)
	}
	return nil
}
