package inventory_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/activationlock/sdk/activationlock/memstore"
	"github.com/activationlock/sdk/bypasscode/escrow"
	"github.com/activationlock/sdk/inventory"
)

func TestRefresh(t *testing.T) {
	t.Parallel()
	store := memstore.New().Inventory()
	for id, r := range map[string]inventory.Record{
		"live":    {Facts: inventory.Facts{SerialNumber: "S"}, TokenAt: at(1), Summary: inventory.Summary{DueAt: at(100)}},
		"ended":   {Facts: inventory.Facts{SerialNumber: "S"}, TokenAt: at(1), CheckedOutAt: at(2)},
		"overdue": {Facts: inventory.Facts{SerialNumber: "S"}, Summary: inventory.Summary{DueAt: at(3)}},
		"another": {Facts: inventory.Facts{SerialNumber: "T"}, Summary: inventory.Summary{DueAt: at(100)}},
		"unnamed": {Summary: inventory.Summary{DueAt: at(100)}},
	} {
		require.NoError(t, store.Update(t.Context(), id, func(to *inventory.Record) error {
			r.EnrollmentID = id
			r.SetGroups("Leiden")
			*to = r
			return nil
		}))
	}
	due := func() map[string]time.Time {
		found := map[string]time.Time{}
		rows, err := store.List(t.Context(), inventory.Query{Limit: 9})
		require.NoError(t, err)
		for _, row := range rows {
			found[row.EnrollmentID] = row.Summary.DueAt
		}
		return found
	}
	before := due()
	for _, nobody := range []escrow.Subject{{}, {SerialNumber: "live"}, {EnrollmentID: "S"}, {SerialNumber: "U"}} {
		require.NoError(t, inventory.Refresh(t.Context(), store, nobody, at(9)))
		require.Equal(t, before, due(), "%+v", nobody)
	}

	now := at(9).In(time.FixedZone("", 3600)).Add(999)
	require.NoError(t, inventory.Refresh(t.Context(), store, escrow.Subject{SerialNumber: "S"}, now))
	require.Equal(t, map[string]time.Time{"live": at(9), "ended": at(9), "overdue": at(3), "another": at(100), "unnamed": at(100)}, due())
	require.NoError(t, inventory.Refresh(t.Context(), store, escrow.Subject{EnrollmentID: "unnamed"}, now))
	require.Equal(t, at(9), due()["unnamed"])

	// Nothing else changed.
	r, err := store.Get(t.Context(), "live")
	require.NoError(t, err)
	require.Equal(t, inventory.Record{
		EnrollmentID: "live", TokenAt: at(1), Groups: []string{"Leiden"}, Facts: inventory.Facts{SerialNumber: "S"}, Summary: inventory.Summary{DueAt: at(9)},
	}, r)

	over, stop := context.WithCancel(t.Context())
	stop()
	for _, subject := range []escrow.Subject{{SerialNumber: "T"}, {EnrollmentID: "another"}} {
		require.ErrorIs(t, inventory.Refresh(over, store, subject, now), context.Canceled)
		require.ErrorIs(t, inventory.Refresh(t.Context(), readOnly{store}, subject, now), errReadOnly)
	}
	require.Equal(t, at(100), due()["another"])
}

var errReadOnly = errors.New("read only")

type readOnly struct{ inventory.Store }

func (readOnly) Update(context.Context, string, func(*inventory.Record) error) error {
	return errReadOnly
}
