package dicomweb

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"sync"

	"github.com/strata-pacs/strata/internal/fault"
)

// multipartReader reads a multipart message (RFC 2046 §5.1) as a stream: one
// part at a time, in a window of fixed size, whatever the size of the parts.
//
// It takes what is seen in the field: text or empty lines before the first
// boundary, lines that end in LF alone (decided by the first boundary line, so
// that no byte of binary content is ever mistaken), white space after a
// boundary, parts without headers. A message that ends without its closing
// boundary may have been cut off: its last part ends in [errTruncated].
type multipartReader struct {
	r     io.Reader
	buf   []byte
	limit int // bytes of one part's headers

	// buf[pos:safe] is content of the current part, buf[safe:end] not yet
	// searched. found is the index behind the boundary line at safe, or 0.
	pos, safe, end int
	found          int
	last           bool // the boundary found closes the message
	err            error

	delim   []byte // the line break, "--" and the boundary
	open    []byte // delim without the line break
	current *messagePart
	failed  error
}

// multipartWindow is the size of the window in bytes.
const multipartWindow = 256 << 10

// Bounds of what surrounds the parts.
const (
	maxBoundary = 256
	maxPreamble = 64 << 10
	maxPadding  = 256 // white space behind a boundary (RFC 2046 §5.1.1 allows any)
)

var windows = sync.Pool{New: func() any { b := make([]byte, multipartWindow); return &b }}

var (
	errTruncated  = fault.New(fault.Invalid, "the multipart message ends without its closing boundary; it may have been cut off, send it again")
	errNoBoundary = fault.New(fault.Invalid, "the multipart message does not have the boundary that its Content-Type names")
	errClosed     = errors.New("the multipart reader is closed")
	errPartHeader = fault.New(fault.Invalid, "a part's headers are not well formed: each line must be a name, a colon and a value")
)

// newMultipartReader reads the message in r. Close gives its window back.
func newMultipartReader(r io.Reader, boundary string, headerLimit int) (*multipartReader, error) {
	if boundary == "" || len(boundary) > maxBoundary || strings.ContainsAny(boundary, "\r\n\x00") {
		return nil, fault.New(fault.Invalid, "the Content-Type of a multipart message needs a boundary of 1 to %d characters", maxBoundary)
	}
	m := &multipartReader{r: r, limit: headerLimit, buf: *windows.Get().(*[]byte)}
	m.open = []byte("--" + boundary)
	m.delim = m.open // until the line style is known
	return m, nil
}

// Close lets go of the window. The parts can be read no more.
func (m *multipartReader) Close() {
	if m.buf == nil {
		return
	}
	buf := m.buf
	m.buf, m.pos, m.safe, m.end, m.found = nil, 0, 0, 0, 0
	m.err, m.failed = errClosed, errClosed
	windows.Put(&buf)
}

// Next passes over what is left of the current part and returns the next one,
// or io.EOF behind the closing boundary. Errors are final.
func (m *multipartReader) Next() (*messagePart, error) {
	if m.failed != nil {
		return nil, m.failed
	}
	p, err := m.next()
	if err != nil {
		m.failed = err
		m.pos, m.safe, m.end = 0, 0, 0
		return nil, err
	}
	m.current = p
	return p, nil
}

func (m *multipartReader) next() (*messagePart, error) {
	if m.current == nil {
		if err := m.first(); err != nil {
			return nil, err
		}
	} else {
		for m.found == 0 {
			m.pos = m.safe
			if err := m.advance(); err != nil {
				return nil, err
			}
		}
		m.current.m = nil
	}
	if m.last {
		return nil, io.EOF
	}
	m.pos, m.safe, m.found = m.found, m.found, 0
	p := &messagePart{m: m}
	if err := m.headers(p); err != nil {
		return nil, err
	}
	return p, m.empty()
}

// first finds the first boundary, at the very beginning or behind a line break,
// and with it the style of the line breaks.
func (m *multipartReader) first() error {
	begin := 0 // of the window, in the message
	for from := 0; ; {
		i := bytes.Index(m.buf[from:m.end], m.open)
		keep := max(0, m.end-len(m.open)) // a boundary may begin here, and the byte before it
		if i >= 0 {
			at := from + i
			next, kind := m.behind(at + len(m.open))
			lineStart := at > 0 && m.buf[at-1] == '\n' || at == 0 && begin == 0
			switch {
			case kind == needMore:
				keep = max(0, at-1)
			case kind == content || !lineStart:
				from = at + 1
				continue
			default:
				style := "\r\n"
				if kind == opensLF {
					style = "\n"
				}
				m.delim = append([]byte(style), m.open...)
				m.pos, m.safe, m.found, m.last = next, next, next, kind == closes
				return nil
			}
		}
		if begin += keep; begin > maxPreamble {
			return errNoBoundary
		}
		m.pos, from = keep, 0
		if err := m.fill(); err == io.EOF {
			return errNoBoundary
		} else if err != nil {
			return err
		}
	}
}

// empty finds the boundary that follows a part's headers at once: the line
// break before it is then the one that ends the headers.
func (m *multipartReader) empty() error {
	for {
		have := min(len(m.open), m.end-m.pos)
		if !bytes.Equal(m.buf[m.pos:m.pos+have], m.open[:have]) {
			return nil
		}
		kind := needMore
		if have == len(m.open) {
			var next int
			if next, kind = m.behind(m.pos + have); kind != needMore && kind != content {
				m.found, m.last = next, kind == closes
			}
		}
		if kind != needMore {
			return nil
		}
		if err := m.fill(); err == io.EOF {
			return nil
		} else if err != nil {
			return err
		}
	}
}

// headers reads the headers of a part, up to and with the empty line.
func (m *multipartReader) headers(p *messagePart) error {
	var last *string
	for left := m.limit; ; {
		i := bytes.IndexByte(m.buf[m.pos:m.end], '\n')
		if i >= left || i < 0 && m.end-m.pos >= left {
			return fault.New(fault.TooLarge, "a part has more than %d bytes of headers", m.limit)
		}
		if i < 0 {
			m.safe = m.pos
			if err := m.fill(); err == io.EOF {
				return errTruncated
			} else if err != nil {
				return err
			}
			continue
		}
		line := bytes.TrimSuffix(m.buf[m.pos:m.pos+i], []byte("\r"))
		m.pos += i + 1
		m.safe = m.pos
		left -= i + 1
		if len(line) == 0 {
			return nil
		}
		if line[0] == ' ' || line[0] == '\t' { // a folded line (RFC 5322 §2.2.3)
			if last != nil {
				*last += " " + string(bytes.TrimSpace(line))
			}
			continue
		}
		name, value, ok := bytes.Cut(line, []byte(":"))
		if !ok {
			return errPartHeader
		}
		last = p.field(string(bytes.ToLower(bytes.TrimSpace(name))))
		if last != nil {
			*last = string(bytes.TrimSpace(value))
		}
	}
}

// What stands behind the text of a boundary.
type lineKind uint8

const (
	content  lineKind = iota // something else: this is no boundary
	opens                    // CRLF: a part follows
	opensLF                  // LF alone
	closes                   // "--": the message ends
	needMore                 // the window ends here
)

// behind looks at what follows the boundary text that ends at i, and returns
// the index behind the line.
func (m *multipartReader) behind(i int) (int, lineKind) {
	b := m.buf[:m.end]
	if len(b)-i < 2 && m.err == nil {
		return 0, needMore
	}
	if bytes.HasPrefix(b[i:], []byte("--")) {
		return i + 2, closes
	}
	stop := min(len(b), i+maxPadding)
	for i < stop && (b[i] == ' ' || b[i] == '\t') {
		i++
	}
	switch rest := b[i:]; {
	case bytes.HasPrefix(rest, []byte("\r\n")):
		return i + 2, opens
	case bytes.HasPrefix(rest, []byte("\n")):
		return i + 1, opensLF
	case m.err == nil && (len(rest) == 0 || len(rest) == 1 && rest[0] == '\r'):
		return 0, needMore
	}
	return 0, content
}

// fill moves what is not consumed to the beginning of the window and reads more.
func (m *multipartReader) fill() error {
	if m.err != nil {
		return m.err
	}
	if m.pos > 0 {
		copy(m.buf, m.buf[m.pos:m.end])
		m.safe = max(0, m.safe-m.pos)
		m.end -= m.pos
		m.pos = 0
	}
	if m.end == len(m.buf) {
		return errPartHeader // only headers and preamble wait for so much
	}
	for range 100 {
		n, err := m.r.Read(m.buf[m.end:])
		m.end += n
		if err != nil {
			m.err = err
		}
		if n > 0 {
			return nil
		}
		if err != nil {
			return err
		}
	}
	m.err = io.ErrNoProgress
	return m.err
}
