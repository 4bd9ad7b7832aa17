package engine_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/activationlock/sdk/activationlock"
	"github.com/activationlock/sdk/activationlock/engine"
	"github.com/activationlock/sdk/activationlock/memstore"
	"github.com/activationlock/sdk/inventory"
)

// A device that is locked and asked every week for a quarter of a year: what is
// known of its lock stays, however often it says the same.
func TestLockedForWeeks(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.allowed(id, w.enroll(id, serial, iPhone), code)
	facts := dict{}
	for k, v := range iPhone {
		facts[k] = v
	}
	facts["IsActivationLockEnabled"], facts["IsDeviceLocatorServiceEnabled"], facts["IsMDMLostModeEnabled"] = true, true, false
	facts["MDMOptions"] = dict{"ActivationLockAllowedWhileSupervised": true}
	var since time.Time
	for week := range 14 {
		w.now = w.now.Add(7 * 24 * time.Hour)
		out := w.report(id, idle(id))
		for len(out.Commands) > 0 {
			switch c := out.Commands[0]; c.RequestType {
			case "DeviceInformation":
				out = w.report(id, informationAnswer(id, c.UUID, facts))
			case "ActivationLockBypassCode":
				out = w.report(id, codeAnswer(id, c.UUID, code))
			default:
				out = w.report(id, answer(id, c.UUID, "Acknowledged", nil))
			}
		}
		d, err := w.engine.Device(t.Context(), id)
		require.NoError(t, err)
		s := d.Record.Situation(d.Codes, w.now)
		if week == 0 {
			since = s.Lock.Since
		}
		require.Equal(t, since, s.Lock.Since, "week %d", week)
		require.Less(t, len(d.Record.Evidence), 8, "week %d", week)
		require.Equal(t, activationlock.EnabledWithBypassCode, d.Record.Summary.Status)
		require.True(t, s.CanErase(w.now).Yes(), "week %d: %v", week, s.CanErase(w.now))
		require.Equal(t, 7*24*time.Hour, d.Record.Summary.DueAt.Sub(w.now))
	}
}

// What could not be planned, since escrow was down, is due at once: no device is
// forgotten because it happens to be silent from then on.
func TestDueWhereThePlanFailed(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.checkin(id, authenticate(id, serial, "iPhone17,3", "26.1"))
	w.escrowDown = true
	w.checkin(id, tokenUpdate(id))
	claims, err := w.inventory.Claim(t.Context(), w.now, w.now.Add(time.Hour), 9)
	require.NoError(t, err)
	require.Equal(t, []string{id}, []string{claims[0].EnrollmentID})
}

// deaf is an inventory that cannot say who claims a serial number.
type deaf struct {
	inventory.Store
	down bool
}

func (d *deaf) BySerialNumber(ctx context.Context, serial string) ([]inventory.Record, error) {
	if d.down {
		return nil, errors.New("the store is down")
	}
	return d.Store.BySerialNumber(ctx, serial)
}

// That nobody can say who claims a serial number is no finding.
func TestNoDisputeWhereNobodyCanSay(t *testing.T) {
	t.Parallel()
	stores := memstore.New()
	records := &deaf{Store: stores.Inventory()}
	now := time.Date(2026, 11, 22, 9, 0, 0, 0, time.UTC)
	e, err := engine.New(engine.Config{Escrow: escrowOn(t, stores.Escrow()), Inventory: records, Clock: func() time.Time { return now }})
	require.NoError(t, err)
	for _, down := range []bool{false, true} {
		records.down = down
		for _, raw := range [][]byte{authenticate(id, serial, "iPhone17,3", "26.1"), tokenUpdate(id)} {
			_, err := e.HandleCheckin(t.Context(), engine.Enrollment{ID: id}, raw)
			require.NoError(t, err)
		}
		r, err := stores.Inventory().Get(t.Context(), id)
		require.NoError(t, err)
		require.False(t, r.Disputed)
		require.Empty(t, r.Summary.Findings)
	}
}
