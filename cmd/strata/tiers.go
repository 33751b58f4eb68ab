package main

import (
	"context"
	"regexp"
	"strings"

	"github.com/knadh/koanf/parsers/yaml"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/internal/lifecycle/tiers"
	"github.com/strata-pacs/strata/internal/node"
	"github.com/strata-pacs/strata/storage/driver"
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

// openTiers opens the stores that tiers name beside the node's own. One that
// cannot be reached just now does not keep the node from serving what lies elsewhere.
func (c *Config) openTiers(ctx context.Context, o *node.Options) error {
	o.Tiers, o.TierStores, o.MoveRate = c.Tiers, map[string]driver.Driver{}, c.MoveRate
	for _, t := range c.Tiers {
		if t.Store == "" || o.TierStores[t.Store] != nil {
			continue
		}
		key := "tiers." + string(t.Name) + ".store"
		d, err := dialStore(ctx, key, t.Store)
		if err != nil {
			return err
		}
		switch err := checkStore(ctx, key, d); {
		case fault.Is(err, fault.Unavailable) || fault.Is(err, fault.Timeout):
			o.Slog.Warn("the store of a tier does not answer", "tier", string(t.Name), "error", err)
		case err != nil:
			return err
		}
		o.TierStores[t.Store] = d
		if !strings.HasPrefix(t.Store, "file://") {
			c.cacheReads(o)
		}
	}
	return nil
}
