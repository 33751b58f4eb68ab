package keys

import "github.com/strata-pacs/strata/internal/archive"

// ParseEscrow decodes an escrow object that was read under the name of the id.
func ParseEscrow(t archive.Tenant, id archive.KeyID, b []byte) (w Wrapped, study archive.Ref, bound []byte, err error) {
	o, err := parseObject(escrowMagic, t, id, b)
	return o.Wrapped, o.Study, o.aad, err
}

// EncodeEscrow is what an escrow writes.
func EncodeEscrow(id archive.KeyID, study archive.Ref, w Wrapped) []byte {
	return encode(escrowMagic, id, study, w)
}

// EscrowBound is what the recovery key binds.
func EscrowBound(t archive.Tenant, id archive.KeyID, study archive.Ref) []byte {
	return aad(escrowMagic, t, id, study)
}
