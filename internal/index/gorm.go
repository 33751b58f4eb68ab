package index

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"gorm.io/gorm"
	"gorm.io/gorm/callbacks"
	"gorm.io/gorm/clause"
	"gorm.io/gorm/logger"
	"gorm.io/gorm/schema"

	"github.com/strata-pacs/strata/internal/fault"
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

// openGORM opens GORM on a pool of its own. It serves tables that are written seldom: tenants, leases and
// jobs; studies and what is below them are written by the writers alone.
func (x *Index) openGORM(db *sql.DB, d gorm.Dialector) (err error) {
	x.gormSQL = db
	x.gorm, err = gorm.Open(d, &gorm.Config{
		SkipDefaultTransaction: true, Logger: logger.Discard, DisableAutomaticPing: true,
	})
	return classify(err)
}

// inTx runs f in a transaction of GORM's pool, again where that may help: what f does must bear it.
func (x *Index) inTx(ctx context.Context, f func(*gorm.DB) error) error {
	x.closing.RLock()
	defer x.closing.RUnlock()
	if x.closed {
		return errClosed
	}
	for n := 1; ; n++ {
		var own error // is classified already
		err := x.gorm.WithContext(ctx).Transaction(func(tx *gorm.DB) error {
			own = f(tx)
			return own
		})
		switch {
		case err == nil:
			return nil
		case fault.Is(own, fault.Conflict):
			return own
		case ctx.Err() != nil:
			return fmt.Errorf("using the index database: %w", ctx.Err())
		case !x.shared || !passes(err) || n == 3:
			return classify(err)
		}
		select {
		case <-time.After(time.Duration(n) * 50 * time.Millisecond):
		case <-ctx.Done():
		}
	}
}

// locking makes the query lock what it finds until the transaction ends. On SQLite the transaction has the whole database.
func (x *Index) locking(tx *gorm.DB, option string) *gorm.DB {
	if !x.shared {
		return tx
	}
	return tx.Clauses(clause.Locking{Strength: clause.LockingStrengthUpdate, Options: option})
}

// clock returns the database's time, in ms.
func (x *Index) clock(tx *gorm.DB) (ms int64, err error) {
	if !x.shared {
		return x.now().UnixMilli(), nil
	}
	err = tx.Raw(`SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint`).Scan(&ms).Error
	return ms, err
}
