package sqlstore

import (
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/activationlock/sdk/bypasscode"
	"github.com/activationlock/sdk/bypasscode/escrow"
)

// field is a part of an entry, as a column has it.
type field interface {
	driver.Valuer
	sql.Scanner
}

// columns are the columns of an entry; those that never change come first.
var columns = []struct {
	name  string
	field func(*escrow.Entry) field
}{
	{"id", func(e *escrow.Entry) field { return (*text)(&e.ID) }},
	{"serial_number", func(e *escrow.Entry) field { return (*identifier)(&e.Subject.SerialNumber) }},
	{"enrollment_id", func(e *escrow.Entry) field { return (*identifier)(&e.Subject.EnrollmentID) }},
	{"kind", func(e *escrow.Entry) field { return (*text)(&e.Kind) }},
	{"first_seen", func(e *escrow.Entry) field { return (*instant)(&e.FirstSeen) }},

	{"state", func(e *escrow.Entry) field { return (*detail)(&e.State) }},
	{"state_since", func(e *escrow.Entry) field { return (*instant)(&e.StateSince) }},
	{"state_reason", func(e *escrow.Entry) field { return (*detail)(&e.StateReason) }},
	{"cause", func(e *escrow.Entry) field { return (*detail)(&e.Cause) }},
	{"given_by", func(e *escrow.Entry) field { return (*detail)(&e.EnrollmentID) }},
	{"command_uuid", func(e *escrow.Entry) field { return (*detail)(&e.CommandUUID) }},
	{"asked_at", func(e *escrow.Entry) field { return (*instant)(&e.AskedAt) }},
	{"received_at", func(e *escrow.Entry) field { return (*instant)(&e.ReceivedAt) }},
	{"last_seen", func(e *escrow.Entry) field { return (*instant)(&e.LastSeen) }},
	{"stale_since", func(e *escrow.Entry) field { return (*instant)(&e.StaleSince) }},
	{"stale_reason", func(e *escrow.Entry) field { return (*detail)(&e.StaleReason) }},
	{"deleted_at", func(e *escrow.Entry) field { return (*instant)(&e.DeletedAt) }},
	{"device_serial_number", func(e *escrow.Entry) field { return (*detail)(&e.Device.SerialNumber) }},
	{"device_udid", func(e *escrow.Entry) field { return (*detail)(&e.Device.UDID) }},
	{"device_product_type", func(e *escrow.Entry) field { return (*detail)(&e.Device.ProductType) }},
	{"device_imei", func(e *escrow.Entry) field { return (*detail)(&e.Device.IMEI) }},
	{"device_imei2", func(e *escrow.Entry) field { return (*detail)(&e.Device.IMEI2) }},
	{"device_meid", func(e *escrow.Entry) field { return (*detail)(&e.Device.MEID) }},
	{"hash", func(e *escrow.Entry) field { return (*hash)(&e.Hash) }},
	{"digest", func(e *escrow.Entry) field { return (*detail)(&e.Digest) }},
	{"sealed", func(e *escrow.Entry) field { return (*blob)(&e.Sealed) }},
	{"recovery_copy", func(e *escrow.Entry) field { return (*blob)(&e.RecoveryCopy) }},
}

// fixed is the number of columns that never change.
const fixed = 5

// names returns columns as a list, each with a prefix.
func names(prefix string) string {
	list := make([]string, len(columns))
	for i, c := range columns {
		list[i] = prefix + c.name
	}
	return strings.Join(list, ", ")
}

// values returns what an entry's columns from one on hold.
func values(e *escrow.Entry, from int) ([]any, error) {
	list := make([]any, 0, len(columns)+1)
	for _, c := range columns[from:] {
		v, err := c.field(e).Value()
		if err != nil {
			return nil, fmt.Errorf("sqlstore: %s: %w", c.name, err)
		}
		list = append(list, v)
	}
	return list, nil
}

// filed is an entry with its place in the order of filing.
type filed struct {
	seq int64
	escrow.Entry
}

// scan reads rows of a place and the columns of an entry.
func scan(rows *sql.Rows) (found []filed, err error) {
	defer rows.Close()
	for rows.Next() {
		var f filed
		into := make([]any, 0, len(columns)+1)
		into = append(into, &f.seq)
		for _, c := range columns {
			into = append(into, c.field(&f.Entry))
		}
		if err := rows.Scan(into...); err != nil {
			return nil, err
		}
		found = append(found, f)
	}
	if rows.Err() != nil {
		return nil, rows.Err()
	}
	return found, rows.Close() // after the answer to a CALL, too
}

// entriesOf leaves the places out.
func entriesOf(found []filed) (entries []escrow.Entry) {
	for _, f := range found {
		entries = append(entries, f.Entry)
	}
	return entries
}

var (
	errColumn = errors.New("is not what this package writes")
	errBounds = errors.New("is not what can be kept")
)

// text is never NULL.
type text string

func (t text) Value() (driver.Value, error) {
	if t != "" && !escrow.ValidIdentifier(string(t)) {
		return nil, errBounds
	}
	return string(t), nil
}

func (t *text) Scan(src any) error {
	switch src := src.(type) {
	case string:
		if string(*t) != src { // often it is what the row before has
			*t = text(src)
		}
	case []byte:
		if string(*t) != string(src) {
			*t = text(src)
		}
	default:
		return errColumn
	}
	return nil
}

// detail is text that is written again when its entry changes. What is damaged is
// made into what can be kept, or nothing of its subject could change any more, and
// no new code supersede it.
type detail string

func (d detail) Value() (driver.Value, error) { return text(d).Value() }

func (d *detail) Scan(src any) error {
	if err := (*text)(d).Scan(src); err != nil {
		return err
	}
	if s := string(*d); s != "" && !escrow.ValidIdentifier(s) {
		s = strings.ToValidUTF8(strings.ReplaceAll(s, "\x00", "?"), "?")
		for len(s) > escrow.MaxIdentifier {
			_, last := utf8.DecodeLastRuneInString(s)
			s = s[:len(s)-last]
		}
		*d = detail(s)
	}
	return nil
}

// identifier is NULL if it is empty.
type identifier string

func (i identifier) Value() (driver.Value, error) {
	if i == "" {
		return nil, nil
	}
	return text(i).Value()
}

func (i *identifier) Scan(src any) error {
	if src == nil {
		*i = ""
		return nil
	}
	return (*text)(i).Scan(src)
}

// instant is in microseconds, NULL if it is zero.
type instant time.Time

func (i instant) Value() (driver.Value, error) {
	if time.Time(i).IsZero() {
		return nil, nil
	}
	return time.Time(i).UnixMicro(), nil
}

func (i *instant) Scan(src any) error {
	var micros int64
	switch src := src.(type) {
	case nil:
		*i = instant{}
		return nil
	case int64:
		micros = src
	case []byte:
		var err error
		if micros, err = strconv.ParseInt(string(src), 10, 64); err != nil {
			return errColumn
		}
	default:
		return errColumn
	}
	*i = instant(time.UnixMicro(micros).UTC())
	return nil
}

// blob is NULL if it is empty.
type blob []byte

func (b blob) Value() (driver.Value, error) {
	if len(b) > escrow.MaxSealed {
		return nil, errBounds
	}
	if len(b) == 0 {
		return nil, nil
	}
	return []byte(b), nil
}

func (b *blob) Scan(src any) error {
	switch src := src.(type) {
	case nil:
		*b = nil
	case []byte:
		*b = slices.Clone(src)
	default:
		return errColumn
	}
	return nil
}

// hash is in hexadecimal digits, empty if it is zero.
type hash bypasscode.Hash

func (h hash) Value() (driver.Value, error) {
	if h == (hash{}) {
		return "", nil
	}
	return bypasscode.Hash(h).String(), nil
}

// Scan takes what is damaged for no hash: no device is locked with it then, and
// the other codes still come.
func (h *hash) Scan(src any) error {
	var digits text
	if err := digits.Scan(src); err != nil {
		return err
	}
	parsed, err := bypasscode.ParseHash(string(digits))
	if err != nil {
		parsed = bypasscode.Hash{}
	}
	*h = hash(parsed)
	return nil
}
