package report

import (
	"strconv"
	"strings"

	"github.com/strata-pacs/strata/internal/dicom"
)

// region says what SCOORD marks in an image (PS3.3 §C.18.6.1).
func (x *item) region() string {
	points, more := tuples(x.d, 2)
	kind := short(x.d, graphicType)
	var s string
	switch {
	case len(points) == 0:
		s = "A region without points"
	case kind == "POINT" && len(points) == 1:
		s = "The point " + points[0]
	case kind == "CIRCLE" && len(points) == 2:
		s = "A circle around " + points[0] + " through " + points[1]
	case kind == "ELLIPSE" && len(points) == 4:
		s = "An ellipse with one axis from " + points[0] + " to " + points[1] + " and the other from " + points[2] + " to " + points[3]
	case kind == "MULTIPOINT":
		s = "The points " + row(points, more)
	case kind == "POLYLINE" && len(points) > 2 && more == 0 && points[0] == points[len(points)-1]:
		s = "An area within the line through " + row(points, more)
	case kind == "POLYLINE":
		s = "A line through " + row(points, more)
	default:
		s = kind + " " + row(points, more)
	}
	return s + " (column, row of the image)" + x.fiducial()
}

// space says what SCOORD3D marks in a patient (PS3.3 §C.18.9.1).
func (x *item) space() string {
	points, more := tuples(x.d, 3)
	kind := short(x.d, graphicType)
	var s string
	switch {
	case len(points) == 0:
		s = "A region without points"
	case kind == "POINT" && len(points) == 1:
		s = "The point " + points[0]
	case kind == "ELLIPSE" && len(points) == 4:
		s = "An ellipse with one axis from " + points[0] + " to " + points[1] + " and the other from " + points[2] + " to " + points[3]
	case kind == "ELLIPSOID" && len(points) == 6:
		s = "An ellipsoid with axes from " + points[0] + " to " + points[1] + ", from " + points[2] + " to " + points[3] + " and from " + points[4] + " to " + points[5]
	case kind == "MULTIPOINT":
		s = "The points " + row(points, more)
	case kind == "POLYLINE":
		s = "A line through " + row(points, more)
	case kind == "POLYGON":
		s = "An area within the line through " + row(points, more)
	default:
		s = kind + " " + row(points, more)
	}
	s += " (x, y, z in mm)"
	if f := short(x.d, frameOfRefUID); f != "" {
		s += " in the frame of reference " + f
	}
	return s + x.fiducial()
}

func (x *item) fiducial() string {
	if f := short(x.d, fiducialUID); f != "" {
		return ", fiducial " + f
	}
	return ""
}

// span says what TCOORD marks in time (PS3.3 §C.18.7.1).
func (x *item) span() string {
	kind := map[string]string{"POINT": "A point in time", "MULTIPOINT": "Points in time", "SEGMENT": "A segment of time", "MULTISEGMENT": "Segments of time",
		"BEGIN": "From a point in time on", "END": "Up to a point in time"}[short(x.d, temporalRange)]
	if kind == "" {
		kind = join(" ", "Times", short(x.d, temporalRange))
	}
	at := ""
	if s := joined(x.d, samplePositions); s != "" {
		at = "samples " + s
	}
	if s := joined(x.d, timeOffsets); s != "" {
		at = join("; ", at, "offsets "+s+" s")
	}
	if list, more := values(x.d, timeMoments); len(list) > 0 {
		for i := range list {
			list[i] = moment(list[i])
		}
		at = join("; ", at, row(list, more))
	}
	if at == "" {
		return kind
	}
	return kind + ": " + at
}

// tuples returns the graphic data as points of n coordinates, and how many
// points there are more.
func tuples(d *dicom.Dataset, n int) (points []string, more int) {
	e := d.Lookup(graphicData)
	if e == nil || e.Bulk || e.VR != dicom.FL && e.VR != dicom.FD && e.VR != dicom.UN {
		return nil, 0
	}
	v := strings.Split(d.TextOf(e), `\`)
	for ; len(v) >= n; v = v[n:] {
		if len(points) == maxList {
			return points, len(v) / n
		}
		points = append(points, "("+strings.Join(v[:n], ", ")+")")
	}
	return points, 0
}

func row(list []string, more int) string {
	s := strings.Join(list, ", ")
	if more > 0 {
		s += " and " + strconv.Itoa(more) + " more"
	}
	return s
}
