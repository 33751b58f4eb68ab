package sandbox

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/tetratelabs/wazero"
	"github.com/zeebo/blake3"
)

// The folder of compiled code has, under a name made of the codecs' digest,
// what wazero keeps (it adds its version and the processor's kind), a file SUM
// with digests of that, and a lock: one worker compiles, the others wait. What
// does not agree with SUM is thrown away and made again: code that was damaged
// must not run.

// load compiles the codecs, or loads them when the folder has them; cached says
// which. A folder that cannot be used is done without.
func load(ctx context.Context, folder string) (m *module, cached bool, err error) {
	wasm := codecs()
	if wasm == nil {
		return nil, false, errors.New("the codecs are not built in")
	}
	if folder != "" {
		if err := private(folder); err != nil {
			os.Stderr.WriteString("fatal error: the cache of compiled codecs is not used\n") // and not fatal
			folder = ""
		}
	}
	if folder == "" {
		m, err = compile(ctx, wasm, nil)
		return m, false, err
	}
	c := &compiled{dir: filepath.Join(folder, "codecs-"+digest[:16])}
	unlock, err := lock(filepath.Join(folder, "lock"), false)
	if err != nil {
		return nil, false, fmt.Errorf("locking the cache of compiled codecs: %w", err)
	}
	if c.intact() {
		defer unlock()
		m, err := c.compile(ctx, wasm)
		return m, true, err
	}
	unlock()
	if unlock, err = lock(filepath.Join(folder, "lock"), true); err != nil {
		return nil, false, fmt.Errorf("locking the cache of compiled codecs: %w", err)
	}
	defer unlock()
	if c.intact() { // another worker was first
		m, err := c.compile(ctx, wasm)
		return m, true, err
	}
	sweep(folder)
	if m, err = c.compile(ctx, wasm); err != nil {
		return nil, false, err
	}
	return m, false, c.seal()
}

// private makes the folder, and is an error when others could write to it: they
// would decide what code runs.
func private(folder string) error {
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return err
	}
	return owned(folder)
}

// sweep removes code that was compiled from other codecs, or is damaged.
func sweep(folder string) {
	old, _ := filepath.Glob(filepath.Join(folder, "codecs-*"))
	for _, dir := range old {
		_ = os.RemoveAll(dir) // what stays costs space alone
	}
}

// compiled is a folder of code that wazero made.
type compiled struct{ dir string }

func (c *compiled) compile(ctx context.Context, wasm []byte) (*module, error) {
	cache, err := wazero.NewCompilationCacheWithDir(c.dir)
	if err != nil {
		return nil, err
	}
	return compile(ctx, wasm, cache)
}

func (c *compiled) sumFile() string { return filepath.Join(c.dir, "SUM") }

// sum is the content that SUM should have; empty without any code.
func (c *compiled) sum() (string, error) {
	var s strings.Builder
	files, err := filepath.Glob(filepath.Join(c.dir, "wazero-*", "*"))
	if err != nil {
		return "", err
	}
	for _, f := range files { // in order of names
		b, err := os.ReadFile(f)
		if err != nil {
			return "", err
		}
		rel, err := filepath.Rel(c.dir, f)
		if err != nil {
			return "", err
		}
		fmt.Fprintf(&s, "%x %s\n", blake3.Sum256(b), filepath.ToSlash(rel))
	}
	return s.String(), nil
}

func (c *compiled) intact() bool {
	has, err := os.ReadFile(c.sumFile())
	if err != nil || len(has) == 0 {
		return false
	}
	want, err := c.sum()
	return err == nil && string(has) == want
}

func (c *compiled) seal() error {
	s, err := c.sum()
	if err != nil {
		return err
	}
	return os.WriteFile(c.sumFile(), []byte(s), 0o600)
}
