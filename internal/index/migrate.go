package index

import (
	"context"
	"database/sql"
	"embed"
	"io/fs"

	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"
	"github.com/strata-pacs/strata/internal/fault"
)

// One logical schema, in a file for each engine; a test holds them together.
//
//go:embed migrations
var migrations embed.FS

// provider returns the migrations of the engine for the database.
func provider(db *sql.DB, engine goose.Dialect, o ...goose.ProviderOption) (*goose.Provider, error) {
	folder := map[goose.Dialect]string{goose.DialectSQLite3: "sqlite", goose.DialectPostgres: "postgres"}[engine]
	files, err := fs.Sub(migrations, "migrations/"+folder)
	if err != nil {
		return nil, fault.Wrap(fault.Internal, err, "reading the index migrations")
	}
	p, err := goose.NewProvider(engine, db, files, append(o, goose.WithVerbose(false))...)
	if err != nil {
		return nil, fault.Wrap(fault.Internal, err, "reading the index migrations")
	}
	return p, nil
}

// migrateSQLite brings the schema up to date; a migration that fails is rolled back whole.
func migrateSQLite(ctx context.Context, dsn string) error {
	db, err := poolLite(dsn)
	if err != nil {
		return err
	}
	return migrate(ctx, db, goose.DialectSQLite3)
}

// migratePostgres does so on PostgreSQL, one node at a time.
func migratePostgres(ctx context.Context, s *server) error {
	locker, err := lock.NewPostgresSessionLocker()
	if err != nil {
		return fault.Wrap(fault.Internal, err, "preparing the index migrations")
	}
	patient := *s
	patient.config = s.config.Copy()
	patient.config.RuntimeParams["statement_timeout"] = "0"
	return migrate(ctx, patient.pool(2), goose.DialectPostgres, goose.WithSessionLocker(locker))
}

func migrate(ctx context.Context, db *sql.DB, engine goose.Dialect, o ...goose.ProviderOption) error {
	defer db.Close()
	if err := db.PingContext(ctx); err != nil {
		return classify(err)
	}
	p, err := provider(db, engine, o...)
	if err != nil {
		return err
	}
	if _, err := p.Up(ctx); err != nil {
		return classify(err)
	}
	return nil
}
