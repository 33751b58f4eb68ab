package node

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/fault"
)

// TestTags: tags keep a study from a rule, are forgotten by nothing, and changes at once are all made.
func TestTags(t *testing.T) {
	r := newRuled(t)
	ctx, host := t.Context(), r.host.Lifecycle()
	r.stores("1.1", "CT", 400)
	r.stores("1.2", "CT", 400)
	r.rules(`
rules:
  - { name: teaching, when: { tag: [teaching] }, action: keep }
  - { name: gone, when: { age: { over: 90d } }, action: delete }
`)
	tag := func(study string, add, remove []string) []string {
		t.Helper()
		tags, err := host.Tag(ctx, r.a.Tenant, study, add, remove)
		if err != nil {
			t.Fatal(err)
		}
		return tags
	}
	if got := tag("1.1", nil, nil); len(got) != 0 {
		t.Errorf("at first %q", got)
	}
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() { tag("1.1", []string{fmt.Sprint(i)}, []string{"x"}) })
	}
	wg.Wait()
	if got := tag("1.1", []string{"teaching", "x"}, []string{"0", "3", "x"}); !slices.Equal(got, []string{"1", "2", "4", "5", "6", "7", "teaching", "x"}) {
		t.Errorf("after changes at once %q", got)
	}

	for _, bad := range []string{"", " a", "a\n", strings.Repeat("a", archive.MaxTag+1), "\xff"} {
		if _, err := host.Tag(ctx, r.a.Tenant, "1.1", []string{bad}, nil); !fault.Is(err, fault.Invalid) {
			t.Errorf("tag %q: %v", bad, err)
		}
	}
	var many []string
	for i := range archive.MaxTags {
		many = append(many, fmt.Sprint("m", i))
	}
	if _, err := host.Tag(ctx, r.a.Tenant, "1.1", many, nil); !fault.Is(err, fault.Invalid) {
		t.Errorf("too many: %v", err)
	}
	if _, err := host.Tag(ctx, r.a.Tenant, "9.9", []string{"a"}, nil); !fault.Is(err, fault.NotFound) {
		t.Errorf("nobody's study: %v", err)
	}
	r.a.partial.is.Store(true)
	if _, err := host.Tag(ctx, r.a.Tenant, "1.1", []string{"a"}, nil); !fault.Is(err, fault.Unavailable) {
		t.Errorf("half an index: %v", err)
	}
	r.a.partial.is.Store(false)

	r.passes(31 * time.Minute)
	r.applies("by tags", archive.LifecycleDone{Looked: 2, Settled: 1, Deleted: 1})
	r.reads("1.2")
	if _, err := host.Tag(ctx, r.a.Tenant, "1.2", []string{"a"}, nil); !fault.Is(err, fault.NotFound) {
		t.Errorf("a deleted study: %v", err)
	}
	// The rule holds as soon as the tag is gone.
	tag("1.1", nil, []string{"teaching"})
	r.applies("without the tag", archive.LifecycleDone{Looked: 1, Settled: 1, Deleted: 1})
	r.reads("1.1", "1.2")
}
