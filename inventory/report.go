package inventory

import (
	"cmp"
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/activationlock/sdk/activationlock"
	"github.com/activationlock/sdk/internal/spreadsheet"
	"github.com/activationlock/sdk/mdmcmd"
)

// Filter says which records a report is of: those that fit each of its fields
// that is set. The zero Filter is all of them.
type Filter struct {
	// Of a list, a record has to fit one.
	Statuses   []activationlock.Status
	Ownerships []Ownership
	Groups     []string
	Platforms  []mdmcmd.Platform
	Findings   []FindingKind
	// Supervised: known to be so (true), or not to be (false).
	Supervised *bool
	// Reassign is the answer to whether the device may be given to somebody else.
	Reassign []activationlock.Verdict
	// Severity is the least of the worst finding; 0 takes those without one too.
	Severity Severity
	// Text is part of a serial number, an enrollment ID, or the name of the device
	// or its model, whatever its case (of ASCII letters). What is no UTF-8, or has
	// NUL in it, is part of none.
	Text string
	// Live: devices whose enrollment is complete and did not end; a user channel
	// is no device. Else all records.
	Live bool
}

// Column is something that rows can be sorted by.
type Column string

// The columns to sort by. Rows of the same value come by enrollment ID; text is
// in byte order.
const (
	ByEnrollmentID Column = ""
	BySerialNumber Column = "serialNumber"
	ByDeviceName   Column = "deviceName"
	ByLastSeen     Column = "lastSeen"
	BySeverity     Column = "severity"
)

// Query is what a page of a report is of.
type Query struct {
	Filter     Filter
	Sort       Column
	Descending bool
	// After is the Cursor of the last row of the page before, "" for the first.
	After string
	// Limit is the number of rows of a page at most: 1 to [MaxPage].
	Limit int
	// Into is a page that is no longer wanted. A store may put the rows in its place,
	// so that a long report does not make garbage of each page; what the rows before
	// had in them, it leaves alone. nil is fine.
	Into []Row
}

// MaxPage is the largest page of a report.
const MaxPage = 8000

// ErrCursor means that a cursor is not of this query.
var ErrCursor = errors.New("inventory: the cursor is not of this query")

// Row is a device in a report. Times are zero where nothing happened.
type Row struct {
	EnrollmentID, SerialNumber       string
	DeviceName, ModelName, OSVersion string
	ProductName                      string
	Platform                         mdmcmd.Platform
	Ownership                        Ownership
	Groups                           []string
	Supervised                       *bool
	LastSeen                         time.Time
	Summary                          Summary
	Live                             bool

	// Cursor goes into Query.After, for what comes after this row. The last row of a
	// page has one; the others may have none.
	Cursor string
}

// RowOf returns the row of a record, which shares nothing with it that can
// change.
func RowOf(r *Record) Row {
	f, summary := r.Facts, r.Summary
	if f.Supervised != nil {
		f.Supervised = new(*f.Supervised)
	}
	summary.Findings = slices.Clone(summary.Findings)
	return Row{
		EnrollmentID: r.EnrollmentID, SerialNumber: f.SerialNumber, DeviceName: f.DeviceName, ModelName: f.ModelName,
		OSVersion: f.OSVersion, ProductName: f.ProductName, Platform: f.Platform(), Ownership: r.Ownership, Groups: slices.Clone(r.Groups),
		Supervised: f.Supervised, LastSeen: r.LastSeen, Summary: summary, Live: r.Live() && r.Channel != mdmcmd.UserChannel,
	}
}

// Matches reports whether a row fits a filter. Stores that cannot filter by
// themselves use it.
func (f Filter) Matches(r Row) bool {
	among := func(n int, has bool) bool { return n == 0 || has }
	return among(len(f.Statuses), slices.Contains(f.Statuses, r.Summary.Status)) &&
		among(len(f.Ownerships), slices.Contains(f.Ownerships, r.Ownership)) &&
		among(len(f.Groups), slices.ContainsFunc(r.Groups, func(g string) bool { return slices.Contains(f.Groups, g) })) &&
		among(len(f.Platforms), slices.Contains(f.Platforms, r.Platform)) &&
		among(len(f.Findings), slices.ContainsFunc(r.Summary.Findings, func(x Finding) bool { return slices.Contains(f.Findings, x.Kind) })) &&
		among(len(f.Reassign), slices.Contains(f.Reassign, r.Summary.Reassign)) &&
		(f.Supervised == nil || r.Supervised != nil && *r.Supervised == *f.Supervised) &&
		r.Summary.Severity() >= f.Severity && (r.Live || !f.Live) && f.matchesText(r)
}

func (f Filter) matchesText(r Row) bool {
	if f.Text == "" {
		return true
	}
	if !utf8.ValidString(f.Text) || strings.ContainsRune(f.Text, 0) {
		return false
	}
	part := lowerASCII(f.Text)
	return slices.ContainsFunc([]string{r.SerialNumber, r.EnrollmentID, r.DeviceName, r.ModelName}, func(s string) bool {
		return strings.Contains(lowerASCII(s), part)
	})
}

// lowerASCII is what all databases do in the same way.
func lowerASCII(s string) string {
	return strings.Map(func(r rune) rune {
		if 'A' <= r && r <= 'Z' {
			return r + 'a' - 'A'
		}
		return r
	}, s)
}

// Totals are the numbers of records that fit a filter. With Filter.Live they are
// the summary that a dashboard shows; a tile for one finding, such as [MayLock],
// is Filter.Findings and Devices.
type Totals struct {
	Devices    int
	Statuses   map[activationlock.Status]int
	Severities map[Severity]int // of the worst finding; 0 is none
	// WithCode: a usable code is held, of those that can have a lock. One that
	// something speaks against counts too; [CodeStale] says of how many.
	WithCode int
	// Reassignable: may be given to somebody else.
	Reassignable int
	// Overdue: were due before the moment of the count.
	Overdue int
}

// Coverage is the part of the devices that can have a lock of which a usable code
// is held: 0 to 1, and 1 if there are none. A code that something speaks against
// counts as held, as in WithCode.
func (t Totals) Coverage() float64 {
	locks := t.Devices - t.Statuses[activationlock.NotApplicable]
	if t.WithCode >= locks {
		return 1
	}
	return float64(t.WithCode) / float64(locks)
}

// Rows streams all rows of a query in pages of its limit, or of [MaxPage] where it
// has none. Rows that change meanwhile may come in either state, or, if that is
// what is sorted by, twice or not at all. An error ends it. It can be ranged over
// again.
//
// From the second page on, a goroutine reads the next one meanwhile. It is over
// when the loop is.
func Rows(ctx context.Context, s Store, q Query) iter.Seq2[Row, error] {
	return func(yield func(Row, error) bool) {
		q := q
		q.Into = nil
		if q.Limit < 1 || q.Limit > MaxPage {
			q.Limit = MaxPage
		}
		ctx, stop := context.WithCancel(ctx)
		var next <-chan page // nil if nobody reads one
		defer func() {
			stop()
			if next != nil {
				<-next
			}
		}()
		for first := true; ; first = false {
			var p page
			if next == nil {
				p.rows, p.err = s.List(ctx, q)
				q.Into = nil
			} else {
				p, next = <-next, nil
				if p.panicked != nil {
					panic(p.panicked)
				}
				if ctx.Err() != nil { // since it was read
					p.err = ctx.Err()
				}
			}
			if p.err != nil {
				yield(Row{}, fmt.Errorf("inventory: rows: %w", p.err))
				return
			}
			last := len(p.rows) < q.Limit
			if !last {
				q.After = p.rows[len(p.rows)-1].Cursor
				if !first { // whoever wants more than one is likely to want all
					next = read(ctx, s, q)
					q.Into = nil
				}
			}
			for i := range p.rows {
				if !yield(p.rows[i], nil) {
					return
				}
			}
			if last {
				return
			}
			q.Into = p.rows
		}
	}
}

// page is what a store has returned.
type page struct {
	rows     []Row
	err      error
	panicked any
}

// read reads a page in a goroutine.
func read(ctx context.Context, s Store, q Query) <-chan page {
	next := make(chan page, 1)
	go func() {
		p := page{err: errors.New("the store did not return")} // but ended the goroutine
		defer func() {
			p.panicked = recover()
			next <- p
		}()
		p.rows, p.err = s.List(ctx, q)
	}()
	return next
}

// ColumnTitles are the titles of a report's columns, in the order of [Row.Cells].
// A language without titles gives English.
func ColumnTitles(l activationlock.Language) []string {
	all := make([]string, len(columns))
	for i, c := range columns {
		all[i] = c.title.in(l)
	}
	return all
}

// texts are a text in every language.
type texts struct{ English, Dutch string }

// in returns the text in a language, English for one that has none.
func (t texts) in(l activationlock.Language) string {
	if l == activationlock.Dutch {
		return t.Dutch
	}
	return t.English
}

func titles(english, dutch string) texts { return texts{english, dutch} }

// columns are those of a report for people.
var columns = []struct {
	title texts
	// said: by a device or the host, so it may be anything. Else it is a text of this
	// library or a time.
	said bool
	cell func(*Row, activationlock.Language) string
}{
	{titles("Serial Number", "Serienummer"), true, func(r *Row, _ activationlock.Language) string { return r.SerialNumber }},
	{titles("Device Name", "Apparaatnaam"), true, func(r *Row, _ activationlock.Language) string { return r.DeviceName }},
	{titles("Model", "Model"), true, func(r *Row, _ activationlock.Language) string { return cmp.Or(r.ModelName, r.ProductName) }},
	{titles("OS Version", "Besturingssysteemversie"), true, func(r *Row, _ activationlock.Language) string { return r.OSVersion }},
	{titles("Ownership", "Eigendom"), false, func(r *Row, l activationlock.Language) string { return r.Ownership.Label(l) }},
	{titles("Groups", "Groepen"), true, func(r *Row, _ activationlock.Language) string { return strings.Join(r.Groups, ", ") }},
	{titles("Supervised", "Onder supervisie"), false, func(r *Row, l activationlock.Language) string {
		return activationlock.SupervisedLabel(r.Supervised, l)
	}},
	{titles("Activation Lock Status", "Status van activeringsslot"), false, func(r *Row, l activationlock.Language) string { return r.Summary.Status.Label(l) }},
	{titles("Lock Kind", "Soort slot"), false, func(r *Row, l activationlock.Language) string {
		if r.Summary.LockKind == activationlock.KindUnknown {
			return ""
		}
		return r.Summary.LockKind.Label(l)
	}},
	{titles("Code Held Since", "Code bewaard sinds"), false, func(r *Row, _ activationlock.Language) string { return formatTime(r.Summary.CodeSince) }},
	{titles("Last Inventory", "Laatste inventarisatie"), false, func(r *Row, _ activationlock.Language) string { return formatTime(r.Summary.InventoryAt) }},
	{titles("Last Seen", "Laatst gezien"), false, func(r *Row, _ activationlock.Language) string { return formatTime(r.LastSeen) }},
	{titles("May Be Reassigned", "Mag worden doorgegeven"), false, func(r *Row, l activationlock.Language) string { return r.Summary.Reassign.Label(l) }},
	{titles("Findings", "Bevindingen"), false, func(r *Row, l activationlock.Language) string {
		all := ""
		for i, f := range r.Summary.Findings {
			if i > 0 {
				all += " "
			}
			all += f.Label(l)
		}
		return all
	}},
	{titles("Computed At", "Berekend op"), false, func(r *Row, _ activationlock.Language) string { return formatTime(r.Summary.At) }},
}

var ownershipTexts = map[Ownership]texts{
	Company:  {English: "Company", Dutch: "Bedrijf"},
	Personal: {English: "Personal", Dutch: "Persoonlijk"},
}

// Label returns the ownership in words; "" for [OwnershipUnknown]. A language
// without labels gives English.
func (o Ownership) Label(l activationlock.Language) string { return label(ownershipTexts, o, l) }

func label[K comparable](table map[K]texts, key K, l activationlock.Language) string {
	return table[key].in(l)
}

// Cells are the row's cells for people, in the order of [ColumnTitles]. Times are
// in UTC (RFC 3339), and what is unknown is empty.
func (r *Row) Cells(l activationlock.Language) []string {
	return r.appendCells(make([]string, 0, len(columns)), l)
}

func (r *Row) appendCells(cells []string, l activationlock.Language) []string {
	for _, c := range columns {
		cells = append(cells, c.cell(r, l))
	}
	return cells
}

func formatTime(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}

// WriteCSV writes rows as a CSV file (RFC 4180, UTF-8) with a line of titles, and
// returns the number of rows. Cells that a spreadsheet would take for a formula
// begin with an apostrophe. Memory does not grow with the number of rows. An error
// leaves what was written until then.
func WriteCSV(w io.Writer, rows iter.Seq2[Row, error], l activationlock.Language) (n int, err error) {
	fail := func(err error) (int, error) { return n, fmt.Errorf("inventory: write CSV: %w", err) }
	out := csv.NewWriter(w)
	out.UseCRLF = true
	if err := out.Write(ColumnTitles(l)); err != nil {
		return fail(err)
	}
	var cells []string
	var row Row // one for all, since each would be on the heap
	for r, err := range rows {
		if err != nil {
			out.Flush() // of the two errors this one came first
			return fail(err)
		}
		row = r
		cells = row.appendCells(cells[:0], l)
		for i, c := range columns {
			if c.said {
				cells[i] = spreadsheet.HarmlessAnywhere(cells[i])
			}
		}
		if err := out.Write(cells); err != nil {
			return fail(err)
		}
		n++
	}
	out.Flush()
	if err := out.Error(); err != nil {
		return fail(err)
	}
	return n, nil
}

// WriteJSONLines writes rows as JSON Lines: an object for each row, with the keys
// of [Row.MarshalJSON]. It returns the number of rows. Memory does not grow with
// it. An error leaves whole lines.
func WriteJSONLines(w io.Writer, rows iter.Seq2[Row, error]) (n int, err error) {
	return writeJSON(w, rows, "", "", "\n", "")
}

// WriteJSON writes rows as one JSON array of objects with the keys of
// [Row.MarshalJSON]. It returns the number of rows. Memory does not grow with it.
// After an error the array has no end, so that nobody takes it for all.
func WriteJSON(w io.Writer, rows iter.Seq2[Row, error]) (n int, err error) {
	return writeJSON(w, rows, "[", ",\n", "", "]\n")
}

// writeJSON writes each row with what goes between two rows, and after each.
func writeJSON(w io.Writer, rows iter.Seq2[Row, error], begin, between, after, end string) (n int, err error) {
	fail := func(err error) (int, error) { return n, fmt.Errorf("inventory: write JSON: %w", err) }
	line := []byte(begin)
	for r, err := range rows {
		if err != nil {
			return fail(err)
		}
		raw, err := json.Marshal(r)
		if err != nil {
			return fail(err)
		}
		if n > 0 {
			line = append(line, between...)
		}
		line = append(append(line, raw...), after...)
		if _, err := w.Write(line); err != nil {
			return fail(err)
		}
		line = line[:0]
		n++
	}
	if _, err := w.Write(append(line, end...)); err != nil {
		return fail(err)
	}
	return n, nil
}

// MarshalJSON writes the row with stable keys and the values of the constants,
// not labels. All keys but a finding's days are always there. What is unknown is
// null, or a text that is empty, and times are in UTC (RFC 3339). How old the status
// and the findings are, "computedAt" says.
func (r Row) MarshalJSON() ([]byte, error) {
	type finding struct {
		Kind     FindingKind `json:"kind"`
		Severity string      `json:"severity"` // in English words
		Since    *time.Time  `json:"since"`
		Days     int         `json:"days,omitempty"`
	}
	at := func(t time.Time) *time.Time {
		if t.IsZero() {
			return nil
		}
		return new(t.UTC())
	}
	findings := []finding{}
	for _, f := range r.Summary.Findings {
		findings = append(findings, finding{f.Kind, f.Severity.Label(activationlock.English), at(f.Since), f.Days})
	}
	groups := r.Groups
	if groups == nil {
		groups = []string{}
	}
	return json.Marshal(struct {
		EnrollmentID string                  `json:"enrollmentID"`
		SerialNumber string                  `json:"serialNumber"`
		DeviceName   string                  `json:"deviceName"`
		ModelName    string                  `json:"modelName"`
		ProductName  string                  `json:"productName"`
		Platform     mdmcmd.Platform         `json:"platform"`
		OSVersion    string                  `json:"osVersion"`
		Ownership    Ownership               `json:"ownership"`
		Groups       []string                `json:"groups"`
		Live         bool                    `json:"live"`
		Supervised   *bool                   `json:"supervised"`
		Status       activationlock.Status   `json:"activationLockStatus"`
		LockKind     activationlock.LockKind `json:"lockKind"`
		Reassign     activationlock.Verdict  `json:"mayBeReassigned"`
		CodeSince    *time.Time              `json:"codeHeldSince"`
		InventoryAt  *time.Time              `json:"lastInventory"`
		LastSeen     *time.Time              `json:"lastSeen"`
		DueAt        *time.Time              `json:"dueAt"`
		ComputedAt   *time.Time              `json:"computedAt"`
		Findings     []finding               `json:"findings"`
	}{
		r.EnrollmentID, r.SerialNumber, r.DeviceName, r.ModelName, r.ProductName, r.Platform, r.OSVersion, r.Ownership, groups, r.Live,
		r.Supervised, r.Summary.Status, r.Summary.LockKind, r.Summary.Reassign, at(r.Summary.CodeSince), at(r.Summary.InventoryAt), at(r.LastSeen),
		at(r.Summary.DueAt), at(r.Summary.At), findings,
	})
}
