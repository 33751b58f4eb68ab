//go:build linux

package stacktest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"github.com/hashicorp/vault/api"

	"github.com/strata-pacs/strata/deploy"
)

const vaultProgram = "vault-1.21.2"

// Names in Vault.
const (
	Transit     = "transit" // where the Transit engine is mounted
	Key         = "strata"  // the key of the default tenant
	nodePolicy  = "strata"  // allows its use
	adminPolicy = "strata-admin"
	// Once there is a policy of this name, the nodes are what it says besides:
	// denied their key.
	disabledPolicy = "strata-disabled-" + Key
)

// denial takes from a policy what it allowed.
const denial = `path "` + Transit + `/*" { capabilities = ["deny"] }`

// Vault is a Vault with the Transit engine, unsealed by the one key that lies
// beside it: enough for tests, never for patients' data.
type Vault struct {
	*Process
	Address string // URL
	Root    *api.Client
	secrets *secrets
	keep    func() error // saves the secrets
}

func newVault(dir, log string, port, clusterPort int, s *secrets, keep func() error) (*Vault, error) {
	program, err := built(vaultProgram)
	if err != nil {
		return nil, err
	}
	v := &Vault{Address: fmt.Sprintf("http://127.0.0.1:%d", port), secrets: s, keep: keep}
	conf := api.DefaultConfig()
	if conf.Error != nil {
		return nil, conf.Error
	}
	conf.Address, conf.MaxRetries, conf.Timeout = v.Address, 0, 10*time.Second
	if v.Root, err = api.NewClient(conf); err != nil {
		return nil, err
	}
	v.Root.SetToken(s.VaultRoot)
	data := filepath.Join(dir, "data")
	if err := os.MkdirAll(data, 0o700); err != nil {
		return nil, err
	}
	file := filepath.Join(dir, "vault.hcl")
	err = os.WriteFile(file, fmt.Appendf(nil, `storage "raft" {
  path                   = %q
  node_id                = "stack"
  performance_multiplier = 1
}
listener "tcp" {
  address         = "127.0.0.1:%d"
  cluster_address = "127.0.0.1:%d"
  tls_disable     = true
}
api_addr      = %q
cluster_addr  = "https://127.0.0.1:%d"
disable_mlock = true
`, data, port, clusterPort, v.Address, clusterPort), 0o600)
	if err != nil {
		return nil, err
	}
	v.Process = &Process{name: "vault", log: log, ending: syscall.SIGTERM,
		command: func() *exec.Cmd {
			cmd := exec.Command(program, "server", "-config", file)
			cmd.Env = []string{"HOME=" + dir, "PATH=/usr/bin:/bin"}
			return cmd
		},
		ready: v.Unseal}
	return v, nil
}

// Unseal opens a sealed Vault and waits until it is active; a new one it
// initialises first. An open one it leaves as it is.
func (v *Vault) Unseal(ctx context.Context) error {
	h, err := v.Root.Sys().HealthWithContext(ctx)
	if err != nil {
		return err
	}
	if !h.Initialized {
		init, err := v.Root.Sys().InitWithContext(ctx, &api.InitRequest{SecretShares: 1, SecretThreshold: 1})
		if err != nil {
			return fmt.Errorf("initialising Vault: %w", err)
		}
		v.secrets.VaultKey, v.secrets.VaultRoot = init.Keys[0], init.RootToken
		if err := v.keep(); err != nil {
			return err
		}
		v.Root.SetToken(init.RootToken)
		h.Sealed = true
	}
	if h.Sealed {
		s, err := v.Root.Sys().UnsealWithContext(ctx, v.secrets.VaultKey)
		if err != nil {
			return fmt.Errorf("unsealing Vault: %w", err)
		}
		if s.Sealed {
			return errors.New("Vault did not take its unseal key")
		}
	}
	for h.Standby || h.Sealed {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(50 * time.Millisecond):
		}
		if h, err = v.Root.Sys().HealthWithContext(ctx); err != nil {
			return err
		}
	}
	return nil
}

// Seal seals Vault: it answers 503 to everything until Unseal.
func (v *Vault) Seal(ctx context.Context) error { return v.Root.Sys().SealWithContext(ctx) }

// Deny withdraws the nodes' permission to use their key in Vault itself, as a
// customer does who revokes it; Allow gives it back.
func (v *Vault) Deny(ctx context.Context) error {
	return v.Root.Sys().PutPolicyWithContext(ctx, nodePolicy, denial)
}

// Allow undoes Deny.
func (v *Vault) Allow(ctx context.Context) error {
	return v.Root.Sys().PutPolicyWithContext(ctx, nodePolicy, deploy.VaultPolicy)
}

// Disable withdraws it as Strata itself does, by a policy that denies the key; Enable
// gives it back.
func (v *Vault) Disable(ctx context.Context) error {
	rules := ""
	for _, use := range []string{"encrypt", "decrypt"} { // a shorter path would yield to what allows the longer one
		rules += fmt.Sprintf("path %q { capabilities = [\"deny\"] }\n", Transit+"/"+use+"/"+Key)
	}
	return v.Root.Sys().PutPolicyWithContext(ctx, disabledPolicy, rules)
}

// Enable undoes Disable.
func (v *Vault) Enable(ctx context.Context) error {
	return v.Root.Sys().DeletePolicyWithContext(ctx, disabledPolicy)
}

// open starts Vault and makes engine, key, policy and the way nodes sign in.
func (v *Vault) open(ctx context.Context) error {
	if err := v.Start(ctx); err != nil {
		return err
	}
	sys := v.Root.Sys()
	mounts, err := sys.ListMountsWithContext(ctx)
	if err != nil {
		return fmt.Errorf("listing the engines of Vault: %w", err)
	}
	if mounts[Transit+"/"] == nil {
		if err := sys.MountWithContext(ctx, Transit, &api.MountInput{Type: "transit"}); err != nil {
			return fmt.Errorf("mounting Transit: %w", err)
		}
	}
	auths, err := sys.ListAuthWithContext(ctx)
	if err != nil {
		return fmt.Errorf("listing the sign-ins of Vault: %w", err)
	}
	if auths["approle/"] == nil {
		if err := sys.EnableAuthWithOptionsWithContext(ctx, "approle", &api.EnableAuthOptions{Type: "approle"}); err != nil {
			return fmt.Errorf("enabling AppRole: %w", err)
		}
	}
	// Writing a key that is there changes nothing.
	if _, err := v.Root.Logical().WriteWithContext(ctx, Transit+"/keys/"+Key, map[string]any{"type": "aes256-gcm96"}); err != nil {
		return fmt.Errorf("making the key: %w", err)
	}
	if err := sys.PutPolicyWithContext(ctx, adminPolicy, deploy.VaultAdminPolicy); err != nil {
		return fmt.Errorf("writing the policy %s: %w", adminPolicy, err)
	}
	return v.Allow(ctx)
}

// role makes an AppRole of the given name, which is its role id too, and returns
// a new secret id for it.
func (v *Vault) role(ctx context.Context, name string, policies ...string) (secretID string, err error) {
	path := "auth/approle/role/" + name
	if _, err := v.Root.Logical().WriteWithContext(ctx, path, map[string]any{"role_id": name,
		"token_policies": policies, "token_ttl": "1h", "token_max_ttl": "24h", "secret_id_ttl": "720h"}); err != nil {
		return "", fmt.Errorf("making the AppRole %s: %w", name, err)
	}
	secret, err := v.Root.Logical().WriteWithContext(ctx, path+"/secret-id", nil)
	if err != nil {
		return "", fmt.Errorf("making a secret id for the AppRole %s: %w", name, err)
	}
	if secret != nil {
		secretID, _ = secret.Data["secret_id"].(string)
	}
	if secretID == "" {
		return "", fmt.Errorf("Vault tells no secret id for the AppRole %s", name)
	}
	return secretID, nil
}
