package lifecycle

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/internal/ledger"
	"github.com/strata-pacs/strata/internal/lifecycle/rule"
)

// Document is what a rule fact of the name [archive.RulesLifecycle] holds.
type Document struct {
	// Paused: nothing is done to any study until an operator ends it.
	Paused bool
	Rules  rule.Set
	// Stated is who stated the rules, and PausedBy who paused. In the fact they are where another change was the last.
	Stated, PausedBy Change
}

// Change is when something was changed, and by whom.
type Change struct {
	By string    `json:"by,omitempty"`
	At time.Time `json:"at,omitzero"`
}

// envelope is the document as it stands in the fact.
type envelope struct {
	Paused   bool            `json:"paused,omitempty"`
	PausedBy Change          `json:"pausedBy,omitzero"`
	Stated   Change          `json:"stated,omitzero"`
	Rules    json.RawMessage `json:"rules"`
}

// encode is the document as it stands in the fact.
func (d Document) encode() ([]byte, error) {
	rules, err := json.Marshal(d.Rules.Rules)
	if err != nil {
		return nil, err
	}
	if d.Rules.Rules == nil {
		rules = []byte("[]")
	}
	return json.Marshal(envelope{d.Paused, d.PausedBy, d.Stated, rules})
}

// decode reads what encode wrote. Tiers that are no longer configured may be in it.
func (d *Document) decode(b []byte) error {
	var e envelope
	err := json.Unmarshal(b, &e)
	if err == nil {
		d.Paused, d.PausedBy, d.Stated = e.Paused, e.PausedBy, e.Stated
		d.Rules, err = rule.Parse(append(append([]byte(`{"rules":`), e.Rules...), '}'), rule.Options{})
	}
	return fault.Wrap(fault.Conflict, err, "this version of Strata cannot read the tenant's lifecycle rules; state them anew (strata lifecycle rules set), or use a newer one")
}

// Document returns what holds now. A tenant that has stated no rules has none: its
// studies are settled and stay.
func (k *Keeper) Document(ctx context.Context) (Document, error) {
	d, _, err := k.current(ctx)
	return d, err
}

// current is Document, with the fact that states it, also where it cannot be read.
func (k *Keeper) current(ctx context.Context) (d Document, stated archive.FactID, err error) {
	set, stated, err := k.o.Index.RuleSet(ctx, k.o.Tenant, archive.RulesLifecycle)
	if err != nil {
		return d, stated, fmt.Errorf("reading the lifecycle rules: %w", err)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if stated == k.stated {
		k.o.Record.saw(k.document.Paused)
		return k.document, stated, nil
	}
	if stated != (archive.FactID{}) {
		if err := d.decode(set.Document); err != nil {
			return Document{}, stated, err
		}
		if len(d.Rules.Rules) > 0 && d.Stated.At.IsZero() { // as it was written before it said so
			d.Stated = Change{set.By, stated.Time()}
		}
	}
	k.stated, k.document = stated, d
	k.o.Record.saw(d.Paused)
	return d, stated, nil
}

// Check reads rules as the API and files have them, against the tiers of the configuration.
func (k *Keeper) Check(document []byte) (rule.Set, error) {
	return rule.Parse(document, rule.Options{Tiers: k.names})
}

// SetRules states other rules, which hold at once for every study. Paused stays as it is.
func (k *Keeper) SetRules(ctx context.Context, document []byte, by string) error {
	rules, err := k.Check(document)
	if err != nil {
		return err
	}
	return k.change(ctx, true, by, func(d *Document, now Change) { d.Rules, d.Stated = rules, now })
}

// SetPaused states that nothing is to be done until further notice, or ends that. It fails with
// fault.Conflict where this version cannot read the rules: to state them again without them would delete them.
func (k *Keeper) SetPaused(ctx context.Context, paused bool, by string) error {
	d, err := k.Document(ctx)
	if err == nil && d.Paused == paused {
		return nil
	}
	return k.change(ctx, false, by, func(d *Document, now Change) { d.Paused, d.PausedBy = paused, now })
}

// change states what edit makes of the document; of one that cannot be read only if all of its rules are replaced, and
// then the lifecycle stays paused, since it may have been. Of two changes at the same moment the later one holds;
// of one after another the second, also when it is made on a node whose clock is behind.
func (k *Keeper) change(ctx context.Context, all bool, by string, edit func(d *Document, now Change)) error {
	now := Change{by, k.o.Now().UTC().Truncate(time.Millisecond)}
	d, before, err := k.current(ctx)
	if all && fault.Is(err, fault.Conflict) {
		d, err = Document{Paused: true, PausedBy: now}, nil
	}
	if err != nil {
		return err
	}
	edit(&d, now)
	b, err := d.encode()
	if err != nil {
		return fmt.Errorf("writing the lifecycle rules: %w", err)
	}
	if len(b) > archive.MaxRules {
		return fault.New(fault.TooLarge, "the rules are longer than %d KiB; write fewer or shorter ones", archive.MaxRules>>10)
	}
	f := &archive.Fact{ID: k.o.Log.NewFactIDAfter(before), Kind: archive.FactRule, Rules: &archive.RuleSet{Name: archive.RulesLifecycle, Document: b, By: by}}
	if err := ledger.State(ctx, k.o.Log, k.o.Index, k.o.Tenant, f); err != nil {
		return fmt.Errorf("stating the lifecycle rules: %w", err)
	}
	k.o.Record.saw(d.Paused)
	return nil
}
