package cursor

import (
	"encoding/base64"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/activationlock/sdk/inventory"
)

func orders(t testing.TB) (all []Order) {
	t.Helper()
	for _, c := range columns {
		for _, descending := range []bool{false, true} {
			o, err := OrderOf(inventory.Query{Sort: c, Descending: descending})
			require.NoError(t, err)
			all = append(all, o)
		}
	}
	return all
}

var row = inventory.Row{
	EnrollmentID: "id 1", SerialNumber: "12 serial", DeviceName: "", LastSeen: time.Date(1700, 1, 2, 3, 4, 5, 6000, time.UTC),
	Summary: inventory.Summary{Findings: []inventory.Finding{{Severity: inventory.Critical}}},
}

func TestCursors(t *testing.T) {
	t.Parallel()
	for i, o := range orders(t) {
		cursor := o.Cursor(&row)
		p, err := o.Parse(cursor)
		require.NoError(t, err)
		require.Equal(t, o.Place(&row), p)
		require.Zero(t, p.Compare(o.Place(&row)))
		for j, other := range orders(t) {
			if _, err := other.Parse(cursor); i != j {
				require.ErrorIs(t, err, inventory.ErrCursor)
			}
		}
	}
	_, err := OrderOf(inventory.Query{Sort: "findings"})
	require.ErrorContains(t, err, `"findings"`)
}

// Servers of different versions read each other's cursors.
func TestCursorsStay(t *testing.T) {
	t.Parallel()
	var all []string
	for _, o := range orders(t) {
		all = append(all, o.Cursor(&row))
	}
	require.Equal(t, []string{
		"YTAgMCBpZCAx", "QTAgMCBpZCAx", "YjAgOSAxMiBzZXJpYWxpZCAx", "QjAgOSAxMiBzZXJpYWxpZCAx", "YzAgMCBpZCAx", "QzAgMCBpZCAx",
		"ZC04NTIwMjM4NTU0OTk5OTk0IDAgaWQgMQ", "RC04NTIwMjM4NTU0OTk5OTk0IDAgaWQgMQ", "ZTMgMCBpZCAx", "RTMgMCBpZCAx",
	}, all)
}

func TestNoCursors(t *testing.T) {
	t.Parallel()
	for column, list := range map[inventory.Column][]string{
		inventory.ByEnrollmentID: {"", "a", "a0", "a0 0", "a0 0 ", "a0 0 \x00", "a0 0 \xff", "a1 0 id", "a0 1 xid", "ax 0 id", "a0 x id", "a0 -1 id", "a0 9 id", "b0 0 id", "a0 0 " + strings.Repeat("x", 256)},
		inventory.BySerialNumber: {"b1 0 id", "b0 1 \xffid", "b0 1 \x00id", "b0 2 id", "B0 0 id"},
		inventory.ByLastSeen:     {"d0 1 xid", "d 0 id", "d99999999999999999999 0 id"},
	} {
		o, err := OrderOf(inventory.Query{Sort: column})
		require.NoError(t, err)
		for _, raw := range list {
			_, err := o.Parse(base64.RawURLEncoding.EncodeToString([]byte(raw)))
			require.ErrorIs(t, err, inventory.ErrCursor, raw)
		}
		good := o.Cursor(&row)
		for _, cursor := range []string{"", "!", good + "\n", good + "=", " " + good} {
			_, err := o.Parse(cursor)
			require.ErrorIs(t, err, inventory.ErrCursor)
		}
	}
}

func FuzzParse(f *testing.F) {
	all := orders(f)
	for _, o := range all {
		f.Add(o.Cursor(&row))
	}
	f.Fuzz(func(t *testing.T, cursor string) {
		for _, o := range all {
			p, err := o.Parse(cursor)
			if err != nil {
				require.ErrorIs(t, err, inventory.ErrCursor)
				continue
			}
			require.NotEmpty(t, p.ID)
		}
	})
}
