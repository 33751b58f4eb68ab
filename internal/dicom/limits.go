package dicom

// Limits bound what [Read] takes in. A zero field has its default. Past a limit
// the error is fault.TooLarge and says which.
type Limits struct {
	// Elements of a file, at all levels, items of sequences counted too. Default 1<<20.
	Elements int
	// Depth of nested sequences. Default 128.
	Depth int
	// Hold is the largest value held, in bytes; a larger one stays in the stream
	// and is described by offset and length. Default 64 KiB.
	Hold int64
	// Held bounds all held values together, in bytes. Past it only values of at
	// most 256 bytes are held, past twice it the file is refused. Default 64 MiB.
	Held int64
	// Fragments of encapsulated pixel data, in all elements together. Default 1<<21.
	Fragments int
	// Inflated bytes of a deflated data set that are free; beyond them it may
	// inflate to InflatedRatio times its deflated bytes. Defaults 512 MiB and 100.
	Inflated      int64
	InflatedRatio int64
}

func (l Limits) withDefaults() Limits {
	or := func(v *int64, d int64) {
		if *v <= 0 {
			*v = d
		}
	}
	orInt := func(v *int, d int) {
		if *v <= 0 {
			*v = d
		}
	}
	orInt(&l.Elements, 1<<20)
	orInt(&l.Depth, 128)
	or(&l.Hold, 64<<10)
	or(&l.Held, 64<<20)
	orInt(&l.Fragments, 1<<21)
	or(&l.Inflated, 512<<20)
	or(&l.InflatedRatio, 100)
	return l
}

// smallValue is what is held even where Limits.Held is used up, in bytes.
const smallValue = 256
