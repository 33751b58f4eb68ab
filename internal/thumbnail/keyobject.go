package thumbnail

import (
	"encoding/json"
	"slices"

	"github.com/strata-pacs/strata/internal/archive"
)

// marked is an image, and perhaps a frame of it, that a document points out.
type marked struct {
	uids  archive.UIDs
	frame int // 0: the document names none
}

const (
	maxDocument = 1 << 20 // bytes of JSON; a larger document is not looked at
	maxMarked   = 16      // images of a document that are looked up
)

// rejecting are titles (PS3.16 CID 7011) under which a document takes images
// out of use rather than points them out.
var rejecting = []string{
	"113001", // Rejected for Quality Reasons
	"113010", // Quality Issue
	"113037", // Rejected for Patient Safety Reasons
	"113038", // Incorrect Modality Worklist Entry
	"113039", // Data Retention Policy Expired
}

// jsonDataset is a data set in the DICOM JSON model (PS3.18 §F.2).
type jsonDataset map[string]struct {
	Value []json.RawMessage `json:"Value"`
}

func (d jsonDataset) items(tag string) (items []jsonDataset) {
	for _, v := range d[tag].Value {
		var item jsonDataset
		if json.Unmarshal(v, &item) == nil {
			items = append(items, item)
		}
	}
	return items
}

func (d jsonDataset) text(tag string) (s string) {
	if v := d[tag].Value; len(v) > 0 {
		_ = json.Unmarshal(v[0], &s) // what is no text is none
	}
	return s
}

func (d jsonDataset) number(tag string) (n int) {
	if v := d[tag].Value; len(v) > 0 {
		_ = json.Unmarshal(v[0], &n)
	}
	return n
}

// keyObjects returns what a Key Object Selection document (PS3.3 §A.35.4), given
// as a JSON array of one data set, points out in the study, in its order. A document
// that cannot be understood points out nothing.
func keyObjects(text []byte, study string) (list []marked) {
	var sets []jsonDataset
	if len(text) > maxDocument || json.Unmarshal(text, &sets) != nil || len(sets) != 1 {
		return nil
	}
	d := sets[0]
	for _, title := range d.items("0040A043") { // Concept Name Code Sequence
		if slices.Contains(rejecting, title.text("00080100")) {
			return nil
		}
	}
	// The evidence says which series an instance is in (PS3.3 §C.17.2).
	seriesOf := map[string]string{}
	for _, of := range d.items("0040A375") { // Current Requested Procedure Evidence Sequence
		if of.text("0020000D") != study {
			continue
		}
		for _, series := range of.items("00081115") {
			for _, ref := range series.items("00081199") {
				seriesOf[ref.text("00081155")] = series.text("0020000E")
			}
		}
	}
	for _, content := range d.items("0040A730") { // Content Sequence
		if content.text("0040A040") != "IMAGE" {
			continue
		}
		for _, ref := range content.items("00081199") {
			instance := ref.text("00081155")
			series := seriesOf[instance]
			if series == "" || instance == "" || len(list) == maxMarked {
				continue
			}
			list = append(list, marked{archive.UIDs{Study: study, Series: series, Instance: instance}, ref.number("00081160")})
		}
	}
	return list
}
