package transfer

import (
	"bufio"
	"cmp"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"iter"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/activationlock/sdk/bypasscode"
	"github.com/activationlock/sdk/bypasscode/escrow"
	"github.com/activationlock/sdk/internal/spreadsheet"
)

// Columns names the columns of a CSV file, by its first line; "" is a column that
// is not there. Names are compared without regard to case and to spaces around
// them.
type Columns struct {
	SerialNumber string // required
	DeviceCode   string // codes that devices made; this or ServerCode is required
	ServerCode   string // codes that a server made for locks of the organization
	UDID         string
	ProductType  string // "iPhone17,3"
	IMEI         string
	IMEI2        string
	MEID         string
	State        string // a value of escrow.State, or "" for escrow.Current
	// FirstSeen and LastSeen are times: RFC 3339, or "2006-01-02 15:04:05" or
	// "2006-01-02" in UTC. An empty one, and the first second of the year 1, which
	// some products write for it, is the other, or ReceivedAt. Of several codes of
	// a device the last seen counts for most.
	FirstSeen  string
	LastSeen   string
	Comma      rune      // between the cells; default ','
	ReceivedAt time.Time // required: the time of the import
}

// TwoCodes are the columns of products that export a code of each kind per
// device, in user_based_albc and device_based_albc.
func TwoCodes(receivedAt time.Time) Columns {
	return Columns{
		SerialNumber: "serial_number", DeviceCode: "user_based_albc", ServerCode: "device_based_albc", ReceivedAt: receivedAt,
	}
}

// AsWritten are the columns of what [WriteCSV] writes.
func AsWritten(receivedAt time.Time) Columns {
	return Columns{
		SerialNumber: "serial_number", DeviceCode: "device_code", ServerCode: "server_code", UDID: "udid", ProductType: "product_type",
		IMEI: "imei", IMEI2: "imei2", MEID: "meid", State: "state", FirstSeen: "first_seen", LastSeen: "last_seen", ReceivedAt: receivedAt,
	}
}

// maxCSVRow is the size of the longest row that is read, in bytes, quotes
// included, give or take what a reader reads at once.
const maxCSVRow = 1 << 20

var (
	errCSV     = errors.New("transfer: the row is no CSV (RFC 4180)")
	errCSVLost = errors.New("a quoted cell does not end, or the row is longer than 1 MiB")
	errCSVWide = errors.New("transfer: the row has more cells than the first line")
	errCSVCode = errors.New("transfer: the code is none")
	errCSVTime = errors.New("transfer: the time is none")
	errSerial  = errors.New("transfer: the serial number is none")
)

// ReadCSV reads codes from a CSV file in UTF-8, with or without a byte order mark,
// whose first line has the names of the columns. A row gives one [escrow.Portable]
// for each code in it, and one with [escrow.ErrEmpty] if it has none; they have
// the same Row, which counts from 1, without the first line and without empty
// lines. Cells that are missing at the end of a row are empty.
//
// Codes are read as people write them, in either case, with or without hyphens
// and spaces; look-alikes (O for 0) are not guessed at. A code, serial number or
// time that is none, a row with cells beyond the last column, and one with a stray
// quote give an Err, which quotes nothing, and stop nothing. Everything else is
// checked by [escrow.Escrow.Import].
//
// An error ends it: a column that is named and not there or there twice, a quoted
// cell that does not end (where the next row begins, nobody knows), a row of more
// than 1 MiB, or an error of the reader. No more than one row is in memory.
func ReadCSV(r io.Reader, c Columns) iter.Seq2[escrow.Portable, error] {
	return func(yield func(escrow.Portable, error) bool) {
		if err := readCSV(r, c, yield); err != nil {
			yield(escrow.Portable{}, fmt.Errorf("transfer: read CSV: %w", err))
		}
	}
}

func readCSV(r io.Reader, c Columns, yield func(escrow.Portable, error) bool) error {
	c.Comma = cmp.Or(c.Comma, ',')
	switch {
	case c.SerialNumber == "", c.DeviceCode == "" && c.ServerCode == "", c.ReceivedAt.IsZero():
		return errors.New("a column of serial numbers, one of codes, and the time are required")
	case strings.EqualFold(c.DeviceCode, c.ServerCode):
		return errors.New("a column has codes of one kind only")
	case strings.ContainsRune("\"\r\n\ufeff\ufffd", c.Comma), !utf8.ValidRune(c.Comma):
		return errors.New("cells cannot be separated by that")
	}
	bounded := &boundedReader{r: r, left: maxCSVRow}
	buffered := bufio.NewReader(bounded)
	if mark, _ := buffered.Peek(3); string(mark) == "\ufeff" {
		buffered.Discard(len(mark))
	}
	in := csv.NewReader(buffered)
	in.Comma = c.Comma
	in.FieldsPerRecord = -1
	in.ReuseRecord = true
	first, err := in.Read()
	switch {
	case bounded.err != nil:
		return bounded.err
	case err == io.EOF:
		return errors.New("the file is empty")
	case err != nil:
		return errors.New("the first line is no CSV (RFC 4180), or longer than 1 MiB")
	}
	at, err := c.find(first)
	if err != nil {
		return err
	}
	width := len(first)
	for row := 1; ; row++ {
		bounded.left = maxCSVRow
		cells, err := in.Read()
		if err == io.EOF {
			return nil
		}
		if bounded.err != nil {
			return bounded.err
		}
		var found []escrow.Portable
		if err == nil {
			found = c.row(cells, width, at)
		} else if where, ok := errors.AsType[*csv.ParseError](err); ok && where.StartLine == where.Line {
			found = []escrow.Portable{{Err: errCSV}}
		} else {
			return fmt.Errorf("row %d: %w", row, errCSVLost)
		}
		for _, p := range found {
			p.Row = row
			if !yield(p, nil) {
				return nil
			}
		}
	}
}

// boundedReader ends with an error when one row is too long.
type boundedReader struct {
	r    io.Reader
	left int
	err  error // of the reader itself
}

func (b *boundedReader) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, errCSVLost
	}
	n, err := b.r.Read(p)
	b.left -= n
	if err != nil && err != io.EOF {
		b.err = err
	}
	return n, err
}

// places says in which cell each column is, -1 if it is not there.
type places struct {
	serialNumber, deviceCode, serverCode, udid, productType, imei, imei2, meid, state, firstSeen, lastSeen int
}

func (c Columns) find(first []string) (places, error) {
	var p places
	for _, column := range []struct {
		name string
		at   *int
	}{
		{c.SerialNumber, &p.serialNumber}, {c.DeviceCode, &p.deviceCode}, {c.ServerCode, &p.serverCode}, {c.UDID, &p.udid},
		{c.ProductType, &p.productType}, {c.IMEI, &p.imei}, {c.IMEI2, &p.imei2}, {c.MEID, &p.meid},
		{c.State, &p.state}, {c.FirstSeen, &p.firstSeen}, {c.LastSeen, &p.lastSeen},
	} {
		*column.at = -1
		if column.name == "" {
			continue
		}
		for i, name := range first {
			if !strings.EqualFold(strings.TrimSpace(name), strings.TrimSpace(column.name)) {
				continue
			}
			if *column.at >= 0 {
				return places{}, fmt.Errorf("two columns are named %q", column.name)
			}
			*column.at = i
		}
		if *column.at < 0 {
			return places{}, fmt.Errorf("no column is named %q", column.name)
		}
	}
	return p, nil
}

// row returns the codes of a row.
func (c Columns) row(cells []string, width int, at places) (found []escrow.Portable) {
	cell := func(at int) string {
		if at < 0 || at >= len(cells) {
			return ""
		}
		return strings.Clone(spreadsheet.Restore(strings.TrimSpace(cells[at]))) // or the whole row hangs on it
	}
	var wrong error
	fail := func(err error) { wrong = cmp.Or(wrong, err) }
	for _, beyond := range cells[min(width, len(cells)):] {
		if strings.TrimSpace(beyond) != "" { // the cells may be in the wrong columns
			fail(errCSVWide)
		}
	}
	serialNumber := cell(at.serialNumber)
	if !escrow.ValidIdentifier(serialNumber) || strings.ContainsFunc(serialNumber, notOfSerials) {
		fail(errSerial)
	}
	firstSeen, err := parseTime(cell(at.firstSeen))
	fail(err)
	lastSeen, err := parseTime(cell(at.lastSeen))
	fail(err)
	lastSeen = orTime(lastSeen, orTime(firstSeen, c.ReceivedAt))
	r := escrow.Record{
		Subject: escrow.Subject{SerialNumber: serialNumber}, Cause: escrow.CauseImport,
		State:      cmp.Or(escrow.State(cell(at.state)), escrow.Current),
		ReceivedAt: c.ReceivedAt, FirstSeen: orTime(firstSeen, lastSeen), LastSeen: lastSeen,
		Device: escrow.Device{
			SerialNumber: serialNumber, UDID: cell(at.udid), ProductType: cell(at.productType),
			IMEI: cell(at.imei), IMEI2: cell(at.imei2), MEID: cell(at.meid),
		},
	}
	if r.LastSeen.After(c.ReceivedAt) {
		r.LastSeen = c.ReceivedAt
	}
	if r.FirstSeen.After(r.LastSeen) {
		r.FirstSeen = r.LastSeen
	}
	for _, code := range []struct {
		kind bypasscode.Kind
		text string
	}{{bypasscode.Device, cell(at.deviceCode)}, {bypasscode.Server, cell(at.serverCode)}} {
		if code.text == "" {
			continue
		}
		p := escrow.Portable{Record: r, Err: wrong}
		p.Record.Kind = code.kind
		if p.Err == nil {
			parsed, err := bypasscode.ParseLenient(code.text, false)
			if err != nil {
				p.Err = errCSVCode
			}
			p.Text = parsed.Text()
		}
		found = append(found, p)
	}
	if found == nil {
		found = append(found, escrow.Portable{Record: r, Err: cmp.Or(wrong, escrow.ErrEmpty)})
	}
	return found
}

// notOfSerials reports whether a character is in no serial number.
func notOfSerials(r rune) bool { return unicode.IsSpace(r) || unicode.IsControl(r) }

// parseTime returns the zero time for one that is empty.
func parseTime(s string) (time.Time, error) {
	if s == "" {
		return time.Time{}, nil
	}
	for _, layout := range []string{time.RFC3339, time.DateTime, time.DateOnly} {
		if t, err := time.Parse(layout, s); err == nil {
			return t, nil
		}
	}
	return time.Time{}, errCSVTime
}

func orTime(t, other time.Time) time.Time {
	if t.IsZero() {
		return other
	}
	return t
}

var header = []string{
	"serial_number", "enrollment_id", "state", "first_seen", "last_seen", "udid", "product_type", "imei", "imei2", "meid",
	"device_code", "server_code",
}

// WriteCSV writes rows into a CSV file (RFC 4180, UTF-8 without a byte order mark)
// with the codes as they are, each in the column of its kind. Rows that came with
// an error are left out, and failed, unless nil, is told of each. A file that was
// cut off by an error cannot be told from a whole one.
//
// Cells that a spreadsheet would take for a formula begin with an apostrophe,
// which [ReadCSV] takes off again. (A spreadsheet that separates the cells by
// anything but commas sees other cells.) With the columns of [AsWritten], ReadCSV
// reads the codes that are canonical, of devices with a serial number, and of the
// rest of a record what has a column, times to the second. To move to another
// server, write a bundle.
func WriteCSV(w io.Writer, rows iter.Seq2[escrow.Portable, error], failed func(escrow.Portable)) (Written, error) {
	var n Written
	if err := writeCSV(w, rows, failed, &n); err != nil {
		return n, fmt.Errorf("transfer: write CSV: %w", err)
	}
	return n, nil
}

func writeCSV(w io.Writer, rows iter.Seq2[escrow.Portable, error], failed func(escrow.Portable), n *Written) error {
	out := csv.NewWriter(w)
	out.UseCRLF = true
	if err := out.Write(header); err != nil {
		return err
	}
	for p, err := range rows {
		if err != nil {
			out.Flush()
			return errors.Join(err, out.Error())
		}
		if p.Err != nil {
			n.Failed++
			if failed != nil {
				failed(p)
			}
			continue
		}
		r := p.Record
		device, server := p.Text.Reveal(), ""
		if r.Kind == bypasscode.Server {
			device, server = server, device
		}
		cells := []string{
			cmp.Or(r.Subject.SerialNumber, r.Device.SerialNumber), cmp.Or(r.EnrollmentID, r.Subject.EnrollmentID), string(r.State),
			formatTime(r.FirstSeen), formatTime(r.LastSeen),
			r.Device.UDID, r.Device.ProductType, r.Device.IMEI, r.Device.IMEI2, r.Device.MEID, device, server,
		}
		for i := range cells {
			cells[i] = spreadsheet.Harmless(cells[i])
		}
		if err := out.Write(cells); err != nil {
			return err
		}
		n.Rows++
	}
	out.Flush()
	return out.Error()
}

func formatTime(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}
