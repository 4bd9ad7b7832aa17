package inventory_test

import (
	"bytes"
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"iter"
	"math"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/activationlock/sdk/activationlock"
	"github.com/activationlock/sdk/internal/spreadsheet"
	"github.com/activationlock/sdk/inventory"
	"github.com/activationlock/sdk/mdmcmd"
)

var rowsFlag = flag.Int("rows", 20_000, "number of rows of the large reports")

// fullRow has something in every cell.
func fullRow() inventory.Row {
	return inventory.Row{
		EnrollmentID: "00008120-0011223344556677", SerialNumber: "C02X", DeviceName: "Anna's iPhone", ModelName: "iPhone 16",
		ProductName: "iPhone17,3", Platform: mdmcmd.IOS, OSVersion: "26.1", Ownership: inventory.Company, Groups: []string{"Leiden", "sales"},
		Supervised: new(true), LastSeen: at(5).In(time.FixedZone("", 3600)), Live: true, Cursor: "secret of the store",
		Summary: inventory.Summary{
			Status: activationlock.EnabledWithBypassCode, LockKind: activationlock.UserLinked, Reassign: activationlock.No,
			CodeSince: at(1), InventoryAt: at(2), DueAt: at(9), At: at(5).Add(time.Minute),
			Findings: []inventory.Finding{
				{Kind: inventory.Relocked, Severity: inventory.Critical, Since: at(4)},
				{Kind: inventory.NotSeen, Severity: inventory.Warning, Since: at(3), Days: 1},
			},
		},
	}
}

// rowsOf streams rows, and then, if there is one, an error.
func rowsOf(err error, rows ...inventory.Row) iter.Seq2[inventory.Row, error] {
	return func(yield func(inventory.Row, error) bool) {
		for _, r := range rows {
			if !yield(r, nil) {
				return
			}
		}
		if err != nil && yield(inventory.Row{}, err) {
			panic("it went on after an error")
		}
	}
}

// odd are rows that spoil reports.
func odd() []inventory.Row {
	named := func(name string) inventory.Row { return inventory.Row{EnrollmentID: "E", DeviceName: name} }
	return []inventory.Row{
		fullRow(), {EnrollmentID: "nothing is known"}, named(`=HYPERLINK("http://x")`), named("+31"), named("-1"), named("@sum"), named("\t=1"),
		named(`say "hi"`), named("a,b;c"), named("two\nlines"), named("two\r\nlines"), named("'=1"), named(" led "), named("Zoë’s <iPad> & \u2028"),
		named("x\n=cmd|' /C calc'!A0;"), named(`x;"=1;`),
		{EnrollmentID: "E", SerialNumber: "=1", ModelName: "=2", OSVersion: "=3", Groups: []string{"=4", "b,c"}},
		{EnrollmentID: "E", ProductName: "iPhone17,3"},
	}
}

func TestGoldenCSV(t *testing.T) {
	t.Parallel()
	for _, l := range activationlock.Languages() {
		var out bytes.Buffer
		n, err := inventory.WriteCSV(&out, rowsOf(nil, odd()...), l)
		require.NoError(t, err)
		require.Equal(t, len(odd()), n)
		text := out.String()
		golden(t, "report."+string(l)+".csv", text)

		// A reader gets what the cells are, of which none is a formula.
		read, err := csv.NewReader(&out).ReadAll()
		require.NoError(t, err)
		require.Equal(t, inventory.ColumnTitles(l), read[0])
		for i, r := range odd() {
			require.Len(t, read[i+1], len(read[0]))
			for c, cell := range r.Cells(l) {
				cell = strings.ReplaceAll(cell, "\r\n", "\n") // as the reader reads all line ends
				require.Equal(t, strings.ReplaceAll(cell, "'", ""), strings.ReplaceAll(read[i+1][c], "'", ""), "row %d", i)
			}
		}
		// Nor is one for a spreadsheet that begins cells elsewhere.
		for _, separator := range ",;\t" {
			r := csv.NewReader(strings.NewReader(text))
			r.Comma, r.LazyQuotes, r.FieldsPerRecord = separator, true, -1
			read, err := r.ReadAll()
			require.NoError(t, err)
			for _, cell := range slices.Concat(read...) {
				require.False(t, cell != "" && strings.ContainsRune("=+-@\t\r\n", rune(cell[0])), "%q by %q", cell, separator)
			}
		}
	}
}

// No text of this library looks like a formula: WriteCSV does not look at them.
func TestTextsAreNoFormulas(t *testing.T) {
	t.Parallel()
	for _, l := range activationlock.Languages() {
		texts := inventory.ColumnTitles(l)
		for _, s := range []activationlock.Status{
			activationlock.Unknown, activationlock.NotApplicable, activationlock.NotEnabled, activationlock.EnabledWithBypassCode,
			activationlock.EnabledWithoutBypassCodeNotSupervised, activationlock.EnabledWithoutBypassCodeUnreachable,
			activationlock.EnabledWithoutBypassCodeNotProvided, "=1",
		} {
			texts = append(texts, s.Label(l))
		}
		for _, k := range []activationlock.LockKind{activationlock.KindUnknown, activationlock.UserLinked, activationlock.OrganizationLinked, "=1"} {
			texts = append(texts, k.Label(l))
		}
		for _, v := range []activationlock.Verdict{activationlock.Yes, activationlock.No, activationlock.VerdictUnknown, "=1"} {
			texts = append(texts, v.Label(l))
		}
		for _, o := range []inventory.Ownership{inventory.Company, inventory.Personal, "=1"} {
			texts = append(texts, o.Label(l))
		}
		texts = append(texts, inventory.Finding{Kind: "=1"}.Label(l), activationlock.SupervisedLabel(new(true), l), activationlock.SupervisedLabel(new(false), l))
		for _, text := range texts {
			require.Equal(t, spreadsheet.HarmlessAnywhere(text), text)
		}
	}
}

// The columns that other reports had keep their names.
func TestColumns(t *testing.T) {
	t.Parallel()
	for _, l := range activationlock.Languages() {
		titles := inventory.ColumnTitles(l)
		require.Len(t, titles, 15)
		require.NotContains(t, titles, "")
		require.Equal(t, activationlock.TermSupervised.Label(l), titles[6])
		require.Equal(t, activationlock.TermActivationStatus.Label(l), titles[7])
		require.Len(t, slices.Compact(slices.Sorted(slices.Values(titles))), 15)
	}
	english, dutch := inventory.ColumnTitles(activationlock.English), inventory.ColumnTitles(activationlock.Dutch)
	for i := range english {
		require.Equal(t, english[i] == "Model", english[i] == dutch[i])
	}
	english[0] = "changed"
	require.Equal(t, "Serial Number", inventory.ColumnTitles(activationlock.English)[0])

	r := fullRow()
	require.Equal(t, []string{
		"C02X", "Anna's iPhone", "iPhone 16", "26.1", "Company", "Leiden, sales", "Yes", "Enabled with bypass code", "of a person (Find My)",
		"2026-11-22T10:00:00Z", "2026-11-22T11:00:00Z", "2026-11-22T14:00:00Z", "no",
		"The lock was removed and came on again. The device has not been heard of for 1 day.", "2026-11-22T14:01:00Z",
	}, r.Cells(activationlock.English))
	require.Equal(t, []string{
		"C02X", "Anna's iPhone", "iPhone 16", "26.1", "Bedrijf", "Leiden, sales", "Ja", "Ingeschakeld met bypass-code", "van een persoon (Zoek mijn)",
		"2026-11-22T10:00:00Z", "2026-11-22T11:00:00Z", "2026-11-22T14:00:00Z", "nee",
		"Het slot is verwijderd en opnieuw aangegaan. Van het apparaat is al 1 dag niets vernomen.", "2026-11-22T14:01:00Z",
	}, r.Cells(activationlock.Dutch))
	r = inventory.Row{}
	require.Equal(t, []string{"", "", "", "", "", "", "", "", "", "", "", "", "unknown", "", ""}, r.Cells(activationlock.English))
}

func TestGoldenJSON(t *testing.T) {
	t.Parallel()
	for name, write := range map[string]func(io.Writer, iter.Seq2[inventory.Row, error]) (int, error){
		"report.json": inventory.WriteJSON, "report.jsonl": inventory.WriteJSONLines,
	} {
		var out bytes.Buffer
		n, err := write(&out, rowsOf(nil, odd()...))
		require.NoError(t, err)
		require.Equal(t, len(odd()), n)
		golden(t, name, out.String())
		require.NotContains(t, out.String(), "secret of the store")

		// Every row has the same keys, and is one value.
		var rows []map[string]any
		if name == "report.json" {
			require.NoError(t, json.Unmarshal(out.Bytes(), &rows))
		} else {
			for line := range strings.Lines(out.String()) {
				var r map[string]any
				require.NoError(t, json.Unmarshal([]byte(line), &r))
				rows = append(rows, r)
			}
		}
		require.Len(t, rows, n)
		for i, r := range rows {
			require.Len(t, r, len(rows[0]))
			require.Equal(t, odd()[i].DeviceName, r["deviceName"])
			require.IsType(t, []any{}, r["findings"])
			require.IsType(t, []any{}, r["groups"])
		}
	}
}

// writers are the formats of a report.
var writers = map[string]func(io.Writer, iter.Seq2[inventory.Row, error]) (int, error){
	"json": inventory.WriteJSON, "json lines": inventory.WriteJSONLines,
	"csv": func(w io.Writer, rows iter.Seq2[inventory.Row, error]) (int, error) {
		return inventory.WriteCSV(w, rows, activationlock.Dutch)
	},
}

func TestEmptyReport(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]string{
		"json": "[]\n", "json lines": "",
		"csv": strings.Join(inventory.ColumnTitles(activationlock.Dutch), ",") + "\r\n",
	} {
		var out bytes.Buffer
		n, err := writers[name](&out, rowsOf(nil))
		require.NoError(t, err)
		require.Zero(t, n)
		require.Equal(t, want, out.String())
	}
}

var errBroken = errors.New("broken")

// Rows that fail midway leave what came before, which is not to be taken for all.
func TestRowsFail(t *testing.T) {
	t.Parallel()
	for name, write := range writers {
		for _, rows := range [][]inventory.Row{nil, {fullRow()}, odd()} {
			var out, all bytes.Buffer
			n, err := write(&out, rowsOf(errBroken, rows...))
			require.ErrorIs(t, err, errBroken)
			require.Equal(t, 1, strings.Count(err.Error(), "broken"))
			require.True(t, strings.HasPrefix(err.Error(), "inventory: write "), "%v", err)
			require.Equal(t, len(rows), n)
			_, err = write(&all, rowsOf(nil, rows...))
			require.NoError(t, err)
			want, _ := strings.CutSuffix(all.String(), "]\n")
			if name == "json" && len(rows) == 0 {
				want = ""
			}
			require.Equal(t, want, out.String())
			require.False(t, name == "json" && json.Valid(out.Bytes()))
		}
	}
}

// full fails after a number of bytes.
type full struct{ left int }

func (w *full) Write(p []byte) (int, error) {
	if w.left -= len(p); w.left < 0 {
		return len(p) + w.left, errBroken
	}
	return len(p), nil
}

func TestWriterFails(t *testing.T) {
	t.Parallel()
	for name, write := range writers {
		var out bytes.Buffer
		rows := slices.Repeat(odd(), 40) // more than is buffered
		_, err := write(&out, rowsOf(nil, rows...))
		require.NoError(t, err)
		for _, left := range []int{0, 1, 300, out.Len() / 2, out.Len() - 1} {
			pulled := 0
			n, err := write(&full{left}, func(yield func(inventory.Row, error) bool) {
				for _, r := range rows {
					if pulled++; !yield(r, nil) {
						return
					}
				}
			})
			require.ErrorIs(t, err, errBroken, "%s %d", name, left)
			require.Equal(t, 1, strings.Count(err.Error(), "broken"))
			require.True(t, n <= pulled && (left > out.Len()/2 || n < len(rows)), "%s: %d", name, n)
			require.True(t, left > out.Len()/2 || pulled < len(rows), "%s: it reads on for nobody", name)
		}
		n, err := write(&full{out.Len()}, rowsOf(nil, rows...))
		require.NoError(t, err)
		require.Equal(t, len(rows), n)
	}
}

// However many rows there are, a report needs the memory of a few.
func TestReportInConstantMemory(t *testing.T) { // not parallel: it measures
	for name, write := range writers {
		heap := func() uint64 {
			var m runtime.MemStats
			runtime.GC()
			runtime.ReadMemStats(&m)
			return m.HeapAlloc
		}
		start, most, written := heap(), uint64(0), counter(0)
		n, err := write(&written, func(yield func(inventory.Row, error) bool) {
			for i := range *rowsFlag {
				r := fullRow()
				r.EnrollmentID = fmt.Sprint(i)
				if !yield(r, nil) {
					return
				}
				if (i+1)%(*rowsFlag/4) == 0 {
					most = max(most, heap())
				}
			}
		})
		require.NoError(t, err)
		require.Equal(t, *rowsFlag, n)
		t.Logf("%s: %d rows of %d bytes, %d bytes more on the heap", name, n, int(written)/n, int64(most)-int64(start))
		require.Less(t, int64(most)-int64(start), int64(1<<20), name)
		require.Greater(t, int(written), 4<<20)
	}
}

// A row costs its strings that are not there yet, and no tables.
func TestCellsAllocateLittle(t *testing.T) { // not parallel: it measures
	row := fullRow()
	row.Summary.Findings = row.Summary.Findings[:1]
	allocs := testing.AllocsPerRun(100, func() { row.Cells(activationlock.Dutch) })
	require.LessOrEqual(t, allocs, 6.0) // the list, the groups and four times
}

type counter int

func (c *counter) Write(p []byte) (int, error) {
	*c += counter(len(p))
	return len(p), nil
}

func TestMatches(t *testing.T) {
	t.Parallel()
	full, plain := fullRow(), inventory.Row{EnrollmentID: "x"}
	unsupervised := fullRow()
	unsupervised.Supervised = new(false)
	for _, test := range []struct {
		filter                    inventory.Filter
		full, unsupervised, plain bool
	}{
		{inventory.Filter{}, true, true, true},
		{inventory.Filter{Statuses: []activationlock.Status{activationlock.EnabledWithBypassCode}}, true, true, false},
		{inventory.Filter{Statuses: []activationlock.Status{activationlock.NotEnabled}}, false, false, false},
		{inventory.Filter{Statuses: []activationlock.Status{activationlock.NotEnabled, activationlock.EnabledWithBypassCode}}, true, true, false},
		{inventory.Filter{Ownerships: []inventory.Ownership{inventory.Company}}, true, true, false},
		{inventory.Filter{Ownerships: []inventory.Ownership{inventory.OwnershipUnknown, inventory.Personal}}, false, false, true},
		{inventory.Filter{Groups: []string{"sales"}}, true, true, false},
		{inventory.Filter{Groups: []string{"none", "Leiden"}}, true, true, false},
		{inventory.Filter{Groups: []string{"leiden", "Leiden, sales", ""}}, false, false, false},
		{inventory.Filter{Platforms: []mdmcmd.Platform{mdmcmd.MacOS, mdmcmd.IOS}}, true, true, false},
		{inventory.Filter{Platforms: []mdmcmd.Platform{""}}, false, false, true},
		{inventory.Filter{Findings: []inventory.FindingKind{inventory.NotSeen}}, true, true, false},
		{inventory.Filter{Findings: []inventory.FindingKind{inventory.MayLock}}, false, false, false},
		{inventory.Filter{Supervised: new(true)}, true, false, false},
		{inventory.Filter{Supervised: new(false)}, false, true, false},
		{inventory.Filter{Reassign: []activationlock.Verdict{activationlock.No}}, true, true, false},
		{inventory.Filter{Reassign: []activationlock.Verdict{activationlock.Yes, activationlock.VerdictUnknown}}, false, false, true},
		{inventory.Filter{Severity: inventory.Notice}, true, true, false},
		{inventory.Filter{Severity: inventory.Critical}, true, true, false},
		{inventory.Filter{Severity: inventory.Critical + 1}, false, false, false},
		{inventory.Filter{Live: true}, true, true, false},
		{inventory.Filter{Text: "C02X"}, true, true, false},
		{inventory.Filter{Text: "c02"}, true, true, false},
		{inventory.Filter{Text: "ANNA'S"}, true, true, false},
		{inventory.Filter{Text: "phone 16"}, true, true, false},
		{inventory.Filter{Text: "-0011"}, true, true, false},
		{inventory.Filter{Text: "X"}, true, true, true},
		{inventory.Filter{Text: "iPhone17,3"}, false, false, false},
		{inventory.Filter{Text: "16C02X"}, false, false, false},
		{inventory.Filter{Live: true, Supervised: new(true), Text: "nobody"}, false, false, false},
	} {
		require.Equal(t, test.full, test.filter.Matches(full), "%+v", test.filter)
		require.Equal(t, test.unsupervised, test.filter.Matches(unsupervised), "%+v", test.filter)
		require.Equal(t, test.plain, test.filter.Matches(plain), "%+v", test.filter)
	}
	// Only ASCII letters have a case that all databases know.
	r := inventory.Row{DeviceName: "ZOË’S \u212a"} // the Kelvin sign
	require.True(t, inventory.Filter{Text: "zoË’s"}.Matches(r))
	require.False(t, inventory.Filter{Text: "zoë"}.Matches(r))
	require.False(t, inventory.Filter{Text: "k"}.Matches(r))
	require.True(t, inventory.Filter{Text: "@["}.Matches(inventory.Row{DeviceName: "@["}))
}

func TestRowOf(t *testing.T) {
	t.Parallel()
	d := made(disputed, company)
	d.SetGroups("g")
	d.Facts.DeviceName, d.Facts.ModelName = "Anna", "iPhone 16"
	d.summary()
	r := inventory.RowOf(&d.Record)
	require.Equal(t, inventory.Row{
		EnrollmentID: "E", SerialNumber: "S", DeviceName: "Anna", ModelName: "iPhone 16", OSVersion: "26.1", ProductName: "iPhone17,3",
		Platform: mdmcmd.IOS, Ownership: inventory.Company, Groups: []string{"g"}, Supervised: new(true), LastSeen: day(100), Summary: d.Summary, Live: true,
	}, r)
	// Nothing of it is shared.
	r.Groups[0], *r.Supervised, r.Summary.Findings[0].Days = "x", false, 7
	require.Equal(t, "g", d.Groups[0])
	require.True(t, *d.Facts.Supervised)
	require.Zero(t, d.Summary.Findings[0].Days)
	ended(d)
	d.Facts.Supervised = nil
	r = inventory.RowOf(&d.Record)
	require.False(t, r.Live)
	require.Nil(t, r.Supervised)
}

func TestCoverage(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		devices, lockless, withCode int
		want                        float64
	}{{0, 0, 0, 1}, {4, 0, 1, 0.25}, {5, 1, 1, 0.25}, {5, 1, 4, 1}, {5, 5, 0, 1}, {5, 1, 5, 1}, {3, 0, 0, 0}} {
		totals := inventory.Totals{Devices: test.devices, WithCode: test.withCode, Statuses: map[activationlock.Status]int{activationlock.NotApplicable: test.lockless}}
		require.InDelta(t, test.want, totals.Coverage(), 1e-9)
	}
	require.InDelta(t, 1, inventory.Totals{}.Coverage(), 1e-9)
}

// fake is a store of a number of rows.
type fake struct {
	inventory.Store
	rows    int
	queries []inventory.Query
	fail    int                     // the page that fails, from 1
	places  map[*inventory.Row]bool // where pages were put
}

func (f *fake) List(ctx context.Context, q inventory.Query) ([]inventory.Row, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if f.queries = append(f.queries, q); len(f.queries) == f.fail {
		return nil, errBroken
	}
	page, from := q.Into[:0], 0
	if q.After != "" {
		fmt.Sscanf(q.After, "after %d", &from)
	}
	for i := from; i < min(f.rows, from+q.Limit); i++ {
		page = append(page, inventory.Row{EnrollmentID: fmt.Sprint(i), Cursor: fmt.Sprintf("after %d", i+1)})
	}
	if len(page) > 0 && f.places != nil {
		f.places[&page[0]] = true
	}
	return page, nil
}

const page = inventory.MaxPage

// A long report is read into the places of two pages, and none is read into that
// whose rows are passed on.
func TestRowsReusePages(t *testing.T) {
	t.Parallel()
	store, n := &fake{rows: 9*page + 1, places: map[*inventory.Row]bool{}}, 0
	for r, err := range inventory.Rows(t.Context(), store, inventory.Query{Into: make([]inventory.Row, page)}) {
		require.NoError(t, err)
		require.Equal(t, fmt.Sprint(n), r.EnrollmentID)
		n++
	}
	require.Equal(t, store.rows, n)
	require.Len(t, store.queries, 10)
	require.Len(t, store.places, 2)
	require.Nil(t, store.queries[0].Into) // who asks may still want it
}

func TestRows(t *testing.T) {
	t.Parallel()
	q := inventory.Query{Filter: inventory.Filter{Live: true, Text: "x"}, Sort: inventory.BySeverity, Descending: true}
	for _, c := range []struct{ limit, page, rows, pages int }{
		{0, page, 0, 1}, {0, page, 1, 1}, {0, page, page - 1, 1}, {0, page, page, 2}, {0, page, page + 1, 2}, {0, page, 2*page + 5, 3},
		{-1, page, page + 1, 2}, {math.MinInt, page, page + 1, 2}, {page + 1, page, page + 1, 2}, {math.MaxInt, page, page + 1, 2},
		{page, page, page + 1, 2}, {page - 1, page - 1, page - 1, 2}, {3, 3, 0, 1}, {3, 3, 2, 1}, {3, 3, 3, 2}, {3, 3, 20, 7}, {1, 1, 4, 5},
	} {
		q.Limit = c.limit
		store, n := &fake{rows: c.rows}, 0
		for r, err := range inventory.Rows(t.Context(), store, q) {
			require.NoError(t, err)
			require.Equal(t, fmt.Sprint(n), r.EnrollmentID)
			n++
		}
		require.Equal(t, c.rows, n)
		require.Len(t, store.queries, c.pages)
		for i, asked := range store.queries {
			want := q
			want.Limit = c.page
			if i > 0 {
				want.After = fmt.Sprintf("after %d", i*c.page)
			}
			asked.Into = nil
			require.Equal(t, want, asked)
		}
		require.Equal(t, c.limit, q.Limit)
	}

	// It begins where it is told to, and again each time that it is ranged over.
	store := &fake{rows: page + 500}
	q.Limit, q.After = 0, fmt.Sprint("after ", page+498)
	rows := inventory.Rows(t.Context(), store, q)
	for range 2 {
		var ids []string
		for r := range rows {
			ids = append(ids, r.EnrollmentID)
		}
		require.Equal(t, []string{fmt.Sprint(page + 498), fmt.Sprint(page + 499)}, ids)
	}

	// Who stops is asked for no more.
	store = &fake{rows: 2*page + 500}
	for r := range inventory.Rows(t.Context(), store, inventory.Query{}) {
		if r.EnrollmentID == fmt.Sprint(page-1) {
			break
		}
	}
	require.Len(t, store.queries, 1)
}

func TestRowsFailMidway(t *testing.T) {
	t.Parallel()
	n, failed := 0, 0
	for _, err := range inventory.Rows(t.Context(), &fake{rows: 2*page + 500, fail: 2}, inventory.Query{}) {
		if err != nil {
			require.ErrorIs(t, err, errBroken)
			require.EqualError(t, err, "inventory: rows: broken")
			failed++
		} else {
			n++
		}
	}
	require.Equal(t, page, n)
	require.Equal(t, 1, failed)

	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	n = 0
	var last error
	for r, err := range inventory.Rows(ctx, &fake{rows: 2*page + 500}, inventory.Query{}) {
		if last = err; err == nil {
			n++
		}
		if r.EnrollmentID == "5" {
			cancel()
		}
	}
	require.ErrorIs(t, last, context.Canceled)
	require.Equal(t, page, n)
}

// hooked is a store whose pages from one on do something else.
type hooked struct {
	fake
	from int
	hook func(context.Context) error
	in   atomic.Int32 // calls that have not returned
}

func (h *hooked) List(ctx context.Context, q inventory.Query) ([]inventory.Row, error) {
	h.in.Add(1)
	defer h.in.Add(-1)
	if len(h.queries)+1 >= h.from {
		if err := h.hook(ctx); err != nil {
			return nil, err
		}
	}
	return h.fake.List(ctx, q)
}

// The page after the next is read meanwhile, and nothing of that is left behind.
func TestRowsReadAhead(t *testing.T) {
	t.Parallel()
	began := make(chan struct{})
	store := &hooked{fake: fake{rows: 10 * page}, from: 3, hook: func(ctx context.Context) error {
		close(began)
		<-ctx.Done()
		return ctx.Err()
	}}
	for r, err := range inventory.Rows(t.Context(), store, inventory.Query{}) {
		require.NoError(t, err)
		if r.EnrollmentID == fmt.Sprint(page) { // the first of the second page
			<-began
			break
		}
	}
	require.Zero(t, store.in.Load())
	require.Len(t, store.queries, 2)

	// What is over while a page is read ahead, ends before that page.
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	n := 0
	var last error
	for r, err := range inventory.Rows(ctx, &fake{rows: 10 * page}, inventory.Query{}) {
		if last = err; err == nil {
			n++
		}
		if r.EnrollmentID == fmt.Sprint(page+page/2) {
			cancel()
		}
	}
	require.ErrorIs(t, last, context.Canceled)
	require.Equal(t, 2*page, n)

	// An error comes after the rows before it.
	n = 0
	for _, err := range inventory.Rows(t.Context(), &fake{rows: 10 * page, fail: 4}, inventory.Query{}) {
		if last = err; err == nil {
			n++
		}
	}
	require.ErrorIs(t, last, errBroken)
	require.Equal(t, 3*page, n)

	// A panic comes where whoever ranges can recover it, and a goroutine that the
	// store has ended is no end of the rows.
	store = &hooked{fake: fake{rows: 10 * page}, from: 3, hook: func(context.Context) error { panic("the store") }}
	require.PanicsWithValue(t, "the store", func() {
		for range inventory.Rows(t.Context(), store, inventory.Query{}) {
		}
	})
	store = &hooked{fake: fake{rows: 10 * page}, from: 3, hook: func(context.Context) error { runtime.Goexit(); return nil }}
	for _, err := range inventory.Rows(t.Context(), store, inventory.Query{}) {
		last = err
	}
	require.EqualError(t, last, "inventory: rows: the store did not return")
}

func BenchmarkReport(b *testing.B) {
	row := fullRow()
	cells := row.Cells(activationlock.Dutch)
	one := rowsOf(nil, row)
	many := func(yield func(inventory.Row, error) bool) {
		for range 1000 {
			for r, err := range one {
				if !yield(r, err) {
					return
				}
			}
		}
	}
	for name, write := range writers {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := write(io.Discard, many); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	b.Run("encoding/csv alone", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			out := csv.NewWriter(io.Discard)
			out.UseCRLF = true
			for range 1000 {
				if err := out.Write(cells); err != nil {
					b.Fatal(err)
				}
			}
			out.Flush()
		}
	})
}
