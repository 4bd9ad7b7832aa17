package main

import (
	"bytes"
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/activationlock/sdk/activationlock"
	"github.com/activationlock/sdk/activationlock/bypass"
	"github.com/activationlock/sdk/bypasscode/escrow"
	"github.com/activationlock/sdk/examples/internal/operator"
)

func runBypassBulk(c *console, args []string) error {
	f := newFlags("alctl bypass bulk", storeUsage+" -id NAME -csv FILE -in-hand -actor NAME -reason TEXT -key FILE\n"+
		"       -organization NAME -cert FILE -cert-key FILE [flags]", `Has Apple remove the locks of many devices, one call at a time. When Apple asks to
wait, all wait. It may be interrupted, and goes on when the same is run again with
the same -id: what is over is not done again. Exit code 0 means that all are done.

The CSV file has a serial number in the first cell of each line, or in the column
of -column, which its first line then names. A report is such a file too.

With -dry-run nothing is sent or stored, and -in-hand, -key, -organization, -cert
and -cert-key are not needed.`,
		"-store codes.db -id summer -csv devices.csv -in-hand -actor anna@example.com -reason \"end of term\" \\\n"+
			"    -key escrow.key -organization \"Example School\" -cert push.pem -cert-key push.key -report summer.csv")
	a := c.access(f)
	a.audited()
	u := a.calling()
	i := bulk{console: c}
	var list, column string
	var comma rune
	var inHand bool
	f.text(&i.ID, "id", "`NAME` of the run, at most 64 bytes without a slash")
	f.text(&list, "csv", "CSV `FILE` with the serial numbers; \"-\" is standard input")
	f.text(&column, "column", "`NAME` of the column with the serial numbers")
	f.comma(&comma)
	f.BoolVar(&inHand, "in-hand", false, "you have all these devices at hand; required, as a lock that is lifted from afar helps a thief")
	f.BoolVar(&a.dryRun, "dry-run", false, "only say what a run would begin with")
	pace := f.pace()
	f.text(&i.file, "report", "CSV `FILE` to write what came of each device to; a report that is there is replaced")
	if err := a.parse(args, 0); err != nil {
		return err
	}
	switch {
	case i.ID == "" || list == "":
		return usageError("-id and -csv are required")
	case !escrow.ValidIdentifier(i.ID) || len(i.ID) > 64 || strings.Contains(i.ID, "/"):
		return usageError("-id has at most 64 bytes of text without a slash")
	case !inHand && !a.dryRun:
		return usageError("-in-hand is required: say so only if you have the devices at hand")
	}
	if err := noCodes(i.ID); err != nil {
		return err
	}
	if !a.dryRun {
		if err := u.check(); err != nil {
			return err
		}
	}
	serials, err := c.readSerials(list, column, comma)
	if err != nil {
		return fmt.Errorf("read -csv: %w", err)
	}
	if err := checkReport(i.file); err != nil {
		return fmt.Errorf("write -report: %w", err)
	}
	for _, serial := range serials {
		i.Starts = append(i.Starts, bypass.Start{Subject: escrow.Subject{SerialNumber: serial}, Act: *a.by, InHand: inHand || a.dryRun})
	}
	i.Pace, i.DryRun, i.language = *pace, a.dryRun, u.language
	ctx, stop := c.interruptible()
	defer stop()
	var o *opened
	var b *bypass.Bypass
	var client *appleClient
	if a.dryRun {
		if o, err = a.open(ctx, noSealer{}, escrow.Config{}); err == nil {
			defer o.close()
			b, err = o.bypass(noOrganization, nil)
		}
	} else if o, b, client, err = u.open(ctx, i.pause); err == nil {
		defer o.close()
		c.line("%s %s", in(i.language, "Warning:", "Let op:"), bypass.WarningRelock.Label(i.language))
	}
	if err != nil {
		return err
	}
	return i.run(ctx, b, client)
}

// bulk is a bulk run and where it is reported.
type bulk struct {
	*console
	bypass.Bulk
	file     string
	language activationlock.Language
	progress *progress
}

func (i *bulk) run(ctx context.Context, b *bypass.Bypass, client *appleClient) error {
	i.progress = i.console.progress("devices", int64(len(i.Starts)), false)
	defer i.progress.end()
	i.Progress = i.tell
	report, failed := b.Bulk(ctx, i.Bulk, client)
	i.progress.end()
	for n := range report.Rows {
		row := &report.Rows[n]
		if row.ID == "" {
			row.Subject = i.Starts[n].Subject
			if row.Err == nil {
				row.Err = errors.New("not begun")
			}
		}
	}
	i.summary(report)
	if err := i.report(report); err != nil {
		i.warn("write -report", err)
		if failed == nil {
			failed = errors.New("the report is not written")
		}
	}
	total, done := len(report.Rows), report.Count(bypass.Done)
	switch {
	case failed != nil:
		return partialError(fmt.Sprintf("%v; what is done stays; to go on: the same again, with the same -id", explained(ctx, failed)))
	case i.DryRun && total > done+report.Count(bypass.Pending)+report.Count(bypass.Active):
		return partialError(fmt.Sprintf("for %d of %d devices there is nothing to send", total-done-report.Count(bypass.Pending)-report.Count(bypass.Active), total))
	case !i.DryRun && total > done:
		return partialError(fmt.Sprintf("%d of %d locks are not removed", total-done, total))
	}
	return nil
}

// tell tells of a device that is over.
func (i *bulk) tell(over, total int, a bypass.Action) {
	if i.bar == nil || a.State != bypass.Done {
		text := strings.Join(append([]string{a.State.Label(i.language)}, whyNot(a, i.language)...), ". ")
		i.line("%d/%d %s: %s", over, total, printable(a.Subject.SerialNumber), text)
	}
	if i.bar != nil {
		i.progress.step(0)
	}
}

// pause waits, and says so if it takes long.
func (i *bulk) pause(ctx context.Context, d time.Duration) error {
	if d > 10*time.Second {
		i.line("%s %s", in(i.language, "Apple asks to wait; waiting until", "Apple vraagt te wachten; er wordt gewacht tot"), moment(time.Now().Add(d)))
	}
	return sleep(ctx, d)
}

// summary prints how many devices are in which state.
func (i *bulk) summary(report bypass.Report) {
	l := i.language
	if report.DryRun {
		i.out.WriteString(in(l, "Nothing was sent. A run would begin with:\n", "Er is niets verstuurd. Een uitvoering zou beginnen met:\n"))
	}
	pairs := []string{in(l, "devices", "apparaten"), fmt.Sprint(len(report.Rows))}
	none := len(report.Rows)
	for _, s := range []bypass.State{bypass.Done, bypass.Failed, bypass.NotSupported, bypass.Canceled, bypass.Active, bypass.Pending} {
		if n := report.Count(s); n > 0 {
			pairs, none = append(pairs, s.Label(l), fmt.Sprint(n)), none-n
		}
	}
	if none > 0 {
		pairs = append(pairs, in(l, "not begun", "niet begonnen"), fmt.Sprint(none))
	}
	i.facts(pairs...)
}

// reportHeader begins each report.
const reportHeader = "serial_number,enrollment_id,state,"

// checkReport refuses a file that is there and is no report, and one that
// cannot be written.
func checkReport(path string) error {
	if path == "" {
		return nil
	}
	file, err := os.Open(path)
	if err == nil {
		defer file.Close()
		begin := make([]byte, len(reportHeader))
		if n, _ := io.ReadFull(file, begin); string(begin[:n]) != reportHeader {
			return errors.New("the file is there, and is no report")
		}
	} else if !errors.Is(err, fs.ErrNotExist) {
		return reason(err)
	}
	probe, err := os.CreateTemp(filepath.Dir(path), ".report-*")
	if err != nil {
		return reason(err)
	}
	probe.Close()
	return reason(os.Remove(probe.Name()))
}

func (i *bulk) report(report bypass.Report) error {
	if i.file == "" {
		return nil
	}
	var content bytes.Buffer
	if err := report.WriteCSV(&content, i.language); err != nil {
		return err
	}
	if err := writeWhole(i.file, content.Bytes()); err != nil {
		if e, ok := errors.AsType[*os.LinkError](err); ok {
			err = e.Err
		}
		return reason(err)
	}
	return nil
}

// readSerials reads the serial numbers of a CSV file, each once. Nothing of the
// file is in an error.
func (c *console) readSerials(path, column string, comma rune) ([]string, error) {
	content, err := c.read(path)
	if err != nil {
		return nil, err
	}
	r := csv.NewReader(bytes.NewReader(bytes.TrimPrefix(content, []byte("\ufeff"))))
	r.FieldsPerRecord, r.TrimLeadingSpace = -1, true
	if comma != 0 {
		r.Comma = comma
	}
	rows, err := r.ReadAll()
	if e, ok := errors.AsType[*csv.ParseError](err); ok {
		return nil, fmt.Errorf("line %d: %w", e.Line, e.Err)
	}
	if err != nil {
		return nil, err
	}
	header, _, _ := strings.Cut(reportHeader, ",")
	at := 0
	switch {
	case len(rows) == 0:
	case column != "":
		if at = slices.Index(rows[0], column); at < 0 {
			return nil, errors.New("its first line does not name the column of -column")
		}
		rows = rows[1:]
	case rows[0][0] == header:
		rows = rows[1:]
	}
	seen := map[string]bool{}
	var serials []string
	for n, row := range rows {
		serial := ""
		if at < len(row) {
			serial = strings.TrimSpace(row[at])
		}
		switch {
		case serial == "" || seen[serial]:
			continue
		case operator.HoldsCode(serial):
			return nil, fmt.Errorf("serial number %d is a code, as if columns were mixed up", n+1)
		case !escrow.ValidIdentifier(serial):
			return nil, fmt.Errorf("serial number %d is none", n+1)
		}
		seen[serial], serials = true, append(serials, serial)
	}
	if len(serials) == 0 {
		return nil, errors.New("it has no serial number")
	}
	return serials, nil
}
