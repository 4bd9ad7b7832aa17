package sqlstore

import (
	"database/sql"
	"database/sql/driver"
	"strconv"
	"strings"
	"time"

	"github.com/activationlock/sdk/inventory"
)

// device is a row of activationlock_devices.
type device struct {
	inventory.Row
	severity   severity // which is that of the first finding, too
	searchable searchable
	body       text
}

// deviceColumns are its columns but those of a claim. A report reads those before
// severity, and a record is read from those and the body.
var deviceColumns = []struct {
	name  string
	field func(*device) field
}{
	{"enrollment_id", func(d *device) field { return (*text)(&d.EnrollmentID) }},
	{"serial_number", func(d *device) field { return (*text)(&d.SerialNumber) }},
	{"device_name", func(d *device) field { return (*text)(&d.DeviceName) }},
	{"model_name", func(d *device) field { return (*text)(&d.ModelName) }},
	{"product_name", func(d *device) field { return (*text)(&d.ProductName) }},
	{"platform", func(d *device) field { return (*text)(&d.Platform) }},
	{"os_version", func(d *device) field { return (*text)(&d.OSVersion) }},
	{"ownership", func(d *device) field { return (*text)(&d.Ownership) }},
	{"group_names", func(d *device) field { return (*groupNames)(&d.Groups) }},
	{"supervised", func(d *device) field { return fact{&d.Supervised} }},
	{"live", func(d *device) field { return (*flag)(&d.Live) }},
	{"last_seen", func(d *device) field { return (*lastSeen)(&d.LastSeen) }},
	{"status", func(d *device) field { return (*text)(&d.Summary.Status) }},
	{"lock_kind", func(d *device) field { return (*text)(&d.Summary.LockKind) }},
	{"reassign", func(d *device) field { return (*text)(&d.Summary.Reassign) }},
	{"code_since", func(d *device) field { return (*instant)(&d.Summary.CodeSince) }},
	{"inventory_at", func(d *device) field { return (*instant)(&d.Summary.InventoryAt) }},
	{"findings", func(d *device) field { return (*findings)(&d.Summary.Findings) }},
	{"summary_at", func(d *device) field { return (*instant)(&d.Summary.At) }},
	{"due_at", func(d *device) field { return (*instant)(&d.Summary.DueAt) }},

	{"severity", func(d *device) field { return &d.severity }},
	{"searchable", func(d *device) field { return &d.searchable }},
	{"body", func(d *device) field { return (*body)(&d.body) }},
}

// reported is the number of columns that a report reads.
var reported = len(deviceColumns) - 3

// deviceNames returns the columns of a report, and what is read besides.
func deviceNames(besides ...string) string {
	var list []string
	for _, c := range deviceColumns[:reported] {
		list = append(list, c.name)
	}
	return strings.Join(append(list, besides...), ", ")
}

// deviceValues returns what a record's columns hold.
func deviceValues(r *inventory.Record) ([]any, error) {
	encoded, err := encode(r, maxRecord)
	if err != nil {
		return nil, errRecord
	}
	d := device{Row: inventory.RowOf(r), severity: severity(r.Summary.Severity()), body: text(encoded)}
	d.searchable = searchable(searchableOf(&d.Row))
	values := make([]any, len(deviceColumns), len(deviceColumns)+1)
	for i, c := range deviceColumns {
		if values[i], err = c.field(&d).Value(); err != nil {
			return nil, errRecord
		}
	}
	return values, nil
}

// scanDevices passes rows of the columns of a report, and of a body if there is
// one, to a function.
func scanDevices(rows *sql.Rows, withBody bool, pass func(*device)) error {
	defer rows.Close()
	var d device
	into := make([]any, 0, len(deviceColumns))
	for _, c := range deviceColumns[:reported] {
		into = append(into, c.field(&d))
	}
	if withBody {
		into = append(into, (*body)(&d.body))
	}
	for rows.Next() {
		if err := rows.Scan(into...); err != nil {
			return err
		}
		pass(&d)
	}
	if rows.Err() != nil {
		return rows.Err()
	}
	return rows.Close() // after the answer to a CALL, too
}

// record returns the record of a row with a body, and whether there is more in it.
// Where the body was damaged it is what the other columns say: the device must not
// be kept from being looked at for ever, nor others from being found.
func (d *device) record() (r inventory.Record, newer, damaged bool) {
	r, whole, err := decode[inventory.Record]([]byte(d.body))
	if err != nil {
		r = inventory.Record{Ownership: d.Ownership, Groups: d.Groups, LastSeen: d.LastSeen, Facts: inventory.Facts{
			SerialNumber: d.SerialNumber, DeviceName: d.DeviceName, ModelName: d.ModelName, ProductName: d.ProductName,
			OSVersion: d.OSVersion, Supervised: d.Supervised,
		}, Summary: d.Summary}
		if d.Live {
			r.TokenAt = d.LastSeen
		}
	}
	r.EnrollmentID = d.EnrollmentID // by which it was found, and has to be again
	return r, err == nil && !whole, err != nil
}

// body is text of any length.
type body text

func (b body) Value() (driver.Value, error) { return string(b), nil }
func (b *body) Scan(src any) error          { return (*text)(b).Scan(src) }

// severity is a number.
type severity int64

func (s severity) Value() (driver.Value, error) { return int64(s), nil }
func (s *severity) Scan(src any) error          { return scanNumber(src, (*int64)(s)) }

func scanNumber(src any, into *int64) error {
	switch src := src.(type) {
	case int64:
		*into = src
		return nil
	case []byte:
		n, err := strconv.ParseInt(string(src), 10, 64)
		if err != nil {
			return errColumn
		}
		*into = n
		return nil
	}
	return errColumn
}

// flag is 0 or 1.
type flag bool

func (f flag) Value() (driver.Value, error) {
	if f {
		return int64(1), nil
	}
	return int64(0), nil
}

func (f *flag) Scan(src any) error {
	var n int64
	err := scanNumber(src, &n)
	*f = n != 0
	return err
}

// fact is 0 or 1, NULL if it is not known.
type fact struct{ of **bool }

func (f fact) Value() (driver.Value, error) {
	if *f.of == nil {
		return nil, nil
	}
	return flag(**f.of).Value()
}

func (f fact) Scan(src any) error {
	*f.of = nil
	if src == nil {
		return nil
	}
	*f.of = new(bool)
	return (*flag)(*f.of).Scan(src)
}

// lastSeen is in microseconds, and never NULL, since rows are sorted by it: zero
// is before all others.
type lastSeen time.Time

func (l lastSeen) Value() (driver.Value, error) { return time.Time(l).UnixMicro(), nil }

func (l *lastSeen) Scan(src any) error {
	var micros int64
	err := scanNumber(src, &micros)
	*l = lastSeen(moment(micros))
	return err
}

// moment returns the time of microseconds, also the zero time.
func moment(micros int64) time.Time {
	if micros == (time.Time{}).UnixMicro() {
		return time.Time{}
	}
	return time.UnixMicro(micros).UTC()
}

// sized appends a string with its size.
func sized(list []byte, s string) []byte {
	list = strconv.AppendInt(list, int64(len(s)), 10)
	return append(append(list, ':'), s...)
}

// cutSized cuts a string with its size off.
func cutSized(list string) (s, rest string, ok bool) {
	size, rest, ok := strings.Cut(list, ":")
	n, err := strconv.Atoi(size)
	if !ok || err != nil || n < 0 || n > len(rest) {
		return "", "", false
	}
	return rest[:n], rest[n:], true
}

// groupNames are names with their sizes. Names after one that was damaged are left
// out.
type groupNames []string

func (g groupNames) Value() (driver.Value, error) {
	var list []byte
	for _, name := range g {
		if _, err := text(name).Value(); err != nil {
			return nil, err
		}
		list = sized(list, name)
	}
	return string(list), nil
}

func (g *groupNames) Scan(src any) error {
	var list text
	if err := list.Scan(src); err != nil {
		return err
	}
	*g = nil
	for rest := string(list); rest != ""; {
		name, after, ok := cutSized(rest)
		if !ok {
			break
		}
		*g, rest = append(*g, name), after
	}
	return nil
}

// findings are numbers and kinds. Those after one that was damaged are left out.
type findings []inventory.Finding

func (f findings) Value() (driver.Value, error) {
	var list []byte
	for _, finding := range f {
		if _, err := text(finding.Kind).Value(); err != nil {
			return nil, err
		}
		for _, n := range []int64{int64(finding.Severity), finding.Since.UnixMicro(), int64(finding.Days)} {
			list = append(strconv.AppendInt(list, n, 10), ' ')
		}
		list = sized(list, string(finding.Kind))
	}
	return string(list), nil
}

func (f *findings) Scan(src any) error {
	var list text
	if err := list.Scan(src); err != nil {
		return err
	}
	*f = nil
	for rest := string(list); rest != ""; {
		var numbers [3]int64
		ok := true
		for i := range numbers {
			var number string
			number, rest, _ = strings.Cut(rest, " ")
			var err error
			if numbers[i], err = strconv.ParseInt(number, 10, 64); err != nil {
				ok = false
			}
		}
		kind, after, cut := cutSized(rest)
		if !ok || !cut {
			break
		}
		*f = append(*f, inventory.Finding{
			Kind: inventory.FindingKind(kind), Severity: inventory.Severity(numbers[0]), Since: moment(numbers[1]), Days: int(numbers[2]),
		})
		rest = after
	}
	return nil
}

// searchable is what Filter.Text is looked for in.
type searchable string

func (s searchable) Value() (driver.Value, error) { return string(s), nil }
func (s *searchable) Scan(src any) error          { return (*text)(s).Scan(src) }

// between is between the parts of what is searched. Texts have it too, so they are
// written in such a way that no text is found where one part ends: of the codes of
// the three, none begins in the middle of another one or two.
const between = "\x03"

var searchCode = strings.NewReplacer("\x01", "\x01\x01\x01\x02", "\x02", "\x01\x01\x02\x02", "\x03", "\x01\x02\x02\x02")

// searchableOf returns what Filter.Text is looked for in.
func searchableOf(r *inventory.Row) string {
	parts := []string{r.SerialNumber, r.EnrollmentID, r.DeviceName, r.ModelName}
	for i, part := range parts {
		parts[i] = searched(part)
	}
	return strings.Join(parts, between)
}

// searched returns a text as it is searched: in lower case of ASCII letters, as
// databases cannot agree on others.
func searched(s string) string {
	return searchCode.Replace(strings.Map(func(r rune) rune {
		if 'A' <= r && r <= 'Z' {
			return r + 'a' - 'A'
		}
		return r
	}, s))
}
