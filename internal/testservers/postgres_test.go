package testservers

import (
	"context"
	"testing"
)

func TestPostgres(t *testing.T) {
	p := Postgres(t)
	for _, end := range []func(){p.Stop, p.Kill} {
		end()
		if err := p.Exec(context.Background(), `SELECT 1`); err == nil {
			t.Fatal("it answers although it was ended")
		}
		if err := p.Start(); err != nil {
			t.Fatal(err)
		}
		if err := p.Exec(context.Background(), `SET ROLE strata`); err != nil {
			t.Error(err)
		}
	}
}
