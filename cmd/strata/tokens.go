package main

import (
	"crypto/sha256"
	"crypto/subtle"
	"net/http"
	"os"
	"strings"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/fault"
)

// token is one of the token file: [NAME=][TENANT:]TOKEN.
type token struct {
	sum    [sha256.Size]byte
	tenant archive.Tenant // "": the operator's, good for everything
	person string         // "": nobody in particular
}

// splitToken parts a line of the token file. A name is lower-case letters, digits, points, hyphens and underscores, a
// letter first, and what follows it is long enough, so that an equals sign in a token makes no name.
func splitToken(line string) (person, tenant, secret string, ofTenant bool) {
	if name, rest, ok := strings.Cut(line, "="); ok && validPerson(name) && len(rest) >= minToken {
		person, line = name, rest
	}
	if tenant, secret, ofTenant = strings.Cut(line, ":"); !ofTenant {
		return person, "", line, false
	}
	return person, tenant, secret, true
}

// parseToken reads a line of the token file.
func parseToken(line string) (t token, err error) {
	person, tenant, secret, ofTenant := splitToken(line)
	t = token{sum: sha256.Sum256([]byte(secret)), tenant: archive.Tenant(tenant), person: person}
	switch {
	case ofTenant && !t.tenant.Valid():
		return t, fault.New(fault.Invalid, "token-file: what stands before a colon must be a tenant's name")
	case len(secret) < minToken:
		return t, fault.New(fault.Invalid, "token-file: a token is shorter than %d characters; make one with: openssl rand -hex 32", minToken)
	}
	return t, nil
}

const minToken = 16

func validPerson(name string) bool {
	if name == "" || len(name) > 64 || name[0] < 'a' || name[0] > 'z' {
		return false
	}
	return strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789.-_") == ""
}

// tokens are those of the token file.
type tokens []token

// readTokens reads the token file; nil without one.
func (c *Config) readTokens() (tokens, error) {
	if c.TokenFile == "" {
		return nil, nil
	}
	b, err := os.ReadFile(c.TokenFile)
	if err != nil {
		return nil, fault.Wrap(fault.Invalid, err, "token-file: cannot be read")
	}
	var ts tokens
	for _, line := range strings.Fields(string(b)) {
		t, err := parseToken(line)
		if err != nil {
			return nil, err
		}
		ts = append(ts, t)
	}
	if len(ts) == 0 {
		return nil, fault.New(fault.Invalid, "token-file: the file holds no token; make one with: openssl rand -hex 32")
	}
	return ts, nil
}

// bearer is the token that a request brings.
func bearer(r *http.Request) (sum [sha256.Size]byte, ok bool) {
	scheme, text, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	return sha256.Sum256([]byte(strings.TrimSpace(text))), strings.EqualFold(scheme, "Bearer")
}

// authorizer returns the check of bearer tokens (RFC 6750), nil without any.
func (ts tokens) authorizer() authorizer {
	if ts == nil {
		return nil
	}
	return ts.authorize
}

// authorize refuses a request for a tenant that brings no token good for it.
func (ts tokens) authorize(r *http.Request, tenant archive.Tenant) error {
	sum, ok := bearer(r)
	valid, good := 0, 0
	for i := range ts {
		same := subtle.ConstantTimeCompare(ts[i].sum[:], sum[:])
		valid |= same
		if ts[i].tenant == "" || ts[i].tenant == tenant && tenant != "" {
			good |= same
		}
	}
	switch {
	case valid == 0 || !ok:
		return fault.New(fault.Unauthenticated, "send a valid token: Authorization: Bearer …")
	case good == 1:
		return nil
	case tenant == "":
		return fault.New(fault.Forbidden, "this is the operator's; a tenant's token does not open it")
	}
	return errOtherTenant
}

// person is whose token an authorised request brings; "" for a token without a name.
func (ts tokens) person(r *http.Request) (name string) {
	sum, _ := bearer(r)
	for i := range ts {
		if subtle.ConstantTimeCompare(ts[i].sum[:], sum[:]) == 1 {
			name = ts[i].person
		}
	}
	return name
}
