package main

import (
	"bufio"
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"
	"strconv"
	"time"

	"github.com/activationlock/sdk/activationlock"
	"github.com/activationlock/sdk/inventory"
)

// report is what a report is to be.
type report struct {
	query       inventory.Query
	format, out string
	language    activationlock.Language
	totals      bool
}

func runReport(c *console, args []string) error {
	f := newFlags("alctl report", storeUsage+" [flags]", `Writes a report of the devices in the inventory of a store, a row for each
enrollment, or with -totals their numbers. Of flags that filter, a device has to fit
each; of the values of one flag, one. Memory does not grow with the report. No code
is in it, no key is needed, and the audit is not told.

A table is for a terminal, and leaves columns out. A CSV file has the words of
-language, and cells that a spreadsheet would take for a formula begin with an
apostrophe. JSON (an array) and JSON Lines have the same words in all languages. A
report to standard output that fails has what was written until then.

What it says is what the server wrote last. When it computed the status and the
findings of a row, the last column of a CSV file and "computedAt" in JSON say.`,
		"-store codes.db -live -status enabledWithBypassCode,unknown -format csv -language nl -out report.csv")
	a := c.access(f)
	r := report{format: "table"}
	f.filter(&r.query.Filter)
	f.oneOf(&r.format, "format", "`FORMAT` of the report (default table)", "csv", "json", "jsonl", "table")
	f.oneOf((*string)(&r.query.Sort), "sort", "`COLUMN` to sort by, text in byte order (default the enrollment ID)",
		string(inventory.BySerialNumber), string(inventory.ByDeviceName), string(inventory.ByLastSeen), string(inventory.BySeverity))
	f.BoolVar(&r.query.Descending, "descending", false, "sort the other way round")
	f.text(&r.out, "out", "`FILE` to write to, for you alone; it must not exist, and after an error there is none")
	f.BoolVar(&r.totals, "totals", false, "print the numbers, as a table or JSON")
	f.language(&r.language)
	if err := a.parse(args, 0); err != nil {
		return err
	}
	if err := noCodes(append(slices.Clone(r.query.Filter.Groups), r.query.Filter.Text)...); err != nil {
		return err
	}
	switch {
	case r.out == "-":
		return usageError("-out is a file; without it, the report goes to standard output")
	case r.totals && (r.out != "" || r.query.Sort != "" || r.query.Descending):
		return usageError("-totals goes without -sort, -descending and -out")
	case r.totals && r.format != "table" && r.format != "json":
		return usageError("-totals is a table or json")
	}
	ctx, stop := c.interruptible()
	defer stop()
	o, err := a.inventory(ctx)
	if err != nil {
		return err
	}
	defer o.close()
	if r.totals {
		return explained(ctx, r.printTotals(ctx, c, o))
	}
	if r.out == "" {
		_, err := r.write(ctx, c.stdout, o)
		return explained(ctx, err)
	}
	n := 0
	err = writeNew(r.out, func(w io.Writer) (err error) {
		n, err = r.write(ctx, w, o)
		return err
	})
	if err == nil {
		fmt.Fprintf(&c.out, "%d %s\n", n, in(r.language, "rows written", "rijen geschreven"))
	}
	return explained(ctx, err)
}

// write writes rows, and returns how many.
func (r *report) write(ctx context.Context, w io.Writer, o *opened) (n int, err error) {
	buffer := bufio.NewWriter(w)
	rows := o.rows(ctx, r.query)
	switch r.format {
	case "csv":
		n, err = inventory.WriteCSV(buffer, rows, r.language)
	case "json":
		n, err = inventory.WriteJSON(buffer, rows)
	case "jsonl":
		n, err = inventory.WriteJSONLines(buffer, rows)
	default:
		l := r.language
		t := newTable(buffer, in(l, "DEVICE", "APPARAAT"), in(l, "NAME", "NAAM"), "STATUS", in(l, "CODE SINCE", "CODE SINDS"),
			in(l, "MAY BE REASSIGNED", "MAG WORDEN DOORGEGEVEN"), in(l, "WORST FINDING", "ERGSTE BEVINDING"), in(l, "LAST SEEN", "LAATST GEZIEN"))
		for row, failed := range rows {
			if err = failed; err != nil {
				break
			}
			s := row.Summary
			if err = t.add(nameOfRow(row), orDash(row.DeviceName), orDash(s.Status.Label(l)), moment(s.CodeSince), s.Reassign.Label(l),
				orDash(s.Severity().Label(l)), moment(row.LastSeen)); err != nil {
				break
			}
			n++
		}
		err = cmp.Or(err, t.flush())
	}
	return n, unwritten(cmp.Or(err, buffer.Flush()))
}

// shownTotals are the numbers in JSON.
type shownTotals struct {
	At           time.Time                     `json:"at"`
	Devices      int                           `json:"devices"`
	Statuses     map[activationlock.Status]int `json:"statuses"`   // all are there
	Severities   map[string]int                `json:"severities"` // of the worst finding
	WithCode     int                           `json:"withCode"`
	Coverage     float64                       `json:"coverage"`
	Reassignable int                           `json:"reassignable"`
	Overdue      int                           `json:"overdue"`
}

func (r *report) printTotals(ctx context.Context, c *console, o *opened) error {
	now := time.Now().UTC()
	t, err := o.records.Totals(ctx, r.query.Filter, now)
	if err != nil {
		return err
	}
	t.Statuses[activationlock.Unknown] += t.Statuses[""] // nothing was computed yet
	known := statuses[:len(statuses)-1]
	if r.format == "json" {
		shown := shownTotals{
			At: now, Devices: t.Devices, Statuses: map[activationlock.Status]int{}, Severities: map[string]int{"none": t.Severities[0]},
			WithCode: t.WithCode, Coverage: t.Coverage(), Reassignable: t.Reassignable, Overdue: t.Overdue,
		}
		for _, s := range known {
			shown.Statuses[s] = t.Statuses[s]
		}
		for _, s := range severities {
			shown.Severities[s.Label(activationlock.English)] = t.Severities[s]
		}
		return c.printJSON(shown)
	}
	l := r.language
	worst := in(l, "worst finding: ", "ergste bevinding: ")
	pairs := []string{in(l, "devices", "apparaten"), strconv.Itoa(t.Devices)}
	for _, s := range known {
		name := cmp.Or(s.Label(l), in(l, "Has no Activation Lock", "Heeft geen activeringsslot"))
		pairs = append(pairs, "status: "+name, strconv.Itoa(t.Statuses[s]))
	}
	for _, s := range severities {
		pairs = append(pairs, worst+s.Label(l), strconv.Itoa(t.Severities[s]))
	}
	pairs = append(pairs,
		worst+in(l, "none", "geen"), strconv.Itoa(t.Severities[0]),
		in(l, "a usable code is held", "er is een bruikbare code bewaard"), fmt.Sprintf(in(l, "%d (%d%% of what can have a lock)", "%d (%d%% van wat een slot kan hebben)"), t.WithCode, int(t.Coverage()*100)),
		in(l, "may be reassigned", "mag worden doorgegeven"), strconv.Itoa(t.Reassignable),
		in(l, "overdue to be looked at", "had al bekeken moeten zijn"), strconv.Itoa(t.Overdue),
	)
	c.facts(pairs...)
	return nil
}
