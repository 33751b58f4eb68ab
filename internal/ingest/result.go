package ingest

import (
	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/dicom"
	"github.com/strata-pacs/strata/internal/fault"
)

// Outcome says what became of one instance.
type Outcome uint8

const (
	// Refused: nothing of the instance was kept; Reason and Err say why.
	Refused Outcome = iota
	// Stored: the instance is durable and indexed.
	Stored
	// Known: the archive holds these very bytes already.
	Known
)

// Failure and warning reasons (PS3.18 Table I.2-2, PS3.4 Table B.2-1, PS3.7 Annex C).
const (
	ReasonOutOfResources   uint16 = 0xA700
	ReasonMismatch         uint16 = 0xA900 // the instance is not of the study in the request
	ReasonNotUnderstood    uint16 = 0xC000
	ReasonProcessing       uint16 = 0x0110
	ReasonDuplicate        uint16 = 0x0111
	ReasonInvalidInstance  uint16 = 0x0117 // a UID breaks the rules of PS3.5 §9.1
	ReasonMissingAttribute uint16 = 0x0120
	ReasonMissingValue     uint16 = 0x0121

	WarningDataset uint16 = 0xB007 // stored; something about the data set is worth a look
)

// Result is what became of one instance of a request.
type Result struct {
	archive.UIDs
	SOPClass string
	Outcome  Outcome
	// Reason is a failure reason when refused, a warning reason when stored
	// with a remark, 0 otherwise.
	Reason uint16
	// Detail is a sentence for the user about Reason, or without one about
	// something worth knowing.
	Detail string
	// Tags are the attributes that Detail is about.
	Tags []dicom.Tag
	// Err is the classified cause when refused.
	Err error
	// Dataset is what could be parsed of a refused instance; nil otherwise.
	Dataset *dicom.Dataset
}

func refused(u archive.UIDs, class string, reason uint16, err error) Result {
	return Result{UIDs: u, SOPClass: class, Outcome: Refused, Reason: reason, Detail: fault.Message(err), Err: err}
}

// reasonOf maps the kind of a failure that is not about the data set itself.
func reasonOf(err error) uint16 {
	switch fault.KindOf(err) {
	case fault.Full, fault.Busy, fault.Unavailable, fault.TooLarge:
		return ReasonOutOfResources
	case fault.Invalid:
		return ReasonNotUnderstood
	case fault.Exists:
		return ReasonDuplicate
	}
	return ReasonProcessing
}

// Policy says what happens to an instance whose UIDs are known with other bytes.
type Policy uint8

const (
	// KeepFirst stores the newcomer as a hidden version, with a warning.
	KeepFirst Policy = iota
	// Replace shows the newcomer and hides what was there, with a warning.
	Replace
	// Refuse turns the newcomer away (0111H).
	Refuse
)

// ParsePolicy reads the configuration's words for a Policy.
func ParsePolicy(s string) (Policy, error) {
	switch s {
	case "keep-first", "":
		return KeepFirst, nil
	case "replace":
		return Replace, nil
	case "refuse":
		return Refuse, nil
	}
	return 0, fault.New(fault.Invalid, "duplicates must be keep-first, replace or refuse")
}
