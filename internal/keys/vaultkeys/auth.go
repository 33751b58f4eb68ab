package vaultkeys

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"os"

	"github.com/hashicorp/vault/api"

	"github.com/strata-pacs/strata/internal/fault"
)

// Auth is how to log in. Secrets are in files, which are read at every login, so
// that they may be replaced while Strata runs.
type Auth struct {
	Method string // token, approle or kubernetes
	Mount  string // of the auth method; default: its name

	TokenFile string // token

	RoleID       string // approle
	SecretIDFile string // approle; empty: the role needs no secret id

	Role    string // kubernetes
	JWTFile string // kubernetes; default: where a pod has it
}

const podToken = "/var/run/secrets/kubernetes.io/serviceaccount/token"

func (a *Auth) check() error {
	switch {
	case a.Method == "token" && a.TokenFile == "":
		return fault.New(fault.Invalid, "logging in to Vault by token needs a token file")
	case a.Method == "approle" && a.RoleID == "":
		return fault.New(fault.Invalid, "logging in to Vault by AppRole needs a role id")
	case a.Method == "kubernetes" && a.Role == "":
		return fault.New(fault.Invalid, "logging in to Vault by Kubernetes needs a role")
	case a.Method != "token" && a.Method != "approle" && a.Method != "kubernetes":
		return fault.New(fault.Invalid, "Strata logs in to Vault by token, approle or kubernetes, not by %q", a.Method)
	}
	return nil
}

// login returns a token. It leaves the client's own token alone.
func (a *Auth) login(ctx context.Context, c *api.Client) (*api.SecretAuth, error) {
	mount := a.Mount
	if mount == "" {
		mount = a.Method
	}
	body := map[string]any{}
	switch a.Method {
	case "token":
		token, err := readSecret(a.TokenFile)
		if err != nil {
			return nil, err
		}
		return lookup(ctx, c, token)
	case "approle":
		body["role_id"] = a.RoleID
		if a.SecretIDFile != "" {
			id, err := readSecret(a.SecretIDFile)
			if err != nil {
				return nil, err
			}
			body["secret_id"] = id
		}
	case "kubernetes":
		file := a.JWTFile
		if file == "" {
			file = podToken
		}
		jwt, err := readSecret(file)
		if err != nil {
			return nil, err
		}
		body["role"], body["jwt"] = a.Role, jwt
	}
	anonymous, err := withToken(c, "")
	if err != nil {
		return nil, err
	}
	s, err := anonymous.Logical().WriteWithContext(ctx, "auth/"+mount+"/login", body)
	if err != nil {
		return nil, classify(ctx, err, "logging in", fault.KeyDenied)
	}
	if s == nil || s.Auth == nil || s.Auth.ClientToken == "" {
		return nil, errAnswer
	}
	return s.Auth, nil
}

// lookup asks Vault about a token: until when it holds, and whether it can be renewed.
func lookup(ctx context.Context, c *api.Client, token string) (*api.SecretAuth, error) {
	c, err := withToken(c, token)
	if err != nil {
		return nil, err
	}
	s, err := c.Auth().Token().LookupSelfWithContext(ctx)
	if forbidden(err) {
		// It is no token, or one whose policies do not let it ask; its use will tell.
		return &api.SecretAuth{ClientToken: token}, nil
	} else if err != nil {
		return nil, classify(ctx, err, "logging in", fault.KeyDenied)
	}
	renewable, _ := s.TokenIsRenewable()
	ttl, _ := field[json.Number](s, "ttl")
	seconds, _ := ttl.Int64()
	return &api.SecretAuth{ClientToken: token, Renewable: renewable, LeaseDuration: int(seconds)}, nil
}

func withToken(c *api.Client, token string) (*api.Client, error) {
	clone, err := c.CloneWithHeaders() // the namespace is one
	if err != nil {
		return nil, fault.Wrap(fault.Invalid, err, "the settings of Vault")
	}
	clone.SetToken(token)
	return clone, nil
}

const maxSecret = 64 << 10 // bytes of a file with a secret

func readSecret(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", fault.Wrap(fault.KeyDenied, err, "the file with the credential for Vault cannot be read")
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxSecret))
	if err != nil {
		return "", fault.Wrap(fault.KeyDenied, err, "the file with the credential for Vault cannot be read")
	}
	if b = bytes.TrimSpace(b); len(b) == 0 {
		return "", fault.New(fault.KeyDenied, "the file with the credential for Vault is empty")
	}
	return string(b), nil
}
