package archive

import "time"

// ShredTarget names what is to be shredded: a study, or all studies of a patient.
type ShredTarget struct {
	Study string // Study Instance UID
	// PatientID is (0010,0020); Issuer (0010,0021) narrows it where it is set.
	PatientID, Issuer string
}

// ShredStatus says how far a shredding is.
type ShredStatus struct {
	Studies, Instances int
	Keys               int       // study keys destroyed
	Closed             time.Time // the key-closed fact: from here nothing opens any more
	// PendingUntil is when the last backup of the key bucket that still holds the
	// keys has ended its life; a rotation that retires the KEK's version ends it
	// earlier. Zero: no copy of the keys is left.
	PendingUntil time.Time
}

// Closing is what a key-closed fact tells for those who ask later how far the
// shredding is. It says nothing about a person to whom the tenant's root is not open.
type Closing struct {
	Instances int // sealed under the keys, of all versions, deleted ones included
	// Patient is the [PatientRef] of the study's Patient ID, Issued the
	// [IssuedRef] that has its issuer too; zero where the study had no Patient ID.
	Patient, Issued Ref
}

// PatientRef is what the keyed hash of a Patient ID, whoever issued it, is made of.
func PatientRef(id string) string { return "patient\x00" + id }

// IssuedRef is what the keyed hash of a Patient ID and its issuer is made of.
func IssuedRef(id, issuer string) string { return "issued\x00" + issuer + "\x00" + id }

// ClosedKey is a study key that a key-closed fact names, as the index knows it.
type ClosedKey struct {
	ID       KeyID
	Sequence int64 // ascending in the order in which the index learnt of them
	Study    Ref
	Fact     FactID    // the smallest of those that name it
	Until    time.Time // the latest that a fact says
	Closing  Closing   // of Fact
	Purged   bool      // every copy of the key was destroyed once
}

// Sealed is what is sealed of a study, whatever is visible of it.
type Sealed struct {
	Keys      []KeyID // ascending
	Instances int
	PatientID string // of the attributes that the study shows
	Issuer    string
}
