package keystest

import (
	"context"
	"strconv"

	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/internal/keys"
)

var _ interface {
	keys.Wrapper
	keys.Rotator
	keys.Retirer
	keys.Describer
	keys.Switch
	keys.Checker
} = (*Provider)(nil)

// usable tells why nothing can be done with the KEK; the caller holds the lock.
func (p *Provider) usable(kek keys.ID) error {
	if p.err != nil {
		return p.err
	}
	if kek != p.kek {
		return fault.New(fault.KeyDenied, "there is no such key")
	}
	return nil
}

// manage does something under the lock, if the provider answers and allows it.
func (p *Provider) manage(ctx context.Context, kek keys.ID, do func() error) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := p.usable(kek); err != nil {
		return err
	}
	return do()
}

// Rotate implements keys.Rotator.
func (p *Provider) Rotate(ctx context.Context, kek keys.ID) (version string, err error) {
	aead := newAEAD(0)
	err = p.manage(ctx, kek, func() error {
		p.aeads = append(p.aeads, aead)
		version = strconv.Itoa(len(p.aeads))
		return nil
	})
	return version, err
}

// Retire implements keys.Retirer.
func (p *Provider) Retire(ctx context.Context, kek keys.ID, before string) error {
	return p.manage(ctx, kek, func() error {
		n, err := strconv.Atoi(before)
		if err != nil || n < p.oldest || n > len(p.aeads) {
			return fault.New(fault.Invalid, "the key has no such version")
		}
		p.oldest = n
		return nil
	})
}

// Describe implements keys.Describer.
func (p *Provider) Describe(ctx context.Context, kek keys.ID) (d keys.Description, err error) {
	err = p.manage(ctx, kek, func() error {
		d = keys.Description{Provider: "memory", Newest: strconv.Itoa(len(p.aeads))}
		for v := p.oldest; v <= len(p.aeads); v++ {
			d.Versions = append(d.Versions, keys.VersionInfo{Version: strconv.Itoa(v)})
		}
		return nil
	})
	return d, err
}

// Disable implements keys.Switch.
func (p *Provider) Disable(ctx context.Context, kek keys.ID) error {
	return p.manage(ctx, kek, func() error { p.off = true; return nil })
}

// Enable implements keys.Switch.
func (p *Provider) Enable(ctx context.Context, kek keys.ID) error {
	return p.manage(ctx, kek, func() error { p.off = false; return nil })
}

// Check implements keys.Checker.
func (p *Provider) Check(ctx context.Context, kek keys.ID) error {
	return p.manage(ctx, kek, func() error { return nil })
}
