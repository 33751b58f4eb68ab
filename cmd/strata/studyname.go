package main

import (
	"slices"
	"strings"

	"github.com/spf13/pflag"

	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/internal/ingest"
)

// studyName is what commands that are about a study are told it by: an argument, or --study.
type studyName struct{ flag string }

func (n *studyName) add(f *pflag.FlagSet) {
	f.StringVar(&n.flag, "study", "", "Study Instance UID, which may be named as an argument, too")
}

// isUID tells a UID from the name of a tenant, which has no dots.
func isUID(arg string) bool { return strings.Contains(arg, ".") && ingest.ValidUID(arg) }

// take returns the study, empty where none is named, and the arguments beside it.
func (n *studyName) take(args []string) (study string, rest []string, err error) {
	at := slices.IndexFunc(args, isUID)
	switch {
	case n.flag == "" && at < 0:
		return "", args, nil
	case n.flag == "":
		return args[at], slices.Delete(slices.Clone(args), at, at+1), nil
	case !ingest.ValidUID(n.flag):
		return "", nil, fault.New(fault.Invalid, "--study must be a Study Instance UID")
	case at >= 0:
		return "", nil, fault.New(fault.Invalid, "name one study: as an argument, or by --study")
	}
	return n.flag, args, nil
}

// takeTenant returns the study, empty where none is named, and the tenant: that of the arguments, or the configuration's.
func (n *studyName) takeTenant(s *session, args []string) (study, tenant string, err error) {
	study, rest, err := n.take(args)
	if err == nil && len(rest) > 1 {
		err = fault.New(fault.Invalid, "%q and %q: one is to be a Study Instance UID, the other one a tenant", rest[0], rest[1])
	}
	return study, s.tenantOf(rest), err
}

// errNoStudy is the error of a command that was not told a study.
func errNoStudy() error {
	return fault.New(fault.Invalid, "name a study: its Study Instance UID as an argument, or by --study")
}
