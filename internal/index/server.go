package index

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"regexp"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgconn/ctxwatch"
	"github.com/jackc/pgx/v5/stdlib"

	"github.com/strata-pacs/strata/internal/fault"
)

// server is how to connect to PostgreSQL: to the primary, with commits that are durable.
type server struct {
	config   *pgx.ConnConfig
	schema   string
	patience time.Duration // how long to try
}

// sessionSettings are those of every connection. Every query is a look-up by an index, in order: with other
// plans out of the way it stays one whatever the statistics say, and is planned once.
var sessionSettings = map[string]string{
	"plan_cache_mode": "force_generic_plan", "enable_seqscan": "off", "enable_bitmapscan": "off", "enable_hashjoin": "off",
	"enable_mergejoin": "off", "jit": "off",
	// A node that sleeps or is cut off holds no lock for longer than this.
	// Those who wait for the lock wait longer.
	"idle_in_transaction_session_timeout": "5s", "lock_timeout": "10s", "statement_timeout": "60s",
	"tcp_keepalives_idle": "10", "tcp_keepalives_interval": "3", "tcp_keepalives_count": "3", "tcp_user_timeout": "10000",
	"application_name": "strata", "client_encoding": "UTF8", "default_transaction_isolation": "read committed",
}

const defaultSchema = "strata"

var schemaName = regexp.MustCompile(`^[a-z_][a-z0-9_]{0,62}$`)

// newServer reads the address of the database: a URL or key=value pairs, with several hosts if
// need be. search_path names the schema, strata when it is absent.
func newServer(dsn string, patience time.Duration) (*server, error) {
	config, err := pgx.ParseConfig(dsn)
	if err != nil {
		// The error of the driver may repeat the address, which may hold a password.
		return nil, fault.New(fault.Invalid, "the address of the PostgreSQL database cannot be understood; it is like postgres://user@host:5432/database")
	}
	s := &server{config: config, patience: patience}
	s.schema = config.RuntimeParams["search_path"]
	if s.schema == "" {
		s.schema = defaultSchema
	}
	if !schemaName.MatchString(s.schema) {
		return nil, fault.New(fault.Invalid, "search_path of the database's address must be one schema: lower-case letters, digits and underscores")
	}
	config.RuntimeParams["search_path"] = s.schema
	for name, value := range sessionSettings {
		if _, ok := config.RuntimeParams[name]; !ok {
			config.RuntimeParams[name] = value
		}
	}
	config.ConnectTimeout = min(cmp.Or(config.ConnectTimeout, 5*time.Second), 10*time.Second)
	config.StatementCacheCapacity = 512
	config.ValidateConnect = pgconn.ValidateConnectTargetSessionAttrsReadWrite
	config.AfterConnect = durable
	dialer := &net.Dialer{
		KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: 10 * time.Second, Interval: 3 * time.Second, Count: 3},
		Control:         giveUp,
	}
	config.DialFunc = dialer.DialContext
	config.OnNotice = func(*pgconn.PgConn, *pgconn.Notice) {}
	return s, nil
}

var errNotDurable = fault.New(fault.Invalid, "the PostgreSQL server runs with fsync off: what it acknowledges may be lost; turn it on")

// durable sees to it that a commit on the connection is on disk when it is acknowledged.
func durable(ctx context.Context, pc *pgconn.PgConn) error {
	rr, err := pc.Exec(ctx, `SELECT current_setting('fsync'), current_setting('synchronous_commit')`).ReadAll()
	if err != nil {
		return err
	}
	if len(rr) != 1 || len(rr[0].Rows) != 1 {
		return fault.New(fault.Internal, "the database does not tell its settings")
	}
	if string(rr[0].Rows[0][0]) != "on" {
		return errNotDurable
	}
	switch string(rr[0].Rows[0][1]) {
	case "off", "local": // remote_write, on and remote_apply stay as the operator wants them
		_, err = pc.Exec(ctx, `SET synchronous_commit = on`).ReadAll()
	}
	return err
}

// connect connects, and tries again until then while the server starts, stops or is a standby.
func (s *server) connect(ctx context.Context, until time.Time) (*pgx.Conn, error) {
	for wait := 50 * time.Millisecond; ; wait = min(2*wait, time.Second) {
		pc, err := pgx.ConnectConfig(ctx, s.config.Copy())
		if err == nil {
			return pc, nil
		}
		if ctx.Err() != nil {
			return nil, fmt.Errorf("connecting to the index database: %w", ctx.Err())
		}
		if err = classify(err); !passes(err) || time.Now().Add(wait).After(until) {
			return nil, err
		}
		select {
		case <-time.After(wait/2 + rand.N(wait)):
		case <-ctx.Done():
			return nil, fmt.Errorf("connecting to the index database: %w", ctx.Err())
		}
	}
}

// open returns a connection that connects when it is used. A caller that goes away cancels the query
// of a reader, whose connection stays. A writer's is given up instead: a cancellation that meets a commit would have it
// acknowledged before a synchronous standby has it.
func (s *server) open(writer bool) *conn {
	if !writer {
		r := *s
		r.config = s.config.Copy()
		r.config.BuildContextWatcherHandler = func(pc *pgconn.PgConn) ctxwatch.Handler {
			return &pgconn.CancelRequestContextWatcherHandler{Conn: pc, DeadlineDelay: 2 * time.Second}
		}
		s = &r
	}
	c := &postgres{server: s, sql: map[string]string{}}
	c.drop()
	return &conn{c}
}

// pool returns the server for database/sql.
func (s *server) pool(most int) *sql.DB {
	db := stdlib.OpenDB(*s.config.Copy())
	db.SetMaxOpenConns(most)
	db.SetMaxIdleConns(most)
	db.SetConnMaxIdleTime(time.Minute)
	return db
}

// prepare makes the schema and refuses a role that passes row-level security.
func (s *server) prepare(ctx context.Context) error {
	pc, err := s.connect(ctx, time.Now().Add(s.patience))
	if err != nil {
		return err
	}
	defer pc.Close(context.WithoutCancel(ctx))
	var free bool
	err = pc.QueryRow(ctx, `SELECT rolsuper OR rolbypassrls FROM pg_roles WHERE rolname = current_user`).Scan(&free)
	if err != nil {
		return classify(err)
	}
	if free {
		return fault.New(fault.Invalid, "the database role passes row-level security, which keeps tenants apart: give Strata a role that is no superuser and has no BYPASSRLS")
	}
	var there bool
	err = pc.QueryRow(ctx, `SELECT EXISTS (SELECT 1 FROM pg_namespace WHERE nspname = $1)`, s.schema).Scan(&there)
	if err == nil && !there {
		_, err = pc.Exec(ctx, `CREATE SCHEMA IF NOT EXISTS `+s.schema)
		var e *pgconn.PgError
		if errors.As(err, &e) && (e.Code == "23505" || e.Code == "42P06") {
			err = nil // another node was faster
		}
	}
	return classify(err)
}
