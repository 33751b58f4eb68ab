package providers

import (
	"bytes"
	"io"
	"net/url"
	"os"
	"slices"
	"strconv"
	"time"

	"github.com/strata-pacs/strata/internal/fault"
)

// parameters are those of a setting, of which each is taken once. The first
// error stays until done.
type parameters struct {
	scheme string
	values url.Values
	used   map[string]bool
	err    error
}

func (p *parameters) fail(name, what string) {
	if p.err == nil {
		p.err = fault.New(fault.Invalid, "%s: %s %s", p.scheme, name, what)
	}
}

func (p *parameters) get(name string) string {
	p.used[name] = true
	v := p.values[name]
	switch {
	case len(v) == 0:
		return ""
	case len(v) > 1:
		p.fail(name, "is given twice")
	case v[0] == "":
		p.fail(name, "is empty")
	}
	return v[0]
}

func (p *parameters) need(name string) string {
	v := p.get(name)
	if v == "" {
		p.fail(name, "is missing")
	}
	return v
}

func (p *parameters) duration(name string) time.Duration {
	v := p.get(name)
	if v == "" {
		return 0
	}
	d, err := time.ParseDuration(v)
	if err != nil || d <= 0 {
		p.fail(name, "is a time such as 500ms or 2s")
	}
	return d
}

func (p *parameters) number(name string) int {
	v := p.get(name)
	if v == "" {
		return 0
	}
	n, err := strconv.ParseUint(v, 10, 31)
	if err != nil {
		p.fail(name, "is a number")
	}
	return int(n)
}

const maxSecret = 64 << 10 // bytes

// secret reads the file that a parameter names, without the end of its line.
func (p *parameters) secret(name string) []byte {
	path := p.get(name)
	if path == "" {
		return nil
	}
	f, err := os.Open(path)
	if err != nil {
		p.fail(name, "names a file that cannot be read")
		return nil
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxSecret))
	if err != nil {
		p.fail(name, "names a file that cannot be read")
	}
	if b = bytes.TrimRight(b, "\r\n"); len(b) == 0 {
		p.fail(name, "names a file that is empty")
	}
	return b
}

// readable fails unless the file that a parameter names, if it does, can be read.
func (p *parameters) readable(name string) {
	path := p.get(name)
	if path == "" {
		return
	}
	f, err := os.Open(path)
	if err != nil {
		p.fail(name, "names a file that cannot be read")
		return
	}
	_ = f.Close() // nothing was read
}

// done returns the first error; a parameter that nobody took is one.
func (p *parameters) done() error {
	var unknown []string
	for name := range p.values {
		if !p.used[name] {
			unknown = append(unknown, name)
		}
	}
	slices.Sort(unknown)
	for _, name := range unknown {
		p.fail(strconv.Quote(name), "is not a parameter of it")
	}
	return p.err
}
