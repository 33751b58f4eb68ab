package keys

import (
	"context"
	"errors"

	"github.com/strata-pacs/strata/internal/fault"
)

var _ interface {
	Wrapper
	Rotator
	Retirer
	Describer
	Switch
	Checker
} = (*TwoLocks)(nil)

// atEach does something at both providers, the second also where the first
// cannot. It fails with what failed first, or if neither can.
func (b *TwoLocks) atEach(kek ID, do func(w Wrapper, kek ID, second bool) error) error {
	k1, k2, err := split(kek)
	if err != nil {
		return err
	}
	err1 := do(b.first, k1, false)
	if err1 != nil && !errors.Is(err1, errors.ErrUnsupported) {
		return err1
	}
	err2 := do(b.second, k2, true)
	if errors.Is(err2, errors.ErrUnsupported) {
		return err1
	}
	return err2
}

// Rotate implements [Rotator]: of both, or of the one that can.
func (b *TwoLocks) Rotate(ctx context.Context, kek ID) (string, error) {
	if _, err := b.Describe(ctx, kek); err != nil { // neither, unless both are there
		return "", err
	}
	if err := b.atEach(kek, func(w Wrapper, kek ID, _ bool) error {
		_, err := Rotate(ctx, w, kek)
		return err
	}); err != nil {
		return "", err
	}
	d, err := b.Describe(ctx, kek)
	return d.Newest, err
}

// Retire implements [Retirer]: at both, or at the one that can. What lies under
// an older version of either cannot be unwrapped then.
func (b *TwoLocks) Retire(ctx context.Context, kek ID, before string) error {
	v1, v2, ok := SplitPair(before)
	if !ok {
		return fault.New(fault.Invalid, "a key with two locks has two versions, joined by +")
	}
	d, err := b.Describe(ctx, kek)
	if err != nil {
		return err
	}
	if !d.Has(before) {
		return fault.New(fault.Invalid, "the key has no such version")
	}
	return b.atEach(kek, func(w Wrapper, kek ID, second bool) error {
		if second {
			return Retire(ctx, w, kek, v2)
		}
		return Retire(ctx, w, kek, v1)
	})
}

// Describe implements [Describer]: every pair of a version of the one and of the other.
func (b *TwoLocks) Describe(ctx context.Context, kek ID) (Description, error) {
	k1, k2, err := split(kek)
	if err != nil {
		return Description{}, err
	}
	d1, err := Describe(ctx, b.first, k1)
	if err != nil {
		return Description{}, err
	}
	d2, err := Describe(ctx, b.second, k2)
	if err != nil {
		return Description{}, err
	}
	d := Description{Provider: Pair(d1.Provider, d2.Provider), Newest: Pair(d1.Newest, d2.Newest)}
	for _, v1 := range d1.Versions {
		for _, v2 := range d2.Versions {
			v := VersionInfo{Version: Pair(v1.Version, v2.Version), Created: v1.Created}
			if v2.Created.After(v.Created) {
				v.Created = v2.Created
			}
			d.Versions = append(d.Versions, v)
		}
	}
	return d, nil
}

// Disable implements [Switch]: at both, or at the one that can; one is enough to lock.
func (b *TwoLocks) Disable(ctx context.Context, kek ID) error {
	return b.atEach(kek, func(w Wrapper, kek ID, _ bool) error { return Disable(ctx, w, kek) })
}

// Enable implements [Switch].
func (b *TwoLocks) Enable(ctx context.Context, kek ID) error {
	return b.atEach(kek, func(w Wrapper, kek ID, _ bool) error { return Enable(ctx, w, kek) })
}

// Check implements [Checker]: both have to accept their credential. A denial of
// the second goes before the silence of the first.
func (b *TwoLocks) Check(ctx context.Context, kek ID) error {
	var silent error
	err := b.atEach(kek, func(w Wrapper, kek ID, _ bool) error {
		err := Check(ctx, w, kek)
		if silent == nil && fault.Is(err, fault.KeyUnreachable) {
			silent, err = err, nil
		}
		return err
	})
	if err == nil {
		err = silent
	}
	return err
}
