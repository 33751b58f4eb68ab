package archive

import "time"

// TenantState says whether a tenant's archive may be used.
type TenantState string

// The states of a tenant.
const (
	TenantActive    TenantState = "active"
	TenantSuspended TenantState = "suspended" // by the operator; nothing is served, keys are not asked for
	TenantRevoked   TenantState = "revoked"   // its key was revoked from Strata's side
)

// TenantSettings are what a tenant fact states: all of a tenant's settings, the
// newest fact wins. They are also the JSON in the fact and in the index, and
// say nothing about a person.
type TenantSettings struct {
	Title string      `json:"title,omitempty"` // for people
	State TenantState `json:"state"`
	// Before is the state to go back to when a revoked key is granted again.
	Before TenantState `json:"before,omitempty"`
	// KEK names where the tenant's key-encryption key is: "provider/key", or
	// "provider/key+provider/key" where two providers are needed to unwrap.
	KEK string `json:"kek"`
	// Duplicates is the policy for other contents under the same UIDs; empty is the node's.
	Duplicates string         `json:"duplicates,omitempty"`
	Limits     TenantLimits   `json:"limits,omitzero"`
	Recovery   TenantRecovery `json:"recovery,omitzero"`
}

// TenantRecovery names the recovery key that a tenant's keys are wrapped for too.
// One of KEK and PublicKey is set, or nothing: there is none.
type TenantRecovery struct {
	KEK       string `json:"kek,omitempty"`       // "provider/key"
	PublicKey string `json:"publicKey,omitempty"` // of package quorum, in base64 (RFC 4648 §4)
	Since     int64  `json:"since,omitempty"`     // when it was named, ms since 1970
	Drilled   int64  `json:"drilled,omitempty"`   // the last drill that opened all it tried, ms since 1970
}

// TenantLimits keep one tenant from starving another; 0 is no limit.
type TenantLimits struct {
	RequestsPerSecond float64 `json:"requestsPerSecond,omitempty"`
	Concurrent        int     `json:"concurrent,omitempty"` // requests at once
	BytesPerSecond    int64   `json:"bytesPerSecond,omitempty"`
}

// TenantInfo is a tenant with its settings.
type TenantInfo struct {
	Tenant Tenant
	TenantSettings
	Created, Changed time.Time
	Stated           FactID // the fact that states the settings
}
