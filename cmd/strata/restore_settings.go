package main

import (
	"fmt"
	"os"
	"strconv"
	"time"

	"github.com/knadh/koanf/v2"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/internal/lifecycle/rule"
	"github.com/strata-pacs/strata/internal/node"
	"github.com/strata-pacs/strata/internal/restore"
	"github.com/strata-pacs/strata/internal/restore/webhook"
)

// restoreSettings are the settings of restores from archive tiers.
func restoreSettings() []setting {
	return []setting{
		{key: "restore-for", value: length("7d"), serving: true, help: "how long copies stay that were restored from an archive tier; whole days, of which stores count begun ones"},
		{key: "restore-priority", value: string(archive.Standard), serving: true, help: "priority of restores that name none, such as those of viewers: expedited, standard or bulk"},
		{key: "restore-rate", value: restore.DefaultRate, serving: true, help: "most objects a second that an archive tier is asked for, by all nodes together"},
		{key: "restore-running", value: restore.DefaultRunning, serving: true, help: "most objects that an archive tier is restoring at once, for all nodes together"},
		{key: "restore-open", value: restore.DefaultOpen, serving: true, help: "most studies of a tenant of which restores may be under way, or wait, at once; further ones are refused until some have ended"},
		{key: "webhook-file", value: "", serving: true, help: "file with whom restores may tell of their end: in each line the beginning of a URL, a secret of 32 characters that signs what is sent, and perhaps the tenant whose restores are all told to it; empty: nobody"},
	}
}

// maxRestoreOpen is what one node keeps at hand of all tenants: see package restore.
const maxRestoreOpen = 50_000

// readRestores reads the settings; an error names the key.
func readRestores(k *koanf.Koanf) (o node.RestoreOptions, webhooks string, err error) {
	bad := func(key, what string) error { return fault.New(fault.Invalid, "%s: %s", key, what) }
	if o.For, err = rule.ParseLength(k.String("restore-for")); err != nil || o.For < 24*time.Hour || o.For > 365*24*time.Hour {
		return o, "", bad("restore-for", "must be a length of time from 1d to 365d")
	}
	if o.Priority = archive.Priority(k.String("restore-priority")); !o.Priority.Valid() {
		return o, "", bad("restore-priority", "must be expedited, standard or bulk")
	}
	if o.Rate, err = strconv.ParseFloat(k.String("restore-rate"), 64); err != nil || !(o.Rate > 0 && o.Rate <= 10_000) {
		return o, "", bad("restore-rate", "must be a number above 0, at most 10000")
	}
	if o.Running, err = strconv.Atoi(k.String("restore-running")); err != nil || o.Running < 1 {
		return o, "", bad("restore-running", "must be a number from 1")
	}
	if o.Open, err = strconv.Atoi(k.String("restore-open")); err != nil || o.Open < 1 || o.Open > maxRestoreOpen {
		return o, "", bad("restore-open", fmt.Sprintf("must be a number from 1 to %d", maxRestoreOpen))
	}
	return o, k.String("webhook-file"), nil
}

// openHooks reads the list of those who may be told; nil where there is none.
func (c *Config) openHooks() (restore.Hooks, error) {
	if c.WebhookFile == "" {
		return nil, nil
	}
	f, err := os.Open(c.WebhookFile)
	if err != nil {
		return nil, fault.Wrap(fault.Invalid, err, "webhook-file: cannot be read")
	}
	defer f.Close()
	list, err := webhook.Read(f)
	if err != nil {
		return nil, fmt.Errorf("webhook-file: %w", err)
	}
	return webhook.New(list, nil), nil
}
