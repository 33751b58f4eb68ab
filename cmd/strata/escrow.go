package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/strata-pacs/strata/api"
	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/internal/keys/quorum"
)

func (d *admin) escrowKeys() *cobra.Command {
	var kek, folder string
	var shares, need int
	cmd := d.command("escrow [TENANT]", "Wrap the root and all keys for a recovery key too", `Makes the tenant's keys recoverable when its KEK is lost. The recovery key is one at
a second provider (--kek), or one that people keep in shares: --shares 5 --quorum 3
makes five files, any three of which recover. The server never sees those; give
each to another person, on another medium, and delete the files.`, cobra.MaximumNArgs(1), func(ctx context.Context, s *session, args []string) error {
		tenant := s.tenantOf(args)
		var e api.Escrow
		if kek != "" {
			e.Kek = &kek
		} else {
			public, files, err := newShares(folder, tenant, shares, need)
			if err != nil {
				return err
			}
			b := public.Bytes()
			e.PublicKey = &b
			fmt.Fprintf(s.stderr, "Recovery key %s: any %d of these %d shares recover.\n  %s\n", public.Fingerprint(), need, shares, strings.Join(files, "\n  "))
		}
		j, err := read[api.Job](s.EscrowKeys(ctx, tenant, e))
		if err != nil && kek == "" {
			return fmt.Errorf("%w (the shares are of use only if strata keys status shows their key)", err)
		}
		if err != nil {
			return err
		}
		return s.wait(ctx, j, "escrow")
	})
	f := cmd.Flags()
	f.StringVar(&kek, "kek", "", `recovery key at a second provider: "provider/key"`)
	_ = f.SetAnnotation("kek", notSetting, nil) // it is there
	f.IntVar(&shares, "shares", 0, "make a recovery key of so many shares")
	f.IntVar(&need, "quorum", 0, "how many shares recover")
	f.StringVar(&folder, "out", ".", "folder for the files with the shares")
	cmd.MarkFlagsOneRequired("kek", "shares")
	cmd.MarkFlagsMutuallyExclusive("kek", "shares")
	cmd.MarkFlagsRequiredTogether("shares", "quorum")
	return cmd
}

// newShares makes a recovery key and a file for each share. They are on disk
// before anything is wrapped for the key.
func newShares(folder, tenant string, n, need int) (*quorum.Public, []string, error) {
	public, shares, err := quorum.New(n, need)
	if err != nil {
		return nil, nil, err
	}
	var files []string
	for _, share := range shares {
		name := filepath.Join(folder, fmt.Sprintf("strata-%s-%s-share-%d.txt", tenant, share.Fingerprint(), share.Number()))
		text := fmt.Sprintf("Share %d of %d of recovery key %s of tenant %s. Any %d of them recover.\nKeep it secret, and apart from the others. Case and hyphens do not matter.\n\n%s\n",
			share.Number(), n, share.Fingerprint(), tenant, need, share.Text())
		if err := writeSecret(name, text); err != nil {
			return nil, nil, fault.Wrap(fault.Invalid, err, "--out: cannot write a share to the folder %s", folder)
		}
		files = append(files, name)
	}
	return public, files, nil
}

// writeSecret makes a file that only its owner reads, and returns when it is on disk.
func writeSecret(name, text string) error {
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	return errors.Join(err, f.Sync(), f.Close())
}

// maxShareFile bounds a file with a share in bytes.
const maxShareFile = 64 << 10

// gather puts a recovery key together from files with shares, for the caller to wipe.
func gather(files []string) ([]byte, error) {
	var shares []quorum.Share
	for _, name := range files {
		f, err := os.Open(name)
		if err != nil {
			return nil, fault.Wrap(fault.Invalid, err, "--share: cannot read %s", name)
		}
		b, err := io.ReadAll(io.LimitReader(f, maxShareFile))
		f.Close()
		if err != nil {
			return nil, fault.Wrap(fault.Invalid, err, "--share: cannot read %s", name)
		}
		share, err := shareIn(string(b))
		clear(b)
		if err != nil {
			return nil, fmt.Errorf("--share: %s: %w", name, err)
		}
		shares = append(shares, share)
	}
	private, err := quorum.Combine(shares)
	if err != nil {
		return nil, fmt.Errorf("--share: %w", err)
	}
	defer private.Wipe()
	return private.Bytes()
}

// shareIn finds the share in a file: the share alone, or its last line beside
// words for people.
func shareIn(text string) (quorum.Share, error) {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	if share, err := quorum.ParseShare(lines[len(lines)-1]); err == nil {
		return share, nil
	}
	return quorum.ParseShare(text)
}
