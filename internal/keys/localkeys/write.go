package localkeys

import (
	"crypto/cipher"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/strata-pacs/strata/internal/fault"
)

// Create writes a new key file with one random key. It fails with fault.Exists
// where there is a file. An empty passphrase protects by the file mode alone.
func Create(path string, passphrase []byte) error {
	doc := document{Format: format, Note: note}
	var id [8]byte
	rand.Read(id[:])
	doc.ID = "local-" + hex.EncodeToString(id[:])
	var sealed cipher.AEAD
	if len(passphrase) > 0 {
		// RFC 9106 §4, the second recommended choice: 64 MiB.
		doc.KDF = &kdf{Time: 3, Memory: 64 << 10, Threads: 4, Salt: make([]byte, 16)}
		rand.Read(doc.KDF.Salt)
		var err error
		if sealed, err = doc.KDF.aead(passphrase); err != nil {
			return err
		}
	}
	doc.add(1, time.Now(), sealed)
	b, err := doc.encode()
	if err != nil {
		return err
	}
	return writeNew(path, b)
}

// encode returns the bytes of the file and forgets keys that are not sealed.
func (d *document) encode() ([]byte, error) {
	b, err := json.MarshalIndent(d, "", "  ")
	for _, v := range d.Keys {
		clear(v.Key)
	}
	if err != nil {
		return nil, fmt.Errorf("encoding a key file: %w", err)
	}
	return append(b, '\n'), nil
}

// writeNew writes a file that must not be there, durably: its bytes before its name.
func writeNew(path string, b []byte) (err error) {
	if path, err = filepath.Abs(path); err != nil {
		return fault.Wrap(fault.Invalid, err, "cannot find the folder of the key file")
	}
	dir := filepath.Dir(path)
	temp, err := writeTemp(dir, b)
	if err != nil {
		return err
	}
	defer os.Remove(temp)
	if err := os.Link(temp, path); errors.Is(err, fs.ErrExist) {
		return fault.Wrap(fault.Exists, err, "there is a key file already; it is never overwritten")
	} else if err != nil {
		return fmt.Errorf("writing a key file: %w", err)
	}
	if err := syncFolder(dir); err != nil {
		return fmt.Errorf("writing a key file: %w", err)
	}
	// The folder may be new, and those above it. Not all of them need be ours.
	for parent := filepath.Dir(dir); parent != dir; dir, parent = parent, filepath.Dir(parent) {
		_ = syncFolder(parent)
	}
	return nil
}

// writeTemp writes a file of a name of its own, durable but for the name, mode 0600.
func writeTemp(dir string, b []byte) (path string, err error) {
	f, err := os.CreateTemp(dir, ".strata-key-*")
	if err != nil {
		return "", fault.Wrap(fault.Invalid, err, "cannot write in the folder of the key file")
	}
	_, err = f.Write(b)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		os.Remove(f.Name())
		return "", fmt.Errorf("writing a key file: %w", err)
	}
	return f.Name(), nil
}

// replace puts a new key file in the place of old, durably, for the same owner and mode.
func replace(path string, old fs.FileInfo, b []byte) error {
	dir := filepath.Dir(path)
	temp, err := writeTemp(dir, b)
	if err != nil {
		return err
	}
	defer os.Remove(temp)
	if err = keepOwner(temp, old); err == nil {
		err = os.Chmod(temp, old.Mode().Perm())
	}
	if err == nil {
		err = os.Rename(temp, path)
	}
	if err == nil {
		err = syncFolder(dir)
	}
	if err != nil {
		return fmt.Errorf("replacing the key file: %w", err)
	}
	return nil
}

func syncFolder(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
