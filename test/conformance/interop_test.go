package conformance

import "testing"

// TestInterop holds what real clients and servers trip over: a line each.
func TestInterop(t *testing.T) {
	t.Parallel()
	w := open(t)
	sample(t, w)
	w.post(t, one, jpeg, hugeJPEG).is(200)
	for _, line := range []struct {
		name string
		test func(*testing.T, *world)
	}{
		{"01 parameters quoted and bare", interop01},
		{"02 quoted boundary and CRLF before the first", interop02},
		{"03 boundary always, Content-Type on every part", interop03},
		{"04 the real transfer syntax on each part", interop04},
		{"05 transfer-syntax any and absent", interop05},
		{"06 metadata whatever is accepted beside JSON", interop06},
		{"07 compressed frames asked for as octets", interop07},
		{"08 single part and multipart", interop08},
		{"09 BulkDataURI behind proxies", interop09},
		{"10 nothing large is inline", interop10},
		{"11 CORS preflight", interop11},
		{"12 percent-encoding before splitting", interop12},
		{"13 gzip, ETag, private caching", interop13},
		{"14 HEAD and Range", interop14},
		{"15 an empty result is 200 and a list", interop15},
		{"16 ModalitiesInStudy", interop16},
		{"17 counts, RetrieveURL, availability", interop17},
		{"18 limit and offset", interop18},
		{"19 includefield", interop19},
		{"20 lists, wildcards, ranges", interop20},
		{"21 person names", interop21},
		{"22 three levels and relational forms", interop22},
		{"23 unknown parameters, unreadable values", interop23},
		{"24 empty elements", interop24},
		{"25 names and character sets", interop25},
		{"26 numbers", interop26},
		{"27 private, unknown, undefined length", interop27},
		{"28 status of a store", interop28},
		{"29 transfer-syntax in the Content-Type of a request", interop29},
		{"30 metadata and bulk data", interop30},
		{"31 sent again, and the five attributes", interop31},
		{"32 hostile preambles", interop32},
		{"33 frames", interop33},
		{"34 Photometric Interpretation after transcoding", interop34},
		{"35 what is rendered, and what cannot be", interop35},
	} {
		t.Run(line.name, func(t *testing.T) { line.test(t, w) })
	}
}

const (
	onePath  = "/studies/1.30/series/1.30.1/instances/1.30.1.1"
	jpegPath = "/studies/1.31/series/1.31.1/instances/1.31.1.1"
	jp2Path  = "/studies/1.31/series/1.31.1/instances/1.31.1.2"

	jpegBaseline = "1.2.840.10008.1.2.4.50"
	jpeg2000     = "1.2.840.10008.1.2.4.90"
	htj2k        = "1.2.840.10008.1.2.4.201"
	rle          = "1.2.840.10008.1.2.5"
	implicitLE   = "1.2.840.10008.1.2"
	explicitBE   = "1.2.840.10008.1.2.2"
)

// Code streams in name only: nothing decodes them here.
const (
	frameA = "\xff\xd8\xff\xe0frame A is here\xff\xd9"
	frameB = "\xff\xd8\xff\xe0frame B\xff\xd9\x00"
	frameC = "\xff\xd8\xff\xe0the third frame\xff\xd9"
)

var (
	one      = image("1.30", "1.30.1", "1.30.1.1", el{0x00080060, "CS", "CT"}, el{0x00091001, "OB", string(make([]byte, 5000))}, el{0x00090010, "LO", "STRATA TESTS"})
	jpeg     = compressed(jpegBaseline, "1.31", "1.31.1", "1.31.1.1", 3, encapsulated("", frameA, frameB, frameC))
	hugeJPEG = compressed(jpeg2000, "1.31", "1.31.1", "1.31.1.2", 1, encapsulated("", "\xff\x4f\xff\x51 a code stream\xff\xd9", "and its second fragment."))
)
