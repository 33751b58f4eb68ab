package vaultkeys

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/hashicorp/vault/api"

	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/internal/keys"
)

var _ interface {
	keys.Wrapper
	keys.Rotator
	keys.Retirer
	keys.Describer
	keys.Switch
	keys.Checker
} = (*Transit)(nil)

// managing returns the session for changes of a key.
func (t *Transit) managing() *session {
	if t.admin != nil {
		return t.admin
	}
	return t.use
}

// Rotate implements [keys.Rotator].
func (t *Transit) Rotate(ctx context.Context, kek keys.ID) (string, error) {
	if err := checkName(kek); err != nil {
		return "", err
	}
	if _, err := t.write(ctx, t.managing(), "rotating a key", t.path("keys", kek)+"/rotate", nil); err != nil {
		return "", err
	}
	d, err := t.Describe(ctx, kek)
	return d.Newest, err
}

// Retire implements [keys.Retirer]: it raises min_decryption_version. Whoever may
// change the key can lower it again, until Vault is told to trim the key.
func (t *Transit) Retire(ctx context.Context, kek keys.ID, before string) error {
	d, err := t.Describe(ctx, kek)
	if err != nil {
		return err
	}
	n, err := strconv.Atoi(before)
	if err != nil || !d.Has(before) {
		return fault.New(fault.Invalid, "the key has no such version")
	}
	_, err = t.write(ctx, t.managing(), "retiring versions of a key", t.path("keys", kek)+"/config",
		map[string]any{"min_decryption_version": n})
	return err
}

func (t *Transit) write(ctx context.Context, s *session, what, path string, body map[string]any) (*api.Secret, error) {
	out, err := s.do(ctx, func(ctx context.Context, c *api.Client) (*api.Secret, error) {
		return c.Logical().WriteWithContext(ctx, path, body)
	})
	if err != nil {
		return nil, classify(ctx, err, what, fault.KeyDenied)
	}
	return out, nil
}

// Describe implements [keys.Describer].
func (t *Transit) Describe(ctx context.Context, kek keys.ID) (keys.Description, error) {
	const what = "reading about a key"
	if err := checkName(kek); err != nil {
		return keys.Description{}, err
	}
	s, err := t.managing().do(ctx, func(ctx context.Context, c *api.Client) (*api.Secret, error) {
		return c.Logical().ReadWithContext(ctx, t.path("keys", kek))
	})
	if err != nil {
		return keys.Description{}, classify(ctx, err, what, fault.KeyDenied)
	}
	if s == nil {
		return keys.Description{}, fault.New(fault.KeyDenied, "Vault has no such key (%s)", what)
	}
	newest, ok1 := field[json.Number](s, "latest_version")
	oldest, ok2 := field[json.Number](s, "min_decryption_version")
	versions, ok3 := field[map[string]any](s, "keys")
	least, err := oldest.Int64()
	if !ok1 || !ok2 || !ok3 || err != nil {
		return keys.Description{}, errAnswer
	}
	d := keys.Description{Provider: "vault", Newest: newest.String()}
	for v, created := range versions {
		if n, err := strconv.ParseInt(v, 10, 64); err != nil || n < least {
			continue
		}
		info := keys.VersionInfo{Version: v}
		if at, ok := created.(json.Number); ok { // symmetric keys: seconds since 1970
			if seconds, err := at.Int64(); err == nil {
				info.Created = time.Unix(seconds, 0).UTC()
			}
		}
		d.Versions = append(d.Versions, info)
	}
	slices.SortFunc(d.Versions, func(a, b keys.VersionInfo) int {
		return cmp.Or(cmp.Compare(len(a.Version), len(b.Version)), cmp.Compare(a.Version, b.Version))
	})
	return d, nil
}

// Disable implements [keys.Switch]. Transit cannot disable a key, so an ACL
// policy denies it to Strata: in Vault a denial goes before every permission.
func (t *Transit) Disable(ctx context.Context, kek keys.ID) error {
	if t.admin == nil {
		return errNoAdmin
	}
	if err := checkName(kek); err != nil {
		return err
	}
	var rules string
	for _, what := range []string{"encrypt", "decrypt"} {
		rules += fmt.Sprintf("path %q {\n  capabilities = [\"deny\"]\n}\n", t.o.Mount+"/"+what+"/"+string(kek))
	}
	if _, err := t.write(ctx, t.admin, "disabling a key", t.policy(kek), map[string]any{"policy": rules}); err != nil {
		return err
	}
	// Only that it works shows that the policy is attached.
	_, err := t.Wrap(ctx, kek, []byte("is it off?"), nil)
	switch {
	case fault.Is(err, fault.KeyDenied):
		return nil
	case err == nil:
		return fault.New(fault.Invalid, "the policy %s denies the key, but Vault does not apply it to Strata; attach it to Strata's role or token", t.o.DisablePolicy+string(kek))
	}
	return err
}

// Enable implements [keys.Switch]: it deletes the policy.
func (t *Transit) Enable(ctx context.Context, kek keys.ID) error {
	if t.admin == nil {
		return errNoAdmin
	}
	if err := checkName(kek); err != nil {
		return err
	}
	_, err := t.admin.do(ctx, func(ctx context.Context, c *api.Client) (*api.Secret, error) {
		return c.Logical().DeleteWithContext(ctx, t.policy(kek))
	})
	if err != nil {
		return classify(ctx, err, "enabling a key", fault.KeyDenied)
	}
	return nil
}

var errNoAdmin = fault.Wrap(fault.Invalid, errors.ErrUnsupported, "disabling a key at Vault needs a credential of its own; give one by admin-token-file")

func (t *Transit) policy(kek keys.ID) string {
	return "sys/policies/acl/" + t.o.DisablePolicy + string(kek)
}

// Check implements [keys.Checker]: Vault knows the token, or lets Strata log in.
func (t *Transit) Check(ctx context.Context, _ keys.ID) error {
	_, err := t.use.do(ctx, func(ctx context.Context, c *api.Client) (*api.Secret, error) {
		return c.Auth().Token().LookupSelfWithContext(ctx)
	})
	if err != nil {
		return classify(ctx, err, "checking the credential", fault.KeyDenied)
	}
	return nil
}
