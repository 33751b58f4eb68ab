//go:build linux

package stacktest

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Names in the cluster.
const (
	superuser    = "postgres"
	databaseName = "strata"
	databaseRole = "strata" // of the nodes: owns the database, and is no superuser
)

// Postgres is a cluster of its own, kept in one folder.
type Postgres struct {
	*Process
	bin      string
	data     string
	host     string
	port     int
	password string // of the superuser
	DSN      string // by which nodes reach their database
	AdminDSN string // the same database, for the superuser
	attr     func() *syscall.SysProcAttr
}

// newPostgres returns a cluster on loopback, or in a network of its own.
func newPostgres(dir, log string, port int, s *secrets, network *Network) (*Postgres, error) {
	initdb, err := installed("initdb", "/usr/lib/postgresql/*/bin/initdb")
	if err != nil {
		return nil, err
	}
	if initdb, err = filepath.EvalSymlinks(initdb); err != nil { // its neighbours are needed too
		return nil, err
	}
	g := &Postgres{bin: filepath.Dir(initdb), data: filepath.Join(dir, "data"), host: "127.0.0.1", port: port, password: s.Postgres}
	if network != nil {
		g.host = network.Addresses[0].String()
	}
	dsn := url.URL{Scheme: "postgres", User: url.UserPassword(databaseRole, s.Database), Host: g.Address(),
		Path: "/" + databaseName, RawQuery: "sslmode=disable"}
	g.DSN = dsn.String()
	dsn.User = url.UserPassword(superuser, s.Postgres)
	g.AdminDSN = dsn.String()
	if g.attr, err = unprivileged(dir); err != nil {
		return nil, err
	}
	listen := g.host
	if network != nil {
		listen = "*"
	}
	g.Process = &Process{name: "postgres", log: log, network: network, ending: syscall.SIGINT, // a fast shutdown, which waits for no client
		command: func() *exec.Cmd {
			return g.program("postgres", "-D", g.data, "-p", strconv.Itoa(port), "-c", "listen_addresses="+listen,
				"-c", "unix_socket_directories=", "-c", "max_connections=200", "-c", "log_connections=off")
		},
		ready: func(ctx context.Context) error { return g.query(ctx, "postgres", "SELECT 1") },
	}
	return g, nil
}

// Address is where the cluster listens, a host and a port.
func (g *Postgres) Address() string { return net.JoinHostPort(g.host, strconv.Itoa(g.port)) }

// DSNAt is DSN by another of the addresses that the cluster has in a network of its own.
func (g *Postgres) DSNAt(host string) string {
	return strings.Replace(g.DSN, "@"+g.host+":", "@"+host+":", 1)
}

// program is a program of PostgreSQL, run as the user that owns the cluster.
func (g *Postgres) program(name string, args ...string) *exec.Cmd {
	cmd := exec.Command(filepath.Join(g.bin, name), args...)
	cmd.Dir, cmd.SysProcAttr = "/", g.attr() // the folder may become reachable only to the program
	cmd.Env = []string{"PATH=" + g.bin + ":/usr/bin:/bin", "LC_ALL=C.UTF-8", "TZ=UTC"}
	return cmd
}

// create makes the cluster unless it is there.
func (g *Postgres) create() error {
	if _, err := os.Stat(g.data); err == nil {
		return nil
	} else if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	fresh := g.data + ".new" // renamed when it is whole
	if err := os.RemoveAll(fresh); err != nil {
		return err
	}
	cmd := g.program("initdb", "-D", fresh, "-U", superuser, "--auth=scram-sha-256", "--pwfile=/dev/stdin", "-E", "UTF8", "--locale=C.UTF-8", "--no-instructions")
	cmd.Stdin = strings.NewReader(g.password + "\n")
	if _, err := output(cmd); err != nil {
		return fmt.Errorf("making a cluster of PostgreSQL: %w", err)
	}
	if g.network != nil {
		if err := g.admit(filepath.Join(fresh, "pg_hba.conf")); err != nil {
			return err
		}
	}
	return os.Rename(fresh, g.data)
}

// admit lets those in, with their password, who come over a network.
func (g *Postgres) admit(file string) error {
	f, err := os.OpenFile(file, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(f, "host all all samenet scram-sha-256")
	return errors.Join(err, f.Close())
}

// vacated waits until the server of a stack that was killed is gone: PostgreSQL
// does not start while there is a process of the id in its lock file.
func (g *Postgres) vacated(ctx context.Context) error {
	b, _ := os.ReadFile(filepath.Join(g.data, "postmaster.pid")) // ordinarily there is none
	first, _, _ := strings.Cut(string(b), "\n")
	pid, err := strconv.Atoi(first)
	if err != nil {
		return nil
	}
	for range 100 {
		if syscall.Kill(pid, 0) == syscall.ESRCH {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(50 * time.Millisecond):
		}
	}
	return nil // it may be another's process; PostgreSQL knows better
}

// open starts the cluster and makes the nodes' database and role in it.
func (g *Postgres) open(ctx context.Context, password string) error {
	if err := g.create(); err != nil {
		return err
	}
	if err := g.vacated(ctx); err != nil {
		return err
	}
	if err := g.Start(ctx); err != nil {
		return err
	}
	// psql quotes what \gexec runs; the password is of hexadecimal digits.
	return g.query(ctx, "postgres", fmt.Sprintf(`
SELECT 'CREATE ROLE %[1]s LOGIN PASSWORD ''%[2]s''' WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '%[1]s') \gexec
SELECT 'CREATE DATABASE %[3]s OWNER %[1]s' WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = '%[3]s') \gexec
`, databaseRole, password, databaseName))
}

// query runs SQL as the superuser, through psql and a connection of its own.
func (g *Postgres) query(ctx context.Context, database, sql string) error {
	cmd := exec.CommandContext(ctx, filepath.Join(g.bin, "psql"), "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1",
		"-h", g.host, "-p", strconv.Itoa(g.port), "-U", superuser, "-d", database, "-f", "-")
	cmd.Env = []string{"PGPASSWORD=" + g.password, "PGCONNECT_TIMEOUT=5", "PGSSLMODE=disable", "LC_ALL=C.UTF-8"}
	cmd.Stdin = strings.NewReader(sql)
	_, err := output(cmd)
	return err
}

// unprivileged returns how PostgreSQL is to be run over a folder: as the caller,
// or, since it refuses root, as the system's user postgres (or nobody), to whom
// the folder is given. That user must be able to walk down to it.
func unprivileged(dir string) (func() *syscall.SysProcAttr, error) {
	if os.Geteuid() != 0 {
		return func() *syscall.SysProcAttr { return &syscall.SysProcAttr{} }, nil
	}
	account, err := user.Lookup("postgres")
	if err != nil {
		if account, err = user.Lookup("nobody"); err != nil {
			return nil, fmt.Errorf("PostgreSQL does not run as root, and there is no user postgres or nobody: %w", err)
		}
	}
	uid, err := strconv.Atoi(account.Uid)
	if err != nil {
		return nil, err
	}
	gid, err := strconv.Atoi(account.Gid)
	if err != nil {
		return nil, err
	}
	if err := os.Chown(dir, uid, gid); err != nil {
		return nil, fmt.Errorf("giving the folder to %s: %w", account.Username, err)
	}
	var caps []uintptr
	for d := filepath.Dir(dir); ; d = filepath.Dir(d) {
		info, err := os.Stat(d)
		if err != nil {
			return nil, err
		}
		if info.Mode().Perm()&0o001 == 0 {
			const dacReadSearch = 2 // CAP_DAC_READ_SEARCH, capabilities(7): it may walk through folders that are not its own
			caps = []uintptr{dacReadSearch}
		}
		if d == filepath.Dir(d) {
			break
		}
	}
	return func() *syscall.SysProcAttr {
		return &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, AmbientCaps: caps}
	}, nil
}
