package index

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"

	"github.com/strata-pacs/strata/internal/fault"
)

// link is a connection to one of the two engines: lite (SQLite) or postgres. Both take
// the same SQL: parameters are ?, and a LIMIT is an expression, (?+0), since SQLite compiles a
// statement again whenever a bare parameter of its LIMIT is bound. What only one engine
// has (INDEXED BY) the other leaves out. One goroutine uses a link at a time.
type link interface {
	// exec runs a statement. In a transaction of PostgreSQL it may wait for the next query
	// or the commit, which then has its error. Arguments are int64, string, []byte, bool or nil.
	exec(q string, args ...driver.Value) error
	// many is exec of a rowStatement.
	many(in *rowStatement, args ...driver.Value) error
	// query calls row for each row. The slice is used again, and bytes are valid in the call
	// alone; row must not use the link. The context interrupts the query where it takes long; a
	// caller whose query is short passes context.Background(), which costs nothing.
	query(ctx context.Context, q string, row func([]driver.Value) error, args ...driver.Value) error
	// together is query for several, in one round trip on PostgreSQL.
	together(queries ...question) error
	// each is query with every one of the numbers, one after another, which are its only argument; on PostgreSQL in one round trip.
	each(ctx context.Context, q string, row func([]driver.Value) error, numbers []int64) error
	begin() error
	commit() error
	doubtful() bool // the last commit was sent, and the connection broke before it was answered
	rollback()
	// as says whose rows the statements to come are about; row-level security sees to it. 0 is nobody.
	as(tenant int64)
	// ping reports whether the database answers, without patience.
	ping(ctx context.Context) error
	close() error
}

// question is one query of several.
type question struct {
	q    string
	args []driver.Value
	row  func([]driver.Value) error
}

// numberOf is a question for a single number, which stays as it is when there is none.
func numberOf(n *int64, q string, args ...driver.Value) question {
	return question{q, args, func(v []driver.Value) error { *n = integer(v[0]); return nil }}
}

// rowStatement adds or changes one row, of many in a transaction: it adds to a table where none goes, or
// changes what no other statement of the transaction does. On PostgreSQL
// rows wait for each other and go out as arrays, ahead of other statements.
type rowStatement struct{ one, many string }

var (
	intoInstances = rowStatement{`INSERT INTO instances (id, sop, state, sealed) VALUES (?, ?, ?, ?)`,
		`INSERT INTO instances (id, sop, state, sealed) SELECT * FROM unnest(?::bigint[], ?::bigint[], ?::smallint[], ?::bytea[])`}
	intoChunks = rowStatement{`INSERT INTO chunks (id, sealed) VALUES (?, ?)`,
		`INSERT INTO chunks (id, sealed) SELECT * FROM unnest(?::bigint[], ?::bytea[])`}
	intoChanges = rowStatement{`INSERT INTO changes (id, time, action, instance) VALUES (?, ?, ?, ?)`,
		`INSERT INTO changes (id, time, action, instance) SELECT * FROM unnest(?::bigint[], ?::bigint[], ?::smallint[], ?::bigint[])`}
	ofDue = rowStatement{`UPDATE lives SET judged = ?, due = ? WHERE tenant = ? AND id = ? AND substr(sealed, 1, 8) = ?`,
		`UPDATE lives SET judged = u.judged, due = u.due FROM unnest(?::bigint[], ?::bigint[], ?::integer[], ?::bigint[], ?::bytea[]) AS u (judged, due, tenant, id, seen)
			WHERE lives.tenant = u.tenant AND lives.id = u.id AND substr(lives.sealed, 1, 8) = u.seen`}
	rowStatements = [...]*rowStatement{&intoInstances, &intoChunks, &intoChanges, &ofDue}
)

// conn is a link with what is made of it.
type conn struct{ link }

// errStop ends a query early without being an error.
var errStop = errors.New("stop")

// one is query for a single row; it reports whether there was one.
func (c *conn) one(q string, row func([]driver.Value) error, args ...driver.Value) (bool, error) {
	found := false
	err := c.query(context.Background(), q, func(v []driver.Value) error {
		found = true
		if err := row(v); err != nil {
			return err
		}
		return errStop
	}, args...)
	return found, err
}

// integer returns the single number that the query selects, 0 when it is NULL or absent.
func (c *conn) integer(q string, args ...driver.Value) (n int64, err error) {
	_, err = c.one(q, func(v []driver.Value) error { n = integer(v[0]); return nil }, args...)
	return n, err
}

func integer(v driver.Value) int64 {
	n, _ := v.(int64)
	return n
}

func blob(v driver.Value) []byte {
	b, _ := v.([]byte)
	return b
}

func text(v driver.Value) string {
	s, _ := v.(string)
	return s
}

// pool hands out reader connections.
type pool struct {
	free   chan *conn
	closed chan struct{}
}

func (p *pool) make(n int) { p.free, p.closed = make(chan *conn, n), make(chan struct{}) }

// with runs f with a reader connection that sees the tenant's rows; of no tenant when t is nil. f must not call the index.
func (p *pool) with(ctx context.Context, t *tenant, f func(*conn) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	select {
	case <-p.closed:
		return errClosed
	case c := <-p.free:
		defer func() { p.free <- c }()
		c.as(t.rowID())
		return f(c)
	case <-ctx.Done():
		return fmt.Errorf("waiting for the index: %w", ctx.Err())
	}
}

var errClosed = fault.New(fault.Unavailable, "the server is shutting down; try again")
