package thumbnail_test

import (
	"context"
	"io"
	"testing"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/thumbnail"
)

// BenchmarkMade is a thumbnail that was made before, in memory and in the store.
func BenchmarkMade(b *testing.B) {
	for name, bytes := range map[string]int64{"memory": 0, "store": 1} {
		b.Run(name, func(b *testing.B) {
			w := newWorld(b, func(o *thumbnail.Options) { o.MemoryBytes = bytes })
			w.series("1.2.1", "1.2.1.1", 10, 200)
			for _, sel := range []archive.UIDs{study, first, instance(first, 20)} {
				b.RunParallel(func(p *testing.PB) {
					for p.Next() {
						body, err := w.maker.Thumbnail(context.Background(), w.node.Tenant, sel, 0, thumbnail.Viewport{})
						if err != nil {
							b.Error(err)
							return
						}
						if err := body.Write(context.Background(), io.Discard); err != nil {
							b.Error(err)
						}
					}
				})
			}
		})
	}
}
