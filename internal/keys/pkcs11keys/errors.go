//go:build cgo

package pkcs11keys

import (
	"errors"
	"slices"

	"github.com/miekg/pkcs11"

	"github.com/strata-pacs/strata/internal/fault"
)

var (
	errUnloaded = errors.New("the PKCS #11 module could not be started again")
	errNoToken  = errors.New("the token is not there")
	errClosed   = fault.New(fault.Unavailable, "the archive is being closed; try again when it runs")
	errNoKey    = fault.New(fault.KeyDenied, "the HSM has no such key, or not in this version")
)

// is reports whether an error is one of the return values.
func is(err error, codes ...uint) bool {
	var e pkcs11.Error
	return errors.As(err, &e) && slices.Contains(codes, uint(e))
}

// lost reports that the session, the token or the library has gone, so that a
// new session may help.
func lost(err error) bool {
	return errors.Is(err, errUnloaded) || errors.Is(err, errNoToken) || is(err,
		pkcs11.CKR_CRYPTOKI_NOT_INITIALIZED, pkcs11.CKR_DEVICE_ERROR, pkcs11.CKR_DEVICE_REMOVED, pkcs11.CKR_SESSION_CLOSED,
		pkcs11.CKR_SESSION_HANDLE_INVALID, pkcs11.CKR_SLOT_ID_INVALID, pkcs11.CKR_TOKEN_NOT_PRESENT, pkcs11.CKR_TOKEN_NOT_RECOGNIZED,
		pkcs11.CKR_USER_NOT_LOGGED_IN, pkcs11.CKR_OPERATION_ACTIVE, pkcs11.CKR_GENERAL_ERROR, pkcs11.CKR_FUNCTION_FAILED)
}

// classify gives an error its kind; bad is that of data that the token cannot take.
func classify(err error, what string, bad fault.Kind) error {
	switch {
	case err == nil || fault.KindOf(err) != fault.Internal:
		return err
	case is(err, pkcs11.CKR_PIN_INCORRECT, pkcs11.CKR_PIN_INVALID, pkcs11.CKR_PIN_LEN_RANGE, pkcs11.CKR_PIN_EXPIRED, pkcs11.CKR_PIN_LOCKED, pkcs11.CKR_USER_PIN_NOT_INITIALIZED):
		return fault.Wrap(fault.KeyDenied, err, "the HSM does not accept the PIN (%s)", what)
	case is(err, pkcs11.CKR_KEY_FUNCTION_NOT_PERMITTED, pkcs11.CKR_KEY_TYPE_INCONSISTENT, pkcs11.CKR_KEY_HANDLE_INVALID,
		pkcs11.CKR_OBJECT_HANDLE_INVALID, pkcs11.CKR_WRAPPING_KEY_HANDLE_INVALID, pkcs11.CKR_UNWRAPPING_KEY_HANDLE_INVALID,
		pkcs11.CKR_WRAPPING_KEY_TYPE_INCONSISTENT, pkcs11.CKR_UNWRAPPING_KEY_TYPE_INCONSISTENT, pkcs11.CKR_MECHANISM_INVALID, pkcs11.CKR_ACTION_PROHIBITED):
		return fault.Wrap(fault.KeyDenied, err, "the HSM does not let Strata use the key (%s)", what)
	case bad == fault.Corrupt && is(err, pkcs11.CKR_ENCRYPTED_DATA_INVALID, pkcs11.CKR_ENCRYPTED_DATA_LEN_RANGE, pkcs11.CKR_DATA_INVALID,
		pkcs11.CKR_DATA_LEN_RANGE, pkcs11.CKR_WRAPPED_KEY_INVALID, pkcs11.CKR_WRAPPED_KEY_LEN_RANGE, pkcs11.CKR_ARGUMENTS_BAD):
		return fault.Wrap(fault.Corrupt, err, "a wrapped key is damaged, or belongs to another place; restore its object from a copy")
	}
	return fault.Wrap(fault.KeyUnreachable, err, "the HSM does not answer as it should (%s); check that it is connected and runs", what)
}
