package drivertest

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/storage/driver"
)

// listed are keys whose order and prefixes are easily got wrong: elements that
// are folders and objects at once, characters on both sides of '/', shards' names.
var listed = []string{
	"a", "a-b", "a.b", "a/0", "a/00", "a/1", "a/1/x", "a/10", "a/2", "a/b/c/d", "a/b/c/e", "a/b-c", "a/b.c/d", "a/b0",
	"a0", "a_b", "b", "b/c", "b/ff", "b/ff/ff", "b/ff/00", "t/log/01HZX/00000000000000000001",
	"t/log/01HZX/00000000000000000002", "t/log/01HZX/00000000000000000100", "t/log/01HZY/00000000000000000001",
	"t/logs/1", "t-2/log/01HZX/1", "T/log", "0", "Z",
}

func testList(t *testing.T, h Harness) {
	d := h.New(t)
	listed := listed
	if h.Files {
		listed = slices.DeleteFunc(slices.Clone(listed), func(k string) bool {
			return slices.ContainsFunc(listed, func(other string) bool { return strings.HasPrefix(other, k+"/") })
		})
	}
	for _, k := range listed {
		mustPut(t, d, k, pattern(len(k), 0), driver.CreateOptions{IfAbsent: true})
	}
	sorted := slices.Sorted(slices.Values(listed))
	prefixes := []string{"", "a", "a/", "a/1", "a/b", "a/b/", "a/b/c", "b/f", "t/log", "t/log/", "t/log/01HZX/", "t/log/01HZX/0000000000000000000", "t/log/01HZ", "zz", "a/b/c/d/e/", "t/none/"}
	afters := []string{"", "a", "a/", "a/0", "a/1", "a/1/x", "a/b", "a/b/c/d", "a/zz", "a0", "b/ff", "t/log/01HZX/00000000000000000001", "t/log/01HZX", "zz", "a/b.c/"}
	for _, prefix := range prefixes {
		for _, after := range afters {
			var want []string
			for _, k := range sorted {
				if strings.HasPrefix(k, prefix) && k > after {
					want = append(want, k)
				}
			}
			for _, limit := range []int{1, 2, 3, 1000} {
				got, err := keys(t.Context(), d, prefix, after, limit)
				if err != nil || !slices.Equal(got, want) {
					t.Fatalf("prefix %q after %q limit %d: %q, %v; want %q", prefix, after, limit, got, err, want)
				}
			}
		}
	}
	p, err := d.List(t.Context(), "a/b/c/", "", 10)
	if err != nil || len(p.Objects) != 2 || p.Objects[0].Size != int64(len("a/b/c/d")) || p.Objects[0].Modified.IsZero() {
		t.Errorf("sizes and times: %+v, %v", p, err)
	}
	if p, err = d.List(t.Context(), "a/b/c/", "", 2); err != nil || p.More {
		t.Errorf("a page that ends with the last key says there is more: %+v, %v", p, err)
	}
}

func testListPages(t *testing.T, h Harness) {
	d := h.New(t)
	var want []string
	for i := range 120 {
		want = append(want, fmt.Sprintf("t/log/s/%06d", i*37))
	}
	for i := range 20 {
		want = append(want, fmt.Sprintf("t/pack/%02d/x", i))
	}
	for _, k := range want {
		mustPut(t, d, k, []byte(k), driver.CreateOptions{IfAbsent: true})
	}
	for _, limit := range []int{1, 7, 50, 140, 1000} {
		got, err := keys(t.Context(), d, "t/", "", limit)
		if err != nil || !slices.Equal(got, want) {
			t.Fatalf("limit %d: %d keys, %v; want %d", limit, len(got), err, len(want))
		}
	}
	for i, k := range want { // what is deleted under the list leaves no hole in the rest
		if i%3 == 0 {
			if err := d.Delete(t.Context(), k); err != nil {
				t.Fatal(err)
			}
		}
	}
	got, err := keys(t.Context(), d, "t/", want[30], 9)
	if err != nil {
		t.Fatal(err)
	}
	for i, k := range want {
		if there := slices.Contains(got, k); there != (i > 30 && i%3 != 0) {
			t.Errorf("%s listed: %v", k, there)
		}
	}
}

// testListWhileWriting: what was committed before a List began is in it.
func testListWhileWriting(t *testing.T, h Harness) {
	d := h.New(t)
	done := make(chan string, 64)
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			for i := range 25 {
				k := fmt.Sprintf("t/log/%d/%04d", g, i)
				if _, err := put(t.Context(), d, k, []byte(k), driver.CreateOptions{IfAbsent: true}); err != nil {
					t.Errorf("storing: %v", err)
					return
				}
				done <- k
			}
		})
	}
	go func() { wg.Wait(); close(done) }()
	var committed []string
	for k := range done {
		committed = append(committed, k)
		if len(committed)%8 != 0 {
			continue
		}
		all, err := keys(t.Context(), d, "t/", "", 10)
		if err != nil {
			t.Error(err)
			continue
		}
		for _, k := range committed {
			if _, ok := slices.BinarySearch(all, k); !ok {
				t.Errorf("%s was committed before and is not listed", k)
			}
		}
	}
}

func testCanceled(t *testing.T, h Harness) {
	d := h.New(t)
	mustPut(t, d, "t/x", []byte("x"), driver.CreateOptions{})
	w, err := d.Create(t.Context(), "t/y", driver.CreateOptions{IfAbsent: true})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write([]byte("y")); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = w.Commit(ctx)
	wantKind(t, err, fault.Canceled)
	w.Abort()
	wantAbsent(t, d, "t/y")
	_, err = put(ctx, d, "t/z", []byte("z"), driver.CreateOptions{})
	wantKind(t, err, fault.Canceled)
	_, err = get(ctx, d, "t/x", 0, -1)
	wantKind(t, err, fault.Canceled)
	_, err = d.Stat(ctx, "t/x")
	wantKind(t, err, fault.Canceled)
	_, err = d.List(ctx, "", "", 10)
	wantKind(t, err, fault.Canceled)
	wantKind(t, d.Delete(ctx, "t/x"), fault.Canceled)
	wantBytes(t, d, "t/x", []byte("x"))

	// A staged object whose Create was cancelled can still be aborted.
	ctx, cancel = context.WithCancel(t.Context())
	if w, err = d.Create(ctx, "t/y", driver.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	cancel()
	w.Abort()
	wantAbsent(t, d, "t/y")
}

func testConcurrent(t *testing.T, h Harness) {
	d := h.New(t)
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for i := range 6 {
				key := fmt.Sprintf("t/%d/%d", g%4, g*100+i)
				want := pattern(1000*(i+1)*(g+1), byte(g))
				if _, err := put(t.Context(), d, key, want, driver.CreateOptions{IfAbsent: true}); err != nil {
					t.Errorf("storing: %v", err)
					return
				}
				got, err := get(t.Context(), d, key, 0, -1)
				if err != nil || string(got) != string(want) {
					t.Errorf("reading back: %d bytes, %v", len(got), err)
				}
				if i%3 == 2 {
					if err := d.Delete(t.Context(), key); err != nil {
						t.Errorf("deleting: %v", err)
					}
				}
			}
		})
	}
	wg.Wait()
	all, err := keys(t.Context(), d, "t/", "", 5)
	if err != nil || len(all) != 8*4 {
		t.Errorf("%d keys are left, %v; want %d", len(all), err, 8*4)
	}
}
