//go:build linux

package stacktest

import (
	"context"
	"testing"
	"time"
)

// TestNetwork cuts one of two ways to PostgreSQL, which has a network of its own.
func TestNetwork(t *testing.T) {
	if err := NetworkUnavailable(); err != nil {
		t.Skip(err)
	}
	s := Start(t, Options{Network: true})
	answers := func(peer int) bool {
		g := *s.Postgres
		g.host = s.Network.Addresses[peer].String()
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		return g.query(ctx, databaseName, `SELECT 1`) == nil
	}
	for peer := range s.Network.Addresses {
		if !answers(peer) {
			t.Fatalf("it does not answer at address %d", peer)
		}
	}
	if err := s.Network.Cut(1); err != nil {
		t.Fatal(err)
	}
	if answers(1) {
		t.Error("it answers who is cut off")
	}
	if !answers(0) || !answers(2) {
		t.Error("others are cut off too")
	}
	if err := s.Network.Heal(1); err != nil {
		t.Fatal(err)
	}
	if !answers(1) {
		t.Error("it does not answer who is not cut off any more")
	}
}
