package index

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/strata-pacs/strata/internal/archive"
)

func TestShelvedJobs(t *testing.T) { both(t, testShelvedJobs) }

func testShelvedJobs(t *testing.T, e engine) {
	q := openWith(t, e(t)).Jobs()
	ctx := context.Background()
	shelve := func(tenant archive.Tenant, key, reason string) {
		t.Helper()
		if added, err := q.Enqueue(ctx, tenant, "drill", "open", []byte(key), time.UnixMilli(1)); err != nil || !added {
			t.Fatal(added, err)
		}
		got, err := q.Claim(ctx, []string{"drill"}, "n1", time.Minute, 1)
		if err != nil || len(got) != 1 {
			t.Fatal(got, err)
		}
		if err := q.Shelve(ctx, got[0], key, reason, time.UnixMilli(1)); err != nil {
			t.Fatal(err)
		}
	}
	wants := func(clean bool, want ...string) {
		t.Helper()
		var got []string
		for before := int64(0); ; {
			j, ok, err := q.Shelved(ctx, hospital, "drill", clean, before)
			if err != nil {
				t.Fatal(err)
			}
			if !ok {
				break
			}
			got, before = append(got, fmt.Sprintf("%s %s", j.Key, j.Payload)), j.ID
		}
		if !slices.Equal(got, want) {
			t.Errorf("clean %v: %q, want %q", clean, got, want)
		}
	}
	wants(false)
	shelve(hospital, "A", "")
	shelve(hospital, "B", "broken")
	shelve("clinic", "C", "")
	shelve(hospital, "D", "")
	shelve(hospital, "E", "broken")
	if _, ok, err := q.Keyed(ctx, hospital, "drill", "open"); ok || err != nil {
		t.Error(ok, err)
	}
	if added, err := q.Enqueue(ctx, hospital, "drill", "open", []byte("F"), time.UnixMilli(1)); err != nil || !added {
		t.Fatal(added, err)
	}
	if j, ok, err := q.Keyed(ctx, hospital, "drill", "open"); !ok || err != nil || string(j.Payload) != "F" {
		t.Error(j, ok, err)
	}
	wants(false, "E E", "D D", "B B", "A A")
	wants(true, "D D", "A A")
	if list, err := q.Tenants(ctx, "drill"); err != nil || !slices.Equal(list, []archive.Tenant{"clinic", hospital}) {
		t.Error(list, err)
	}
	if list, err := q.Tenants(ctx, "restore"); err != nil || len(list) != 0 {
		t.Error(list, err)
	}
}
