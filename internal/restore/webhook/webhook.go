// Package webhook tells other programs that a restore has ended, by a POST of JSON.
//
// Only those are told that the operator has put on a list, by the beginning of
// their URL and with a secret of their own, so that nobody who may start a restore can have the
// server ask for things inside its network. Redirections are not followed, proxies not asked.
//
// A request carries
//
//	Strata-Event-Id: the same when it is sent again
//	Strata-Timestamp: seconds since 1970
//	Strata-Signature: sha256=HEX, HMAC-SHA256 under the secret over timestamp, a dot, and the body
//
// and is answered with a status of 2xx by who has understood. The timestamp lets the receiver refuse what is old.
package webhook

import (
	"bufio"
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"path"
	"strconv"
	"strings"
	"time"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/fault"
)

const (
	leastSecret = 32 // characters
	maxTargets  = 1000
	maxURL      = 2000 // bytes
	maxAnswer   = 64 << 10
)

// Target is one line of the list.
type Target struct {
	URL    *url.URL // what a URL must begin with
	Secret string
	// Tenant may use it, and each of its restores is told to URL; empty: all may, when they name a URL.
	Tenant archive.Tenant
}

// Read reads the list: a line has a URL, a secret and, for one tenant alone, its name, parted by blanks. Empty
// lines and those that begin with # say nothing. The URL is https, or http of this machine. Errors name the line and no secret.
func Read(r io.Reader) (list []Target, err error) {
	lines := bufio.NewScanner(r)
	for n := 1; lines.Scan(); n++ {
		words := strings.Fields(lines.Text())
		if len(words) == 0 || strings.HasPrefix(words[0], "#") {
			continue
		}
		if len(words) < 2 || len(words) > 3 {
			return nil, fault.New(fault.Invalid, "line %d: write a URL, a secret and perhaps a tenant, parted by blanks", n)
		}
		u, err := parse(words[0])
		if err != nil {
			return nil, fault.New(fault.Invalid, "line %d: %s", n, fault.Message(err))
		}
		if len(words[1]) < leastSecret {
			return nil, fault.New(fault.Invalid, "line %d: the secret is shorter than %d characters; make one with: openssl rand -hex 32", n, leastSecret)
		}
		t := Target{URL: u, Secret: words[1]}
		if len(words) == 3 {
			if t.Tenant = archive.Tenant(words[2]); !t.Tenant.Valid() {
				return nil, fault.New(fault.Invalid, "line %d: the third word must be a tenant's name", n)
			}
		}
		if list = append(list, t); len(list) > maxTargets {
			return nil, fault.New(fault.Invalid, "there are more than %d lines", maxTargets)
		}
	}
	if err := lines.Err(); err != nil {
		return nil, fault.Wrap(fault.Invalid, err, "the list cannot be read")
	}
	return list, nil
}

var errURL = fault.New(fault.Invalid, "a webhook's URL must be https, or http of this machine, without user, fragment, query or dots in its path")

// parse reads a URL of a webhook. What different programs could understand differently is refused.
func parse(s string) (*url.URL, error) {
	u, err := url.Parse(s)
	switch {
	case err != nil || len(s) > maxURL || strings.ContainsAny(s, "\\ \t\r\n#?"):
		return nil, errURL
	case u.Host == "" || u.User != nil || u.Opaque != "" || u.RawPath != "":
		return nil, errURL
	case u.Scheme != "https" && (u.Scheme != "http" || !local(u.Hostname())):
		return nil, errURL
	case u.Path != "" && strings.TrimSuffix(u.Path, "/") != strings.TrimSuffix(path.Clean(u.Path), "/"):
		return nil, errURL
	}
	u.Host = strings.ToLower(u.Host)
	return u, nil
}

func local(host string) bool {
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.IsLoopback()
}

// covers reports whether the URL begins with the target's, at a border of its path.
func (t *Target) covers(tenant archive.Tenant, u *url.URL) bool {
	if t.Tenant != "" && t.Tenant != tenant || u.Scheme != t.URL.Scheme || u.Host != t.URL.Host {
		return false
	}
	base := strings.TrimSuffix(t.URL.Path, "/")
	return u.Path == t.URL.Path || u.Path == base || strings.HasPrefix(u.Path, base+"/")
}

// Sender posts to targets. It is safe for concurrent use.
type Sender struct {
	targets []Target
	http    *http.Client
	now     func() time.Time
}

// New returns a Sender to the targets. Its time is the real one where now is nil.
func New(targets []Target, now func() time.Time) *Sender {
	if now == nil {
		now = time.Now
	}
	tr := &http.Transport{DialContext: (&net.Dialer{Timeout: 5 * time.Second}).DialContext, TLSHandshakeTimeout: 5 * time.Second,
		ResponseHeaderTimeout: 10 * time.Second, MaxIdleConns: 16, IdleConnTimeout: time.Minute}
	return &Sender{targets: targets, now: now, http: &http.Client{Transport: tr,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}
}

// target returns the longest one that covers the URL.
func (s *Sender) target(t archive.Tenant, raw string) (*url.URL, *Target, error) {
	u, err := parse(raw)
	if err != nil {
		return nil, nil, err
	}
	var best *Target
	for i := range s.targets {
		if c := &s.targets[i]; c.covers(t, u) && (best == nil || len(c.URL.Path) > len(best.URL.Path)) {
			best = c
		}
	}
	if best == nil {
		return nil, nil, fault.New(fault.Invalid, "the webhook's URL is not one that the operator allows; see webhook-file")
	}
	return u, best, nil
}

// Allowed refuses with fault.Invalid what is not on the list.
func (s *Sender) Allowed(t archive.Tenant, raw string) error {
	_, _, err := s.target(t, raw)
	return err
}

// Always returns the URLs of the tenant's own lines.
func (s *Sender) Always(t archive.Tenant) (urls []string) {
	for i := range s.targets {
		if s.targets[i].Tenant == t {
			urls = append(urls, s.targets[i].URL.String())
		}
	}
	return urls
}

// Post sends a body. An answer that is no success is fault.Unavailable, to be tried again.
func (s *Sender) Post(ctx context.Context, t archive.Tenant, raw, id string, body []byte) error {
	u, target, err := s.target(t, raw)
	if err != nil {
		return err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, u.String(), bytes.NewReader(body))
	if err != nil {
		return fault.Wrap(fault.Invalid, err, "the webhook's URL cannot be used")
	}
	stamp := strconv.FormatInt(s.now().Unix(), 10)
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("User-Agent", "strata")
	r.Header.Set("Strata-Event-Id", id)
	r.Header.Set("Strata-Timestamp", stamp)
	r.Header.Set("Strata-Signature", "sha256="+Sign(target.Secret, stamp, body))
	resp, err := s.http.Do(r)
	if err != nil {
		return fault.Wrap(fault.Unavailable, err, "a webhook does not answer")
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, maxAnswer)) // so that the connection is used again
	if resp.StatusCode/100 != 2 {
		return fault.Wrap(fault.Unavailable, fmt.Errorf("status %d", resp.StatusCode), "a webhook refuses")
	}
	return nil
}

// Sign returns the signature of a body, as the header has it behind "sha256=".
func Sign(secret, timestamp string, body []byte) string {
	m := hmac.New(sha256.New, []byte(secret))
	m.Write([]byte(timestamp + "."))
	m.Write(body)
	return hex.EncodeToString(m.Sum(nil))
}
