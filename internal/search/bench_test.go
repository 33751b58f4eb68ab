//go:build unix

package search

import (
	"context"
	"fmt"
	"syscall"
	"testing"
	"time"

	"github.com/strata-pacs/strata/internal/archive"
)

// BenchmarkSearch measures whole searches on a real index of 1,000 small
// studies and one of 120 slices, without writing the answer.
func BenchmarkSearch(b *testing.B) {
	var list []archive.Instance
	add := func(study int, name string, n int) {
		uid := fmt.Sprintf("1.2.826.0.1.3680043.8.498.%d", study)
		p := attrs(b, "PatientName="+name, fmt.Sprintf("PatientID=PAT-%05d", study), fmt.Sprintf("StudyDate=2024%02d%02d", study%12+1, study%28+1),
			"StudyTime=101500", fmt.Sprintf("AccessionNumber=ACC%05d", study), "StudyDescription=CT Thorax nativ", "PatientBirthDate=19600229",
			"PatientSex=M", fmt.Sprintf("StudyID=S%d", study), "ReferringPhysicianName=Doctor^Who", "StudyInstanceUID="+uid)
		s := attrs(b, "Modality="+[]string{"CT", "MR", "US"}[study%3], "SeriesNumber=1", "SeriesDescription=axial", "StationName=SCANNER01", "SeriesInstanceUID="+uid+".1")
		for i := range n {
			in := archive.Instance{Patient: p, Series: s, SOPClass: "1.2.840.10008.5.1.4.1.1.2", Syntax: "1.2.840.10008.1.2.1", Size: 1000}
			in.UIDs = archive.UIDs{Study: uid, Series: uid + ".1", Instance: fmt.Sprintf("%s.1.%d", uid, i+1)}
			in.Attrs = attrs(b, `ImageType=ORIGINAL\PRIMARY\AXIAL`, fmt.Sprintf("InstanceNumber=%d", i+1), "Rows=512", "Columns=512", "BitsAllocated=16",
				"SOPClassUID="+in.SOPClass, "SOPInstanceUID="+in.UIDs.Instance)
			list = append(list, in)
		}
	}
	for i := range 1000 {
		add(i+1, fmt.Sprintf("Family%03d^Given%d", i/2, i%7), 1)
	}
	add(9999, "Large^Study", 120)
	s := New(Options{Catalog: indexed(b, list)})
	large := archive.UIDs{Study: "1.2.826.0.1.3680043.8.498.9999", Series: "1.2.826.0.1.3680043.8.498.9999.1"}
	for _, c := range []struct {
		name  string
		level archive.Level
		scope archive.UIDs
		query string
		want  int
	}{
		{"page", archive.LevelStudy, archive.UIDs{}, "limit=50&offset=500", 50},
		{"id", archive.LevelStudy, archive.UIDs{}, "PatientID=PAT-00100", 1},
		{"name", archive.LevelStudy, archive.UIDs{}, "limit=25&PatientName=family123*", 2},
		{"contains", archive.LevelStudy, archive.UIDs{}, "limit=25&PatientName=*mily1*", 25},
		{"week", archive.LevelStudy, archive.UIDs{}, "limit=50&StudyDate=20240601-20240607", 24},
		{"modality", archive.LevelStudy, archive.UIDs{}, "limit=25&ModalitiesInStudy=CT&StudyDate=20240401-20240430", 25},
		{"viewer", archive.LevelStudy, archive.UIDs{}, "limit=101&offset=0&fuzzymatching=true&includefield=00081030%2C00080060%2C00080090%2C00100030", 101},
		{"series", archive.LevelSeries, archive.UIDs{Study: large.Study}, "", 1},
		{"instances", archive.LevelInstance, large, "", 120},
	} {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			before := cpuTime(b)
			for b.Loop() {
				q, err := Parse(c.level, c.scope, c.query)
				if err != nil {
					b.Fatal(err)
				}
				n := 0
				if _, err := s.Search(context.Background(), archive.DefaultTenant, q, func(*Match) bool { n++; return true }); err != nil || n != c.want {
					b.Fatal(n, err)
				}
			}
			b.ReportMetric(float64((cpuTime(b)-before).Microseconds())/float64(b.N), "cpu-µs/op")
		})
	}
}

// cpuTime is what the process has used, which other load on the machine distorts less than the clock.
func cpuTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
