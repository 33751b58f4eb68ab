package report

import (
	"strings"

	"github.com/strata-pacs/strata/internal/dicom"
)

// place is where an instance belongs, told by the evidence sequences.
type place struct{ study, series string }

// evidence lists where the instances are that the report was made of (PS3.3
// §C.17.2.3 and the SOP Instance Reference Macro), and those it refers to otherwise.
func evidence(d *dicom.Dataset) map[string]place {
	all := map[string]place{}
	for _, t := range [...]dicom.Tag{currentEvidence, pertinentEvidence, predecessors, identicals} {
		for _, study := range items(d, t) {
			for _, series := range items(study, referencedSeries) {
				at := place{uid(study, studyInstanceUID), uid(series, seriesInstanceUID)}
				if at.study == "" || at.series == "" {
					continue
				}
				for _, ref := range items(series, referencedSOP) {
					if u := uid(ref, referencedInstance); u != "" {
						all[u] = at
					}
				}
			}
		}
	}
	return all
}

func items(d *dicom.Dataset, t dicom.Tag) []*dicom.Dataset {
	if e := d.Lookup(t); e != nil {
		return e.Items
	}
	return nil
}

// uid returns the value of an attribute that is a UID fit for a URL, or "".
func uid(d *dicom.Dataset, t dicom.Tag) string {
	s, _ := d.Text(t)
	if len(s) == 0 || len(s) > 64 || strings.Trim(s, "0123456789.") != "" {
		return ""
	}
	return s
}

// reference is a reference to an instance (PS3.3 §C.18.3 to §C.18.5).
type reference struct {
	Name string // of the SOP Class
	UID  string
	Link string // to what is rendered of it; "" when nobody knows where it is
	Of   string // which part: frames, segments, channels
	With string // how to show it
}

// References returns the value of IMAGE, COMPOSITE and WAVEFORM.
func (x *item) References() []reference {
	var list []reference
	for _, d := range items(x.d, referencedSOP) {
		if len(list) == maxList {
			break
		}
		list = append(list, x.p.reference(d))
	}
	return list
}

func (p *view) reference(d *dicom.Dataset) reference {
	r := reference{Name: className(short(d, referencedClass)), UID: short(d, referencedInstance)}
	frames, more := values(d, referencedFrames)
	if u := uid(d, referencedInstance); u != "" && p.studies != "" {
		if at, ok := p.evidence[u]; ok && viewable(short(d, referencedClass)) {
			r.Link = p.studies + "/" + at.study + "/series/" + at.series + "/instances/" + u
			if list := strings.Join(frames, ","); more == 0 && strings.Trim(list, "0123456789,") == "" && list != "" {
				r.Link += "/frames/" + list
			}
			r.Link += "/rendered"
		}
	}
	for _, part := range [...]struct {
		name string
		tag  dicom.Tag
	}{{"frame", referencedFrames}, {"segment", referencedSegments}, {"channel", referencedChannels}} {
		if part.tag == referencedChannels {
			r.Of = join("; ", r.Of, channels(d))
		} else if s := joined(d, part.tag); s != "" {
			r.Of = join("; ", r.Of, plural(part.name, s)+" "+s)
		}
	}
	for _, shown := range items(d, referencedSOP) { // PS3.3 §C.18.4: a presentation state
		if c := className(short(shown, referencedClass)); len(r.With) < maxShort {
			r.With = join("; ", r.With, join(" ", c, short(shown, referencedInstance)))
		}
	}
	return r
}

// channels names channels as multiplex group and channel (PS3.3 §C.18.5.1.1).
func channels(d *dicom.Dataset) string {
	v, more := values(d, referencedChannels)
	var list []string
	for ; len(v) >= 2; v = v[2:] {
		if v[1] == "0" {
			list = append(list, "all of group "+v[0])
		} else {
			list = append(list, v[1]+" of group "+v[0])
		}
	}
	if len(list) == 0 {
		return ""
	}
	return "channels " + row(list, more/2)
}

func plural(name, list string) string {
	if strings.ContainsAny(list, ", ") {
		return name + "s"
	}
	return name
}

const storage = "1.2.840.10008.5.1.4.1.1."

// viewable reports whether instances of the class have something to look at:
// not waveforms, presentation states, raw data, registrations and value maps.
func viewable(class string) bool {
	rest, _ := strings.CutPrefix(class, storage)
	switch rest {
	case "66", "66.1", "66.2", "66.3", "67":
		return false
	}
	return !strings.HasPrefix(rest, "9.") && !strings.HasPrefix(rest, "11.")
}
