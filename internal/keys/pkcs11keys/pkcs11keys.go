// Package pkcs11keys keeps key-encryption keys in a hardware security module,
// spoken to by PKCS #11 (OASIS PKCS #11 v2.40). It needs cgo.
//
// A KEK is named by the label (CKA_LABEL) of AES keys in the token; each of them
// is a version, numbered by its CKA_ID read as an unsigned number in network
// order: pkcs11-tool --keygen --key-type AES:32 --label strata --id 01 makes
// version 1. The newest version is the largest number. A name that begins with
// "id=" names a single key by its CKA_ID in hexadecimal instead.
//
// Where the token has AES-GCM, it binds associated data itself. Where it has
// only the key wrap of RFC 3394 or RFC 5649, an HMAC-SHA-256 of the associated
// data, made with the wrapped key, is wrapped with it. CBC is not offered: what
// it makes can be changed by whoever holds it.
package pkcs11keys

import (
	"encoding/hex"
	"time"

	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/internal/keys"
)

// Mechanism is how the token wraps.
type Mechanism string

// The mechanisms. What was wrapped by one is unwrapped whichever is set.
const (
	Auto       Mechanism = ""             // the first of these that the token has
	GCM        Mechanism = "gcm"          // CKM_AES_GCM
	KeyWrapPad Mechanism = "key-wrap-pad" // CKM_AES_KEY_WRAP_PAD, RFC 5649
	KeyWrap    Mechanism = "key-wrap"     // CKM_AES_KEY_WRAP, RFC 3394
)

// Options say which token, and how to log in to it. Module, PINFile and one of
// Token, Serial and Slot are required.
type Options struct {
	Module  string // path of the PKCS #11 library
	Token   string // label of the token
	Serial  string // its serial number
	Slot    *uint  // its slot; tokens may change slots
	PINFile string // read at every login

	Mechanism Mechanism
	Sessions  int           // most sessions, and calls at once; default 8
	Timeout   time.Duration // of a call; default 1 s
	Modules   *Modules      // shared by all who use the same library in a process; nil: it is used by this one alone
}

func (o *Options) check() error {
	given := 0
	for _, is := range []bool{o.Token != "", o.Serial != "", o.Slot != nil} {
		if is {
			given++
		}
	}
	switch {
	case o.Module == "":
		return fault.New(fault.Invalid, "an HSM needs the path of its PKCS #11 module")
	case given != 1:
		return fault.New(fault.Invalid, "an HSM needs one of token, serial and slot-id, to know which token")
	case o.PINFile == "":
		return fault.New(fault.Invalid, "an HSM needs a file with its PIN")
	case o.Mechanism != Auto && o.Mechanism != GCM && o.Mechanism != KeyWrapPad && o.Mechanism != KeyWrap:
		return fault.New(fault.Invalid, "an HSM wraps by gcm, key-wrap-pad or key-wrap, not by %q", string(o.Mechanism))
	}
	if o.Sessions <= 0 {
		o.Sessions = 8
	}
	if o.Timeout <= 0 {
		o.Timeout = time.Second
	}
	if o.Modules == nil {
		o.Modules = new(Modules)
	}
	return nil
}

// ByID returns the KEK ID of the single key that has a CKA_ID.
func ByID(id []byte) keys.ID { return keys.ID("id=" + hex.EncodeToString(id)) }
