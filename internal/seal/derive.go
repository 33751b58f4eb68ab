package seal

import "crypto/sha256"

// derive is HKDF-SHA256 (RFC 5869) with 64 bytes of output, for salts of at most
// 64 bytes. crypto/hkdf gives the same, in three times the time and 25
// allocations, which a store of small instances would feel: each has four blobs.
func derive(out *[64]byte, secret *[32]byte, salt *[32]byte, info []byte) {
	prk := hmac256(salt, secret[:])
	var buf [32 + maxInfo + 1]byte
	n := copy(buf[:], info)
	buf[n] = 1
	t := hmac256(&prk, buf[:n+1])
	copy(out[:32], t[:])
	copy(buf[:], t[:])
	n = 32 + copy(buf[32:], info)
	buf[n] = 2
	t = hmac256(&prk, buf[:n+1])
	copy(out[32:], t[:])
	clear(prk[:])
	clear(buf[:32])
	clear(t[:])
}

// maxInfo is the longest info: label, tenant, kind and the header's first fields.
const maxInfo = len(label) + 2*256 + 20

// hmac256 is HMAC-SHA256 (RFC 2104) under a key of 32 bytes.
func hmac256(key *[32]byte, msg []byte) [32]byte {
	var buf [64 + 32 + maxInfo + 1]byte
	pad(&buf, key, 0x36)
	inner := sha256.Sum256(buf[:64+copy(buf[64:], msg)])
	pad(&buf, key, 0x5c)
	outer := sha256.Sum256(buf[:64+copy(buf[64:], inner[:])])
	clear(buf[:])
	return outer
}

func pad(buf *[64 + 32 + maxInfo + 1]byte, key *[32]byte, with byte) {
	for i, k := range key {
		buf[i] = k ^ with
	}
	for i := 32; i < 64; i++ {
		buf[i] = with
	}
}
