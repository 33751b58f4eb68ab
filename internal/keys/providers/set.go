package providers

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/internal/keys"
	"github.com/strata-pacs/strata/internal/keys/pkcs11keys"
)

// Set is the providers of a configuration: a [keys.Wrapper] that gives each key
// to the one that its KEK ID names. IDs are
//
//	name/key            the key of that name at the provider of that name
//	local-0123…         the key file of that ID, whatever the provider's name
//	name/key+name/key   two locks, see [keys.Both]; a plus or percent sign in a key's name is escaped
//
// A name that is in use must stay in the configuration for as long as anything
// lies under its keys; a tenant that moves has two.
type Set struct {
	byName map[string]Provider
	byID   map[keys.ID]keys.Wrapper // those that know their ID
	both   *keys.TwoLocks
}

var _ interface {
	keys.Wrapper
	keys.Rotator
	keys.Retirer
	keys.Describer
	keys.Switch
	keys.Checker
} = (*Set)(nil)

// NewSet returns a set without providers.
func NewSet() *Set {
	s := &Set{byName: map[string]Provider{}, byID: map[keys.ID]keys.Wrapper{}}
	s.both = keys.Both(s, s)
	return s
}

// Open opens the providers of settings by name. Errors name the provider and the
// parameter, and close what was opened.
func Open(ctx context.Context, settings map[string]string) (*Set, error) {
	s, modules := NewSet(), &pkcs11keys.Modules{}
	for _, name := range slices.Sorted(maps.Keys(settings)) {
		p, err := open(ctx, settings[name], modules)
		if err == nil {
			if err = s.Add(name, p); err != nil && p.Close != nil {
				_ = p.Close() // it was not used
			}
		}
		if err != nil {
			_ = s.Close()
			return nil, fmt.Errorf("providers.%s: %w", name, err)
		}
	}
	return s, nil
}

var nameRule = regexp.MustCompile(`^[a-z]([a-z0-9-]{0,30}[a-z0-9])?$`)

// Add adds a provider, which Close closes from then on. It must not be called
// while the set is in use.
func (s *Set) Add(name string, p Provider) error {
	if !nameRule.MatchString(name) {
		return fault.New(fault.Invalid, "the name of a key provider has lower-case letters, digits and hyphens, at most 32, and begins with a letter")
	}
	if _, ok := s.byName[name]; ok {
		return fault.New(fault.Invalid, "there is a key provider of this name already")
	}
	if known, ok := p.Wrapper.(interface{ ID() keys.ID }); ok {
		if s.byID[known.ID()] != nil {
			return fault.New(fault.Invalid, "another key provider has the same key file")
		}
		s.byID[known.ID()] = p.Wrapper
	}
	s.byName[name] = p
	return nil
}

// KEK returns the ID of the key that the setting of a provider names.
func (s *Set) KEK(name string) (keys.ID, error) {
	p, ok := s.byName[name]
	if !ok {
		return "", missing(name)
	}
	return keys.ID(name) + "/" + keys.Escape(p.KEK), nil
}

// Names returns the names of the providers, sorted.
func (s *Set) Names() []string { return slices.Sorted(maps.Keys(s.byName)) }

// Close closes the providers.
func (s *Set) Close() error {
	var all []error
	for _, p := range s.byName {
		if p.Close != nil {
			all = append(all, p.Close())
		}
	}
	return errors.Join(all...)
}

func missing(name string) error {
	if !nameRule.MatchString(name) {
		return fault.New(fault.KeyDenied, "this was sealed under a key whose name names no key provider")
	}
	return fault.New(fault.KeyDenied, "this was sealed under a key of the provider %q, which is not in the configuration; set providers.%s", name, name)
}

// maxID is the longest KEK ID, so that locks within locks end.
const maxID = 4 << 10 // bytes

// route returns who holds a KEK, and its name there.
func (s *Set) route(kek keys.ID) (keys.Wrapper, keys.ID, error) {
	if len(kek) > maxID {
		return nil, "", missing("")
	}
	if strings.Contains(string(kek), "+") {
		return s.both, kek, nil
	}
	name, rest, ok := strings.Cut(string(kek), "/")
	if !ok {
		if w := s.byID[kek]; w != nil {
			return w, kek, nil
		}
		return nil, "", fault.New(fault.KeyDenied, "this was sealed under a key file that is not in the configuration; name it by key-file or by a provider local:")
	}
	p, ok := s.byName[name]
	if !ok {
		return nil, "", missing(name)
	}
	return p.Wrapper, keys.Unescape(keys.ID(rest)), nil
}

// Wrap implements [keys.Wrapper].
func (s *Set) Wrap(ctx context.Context, kek keys.ID, key, aad []byte) (keys.Wrapped, error) {
	w, inner, err := s.route(kek)
	if err != nil {
		return keys.Wrapped{}, err
	}
	out, err := w.Wrap(ctx, inner, key, aad)
	if err != nil {
		return keys.Wrapped{}, err
	}
	out.KEK = kek
	return out, nil
}

// Unwrap implements [keys.Wrapper].
func (s *Set) Unwrap(ctx context.Context, wrapped keys.Wrapped, aad []byte) ([]byte, error) {
	w, inner, err := s.route(wrapped.KEK)
	if err != nil {
		return nil, err
	}
	wrapped.KEK = inner
	return w.Unwrap(ctx, wrapped, aad)
}

// Rotate implements [keys.Rotator].
func (s *Set) Rotate(ctx context.Context, kek keys.ID) (string, error) {
	w, inner, err := s.route(kek)
	if err != nil {
		return "", err
	}
	return keys.Rotate(ctx, w, inner)
}

// Retire implements [keys.Retirer].
func (s *Set) Retire(ctx context.Context, kek keys.ID, before string) error {
	w, inner, err := s.route(kek)
	if err != nil {
		return err
	}
	return keys.Retire(ctx, w, inner, before)
}

// Describe implements [keys.Describer].
func (s *Set) Describe(ctx context.Context, kek keys.ID) (keys.Description, error) {
	w, inner, err := s.route(kek)
	if err != nil {
		return keys.Description{}, err
	}
	return keys.Describe(ctx, w, inner)
}

// Disable implements [keys.Switch].
func (s *Set) Disable(ctx context.Context, kek keys.ID) error {
	w, inner, err := s.route(kek)
	if err != nil {
		return err
	}
	return keys.Disable(ctx, w, inner)
}

// Enable implements [keys.Switch].
func (s *Set) Enable(ctx context.Context, kek keys.ID) error {
	w, inner, err := s.route(kek)
	if err != nil {
		return err
	}
	return keys.Enable(ctx, w, inner)
}

// Check implements [keys.Checker].
func (s *Set) Check(ctx context.Context, kek keys.ID) error {
	w, inner, err := s.route(kek)
	if err != nil {
		return err
	}
	return keys.Check(ctx, w, inner)
}
