package main

import (
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/knadh/koanf/v2"

	"github.com/strata-pacs/strata/internal/lifecycle/tiers"
)

// printConfig writes the effective configuration as a file that can be used as one.
func printConfig(w io.Writer, k *koanf.Koanf, c *Config) error {
	fmt.Fprintln(w, "# The effective configuration. Each key can also be set by an environment variable, named behind it.")
	section := ""
	for _, s := range settings() {
		name, indent := s.key, ""
		if i := strings.IndexByte(s.key, '.'); i > 0 {
			if section != s.key[:i] {
				section = s.key[:i]
				fmt.Fprintf(w, "\n%s:\n", section)
			}
			name, indent = s.key[i+1:], "  "
		} else if section != "" {
			section = ""
		}
		if s.key == "tiers" {
			fmt.Fprintf(w, "\n# %s (STRATA_%s)\ntiers:\n%s", s.help, envName(s.key), tiers.Format(c.Tiers))
			continue
		}
		var value string
		switch s.value.(type) {
		case []string:
			quoted := []string{}
			for _, v := range k.Strings(s.key) {
				quoted = append(quoted, strconv.Quote(v))
			}
			value = "[" + strings.Join(quoted, ", ") + "]"
		case map[string]string:
			quoted := []string{}
			for _, name := range k.MapKeys(s.key) {
				quoted = append(quoted, name+": "+strconv.Quote(k.String(s.key+"."+name)))
			}
			value = "{" + strings.Join(quoted, ", ") + "}"
		case length:
			value = lengthText(k.String(s.key))
		case amount:
			value = amountText(k.String(s.key))
		case string:
			value = strconv.Quote(k.String(s.key))
			if s.secret && k.String(s.key) != "" {
				value = `"(hidden)"`
			}
		default:
			value = k.String(s.key)
		}
		if _, err := fmt.Fprintf(w, "\n%s# %s (STRATA_%s)\n%s%s: %s\n", indent, s.help, envName(s.key), indent, name, value); err != nil {
			return err
		}
	}
	return nil
}
