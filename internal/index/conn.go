package index

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"

	"github.com/strata-pacs/strata/internal/fault"
)

// conn is one database connection with its prepared statements. It talks to
// the driver itself: a look-up costs half of what it does through database/sql.
// One goroutine uses it at a time.
type conn struct {
	dc    driver.Conn
	stmts map[string]driver.Stmt // queries are constants, so this is bounded
	named []driver.NamedValue
	dest  []driver.Value
}

func newConn(dc driver.Conn) *conn { return &conn{dc: dc, stmts: map[string]driver.Stmt{}} }

func (c *conn) close() error {
	for _, s := range c.stmts {
		s.Close()
	}
	return c.dc.Close()
}

func (c *conn) stmt(q string) (driver.Stmt, error) {
	if s := c.stmts[q]; s != nil {
		return s, nil
	}
	s, err := c.dc.Prepare(q)
	if err != nil {
		return nil, classify(err)
	}
	c.stmts[q] = s
	return s, nil
}

func (c *conn) bind(args []driver.Value) []driver.NamedValue {
	c.named = c.named[:0]
	for i, a := range args {
		c.named = append(c.named, driver.NamedValue{Ordinal: i + 1, Value: a})
	}
	return c.named
}

// exec runs one statement. Arguments are int64, string, []byte, bool or nil.
func (c *conn) exec(q string, args ...driver.Value) error {
	s, err := c.stmt(q)
	if err != nil {
		return err
	}
	_, err = s.(driver.StmtExecContext).ExecContext(context.Background(), c.bind(args))
	clear(c.named)
	return classify(err)
}

// errStop ends a query early without being an error.
var errStop = errors.New("stop")

// query calls row for each row. A LIMIT is an expression, (?+0): SQLite compiles a
// statement again whenever a bare parameter of its LIMIT is bound. The slice is used again, its values are not.
// The context interrupts the query where it takes long; a caller whose query
// is short passes context.Background(), which costs nothing.
func (c *conn) query(ctx context.Context, q string, row func([]driver.Value) error, args ...driver.Value) error {
	s, err := c.stmt(q)
	if err != nil {
		return err
	}
	rows, err := s.(driver.StmtQueryContext).QueryContext(ctx, c.bind(args))
	clear(c.named)
	if err != nil {
		return classify(err)
	}
	n := len(rows.Columns())
	dest := c.dest
	c.dest = nil // a nested query has its own
	if cap(dest) < n {
		dest = make([]driver.Value, max(n, 8))
	}
	dest = dest[:n]
	for err == nil {
		if err = rows.Next(dest); err == nil {
			err = row(dest)
		} else if err != io.EOF {
			err = classify(err)
		}
	}
	clear(dest)
	c.dest = dest
	if e := rows.Close(); e != nil && err == io.EOF {
		err = classify(e)
	}
	if err == io.EOF || err == errStop {
		return nil
	}
	return err
}

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
type pool struct{ free chan *conn }

// with runs f with a reader connection. f must not call the index.
func (p *pool) with(ctx context.Context, f func(*conn) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	select {
	case c, ok := <-p.free:
		if !ok {
			return errClosed
		}
		defer func() { p.free <- c }()
		return f(c)
	case <-ctx.Done():
		return fmt.Errorf("waiting for the index: %w", ctx.Err())
	}
}

var errClosed = fault.New(fault.Unavailable, "the server is shutting down; try again")
