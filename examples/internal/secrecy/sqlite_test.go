package secrecy_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/activationlock/sdk/activationlock/sqlstore"
	"github.com/activationlock/sdk/examples/internal/database"
)

// The files are looked at as a crash leaves them, and after the last connection
// is closed.
func TestSQLite(t *testing.T) {
	t.Parallel()
	s := database.New(t, sqlstore.SQLite)
	r := live(t, s)
	r.plantEveryForm()
	_, err := r.db.Exec("PRAGMA wal_checkpoint(PASSIVE)") // the log stays as it is
	require.NoError(t, err)
	for _, suffix := range []string{"", "-wal", "-shm", "-journal"} {
		content, err := os.ReadFile(s.Source + suffix)
		if suffix == "-journal" {
			require.ErrorIs(t, err, os.ErrNotExist)
			continue
		}
		require.NoError(t, err)
		require.NotEmpty(t, content)
		if suffix == "-shm" { // an index, too small for a code
			suffix = ""
		}
		r.places.at("file" + suffix).Write(content)
	}
	r.places.everyForm(t, "file-wal")
	r.places.everyForm(t, "file")
	require.NoError(t, r.db.Close())
	files, err := filepath.Glob(s.Source + "*")
	require.NoError(t, err)
	require.NotEmpty(t, files)
	for _, file := range files {
		content, err := os.ReadFile(file)
		require.NoError(t, err)
		r.places.at("file when it is closed").Write(content)
	}
	r.places.everyForm(t, "file when it is closed")
	r.places.search(t, r.secrets)
}
