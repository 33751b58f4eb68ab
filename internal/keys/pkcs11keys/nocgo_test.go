//go:build !cgo

package pkcs11keys

import (
	"strings"
	"testing"

	"github.com/strata-pacs/strata/internal/fault"
)

func TestNoCgo(t *testing.T) {
	_, err := Open(Options{Module: "/usr/lib/softhsm/libsofthsm2.so", Token: "t", PINFile: "p"})
	if !fault.Is(err, fault.Invalid) || !strings.Contains(fault.Message(err), "CGO_ENABLED=1") {
		t.Errorf("%v", err)
	}
	if _, err := Open(Options{}); !fault.Is(err, fault.Invalid) || strings.Contains(fault.Message(err), "CGO") {
		t.Errorf("bad options: %v", err)
	}
}
