package quorum

import (
	"bytes"
	"strings"
	"testing"

	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/internal/keys"
	"github.com/strata-pacs/strata/internal/keys/keystest"
)

// TestEveryQuorum gives the key back from every set of shares that is large
// enough, and from none that is smaller.
func TestEveryQuorum(t *testing.T) {
	const n, need = 5, 3
	p, shares, err := New(n, need)
	if err != nil {
		t.Fatal(err)
	}
	w, err := p.Wrap(t.Context(), p.ID(), []byte("key"), []byte("place"))
	if err != nil {
		t.Fatal(err)
	}
	for set := range 1 << n {
		var some []Share
		for i, s := range shares {
			if set&(1<<i) != 0 {
				some = append([]Share{s}, some...) // in any order
			}
		}
		k, err := Combine(some)
		if len(some) < need {
			if !fault.Is(err, fault.Invalid) {
				t.Errorf("%d shares: %v", len(some), err)
			}
			continue
		}
		if err != nil {
			t.Fatalf("%d shares: %v", len(some), err)
		}
		if got, err := k.Unwrap(t.Context(), w, []byte("place")); err != nil || string(got) != "key" || k.Fingerprint() != p.Fingerprint() {
			t.Fatalf("%q %v", got, err)
		}
	}
}

// TestFewSharesSayNothing: with one share less than needed, every value of the
// secret's first byte is as likely: each has exactly one share that completes it.
func TestFewSharesSayNothing(t *testing.T) {
	shares := split(bytes.Repeat([]byte{42}, PrivateSize), [8]byte{}, 3, 2)
	seen := [256]bool{}
	for guess := range 256 {
		other := shares[1]
		other.y[0] = byte(guess)
		seen[join([]Share{shares[0], other})[0]] = true
	}
	for v, ok := range seen {
		if !ok {
			t.Fatalf("the secret cannot be %d", v)
		}
	}
}

func TestField(t *testing.T) {
	if multiply(0x57, 0x83) != 0xc1 { // FIPS 197 §4.2
		t.Errorf("%#x", multiply(0x57, 0x83))
	}
	for a := range 256 {
		if want := byte(1); a != 0 && multiply(byte(a), inverse(byte(a))) != want {
			t.Errorf("inverse of %d", a)
		}
	}
}

func TestCombineRefuses(t *testing.T) {
	_, a, err := New(3, 2)
	if err != nil {
		t.Fatal(err)
	}
	_, b, err := New(3, 2)
	if err != nil {
		t.Fatal(err)
	}
	forged := a[1]
	forged.y[5] ^= 1
	for name, shares := range map[string][]Share{"none": nil, "too few": a[:1], "of two keys": {a[0], b[1]}, "one twice": {a[0], a[0]}, "a forged one": {a[0], forged}} {
		if _, err := Combine(shares); !fault.Is(err, fault.Invalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, q := range [][2]int{{3, 1}, {2, 3}, {MaxShares + 1, 2}, {0, 0}, {3, -1}} {
		if _, _, err := New(q[0], q[1]); !fault.Is(err, fault.Invalid) {
			t.Errorf("%v: %v", q, err)
		}
	}
}

func TestText(t *testing.T) {
	_, shares, err := New(2, 2)
	if err != nil {
		t.Fatal(err)
	}
	s := shares[1]
	text := s.Text()
	for _, typed := range []string{text, strings.ToUpper(text), strings.ReplaceAll(text, "-", " "), "\n" + text + "\r\n", strings.ReplaceAll(text, "-", "")} {
		if got, err := ParseShare(typed); err != nil || got != s {
			t.Errorf("%v", err)
		}
	}
	if s.Number() != 2 || s.Need() != 2 || len(s.Fingerprint()) != 16 {
		t.Errorf("%d of %d, %s", s.Number(), s.Need(), s.Fingerprint())
	}
	// Any one character that is mistyped shows.
	for i := len(prefix); i < len(text); i++ {
		if text[i] == '-' {
			continue
		}
		wrong := []byte(text)
		wrong[i] = 'a' + (wrong[i]-'a'+1)%26
		if got, err := ParseShare(string(wrong)); err == nil && got != s {
			t.Errorf("mistyped at %d: %v", i, got.Number())
		}
	}
	for _, bad := range []string{"", "x", prefix, prefix + "-aaaaa", text[:len(text)-1], text + "a"} {
		if _, err := ParseShare(bad); !fault.Is(err, fault.Invalid) {
			t.Errorf("%d characters: %v", len(bad), err)
		}
	}
}

// TestExam: a whole recovery key sits the exam of every provider.
func TestExam(t *testing.T) {
	keystest.Run(t, keystest.Harness{New: func(t *testing.T) (keys.Wrapper, keys.ID) {
		_, shares, err := New(3, 2)
		if err != nil {
			t.Fatal(err)
		}
		k, err := Combine(shares[1:])
		if err != nil {
			t.Fatal(err)
		}
		b, err := k.Bytes()
		if err != nil {
			t.Fatal(err)
		}
		if k, err = ParsePrivate(b); err != nil {
			t.Fatal(err)
		}
		return k, k.ID()
	}})
}

// TestWiped: who wipes what Bytes gave does not wipe the key; Wipe does.
func TestWiped(t *testing.T) {
	_, shares, err := New(2, 2)
	if err != nil {
		t.Fatal(err)
	}
	k, err := Combine(shares)
	if err != nil {
		t.Fatal(err)
	}
	first, err := k.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	want := bytes.Clone(first)
	clear(first)
	if got, err := k.Bytes(); err != nil || !bytes.Equal(got, want) {
		t.Error("the key went with the copy of it")
	}
	k.Wipe()
	if got, _ := k.Bytes(); bytes.Equal(got, want) {
		t.Error("not wiped")
	}
}

func TestPublicHalf(t *testing.T) {
	p, _, err := New(2, 2)
	if err != nil {
		t.Fatal(err)
	}
	q, err := ParsePublic(p.Bytes())
	if err != nil || q.ID() != p.ID() || len(p.Bytes()) != PublicSize {
		t.Fatalf("%v %d", err, len(p.Bytes()))
	}
	w, err := q.Wrap(t.Context(), q.ID(), []byte("key"), nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := q.Unwrap(t.Context(), w, nil); !fault.Is(err, fault.KeyDenied) {
		t.Errorf("the public half opens: %v", err)
	}
	if _, err := q.Wrap(t.Context(), "quorum/other", []byte("key"), nil); !fault.Is(err, fault.KeyDenied) {
		t.Errorf("wrapped for another key: %v", err)
	}
	for _, n := range []int{0, 31, PublicSize - 1, PublicSize + 1} {
		if _, err := ParsePublic(make([]byte, n)); !fault.Is(err, fault.Invalid) {
			t.Errorf("%d bytes: %v", n, err)
		}
	}
	if _, err := ParsePrivate(make([]byte, 31)); !fault.Is(err, fault.Invalid) {
		t.Errorf("%v", err)
	}
}

// FuzzParseShare: whatever is read is written the same way again.
func FuzzParseShare(f *testing.F) {
	_, shares, err := New(2, 2)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(shares[0].Text())
	f.Add(prefix)
	f.Fuzz(func(t *testing.T, text string) {
		s, err := ParseShare(text)
		if err != nil {
			return
		}
		if again, err := ParseShare(s.Text()); err != nil || again != s {
			t.Errorf("%v", err)
		}
	})
}
