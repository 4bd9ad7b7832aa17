//go:build unix

package database

import (
	"context"
	"crypto/rand"
	"database/sql"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/activationlock/sdk/activationlock/sqlstore"
)

// Server is a database server of a test's own, to be stopped in bad ways and to
// be read from outside.
type Server struct {
	Dialect sqlstore.Dialect
	Data    string // the folder of its data
	Log     string // the file of what it says

	bin        string // the folder of PostgreSQL's programs
	dir        string // everything
	arguments  []string
	credential *syscall.Credential
	exited     chan struct{}
	process    *os.Process
}

// patience is how long a server may take to start.
const patience = 30 * time.Second

// NewServer starts a server, with settings as "name=value". It is gone when the
// test is over. Where its programs are not installed the test is skipped, unless
// CI is set.
func NewServer(tb testing.TB, d sqlstore.Dialect, settings ...string) *Server {
	tb.Helper()
	s := &Server{Dialect: d}
	switch d {
	case sqlstore.PostgreSQL:
		s.bin = filepath.Dir(program(tb, postgresPrograms, "postgres"))
		s.prepare(tb, "postgres")
		s.run(tb, filepath.Join(s.bin, "initdb"), "-D", s.Data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "--wal-segsize=1")
		s.arguments = []string{
			filepath.Join(s.bin, "postgres"), "-D", s.Data, "-c", "listen_addresses=", "-c", "unix_socket_directories=" + s.dir,
			"-c", "shared_buffers=8MB", "-c", "max_wal_size=16MB",
		}
		for _, setting := range settings {
			s.arguments = append(s.arguments, "-c", setting)
		}
	case sqlstore.MySQL:
		server := program(tb, []string{"/usr/sbin", "/usr/local/sbin"}, "mariadbd")
		install := program(tb, nil, "mariadb-install-db")
		s.prepare(tb, "")
		options := filepath.Join(s.dir, "my.cnf")
		// At its start a server deletes what others of its kind have in the folder for
		// temporary tables.
		temporary := filepath.Join(s.dir, "tmp")
		require.NoError(tb, os.Mkdir(temporary, 0o700))
		content := []string{
			"[mysqld]", "datadir=" + s.Data, "tmpdir=" + temporary, "socket=" + filepath.Join(s.dir, "socket"), "pid-file=" + filepath.Join(s.dir, "pid"),
			"skip-networking", "innodb_log_file_size=4M", "innodb_buffer_pool_size=16M", "secure_file_priv=" + s.dir,
		}
		if os.Geteuid() == 0 {
			content = append(content, "user=root") // it does not run as root unless told to
		}
		require.NoError(tb, os.WriteFile(options, []byte(strings.Join(append(content, settings...), "\n")+"\n"), 0o600))
		s.run(tb, install, "--defaults-file="+options, "--auth-root-authentication-method=normal", "--skip-test-db")
		s.arguments = []string{server, "--defaults-file=" + options}
	default:
		tb.Fatalf("no server for %s", d)
	}
	tb.Cleanup(func() { s.Kill(tb) })
	s.Start(tb)
	return s
}

// postgresPrograms are folders that are not in the PATH where they are.
var postgresPrograms = func() []string {
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin") // the pattern is not malformed
	slices.Reverse(found)
	return append(found, "/usr/local/pgsql/bin")
}()

// program finds a program of a server.
func program(tb testing.TB, folders []string, name string) string {
	tb.Helper()
	if path, err := exec.LookPath(name); err == nil {
		if path, err = filepath.EvalSymlinks(path); err == nil {
			return path
		}
	}
	for _, folder := range folders {
		if path, err := exec.LookPath(filepath.Join(folder, name)); err == nil {
			return path
		}
	}
	if os.Getenv("CI") != "" {
		tb.Fatalf("program %s is not installed", name)
	}
	tb.Skipf("program %s is not installed", name)
	return ""
}

// prepare makes the folders, for a user if there must be another than root.
func (s *Server) prepare(tb testing.TB, name string) {
	tb.Helper()
	var err error
	s.dir, err = os.MkdirTemp("", "db") // short, since it holds a socket, and not in a folder that only root may enter
	require.NoError(tb, err)
	tb.Cleanup(func() { require.NoError(tb, os.RemoveAll(s.dir)) })
	s.Data, s.Log = filepath.Join(s.dir, "data"), filepath.Join(s.dir, "log")
	if os.Geteuid() != 0 || name == "" {
		return
	}
	account, err := user.Lookup(name)
	require.NoError(tb, err)
	uid, err := strconv.Atoi(account.Uid)
	require.NoError(tb, err)
	gid, err := strconv.Atoi(account.Gid)
	require.NoError(tb, err)
	require.NoError(tb, os.Chown(s.dir, uid, gid))
	s.credential = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
}

func (s *Server) command(name string, arguments ...string) *exec.Cmd {
	c := exec.Command(name, arguments...)
	c.Dir = s.dir
	c.SysProcAttr = &syscall.SysProcAttr{Credential: s.credential}
	return c
}

// run runs a program of the server's.
func (s *Server) run(tb testing.TB, name string, arguments ...string) {
	tb.Helper()
	out, err := s.command(name, arguments...).CombinedOutput()
	require.NoError(tb, err, "%s: %s", filepath.Base(name), out)
}

// Program returns a program that talks to the server, with the arguments that
// say where it is.
func (s *Server) Program(tb testing.TB, name string, arguments ...string) *exec.Cmd {
	tb.Helper()
	if s.Dialect == sqlstore.PostgreSQL {
		return exec.Command(filepath.Join(s.bin, name), append([]string{"-h", s.dir, "-U", "postgres"}, arguments...)...)
	}
	return exec.Command(program(tb, nil, name), append([]string{"--no-defaults", "-S", filepath.Join(s.dir, "socket"), "-u", "root"}, arguments...)...)
}

// Start starts the server if it does not run, and waits until it answers.
func (s *Server) Start(tb testing.TB) {
	tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	db := s.administrator(tb)
	defer db.Close()
	for {
		if s.process == nil {
			s.launch(tb)
		}
		if err := db.PingContext(ctx); err == nil {
			break
		}
		select {
		case <-ctx.Done():
			said, _ := os.ReadFile(s.Log)
			tb.Fatalf("the server does not start: %s", said[max(0, len(said)-4000):])
		case <-s.exited: // processes that were killed may not be gone yet
			s.process = nil
		case <-tick.C:
		}
	}
}

func (s *Server) launch(tb testing.TB) {
	tb.Helper()
	log, err := os.OpenFile(s.Log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	require.NoError(tb, err)
	defer log.Close()
	c := s.command(s.arguments[0], s.arguments[1:]...)
	c.Stdout, c.Stderr = log, log
	require.NoError(tb, c.Start())
	exited := make(chan struct{})
	s.process, s.exited = c.Process, exited
	go func() {
		_ = c.Wait() // that it was killed
		close(exited)
	}()
}

// StopAtOnce stops PostgreSQL as a loss of power does, as far as it can be asked
// to: no buffer is written any more.
func (s *Server) StopAtOnce(tb testing.TB) {
	tb.Helper()
	s.run(tb, filepath.Join(s.bin, "pg_ctl"), "stop", "-D", s.Data, "-m", "immediate", "-W")
	<-s.exited
	s.process = nil
}

// Kill kills the server, all its processes.
func (s *Server) Kill(tb testing.TB) {
	tb.Helper()
	if s.process == nil {
		return
	}
	others := s.others(tb)
	require.NoError(tb, s.process.Kill())
	for _, pid := range others {
		_ = syscall.Kill(pid, syscall.SIGKILL) // which may have ended by itself
	}
	<-s.exited
	s.process = nil
}

// others returns the processes of PostgreSQL except the first, none if it does
// not answer. They end soon after the first.
func (s *Server) others(tb testing.TB) (pids []int) {
	tb.Helper()
	if s.Dialect != sqlstore.PostgreSQL {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	db := s.administrator(tb)
	defer db.Close()
	rows, err := db.QueryContext(ctx, "SELECT pid FROM pg_stat_activity WHERE pid <> pg_backend_pid()")
	if err != nil {
		return nil
	}
	defer rows.Close()
	for rows.Next() {
		var pid int
		require.NoError(tb, rows.Scan(&pid))
		pids = append(pids, pid)
	}
	return pids
}

func (s *Server) source(name string) string {
	if s.Dialect == sqlstore.PostgreSQL {
		return "postgres://postgres@/postgres?host=" + s.dir + "&search_path=" + name
	}
	return "root@unix(" + filepath.Join(s.dir, "socket") + ")/" + name
}

func (s *Server) driver() string {
	if s.Dialect == sqlstore.PostgreSQL {
		return "pgx"
	}
	return "mysql"
}

func (s *Server) administrator(tb testing.TB) *sql.DB {
	tb.Helper()
	db, err := sql.Open(s.driver(), s.source(""))
	require.NoError(tb, err)
	return db
}

// Storage returns a storage on the server, empty and without tables.
func (s *Server) Storage(tb testing.TB) Storage {
	tb.Helper()
	db := s.administrator(tb)
	defer db.Close()
	name := "activationlock_" + strings.ToLower(rand.Text())
	what := map[sqlstore.Dialect]string{sqlstore.PostgreSQL: "SCHEMA", sqlstore.MySQL: "DATABASE"}[s.Dialect]
	_, err := db.ExecContext(tb.Context(), fmt.Sprintf("CREATE %s %s", what, name))
	require.NoError(tb, err)
	return Storage{s.Dialect, s.driver(), s.source(name)}
}
