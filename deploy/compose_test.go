package deploy_test

import (
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/knadh/koanf/parsers/yaml"

	"github.com/strata-pacs/strata/deploy"
)

// service is what is looked at of a service in compose.yaml.
type service struct {
	name    string
	raw     map[string]any
	secrets []string
	volumes []string // as written: SOURCE:TARGET
}

func read(t *testing.T) (all map[string]any, services []service) {
	t.Helper()
	all, err := yaml.Parser().Unmarshal(deploy.Compose)
	if err != nil {
		t.Fatal(err)
	}
	for name, raw := range part(t, all, "services") {
		s := service{name: name, raw: raw.(map[string]any)}
		s.secrets, s.volumes = list(s.raw["secrets"]), list(s.raw["volumes"])
		services = append(services, s)
	}
	if len(services) < 8 {
		t.Fatalf("only %d services", len(services))
	}
	return all, services
}

func part(t *testing.T, of map[string]any, name string) map[string]any {
	t.Helper()
	m, ok := of[name].(map[string]any)
	if !ok {
		t.Fatalf("there is no %s", name)
	}
	return m
}

func list(v any) (out []string) {
	values, _ := v.([]any)
	for _, v := range values {
		out = append(out, fmt.Sprint(v))
	}
	return out
}

// TestComposeIsComplete looks for what is named and not there, and for what is
// there and not named: no container engine tells in these tests.
func TestComposeIsComplete(t *testing.T) {
	all, services := read(t)
	secrets, volumes := part(t, all, "secrets"), part(t, all, "volumes")
	usedSecrets, usedVolumes, names := map[string]bool{}, map[string]bool{}, map[string]bool{}
	for _, s := range services {
		names[s.name] = true
	}
	for _, s := range services {
		for _, secret := range s.secrets {
			usedSecrets[secret] = true
			if secrets[secret] == nil {
				t.Errorf("%s: the secret %s is not declared", s.name, secret)
			}
		}
		for _, v := range s.volumes {
			source, _, _ := strings.Cut(v, ":")
			if !strings.HasPrefix(source, ".") {
				usedVolumes[source] = true
				if _, ok := volumes[source]; !ok {
					t.Errorf("%s: the volume %s is not declared", s.name, source)
				}
			} else if _, err := os.Stat(source); err != nil {
				t.Errorf("%s: %v", s.name, err)
			}
		}
		for _, text := range flat(s.raw) {
			for _, secret := range strings.Split(text, "/run/secrets/")[1:] {
				secret = strings.FieldsFunc(secret, func(r rune) bool { return strings.ContainsRune(" &,\"", r) })[0]
				if !slices.Contains(s.secrets, secret) {
					t.Errorf("%s: /run/secrets/%s is not given to it", s.name, secret)
				}
			}
		}
		for _, on := range dependsOn(s.raw) {
			if !names[on] {
				t.Errorf("%s depends on %s, which is no service", s.name, on)
			}
		}
	}
	for _, left := range []struct {
		what     string
		declared map[string]any
		used     map[string]bool
	}{{"secret", secrets, usedSecrets}, {"volume", volumes, usedVolumes}} {
		for name := range left.declared {
			if !left.used[name] {
				t.Errorf("nothing uses the %s %s", left.what, name)
			}
		}
	}
}

// flat lists every text below a value.
func flat(v any) (out []string) {
	switch v := v.(type) {
	case map[string]any:
		for _, v := range v {
			out = append(out, flat(v)...)
		}
	case []any:
		for _, v := range v {
			out = append(out, flat(v)...)
		}
	default:
		out = append(out, fmt.Sprint(v))
	}
	return out
}

func dependsOn(s map[string]any) []string {
	if m, ok := s["depends_on"].(map[string]any); ok {
		return slices.Collect(maps.Keys(m))
	}
	return list(s["depends_on"])
}

// TestSecrets makes the secrets twice: all that compose.yaml reads is there, and
// the second time nothing changes.
func TestSecrets(t *testing.T) {
	if _, err := exec.LookPath("openssl"); err != nil && os.Getenv("CI") == "" {
		t.Skip("openssl is not here: run `make setup`")
	}
	dir := t.TempDir()
	script, err := os.ReadFile("make-secrets")
	if err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(dir, "make-secrets")
	if err := os.WriteFile(program, script, 0o700); err != nil {
		t.Fatal(err)
	}
	made := func() map[string]string {
		t.Helper()
		if out, err := exec.Command("sh", program, "pacs.example.org").CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		files, err := filepath.Glob(filepath.Join(dir, "secrets", "*"))
		if err != nil {
			t.Fatal(err)
		}
		all := map[string]string{}
		for _, f := range files {
			b, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			all[filepath.Base(f)] = string(b)
		}
		return all
	}
	first := made()
	if !maps.Equal(first, made()) {
		t.Error("the second run changed secrets")
	}
	all, services := read(t)
	wanted := map[string]bool{}
	for _, s := range part(t, all, "secrets") {
		wanted[fmt.Sprint(s.(map[string]any)["file"])] = true
	}
	for _, s := range services {
		for _, f := range list(s.raw["env_file"]) {
			wanted[f] = true
		}
	}
	for f := range wanted {
		if first[strings.TrimPrefix(f, "secrets/")] == "" {
			t.Errorf("%s is not made", f)
		}
	}
	if info, err := os.Stat(filepath.Join(dir, "secrets")); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("the folder of the secrets: %v, %v", info.Mode(), err)
	}
}
