//go:build cgo

package pkcs11keys

import (
	"context"
	"encoding/hex"
	"errors"
	"math/big"
	"slices"
	"strings"

	"github.com/miekg/pkcs11"

	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/internal/keys"
)

var _ interface {
	keys.Wrapper
	keys.Rotator
	keys.Retirer
	keys.Describer
	keys.Checker
} = (*HSM)(nil)

// maxVersions is the most keys of a label that are looked at.
const maxVersions = 1000

// kekObject is one version of a KEK.
type kekObject struct {
	handle  pkcs11.ObjectHandle
	number  *big.Int // CKA_ID
	version string   // number in decimal
}

// byID is the CKA_ID in a name such as id=0a1b.
func byID(kek keys.ID) (id []byte, ok bool, err error) {
	text, ok := strings.CutPrefix(string(kek), "id=")
	if !ok {
		return nil, false, nil
	}
	if id, err = hex.DecodeString(text); err != nil || len(id) == 0 {
		return nil, true, errNoKey
	}
	return id, true, nil
}

// objects returns the versions of a KEK, the oldest first. It fails with
// errNoKey where there is none.
func (s session) objects(kek keys.ID, more ...*pkcs11.Attribute) ([]kekObject, error) {
	template := append([]*pkcs11.Attribute{
		pkcs11.NewAttribute(pkcs11.CKA_CLASS, pkcs11.CKO_SECRET_KEY),
		pkcs11.NewAttribute(pkcs11.CKA_KEY_TYPE, pkcs11.CKK_AES),
	}, more...)
	if id, ok, err := byID(kek); err != nil {
		return nil, err
	} else if ok {
		template = append(template, pkcs11.NewAttribute(pkcs11.CKA_ID, id))
	} else if kek == "" {
		return nil, errNoKey // it would name every key
	} else {
		template = append(template, pkcs11.NewAttribute(pkcs11.CKA_LABEL, string(kek)))
	}
	if err := s.lib.FindObjectsInit(s.handle, template); err != nil {
		return nil, err
	}
	handles, _, err := s.lib.FindObjects(s.handle, maxVersions)
	if err = errors.Join(err, s.lib.FindObjectsFinal(s.handle)); err != nil {
		return nil, err
	}
	var out []kekObject
	for _, handle := range handles {
		a, err := s.lib.GetAttributeValue(s.handle, handle, []*pkcs11.Attribute{pkcs11.NewAttribute(pkcs11.CKA_ID, nil)})
		if err != nil {
			return nil, err
		}
		n := new(big.Int).SetBytes(a[0].Value)
		out = append(out, kekObject{handle, n, n.String()})
	}
	if len(out) == 0 {
		return nil, errNoKey
	}
	slices.SortFunc(out, func(a, b kekObject) int { return a.number.Cmp(b.number) })
	for i := range out[1:] {
		if out[i].version == out[i+1].version {
			return nil, fault.New(fault.KeyUnreachable, "the HSM has two keys of the same label and id, so that it is not clear which is meant; delete the one that nothing was wrapped under")
		}
	}
	return out, nil
}

func (s session) newest(kek keys.ID) (kekObject, error) {
	all, err := s.objects(kek)
	if err != nil {
		return kekObject{}, err
	}
	return all[len(all)-1], nil
}

func (s session) version(kek keys.ID, version string) (kekObject, error) {
	all, err := s.objects(kek)
	if err != nil {
		return kekObject{}, err
	}
	for _, k := range all {
		if k.version == version {
			return k, nil
		}
	}
	return kekObject{}, errNoKey
}

// Rotate implements [keys.Rotator]: it makes a key of the same label.
func (h *HSM) Rotate(ctx context.Context, kek keys.ID) (string, error) {
	if _, ok, _ := byID(kek); ok {
		return "", fault.Wrap(fault.Invalid, errors.ErrUnsupported, "a key that is named by its id has one version; name it by its label")
	}
	return do(ctx, h, "rotating a key", fault.KeyDenied, true, func(s session) (string, error) {
		k, err := s.newest(kek)
		if err != nil {
			return "", err
		}
		number := new(big.Int).Add(k.number, big.NewInt(1))
		_, err = s.lib.GenerateKey(s.handle, []*pkcs11.Mechanism{pkcs11.NewMechanism(pkcs11.CKM_AES_KEY_GEN, nil)}, aesKey(string(kek), number.Bytes()))
		return number.String(), err
	})
}

// aesKey is the template of a KEK that never leaves the token.
func aesKey(label string, id []byte) []*pkcs11.Attribute {
	return []*pkcs11.Attribute{
		pkcs11.NewAttribute(pkcs11.CKA_CLASS, pkcs11.CKO_SECRET_KEY),
		pkcs11.NewAttribute(pkcs11.CKA_KEY_TYPE, pkcs11.CKK_AES),
		pkcs11.NewAttribute(pkcs11.CKA_VALUE_LEN, 32),
		pkcs11.NewAttribute(pkcs11.CKA_LABEL, label),
		pkcs11.NewAttribute(pkcs11.CKA_ID, id),
		pkcs11.NewAttribute(pkcs11.CKA_TOKEN, true),
		pkcs11.NewAttribute(pkcs11.CKA_PRIVATE, true),
		pkcs11.NewAttribute(pkcs11.CKA_SENSITIVE, true),
		pkcs11.NewAttribute(pkcs11.CKA_EXTRACTABLE, false),
		pkcs11.NewAttribute(pkcs11.CKA_ENCRYPT, true),
		pkcs11.NewAttribute(pkcs11.CKA_DECRYPT, true),
		pkcs11.NewAttribute(pkcs11.CKA_WRAP, true),
		pkcs11.NewAttribute(pkcs11.CKA_UNWRAP, true),
	}
}

// Retire implements [keys.Retirer]: it destroys the keys of the older versions.
// That cannot be undone, but from a backup of the token.
func (h *HSM) Retire(ctx context.Context, kek keys.ID, before string) error {
	_, err := do(ctx, h, "retiring versions of a key", fault.KeyDenied, true, func(s session) (none struct{}, err error) {
		all, err := s.objects(kek)
		if err != nil {
			return none, err
		}
		i := slices.IndexFunc(all, func(k kekObject) bool { return k.version == before })
		if i < 0 {
			return none, fault.New(fault.Invalid, "the key has no such version")
		}
		for _, k := range all[:i] {
			if err := s.lib.DestroyObject(s.handle, k.handle); err != nil {
				return none, err
			}
		}
		return none, nil
	})
	return err
}

// Describe implements [keys.Describer]. PKCS #11 does not tell when a key was made.
func (h *HSM) Describe(ctx context.Context, kek keys.ID) (keys.Description, error) {
	return do(ctx, h, "reading about a key", fault.KeyDenied, false, func(s session) (keys.Description, error) {
		all, err := s.objects(kek)
		d := keys.Description{Provider: "pkcs11"}
		for _, k := range all {
			d.Versions = append(d.Versions, keys.VersionInfo{Version: k.version})
			d.Newest = k.version
		}
		return d, err
	})
}

// Check implements [keys.Checker]: a session is logged in.
func (h *HSM) Check(ctx context.Context, _ keys.ID) error {
	_, err := do(ctx, h, "checking the PIN", fault.KeyDenied, false, func(s session) (none struct{}, err error) {
		info, err := s.lib.GetSessionInfo(s.handle)
		if err == nil && info.State != pkcs11.CKS_RO_USER_FUNCTIONS && info.State != pkcs11.CKS_RW_USER_FUNCTIONS {
			return none, pkcs11.Error(pkcs11.CKR_USER_NOT_LOGGED_IN)
		}
		return none, err
	})
	return err
}
