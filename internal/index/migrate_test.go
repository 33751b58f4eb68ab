package index

import (
	"context"
	"database/sql"
	"slices"
	"testing"

	"github.com/pressly/goose/v3"
)

// TestMigrations: up, all the way down, and up again, on both engines, which then have
// the same tables and columns but for what their files say.
func TestMigrations(t *testing.T) {
	lite, err := poolLite(dsn(t.TempDir()+"/index.db", 1024, false))
	if err != nil {
		t.Fatal(err)
	}
	defer lite.Close()
	p, err := newServer(sharedPostgres(t).DSN(newSchema()), 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.prepare(context.Background()); err != nil {
		t.Fatal(err)
	}
	pg := p.pool(2)
	defer pg.Close()
	columns := map[string]map[string]bool{}
	for _, e := range []struct {
		name    string
		db      *sql.DB
		dialect goose.Dialect
		list    string
	}{
		{"sqlite", lite, goose.DialectSQLite3, `SELECT t.name || '.' || c.name FROM sqlite_master t JOIN pragma_table_info(t.name) c
			WHERE t.name NOT LIKE 'goose%' AND t.name NOT LIKE 'sqlite_%' AND t.name NOT LIKE 'postings_%' AND t.type = 'table'`},
		{"postgres", pg, goose.DialectPostgres, `SELECT c.table_name || '.' || c.column_name FROM information_schema.columns c
			WHERE c.table_schema = current_schema() AND c.table_name NOT LIKE 'goose%'`},
	} {
		m, err := provider(e.db, e.dialect)
		if err != nil {
			t.Fatal(err)
		}
		for _, step := range []func(context.Context) error{
			func(ctx context.Context) error { _, err := m.Up(ctx); return err },
			func(ctx context.Context) error { _, err := m.DownTo(ctx, 0); return err },
			func(ctx context.Context) error {
				if left := list(t, e.db, e.list); len(left) != 0 {
					t.Errorf("%s: left: %v", e.name, left)
				}
				_, err := m.Up(ctx)
				return err
			},
		} {
			if err := step(context.Background()); err != nil {
				t.Fatalf("%s: %v", e.name, err)
			}
		}
		columns[e.name] = list(t, e.db, e.list)
	}
	var here, there []string
	for c := range columns["sqlite"] {
		if !columns["postgres"][c] {
			here = append(here, c)
		}
	}
	for c := range columns["postgres"] {
		if !columns["sqlite"][c] {
			there = append(there, c)
		}
	}
	slices.Sort(here)
	slices.Sort(there)
	if want := []string{"postings.terms", "settings.name", "settings.value"}; !slices.Equal(here, want) {
		t.Errorf("on SQLite alone: %v", here)
	}
	if want := []string{"ahead.tenant", "chunks.tenant", "facets.tenant", "instances.tenant", "pack_series.tenant", "passed.tenant", "prefixes.tenant", "series.tenant",
		"tenants.writes", "tok.skey", "tok.token", "variants.tenant"}; !slices.Equal(there, want) {
		t.Errorf("on PostgreSQL alone: %v", there)
	}
}

func list(t *testing.T, db *sql.DB, query string) map[string]bool {
	t.Helper()
	rows, err := db.Query(query)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	out := map[string]bool{}
	for rows.Next() {
		var s string
		if err := rows.Scan(&s); err != nil {
			t.Fatal(err)
		}
		out[s] = true
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return out
}
