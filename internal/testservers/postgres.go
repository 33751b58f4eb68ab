package testservers

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// PostgresServer is a PostgreSQL cluster of its own on a port of loopback. Anybody who connects is
// trusted. It has a superuser, postgres, and a role and database for Strata, both named strata.
type PostgresServer struct {
	Dir  string // the data folder
	Port int

	bin      string
	root     string
	settings []string
	cmd      *exec.Cmd
	ended    chan struct{}
	out      *tail
}

// ErrNoPostgres says that PostgreSQL is not installed.
var ErrNoPostgres = errors.New("PostgreSQL is not installed; run make setup")

// Postgres starts a cluster for the test. Settings are as in postgresql.conf, "name=value".
func Postgres(t testing.TB, settings ...string) *PostgresServer {
	t.Helper()
	p, err := StartPostgres(settings...)
	if errors.Is(err, ErrNoPostgres) {
		missing(t, "PostgreSQL")
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return p
}

// StartPostgres is Postgres for a TestMain: the caller closes it.
func StartPostgres(settings ...string) (*PostgresServer, error) {
	p := &PostgresServer{settings: settings}
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/postgres")
	if len(found) > 0 {
		slices.Sort(found)
		p.bin = filepath.Dir(found[len(found)-1])
	} else if path, err := exec.LookPath("postgres"); err == nil {
		p.bin = filepath.Dir(path)
	} else {
		return nil, ErrNoPostgres
	}
	if err := p.make(); err != nil {
		p.Close()
		return nil, fmt.Errorf("starting PostgreSQL: %w", err)
	}
	return p, nil
}

func (p *PostgresServer) make() error {
	attr, err := p.folder()
	if err != nil {
		return err
	}
	if err := p.command(attr, "initdb", "-D", p.Dir, "-U", "postgres", "--auth=trust", "-E", "UTF8", "--locale=C", "--no-sync"); err != nil {
		return err
	}
	if err := p.Start(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	for _, q := range []string{`CREATE ROLE strata LOGIN`, `CREATE DATABASE strata OWNER strata`} {
		if err := p.Exec(ctx, q); err != nil {
			return err
		}
	}
	return nil
}

// Standby starts a server that follows this one, until Promote. It answers queries that only read.
func (p *PostgresServer) Standby(t testing.TB) *PostgresServer {
	t.Helper()
	s := &PostgresServer{bin: p.bin}
	t.Cleanup(s.Close)
	attr, err := s.folder()
	if err == nil {
		err = s.command(attr, "pg_basebackup", "-D", s.Dir, "-h", "127.0.0.1", "-p", strconv.Itoa(p.Port), "-U", "postgres", "-R", "-X", "stream", "-c", "fast")
	}
	if err == nil {
		err = s.Start()
	}
	if err != nil {
		t.Fatalf("starting a standby: %v", err)
	}
	return s
}

// Promote makes a standby the primary.
func (p *PostgresServer) Promote(ctx context.Context) error {
	return p.Exec(ctx, `SELECT pg_promote(true)`)
}

// folder makes the data folder, for the user that the server runs as, and takes a port.
func (p *PostgresServer) folder() (attr *syscall.SysProcAttr, err error) {
	if p.root, err = os.MkdirTemp("", "pg"); err != nil {
		return nil, err
	}
	p.Dir = filepath.Join(p.root, "data")
	if err := os.Mkdir(p.Dir, 0o700); err != nil {
		return nil, err
	}
	if attr, err = unprivileged(); err != nil {
		return nil, err
	}
	if c := attr.Credential; c != nil {
		if err := errors.Join(os.Chown(p.root, int(c.Uid), int(c.Gid)), os.Chown(p.Dir, int(c.Uid), int(c.Gid))); err != nil {
			return nil, err
		}
	}
	p.Port, err = Port()
	return attr, err
}

func (p *PostgresServer) command(attr *syscall.SysProcAttr, name string, args ...string) error {
	cmd := exec.Command(filepath.Join(p.bin, name), args...)
	cmd.Dir, cmd.SysProcAttr = p.root, attr
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %s", name, err, out)
	}
	return nil
}

// unprivileged is another user when this one is root, which PostgreSQL refuses to run as.
func unprivileged() (*syscall.SysProcAttr, error) {
	attr := &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if os.Geteuid() != 0 {
		return attr, nil
	}
	for _, name := range []string{"postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, err1 := strconv.ParseUint(u.Uid, 10, 32)
		gid, err2 := strconv.ParseUint(u.Gid, 10, 32)
		if err := errors.Join(err1, err2); err != nil {
			return nil, err
		}
		attr.Credential = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
		return attr, nil
	}
	return nil, errors.New("there is no user to run PostgreSQL as: neither postgres nor nobody")
}

// Start starts the server, again after Stop or Kill, on the same port and data, and waits until it answers.
func (p *PostgresServer) Start() error {
	deadline := time.Now().Add(30 * time.Second)
	for {
		err := p.start(deadline)
		if err == nil || time.Now().After(deadline) {
			return err
		}
		time.Sleep(50 * time.Millisecond) // processes of the server that was killed are still about
	}
}

func (p *PostgresServer) start(deadline time.Time) error {
	args := []string{"-D", p.Dir, "-p", strconv.Itoa(p.Port), "-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories="}
	for _, s := range p.settings {
		args = append(args, "-c", s)
	}
	attr, err := unprivileged()
	if err != nil {
		return err
	}
	cmd := exec.Command(filepath.Join(p.bin, "postgres"), args...)
	cmd.Dir, cmd.SysProcAttr = p.root, attr
	p.out = &tail{}
	cmd.Stdout, cmd.Stderr = p.out, p.out
	if err := cmd.Start(); err != nil {
		return err
	}
	ended := make(chan struct{})
	go func() {
		_ = cmd.Wait()
		close(ended)
	}()
	p.cmd, p.ended = cmd, ended
	for {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		err := p.Exec(ctx, `SELECT 1`)
		cancel()
		if err == nil {
			return nil
		}
		if time.Now().After(deadline) {
			p.Kill()
			return fmt.Errorf("PostgreSQL does not answer: %w\n%s", err, p.out)
		}
		select {
		case <-ended:
			return fmt.Errorf("PostgreSQL ended: %w\n%s", err, p.out)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// Exec runs a statement as the superuser, in the database postgres.
func (p *PostgresServer) Exec(ctx context.Context, q string) error {
	c, err := pgx.Connect(ctx, p.URL("postgres", "postgres", ""))
	if err != nil {
		return err
	}
	defer c.Close(context.WithoutCancel(ctx))
	_, err = c.Exec(ctx, q)
	return err
}

// URL is the address of a database for a role; schema may be empty.
func (p *PostgresServer) URL(role, database, schema string) string {
	v := url.Values{"sslmode": {"disable"}}
	if schema != "" {
		v.Set("search_path", schema)
	}
	return fmt.Sprintf("postgres://%s@127.0.0.1:%d/%s?%s", role, p.Port, database, v.Encode())
}

// DSN is the address for Strata's role, in Strata's database, with tables in a schema.
func (p *PostgresServer) DSN(schema string) string { return p.URL("strata", "strata", schema) }

// Pid is the process id of the postmaster.
func (p *PostgresServer) Pid() int { return p.cmd.Process.Pid }

// Stop ends the server as an operator does who is in a hurry: sessions are cut, nothing is lost.
func (p *PostgresServer) Stop() { p.end(syscall.SIGINT) }

// Kill ends the postmaster with SIGKILL; its other processes notice and end.
func (p *PostgresServer) Kill() { p.end(syscall.SIGKILL) }

func (p *PostgresServer) end(s os.Signal) {
	if p.cmd == nil {
		return
	}
	_ = p.cmd.Process.Signal(s)
	<-p.ended
	p.cmd = nil
}

// Close stops the server and removes its files.
func (p *PostgresServer) Close() {
	p.end(syscall.SIGINT)
	_ = os.RemoveAll(p.root)
}
