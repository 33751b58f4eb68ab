package storage

import "github.com/strata-pacs/strata/internal/fault"

// MaxKey is the largest length of an object's key, in bytes.
const MaxKey = 512

// CheckKey reports, as fault.Invalid, why key cannot name an object. A key is
// one or more elements of [A-Za-z0-9._-] joined by '/', none of them empty,
// "." or "..", at most [MaxKey] bytes in all and 255 an element, which every
// store and file system can hold.
func CheckKey(key string) error {
	if err := checkElements(key); err != nil {
		return err
	}
	if key == "" || key[len(key)-1] == '/' {
		return fault.New(fault.Invalid, "an object's name has an empty element")
	}
	return nil
}

// checkPrefix accepts what a valid key may begin with.
func checkPrefix(prefix string) error { return checkElements(prefix) }

func checkElements(key string) error {
	if len(key) > MaxKey {
		return fault.New(fault.Invalid, "an object's name has %d bytes, more than %d", len(key), MaxKey)
	}
	start := 0
	for i := 0; i < len(key); i++ {
		c := key[i]
		switch {
		case c == '/':
			e := key[start:i]
			if e == "" || e == "." || e == ".." {
				return fault.New(fault.Invalid, "an object's name has an empty or relative element")
			}
			start = i + 1
		case c >= 'a' && c <= 'z', c >= '0' && c <= '9', c >= 'A' && c <= 'Z', c == '.', c == '_', c == '-':
			if i-start >= 255 {
				return fault.New(fault.Invalid, "an element of an object's name has more than 255 bytes")
			}
		default:
			return fault.New(fault.Invalid, "an object's name has a character other than A-Z a-z 0-9 . _ - /")
		}
	}
	if e := key[start:]; e == "." || e == ".." {
		return fault.New(fault.Invalid, "an object's name has a relative element")
	}
	return nil
}
