package engine_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/activationlock/sdk/bypasscode/escrow"
)

// A device enrolls again with a server whose clock is ahead, and gives the code that it
// has still to one whose clock is behind: the code is of this enrollment all the same.
func TestCodeOfThisEnrollmentByAnotherClock(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.allowed(id, w.enroll(id, serial, iPhone), code)
	w.now = w.now.Add(time.Hour)
	ask := w.enroll(id, serial, iPhone)
	require.False(t, w.records(serial)[0].StaleSince.IsZero())
	w.now = w.now.Add(-time.Minute)
	w.one(w.report(id, codeAnswer(id, ask.UUID, code)), "Settings")
	held := w.records(serial)
	require.Len(t, held, 1)
	require.Equal(t, escrow.Current, held[0].State)
	require.Zero(t, held[0].StaleSince)
}
