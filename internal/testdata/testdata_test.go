package testdata

import "testing"

func TestFiles(t *testing.T) {
	all := Files(t)
	ok, bad := Files(t, "ok", "ok-derived"), Files(t, "malformed", "malformed-derived")
	if len(ok) < 100 || len(bad) < 10 || len(all) <= len(ok)+len(bad) {
		t.Fatalf("%d files, %d valid, %d malformed", len(all), len(ok), len(bad))
	}
	for _, f := range ok {
		if !f.Storable() || int64(len(f.Bytes(t))) != f.Size || f.Syntax == "" || f.Field("sop_uid") == "" {
			t.Errorf("%+v", f)
		}
	}
	if _, isNumber := ok[0].Int("sop_class"); isNumber {
		t.Error("a name is no number")
	}
}
