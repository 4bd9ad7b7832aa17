package main

import (
	"bufio"
	"cmp"
	"context"
	"io"
	"iter"
	"slices"
	"time"

	"github.com/activationlock/sdk/activationlock"
	"github.com/activationlock/sdk/inventory"
)

// shownFinding is a finding in JSON.
type shownFinding struct {
	SerialNumber string                `json:"serialNumber"`
	EnrollmentID string                `json:"enrollmentID"`
	DeviceName   string                `json:"deviceName"`
	Kind         inventory.FindingKind `json:"kind"`
	Severity     string                `json:"severity"`
	Since        time.Time             `json:"since,omitzero"`
	Days         int                   `json:"days,omitempty"`
	Finding      string                `json:"finding"`
	Advice       string                `json:"advice,omitempty"`
}

func newShownFinding(x found, l activationlock.Language, advice bool) shownFinding {
	shown := shownFinding{
		x.SerialNumber, x.EnrollmentID, x.DeviceName, x.Kind, x.Severity.Label(activationlock.English), x.Since, x.Days, x.Label(l), "",
	}
	if advice {
		shown.Advice = x.Advice(l)
	}
	return shown
}

// findings are those to list.
type findings struct {
	filter         inventory.Filter
	language       activationlock.Language
	advice, asJSON bool
}

func runFindings(c *console, args []string) error {
	f := newFlags("alctl findings", storeUsage+" [flags]", `Lists what is wrong with the devices in the inventory of a store: the worst first,
and of the same severity by serial number. With -finding or -severity only such
findings are listed. Of flags that filter, a device has to fit each; of the values
of one flag, one. No key is needed, and the audit is not told.

The inventory is read once for each severity, so that memory does not grow with
it; what the server changes meanwhile may be listed twice, or not.`,
		"-store codes.db -live -severity critical -advice")
	a := c.access(f)
	var list findings
	f.filter(&list.filter)
	f.language(&list.language)
	f.BoolVar(&list.advice, "advice", false, "tell what to do, too")
	f.BoolVar(&list.asJSON, "json", false, "print one JSON object per line, in which only the sentences are in -language")
	if err := a.parse(args, 0); err != nil {
		return err
	}
	if err := noCodes(append(slices.Clone(list.filter.Groups), list.filter.Text)...); err != nil {
		return err
	}
	ctx, stop := c.interruptible()
	defer stop()
	o, err := a.inventory(ctx)
	if err != nil {
		return err
	}
	defer o.close()
	n, err := list.write(ctx, c.stdout, o)
	if err == nil && n == 0 && !list.asJSON {
		c.out.WriteString(in(list.language, "No findings.", "Geen bevindingen.") + "\n")
	}
	return explained(ctx, err)
}

// write writes findings, and returns how many.
func (f *findings) write(ctx context.Context, w io.Writer, o *opened) (n int, err error) {
	l, buffer := f.language, bufio.NewWriter(w)
	t := newTable(buffer, in(l, "DEVICE", "APPARAAT"), in(l, "SEVERITY", "ERNST"), in(l, "SINCE", "SINDS"), in(l, "FINDING", "BEVINDING"))
	for x, failed := range f.all(ctx, o) {
		if err = failed; err != nil {
			break
		}
		if f.asJSON {
			err = printLine(buffer, newShownFinding(x, l, f.advice))
		} else {
			sentences := x.Label(l)
			if f.advice {
				sentences += " " + x.Advice(l)
			}
			err = t.add(nameOfRow(x.Row), x.Severity.Label(l), moment(x.Since), orDash(sentences))
		}
		if err != nil {
			break
		}
		n++
	}
	if !f.asJSON && n > 0 {
		err = cmp.Or(err, t.flush())
	}
	return n, cmp.Or(err, unwritten(buffer.Flush()))
}

// found is a finding with its device.
type found struct {
	inventory.Row
	inventory.Finding
}

// all streams findings; an error ends it.
func (f *findings) all(ctx context.Context, o *opened) iter.Seq2[found, error] {
	return func(yield func(found, error) bool) {
		for _, severity := range severities {
			if severity < f.filter.Severity {
				return
			}
			q := inventory.Query{Filter: f.filter, Sort: inventory.BySerialNumber}
			q.Filter.Severity = severity
			for row, err := range o.rows(ctx, q) {
				if err != nil {
					yield(found{}, err)
					return
				}
				for _, x := range row.Summary.Findings {
					wanted := len(f.filter.Findings) == 0 || slices.Contains(f.filter.Findings, x.Kind)
					if x.Severity == severity && wanted && !yield(found{row, x}, nil) {
						return
					}
				}
			}
		}
	}
}
