package rule_test

import "testing"

func TestOutside(t *testing.T) {
	for document, want := range map[string]struct {
		free, studies bool
	}{
		"rules: [{when: {age: {over: 1y}}, action: keep}]":                                               {false, false},
		"rules: [{when: {not: {any: [{free: {under: 5%}}]}}, action: keep}]":                             {true, false},
		"rules: [{when: {all: [{studies: {over: 5}}, {studies: {under: 9}}]}, action: keep}]":            {false, true},
		"rules: [{when: {studies: {over: 0}}, action: keep}, {when: {free: {over: 1GB}}, action: keep}]": {true, true},
	} {
		if free, studies := parse(t, document).Outside(); free != want.free || studies != want.studies {
			t.Errorf("%s: %v %v", document, free, studies)
		}
	}
}
