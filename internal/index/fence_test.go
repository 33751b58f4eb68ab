package index

import (
	"context"
	"errors"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/strata-pacs/strata/internal/archive"
)

// TestRowLevelSecurity: without the setting, or with another tenant's, no row is seen or written.
func TestRowLevelSecurity(t *testing.T) {
	o := onPostgres(t)
	x := openWith(t, o)
	ctx := context.Background()
	two := ctSpec
	two.instance, two.desc, two.modality, two.series, two.sopClass = "1.2.3.9.1", "Abdomen", "MR", "1.2.3.9", "1.9"
	e := stored(1, ctSpec, two)
	e.Fact.Instances[0].At.Object = "hospital/packs/1"
	apply(t, x, e, stored(3, two), deletes(5, ctSpec.build(0).UIDs, blobOf(ctSpec, 1)),
		closes(7, "9.9", keyNamed("9.9", "a")), tags(11, "1.2.3", "Lehre"), holds(8, "9.9", "alice"), releases(9, 8, "bob"), rules(10, "retention", "{}"))
	if err := x.AllDue(ctx, hospital); err != nil {
		t.Fatal(err)
	}
	if err := x.Intend(ctx, hospital, archive.Intent{Study: archive.Ref{1}, Session: "s", N: 7}); err != nil {
		t.Fatal(err)
	}
	settled := settles(20, three("1.2.3")...)
	settled.Fact.Dropped = []archive.BlobID{{1}}
	apply(t, x, settled, moves(21, settled.Fact.Study, "hot", "cold", "hospital/pack/20"))
	if _, err := x.Apply(ctx, "practice", stored(1, ctSpec)); err != nil {
		t.Fatal(err)
	}
	c, err := pgx.Connect(ctx, o.DSN)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close(ctx)
	rows, err := c.Query(ctx, `SELECT c.relname FROM pg_class c WHERE c.relnamespace = current_schema()::regnamespace AND c.relkind = 'r'
		AND c.relname NOT IN ('tenants', 'tenant_settings', 'leases', 'jobs', 'goose_db_version') ORDER BY 1`)
	if err != nil {
		t.Fatal(err)
	}
	tables, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil || len(tables) != 29 {
		t.Fatal(tables, err)
	}
	count := func(tenant, table string) (n int) {
		t.Helper()
		if _, err := c.Exec(ctx, `SELECT set_config('strata.tenant', $1, false)`, tenant); err != nil {
			t.Fatal(err)
		}
		if err := c.QueryRow(ctx, `SELECT count(*) FROM `+table).Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	for _, table := range tables {
		var n int // before it is ever set
		if err := c.QueryRow(ctx, `SELECT count(*) FROM `+table).Scan(&n); err != nil || n != 0 {
			t.Errorf("%s: %d rows are seen without a tenant: %v", table, n, err)
		}
	}
	for _, table := range tables {
		if n := count("1", table); n == 0 {
			t.Errorf("%s: the test has no row there", table)
		}
		if n := count("", table) + count("77", table); n != 0 {
			t.Errorf("%s: %d rows are seen without a tenant, or by another", table, n)
		}
	}
	if ours, all := count("1", "studies"), count("2", "studies"); ours != 1 || all != 1 {
		t.Errorf("%d and %d studies", ours, all)
	}
	count("2", "studies")
	for _, q := range []string{
		`INSERT INTO tok VALUES (1::bigint << 44, 5)`,
		`INSERT INTO chunks (id, tenant, sealed) VALUES (99, 1, '')`,
		`UPDATE studies SET tenant = 1`,
	} {
		var e *pgconn.PgError
		if _, err := c.Exec(ctx, q); !errors.As(err, &e) || e.Code != "42501" {
			t.Errorf("%s: %v", q, err)
		}
	}
	for _, q := range []string{`UPDATE instances SET state = 2 WHERE tenant = 1`, `DELETE FROM tok WHERE token >> 44 = 1`} {
		if tag, err := c.Exec(ctx, q); err != nil || tag.RowsAffected() != 0 {
			t.Errorf("%s: %v %v", q, tag, err)
		}
	}
}
