package archive

import "time"

// KeptStudy is what decides how long a study must be kept: of all its instances, deleted ones included.
type KeptStudy struct {
	Study      Ref
	UID        string
	Persons    []KeptPerson // what instances state, different sets of it
	Modalities []string     // of all its series, sorted; none when one of them states none
	Received   time.Time    // when its first instance was stored
	Instances  int          // visible
	Bytes      int64        // visible
}

// KeptPerson is what some instances of a study state of patient and day.
type KeptPerson struct {
	PatientID, Issuer    string
	StudyDate, BirthDate string // as stated
}

// DeletedSince is a deletion that holds, with those of the blobs it hides that were there at a moment.
type DeletedSince struct {
	Fact  FactID
	Study Ref
	Blobs []BlobID
}

// Exam is another examination of a patient.
type Exam struct {
	StudyDate  string // as stated
	Modalities []string
	Received   time.Time
}
