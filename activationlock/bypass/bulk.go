package bypass

import (
	"cmp"
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/activationlock/sdk/activationlock"
	"github.com/activationlock/sdk/bypasscode/escrow"
	"github.com/activationlock/sdk/internal/spreadsheet"
)

// Bulk lifts the locks of many devices, as on the day when a school's devices
// come back.
type Bulk struct {
	// ID names the run, in 1 to 64 bytes without "/"; required. A run that was
	// stopped goes on with the same ID and the same starts: what is over is not
	// done again.
	ID     string
	Starts []Start // one for each device; their IDs are made of the run's
	// Pace is the time between two calls to Apple. Default one second.
	Pace time.Duration
	// DryRun: store and send nothing, and report what would be tried.
	DryRun bool
	// Progress is told of each action that is over, in the goroutine of the call;
	// nil for nobody.
	Progress func(over, total int, a Action)
}

// Report says what came of a bulk run.
type Report struct {
	BulkID string
	DryRun bool // the actions are what a run would begin with
	// Rows are in the order of the starts.
	Rows []Row
}

// Row is one device of a bulk run.
type Row struct {
	// Action is the run's, or one that was open before the run and is carried on.
	// Where Err says why there is none, it has only the Subject.
	Action
	// Err is why the device has no action, since its Start was wrong or the run
	// ended before, or why its action does not go on.
	Err error
}

// Bulk runs the actions of many devices, one call at a time. When Apple asks to
// wait (429, 503, Retry-After), all wait. It returns a report of all devices
// whatever happens; with an error, such as of store or context, it can be called
// again with the same ID. An error of one device, such as a code that cannot be
// had, does not keep the run from the others; it is returned in the end.
// [ErrRefused] ends a run whose calls Apple refuses; the devices that failed for
// that are taken up again by a run with the same ID.
//
// One device can keep the run for [GiveUpAfter], if Apple always fails for it. Give
// a context with a deadline to have a report before.
func (b *Bypass) Bulk(ctx context.Context, bulk Bulk, client Doer) (Report, error) {
	report, err := b.bulk(ctx, bulk, client)
	if err != nil {
		return report, fmt.Errorf("bypass: bulk: %w", err)
	}
	return report, nil
}

func (b *Bypass) bulk(ctx context.Context, bulk Bulk, client Doer) (Report, error) {
	if client == nil && !bulk.DryRun {
		return Report{}, errNoClient
	}
	report := Report{BulkID: bulk.ID, DryRun: bulk.DryRun, Rows: make([]Row, len(bulk.Starts))}
	if !escrow.ValidIdentifier(bulk.ID) || len(bulk.ID) > 64 || strings.Contains(bulk.ID, "/") {
		return report, errors.New("an ID is required, of at most 64 bytes without a slash")
	}
	if bulk.Pace < 0 {
		return report, errors.New("the pace is negative")
	}
	if bulk.Pace == 0 {
		bulk.Pace = time.Second
	}
	for i, s := range bulk.Starts {
		report.Rows[i] = Row{Action: Action{BulkIDs: []string{bulk.ID}, Subject: s.Subject}, Err: errNotBegun}
	}
	run := &run{Bypass: b, bulk: bulk, client: client, report: &report}
	for i := range bulk.Starts {
		if err := run.begin(ctx, i); err != nil {
			return report, err
		}
	}
	if bulk.DryRun {
		return report, nil
	}
	for {
		waiting, err := run.round(ctx)
		if err != nil || waiting.IsZero() {
			return report, cmp.Or(err, run.first)
		}
		if err := b.pauseUntil(ctx, waiting); err != nil {
			return report, err
		}
	}
}

// run is a bulk run under way.
type run struct {
	*Bypass
	bulk     Bulk
	client   Doer
	report   *Report
	over     int
	earliest time.Time // of the next call
	refused  int       // calls in a row that Apple refused
	failed   int       // errors in a row
	first    error     // of those of single devices
}

// begin makes or finds the action of a device.
func (r *run) begin(ctx context.Context, i int) error {
	s := r.bulk.Starts[i]
	row := &r.report.Rows[i]
	s.bulkID, s.ID = r.bulk.ID, r.bulk.ID+"/"+s.Subject.SerialNumber+s.Subject.EnrollmentID
	if err := ctx.Err(); err != nil {
		return err
	}
	a, err := r.find(ctx, s)
	if err == nil && a.Subject != s.Subject { // an enrollment ID that is also a serial number
		err = errStart
	}
	row.Err = err
	switch {
	case err == nil:
	case errors.Is(err, ErrNotInHand), errors.Is(err, errStart):
		return nil
	default:
		return err
	}
	row.Action = a
	if row.State.Over() && row.Noted {
		r.told(row)
	}
	return nil
}

// find returns the action of a device: one that the run has, a new one, or one
// that is open and now is the run's too. A dry run makes none.
func (r *run) find(ctx context.Context, s Start) (Action, error) {
	if !s.InHand {
		return Action{}, ErrNotInHand
	}
	planned, err := r.plan(ctx, s)
	if err != nil {
		return Action{}, err
	}
	// One that was carried on is not begun anew when it is over.
	others, err := r.ofSubject(ctx, s.Subject)
	if err != nil {
		return Action{}, err
	}
	var last Action
	n := 0
	for _, other := range others {
		if slices.Contains(other.BulkIDs, r.bulk.ID) {
			last = other
			n++
		}
	}
	// What Apple refused was no fault of the device.
	if n > 0 && last.Reason != AppleRefused {
		return last, nil
	}
	if n > 0 {
		s.ID += "/" + strconv.Itoa(n+1)
		planned.ID = s.ID
	}
	var a Action
	if r.bulk.DryRun {
		if a, err = r.existing(ctx, planned); err == nil {
			a = planned
		}
	} else {
		a, err = r.start(ctx, s)
	}
	switch {
	case errors.Is(err, ErrOpen) && a.ID != "" && !r.bulk.DryRun:
		return r.update(ctx, a.ID, func(a *Action) { a.BulkIDs = append(a.BulkIDs, r.bulk.ID) })
	case a.ID != "" && (errors.Is(err, ErrExists) || errors.Is(err, ErrOpen)):
		return a, nil
	}
	return a, err
}

var errNotBegun = errors.New("the run ended before")

// told tells of an action that is over.
func (r *run) told(row *Row) {
	if r.over++; r.bulk.Progress != nil && !r.bulk.DryRun {
		r.bulk.Progress(r.over, len(r.report.Rows), row.Action)
	}
}

// round gives every action that is not over one call, and returns until when to
// wait before the next round, zero if all are over.
func (r *run) round(ctx context.Context) (waiting time.Time, err error) {
	for i := range r.report.Rows {
		row := &r.report.Rows[i]
		if row.Err != nil || row.State.Over() && row.Noted {
			continue
		}
		next := time.Time{}
		switch step := row.Next(r.now()); step.Do {
		case Wait:
			next = step.At
		case Send:
			if err := r.pauseUntil(ctx, r.earliest); err != nil {
				return time.Time{}, err
			}
		}
		if next.IsZero() {
			if err := r.turn(ctx, row); err != nil {
				if r.failed++; r.failed >= failedInARow || ctx.Err() != nil || errors.Is(err, ErrRefused) {
					return time.Time{}, err
				}
				row.Err = err // the others need not suffer
				r.first = cmp.Or(r.first, err)
				continue
			}
			r.failed = 0
			if row.State.Over() {
				r.told(row)
				continue
			}
			next = row.NextAt
		}
		if next = later(next, r.earliest); waiting.IsZero() || next.Before(waiting) {
			waiting = next
		}
	}
	return waiting, nil
}

// turn gives an action that may have one a call.
func (r *run) turn(ctx context.Context, row *Row) error {
	call, a, err := r.next(ctx, row.ID)
	if err == nil && call != nil {
		answer := send(ctx, r.client, call.Request)
		a, err = r.keep(ctx, call, answer)
		r.earliest = r.now().Add(r.bulk.Pace)
		if answer.StatusCode == http.StatusTooManyRequests || answer.StatusCode == http.StatusServiceUnavailable || answer.RetryAfter > 0 {
			// It means all of us. Other faults may be of this device alone.
			wait := min(max(answer.RetryAfter, firstPause), longestWait)
			r.earliest = later(r.earliest, later(r.now().Add(wait), a.NextAt))
		}
	}
	if a.ID != "" {
		row.Action = a
	}
	if call == nil || err != nil {
		return err
	}
	if r.refused++; a.Reason != AppleRefused {
		r.refused = 0
	}
	if r.refused >= refusedInARow {
		return ErrRefused
	}
	return nil
}

// refusedInARow is after how many refused calls a run ends: the fault is ours, and
// the other devices shall not fail for it.
const refusedInARow = 3

// failedInARow is after how many errors a run ends: the store is down.
const failedInARow = 3

func (b *Bypass) pauseUntil(ctx context.Context, t time.Time) error {
	if d := t.Sub(b.now()); d > 0 {
		return b.config.Pause(ctx, d)
	}
	return ctx.Err()
}

// Count returns the number of devices in a state; those without an action are in
// none.
func (r Report) Count(s State) (n int) {
	for _, row := range r.Rows {
		if row.Err == nil && row.State == s {
			n++
		}
	}
	return n
}

// WriteCSV writes the report as a CSV file (RFC 4180, UTF-8), a line for each
// device, times in UTC (RFC 3339). Cells that a spreadsheet would take for a
// formula begin with an apostrophe. No code is in it.
func (r Report) WriteCSV(w io.Writer, l activationlock.Language) error {
	out := csv.NewWriter(w)
	out.UseCRLF = true
	lines := [][]string{{"serial_number", "enrollment_id", "state", "reason", "codes", "sent", "status_code", "started_at", "ended_at", "next_at", "action_id"}}
	for _, row := range r.Rows {
		lines = append(lines, row.cells(l))
	}
	for _, line := range lines {
		for i := range line {
			line[i] = spreadsheet.HarmlessAnywhere(line[i])
		}
		if err := out.Write(line); err != nil {
			return fmt.Errorf("bypass: write CSV: %w", err)
		}
	}
	out.Flush()
	if err := out.Error(); err != nil {
		return fmt.Errorf("bypass: write CSV: %w", err)
	}
	return nil
}

func (row *Row) cells(l activationlock.Language) []string {
	sent, status := 0, ""
	for _, t := range row.Attempts {
		if t.Tries > 0 {
			sent++
		}
		if t.StatusCode != 0 {
			status = strconv.Itoa(t.StatusCode)
		}
	}
	return []string{
		row.Subject.SerialNumber, row.Subject.EnrollmentID, row.State.Label(l), row.why(l), strconv.Itoa(len(row.Attempts)), strconv.Itoa(sent), status,
		formatTime(row.StartedAt), formatTime(row.EndedAt), formatTime(row.NextAt), row.ID,
	}
}

// why says in words why there is no action, or why it did not come to an unlock.
func (row *Row) why(l activationlock.Language) string {
	for err, label := range map[error]texts{ErrNotInHand: notInHandLabel, errStart: startLabel, errNotBegun: notBegunLabel} {
		if errors.Is(row.Err, err) {
			return cmp.Or(label[l], label[activationlock.English])
		}
	}
	if row.Err != nil {
		return row.Err.Error()
	}
	sentences := []string{}
	if row.Reason != "" {
		sentences = append(sentences, row.Reason.Label(l))
	}
	if row.MaybeUnlocked() && row.Reason != MaybeUnlocked {
		sentences = append(sentences, MaybeUnlocked.Label(l))
	}
	for _, r := range row.Unsupported {
		sentences = append(sentences, r.Label(l))
	}
	return strings.Join(sentences, " ")
}

func formatTime(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}
