package index

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"fmt"
	"io"
	"net/url"
	"os"

	"modernc.org/sqlite"

	"github.com/strata-pacs/strata/internal/fault"
)

// lite is a connection to SQLite with its prepared statements. It talks to the
// driver itself: a look-up costs half of what it does through database/sql.
type lite struct {
	dc    driver.Conn
	stmts map[string]driver.Stmt // queries are constants, so this is bounded
	named []driver.NamedValue
	dest  []driver.Value
}

// openLite opens the database with the settings of dsn.
func openLite(ctx context.Context, dsn string) (*conn, error) {
	cn, err := sqlite.NewConnector(dsn)
	if err != nil {
		return nil, classify(err)
	}
	dc, err := cn.Connect(ctx)
	if err != nil {
		return nil, classify(err)
	}
	return &conn{&lite{dc: dc, stmts: map[string]driver.Stmt{}}}, nil
}

// poolLite returns the database for database/sql.
func poolLite(dsn string) (*sql.DB, error) {
	cn, err := sqlite.NewConnector(dsn)
	if err != nil {
		return nil, classify(err)
	}
	db := sql.OpenDB(cn)
	db.SetMaxOpenConns(1)
	return db, nil
}

// private makes the database file for its owner alone; SQLite gives its other files the same mode.
func private(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return fault.Wrap(fault.Unavailable, err, "the index database cannot be opened; check the data folder")
	}
	return classify(f.Close())
}

// dsn names the database with the settings of a connection. synchronous=FULL makes a commit durable.
func dsn(path string, cacheKiB int, reader bool) string {
	v := url.Values{}
	for _, p := range []string{
		"busy_timeout(10000)", "journal_mode(WAL)", "synchronous(FULL)", fmt.Sprintf("cache_size(-%d)", cacheKiB),
		"wal_autocheckpoint(4000)", "journal_size_limit(67108864)", "temp_store(MEMORY)", "foreign_keys(0)", "mmap_size(0)", "secure_delete(fast)",
	} {
		v.Add("_pragma", p)
	}
	if reader {
		v.Add("_pragma", "query_only(1)")
	}
	return (&url.URL{Scheme: "file", OmitHost: true, Path: path, RawQuery: v.Encode()}).String()
}

func (c *lite) close() error {
	for _, s := range c.stmts {
		s.Close()
	}
	return classify(c.dc.Close())
}

func (c *lite) as(int64) {}

func (c *lite) begin() error   { return c.exec(`BEGIN IMMEDIATE`) }
func (c *lite) commit() error  { return c.exec(`COMMIT`) }
func (c *lite) doubtful() bool { return false }
func (c *lite) rollback()      { _ = c.exec(`ROLLBACK`) } // fails when SQLite has rolled back already

func (c *lite) stmt(q string) (driver.Stmt, error) {
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

func (c *lite) bind(args []driver.Value) []driver.NamedValue {
	c.named = c.named[:0]
	for i, a := range args {
		c.named = append(c.named, driver.NamedValue{Ordinal: i + 1, Value: a})
	}
	return c.named
}

func (c *lite) exec(q string, args ...driver.Value) error {
	s, err := c.stmt(q)
	if err != nil {
		return err
	}
	_, err = s.(driver.StmtExecContext).ExecContext(context.Background(), c.bind(args))
	clear(c.named)
	return classify(err)
}

func (c *lite) ping(ctx context.Context) error {
	return c.query(ctx, `SELECT 1`, func([]driver.Value) error { return nil })
}

func (c *lite) many(in *rowStatement, args ...driver.Value) error { return c.exec(in.one, args...) }

// once runs a statement that is not kept: schema changes and settings.
func (c *lite) once(q string) error {
	s, err := c.dc.Prepare(q)
	if err != nil {
		return classify(err)
	}
	defer s.Close()
	_, err = s.(driver.StmtExecContext).ExecContext(context.Background(), nil)
	return classify(err)
}

func (c *lite) query(ctx context.Context, q string, row func([]driver.Value) error, args ...driver.Value) error {
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
	if cap(c.dest) < n {
		c.dest = make([]driver.Value, max(n, 8))
	}
	dest := c.dest[:n]
	for err == nil {
		if err = rows.Next(dest); err == nil {
			err = row(dest)
		} else if err != io.EOF {
			err = classify(err)
		}
	}
	clear(dest)
	if e := rows.Close(); e != nil && err == io.EOF {
		err = classify(e)
	}
	if err == io.EOF || err == errStop {
		return nil
	}
	return err
}

func (c *lite) each(ctx context.Context, q string, row func([]driver.Value) error, numbers []int64) error {
	for _, n := range numbers {
		if err := c.query(ctx, q, row, n); err != nil {
			return err
		}
	}
	return nil
}

func (c *lite) together(queries ...question) error {
	for _, q := range queries {
		if err := c.query(context.Background(), q.q, q.row, q.args...); err != nil {
			return err
		}
	}
	return nil
}
