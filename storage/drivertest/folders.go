package drivertest

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/strata-pacs/strata/storage/driver"
)

// testFolders: what a driver.Folders tells is what its lists tell. A driver that is none is tested by
// what stands in for it.
func testFolders(t *testing.T, h Harness) {
	d := h.New(t)
	all := []string{"t/log/01HZX-i1/1", "t/log/01HZX-i1/2", "t/log/01HZX/1", "t/log/01HZX-c1/1", "t/log/01HZX0/1", "t/log/01HZX.a/1/2/3",
		"t/log/alone", "t/log/01HZ", "t/logs/01HZW/1", "u/log/01HZW/1"}
	for i := range 30 {
		all = append(all, fmt.Sprintf("t/log/S%02d/%d", i*7%30, i))
	}
	for _, k := range all {
		mustPut(t, d, k, []byte(k), driver.CreateOptions{IfAbsent: true})
	}
	slices.Sort(all)
	below := func(folder string) (want []string) {
		for _, k := range all {
			rest, ok := strings.CutPrefix(k, folder)
			if name, _, is := strings.Cut(rest, "/"); ok && is && !slices.Contains(want, name) {
				want = append(want, name)
			}
		}
		return want
	}
	ask := func(folder, after string, limit int) ([]string, bool, error) {
		if f := driver.OptionalOf(d).Folders; f != nil {
			return f.Folders(t.Context(), folder, after, limit)
		}
		return driver.ListFolders(t.Context(), d, folder, after, limit)
	}
	for _, folder := range []string{"t/", "t/log/", "t/logs/", "t/none/", "t/log/01HZX.a/"} {
		want := below(folder)
		for _, limit := range []int{1, 2, 7, len(want), 1000} {
			limit = max(limit, 1)
			var got []string
			for after, more := "", true; more; {
				names, goesOn, err := ask(folder, after, limit)
				if err != nil || len(names) > limit || goesOn && len(names) == 0 {
					t.Fatalf("%s after %q limit %d: %d names, more %v, %v", folder, after, limit, len(names), goesOn, err)
				}
				if got, more = append(got, names...), goesOn; more {
					after = names[len(names)-1]
				}
			}
			if !slices.Equal(got, want) {
				t.Fatalf("%s limit %d: %q; want %q", folder, limit, got, want)
			}
		}
	}
	for _, k := range all {
		if strings.HasPrefix(k, "t/log/S0") {
			if err := d.Delete(t.Context(), k); err != nil {
				t.Fatal(err)
			}
		}
	}
	got, more, err := ask("t/log/", "", 1000)
	if err != nil || more {
		t.Fatalf("after deleting: more %v, %v", more, err)
	}
	for _, name := range below("t/log/") {
		if !strings.HasPrefix(name, "S0") && !slices.Contains(got, name) {
			t.Errorf("%s is not listed after others were deleted", name)
		}
	}
}
