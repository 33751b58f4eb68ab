package dicomweb

import (
	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/dicom"
)

type Outcome uint8

const (
	Refused Outcome = iota
	Stored
	Known
)

type StoreResult struct {
	archive.UIDs
	SOPClass string
	Outcome  Outcome
	Reason   uint16
	Detail   string
	Tags     []dicom.Tag
	Err      error
	Dataset  *dicom.Dataset
}
