package main

import (
	"fmt"
	"strings"
	"testing"

	"github.com/knadh/koanf/parsers/yaml"

	"github.com/strata-pacs/strata/deploy"
)

// TestComposeSettings holds every setting in deploy/compose.yaml to what this
// program knows: from the environment an unknown one would be ignored.
func TestComposeSettings(t *testing.T) {
	all, err := yaml.Parser().Unmarshal(deploy.Compose)
	if err != nil {
		t.Fatal(err)
	}
	known := map[string]bool{}
	for _, s := range settings() {
		known["STRATA_"+envName(s.key)] = true
	}
	nodes := 0
	for name, service := range all["services"].(map[string]any) {
		var environ []string
		variables, _ := service.(map[string]any)["environment"].(map[string]any)
		for variable, value := range variables {
			if !strings.HasPrefix(variable, "STRATA_") {
				continue
			}
			if !known[variable] {
				t.Errorf("%s: %s is no setting", name, variable)
			}
			environ = append(environ, fmt.Sprintf("%s=%v", variable, value))
		}
		if len(environ) == 0 {
			continue
		}
		nodes++
		_, c, err := loadConfig("", append(environ, "STRATA_KEY_FILE=/config/local.key"), nil)
		if err == nil {
			err = c.checkServing()
		}
		if err != nil {
			t.Errorf("%s does not start: %v", name, err)
		}
	}
	if nodes != 3 {
		t.Errorf("%d nodes with settings, want 3", nodes)
	}
}
