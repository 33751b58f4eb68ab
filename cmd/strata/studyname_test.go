package main

import (
	"slices"
	"strings"
	"testing"

	"github.com/strata-pacs/strata/internal/fault"
)

func TestStudyName(t *testing.T) {
	for _, tt := range []struct {
		flag, args, study, rest string
	}{
		{"", "1.2.3", "1.2.3", ""},
		{"1.2.3", "", "1.2.3", ""},
		{"", "1.2.3 alpha", "1.2.3", "alpha"},
		{"", "alpha 1.2.3", "1.2.3", "alpha"},
		{"1.2.3", "alpha", "1.2.3", "alpha"},
		{"7", "alpha", "7", "alpha"}, // a root alone is a UID
		{"", "1.2.3 1.2.3.4 1.2.3.4.5", "1.2.3", "1.2.3.4 1.2.3.4.5"},
		{"1.2.3", "study.zip", "1.2.3", "study.zip"},
		{"", "7", "", "7"}, // which may be a tenant
		{"", "alpha", "", "alpha"},
		{"", "", "", ""},
	} {
		args := strings.Fields(tt.args)
		study, rest, err := (&studyName{tt.flag}).take(args)
		if err != nil || study != tt.study || !slices.Equal(rest, strings.Fields(tt.rest)) || !slices.Equal(args, strings.Fields(tt.args)) {
			t.Errorf("--study %q, %q: %q, %q, %v; args %q", tt.flag, tt.args, study, rest, err, args)
		}
	}
	for _, bad := range []struct{ flag, args string }{{"1.2.3", "1.2.3"}, {"1.2.3", "alpha 1.2.4"}, {"Zebra", ""}, {"1..2", "alpha"}} {
		if _, _, err := (&studyName{bad.flag}).take(strings.Fields(bad.args)); !fault.Is(err, fault.Invalid) || strings.Contains(err.Error(), "Zebra") {
			t.Errorf("--study %q, %q: %v", bad.flag, bad.args, err)
		}
	}
	if _, tenant, err := new(studyName).takeTenant(&session{tenant: "own"}, []string{"1.2.3"}); err != nil || tenant != "own" {
		t.Error(tenant, err)
	}
	if _, _, err := (&studyName{"1.2.3"}).takeTenant(&session{}, []string{"a", "b"}); !fault.Is(err, fault.Invalid) {
		t.Error(err)
	}
}
