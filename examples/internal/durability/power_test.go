//go:build unix

package durability_test

import (
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/activationlock/sdk/activationlock/sqlstore"
	"github.com/activationlock/sdk/examples/internal/database"
)

// No code is lost when the database ends as it does when the power goes: nothing
// that it has in memory is written any more. The server that uses it lives on,
// and tries again what fails.
func TestPowerStop(t *testing.T) {
	t.Parallel()
	t.Logf("seed %d", *seed)
	for _, way := range []struct {
		name    string
		dialect sqlstore.Dialect
		stop    func(*database.Server, testing.TB)
	}{
		{"postgresql stopped with -m immediate", sqlstore.PostgreSQL, (*database.Server).StopAtOnce},
		{"postgresql killed", sqlstore.PostgreSQL, (*database.Server).Kill},
		{"mysql killed", sqlstore.MySQL, (*database.Server).Kill},
	} {
		t.Run(way.name, func(t *testing.T) {
			t.Parallel()
			server := database.NewServer(t, way.dialect)
			s := newStorage(newTask(t, server.Storage(t), patient))
			r := rand.New(rand.NewPCG(*seed, 2))
			c := start(t, s.task)
			commits := 0
			for stop := range *stops {
				last := c.next(t, 1+r.IntN(40))
				way.stop(server, t)
				server.Start(t)
				commits += len(last)
				s.reported = append(s.reported, last...)
				require.Empty(t, s.check(t, false), "seed %d, stop %d", *seed, stop+1)
			}
			last := c.kill(t)
			commits += len(last)
			s.reported = append(s.reported, last...)
			require.Empty(t, s.check(t, true), "seed %d, at the end", *seed)
			t.Logf("%d stops, %d reported commits, %d records found, %d of them not reported", *stops, commits, s.found, s.unreported)
		})
	}
}
