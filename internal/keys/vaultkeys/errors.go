package vaultkeys

import (
	"context"
	"errors"
	"net/http"
	"strings"

	"github.com/hashicorp/vault/api"

	"github.com/strata-pacs/strata/internal/fault"
)

var errAnswer = fault.New(fault.KeyUnreachable, "what answers at Vault's address does not answer like Vault's Transit engine; check the address and the mount")

// gone are Transit's words, in answers of status 400, for a key or a version that may not be used.
var gone = []string{
	"encryption key not found",
	"version is too new",     // there is no such version
	"disallowed by policy",   // it is below min_decryption_version
	"no such key version",    // it was trimmed
	"unknown key type none",  // the key is not there, see neverCreate
	"associated_data",        // a key of a type that takes none
	"missing 'context'",      // a derived key
	"not supported for key ", // a key that does not encrypt
}

// classify gives an error of a call its kind. What Vault calls a bad request is
// of the kind bad, unless it says that the key or version is gone.
func classify(ctx context.Context, err error, what string, bad fault.Kind) error {
	if errors.Is(ctx.Err(), context.Canceled) {
		return ctx.Err()
	}
	if fault.KindOf(err) == fault.KeyDenied || fault.KindOf(err) == fault.Invalid {
		return err
	}
	var res *api.ResponseError
	if !errors.As(err, &res) || res.RawError {
		return fault.Wrap(fault.KeyUnreachable, err, "Vault does not answer (%s)", what)
	}
	switch res.StatusCode {
	case http.StatusForbidden:
		return fault.Wrap(fault.KeyDenied, err, "Vault does not let Strata use the key (%s): its policy, or the credential, was withdrawn", what)
	case http.StatusNotFound, http.StatusMethodNotAllowed:
		return fault.Wrap(fault.KeyDenied, err, "Vault has no such key (%s), or no Transit engine at this mount", what)
	case http.StatusBadRequest:
		text := strings.Join(res.Errors, "; ")
		for _, g := range gone {
			if strings.Contains(text, g) {
				return fault.Wrap(fault.KeyDenied, err, "Vault has no such key that Strata may use, or not in this version (%s)", what)
			}
		}
		if bad == fault.Corrupt {
			return fault.Wrap(bad, err, "a wrapped key is damaged, or belongs to another place; restore its object from a copy")
		}
		return fault.Wrap(bad, err, "Vault refuses this (%s)", what)
	}
	// 5xx: sealed or failing; 429, 472, 473: a limit, or a standby; 412: not yet replicated.
	return fault.Wrap(fault.KeyUnreachable, err, "Vault is sealed, on standby or overloaded (%s)", what)
}

// forbidden reports a refusal by Vault itself.
func forbidden(err error) bool {
	var res *api.ResponseError
	return errors.As(err, &res) && !res.RawError && res.StatusCode == http.StatusForbidden
}
