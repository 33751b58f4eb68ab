package archive

import "time"

// KeyStatus says how a tenant's keys stand. It holds no byte of a key.
type KeyStatus struct {
	State TenantState
	KEK   string // as in [TenantSettings]
	// Versions are those that key objects are under, and the current one; newest first.
	Versions []KeyVersion
	// Proofs say when each lock last opened: one, or two where two providers are needed.
	Proofs []KeyProof
	Job    *Job          // the rewrap that runs or waits; nil when none does
	Escrow *EscrowStatus // nil when nothing was escrowed
}

// KeyVersion is one version of a key-encryption key.
type KeyVersion struct {
	KEK     string // "provider/key"
	Version string // in the provider's words
	Current bool   // new keys are wrapped under it
	Retired bool   // it is not to be asked for any more
	Objects int64  // key objects under it, the root's included
}

// KeyProof says when a provider last opened a key of the tenant.
type KeyProof struct {
	KEK     string    // "provider/key"
	At      time.Time // of the last success; zero: none since this node started
	Latency time.Duration
	// Failure is empty while the provider opens keys, else ProofDenied or ProofUnreachable.
	Failure string
}

// The failures of a [KeyProof].
const (
	ProofDenied      = "denied"      // the provider refuses: revoked, disabled, gone
	ProofUnreachable = "unreachable" // the provider does not answer
)

// Recovery is a second key that a tenant's keys are wrapped for. One of the fields is set.
type Recovery struct {
	KEK string // "provider/key"
	// PublicKey is one of package quorum, whose private half people keep in shares.
	PublicKey []byte
}

// EscrowStatus says how much of a tenant is wrapped for its recovery key.
type EscrowStatus struct {
	KEK         string // of a recovery key at a provider, or
	Fingerprint string // of a public key, as package quorum has it
	At          time.Time
	Objects     int64     // key objects that the recovery key opens
	Missing     int64     // key objects made since, which it does not
	Drilled     time.Time // the last drill that opened all it tried; zero: none
}

// Drill says how a recovery is to be tried.
type Drill struct {
	// PrivateKey belongs to the public key of the escrow, 32 bytes; nil where the
	// recovery key is at a provider. Who is given it wipes it.
	PrivateKey []byte
	Sample     int // study keys to try beside the root; 0: all
}

// DrillReport is the outcome of a drill: each escrowed key that was tried was
// opened by the recovery key and compared with the key in use.
type DrillReport struct {
	At     time.Time
	Tried  int64
	Opened int64 // the same key as in use
	Failed int64 // not opened, or another key
}
