package dicomxml

import (
	"github.com/strata-pacs/strata/internal/dicom"
	"github.com/strata-pacs/strata/internal/dicom/dicomjson"
)

// Append appends the Native DICOM Model of the data set; bulkBase goes before each bulk data reference.
func Append(dst []byte, d *dicom.Dataset, bulkBase string) []byte { return dst }

// FromJSON appends the Native DICOM Model of a DICOM JSON object; bulkBase goes before each relative BulkDataURI.
func FromJSON(dst, json []byte, bulkBase string) ([]byte, error) { return dst, nil }

// Parse reads one Native DICOM Model document.
func Parse(text []byte, l dicomjson.Limits) (*dicomjson.Parsed, error) { return nil, nil }
