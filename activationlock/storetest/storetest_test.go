package storetest_test

import (
	"maps"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/activationlock/sdk/activationlock/memstore"
	"github.com/activationlock/sdk/activationlock/storetest"
	"github.com/activationlock/sdk/bypasscode/escrow"
)

// handles makes fresh of a function that makes storages, each of which is a
// function that makes handles.
func handles(storage func() func() escrow.Store) func(*testing.T, func() time.Time) func(*testing.T) escrow.Store {
	return func(t *testing.T, _ func() time.Time) func(*testing.T) escrow.Store {
		t.Parallel()
		open := storage()
		return func(*testing.T) escrow.Store { return open() }
	}
}

func TestStoresThatKeepTheirPromises(t *testing.T) {
	t.Parallel()
	t.Run("memstore", func(t *testing.T) {
		t.Parallel()
		storetest.Escrow(t, func(t *testing.T, _ func() time.Time) func(*testing.T) escrow.Store {
			t.Parallel()
			s := memstore.New()
			return func(*testing.T) escrow.Store { return s.Escrow() }
		})
	})
	t.Run("all that is allowed", func(t *testing.T) {
		t.Parallel()
		storetest.Escrow(t, handles(broken{bend: func(s *store) {
			for _, name := range slices.Sorted(maps.Keys(lawful)) {
				lawful[name](s)
			}
		}}.handles))
	})
}

// brokenStore is the environment variable with the name of the store that a
// second process tests.
const brokenStore = "STORETEST_BROKEN_STORE"

// The test of a broken store has to fail, so it runs in a process of its own.
func TestStoresThatBreakAPromise(t *testing.T) {
	t.Parallel()
	if name := os.Getenv(brokenStore); name != "" {
		at := slices.IndexFunc(brokenStores, func(b broken) bool { return b.name == name })
		require.GreaterOrEqual(t, at, 0)
		storetest.Escrow(t, handles(brokenStores[at].handles))
		return
	}
	names := map[string]bool{}
	for _, b := range brokenStores {
		require.False(t, names[b.name], "two stores are called %q", b.name)
		names[b.name] = true
		t.Run(b.name, func(t *testing.T) {
			t.Parallel()
			command := exec.CommandContext(t.Context(), os.Args[0], "-test.timeout=1m", "-test.run=^"+t.Name()[:strings.Index(t.Name(), "/")]+"$/^"+b.at+"$")
			command.Env = append(os.Environ(), brokenStore+"="+b.name)
			output, err := command.CombinedOutput()
			var exit *exec.ExitError
			require.ErrorAs(t, err, &exit, "the store passed: %s", output)
			assert.Equal(t, 1, exit.ExitCode())
			assert.Contains(t, string(output), "--- FAIL: TestStoresThatBreakAPromise/"+b.at)
			assert.Contains(t, string(output), b.promise)
			assert.NotContains(t, string(output), "panic:")
			assert.NotContains(t, string(output), "DATA RACE")
		})
	}
}
