package index

import (
	"context"
	"database/sql"
	"database/sql/driver"

	"gorm.io/gorm"
	"gorm.io/gorm/callbacks"
	"gorm.io/gorm/clause"
	"gorm.io/gorm/logger"
	"gorm.io/gorm/schema"
)

// dialect is GORM's view of SQLite through modernc.org/sqlite's own driver.
// The usual dialect (github.com/glebarez/sqlite) brings a driver that compiles
// every statement again each time it runs, and cannot live in one binary with this one.
// Tables are made by migrations, so it has no migrator.
type dialect struct{ pool gorm.ConnPool }

func (dialect) Name() string { return "sqlite" }

func (d dialect) Initialize(db *gorm.DB) error {
	db.ConnPool = d.pool
	callbacks.RegisterDefaultCallbacks(db, &callbacks.Config{
		CreateClauses:        []string{"INSERT", "VALUES", "ON CONFLICT", "RETURNING"},
		UpdateClauses:        []string{"UPDATE", "SET", "FROM", "WHERE", "RETURNING"},
		DeleteClauses:        []string{"DELETE", "FROM", "WHERE", "RETURNING"},
		LastInsertIDReversed: true,
	})
	return nil
}

func (dialect) Migrator(*gorm.DB) gorm.Migrator { return nil }

func (dialect) DataTypeOf(f *schema.Field) string { return string(f.DataType) }

func (dialect) DefaultValueOf(*schema.Field) clause.Expression { return clause.Expr{SQL: "NULL"} }

func (dialect) BindVarTo(w clause.Writer, _ *gorm.Statement, _ any) { _ = w.WriteByte('?') }

func (dialect) QuoteTo(w clause.Writer, name string) {
	_ = w.WriteByte('"')
	_, _ = w.WriteString(name) // column and table names come from this package's models
	_ = w.WriteByte('"')
}

func (dialect) Explain(query string, args ...any) string {
	return logger.ExplainSQL(query, nil, `"`, args...)
}

// lent is a connector that hands out one connection that is another's to
// close: GORM's writes happen on the writer's connection, inside its transaction.
type lent struct{ dc driver.Conn }

func (l lent) Connect(context.Context) (driver.Conn, error) { return lentConn{l.dc}, nil }
func (l lent) Driver() driver.Driver                        { return nil }

type lentConn struct{ driver.Conn }

func (lentConn) Close() error { return nil }

// openGORM returns GORM on the connection. The caller closes the sql.DB.
func openGORM(dc driver.Conn) (*gorm.DB, *sql.DB, error) {
	db := sql.OpenDB(lent{dc})
	db.SetMaxOpenConns(1)
	g, err := gorm.Open(dialect{db}, &gorm.Config{
		SkipDefaultTransaction: true, Logger: logger.Discard, DisableAutomaticPing: true,
	})
	if err != nil {
		db.Close()
		return nil, nil, classify(err)
	}
	return g, db, nil
}
