package report

import (
	"strconv"
	"strings"

	"github.com/strata-pacs/strata/internal/dicom"
)

// item is a content item (PS3.3 §C.17.3.2) as the template shows it.
type item struct {
	ID       string // by which the page refers to the item: "i" and its position, "i1.3.2"
	Type     string // value type; "" for a reference to an item elsewhere
	Label    string
	Identity string // of the code that the label is the meaning of
	Relation string // in words
	Observed string // when
	Level    int    // of the heading

	p     *view
	d     *dicom.Dataset
	depth int // 0 for the root
}

func newItem(p *view, d *dicom.Dataset, id string, depth int) *item {
	c := codeIn(d, conceptName)
	x := &item{ID: id, Type: short(d, valueType), Label: c.Text(), Identity: c.Identity(), Relation: relation(d),
		Observed: moment(short(d, observationTime)), Level: depth + 1, p: p, d: d, depth: depth}
	if x.Label == "" {
		x.Label = unnamed(x.Type)
	}
	return x
}

// group is a run of children that are shown alike.
type group struct {
	Sections bool // containers, else items with a value
	Items    []*item
}

// Groups returns the children. An item may be asked once.
func (x *item) Groups() []group {
	e := x.d.Lookup(contentSequence)
	if e == nil || x.depth == maxDepth {
		return nil
	}
	var all []group
	for i, d := range e.Items {
		if x.p.left == 0 {
			break
		}
		x.p.left--
		child := newItem(x.p, d, x.ID+"."+strconv.Itoa(i+1), x.depth+1)
		section := child.Type == "CONTAINER"
		if n := len(all); n == 0 || all[n-1].Sections != section {
			all = append(all, group{Sections: section})
		}
		g := &all[len(all)-1]
		g.Items = append(g.Items, child)
	}
	return all
}

// Deeper reports whether there are children that are nested too deep to be shown.
func (x *item) Deeper() bool {
	e := x.d.Lookup(contentSequence)
	return x.depth == maxDepth && e != nil && len(e.Items) > 0
}

// unnamed says what an item is that has no concept name.
func unnamed(kind string) string {
	switch kind {
	case "":
		return "Reference"
	case "CONTAINER":
		return "Section"
	case "IMAGE":
		return "Image"
	case "WAVEFORM":
		return "Waveform"
	case "COMPOSITE":
		return "Document"
	case "TEXT":
		return "Text"
	}
	return "Item"
}

// relation says in words how an item relates to the one that it is below of;
// "" when it is simply contained (PS3.3 Table C.17.3-8).
func relation(d *dicom.Dataset) string {
	switch s := short(d, relationshipType); s {
	case "CONTAINS":
		return ""
	case "HAS OBS CONTEXT":
		return "observation context"
	case "HAS CONCEPT MOD":
		return "modifier"
	case "HAS ACQ CONTEXT":
		return "acquisition context"
	case "HAS PROPERTIES":
		return "property"
	default:
		return strings.ToLower(s)
	}
}

// Code is the value of CODE.
func (x *item) Code() code { return codeIn(x.d, conceptCode) }

// Text is the value of an item that is one text.
func (x *item) Text() string {
	switch x.Type {
	case "TEXT":
		return long(x.d, textValue)
	case "DATE":
		return date(short(x.d, dateValue))
	case "TIME":
		return clock(short(x.d, timeValue))
	case "DATETIME":
		return moment(short(x.d, dateTimeValue))
	case "PNAME":
		return name(short(x.d, personValue))
	case "UIDREF":
		return short(x.d, uidValue)
	case "SCOORD":
		return x.region()
	case "SCOORD3D":
		return x.space()
	case "TCOORD":
		return x.span()
	case "TABLE":
		return "A table of " + short(x.d, tableRows) + " rows and " + short(x.d, tableColumns) + " columns, which is not shown here."
	}
	return ""
}

// number is a measured value (PS3.3 §C.18.1).
type number struct {
	Value string
	Unit  code
}

// Numbers returns the values of NUM: one, or none.
func (x *item) Numbers() []number {
	e := x.d.Lookup(measuredValue)
	if e == nil {
		return nil
	}
	var list []number
	for _, d := range e.Items {
		n := number{joined(d, numericValue), codeIn(d, measurementUnits)}
		if n.Value == "" {
			n.Value = joined(d, floatingValue)
		}
		if n.Value == "" && d.Lookup(numerator) != nil {
			n.Value = joined(d, numerator) + " / " + joined(d, denominator)
		}
		if len(list) < maxList && n.Value != "" {
			list = append(list, n)
		}
	}
	return list
}

// Qualifier says why a number is missing, or how it is meant (CID 42).
func (x *item) Qualifier() code { return codeIn(x.d, numericQualifier) }

// pointer is a reference to another item of the tree (PS3.3 §C.17.3.2.5).
type pointer struct {
	Path  string
	Label string // of the item; "" when there is none
}

// Pointer returns what an item by reference refers to, or nil.
func (x *item) Pointer() *pointer {
	list, more := values(x.d, referencedItem)
	if len(list) == 0 {
		return nil
	}
	to := &pointer{Path: strings.Join(list, ".")}
	at := x.p.Root.d
	for i, v := range list {
		n, err := strconv.Atoi(v)
		if i == 0 && n == 1 {
			continue
		}
		e := at.Lookup(contentSequence)
		if err != nil || i == 0 || more > 0 || e == nil || n < 1 || n > len(e.Items) {
			return to
		}
		at = e.Items[n-1]
	}
	if to.Label = clip(codeIn(at, conceptName).Text(), 100); to.Label == "" {
		to.Label = unnamed(short(at, valueType))
	}
	return to
}
