package retrieve

type cache struct{}

func newCache(int64) *cache { return &cache{} }
func (c *cache) wipe()      {}
