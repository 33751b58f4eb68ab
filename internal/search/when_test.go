package search

import (
	"testing"

	"github.com/strata-pacs/strata/internal/dicom"
)

func TestRanges(t *testing.T) {
	for _, c := range []struct {
		vr         dicom.VR
		key, value string
		want       bool
	}{
		{dicom.DA, "20200229", "20200229", true},
		{dicom.DA, "20200229", "2020.02.29", true},
		{dicom.DA, "2020.02.29", "20200229", true},
		{dicom.DA, "20200229", "20200228", false},
		{dicom.DA, "20200101-20201231", "20200101", true},
		{dicom.DA, "20200101 - 20201231", "20201231 ", true},
		{dicom.DA, "20200101-20201231", "20210101", false},
		{dicom.DA, "20200101-", "20991231", true},
		{dicom.DA, "20200101-", "20191231", false},
		{dicom.DA, "-20200101", "19000101", true},
		{dicom.DA, "-20200101", "20200102", false},
		{dicom.DA, "20200101-", "nonsense", false},
		{dicom.TM, "10", "105959.5", true},
		{dicom.TM, "10", "110000", false},
		{dicom.TM, "1000-1030", "103059", true},
		{dicom.TM, "1000-1030", "103100", false},
		{dicom.TM, "100000-", "10", true},
		{dicom.TM, "-0930", "093000.999999", true},
		{dicom.TM, "09:30:00", "093000", true},
		{dicom.TM, "093000.5-093000.75", "093000.6", true},
		{dicom.TM, "093000.5-093000.75", "093000.8", false},
		{dicom.DT, "2020", "20200630", true},
		{dicom.DT, "2020-2021", "20211231235959", true},
		{dicom.DT, "2020-2021", "2022", false},
		{dicom.DT, "202002", "20200229235959.999999", true},
		{dicom.DT, "20200101100000+0100", "20200101090000+0000", true},
		{dicom.DT, "20200101100000-0500", "20200101150000+0000", true},
		{dicom.DT, "20200101100000-0500-20200101110000-0500", "20200101153000+0000", true},
		{dicom.DT, "20200101000000+0100-", "20191231230000+0000", true},
		{dicom.DT, "-20200101", "20200101120000", true},
	} {
		sp, _, ok := parseRange(c.vr, c.key)
		if !ok {
			t.Errorf("%v %q cannot be read", c.vr, c.key)
			continue
		}
		v, ok := parseSpan(c.vr, c.value)
		if got := ok && sp.has(v); got != c.want {
			t.Errorf("%v %q matches %q: %v", c.vr, c.key, c.value, got)
		}
	}
}

func TestRangesThatCannotBeRead(t *testing.T) {
	for _, c := range []struct {
		vr  dicom.VR
		key string
	}{
		{dicom.DA, "nonsense"}, {dicom.DA, "2020"}, {dicom.DA, "20200230"}, {dicom.DA, "20201301"}, {dicom.DA, "2020-01-01"},
		{dicom.DA, "20200102-20200101"}, {dicom.DA, "-"}, {dicom.DA, "--20200101"}, {dicom.DA, "20200101-20200102-20200103"},
		{dicom.TM, "1"}, {dicom.TM, "24"}, {dicom.TM, "1060"}, {dicom.TM, "10.5"}, {dicom.TM, "101010."}, {dicom.TM, "1100-1000"},
		{dicom.DT, "20"}, {dicom.DT, "20201"}, {dicom.DT, "2020010110+9900"}, {dicom.DT, "+0100"}, {dicom.DT, ""},
	} {
		if _, _, ok := parseRange(c.vr, c.key); ok {
			t.Errorf("%v %q was read", c.vr, c.key)
		}
	}
}

func FuzzRange(f *testing.F) {
	for _, s := range []string{"20200101-20200102", "20200101100000-0500-2021", "10-", "-", "99991231235960.999999+1400"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		for _, vr := range []dicom.VR{dicom.DA, dicom.TM, dicom.DT} {
			if sp, _, ok := parseRange(vr, s); ok && sp.from > sp.to {
				t.Errorf("%v %q ends before it begins", vr, s)
			}
		}
	})
}
