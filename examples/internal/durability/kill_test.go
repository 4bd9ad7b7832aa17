package durability_test

import (
	"flag"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/activationlock/sdk/examples/internal/database"
)

var (
	kills = flag.Int("kills", 20, "how often a child is killed, for each store")
	stops = flag.Int("stops", 5, "how often a database is stopped or killed, in each way")
	seed  = flag.Uint64("seed", rand.Uint64(), "what chance begins with")
)

// No code is lost when a server is killed.
func TestKill(t *testing.T) {
	t.Parallel()
	t.Logf("seed %d", *seed)
	for _, d := range database.Dialects {
		t.Run(string(d), func(t *testing.T) {
			t.Parallel()
			s := newStorage(newTask(t, database.New(t, d), steady))
			r := rand.New(rand.NewPCG(*seed, 1))
			commits := 0
			for s.Round = range *kills {
				c := start(t, s.task)
				last := append(c.next(t, 1+r.IntN(40)), c.kill(t)...)
				commits += len(last)
				s.reported = append(s.reported, last...)
				require.Empty(t, s.check(t, s.Round == *kills-1), "seed %d, kill %d", *seed, s.Round+1)
			}
			t.Logf("%d kills, %d reported commits, %d records found, %d of them not reported", *kills, commits, s.found, s.unreported)
		})
	}
}

// The same check finds a server out that reports a code before it is committed.
func TestReportBeforeCommit(t *testing.T) {
	t.Parallel()
	for _, d := range database.Dialects {
		t.Run(string(d), func(t *testing.T) {
			t.Parallel()
			s := newStorage(newTask(t, database.New(t, d), early))
			c := start(t, s.task)
			s.reported = append(c.next(t, 1), c.kill(t)...)
			require.Len(t, s.reported, 1)
			faults := s.check(t, true)
			require.Len(t, faults, 1)
			require.True(t, strings.HasPrefix(faults[0], "lost: "), faults[0])
			require.Contains(t, faults[0], s.reported[0].RecordID)
		})
	}
}
