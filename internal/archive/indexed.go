package archive

import "github.com/strata-pacs/strata/internal/dicom"

// Level is a level of the information model (PS3.4 C.6.2.1; the patient is folded into the study).
type Level uint8

// The levels of QIDO-RS and WADO-RS (PS3.18 §10.6.1).
const (
	LevelStudy Level = iota
	LevelSeries
	LevelInstance
)

// Lookup says how the index finds an attribute's values.
type Lookup uint8

const (
	Kept       Lookup = iota // kept and matched, but not looked up
	FullValue                // one token for the folded value; wildcards run over the vocabulary of full values
	Words                    // one token a word and one for the full value; wildcards run over the vocabulary of words
	UIDValue                 // a keyed hash of its own column
	PlainValue               // a column of its own (date, modality)
)

// Indexed is one attribute of the index.
type Indexed struct {
	Tag    dicom.Tag
	Level  Level
	Lookup Lookup
	// Default: QIDO returns it unasked (PS3.18 Tables 10.6.3-3 to 10.6.3-5).
	Default bool
}

// IndexedAttributes lists the attributes that the index keeps, by level and then by tag.
func IndexedAttributes() []Indexed { return indexed[:] }

var indexed = [...]Indexed{
	{0x00080005, LevelStudy, Kept, true},       // Specific Character Set
	{0x00080020, LevelStudy, PlainValue, true}, // Study Date
	{0x00080030, LevelStudy, Kept, true},       // Study Time
	{0x00080050, LevelStudy, FullValue, true},  // Accession Number
	{0x00080051, LevelStudy, Kept, false},      // Issuer of Accession Number Sequence
	{0x00080080, LevelStudy, Kept, false},      // Institution Name
	{0x00080090, LevelStudy, Words, true},      // Referring Physician's Name
	{0x00080201, LevelStudy, Kept, true},       // Timezone Offset From UTC
	{0x00081030, LevelStudy, Words, true},      // Study Description
	{0x00081032, LevelStudy, Kept, false},      // Procedure Code Sequence
	{0x00081060, LevelStudy, Kept, false},      // Name of Physician(s) Reading Study
	{0x00100010, LevelStudy, Words, true},      // Patient's Name
	{0x00100020, LevelStudy, FullValue, true},  // Patient ID
	{0x00100021, LevelStudy, FullValue, true},  // Issuer of Patient ID
	{0x00100030, LevelStudy, FullValue, true},  // Patient's Birth Date
	{0x00100032, LevelStudy, Kept, false},      // Patient's Birth Time
	{0x00100040, LevelStudy, Kept, true},       // Patient's Sex
	{0x00101001, LevelStudy, Kept, false},      // Other Patient Names
	{0x00101002, LevelStudy, Kept, false},      // Other Patient IDs Sequence
	{0x00101010, LevelStudy, Kept, false},      // Patient's Age
	{0x00101020, LevelStudy, Kept, false},      // Patient's Size
	{0x00101030, LevelStudy, Kept, false},      // Patient's Weight
	{0x0020000D, LevelStudy, UIDValue, true},   // Study Instance UID
	{0x00200010, LevelStudy, FullValue, true},  // Study ID
	{0x00321060, LevelStudy, Kept, false},      // Requested Procedure Description

	{0x00080021, LevelSeries, Kept, false},      // Series Date
	{0x00080031, LevelSeries, Kept, false},      // Series Time
	{0x00080060, LevelSeries, PlainValue, true}, // Modality
	{0x00080070, LevelSeries, Kept, false},      // Manufacturer
	{0x00081010, LevelSeries, Kept, false},      // Station Name
	{0x0008103E, LevelSeries, Kept, true},       // Series Description
	{0x00081040, LevelSeries, Kept, false},      // Institutional Department Name
	{0x00081090, LevelSeries, Kept, false},      // Manufacturer's Model Name
	{0x00180015, LevelSeries, Kept, false},      // Body Part Examined
	{0x00181030, LevelSeries, Kept, false},      // Protocol Name
	{0x00185100, LevelSeries, Kept, false},      // Patient Position
	{0x0020000E, LevelSeries, UIDValue, true},   // Series Instance UID
	{0x00200011, LevelSeries, Kept, true},       // Series Number
	{0x00200052, LevelSeries, Kept, false},      // Frame of Reference UID
	{0x00200060, LevelSeries, Kept, false},      // Laterality
	{0x00400244, LevelSeries, Kept, true},       // Performed Procedure Step Start Date
	{0x00400245, LevelSeries, Kept, true},       // Performed Procedure Step Start Time
	{0x00400253, LevelSeries, Kept, false},      // Performed Procedure Step ID
	{0x00400275, LevelSeries, Kept, true},       // Request Attributes Sequence

	{0x00080008, LevelInstance, Kept, false},    // Image Type
	{0x00080016, LevelInstance, Kept, true},     // SOP Class UID
	{0x00080018, LevelInstance, UIDValue, true}, // SOP Instance UID
	{0x00080022, LevelInstance, Kept, false},    // Acquisition Date
	{0x00080023, LevelInstance, Kept, false},    // Content Date
	{0x00080032, LevelInstance, Kept, false},    // Acquisition Time
	{0x00080033, LevelInstance, Kept, false},    // Content Time
	{0x00200012, LevelInstance, Kept, false},    // Acquisition Number
	{0x00200013, LevelInstance, Kept, true},     // Instance Number
	{0x00280008, LevelInstance, Kept, true},     // Number of Frames
	{0x00280010, LevelInstance, Kept, true},     // Rows
	{0x00280011, LevelInstance, Kept, true},     // Columns
	{0x00280100, LevelInstance, Kept, true},     // Bits Allocated
	{0x0040A043, LevelInstance, Kept, false},    // Concept Name Code Sequence
	{0x0040A491, LevelInstance, Kept, false},    // Completion Flag
	{0x0040A493, LevelInstance, Kept, false},    // Verification Flag
	{0x00420010, LevelInstance, Kept, false},    // Document Title
	{0x00700080, LevelInstance, Kept, false},    // Content Label
}
