// Package archive is the vocabulary of Strata: tenants, identifiers, attributes,
// stored instances and facts. It does no I/O and knows no format; every other
// package speaks in its words.
package archive

import (
	"bytes"
	"encoding/hex"
	"time"

	"github.com/strata-pacs/strata/internal/dicom"
)

// Tenant names the organisation that controls the data. Everything is scoped
// to one. Lower-case letters, digits and hyphens, at most 63, a letter or digit first.
type Tenant string

// DefaultTenant is the tenant of an installation that names none.
const DefaultTenant Tenant = "default"

// Valid reports whether the name may be used in object names.
func (t Tenant) Valid() bool {
	if len(t) == 0 || len(t) > 63 || t[0] == '-' {
		return false
	}
	for _, c := range []byte(t) {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' {
			return false
		}
	}
	return true
}

// Clocks is what the keys of objects begin with that are written to ask a store for its time, or to tell whether two
// addresses are one store's. Each is removed at once; what a crash left goes after the grace period of the reaper.
func Clocks(t Tenant) string { return string(t) + "/clock/" }

// Secret is a key in memory. Who holds one wipes it when done.
type Secret [32]byte

// Wipe overwrites the secret.
func (s *Secret) Wipe() { clear(s[:]) }

type (
	// BlobID is the random identity of one sealed byte string.
	BlobID [32]byte
	// KeyID is the random name of a study key; the zero KeyID names the tenant root.
	KeyID [16]byte
	// FactID is the identity of a fact: a ULID, so byte order is time order
	// within one process, and a total order among all.
	FactID [16]byte
	// Ref is the keyed hash of a UID: what may be written down of it.
	Ref [16]byte
	// Digest is the tenant-keyed BLAKE3-256 of an instance as received.
	Digest [32]byte
)

func (b BlobID) String() string { return hex.EncodeToString(b[:]) }
func (k KeyID) String() string  { return hex.EncodeToString(k[:]) }
func (f FactID) String() string { return hex.EncodeToString(f[:]) }
func (r Ref) String() string    { return hex.EncodeToString(r[:]) }

// ParseFactID reads the text form of a fact's identity.
func ParseFactID(s string) (f FactID, ok bool) {
	b, err := hex.DecodeString(s)
	if err != nil || len(b) != len(f) {
		return f, false
	}
	return FactID(b), true
}

// Time returns when the fact was stated: the millisecond in the ULID, UTC.
func (f FactID) Time() time.Time {
	ms := int64(f[0])<<40 | int64(f[1])<<32 | int64(f[2])<<24 | int64(f[3])<<16 | int64(f[4])<<8 | int64(f[5])
	return time.UnixMilli(ms).UTC()
}

// Source says which blob of which fact a statement comes from. Wherever two
// statements compete, the smaller Source wins, so facts commute.
type Source struct {
	Fact FactID
	Blob BlobID
}

// Compare orders sources by fact, then by blob.
func (s Source) Compare(o Source) int {
	if c := bytes.Compare(s.Fact[:], o.Fact[:]); c != 0 {
		return c
	}
	return bytes.Compare(s.Blob[:], o.Blob[:])
}

// Attr is one attribute as the index keeps it.
type Attr struct {
	Tag dicom.Tag
	VR  dicom.VR
	// Value is UTF-8 text, trailing padding removed: several values are joined
	// by backslashes, the component groups of a PN by '='. Binary numbers are
	// written in decimal. The value of a sequence (SQ) is the JSON array of its
	// items (PS3.18 §F.2.2).
	Value string
}

// Attrs is a list of attributes, ascending by tag.
type Attrs []Attr

// Get returns the value of the tag and whether the attribute is there.
func (a Attrs) Get(t dicom.Tag) (string, bool) {
	for i := range a {
		if a[i].Tag == t {
			return a[i].Value, true
		}
	}
	return "", false
}

// UIDs names an instance, or with empty fields from the right a series, a
// study, or everything of a tenant.
type UIDs struct{ Study, Series, Instance string }

// Location is where a blob's sealed bytes lie: in which object, from which
// offset, how many.
type Location struct {
	Object         string
	Offset, Length int64
}

// Coding says how the bytes inside a blob relate to what offsets count in.
type Coding uint8

const (
	Plain    Coding = 0 // offsets count in the blob
	Deflated Coding = 1 // offsets count in the Part 10 file with its data set inflated (PS3.5 §A.5)
)

// JSONRef says where an instance's DICOM JSON is: in which chunk of its fact's
// JSON section, and where in the decompressed chunk.
type JSONRef struct {
	Chunk          int // index into Stored.Chunks
	Offset, Length int // bytes in the decompressed chunk
}

// Instance is one stored instance as a stored fact states it.
type Instance struct {
	UIDs
	SOPClass string
	Syntax   string // transfer syntax as stored

	Patient Attrs // patient and study level: the index keeps one set a study
	Series  Attrs // series level
	Attrs   Attrs // instance level

	Blob   BlobID
	Key    KeyID
	At     Location // Object is empty in a fact whose own object holds the blob
	Coding Coding
	// SegmentBits is log2 of the blob's segment size, as its header says.
	SegmentBits uint8
	Size        int64 // bytes of the Part 10 file as received
	Digest      Digest

	// Layout is the encoded dicom.Layout: where bulk values and frames are.
	// Empty when the instance has neither.
	Layout []byte
	JSON   JSONRef

	// Replaces names blobs of the same UIDs that this one supersedes, under
	// the policy that a newer version is the one shown.
	Replaces []BlobID

	// Stated is the stored fact that first stated the instance. Zero in a stored
	// fact, which states it itself; a settled fact restates what others did.
	Stated FactID
}

// FactKind says what a fact states.
type FactKind uint8

// The kinds of facts. Numbers are part of the format and never reused.
const (
	FactStored     FactKind = 1  // instances of one study were stored
	FactDeleted    FactKind = 2  // blobs are hidden
	FactUndeleted  FactKind = 3  // earlier deletions no longer hold
	FactVoid       FactKind = 4  // this number of the session holds nothing
	FactCheckpoint FactKind = 5  // every session and its last number
	FactKeyClosed  FactKind = 19 // study keys are destroyed: what they sealed counts as never stored
	FactTenant     FactKind = 20 // the tenant's settings
	FactSettled    FactKind = 16 // a study is restated, its blobs in few packs
	FactHeld       FactKind = 17 // a study or a patient must be kept
	FactReleased   FactKind = 18 // a person says that a hold may go
	FactRule       FactKind = 21 // the tenant's rules of a kind
	FactMoved      FactKind = 26 // packs of a study are in another tier
	FactTagged     FactKind = 27 // the tags of a study
	// Reserved from the first day; a reader that meets one of them stops and says so.
	FactUser      FactKind = 22
	FactCorrected FactKind = 23
	FactLinked    FactKind = 24
	FactRejected  FactKind = 25
)

// Fact is one immutable statement in a tenant's log.
type Fact struct {
	ID   FactID
	Kind FactKind
	// Study is set for facts about one study; Key is the study key that seals
	// a stored fact, and zero where the tenant root does.
	Study Ref
	Key   KeyID

	// Instances and Chunks: FactStored. All of one study, sealed under Key.
	Instances []Instance
	// Chunks are the zstd-compressed pieces of DICOM JSON that JSONRef points into.
	Chunks []Chunk

	// Blobs: FactDeleted and FactUndeleted, what is hidden or shown again.
	Blobs []BlobID
	// Scope: FactDeleted, what the user named; the level is the last field set.
	Scope UIDs
	// Undoes: FactUndeleted, the deletions that no longer hold.
	Undoes []FactID

	// Sessions: FactCheckpoint.
	Sessions []SessionEnd

	// Settings: FactTenant.
	Settings *TenantSettings

	// Closed: FactKeyClosed, the keys of the study. Until says when the last
	// backup of the keys has ended: before it the shredding is pending.
	Closed []KeyID
	Until  time.Time
	// Closing: FactKeyClosed, what is to be known of it later.
	Closing Closing

	// Packs: FactSettled and FactMoved, where packs of the study are. Of all facts
	// that name a pack the one with the largest identity tells its tier. Of a stored fact,
	// whose record does not hold it, what whoever wrote or read it knows of its packs.
	Packs []PackPlace
	// Supersedes: FactSettled, the entries of the log that this fact stands for
	// from now on; their objects may go. Dropped are blobs that they stated and this
	// one does not: deleted longer ago than a deletion can be undone.
	Supersedes []LogRange
	Dropped    []BlobID

	// Hold: FactHeld. Release: FactReleased.
	Hold    *Hold
	Release *Release
	// Rules: FactRule; the newest of a name holds.
	Rules *RuleSet
	// Tags: FactTagged, all tags of the study, ascending; the newest fact holds.
	Tags []string
}

// Chunk is a zstd frame of DICOM JSON texts one after another.
type Chunk struct {
	Data []byte // zstd
	Size int    // bytes when decompressed
}

// SessionEnd names the last number a session of the log has written.
type SessionEnd struct {
	Session string // ULID text
	Last    uint64
	Ended   bool // no more will come
}

// Entry is a fact with its place in the log.
type Entry struct {
	Session string
	N       uint64 // dense from 1
	Object  string // the log object's name
	Size    int64  // bytes of the log object
	Fact    *Fact
}

// Availability says how fast an instance's pixels answer (0008,0056).
type Availability string

// The values of PS3.3 C.4.23.1.1 that Strata gives.
const (
	Online      Availability = "ONLINE"
	Nearline    Availability = "NEARLINE"
	Unavailable Availability = "UNAVAILABLE"
)
