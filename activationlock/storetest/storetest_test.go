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

	"github.com/activationlock/sdk/activationlock/bypass"
	"github.com/activationlock/sdk/activationlock/memstore"
	"github.com/activationlock/sdk/activationlock/storetest"
	"github.com/activationlock/sdk/bypasscode/audit"
	"github.com/activationlock/sdk/bypasscode/escrow"
)

// handles makes fresh of a function that makes storages, each of which is a
// function that makes handles.
func handles[S any](storage func() func() S) func(*testing.T, func() time.Time) func(*testing.T) S {
	return func(t *testing.T, _ func() time.Time) func(*testing.T) S {
		t.Parallel()
		open := storage()
		return func(*testing.T) S { return open() }
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
	t.Run("memstore's audit", func(t *testing.T) {
		t.Parallel()
		storetest.Audit(t, func(t *testing.T, _ func() time.Time) func(*testing.T) audit.Store {
			t.Parallel()
			s := memstore.New()
			return func(*testing.T) audit.Store { return s.Audit() }
		})
	})
	t.Run("memstore's actions", func(t *testing.T) {
		t.Parallel()
		storetest.Actions(t, func(t *testing.T, _ func() time.Time) func(*testing.T) bypass.Store {
			t.Parallel()
			s := memstore.New()
			return func(*testing.T) bypass.Store { return s.Actions() }
		})
	})
	t.Run("all that is allowed to actions", func(t *testing.T) {
		t.Parallel()
		storetest.Actions(t, handles(brokenActions{bend: func(s *actionStore) {
			for _, name := range slices.Sorted(maps.Keys(lawfulActions)) {
				lawfulActions[name](s)
			}
		}}.handles))
	})
	t.Run("all that is allowed to an audit", func(t *testing.T) {
		t.Parallel()
		storetest.Audit(t, handles(brokenAudit{bend: func(s *auditStore) {
			for _, name := range slices.Sorted(maps.Keys(lawfulAudit)) {
				lawfulAudit[name](s)
			}
		}}.handles))
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
			finds(t, b.name, b.at, b.promise)
		})
	}
}

// An audit that breaks a promise is found in the same way.
func TestAuditsThatBreakAPromise(t *testing.T) {
	t.Parallel()
	if name := os.Getenv(brokenStore); name != "" {
		at := slices.IndexFunc(brokenAudits, func(b brokenAudit) bool { return b.name == name })
		require.GreaterOrEqual(t, at, 0)
		storetest.Audit(t, handles(brokenAudits[at].handles))
		return
	}
	names := map[string]bool{}
	for _, b := range brokenAudits {
		require.False(t, names[b.name], "two audits are called %q", b.name)
		names[b.name] = true
		t.Run(b.name, func(t *testing.T) {
			t.Parallel()
			finds(t, b.name, b.at, b.promise)
		})
	}
}

// So is a store of actions that breaks a promise.
func TestActionsThatBreakAPromise(t *testing.T) {
	t.Parallel()
	if name := os.Getenv(brokenStore); name != "" {
		at := slices.IndexFunc(brokenActionStores, func(b brokenActions) bool { return b.name == name })
		require.GreaterOrEqual(t, at, 0)
		storetest.Actions(t, handles(brokenActionStores[at].handles))
		return
	}
	names := map[string]bool{}
	for _, b := range brokenActionStores {
		require.False(t, names[b.name], "two stores are called %q", b.name)
		names[b.name] = true
		t.Run(b.name, func(t *testing.T) {
			t.Parallel()
			finds(t, b.name, b.at, b.promise)
		})
	}
}

// finds runs a case of this test on a broken store, in a second process: it has
// to fail, and to say why.
func finds(t *testing.T, name, at, promise string) {
	t.Helper()
	test, _, _ := strings.Cut(t.Name(), "/")
	command := exec.CommandContext(t.Context(), os.Args[0], "-test.timeout=1m", "-test.run=^"+test+"$/^"+at+"$")
	command.Env = append(os.Environ(), brokenStore+"="+name)
	output, err := command.CombinedOutput()
	var exit *exec.ExitError
	require.ErrorAs(t, err, &exit, "the store passed: %s", output)
	assert.Equal(t, 1, exit.ExitCode())
	assert.Contains(t, string(output), "--- FAIL: "+test+"/"+at)
	assert.Contains(t, string(output), promise)
	assert.NotContains(t, string(output), "panic:")
	assert.NotContains(t, string(output), "DATA RACE")
}
