// Command strata is the archive: one binary that serves DICOMweb, takes images
// in from disks and media, gives them back, checks and rebuilds. This package is wiring and
// talks to people; what it wires is in internal/node.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/knadh/koanf/v2"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/internal/pixel/sandbox"
)

// version is set by the build.
var version = "dev"

func main() {
	sandbox.Main() // a codec worker is this binary, started again
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Environ(), os.Stdin, os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// Exit codes beside 0.
const (
	exitFailed = 1 // it could not be done
	exitGaps   = 2 // it was done, and something is missing, damaged or refused
)

// errGaps ends a command whose output has said what is wrong.
var errGaps = errors.New("gaps were found")

// run is main without the process: what a test calls.
func run(ctx context.Context, args, environ []string, stdin io.Reader, stdout, stderr io.Writer) int {
	root := newRoot(environ)
	root.SetArgs(args)
	root.SetIn(stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
	switch {
	case err == nil:
		return 0
	case errors.Is(err, errGaps):
		return exitGaps
	}
	fmt.Fprintln(stderr, "strata:", message(err))
	return exitFailed
}

// message is what a person at the command line reads: the whole chain, for it
// is their own machine.
func message(err error) string {
	if fault.Is(err, fault.Canceled) {
		return "interrupted"
	}
	return err.Error()
}

// app is what all commands share.
type app struct {
	environ []string
	file    string // of the configuration
}

func newRoot(environ []string) *cobra.Command {
	a := &app{environ: environ}
	root := &cobra.Command{
		Use:   "strata",
		Short: "A DICOMweb archive that keeps images sealed under keys only you control",
		Long: `Strata stores, finds and returns medical images over DICOMweb. Everything it
writes is sealed. Without any configuration it keeps its data in your data
folder, its key in your configuration folder, and serves this machine alone.`,
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.PersistentFlags().StringVar(&a.file, "config", "", "configuration file (YAML); see strata config")
	flagSettings(root.PersistentFlags(), "data", "tenant", "index", "key-file", "key-passphrase-file", "log.level", "log.format")
	root.AddCommand(a.serveCommand(), a.importCommand(), a.exportCommand(), a.verifyCommand(), a.rebuildCommand(),
		a.undeleteCommand(), a.tenantsCommand(), a.keysCommand(), a.shredCommand(), a.retentionCommand(), a.holdCommand(), a.lifecycleCommand(), a.usageCommand(), a.drillCommand(),
		a.restoreCommand(), a.restoresCommand(),
		a.configCommand(), a.healthCommand(), versionCommand())
	return root
}

// flagSettings makes flags of settings.
func flagSettings(flags *pflag.FlagSet, keys ...string) {
	for _, s := range settings() {
		for _, key := range keys {
			if s.key != key {
				continue
			}
			switch v := s.value.(type) {
			case string:
				flags.String(key, v, s.help)
			case length:
				flags.String(key, string(v), s.help)
			case amount:
				flags.String(key, string(v), s.help)
			case bool:
				flags.Bool(key, v, s.help)
			case []string:
				flags.StringSlice(key, v, s.help)
			case int:
				flags.Int(key, v, s.help)
			}
		}
	}
}

// config loads the configuration for a command.
func (a *app) config(cmd *cobra.Command) (*koanf.Koanf, *Config, error) {
	return loadConfig(a.file, a.environ, cmd.Flags())
}

func (a *app) configCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "config",
		Short: "Show the effective configuration, every key explained",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			k, c, err := a.config(cmd)
			if err != nil {
				return err
			}
			return printConfig(cmd.OutOrStdout(), k, c)
		},
	}
	servingFlags(cmd.Flags())
	return cmd
}

// servingFlags adds the flags of settings that matter to serve alone.
func servingFlags(flags *pflag.FlagSet) {
	for _, s := range settings() {
		if s.serving {
			flagSettings(flags, s.key)
		}
	}
	flagSettings(flags, "duplicates", "reap-grace")
}

func versionCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, err := fmt.Fprintln(cmd.OutOrStdout(), "strata", version)
			return err
		},
	}
}
