// Package fault classifies errors. An error gets its [Kind] once, where it
// happens; layers above wrap it with what they attempted and leave the kind
// alone. One place, the edge (package dicomweb, and the command line), turns
// kinds into HTTP status codes, DICOM failure reasons and exit codes.
//
// The message of a fault is shown to users. It says what to do and carries no
// patient data, no UIDs and no secrets.
package fault

import (
	"context"
	"errors"
	"fmt"
)

// Kind says what sort of failure an error is.
type Kind uint8

// The kinds. The zero Kind is Internal: an error nobody classified is a defect.
const (
	Internal         Kind = iota // a defect or an unclassified failure
	Invalid                      // the request or its data cannot be understood
	Unauthenticated              // no valid credentials were given
	Forbidden                    // the caller may not do this
	NotFound                     // there is no such thing
	NotAcceptable                // no representation the client accepts
	Conflict                     // the state of the archive does not allow it
	Exists                       // a thing of this name is there already
	TooLarge                     // past a documented limit
	UnsupportedMedia             // a content type that cannot be stored
	RangeInvalid                 // a byte range outside the representation
	Busy                         // too many requests at once; try again
	Full                         // the store has no room
	Unavailable                  // a store or database does not answer; try again
	Timeout                      // the other side made no progress in time
	Canceled                     // the caller went away
	KeyDenied                    // the key provider refuses: revoked, disabled, gone
	KeyUnreachable               // the key provider does not answer
	Corrupt                      // stored bytes fail authentication or are missing
	TooMany                      // the tenant's own limit of requests; try again more slowly
	Archived                     // stored bytes must be restored from an archive before they can be read
)

var names = [...]string{"internal", "invalid", "unauthenticated", "forbidden", "not-found", "not-acceptable",
	"conflict", "exists", "too-large", "unsupported-media-type", "range-invalid", "busy", "full", "unavailable",
	"timeout", "canceled", "key-revoked", "key-unreachable", "corrupt", "too-many-requests", "archived"}

// String returns the stable, lower-case name used in logs and problem types.
func (k Kind) String() string {
	if int(k) < len(names) {
		return names[k]
	}
	return fmt.Sprintf("kind(%d)", uint8(k))
}

type fault struct {
	kind Kind
	msg  string
	err  error
}

func (f *fault) Error() string {
	switch {
	case f.err == nil:
		return f.msg
	case f.msg == "":
		return f.err.Error()
	}
	return f.msg + ": " + f.err.Error()
}

func (f *fault) Unwrap() error { return f.err }

// New returns an error of the kind. The message may hold %-verbs, %w included.
func New(k Kind, format string, args ...any) error {
	if len(args) == 0 {
		return &fault{kind: k, msg: format}
	}
	err := fmt.Errorf(format, args...)
	return &fault{kind: k, err: err}
}

// Wrap classifies err, which had no kind so far, and says what was attempted.
// It returns nil when err is nil.
func Wrap(k Kind, err error, format string, args ...any) error {
	if err == nil {
		return nil
	}
	return &fault{kind: k, msg: fmt.Sprintf(format, args...), err: err}
}

// KindOf returns the kind of the outermost classified error in err's chain. A
// context's own errors are Canceled and Timeout; anything else is Internal.
func KindOf(err error) Kind {
	var f *fault
	switch {
	case errors.As(err, &f):
		return f.kind
	case errors.Is(err, context.Canceled):
		return Canceled
	case errors.Is(err, context.DeadlineExceeded):
		return Timeout
	}
	return Internal
}

// Is reports whether err is of kind k. A nil error is of no kind.
func Is(err error, k Kind) bool { return err != nil && KindOf(err) == k }

// Message returns the text for the user: the message of the outermost
// classified error, without what it wraps. Internal errors give nothing away.
func Message(err error) string {
	var f *fault
	if !errors.As(err, &f) || f.kind == Internal {
		return "the server failed to do this; its log says why"
	}
	if f.msg != "" {
		return f.msg
	}
	return f.err.Error()
}
