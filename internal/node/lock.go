package node

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/strata-pacs/strata/internal/fault"
)

// ErrInUse says that another process works on the data folder.
var ErrInUse = errors.New("the data folder is in use")

// lock takes the data folder for this process. The kernel lets go of it when
// the process ends, however it ends.
func lock(data string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(data, "lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fault.Wrap(fault.Invalid, err, "data: cannot write in the folder %s", data)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		f.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, fault.Wrap(fault.Conflict, ErrInUse, "another strata works on the data folder %s; stop it first, or name another folder with --data", data)
		}
		return nil, fmt.Errorf("locking the data folder: %w", err)
	}
	return f, nil
}
