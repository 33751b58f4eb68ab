package index

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/fault"
)

func TestJobsBounded(t *testing.T) { both(t, testJobsBounded) }

func testJobsBounded(t *testing.T, e engine) {
	q := openWith(t, e(t)).Jobs()
	ctx := context.Background()
	noon := time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC)
	nothing := func(*Job) error { return nil }
	const most = 5
	add := func(tenant archive.Tenant, kind, key string) error {
		_, err := q.Merge(ctx, tenant, kind, key, noon, most, nothing)
		return err
	}
	for i := range most {
		if err := add(hospital, "recall", fmt.Sprint(i)); err != nil {
			t.Fatal(err)
		}
	}
	var wg sync.WaitGroup
	for i := range 10 {
		wg.Go(func() {
			if err := add(hospital, "recall", fmt.Sprint("more", i)); !fault.Is(err, fault.TooMany) {
				t.Errorf("a row too many: %v", err)
			}
			if err := add(hospital, "recall", fmt.Sprint(i%most)); err != nil {
				t.Errorf("a row that is there: %v", err)
			}
		})
	}
	wg.Wait()
	for _, other := range []func() error{
		func() error { return add("elsewhere", "recall", "x") },
		func() error { return add(hospital, "another", "x") },
		func() error { _, err := q.Merge(ctx, hospital, "unbounded", "x", noon, 0, nothing); return err },
	} {
		if err := other(); err != nil {
			t.Error(err)
		}
	}
	keys := make([]string, 2*maxJobIDs)
	for i := range keys {
		keys[i] = fmt.Sprint(i + 2)
	}
	for _, tt := range []struct {
		kind string
		keys []string
		want int
	}{{"recall", nil, most}, {"recall", []string{"0", "1", "none"}, 2}, {"recall", keys, most - 2}, {"nothing", nil, 0}} {
		if n, err := q.Count(ctx, hospital, tt.kind, tt.keys...); err != nil || n != tt.want {
			t.Errorf("%d of kind %s, %d wanted; %v", n, tt.kind, tt.want, err)
		}
	}
}

func TestJobsSealed(t *testing.T) { both(t, testJobsSealed) }

func testJobsSealed(t *testing.T, e engine) {
	o := e(t)
	x := openWith(t, o)
	ctx := context.Background()
	if _, err := x.Jobs().Box(ctx, hospital); !fault.Is(err, fault.NotFound) {
		t.Errorf("of a tenant that is not there: %v", err)
	}
	for _, tenant := range []archive.Tenant{hospital, "elsewhere"} {
		if _, err := x.tenants.create(ctx, tenant); err != nil {
			t.Fatal(err)
		}
	}
	b, err := x.Jobs().Box(ctx, hospital)
	if err != nil {
		t.Fatal(err)
	}
	plain := []byte("who asked")
	s, err := b.Seal("study 1", plain)
	if err != nil || bytes.Contains(s, plain) {
		t.Fatalf("%q %v", s, err)
	}
	again, err := b.Seal("study 1", plain)
	if err != nil || bytes.Equal(s, again) {
		t.Errorf("twice the same: %v", err)
	}
	other, err := x.Jobs().Box(ctx, "elsewhere")
	if err != nil {
		t.Fatal(err)
	}
	for name, open := range map[string]func() ([]byte, error){
		"about something else": func() ([]byte, error) { return b.Open("study 2", s) },
		"another tenant's":     func() ([]byte, error) { return other.Open("study 1", s) },
		"cut off":              func() ([]byte, error) { return b.Open("study 1", s[:len(s)-1]) },
		"nothing":              func() ([]byte, error) { return b.Open("study 1", nil) },
	} {
		if got, err := open(); err == nil {
			t.Errorf("%s opens: %q", name, got)
		}
	}
	m := b.Mark("https://ris.example/")
	if len(m) != 16 || strings.Contains(m, "ris") || m != b.Mark("https://ris.example/") || m == b.Mark("https://ris.example") || m == other.Mark("https://ris.example/") {
		t.Errorf("marked %q", m)
	}
	// After a restart, and on another node.
	if err := x.Close(); err != nil {
		t.Fatal(err)
	}
	b, err = openWith(t, o).Jobs().Box(ctx, hospital)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := b.Open("study 1", s); err != nil || !bytes.Equal(got, plain) {
		t.Errorf("%q %v", got, err)
	}
}
