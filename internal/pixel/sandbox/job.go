package sandbox

import "github.com/strata-pacs/strata/internal/fault"

// maxData is the most bytes of a job's data or result: what decodeMemory leaves.
const maxData = 192 << 20

// check finds what no codec could do, and fills in MaxOutput.
func (j *Job) check() error {
	bad := func(what string) error {
		return fault.New(fault.NotAcceptable, "the image cannot be %sd: %s", verb(j.Op), what)
	}
	switch {
	case !j.Op.valid():
		return fault.New(fault.Internal, "no such operation of the codecs: %d", j.Op)
	case j.Rows < 1 || j.Rows > 0xFFFF || j.Columns < 1 || j.Columns > 0xFFFF:
		return bad("its rows and columns are not between 1 and 65535")
	case j.Samples != 1 && j.Samples != 3:
		return bad("it has neither one nor three samples per pixel")
	case j.BitsAllocated != 8 && j.BitsAllocated != 16:
		return bad("its samples have neither 8 nor 16 bits")
	case j.BitsStored < 1 || j.BitsStored > j.BitsAllocated:
		return bad("it stores more bits than it allocates")
	case len(j.Data) == 0:
		return bad("it is empty")
	case len(j.Data) > maxData:
		return bad("it is too large")
	case j.Quality < 0 || j.Quality > 100, j.Predictor < 0 || j.Predictor > 7, j.PointTransform < 0 || j.PointTransform > 15,
		j.AllowedError < 0 || j.AllowedError > 255, j.Progression > CPRL, j.Rate < 0 || j.Rate > 1<<16, j.MaxOutput < 0:
		return bad("a parameter is out of its range")
	}
	samples := int64(j.Rows) * int64(j.Columns) * int64(j.Samples) * int64(j.BitsAllocated/8)
	if samples > maxData {
		return bad("it is too large")
	}
	most := samples
	if !j.Op.decodes() {
		if int64(len(j.Data)) != samples {
			return bad("it is not as long as its attributes say")
		}
		most = min(2*samples+64<<10, maxData)
	}
	if j.MaxOutput == 0 || j.MaxOutput > most {
		j.MaxOutput = most
	} else if j.Op.decodes() && j.MaxOutput < samples {
		return bad("the result would be larger than is allowed")
	}
	return nil
}
