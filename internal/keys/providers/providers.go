// Package providers opens key providers from settings, and lets several serve
// one archive. A setting is a URL that says which provider, which of its keys
// and how to reach it. Secrets are never in it: it names files that hold them.
//
//	local:/etc/strata/strata.key?passphrase-file=/run/secrets/passphrase
//	vault:https://vault.example.org:8200/transit/tenant-a?auth=approle&role-id=…&secret-id-file=…
//	pkcs11:token=strata;object=tenant-a?module-path=/usr/lib/softhsm/libsofthsm2.so&pin-source=/run/secrets/pin
//	awskms:arn:aws:kms:eu-central-1:123456789012:key/12345678-90ab-cdef-1234-567890abcdef
//
// [Set] is the providers of a configuration, by name.
package providers

import (
	"context"
	"errors"
	"net/url"
	"strings"

	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/internal/keys"
	"github.com/strata-pacs/strata/internal/keys/kmskeys"
	"github.com/strata-pacs/strata/internal/keys/localkeys"
	"github.com/strata-pacs/strata/internal/keys/pkcs11keys"
	"github.com/strata-pacs/strata/internal/keys/vaultkeys"
)

// Provider is an open provider and the key that its setting names.
type Provider struct {
	Wrapper keys.Wrapper
	KEK     keys.ID
	Close   func() error // nil: there is nothing to close
}

// open opens the provider of a setting. Errors are fault.Invalid and name the
// parameter, or those of the local key file.
func open(ctx context.Context, setting string, modules *pkcs11keys.Modules) (Provider, error) {
	scheme, rest, ok := strings.Cut(setting, ":")
	before, query, _ := strings.Cut(rest, "?")
	values, err := url.ParseQuery(query)
	if !ok || err != nil {
		return Provider{}, fault.New(fault.Invalid, "a key provider is set by a URL such as vault:https://vault.example.org:8200/transit/key?auth=token&token-file=/run/secrets/token")
	}
	p := &parameters{scheme: scheme, values: values, used: map[string]bool{}}
	switch scheme {
	case "local":
		return openLocal(before, p)
	case "vault":
		return openVault(before, p)
	case "pkcs11":
		return openPKCS11(before, p, modules)
	case "awskms":
		return openKMS(ctx, before, p)
	}
	return Provider{}, fault.New(fault.Invalid, "there is no key provider %q; there are local, vault, pkcs11 and awskms", scheme)
}

func openLocal(path string, p *parameters) (Provider, error) {
	path, err := url.PathUnescape(path)
	if err != nil || path == "" {
		return Provider{}, fault.New(fault.Invalid, "local: names no key file, such as local:/etc/strata/strata.key")
	}
	passphrase := p.secret("passphrase-file")
	defer clear(passphrase)
	if err := p.done(); err != nil {
		return Provider{}, err
	}
	f, err := localkeys.Open(path, passphrase)
	if err != nil {
		return Provider{}, err
	}
	return Provider{Wrapper: f, KEK: f.ID()}, nil
}

func openVault(address string, p *parameters) (Provider, error) {
	u, err := url.Parse(address)
	if err != nil || u.Host == "" || u.User != nil {
		return Provider{}, fault.New(fault.Invalid, "vault: begins with the address of Vault, such as vault:https://vault.example.org:8200/transit/key, without a user or password")
	}
	path := strings.Trim(u.Path, "/")
	i := strings.LastIndexByte(path, '/')
	if i < 0 {
		return Provider{}, fault.New(fault.Invalid, "vault: ends with the mount of the Transit engine and the name of the key, such as /transit/key")
	}
	o := vaultkeys.Options{
		Address: u.Scheme + "://" + u.Host, Mount: path[:i],
		Namespace: p.get("namespace"), DisablePolicy: p.get("disable-policy"), Timeout: p.duration("timeout"),
		CAFile: p.get("ca-file"), ClientCert: p.get("client-cert"), ClientKey: p.get("client-key"), ServerName: p.get("server-name"),
		Auth: vaultkeys.Auth{
			Method: p.need("auth"), Mount: p.get("auth-mount"), TokenFile: p.get("token-file"),
			RoleID: p.get("role-id"), SecretIDFile: p.get("secret-id-file"), Role: p.get("role"), JWTFile: p.get("jwt-file"),
		},
	}
	token, role, secret, mount := p.get("admin-token-file"), p.get("admin-role-id"), p.get("admin-secret-id-file"), p.get("admin-auth-mount")
	switch {
	case token != "" && role+secret+mount != "":
		return Provider{}, fault.New(fault.Invalid, "vault: admin-token-file and admin-role-id: give one of them")
	case token != "":
		o.Admin = &vaultkeys.Auth{Method: "token", TokenFile: token}
	case role+secret+mount != "":
		o.Admin = &vaultkeys.Auth{Method: "approle", RoleID: role, SecretIDFile: secret, Mount: mount}
	}
	if err := p.done(); err != nil {
		return Provider{}, err
	}
	t, err := vaultkeys.Open(o)
	if err != nil {
		return Provider{}, err
	}
	// They are read again and again, but one that is not there at first is a mistake.
	for _, name := range []string{"token-file", "secret-id-file", "jwt-file", "admin-token-file", "admin-secret-id-file"} {
		p.readable(name)
	}
	if p.err != nil {
		return Provider{}, errors.Join(p.err, t.Close())
	}
	return Provider{t, keys.ID(path[i+1:]), t.Close}, nil
}

// openPKCS11 opens what a URL of RFC 7512 names.
func openPKCS11(path string, p *parameters, modules *pkcs11keys.Modules) (Provider, error) {
	at := &parameters{scheme: p.scheme, values: url.Values{}, used: map[string]bool{}}
	for _, attribute := range strings.Split(path, ";") {
		name, value, ok := strings.Cut(attribute, "=")
		value, err := url.PathUnescape(value)
		if !ok || err != nil {
			return Provider{}, fault.New(fault.Invalid, "pkcs11: begins with attributes such as token=strata;object=key")
		}
		at.values.Add(name, value)
	}
	o := pkcs11keys.Options{
		Module: p.need("module-path"), PINFile: strings.TrimPrefix(p.need("pin-source"), "file:"),
		Mechanism: pkcs11keys.Mechanism(p.get("mechanism")), Sessions: p.number("sessions"), Timeout: p.duration("timeout"),
		Token: at.get("token"), Serial: at.get("serial"), Modules: modules,
	}
	if at.get("slot-id") != "" {
		slot := uint(at.number("slot-id"))
		o.Slot = &slot
	}
	kek := keys.ID(at.get("object"))
	if id := at.get("id"); id != "" {
		if kek != "" {
			return Provider{}, fault.New(fault.Invalid, "pkcs11: object and id: give one of them")
		}
		kek = pkcs11keys.ByID([]byte(id))
	} else if kek == "" {
		return Provider{}, fault.New(fault.Invalid, "pkcs11: object is missing: it names the key by its label")
	}
	if p.values.Has("pin-value") {
		return Provider{}, fault.New(fault.Invalid, "pkcs11: pin-value would put the PIN into the configuration; give a file by pin-source")
	}
	if err := at.done(); err != nil {
		return Provider{}, err
	}
	if err := p.done(); err != nil {
		return Provider{}, err
	}
	h, err := pkcs11keys.Open(o)
	if err != nil {
		return Provider{}, err
	}
	return Provider{h, kek, h.Close}, nil
}

func openKMS(ctx context.Context, key string, p *parameters) (Provider, error) {
	if err := kmskeys.CheckName(keys.ID(key)); err != nil {
		return Provider{}, fault.New(fault.Invalid, "awskms: names a key by its ARN or key id, such as awskms:arn:aws:kms:eu-central-1:123456789012:key/…; an alias is not taken")
	}
	o := kmskeys.Options{
		Region: p.get("region"), Endpoint: p.get("endpoint"), Profile: p.get("profile"), AdminProfile: p.get("admin-profile"), Timeout: p.duration("timeout"),
	}
	if part := strings.Split(key, ":"); len(part) > 3 { // arn:aws:kms:region:…
		if o.Region != "" && o.Region != part[3] {
			return Provider{}, fault.New(fault.Invalid, "awskms: region is not that of the ARN; give one of them")
		}
		o.Region = part[3]
	}
	if err := p.done(); err != nil {
		return Provider{}, err
	}
	k, err := kmskeys.Open(ctx, o)
	if err != nil {
		return Provider{}, err
	}
	return Provider{Wrapper: k, KEK: keys.ID(key)}, nil
}
