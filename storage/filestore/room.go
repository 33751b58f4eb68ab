package filestore

import "github.com/strata-pacs/strata/internal/fault"

// Room returns how many bytes may still be written to the disk of a folder, and how
// many it has in all: more than any has, where this system does not tell.
func Room(folder string) (free, capacity int64, err error) {
	capacity, free, err = space(folder)
	return free, capacity, fault.Wrap(fault.Unavailable, err, "the disk of %s does not say how much room it has", folder)
}
