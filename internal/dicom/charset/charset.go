package charset

// Kind says how a value is built: where values and parts of values end.
type Kind uint8

const (
	Values Kind = iota // several values, delimited by backslashes
	Name               // PN: several values, of component groups (=) of components (^)
	Text               // one value, of lines; a backslash is a character (ST, LT, UT)
)

// Decode returns the value as UTF-8.
func Decode(b []byte, terms []string, k Kind) string { return string(b) }
