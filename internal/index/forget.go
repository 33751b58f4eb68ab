package index

import "github.com/strata-pacs/strata/internal/archive"

// Forget drops everything in memory that comes from the tenant's keys. It
// returns when the writer works with none of it any more; readers must have ended.
func (x *Index) Forget(name archive.Tenant) {
	x.writer.mu.Lock()
	defer x.writer.mu.Unlock()
	x.tenants.mu.Lock()
	delete(x.tenants.byName, name)
	x.tenants.mu.Unlock()
	x.writer.forget()
	x.pages.clear()
}
