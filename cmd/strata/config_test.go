package main

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/spf13/pflag"

	"github.com/strata-pacs/strata/internal/fault"
)

// other returns a value of a setting that is not its default, and how it is written in a file, the
// environment and a flag.
func other(s setting) (want any, yaml, text string) {
	switch v := s.value.(type) {
	case bool:
		return !v, fmt.Sprint(!v), fmt.Sprint(!v)
	case int:
		return v + 7, fmt.Sprint(v + 7), fmt.Sprint(v + 7)
	case float64:
		return v + 1.5, fmt.Sprint(v + 1.5), fmt.Sprint(v + 1.5)
	case []string:
		return []string{"10.1.0.0/16", "10.2.0.0/16"}, "[10.1.0.0/16, 10.2.0.0/16]", "10.1.0.0/16,10.2.0.0/16"
	case map[string]string:
		return map[string]string{"a.b": "vault:x", "c": "vault:y"}, "{a.b: 'vault:x', c: 'vault:y'}", "a.b=vault:x c=vault:y"
	}
	return "other", "other", "other"
}

// TestEverySetting: each setting is taken over from wherever it is set, however the file spells it, and the
// later source counts.
func TestEverySetting(t *testing.T) {
	file := filepath.Join(t.TempDir(), "strata.yaml")
	for _, s := range settings() {
		want, yaml, text := other(s)
		check := func(how, written string, environ []string, flags *pflag.FlagSet) {
			t.Helper()
			if err := os.WriteFile(file, []byte(written), 0o600); err != nil {
				t.Fatal(err)
			}
			for range 30 { // what is left to chance shows
				k, _, err := loadConfig(file, environ, flags)
				if k == nil { // the value need not be one that the setting may have
					t.Fatalf("%s, %s: %v", s.key, how, err)
				}
				var got any
				switch want.(type) {
				case []string:
					got = k.Strings(s.key)
				case map[string]string:
					got = map[string]string{}
					for name, v := range k.Get(s.key).(map[string]any) {
						got.(map[string]string)[name] = v.(string)
					}
				default:
					got = k.String(s.key)
					want = fmt.Sprint(want)
				}
				if !reflect.DeepEqual(got, want) {
					t.Fatalf("%s, %s: %v, want %v", s.key, how, got, want)
				}
			}
		}
		flat := s.key + ": " + yaml + "\n"
		check("in one piece", flat, nil, nil)
		nested := flat
		if section, name, ok := strings.Cut(s.key, "."); ok {
			nested = section + ":\n  " + name + ": " + yaml + "\n"
			check("in parts", nested, nil, nil)
			check("beside another in parts", section+": {}\n"+flat, nil, nil)
			if _, _, err := loadConfig(writes(t, file, flat+nested), nil, nil); !fault.Is(err, fault.Invalid) || !strings.HasPrefix(fault.Message(err), s.key+": ") {
				t.Errorf("%s in one piece and in parts: %v", s.key, err)
			}
		}
		if _, ok := s.value.(map[string]string); ok {
			continue // the environment adds to these
		}
		environ := []string{"STRATA_" + envName(s.key) + "=" + text}
		check("in the environment", "", environ, nil)
		before := strings.NewReplacer("other", "before", "true", "false", "false", "true", "10.1", "10.7").Replace(flat)
		check("in the environment over the file", before, environ, nil)
		flags := pflag.NewFlagSet("", pflag.ContinueOnError)
		flagSettings(flags, s.key)
		if f := flags.Lookup(s.key); f == nil {
			continue // of a kind that has no flags
		}
		if err := flags.Set(s.key, text); err != nil {
			t.Fatal(err)
		}
		check("as a flag over all", before, []string{"STRATA_" + envName(s.key) + "=before"}, flags)
	}
}

func writes(t *testing.T, file, content string) string {
	t.Helper()
	if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestConfigFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "strata.yaml")
	for _, c := range []struct{ written, refused string }{
		{"", ""},
		{"log:\n", ""},
		{"log: {}\nlimits:\n  # nothing\n", ""},
		{"log.level: debug\nlog:\n  format: json\n", ""},
		{"providers:\n  a.b: 'vault:x'\nproviders.c: 'vault:y'\n", ""},
		{"providers:\n  a: 'vault:x'\nproviders.a: 'vault:y'\n", "providers.a: "},
		{"log.level: debug\nlog.level: info\n", "cannot read the configuration file"},
		{"log: debug\n", "log: there is no such setting"},
		{"log:\n  levl: debug\n", "log.levl: there is no such setting"},
		{"lissten: x\n", "lissten: there is no such setting"},
		{"nothing: {}\n", "nothing: there is no such setting"},
		{"nothing:\n", "nothing: there is no such setting"},
		{"- a\n", "cannot read the configuration file"},
	} {
		k, _, err := loadConfig(writes(t, file, c.written), []string{"STRATA_DATA=/d", "STRATA_KEY_FILE=/k"}, nil)
		switch {
		case c.refused == "" && k == nil:
			t.Errorf("%q: %v", c.written, err)
		case c.refused != "" && (!fault.Is(err, fault.Invalid) || !strings.Contains(fault.Message(err), c.refused)):
			t.Errorf("%q: %v", c.written, err)
		}
	}
	k, _, _ := loadConfig(writes(t, file, "providers:\n  a.b: 'vault:x'\nproviders.c: 'vault:y'\n"), nil, nil)
	if got := k.StringMap("providers"); len(got) != 2 || got["a.b"] != "vault:x" || got["c"] != "vault:y" {
		t.Errorf("providers: %v", got)
	}
	if _, _, err := loadConfig(filepath.Join(t.TempDir(), "absent.yaml"), nil, nil); !fault.Is(err, fault.Invalid) {
		t.Errorf("a file that is not there: %v", err)
	}
}
