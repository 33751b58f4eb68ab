package report

import (
	"strings"

	"github.com/strata-pacs/strata/internal/dicom"
)

// code is a coded entry (PS3.3 §8.8).
type code struct{ Value, Scheme, Version, Meaning string }

// codeIn returns the first item of a code sequence, nothing when there is none.
func codeIn(d *dicom.Dataset, t dicom.Tag) code {
	e := d.Lookup(t)
	if e == nil || len(e.Items) == 0 {
		return code{}
	}
	return codeOf(e.Items[0])
}

func codeOf(d *dicom.Dataset) code {
	c := code{short(d, codeValue), short(d, schemeDesignator), short(d, schemeVersion), short(d, codeMeaning)}
	for _, t := range [...]dicom.Tag{longCodeValue, urnCodeValue} {
		if c.Value == "" {
			c.Value = short(d, t)
		}
	}
	return c
}

// Text is what a person reads: the meaning, or the code when it has none.
func (c code) Text() string {
	if c.Meaning != "" {
		return c.Meaning
	}
	return c.Value
}

// Identity names the code in its scheme, such as "121071, DCM".
func (c code) Identity() string {
	if c.Meaning == "" {
		return join(" ", c.Scheme, c.Version)
	}
	return join(", ", c.Value, join(" ", c.Scheme, c.Version))
}

// Unit is what stands behind a number: the symbol of a UCUM unit, of others the
// meaning. "" for a number without units.
func (c code) Unit() string {
	switch {
	case c.Scheme != "UCUM" || c.Value == "":
		return c.Text()
	case c.Value == "1":
		return ""
	case c.Value[0] == '{' && strings.IndexByte(c.Value, '}') == len(c.Value)-1:
		return c.Text()
	}
	return c.Value
}

// UnitNote explains the unit where the symbol alone does not say it.
func (c code) UnitNote() string {
	switch u := c.Unit(); {
	case c.Scheme == "UCUM" && (u == c.Meaning || u == ""):
		return ""
	case c.Scheme == "UCUM" && u == c.Value:
		return c.Meaning
	}
	return c.Identity()
}

// language returns the language of the content as its root says it, 121049 DCM
// of CID 5000 (RFC 5646), in a form fit for the attribute lang, or "".
func language(d *dicom.Dataset) string {
	e := d.Lookup(contentSequence)
	if e == nil {
		return ""
	}
	for _, child := range e.Items {
		if c := codeIn(child, conceptName); c.Value != "121049" || c.Scheme != "DCM" {
			continue
		}
		v := codeIn(child, conceptCode).Value
		if len(v) < 2 || len(v) > 35 {
			return ""
		}
		for _, c := range []byte(v) {
			if c != '-' && (c < '0' || c > '9') && (c|0x20 < 'a' || c|0x20 > 'z') {
				return ""
			}
		}
		return v
	}
	return ""
}
