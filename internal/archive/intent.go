package archive

// Intent says that what cannot be undone is about to be stated of a study, and at which number of which
// session of the log. Who protects the study voids the number, and then it is not stated.
type Intent struct {
	Study   Ref
	Session string
	N       uint64
}

// LogPlace is where a fact is in the log.
type LogPlace struct {
	Session string
	N       uint64
}
