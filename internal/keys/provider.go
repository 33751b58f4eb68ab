package keys

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/strata-pacs/strata/internal/fault"
)

// What only some providers can do. A caller uses the functions [Rotate],
// [Retire], [Describe], [Disable], [Enable] and [Check], which say so when a
// provider cannot: fault.Invalid, wrapping [errors.ErrUnsupported].

// Rotator is a provider that makes new versions of a KEK.
//
// When Rotate returns, Wrap MUST use the new version and Unwrap MUST still know
// the older ones. An error MUST leave every version usable; there may be a new one all the same.
type Rotator interface {
	Rotate(ctx context.Context, kek ID) (version string, err error)
}

// Retirer is a provider that takes versions of a KEK out of use.
//
// Retire makes Unwrap of what lies under a version older than before fail with
// fault.KeyDenied. It MUST NOT touch that version or a newer one, MUST fail with
// fault.Invalid and change nothing where there is no such version, and MAY be repeated.
// What was wrapped under an old version only is lost by it.
type Retirer interface {
	Retire(ctx context.Context, kek ID, before string) error
}

// Describer is a provider that tells about a KEK. It MUST NOT tell secrets.
type Describer interface {
	Describe(ctx context.Context, kek ID) (Description, error)
}

// Description is what may be shown of a KEK.
type Description struct {
	Provider string        // kind: local, vault, pkcs11, awskms
	Newest   string        // the version that wraps
	Versions []VersionInfo // those that unwrap, the oldest first
}

// Has reports whether a version of the KEK unwraps.
func (d Description) Has(version string) bool {
	return slices.ContainsFunc(d.Versions, func(v VersionInfo) bool { return v.Version == version })
}

// VersionInfo is a version of a KEK.
type VersionInfo struct {
	Version string
	Created time.Time // zero where the provider does not tell
}

// Switch is a provider whose KEK can be disabled where it lives.
//
// After Disable, Wrap and Unwrap MUST fail with fault.KeyDenied, on every node,
// until Enable. Both use a credential of their own, and fail with fault.Invalid
// where none was given. Both MAY be repeated.
type Switch interface {
	Disable(ctx context.Context, kek ID) error
	Enable(ctx context.Context, kek ID) error
}

// Checker is a provider that tells whether it accepts the credential that it was
// given, without use of the KEK: fault.KeyDenied if it does not.
type Checker interface {
	Check(ctx context.Context, kek ID) error
}

// unsupported is the error of what a provider cannot do.
func unsupported(what string) error {
	return fault.Wrap(fault.Invalid, errors.ErrUnsupported, "the key provider cannot %s", what)
}

// Rotate makes a new version of a KEK; see [Rotator].
func Rotate(ctx context.Context, w Wrapper, kek ID) (string, error) {
	if r, ok := w.(Rotator); ok {
		return r.Rotate(ctx, kek)
	}
	return "", unsupported("make a new version of this key; move the tenant to a new key")
}

// Retire takes versions older than before out of use; see [Retirer].
func Retire(ctx context.Context, w Wrapper, kek ID, before string) error {
	if r, ok := w.(Retirer); ok {
		return r.Retire(ctx, kek, before)
	}
	return unsupported("retire versions of this key; do it with the provider's own tools")
}

// Describe tells about a KEK; see [Describer].
func Describe(ctx context.Context, w Wrapper, kek ID) (Description, error) {
	if d, ok := w.(Describer); ok {
		return d.Describe(ctx, kek)
	}
	return Description{}, unsupported("describe this key")
}

// Disable takes a KEK out of use at its provider; see [Switch].
func Disable(ctx context.Context, w Wrapper, kek ID) error {
	if s, ok := w.(Switch); ok {
		return s.Disable(ctx, kek)
	}
	return unsupported("disable this key from here; do it with the provider's own tools")
}

// Enable undoes Disable; see [Switch].
func Enable(ctx context.Context, w Wrapper, kek ID) error {
	if s, ok := w.(Switch); ok {
		return s.Enable(ctx, kek)
	}
	return unsupported("enable this key from here; do it with the provider's own tools")
}

// Check asks whether the provider accepts its credential; see [Checker].
func Check(ctx context.Context, w Wrapper, kek ID) error {
	if c, ok := w.(Checker); ok {
		return c.Check(ctx, kek)
	}
	return unsupported("check its credential apart from its use")
}
