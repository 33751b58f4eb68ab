package keystest

import (
	"errors"
	"testing"

	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/internal/keys"
)

// skipUnsupported ends the test where the provider, or what it wraps, cannot do this.
func skipUnsupported(t *testing.T, err error) {
	t.Helper()
	if errors.Is(err, errors.ErrUnsupported) {
		wantKind(t, "what the provider cannot do", err, fault.Invalid)
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func describe(t *testing.T, w keys.Wrapper, kek keys.ID) keys.Description {
	t.Helper()
	d, err := keys.Describe(t.Context(), w, kek)
	if err != nil {
		t.Fatalf("describing: %v", err)
	}
	return d
}

func testDescribes(t *testing.T, h Harness) {
	w, kek := h.New(t)
	d, err := keys.Describe(t.Context(), w, kek)
	skipUnsupported(t, err)
	wrapped := wrap(t, w, kek, secret, []byte("a"))
	if d.Provider == "" || d.Newest != wrapped.Version || !d.Has(wrapped.Version) {
		t.Errorf("described as %+v, but version %q wraps", d, wrapped.Version)
	}
	if d.Has("999") {
		t.Error("has a version that it has not")
	}
	_, err = keys.Describe(t.Context(), w, kek+"-other")
	wantKind(t, "another key", err, fault.KeyDenied)
}

func testRotates(t *testing.T, h Harness) {
	w, kek := h.New(t)
	old := wrap(t, w, kek, secret, []byte("a"))
	version, err := keys.Rotate(t.Context(), w, kek)
	skipUnsupported(t, err)
	fresh := wrap(t, w, kek, secret, []byte("a"))
	if version == old.Version || fresh.Version != version {
		t.Errorf("version %q was made of %q, and %q wraps", version, old.Version, fresh.Version)
	}
	wantKey(t, w, old, []byte("a"), secret)
	wantKey(t, w, fresh, []byte("a"), secret)
	if d := describe(t, w, kek); d.Newest != version || !d.Has(old.Version) || !d.Has(version) {
		t.Errorf("after a rotation: %+v", d)
	}
	_, err = keys.Rotate(t.Context(), w, kek+"-other")
	wantKind(t, "another key", err, fault.KeyDenied)
	if again := wrap(t, w, kek, secret, []byte("a")); again.Version != version {
		t.Errorf("another key's rotation made version %q", again.Version)
	}
}

func testRetires(t *testing.T, h Harness) {
	w, kek := h.New(t)
	versions := []keys.Wrapped{wrap(t, w, kek, secret, []byte("a"))}
	for range 2 {
		_, err := keys.Rotate(t.Context(), w, kek)
		skipUnsupported(t, err)
		versions = append(versions, wrap(t, w, kek, secret, []byte("a")))
	}
	err := keys.Retire(t.Context(), w, kek, "999")
	if errors.Is(err, errors.ErrUnsupported) {
		t.Skip(err)
	}
	wantKind(t, "before a version that is not there", err, fault.Invalid)
	for _, v := range versions {
		wantKey(t, w, v, []byte("a"), secret)
	}
	for range 2 { // again changes nothing
		if err := keys.Retire(t.Context(), w, kek, versions[1].Version); err != nil {
			t.Fatalf("retiring: %v", err)
		}
		_, err := w.Unwrap(t.Context(), versions[0], []byte("a"))
		wantKind(t, "under a retired version", err, fault.KeyDenied)
		wantKey(t, w, versions[1], []byte("a"), secret)
		wantKey(t, w, versions[2], []byte("a"), secret)
	}
	if d := describe(t, w, kek); d.Has(versions[0].Version) || !d.Has(versions[1].Version) || d.Newest != versions[2].Version {
		t.Errorf("after a retirement: %+v", d)
	}
	wantKind(t, "of another key", keys.Retire(t.Context(), w, kek+"-other", versions[1].Version), fault.KeyDenied)
}

func testSwitches(t *testing.T, h Harness) {
	w, kek := h.New(t)
	wrapped := wrap(t, w, kek, secret, []byte("a"))
	skipUnsupported(t, keys.Disable(t.Context(), w, kek))
	for range 2 {
		_, err := w.Unwrap(t.Context(), wrapped, []byte("a"))
		wantKind(t, "unwrapping under a disabled key", err, fault.KeyDenied)
		_, err = w.Wrap(t.Context(), kek, secret, []byte("a"))
		wantKind(t, "wrapping under a disabled key", err, fault.KeyDenied)
		if err := keys.Disable(t.Context(), w, kek); err != nil {
			t.Errorf("disabling again: %v", err)
		}
	}
	for range 2 {
		if err := keys.Enable(t.Context(), w, kek); err != nil {
			t.Fatalf("enabling: %v", err)
		}
		wantKey(t, w, wrapped, []byte("a"), secret)
		wrap(t, w, kek, secret, []byte("a"))
	}
}

func testChecks(t *testing.T, h Harness) {
	w, kek := h.New(t)
	skipUnsupported(t, keys.Check(t.Context(), w, kek))
	if h.Silence == nil {
		return
	}
	speak := h.Silence(t)
	wantKind(t, "in silence", keys.Check(t.Context(), w, kek), fault.KeyUnreachable)
	speak()
	if err := keys.Check(t.Context(), w, kek); err != nil {
		t.Errorf("after silence: %v", err)
	}
}
