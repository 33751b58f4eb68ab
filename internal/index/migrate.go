package index

import (
	"context"
	"database/sql"
	"embed"
	"io/fs"

	"github.com/pressly/goose/v3"
	"modernc.org/sqlite"

	"github.com/strata-pacs/strata/internal/fault"
)

//go:embed migrations/*.sql
var migrations embed.FS

// provider returns the migrations for the database.
func provider(db *sql.DB) (*goose.Provider, error) {
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return nil, fault.Wrap(fault.Internal, err, "reading the index migrations")
	}
	p, err := goose.NewProvider(goose.DialectSQLite3, db, files, goose.WithVerbose(false))
	if err != nil {
		return nil, fault.Wrap(fault.Internal, err, "reading the index migrations")
	}
	return p, nil
}

// migrate brings the schema up to date; a migration that fails is rolled back whole.
func migrate(ctx context.Context, dsn string) error {
	cn, err := sqlite.NewConnector(dsn)
	if err != nil {
		return classify(err)
	}
	db := sql.OpenDB(cn)
	defer db.Close()
	db.SetMaxOpenConns(1)
	if err := db.PingContext(ctx); err != nil {
		return classify(err)
	}
	p, err := provider(db)
	if err != nil {
		return err
	}
	if _, err := p.Up(ctx); err != nil {
		return classify(err)
	}
	return nil
}
