package keys

import (
	"context"
	"crypto/rand"
	"strings"
	"time"

	"github.com/strata-pacs/strata/internal/fault"
)

// Both returns a wrapper that needs two providers for every key: what the first
// wraps, the second wraps again, so that neither alone unwraps it. Its KEK IDs
// and versions are made by [Pair].
//
// A denial by either is a denial, also while the other does not answer;
// otherwise silence of either is silence.
func Both(first, second Wrapper) *TwoLocks { return &TwoLocks{first, second} }

// TwoLocks is the wrapper that [Both] returns.
type TwoLocks struct{ first, second Wrapper }

var (
	escape   = strings.NewReplacer("%", "%25", "+", "%2B")
	unescape = strings.NewReplacer("%25", "%", "%2B", "+")
)

// Escape writes the plus and percent signs of a name as in a URL, so that the
// name can be one of a pair.
func Escape[S ~string](s S) S { return S(escape.Replace(string(s))) }

// Unescape undoes [Escape].
func Unescape[S ~string](s S) S { return S(unescape.Replace(string(s))) }

// Pair joins two names, escaped, with a plus sign.
func Pair[S ~string](first, second S) S { return Escape(first) + "+" + Escape(second) }

// SplitPair undoes [Pair].
func SplitPair[S ~string](s S) (first, second S, ok bool) {
	a, b, ok := strings.Cut(string(s), "+")
	if !ok || a == "" || b == "" || strings.Contains(b, "+") {
		return "", "", false
	}
	return Unescape(S(a)), Unescape(S(b)), true
}

func split(kek ID) (first, second ID, err error) {
	first, second, ok := SplitPair(kek)
	if !ok {
		return "", "", fault.New(fault.KeyDenied, "the name of a key with two locks names two keys, joined by +")
	}
	return first, second, nil
}

// Wrap implements [Wrapper].
func (b *TwoLocks) Wrap(ctx context.Context, kek ID, key, aad []byte) (Wrapped, error) {
	k1, k2, err := split(kek)
	if err != nil {
		return Wrapped{}, err
	}
	half, cancel := firstHalf(ctx)
	defer cancel()
	in, err := b.first.Wrap(half, k1, key, aad)
	if err != nil {
		return Wrapped{}, deniedFirst(ctx, half, err, b.second, k2)
	}
	out, err := b.second.Wrap(ctx, k2, in.Bytes, aad)
	if err != nil {
		return Wrapped{}, err
	}
	return Wrapped{KEK: kek, Version: Pair(in.Version, out.Version), Bytes: out.Bytes}, nil
}

// Unwrap implements [Wrapper].
func (b *TwoLocks) Unwrap(ctx context.Context, w Wrapped, aad []byte) ([]byte, error) {
	k1, k2, err := split(w.KEK)
	if err != nil {
		return nil, err
	}
	v1, v2, ok := SplitPair(w.Version)
	if !ok {
		return nil, fault.New(fault.KeyDenied, "a key with two locks has two versions, joined by +; this one was sealed in another way")
	}
	half, cancel := firstHalf(ctx)
	defer cancel()
	in, err := b.second.Unwrap(half, Wrapped{k2, v2, w.Bytes}, aad)
	if err != nil {
		return nil, deniedFirst(ctx, half, err, b.first, k1)
	}
	defer clear(in)
	return b.first.Unwrap(ctx, Wrapped{k1, v1, in}, aad)
}

// firstHalf leaves time to ask the second provider when the first is silent.
func firstHalf(ctx context.Context) (context.Context, context.CancelFunc) {
	end, ok := ctx.Deadline()
	if !ok {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, time.Until(end)/2)
}

// deniedFirst returns err, the answer of one provider within half; where that is
// silence, the other one is asked, whose denial goes before it.
func deniedFirst(ctx, half context.Context, err error, other Wrapper, kek ID) error {
	if half.Err() != nil && ctx.Err() == nil && (fault.Is(err, fault.Timeout) || fault.Is(err, fault.Canceled)) {
		err = fault.Wrap(fault.KeyUnreachable, half.Err(), "a key provider did not answer in time")
	}
	if !fault.Is(err, fault.KeyUnreachable) {
		return err
	}
	probe := make([]byte, 32)
	rand.Read(probe)
	w, second := other.Wrap(ctx, kek, probe, probe)
	if second == nil {
		_, second = other.Unwrap(ctx, w, probe)
	}
	if fault.Is(second, fault.KeyDenied) {
		return second
	}
	return err
}
