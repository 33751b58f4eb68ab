//go:build cgo

package pkcs11keys

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/pkcs11"

	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/internal/keys"
	"github.com/strata-pacs/strata/internal/keys/keystest"
	"github.com/strata-pacs/strata/internal/testservers"
)

const kek = keys.ID("strata")

// token makes a token with a KEK of one version.
func token(t testing.TB) *testservers.SoftHSMToken {
	t.Helper()
	h := testservers.SoftHSM(t)
	h.MakeKey(t, string(kek), "01")
	return h
}

func open(t testing.TB, s *testservers.SoftHSMToken, change ...func(*Options)) *HSM {
	t.Helper()
	o := Options{Module: s.Module, Token: s.Label, PINFile: s.PINFile}
	for _, c := range change {
		c(&o)
	}
	h, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { h.Close() })
	return h
}

func mustWrap(t testing.TB, h *HSM) keys.Wrapped {
	t.Helper()
	w, err := h.Wrap(t.Context(), kek, []byte("key"), []byte("a"))
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func opens(t *testing.T, what string, h *HSM, w keys.Wrapped) {
	t.Helper()
	if got, err := h.Unwrap(t.Context(), w, []byte("a")); err != nil || string(got) != "key" {
		t.Errorf("%s: %q, %v", what, got, err)
	}
}

// faulty stands between Strata and a real PKCS #11 library.
type faulty struct {
	mu   sync.Mutex
	ctx  *pkcs11.Ctx
	code uint          // what calls fail with
	hang chan struct{} // calls wait until it is closed
	logins,
	loads int
	gone bool      // the library cannot be loaded
	time time.Time // moved by a second with every start
}

func (f *faulty) between(o *Options) {
	o.Modules = &Modules{load: f.load, now: func() time.Time {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.time = f.time.Add(time.Second)
		return f.time
	}}
}

func (f *faulty) load(path string) (cryptoki, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.loads++
	if f.gone {
		return nil, errors.New("no such library")
	}
	lib, err := loadLibrary(path)
	if err == nil {
		f.ctx = lib.(*pkcs11.Ctx)
	}
	return &faultyLibrary{f.ctx, f}, err
}

func (f *faulty) fail(code uint) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.code = code
}

func (f *faulty) err() error {
	f.mu.Lock()
	code, hang := f.code, f.hang
	f.mu.Unlock()
	if hang != nil {
		<-hang
	}
	if code != 0 {
		return pkcs11.Error(code)
	}
	return nil
}

// rename changes the label of a key, in a session of its own.
func (f *faulty) rename(t *testing.T, slot uint, from, to string) {
	t.Helper()
	s, err := f.ctx.OpenSession(slot, pkcs11.CKF_SERIAL_SESSION|pkcs11.CKF_RW_SESSION)
	if err != nil {
		t.Fatal(err)
	}
	defer f.ctx.CloseSession(s)
	err = f.ctx.FindObjectsInit(s, []*pkcs11.Attribute{pkcs11.NewAttribute(pkcs11.CKA_LABEL, from)})
	if err != nil {
		t.Fatal(err)
	}
	found, _, err := f.ctx.FindObjects(s, 1)
	if err = errors.Join(err, f.ctx.FindObjectsFinal(s)); err != nil || len(found) != 1 {
		t.Fatalf("%d keys of label %q, %v", len(found), from, err)
	}
	if err := f.ctx.SetAttributeValue(s, found[0], []*pkcs11.Attribute{pkcs11.NewAttribute(pkcs11.CKA_LABEL, to)}); err != nil {
		t.Fatal(err)
	}
}

type faultyLibrary struct {
	*pkcs11.Ctx
	f *faulty
}

func (l *faultyLibrary) FindObjectsInit(s pkcs11.SessionHandle, a []*pkcs11.Attribute) error {
	if err := l.f.err(); err != nil {
		return err
	}
	return l.Ctx.FindObjectsInit(s, a)
}

func (l *faultyLibrary) GetSessionInfo(s pkcs11.SessionHandle) (pkcs11.SessionInfo, error) {
	if err := l.f.err(); err != nil {
		return pkcs11.SessionInfo{}, err
	}
	return l.Ctx.GetSessionInfo(s)
}

func (l *faultyLibrary) Login(s pkcs11.SessionHandle, user uint, pin string) error {
	l.f.mu.Lock()
	l.f.logins++
	l.f.mu.Unlock()
	return l.Ctx.Login(s, user, pin)
}

// TestWrapper sits the exam once for every mechanism.
func TestWrapper(t *testing.T) {
	for _, m := range []Mechanism{GCM, KeyWrapPad, KeyWrap} {
		t.Run(string(m), func(t *testing.T) {
			var s *testservers.SoftHSMToken
			var f *faulty
			var h *HSM
			keystest.Run(t, keystest.Harness{
				New: func(t *testing.T) (keys.Wrapper, keys.ID) {
					s, f = token(t), new(faulty)
					h = open(t, s, f.between, func(o *Options) { o.Mechanism = m })
					return h, kek
				},
				Deny: func(t *testing.T) func() {
					f.rename(t, h.slot, string(kek), "hidden")
					return func() { f.rename(t, h.slot, "hidden", string(kek)) }
				},
				Silence: func(*testing.T) func() {
					f.fail(pkcs11.CKR_DEVICE_REMOVED)
					return func() { f.fail(0) }
				},
				Rotate: func(t *testing.T, w keys.Wrapper) keys.Wrapper {
					s.MakeKey(t, string(kek), "02")
					return w
				},
			})
		})
	}
}

// TestMechanisms: the best that the token has wraps, and what another one
// wrapped is unwrapped; under another mechanism's name it is damaged.
func TestMechanisms(t *testing.T) {
	s := token(t)
	all := &Modules{}
	share := func(o *Options) { o.Modules = all }
	auto := open(t, s, share)
	if w := mustWrap(t, auto); w.Bytes[0] != layouts[GCM].first {
		t.Errorf("wrapped by layout %d", w.Bytes[0])
	}
	for m, l := range layouts {
		w := mustWrap(t, open(t, s, share, func(o *Options) { o.Mechanism = m }))
		if w.Bytes[0] != l.first {
			t.Errorf("%s wraps by layout %d", m, w.Bytes[0])
		}
		opens(t, string(m), auto, w)
		for first := range byte(5) {
			if first == l.first {
				continue
			}
			w.Bytes[0] = first
			if _, err := auto.Unwrap(t.Context(), w, []byte("a")); !fault.Is(err, fault.Corrupt) {
				t.Errorf("%s as layout %d: %v", m, first, err)
			}
		}
	}
	for _, n := range []int{0, maxKey + 1} {
		if _, err := auto.Wrap(t.Context(), kek, make([]byte, n), nil); !fault.Is(err, fault.Invalid) {
			t.Errorf("a key of %d bytes: %v", n, err)
		}
	}
	for _, n := range []int{1, 31, 100, maxKey} { // what another provider wrapped has any length
		for m := range layouts {
			h := open(t, s, share, func(o *Options) { o.Mechanism = m })
			w, err := h.Wrap(t.Context(), kek, make([]byte, n), nil)
			if err != nil {
				t.Errorf("%s: a key of %d bytes: %v", m, n, err)
			} else if got, err := h.Unwrap(t.Context(), w, nil); err != nil || len(got) != n {
				t.Errorf("%s: a key of %d bytes: %d, %v", m, n, len(got), err)
			}
		}
	}
}

// TestRestart: whatever an HSM forgets when it restarts, the next call goes through.
func TestRestart(t *testing.T) {
	s, f := token(t), new(faulty)
	h := open(t, s, f.between)
	w := mustWrap(t, h)
	for name, restart := range map[string]func() error{
		"sessions":                    func() error { return f.ctx.CloseAllSessions(h.slot) },
		"login":                       func() error { return f.ctx.Logout(h.idle[0].handle) },
		"library":                     func() error { return f.ctx.Finalize() },
		"library, started by another": func() error { return errors.Join(f.ctx.Finalize(), f.ctx.Initialize()) },
	} {
		for range 2 {
			if err := restart(); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			opens(t, name, h, w)
		}
	}
	// Where even the library is away, that is silence, and ends.
	f.gone = true
	f.fail(pkcs11.CKR_DEVICE_ERROR)
	for range 2 {
		if _, err := h.Unwrap(t.Context(), w, []byte("a")); !fault.Is(err, fault.KeyUnreachable) {
			t.Errorf("without its library: %v", err)
		}
	}
	f.gone = false
	f.fail(0)
	opens(t, "with its library", h, w)
}

// TestToken: a token that is away is silence.
func TestToken(t *testing.T) {
	s := token(t)
	h := open(t, s, func(o *Options) { o.Token = "another" })
	if _, err := h.Wrap(t.Context(), kek, []byte("key"), nil); !fault.Is(err, fault.KeyUnreachable) {
		t.Errorf("%v", err)
	}
	if err := h.Check(t.Context(), kek); !fault.Is(err, fault.KeyUnreachable) {
		t.Errorf("checking: %v", err)
	}
}

// TestKeys: keys that another process makes and deletes are seen at once, and
// what is no key of Strata's is not used.
func TestKeys(t *testing.T) {
	s := token(t)
	h := open(t, s)
	old := mustWrap(t, h)
	s.MakeKey(t, string(kek), "ff")
	s.MakeKey(t, string(kek), "0100")
	if w := mustWrap(t, h); w.Version != "256" {
		t.Errorf("version %s wraps", w.Version)
	}
	if v, err := h.Rotate(t.Context(), kek); err != nil || v != "257" {
		t.Errorf("version %s, %v", v, err)
	}
	s.Do(t, "--keygen", "--key-type", "GENERIC:32", "--label", string(kek), "--id", "0909")
	fresh := mustWrap(t, h)
	if fresh.Version != "257" {
		t.Errorf("version %s wraps", fresh.Version)
	}
	s.DeleteKey(t, string(kek), "01")
	if _, err := h.Unwrap(t.Context(), old, []byte("a")); !fault.Is(err, fault.KeyDenied) {
		t.Errorf("a deleted key: %v", err)
	}
	opens(t, "another version", h, fresh)

	// By its id.
	byID := keys.ID("id=0101")
	w, err := h.Wrap(t.Context(), byID, []byte("key"), []byte("a"))
	if err != nil || w.Version != "257" {
		t.Errorf("by id: version %q, %v", w.Version, err)
	}
	opens(t, "by id", h, w)
	if _, err := h.Rotate(t.Context(), byID); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("rotating by id: %v", err)
	}
	for _, none := range []keys.ID{"", "id=", "id=x", "id=77"} {
		if _, err := h.Wrap(t.Context(), none, []byte("key"), nil); !fault.Is(err, fault.KeyDenied) {
			t.Errorf("under %q: %v", none, err)
		}
	}

	// Two of the same label and id are a mistake that is told, not a guess.
	s.MakeKey(t, string(kek), "0101")
	if _, err := h.Wrap(t.Context(), kek, []byte("key"), nil); !fault.Is(err, fault.KeyUnreachable) || !strings.Contains(fault.Message(err), "two keys") {
		t.Errorf("two keys: %v", err)
	}
}

// TestPIN: a wrong PIN is tried once, so that the token does not lock itself, and
// a right one in the file is used.
func TestPIN(t *testing.T) {
	s, f := token(t), new(faulty)
	write := func(pin string) {
		if err := os.WriteFile(s.PINFile, []byte(pin), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("0000")
	h := open(t, s, f.between)
	for range 5 {
		if _, err := h.Wrap(t.Context(), kek, []byte("key"), nil); !fault.Is(err, fault.KeyDenied) || !strings.Contains(fault.Message(err), "PIN") {
			t.Errorf("a wrong PIN: %v", err)
		}
		if err := h.Check(t.Context(), kek); !fault.Is(err, fault.KeyDenied) {
			t.Errorf("checking a wrong PIN: %v", err)
		}
	}
	if f.logins != 1 {
		t.Errorf("the wrong PIN was tried %d times", f.logins)
	}
	write("")
	if _, err := h.Wrap(t.Context(), kek, []byte("key"), nil); !fault.Is(err, fault.KeyDenied) {
		t.Errorf("an empty file: %v", err)
	}
	os.Remove(s.PINFile)
	if _, err := h.Wrap(t.Context(), kek, []byte("key"), nil); !fault.Is(err, fault.KeyDenied) {
		t.Errorf("no file: %v", err)
	}
	write(s.PIN)
	mustWrap(t, h)
}

// TestHangs: a token that does not return costs its callers their timeout, and
// no more of them than there are sessions.
func TestHangs(t *testing.T) {
	s, f := token(t), new(faulty)
	h := open(t, s, f.between, func(o *Options) { o.Sessions, o.Timeout = 2, 300*time.Millisecond })
	w := mustWrap(t, h)
	hang := make(chan struct{})
	f.mu.Lock()
	f.hang = hang
	f.mu.Unlock()
	for range 5 {
		start := time.Now()
		if _, err := h.Unwrap(t.Context(), w, []byte("a")); !fault.Is(err, fault.KeyUnreachable) {
			t.Errorf("%v", err)
		}
		if took := time.Since(start); took > 5*time.Second {
			t.Errorf("it took %v", took)
		}
	}
	if n := len(h.calls); n != 2 {
		t.Errorf("%d calls hang", n)
	}
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(10*time.Millisecond, cancel)
	if _, err := h.Unwrap(ctx, w, []byte("a")); !fault.Is(err, fault.Canceled) {
		t.Errorf("the caller went away: %v", err)
	}
	f.mu.Lock()
	f.hang = nil
	f.mu.Unlock()
	close(hang)
	opens(t, "afterwards", h, w)
	for range 2 {
		if err := h.Close(); err != nil {
			t.Error(err)
		}
		if _, err := h.Unwrap(t.Context(), w, []byte("a")); !fault.Is(err, fault.Unavailable) {
			t.Errorf("when closed: %v", err)
		}
	}
}

func TestOptions(t *testing.T) {
	good := Options{Module: "/none.so", Token: "t", PINFile: "p"}
	for name, tt := range map[string]struct {
		change func(*Options)
		want   string
	}{
		"no module":     {func(o *Options) { o.Module = "" }, "module"},
		"no token":      {func(o *Options) { o.Token = "" }, "token"},
		"two tokens":    {func(o *Options) { o.Serial = "1" }, "token"},
		"no PIN":        {func(o *Options) { o.PINFile = "" }, "PIN"},
		"no mechanism":  {func(o *Options) { o.Mechanism = "cbc" }, "cbc"},
		"not a library": {func(o *Options) {}, "loaded"},
	} {
		o := good
		tt.change(&o)
		if _, err := Open(o); !fault.Is(err, fault.Invalid) || !strings.Contains(fault.Message(err), tt.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestBox holds the layout of a box to storage/FORMAT.md, by one that other code made.
func TestBox(t *testing.T) {
	const text = "000102030405060708090a0b0c0d0e0f36a78c17c8bdce2248e02ad0684464a25038d7d3bacb469ab597ddd71305c6df00213031323334353637383961626364656630313233343536373839616263646566580000000000"
	box, err := hex.DecodeString(text)
	if err != nil {
		t.Fatal(err)
	}
	want := "0123456789abcdef0123456789abcdefX"
	if key, ok := unpack(box, []byte("tenant\x00key")); !ok || string(key) != want {
		t.Errorf("%q, %v", key, ok)
	}
	if key, ok := unpack(pack([]byte(want), []byte("a")), []byte("a")); !ok || string(key) != want {
		t.Errorf("packed: %q, %v", key, ok)
	}
	for i := range len(box) - 5 { // but for the zeros
		b := bytes.Clone(box)
		b[i] ^= 1
		if _, ok := unpack(b, []byte("tenant\x00key")); ok {
			t.Errorf("byte %d changed", i)
		}
	}
	for n := range box {
		if _, ok := unpack(box[:n], []byte("tenant\x00key")); ok {
			t.Errorf("cut to %d bytes", n)
		}
	}
}

func FuzzUnpack(f *testing.F) {
	f.Add(pack([]byte("key"), []byte("a")), []byte("a"))
	f.Add([]byte{}, []byte{})
	f.Fuzz(func(t *testing.T, b, aad []byte) {
		if key, ok := unpack(b, aad); ok && (len(key) == 0 || len(key) > len(b)) {
			t.Error("a box gave a key that is not in it")
		}
	})
}

func BenchmarkHSM(b *testing.B) {
	s := token(b)
	all := &Modules{}
	for _, m := range []Mechanism{GCM, KeyWrapPad} {
		b.Run(string(m), func(b *testing.B) {
			h := open(b, s, func(o *Options) { o.Mechanism, o.Modules = m, all })
			keystest.Benchmark(b, h, kek)
		})
	}
}
