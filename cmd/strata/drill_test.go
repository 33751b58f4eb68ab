package main

import (
	"bytes"
	"context"
	"net/http/httptest"
	"testing"

	"github.com/strata-pacs/strata/api"
	"github.com/strata-pacs/strata/api/apitest"
	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/fault"
)

// TestInterruptedDrill: who stops waiting for a drill calls it off.
func TestInterruptedDrill(t *testing.T) {
	m := apitest.New()
	srv := httptest.NewServer(api.New(api.Options{Tenants: m, Keys: m, Rewraps: m, Escrows: m, Shredder: m, Jobs: m.Jobs(), Drills: m.Drills()}))
	defer srv.Close()
	c, err := api.NewClient(srv.URL + api.Root)
	if err != nil {
		t.Fatal(err)
	}
	var stderr bytes.Buffer
	s := &session{Client: c, stderr: &stderr}
	run, err := read[api.RecoveryDrill](s.StartRecoveryDrill(t.Context(), "alpha", api.RecoveryDrillRequest{}))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.followDrill(ctx, "alpha", run); !fault.Is(err, fault.Canceled) {
		t.Errorf("%v", err)
	}
	m.Do(func() {
		if d := m.DrillRuns["alpha"]; d.Running != nil || d.Last == nil || d.Last.State != archive.JobFailed {
			t.Errorf("%+v", d)
		}
	})
	// When the server is gone, it says that the drill may go on.
	if run, err = read[api.RecoveryDrill](s.StartRecoveryDrill(t.Context(), "alpha", api.RecoveryDrillRequest{})); err != nil {
		t.Fatal(err)
	}
	srv.Close()
	if _, err := s.followDrill(ctx, "alpha", run); err == nil || !bytes.Contains([]byte(err.Error()), []byte("may go on")) {
		t.Errorf("%v", err)
	}
}
