package report

import (
	"strconv"
	"strings"

	"github.com/strata-pacs/strata/internal/dicom"
)

// fact is a line of the header: a name and its values.
type fact struct {
	Name   string
	Values []string
	Links  []reference
}

// status is how far one may rely on the document.
type status struct {
	Text  string
	Doubt bool
}

// statuses says what the flags mean (PS3.3 §C.17.2.1).
func statuses(d *dicom.Dataset) []status {
	var list []status
	for _, f := range [...]struct {
		tag   dicom.Tag
		value string
		s     status
	}{
		{0x0040A496, "PRELIMINARY", status{"Preliminary", true}}, {0x0040A496, "FINAL", status{"Final", false}},
		{0x0040A491, "PARTIAL", status{"Partial", true}}, {0x0040A491, "COMPLETE", status{"Complete", false}},
		{0x0040A493, "UNVERIFIED", status{"Unverified", true}}, {0x0040A493, "VERIFIED", status{"Verified", false}},
	} {
		if short(d, f.tag) == f.value {
			list = append(list, f.s)
		}
	}
	return list
}

func (p *view) facts(d *dicom.Dataset) []fact {
	var all []fact
	add := func(name string, list ...string) {
		f := fact{Name: name}
		for _, v := range list {
			if v != "" && len(f.Values) < maxList {
				f.Values = append(f.Values, v)
			}
		}
		if len(f.Values) > 0 {
			all = append(all, f)
		}
	}
	add("Patient", name(short(d, 0x00100010)))
	add("Patient ID", short(d, 0x00100020))
	add("Birth date", date(short(d, 0x00100030)))
	add("Sex", sex(short(d, 0x00100040)))
	add("Study", short(d, 0x00081030))
	add("Study date", join(" ", date(short(d, 0x00080020)), clock(short(d, 0x00080030))))
	add("Accession number", short(d, 0x00080050))
	add("Referring physician", name(short(d, 0x00080090)))
	add("Requested", each(d, 0x0040A370, func(x *dicom.Dataset) string {
		return join(", ", short(x, 0x00321060), codeIn(x, 0x00321064).Text(), short(x, 0x00401001), short(x, 0x00080050))
	})...)
	series := short(d, 0x0008103E)
	if n := short(d, 0x00200011); n != "" {
		series = join(" ", series, "(#"+n+")")
	}
	add("Series", series)
	add("Institution", join(", ", short(d, 0x00080080), short(d, 0x00081040)))
	add("Made with", join(", ", short(d, 0x00080070), short(d, 0x00081090)))
	add("Content date", join(" ", date(short(d, 0x00080023)), clock(short(d, 0x00080033))))
	add("Completion", short(d, 0x0040A492))
	add("Author", each(d, 0x0040A078, person)...)
	add("Participant", each(d, 0x0040A07A, func(x *dicom.Dataset) string {
		return join(", ", person(x), strings.ToLower(short(x, 0x0040A080)), moment(short(x, 0x0040A082)))
	})...)
	add("Verified by", each(d, 0x0040A073, func(x *dicom.Dataset) string {
		return join(", ", name(short(x, 0x0040A075)), codeIn(x, 0x0040A088).Text(), short(x, 0x0040A027), moment(short(x, 0x0040A030)))
	})...)
	add("Custodian", each(d, 0x0040A07C, func(x *dicom.Dataset) string {
		return join(", ", short(x, 0x00080080), codeIn(x, 0x00080082).Text())
	})...)
	for _, other := range [...]struct {
		name string
		tag  dicom.Tag
	}{{"Follows", predecessors}, {"The same as", identicals}} {
		if links := p.documents(d, other.tag); len(links) > 0 {
			all = append(all, fact{Name: other.name, Links: links})
		}
	}
	return all
}

// person describes an item of the Identified Person or Device Macro (PS3.3 Table C.17-3b).
func person(x *dicom.Dataset) string {
	return join(", ", name(short(x, 0x0040A123)), codeIn(x, 0x00401101).Text(), short(x, 0x00081010), short(x, 0x00080070), short(x, 0x00081090),
		short(x, 0x00080080), codeIn(x, 0x00080082).Text())
}

// each describes the items of a sequence, at most maxList of them.
func each(d *dicom.Dataset, t dicom.Tag, describe func(*dicom.Dataset) string) []string {
	var list []string
	all := items(d, t)
	for i, x := range all {
		if i == maxList {
			return append(list, "and "+strconv.Itoa(len(all)-i)+" more")
		}
		list = append(list, describe(x))
	}
	return list
}

// documents lists the instances of a Hierarchical SOP Instance Reference Macro
// (PS3.3 Table C.17-3).
func (p *view) documents(d *dicom.Dataset, t dicom.Tag) []reference {
	var list []reference
	for _, study := range items(d, t) {
		for _, series := range items(study, referencedSeries) {
			for _, x := range items(series, referencedSOP) {
				if len(list) < maxList {
					list = append(list, p.reference(x))
				}
			}
		}
	}
	return list
}

func sex(s string) string {
	switch s {
	case "M":
		return "male"
	case "F":
		return "female"
	case "O":
		return "other"
	}
	return s
}
