// Package cursor marks the places of rows in the order of a report.
package cursor

import (
	"cmp"
	"encoding/base64"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/activationlock/sdk/bypasscode/escrow"
	"github.com/activationlock/sdk/inventory"
)

// columns have an index in a cursor, so their order stays.
var columns = []inventory.Column{
	inventory.ByEnrollmentID, inventory.BySerialNumber, inventory.ByDeviceName, inventory.ByLastSeen, inventory.BySeverity,
}

// Order is the order of a query's rows.
type Order struct {
	column     inventory.Column
	descending bool
}

// OrderOf returns the order of a query, and an error if it sorts by an unknown
// column.
func OrderOf(q inventory.Query) (Order, error) {
	if !slices.Contains(columns, q.Sort) {
		return Order{}, fmt.Errorf("inventory: list: no rows are sorted by %q", string(q.Sort))
	}
	return Order{q.Sort, q.Descending}, nil
}

// Place is where a row is in an order: by a text or a number, and then by its
// enrollment ID.
type Place struct {
	Text   string
	Number int64
	ID     string
}

// Compare compares places of one order, as if it ascends.
func (p Place) Compare(other Place) int {
	return cmp.Or(strings.Compare(p.Text, other.Text), cmp.Compare(p.Number, other.Number), strings.Compare(p.ID, other.ID))
}

// Place returns the place of a row.
func (o Order) Place(r *inventory.Row) Place {
	p := Place{ID: r.EnrollmentID}
	switch o.column {
	case inventory.BySerialNumber:
		p.Text = r.SerialNumber
	case inventory.ByDeviceName:
		p.Text = r.DeviceName
	case inventory.ByLastSeen:
		p.Number = r.LastSeen.UnixMicro() // also if it is zero, and so before all others
	case inventory.BySeverity:
		p.Number = int64(r.Summary.Severity())
	}
	return p
}

// Cursor returns a row's cursor.
func (o Order) Cursor(r *inventory.Row) string {
	p := o.Place(r)
	var space, encoded [256]byte // without an allocation, if that is enough
	raw := append(space[:0], o.letter())
	raw = strconv.AppendInt(raw, p.Number, 10)
	raw = append(raw, ' ')
	raw = strconv.AppendInt(raw, int64(len(p.Text)), 10)
	raw = append(raw, ' ')
	raw = append(append(raw, p.Text...), p.ID...)
	return string(base64.RawURLEncoding.AppendEncode(encoded[:0], raw))
}

func (o Order) letter() byte {
	first := 'a'
	if o.descending {
		first = 'A'
	}
	return byte(int(first) + slices.Index(columns, o.column))
}

// Parse returns the place of a cursor, or [inventory.ErrCursor].
func (o Order) Parse(cursor string) (Place, error) {
	raw, err := base64.RawURLEncoding.DecodeString(cursor)
	if err != nil || len(raw) == 0 || raw[0] != o.letter() || base64.RawURLEncoding.EncodeToString(raw) != cursor {
		return Place{}, inventory.ErrCursor
	}
	number, rest, _ := strings.Cut(string(raw[1:]), " ")
	size, rest, _ := strings.Cut(rest, " ")
	p := Place{}
	n, err := strconv.Atoi(size)
	if err != nil || n < 0 || n > len(rest) {
		return Place{}, inventory.ErrCursor
	}
	if p.Number, err = strconv.ParseInt(number, 10, 64); err != nil {
		return Place{}, inventory.ErrCursor
	}
	p.Text, p.ID = rest[:n], rest[n:]
	text := o.column == inventory.BySerialNumber || o.column == inventory.ByDeviceName
	switch {
	case !escrow.ValidIdentifier(p.ID), p.Text != "" && (!text || !escrow.ValidIdentifier(p.Text)):
		return Place{}, inventory.ErrCursor
	case p.Number != 0 && (text || o.column == inventory.ByEnrollmentID):
		return Place{}, inventory.ErrCursor
	}
	return p, nil
}
