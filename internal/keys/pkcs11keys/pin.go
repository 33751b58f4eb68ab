//go:build cgo

package pkcs11keys

import (
	"bytes"
	"io"
	"os"

	"github.com/strata-pacs/strata/internal/fault"
)

const maxPIN = 4 << 10 // bytes of a PIN file

func readPIN(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fault.Wrap(fault.KeyDenied, err, "the file with the HSM's PIN cannot be read")
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxPIN))
	if err != nil {
		return nil, fault.Wrap(fault.KeyDenied, err, "the file with the HSM's PIN cannot be read")
	}
	if b = bytes.TrimRight(b, "\r\n"); len(b) == 0 {
		return nil, fault.New(fault.KeyDenied, "the file with the HSM's PIN is empty")
	}
	return b, nil
}
