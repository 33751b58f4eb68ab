//go:build !cgo

package pkcs11keys

import (
	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/internal/keys"
)

// HSM is a token in use; this build has none.
type HSM struct{ keys.Wrapper }

// Modules are the PKCS #11 libraries of a process.
type Modules struct{}

// Open fails with fault.Invalid.
func Open(o Options) (*HSM, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	return nil, fault.New(fault.Invalid, "this build has no PKCS #11; build with CGO_ENABLED=1")
}

// Close does nothing.
func (h *HSM) Close() error { return nil }
