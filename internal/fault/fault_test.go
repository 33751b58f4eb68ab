package fault

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
)

func TestKindOf(t *testing.T) {
	base := New(Full, "no room")
	for _, tt := range []struct {
		err  error
		want Kind
	}{
		{nil, Internal},
		{io.EOF, Internal},
		{base, Full},
		{fmt.Errorf("storing: %w", base), Full},
		{Wrap(Unavailable, base, "again"), Unavailable}, // the outermost counts
		{New(NotFound, "no %s: %w", "object", io.EOF), NotFound},
		{context.Canceled, Canceled},
		{fmt.Errorf("waiting: %w", context.DeadlineExceeded), Timeout},
		{errors.Join(io.EOF, base), Full},
	} {
		if got := KindOf(tt.err); got != tt.want {
			t.Errorf("%v: %v, want %v", tt.err, got, tt.want)
		}
	}
	if Is(nil, Internal) {
		t.Error("no error is of no kind")
	}
	if !errors.Is(New(NotFound, "no %s: %w", "object", io.EOF), io.EOF) || !errors.Is(Wrap(Full, io.EOF, "x"), io.EOF) {
		t.Error("the cause is lost")
	}
	if Wrap(Full, nil, "x") != nil {
		t.Error("nil was wrapped")
	}
}

func TestMessage(t *testing.T) {
	for _, tt := range []struct {
		err  error
		want string
	}{
		{New(Full, "no room"), "no room"},
		{fmt.Errorf("at /secret/path: %w", New(Full, "no room")), "no room"},
		{Wrap(NotFound, errors.New("open /secret/path"), "there is none"), "there is none"},
		{errors.New("secret"), ""},
		{New(Internal, "secret"), ""},
	} {
		got := Message(tt.err)
		if tt.want != "" && got != tt.want || strings.Contains(got, "secret") {
			t.Errorf("%v: %q", tt.err, got)
		}
	}
}

func TestString(t *testing.T) {
	seen := map[string]bool{}
	for k := Internal; k <= Archived; k++ {
		if s := k.String(); s == "" || seen[s] || strings.HasPrefix(s, "kind(") {
			t.Errorf("kind %d is called %q", k, s)
		} else {
			seen[s] = true
		}
	}
	if s := Kind(200).String(); s != "kind(200)" {
		t.Error(s)
	}
}
