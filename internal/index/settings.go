package index

import (
	"bytes"
	"context"
	"database/sql/driver"
	"encoding/json"
	"time"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/fault"
)

// settings applies a tenant fact: the one with the greatest id holds.
func (b *batch) settings(t *tenant, f *archive.Fact) error {
	text, err := json.Marshal(f.Settings)
	if err != nil {
		return fault.Wrap(fault.Internal, err, "encoding a tenant's settings")
	}
	at := f.ID.Time().UnixMilli()
	var fact []byte
	created := at
	found, err := b.c.one(`SELECT fact, created FROM tenant_settings WHERE tenant = ?`, func(v []driver.Value) error {
		fact, created = bytes.Clone(blob(v[0])), min(created, integer(v[1]))
		return nil
	}, t.id)
	if err != nil {
		return err
	}
	if !found {
		return b.c.exec(`INSERT INTO tenant_settings (tenant, fact, created, changed, settings) VALUES (?, ?, ?, ?, ?)`,
			t.id, f.ID[:], created, at, string(text))
	}
	if bytes.Compare(f.ID[:], fact) <= 0 {
		return b.c.exec(`UPDATE tenant_settings SET created = ? WHERE tenant = ?`, created, t.id)
	}
	return b.c.exec(`UPDATE tenant_settings SET fact = ?, created = ?, changed = ?, settings = ? WHERE tenant = ?`,
		f.ID[:], created, at, string(text), t.id)
}

const selectSettings = `SELECT t.name, s.created, s.changed, s.settings, s.fact FROM tenants t JOIN tenant_settings s ON s.tenant = t.id `

// Tenant returns what the newest tenant fact states, without the tenant's
// keys; fault.NotFound when there is none.
func (x *Index) Tenant(ctx context.Context, name archive.Tenant) (info archive.TenantInfo, err error) {
	err = x.readers.with(ctx, nil, func(c *conn) error {
		found, err := c.one(selectSettings+`WHERE t.name = ?`, func(v []driver.Value) error { return scanTenant(v, &info) }, string(name))
		if err == nil && !found {
			err = fault.New(fault.NotFound, "there is no such tenant")
		}
		return err
	})
	return info, err
}

// Tenants returns up to limit tenants whose names sort after the given one, ascending.
func (x *Index) Tenants(ctx context.Context, after archive.Tenant, limit int) (out []archive.TenantInfo, err error) {
	err = x.readers.with(ctx, nil, func(c *conn) error {
		return c.query(ctx, selectSettings+`WHERE t.name > ? ORDER BY t.name LIMIT (?+0)`, func(v []driver.Value) error {
			var info archive.TenantInfo
			err := scanTenant(v, &info)
			out = append(out, info)
			return err
		}, string(after), int64(limit))
	})
	return out, err
}

func scanTenant(v []driver.Value, info *archive.TenantInfo) error {
	*info = archive.TenantInfo{Tenant: archive.Tenant(text(v[0])),
		Created: time.UnixMilli(integer(v[1])).UTC(), Changed: time.UnixMilli(integer(v[2])).UTC()}
	if err := json.Unmarshal([]byte(text(v[3])), &info.TenantSettings); err != nil {
		return fault.Wrap(fault.Corrupt, err, "the index database is damaged; rebuild it (strata rebuild)")
	}
	copy(info.Stated[:], blob(v[4]))
	return nil
}

// Used reports whether the index has anything of any tenant.
func (x *Index) Used(ctx context.Context) (used bool, err error) {
	err = x.readers.with(ctx, nil, func(c *conn) error {
		n, err := c.integer(`SELECT id FROM tenants ORDER BY id LIMIT 1`)
		used = n != 0
		return err
	})
	return used, err
}

// Knows reports whether the index has anything of the tenant. It needs no key.
func (x *Index) Knows(ctx context.Context, name archive.Tenant) (known bool, err error) {
	err = x.readers.with(ctx, nil, func(c *conn) error {
		n, err := c.integer(`SELECT id FROM tenants WHERE name = ?`, string(name))
		known = n != 0
		return err
	})
	return known, err
}
