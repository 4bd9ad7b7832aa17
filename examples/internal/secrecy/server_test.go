//go:build unix

package secrecy_test

import (
	"bytes"
	"encoding/binary"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/activationlock/sdk/activationlock/sqlstore"
	"github.com/activationlock/sdk/examples/internal/database"
)

// addFiles adds the files of a folder to the place that is named for each; ""
// leaves one out.
func (p places) addFiles(tb testing.TB, folder string, place func(path string) string) {
	tb.Helper()
	require.NoError(tb, filepath.WalkDir(folder, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() {
			return err
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		within, err := filepath.Rel(folder, path)
		if name := place(within); name != "" {
			p.at(name).Write(content)
		}
		return err
	}))
}

// addFile adds a file to a place.
func (p places) addFile(tb testing.TB, place, path string) {
	tb.Helper()
	content, err := os.ReadFile(path)
	require.NoError(tb, err)
	p.at(place).Write(content)
}

// addOutput adds what a program of the server writes.
func (p places) addOutput(tb testing.TB, place string, s *database.Server, name string, arguments ...string) {
	tb.Helper()
	command := s.Program(tb, name, arguments...)
	command.Stderr = os.Stderr
	out, err := command.Output()
	require.NoError(tb, err, name)
	p.at(place).Write(out)
}

// A PostgreSQL that writes everything to its log which it can.
func TestPostgreSQL(t *testing.T) {
	t.Parallel()
	server := database.NewServer(t, sqlstore.PostgreSQL, "log_statement=all", "log_min_duration_statement=0",
		"log_parameter_max_length=-1", "log_parameter_max_length_on_error=-1", "log_error_verbosity=verbose",
		"log_min_messages=debug1", "log_min_error_statement=debug1", "debug_print_plan=on", "wal_level=logical")
	r := live(t, server.Storage(t))
	r.plantEveryForm()
	_, err := r.db.Exec("CHECKPOINT")
	require.NoError(t, err)

	r.places.addFiles(t, server.Data, func(path string) string {
		switch strings.Split(filepath.ToSlash(path), "/")[0] {
		case "base":
			return "tables"
		case "pg_wal":
			return "write-ahead log"
		}
		return "other files"
	})
	r.places.at("write-ahead log").Write(withoutPages(r.places["write-ahead log"].Bytes()))
	r.places.addFile(t, "log of the server", server.Log)
	r.places.addOutput(t, "dump", server, "pg_dump", "postgres")
	r.places.addOutput(t, "dump", server, "pg_dump", "--inserts", "postgres")
	for _, place := range []string{"tables", "write-ahead log", "log of the server", "dump"} {
		r.places.everyForm(t, place)
	}
	require.Contains(t, r.places["log of the server"].String(), "parameters: $1")
	require.Contains(t, r.places["log of the server"].String(), "Failing row contains")
	r.places.plant("other files")
	r.places.search(t, r.secrets)
}

// withoutPages takes the headers out of a write-ahead log of PostgreSQL, so that
// what goes on on the next page is whole.
func withoutPages(log []byte) (content []byte) {
	const (
		page       = 8 << 10
		short      = 24
		long       = 40
		longHeader = 2 // in the second field
	)
	for ; len(log) >= page; log = log[page:] {
		header := short
		if binary.NativeEndian.Uint16(log[2:])&longHeader != 0 {
			header = long
		}
		content = append(content, log[header:page]...)
	}
	return content
}

// A MariaDB that writes everything to its logs which it can.
func TestMySQL(t *testing.T) {
	t.Parallel()
	server := database.NewServer(t, sqlstore.MySQL, "general_log=ON", "general_log_file=general.log", "slow_query_log=ON",
		"slow_query_log_file=slow.log", "long_query_time=0", "log_warnings=9", "log_bin=binary", "sync_binlog=1", "binlog_format=ROW")
	r := live(t, server.Storage(t))
	r.plantEveryForm()
	conn, err := r.db.Conn(t.Context())
	require.NoError(t, err)
	_, err = conn.ExecContext(t.Context(), "FLUSH TABLES activationlock_codes, activationlock_actions, activationlock_audit, planted_text, planted_bytes FOR EXPORT") // writes their pages
	require.NoError(t, err)

	r.places.addFiles(t, server.Data, func(path string) string {
		switch name := filepath.Base(path); {
		case name == "general.log", name == "slow.log", name == "ib_logfile0":
			return name
		case strings.HasPrefix(name, "binary."):
			return "binary log"
		case strings.HasSuffix(name, ".ibd") && strings.HasPrefix(path, "activationlock_"):
			return "tables"
		}
		return "other files"
	})
	_, err = conn.ExecContext(t.Context(), "UNLOCK TABLES")
	require.NoError(t, err)
	require.NoError(t, conn.Close())
	r.places.addFile(t, "other files", server.Log)
	r.places.addOutput(t, "dump", server, "mariadb-dump", "--all-databases")
	r.places.addOutput(t, "dump in hexadecimal digits", server, "mariadb-dump", "--all-databases", "--hex-blob")
	for _, place := range []string{"general.log", "slow.log", "dump", "dump in hexadecimal digits"} {
		r.places.at(place).Write(unquoted(r.places[place].Bytes()))
	}
	for _, place := range []string{"general.log", "slow.log", "ib_logfile0", "binary log", "tables", "dump", "dump in hexadecimal digits"} {
		r.places.everyForm(t, place)
	}
	r.places.plant("other files")
	r.places.search(t, r.secrets)
}

// unquoted takes the backslashes out that MySQL writes. Which bytes get one
// depends on the character set.
func unquoted(text []byte) (content []byte) {
	for i := 0; i < len(text); i++ {
		b := text[i]
		if b == '\\' && i+1 < len(text) {
			i++
			b = text[i]
			if at := bytes.IndexByte([]byte("0nrZ"), b); at >= 0 {
				b = "\x00\n\r\x1a"[at]
			}
		}
		content = append(content, b)
	}
	return content
}
