package rule_test

import "testing"

func TestOutside(t *testing.T) {
	for document, want := range map[string]struct {
		free    bool
		studies int64
	}{
		"rules: [{when: {age: {over: 1y}}, action: keep}]":                                               {false, -1},
		"rules: [{when: {not: {any: [{free: {under: 5%}}]}}, action: keep}]":                             {true, -1},
		"rules: [{when: {all: [{studies: {over: 5}}, {studies: {under: 9}}]}, action: keep}]":            {false, 9},
		"rules: [{when: {studies: {over: 0}}, action: keep}, {when: {free: {over: 1GB}}, action: keep}]": {true, 0},
	} {
		if free, studies := parse(t, document).Outside(); free != want.free || studies != want.studies {
			t.Errorf("%s: %v %d", document, free, studies)
		}
	}
}
