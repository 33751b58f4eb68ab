// Package vaultkeys keeps key-encryption keys in HashiCorp Vault's Transit
// engine. A KEK is a Transit key that takes associated data (aes256-gcm96,
// the default of Transit, aes128-gcm96 or chacha20-poly1305), made by whoever owns it:
// Strata makes none. The version in a wrapped key is Transit's; Vault's own rewrap takes no
// associated data, so a rotation unwraps and wraps.
//
// The policy that Strata needs is update on {mount}/encrypt/{key} and
// {mount}/decrypt/{key}, and for what [Options.Admin] does read and update on
// {mount}/keys/{key} and below it.
//
// A sealed Vault, a standby without its active node, a limit of requests and a
// broken connection are silence, not a denial. A token that has ended is
// replaced by logging in again before a refusal counts as one.
package vaultkeys

import (
	"context"
	"encoding/base64"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/hashicorp/vault/api"

	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/internal/keys"
)

// Options say which Vault, and how to log in to it. Address and Auth are required.
type Options struct {
	Address   string // https://host:8200
	Namespace string // of Vault Enterprise; empty: none
	Mount     string // of the Transit engine; default transit
	Auth      Auth
	// Admin is the credential of Rotate, Retire, Disable and Enable. Without it
	// the first two use Auth, and Disable and Enable are refused.
	Admin *Auth
	// DisablePolicy begins the names of the ACL policies that Disable writes, one
	// a key; default strata-disabled-. The policy {DisablePolicy}{key} has to be
	// attached to Strata's role or token; it need not exist.
	DisablePolicy string

	CAFile     string // PEM, of the authorities to trust; empty: those of the system
	ClientCert string // PEM files for TLS with a client certificate, read anew for
	ClientKey  string // every connection
	ServerName string // expected in the server's certificate; default: the host of Address

	Timeout time.Duration // of a call, logging in included; default 1 s
}

// Transit is a [keys.Wrapper] whose KEK IDs are names of Transit keys.
type Transit struct {
	o     Options
	use   *session
	admin *session // nil without a credential of its own
}

// Open prepares a provider. It does not need Vault to answer yet: it logs in
// when it is first used. Errors are fault.Invalid and name the option.
func Open(o Options) (*Transit, error) {
	if o.Mount = strings.Trim(o.Mount, "/"); o.Mount == "" {
		o.Mount = "transit"
	}
	if o.DisablePolicy == "" {
		o.DisablePolicy = "strata-disabled-"
	}
	if o.Timeout <= 0 {
		o.Timeout = time.Second
	}
	t := &Transit{o: o}
	var err error
	if t.use, err = newSession(o, o.Auth); err != nil {
		return nil, err
	}
	if o.Admin != nil {
		if t.admin, err = newSession(o, *o.Admin); err != nil {
			t.use.close()
			return nil, fmt.Errorf("the credential for managing keys: %w", err)
		}
	}
	return t, nil
}

// Close ends the renewal of tokens and gives back those that were got by logging in.
func (t *Transit) Close() error {
	t.use.close()
	if t.admin != nil {
		t.admin.close()
	}
	return nil
}

// neverCreate is no type of key: Vault makes a key that is not there when asked
// to encrypt under it, but not of an unknown type. For a key that is there it is not looked at.
const neverCreate = "none"

// Wrap implements [keys.Wrapper].
func (t *Transit) Wrap(ctx context.Context, kek keys.ID, key, aad []byte) (keys.Wrapped, error) {
	if err := checkName(kek); err != nil {
		return keys.Wrapped{}, err
	}
	s, err := t.use.do(ctx, func(ctx context.Context, c *api.Client) (*api.Secret, error) {
		return c.Logical().WriteWithContext(ctx, t.path("encrypt", kek), map[string]any{
			"plaintext":       base64.StdEncoding.EncodeToString(key),
			"associated_data": base64.StdEncoding.EncodeToString(aad),
			"type":            neverCreate,
		})
	})
	if err != nil {
		return keys.Wrapped{}, classify(ctx, err, "wrapping a key", fault.KeyDenied)
	}
	text, _ := field[string](s, "ciphertext")
	version, body, ok := parse(text)
	if !ok {
		return keys.Wrapped{}, errAnswer
	}
	return keys.Wrapped{KEK: kek, Version: version, Bytes: body}, nil
}

// Unwrap implements [keys.Wrapper].
func (t *Transit) Unwrap(ctx context.Context, w keys.Wrapped, aad []byte) ([]byte, error) {
	if err := checkName(w.KEK); err != nil {
		return nil, err
	}
	if n, err := strconv.Atoi(w.Version); err != nil || n < 1 || strconv.Itoa(n) != w.Version {
		return nil, fault.New(fault.KeyDenied, "a key was wrapped under a version that Vault has not; it was wrapped by another provider")
	}
	s, err := t.use.do(ctx, func(ctx context.Context, c *api.Client) (*api.Secret, error) {
		return c.Logical().WriteWithContext(ctx, t.path("decrypt", w.KEK), map[string]any{
			"ciphertext":      "vault:v" + w.Version + ":" + base64.StdEncoding.EncodeToString(w.Bytes),
			"associated_data": base64.StdEncoding.EncodeToString(aad),
		})
	})
	if err != nil {
		return nil, classify(ctx, err, "unwrapping a key", fault.Corrupt)
	}
	text, _ := field[string](s, "plaintext")
	key, err := base64.StdEncoding.DecodeString(text)
	if err != nil || len(key) == 0 {
		return nil, errAnswer
	}
	return key, nil
}

// path returns a path for a KEK whose name is checked.
func (t *Transit) path(what string, kek keys.ID) string {
	return t.o.Mount + "/" + what + "/" + string(kek)
}

// keyName is what Transit takes as the name of a key. It has no slash, and is not "..".
var keyName = regexp.MustCompile(`^\w([\w.-]{0,254}\w)?$`)

func checkName(kek keys.ID) error {
	if !keyName.MatchString(string(kek)) {
		return fault.New(fault.KeyDenied, "a key of Vault's Transit engine cannot have this name; it was wrapped by another provider")
	}
	return nil
}

// parse takes "vault:v1:base64" apart.
func parse(text string) (version string, body []byte, ok bool) {
	rest, ok := strings.CutPrefix(text, "vault:v")
	if !ok {
		return "", nil, false
	}
	version, rest, ok = strings.Cut(rest, ":")
	if !ok || version == "" {
		return "", nil, false
	}
	body, err := base64.StdEncoding.DecodeString(rest)
	return version, body, err == nil && len(body) > 0
}

// field returns a field of an answer, or false where it is absent or of another type.
func field[T any](s *api.Secret, name string) (T, bool) {
	if s == nil {
		return *new(T), false
	}
	v, ok := s.Data[name].(T)
	return v, ok
}
