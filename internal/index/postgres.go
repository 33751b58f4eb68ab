package index

import (
	"bytes"
	"context"
	"database/sql/driver"
	"encoding/binary"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"
)

// postgres is a connection to PostgreSQL. A round trip costs more than a
// statement, so statements of a transaction that return nothing are kept and go
// out with the next query, or with the commit. A connection that is lost is made again
// before a query outside of transactions, and before one begins.
type postgres struct {
	server *server
	pc     *pgx.Conn
	sql    map[string]string // queries are constants, so this is bounded
	dest   []driver.Value

	later *pgx.Batch              // statements that were not sent
	rows  map[*rowStatement][]any // columns of rows that were not, []int64 or [][]byte each
	count int                     // of both
	bytes int                     // of their arguments
	inTx  bool
	doubt bool

	tenant, has int64 // whose rows the next statement is about, and what the session is set to
}

const (
	mostLater      = 2048    // statements and rows that are kept
	mostLaterBytes = 2 << 20 // and the size of their arguments
	queryTime      = 30 * time.Second
	unknownTenant  = -1
)

var indexedBy = regexp.MustCompile(` INDEXED BY \w+`)

// rewrite turns a query into PostgreSQL's dialect: numbered parameters and no INDEXED BY.
func rewrite(q string) string {
	q = indexedBy.ReplaceAllString(q, "")
	var out strings.Builder
	n := 0
	for _, r := range q {
		if r != '?' {
			out.WriteRune(r)
			continue
		}
		n++
		out.WriteByte('$')
		out.WriteString(strconv.Itoa(n))
	}
	return out.String()
}

func (c *postgres) statement(q string) string {
	s, ok := c.sql[q]
	if !ok {
		s = rewrite(q)
		c.sql[q] = s
	}
	return s
}

func (c *postgres) as(tenant int64) { c.tenant = tenant }

// keep adds a statement to those that are sent later.
func (c *postgres) keep(q string, args []driver.Value) {
	if c.tenant != c.has {
		who := ""
		if c.tenant > 0 {
			who = strconv.FormatInt(c.tenant, 10)
		}
		c.later.Queue(`SELECT set_config('strata.tenant', $1, false)`, who)
		c.has = c.tenant
	}
	c.count++
	kept := make([]any, len(args))
	for i, a := range args {
		if b, ok := a.([]byte); ok {
			a = bytes.Clone(b) // callers use theirs again
			c.bytes += len(b)
		}
		kept[i] = a
	}
	c.later.Queue(c.statement(q), kept...)
}

func (c *postgres) exec(q string, args ...driver.Value) error {
	if !c.inTx {
		return c.query(context.Background(), q, func([]driver.Value) error { return nil }, args...)
	}
	c.keep(q, args)
	return c.full()
}

// full sends what was kept when it is much.
func (c *postgres) full() error {
	if c.count < mostLater && c.bytes < mostLaterBytes {
		return nil
	}
	_, err := c.send(context.Background(), nil)
	return err
}

func (c *postgres) many(in *rowStatement, args ...driver.Value) error {
	columns := c.rows[in]
	if columns == nil {
		columns = make([]any, len(args))
	}
	for i, a := range args {
		switch a := a.(type) {
		case int64:
			column, _ := columns[i].([]int64)
			columns[i] = append(column, a)
		case []byte:
			column, _ := columns[i].([][]byte)
			columns[i] = append(column, bytes.Clone(a))
			c.bytes += len(a)
		}
	}
	c.rows[in] = columns
	c.count++
	return c.full()
}

// take returns what was kept, rows first: what other statements say may be about them.
func (c *postgres) take() *pgx.Batch {
	b := c.later
	if len(c.rows) > 0 {
		b = &pgx.Batch{}
		for _, in := range rowStatements {
			if columns := c.rows[in]; columns != nil {
				b.Queue(c.statement(in.many), columns...)
			}
		}
		b.QueuedQueries = append(b.QueuedQueries, c.later.QueuedQueries...)
	}
	c.drop()
	return b
}

func (c *postgres) drop() {
	c.later, c.rows, c.count, c.bytes = &pgx.Batch{}, map[*rowStatement][]any{}, 0, 0
}

// send sends what was kept, whose last are the queries. It reports whether a row was handed out.
func (c *postgres) send(ctx context.Context, queries []question) (began bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, queryTime)
	defer cancel()
	b := c.take()
	br := c.pc.SendBatch(ctx, b)
	for i := 0; i < b.Len()-len(queries) && err == nil; i++ {
		_, err = br.Exec()
	}
	var stopped error
	for i := 0; i < len(queries) && err == nil && stopped == nil; i++ {
		var rows pgx.Rows
		if rows, err = br.Query(); err == nil {
			stopped, err = c.read(rows, func(v []driver.Value) error {
				began = true
				return queries[i].row(v)
			})
		}
	}
	if e := br.Close(); err == nil {
		err = e
	}
	if err != nil {
		c.has = unknownTenant // the setting went back with what failed
		return began, c.failed(ctx, err)
	}
	return began, stopped
}

// read calls row with each row and returns its error, and that of the database.
func (c *postgres) read(rows pgx.Rows, row func([]driver.Value) error) (stopped, err error) {
	fields := rows.FieldDescriptions()
	if cap(c.dest) < len(fields) {
		c.dest = make([]driver.Value, max(len(fields), 8))
	}
	dest := c.dest[:len(fields)]
	for stopped == nil && rows.Next() {
		for i, raw := range rows.RawValues() {
			dest[i] = value(fields[i].DataTypeOID, raw)
		}
		stopped = row(dest)
	}
	clear(dest)
	rows.Close()
	if stopped == errStop {
		stopped = nil
	}
	return stopped, rows.Err()
}

// value turns a column, in binary, into what SQLite has for it.
func value(oid uint32, raw []byte) driver.Value {
	if raw == nil {
		return nil
	}
	switch oid {
	case pgtype.Int8OID:
		return int64(binary.BigEndian.Uint64(raw))
	case pgtype.Int4OID:
		return int64(int32(binary.BigEndian.Uint32(raw)))
	case pgtype.Int2OID:
		return int64(int16(binary.BigEndian.Uint16(raw)))
	case pgtype.BoolOID:
		return int64(raw[0])
	case pgtype.ByteaOID:
		return raw
	default:
		return string(raw)
	}
}

func (c *postgres) query(ctx context.Context, q string, row func([]driver.Value) error, args ...driver.Value) error {
	return c.ask(ctx, []question{{q, args, row}})
}

func (c *postgres) together(queries ...question) error { return c.ask(context.Background(), queries) }

func (c *postgres) each(ctx context.Context, q string, row func([]driver.Value) error, numbers []int64) error {
	for len(numbers) > 0 {
		some := numbers[:min(len(numbers), mostLater)]
		numbers = numbers[len(some):]
		queries := make([]question, len(some))
		for i, n := range some {
			queries[i] = question{q, []driver.Value{n}, row}
		}
		if err := c.ask(ctx, queries); err != nil {
			return err
		}
	}
	return nil
}

// ask sends the queries, and tries again when the connection turns out to be lost.
func (c *postgres) ask(ctx context.Context, queries []question) error {
	for last := time.Now().Add(c.server.patience); ; {
		if !c.inTx {
			if err := c.ready(ctx, last); err != nil {
				return err
			}
		}
		for _, q := range queries {
			c.keep(q.q, q.args)
		}
		began, err := c.send(ctx, queries)
		if err == nil || c.inTx || began || !c.lost() || !passes(err) || ctx.Err() != nil || time.Now().After(last) {
			return err
		}
	}
}

func (c *postgres) ping(ctx context.Context) error {
	for {
		made := c.lost()
		err := c.ready(ctx, time.Now())
		if err == nil {
			c.keep(`SELECT 1`, nil)
			_, err = c.send(ctx, nil)
		}
		if err == nil || made || !c.lost() {
			return err
		}
	}
}

// failed gives an error its kind.
func (c *postgres) failed(ctx context.Context, err error) error {
	if e := ctx.Err(); e == context.Canceled {
		return e
	}
	return classify(err)
}

// lost reports that there is no connection.
func (c *postgres) lost() bool { return c.pc == nil || c.pc.IsClosed() }

// ready makes the connection again when it is lost, and tries until then.
func (c *postgres) ready(ctx context.Context, until time.Time) error {
	if !c.lost() {
		return nil
	}
	pc, err := c.server.connect(ctx, until)
	if err != nil {
		return err
	}
	c.pc, c.has, c.inTx = pc, 0, false
	c.drop()
	return nil
}

func (c *postgres) begin() error {
	if err := c.ready(context.Background(), time.Now().Add(c.server.patience)); err != nil {
		return err
	}
	c.inTx, c.doubt = true, false
	c.keep(`BEGIN`, nil)
	return nil
}

func (c *postgres) commit() error {
	c.keep(`COMMIT`, nil)
	_, err := c.send(context.Background(), nil)
	if err == nil {
		c.inTx = false
	}
	c.doubt = err != nil && c.lost()
	return err
}

func (c *postgres) doubtful() bool { return c.doubt }

// rollback drops what was not sent and ends the transaction.
func (c *postgres) rollback() {
	c.drop()
	c.inTx, c.has = false, unknownTenant
	if c.lost() {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), queryTime)
	defer cancel()
	if _, err := c.pc.Exec(ctx, `ROLLBACK`); err != nil {
		_ = c.pc.Close(ctx)
	}
}

func (c *postgres) close() error {
	if c.lost() {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	return classify(c.pc.Close(ctx))
}
