package search

import (
	"encoding/json"

	"github.com/strata-pacs/strata/internal/dicom"
	"github.com/strata-pacs/strata/internal/dicom/dicomjson"
)

// object is a data set in DICOM JSON.
type object []byte

// element returns the text of the attribute's element, `{"vr":…}`, or nil.
func (o object) element(t dicom.Tag) []byte {
	for tag, text := range dicomjson.Elements(o) {
		if tag == t {
			return text
		}
	}
	return nil
}

// value returns the attribute's value in the form of [archive.Attr].
func (o object) value(t dicom.Tag) string {
	text := o.element(t)
	if text == nil {
		return ""
	}
	return dicomjson.ParseAttr(t, text).Value
}

// matchesItems reports whether one item of the sequence, a JSON array, fulfils
// all conditions on its attributes (PS3.4 §C.2.2.2.6).
func (c *Condition) matchesItems(value string) bool {
	var items []json.RawMessage
	if value != "" && json.Unmarshal([]byte(value), &items) != nil {
		return false
	}
	if len(items) == 0 {
		items = []json.RawMessage{nil}
	}
	for _, it := range items {
		if all(c.items, object(it).value) {
			return true
		}
	}
	return false
}
