package pack

import (
	"crypto/rand"
	"io"
	"strings"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/strata-pacs/strata/internal/archive"
)

// prefix is what the keys of a tenant's packs begin with.
func prefix(t archive.Tenant) string { return string(t) + "/pack/" }

// NewName returns a key for a new pack. A nil source of randomness is crypto/rand.
func NewName(t archive.Tenant, now time.Time, random io.Reader) string {
	if random == nil {
		random = rand.Reader
	}
	return prefix(t) + ulid.MustNew(ulid.Timestamp(now), random).String()
}

// Is reports whether the key is that of a pack of the tenant.
func Is(t archive.Tenant, key string) bool {
	return len(key) > len(prefix(t)) && strings.HasPrefix(key, prefix(t))
}
