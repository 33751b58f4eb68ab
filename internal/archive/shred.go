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
