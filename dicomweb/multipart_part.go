package dicomweb

import (
	"bytes"
	"io"
)

// messagePart is one part of the message, to be read before the next one is asked for.
type messagePart struct {
	m        *multipartReader
	Type     string // Content-Type
	Location string // Content-Location
	ID       string // Content-ID
	Encoding string // Content-Transfer-Encoding
}

// field is where a header that means something here is kept.
func (p *messagePart) field(name string) *string {
	switch name {
	case "content-type":
		return &p.Type
	case "content-location":
		return &p.Location
	case "content-id":
		return &p.ID
	case "content-transfer-encoding":
		return &p.Encoding
	}
	return nil
}

// advance makes content available or finds the next boundary; it is called with
// no content at hand (pos == safe) and no boundary found.
func (m *multipartReader) advance() error {
	for {
		for m.safe < m.end {
			i := bytes.Index(m.buf[m.safe:m.end], m.delim)
			if i < 0 {
				// The last bytes may begin a boundary.
				m.safe = max(m.safe, m.end-len(m.delim)+1)
				break
			}
			m.safe += i
			next, kind := m.behind(m.safe + len(m.delim))
			if kind == needMore {
				break
			}
			if kind != content {
				m.found, m.last = next, kind == closes
				return nil
			}
			m.safe++
		}
		if m.safe > m.pos {
			return nil
		}
		if err := m.fill(); err != nil {
			if err == io.EOF {
				// What is left is content, but nobody can tell whether all of it.
				if m.safe < m.end {
					m.safe = m.end
					return nil
				}
				return errTruncated
			}
			return err
		}
	}
}

// Read implements io.Reader. It returns io.EOF at the part's end, errTruncated
// when the message ends before.
func (p *messagePart) Read(b []byte) (int, error) {
	m := p.m
	if m == nil {
		return 0, io.EOF
	}
	if len(b) >= directFrom {
		if n := m.direct(b); n > 0 {
			return n, nil
		}
	}
	for m.pos == m.safe {
		if m.found != 0 {
			return 0, io.EOF
		}
		if err := m.advance(); err != nil {
			return 0, err
		}
	}
	n := copy(b, m.buf[m.pos:m.safe])
	m.pos += n
	return n, nil
}

// A reader who brings a large buffer is given content without a copy, once the
// window holds next to nothing.
const (
	directFrom = 32 << 10
	directHeld = 4 << 10
)

// direct reads into b, as far as it fits into the window, and moves what is not
// certain to be content there. It returns 0 when the window has to be used.
func (m *multipartReader) direct(b []byte) int {
	if m.pos != m.safe || m.found != 0 || m.err != nil || m.end-m.safe > directHeld {
		return 0
	}
	held := copy(b, m.buf[m.safe:m.end])
	n, err := m.r.Read(b[held:min(len(b), len(m.buf))])
	if err != nil {
		m.err = err
	}
	b = b[:held+n]
	i := bytes.Index(b, m.delim)
	if i < 0 {
		i = max(0, len(b)-len(m.delim)+1)
	}
	m.pos, m.safe, m.end = 0, 0, copy(m.buf, b[i:])
	return i
}

// WriteTo implements io.WriterTo, without copying.
func (p *messagePart) WriteTo(w io.Writer) (int64, error) {
	var total int64
	m := p.m
	for m != nil {
		if m.pos < m.safe {
			n, err := w.Write(m.buf[m.pos:m.safe])
			m.pos += n
			total += int64(n)
			if err != nil {
				return total, err
			}
		}
		if m.found != 0 {
			break
		}
		if err := m.advance(); err != nil {
			return total, err
		}
	}
	return total, nil
}
