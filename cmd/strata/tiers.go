package main

import (
	"regexp"
	"strings"

	"github.com/knadh/koanf/parsers/yaml"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/internal/lifecycle/tiers"
)

// currency is a code of ISO 4217.
var currency = regexp.MustCompile(`^[A-Z]{3}$`)

// readTiers reads the setting `tiers`: from the environment a list comes as the
// text that would stand in the file.
func readTiers(value any, store, currency string) ([]archive.Tier, error) {
	if text, ok := value.(string); ok && strings.HasPrefix(strings.TrimSpace(text), "[") {
		read, err := yaml.Parser().Unmarshal([]byte("tiers: " + text))
		if err != nil {
			return nil, fault.Wrap(fault.Invalid, err, "tiers: the list is not YAML")
		}
		value = read["tiers"]
	}
	return tiers.Read(value, store, currency)
}
