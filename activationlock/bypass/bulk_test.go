package bypass_test

import (
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/activationlock/sdk/activationlock"
	"github.com/activationlock/sdk/activationlock/apple"
	"github.com/activationlock/sdk/activationlock/bypass"
	"github.com/activationlock/sdk/bypasscode/audit"
	"github.com/activationlock/sdk/bypasscode/escrow"
)

// serialOf names a device of a bulk run.
func serialOf(i int) string { return fmt.Sprint("XXFAKE0SER", i) }

// school is a bulk run of n devices. Device i has the codes C<i>-1 and C<i>-2 of
// which the older one, C<i>-1, opens it.
func (s *server) school(n int) (bypass.Bulk, *appleDouble) {
	s.t.Helper()
	bulk, double := bypass.Bulk{ID: "2026"}, &appleDouble{opens: map[string]bool{}, clock: s.clock}
	for i := range n {
		subject := escrow.Subject{SerialNumber: serialOf(i)}
		s.hold(subject, fmt.Sprintf("C%d-1", i), fmt.Sprintf("C%d-2", i))
		double.opens[fmt.Sprintf("C%d-1", i)] = true
		bulk.Starts = append(bulk.Starts, bypass.Start{Subject: subject, Act: act, InHand: true})
	}
	return bulk, double
}

func TestBulk(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	bulk, double := s.school(3)
	s.witness(double)
	var told []string
	bulk.Progress = func(over, total int, a bypass.Action) {
		told = append(told, fmt.Sprintf("%d of %d: %s %s", over, total, a.Subject.SerialNumber, a.State))
	}
	report, err := s.Bulk(t.Context(), bulk, double)
	require.NoError(t, err)
	require.Equal(t, []string{"C0-2", "C1-2", "C2-2", "C0-1", "C1-1", "C2-1"}, double.sent, "one call of each in turn")
	for i, at := range double.at {
		require.Equal(t, noon.Add(time.Duration(i)*time.Second), at, "one each second")
	}
	require.Equal(t, []string{"1 of 3: XXFAKE0SER0 done", "2 of 3: XXFAKE0SER1 done", "3 of 3: XXFAKE0SER2 done"}, told)
	require.Equal(t, "2026", report.BulkID)
	require.False(t, report.DryRun)
	require.Equal(t, 3, report.Count(bypass.Done))
	require.Zero(t, report.Count(bypass.Pending))
	for i, row := range report.Rows {
		require.NoError(t, row.Err)
		require.Equal(t, s.get("2026/"+serialOf(i)), row.Action)
		require.Equal(t, []string{"2026"}, row.BulkIDs)
		require.True(t, row.Noted)
	}
	// The same again: all are over, and nothing is sent.
	calls := len(double.sent)
	trail := s.told()
	again, err := s.Bulk(t.Context(), bulk, double)
	require.NoError(t, err)
	require.Equal(t, report, again)
	require.Len(t, double.sent, calls)
	require.Equal(t, trail, s.told())
	require.Len(t, told, 6)
}

// A certificate that Apple refuses fails a few devices, and not all.
func TestBulkEndsWhereAppleRefuses(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	bulk, double := s.school(6)
	double.answer = func(n int, _ string) (int, http.Header, error) {
		if n == 2 { // one that it knows by chance says that it is not the certificate
			return http.StatusNotFound, nil, nil
		}
		return http.StatusForbidden, nil, nil
	}
	report, err := s.Bulk(t.Context(), bulk, double)
	require.ErrorIs(t, err, bypass.ErrRefused)
	require.Len(t, double.sent, 6, "two, one that was not refused, and three")
	require.Equal(t, 5, report.Count(bypass.Failed))
	require.Equal(t, 1, report.Count(bypass.Active))

	for _, row := range report.Rows {
		if row.State == bypass.Failed {
			require.Equal(t, bypass.AppleRefused, row.Reason)
		}
	}

	// With a certificate that works, the same run takes all of them up again.
	double.answer = nil
	for range 2 {
		report, err = s.Bulk(t.Context(), bulk, double)
		require.NoError(t, err)
		require.Equal(t, 6, report.Count(bypass.Done))
	}
}

// What keeps one device from going on does not keep the others.
func TestBulkOfOneThatCannot(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	bulk, double := s.school(4)
	outage := errors.New("the key service does not know this key")
	s.closed["C1-2"] = outage
	report, err := s.Bulk(t.Context(), bulk, double)
	require.ErrorIs(t, err, outage)
	require.Equal(t, 3, report.Count(bypass.Done))
	require.ErrorIs(t, report.Rows[1].Err, outage)
	delete(s.closed, "C1-2")
	report, err = s.Bulk(t.Context(), bulk, double)
	require.NoError(t, err)
	require.Equal(t, 4, report.Count(bypass.Done))

	// If none can, the run ends soon.
	s = newServer(t)
	bulk, double = s.school(9)
	for i := range 9 {
		s.closed[fmt.Sprintf("C%d-2", i)] = outage
	}
	_, err = s.Bulk(t.Context(), bulk, double)
	require.ErrorIs(t, err, outage)
	require.Empty(t, double.sent)
}

// One run carries on what another began, and then neither does it again.
func TestBulkOfTwoRuns(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	bulk, double := s.school(1)
	ctx, cancel := context.WithCancel(t.Context())
	double.after = func(string) { cancel() }
	_, err := s.Bulk(ctx, bulk, double)
	require.ErrorIs(t, err, context.Canceled)
	double.after = nil
	other := bulk
	other.ID = "other"
	for _, run := range []bypass.Bulk{other, other, bulk} {
		report, err := s.Bulk(t.Context(), run, double)
		require.NoError(t, err)
		require.Equal(t, 1, report.Count(bypass.Done))
		require.Equal(t, []string{"2026", "other"}, report.Rows[0].BulkIDs)
	}
	require.Len(t, double.sent, 2)
}

func TestClientIsRequired(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.hold(bySerial, codeTexts...)
	a := s.start()
	before := s.told()
	_, err := s.Run(t.Context(), a.ID, nil)
	require.EqualError(t, err, "bypass: run: a client is required")
	_, err = s.Bulk(t.Context(), bypass.Bulk{ID: "x"}, nil)
	require.EqualError(t, err, "bypass: bulk: a client is required")
	require.Equal(t, before, s.told())
	require.Equal(t, bypass.Pending, s.get(a.ID).State)
}

// Who cancels is in the audit, and nobody else.
func TestCancelIsAudited(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.hold(bySerial, codeTexts...)
	a := s.start()
	a, err := s.Cancel(t.Context(), a.ID, escrow.Act{Actor: "john", Reason: "found its owner"})
	require.NoError(t, err)
	require.Equal(t, escrow.Act{Actor: "john", Reason: "found its owner"}, a.Ended)
	var acts []string
	for e, err := range s.audit.Entries(t.Context()) {
		require.NoError(t, err)
		acts = append(acts, string(e.Act)+" by "+e.Actor)
	}
	require.Equal(t, []string{"unlock started by " + act.Actor, "unlock canceled by john", "unlock ended by john"}, acts)
}

// What comes after a call without an answer does not hide that it may have
// removed the lock.
func TestMaybeUnlocked(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	bulk, double := s.school(1)
	double.answer = func(n int, _ string) (int, http.Header, error) {
		if n == 0 {
			return 0, nil, errors.New("gone")
		}
		return http.StatusForbidden, nil, nil
	}
	report, err := s.Bulk(t.Context(), bulk, double)
	require.NoError(t, err)
	require.Equal(t, bypass.AppleRefused, report.Rows[0].Reason)
	require.True(t, report.Rows[0].MaybeUnlocked())
	var out strings.Builder
	require.NoError(t, report.WriteCSV(&out, activationlock.English))
	require.Contains(t, out.String(), bypass.MaybeUnlocked.Label(activationlock.English))
}

// A clock that was wrong once does not make an action wait for years.
func TestClockThatWasWrong(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.hold(bySerial, codeTexts...)
	a := s.start()
	s.clock.Move(20 * 365 * 24 * time.Hour)
	_, _, err := s.Next(t.Context(), a.ID)
	require.NoError(t, err)
	s.clock.Move(-20 * 365 * 24 * time.Hour)
	double := &appleDouble{opens: map[string]bool{codeTexts[5]: true}}
	a, err = s.Run(t.Context(), a.ID, double)
	require.NoError(t, err)
	require.Equal(t, bypass.Done, a.State)
}

func TestBulkRequires(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	good, double := s.school(1)
	for name, spoil := range map[string]func(*bypass.Bulk){
		"an ID":           func(b *bypass.Bulk) { b.ID = "" },
		"a short ID":      func(b *bypass.Bulk) { b.ID = strings.Repeat("x", 65) },
		"a slash":         func(b *bypass.Bulk) { b.ID = "a/b" },
		"text":            func(b *bypass.Bulk) { b.ID = "a\xff" },
		"a positive pace": func(b *bypass.Bulk) { b.Pace = -1 },
	} {
		bulk := good
		spoil(&bulk)
		_, err := s.Bulk(t.Context(), bulk, double)
		require.Error(t, err, name)
	}
	require.Empty(t, s.told())
	good.ID = strings.Repeat("x", 64)
	_, err := s.Bulk(t.Context(), good, double)
	require.NoError(t, err)
	// Nothing to do is no error.
	report, err := s.Bulk(t.Context(), bypass.Bulk{ID: "none"}, double)
	require.NoError(t, err)
	require.Empty(t, report.Rows)
}

// faults is a bulk run with a device for each thing that can be wrong.
func (s *server) faults() (bypass.Bulk, *appleDouble) {
	s.t.Helper()
	bulk, double := s.school(7)
	bulk.Starts[1].InHand = false
	bulk.Starts[2].Actor = ""
	bulk.Starts[3].Subject.SerialNumber = "NOCODE"
	bulk.Starts[4].Subject = escrow.Subject{SerialNumber: "TV"}
	bulk.Starts[4].Device.ProductName = "AppleTV14,1"
	open := wish()
	open.ID, open.Subject = "=by hand", bulk.Starts[5].Subject
	_, _, err := s.Start(context.Background(), open)
	require.NoError(s.t, err)
	double.opens["C6-1"] = false
	bulk.Starts = append(bulk.Starts, bulk.Starts[0]) // named twice
	return bulk, double
}

func TestBulkOfFaults(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	bulk, double := s.faults()
	before := s.told()
	dry := bulk
	dry.DryRun = true
	dry.Progress = func(int, int, bypass.Action) { require.Fail(t, "a dry run has no progress") }
	report, err := s.Bulk(t.Context(), dry, nil)
	require.NoError(t, err)
	require.True(t, report.DryRun)
	states := func(r bypass.Report) (all []string) {
		for _, row := range r.Rows {
			switch {
			case row.Err != nil:
				require.Equal(t, bypass.Action{BulkIDs: []string{"2026"}, Subject: row.Subject}, row.Action)
				require.NotEmpty(t, row.Subject)
				all = append(all, fmt.Sprint(row.Subject.SerialNumber, ": ", row.Err))
			default:
				all = append(all, fmt.Sprint(row.Subject.SerialNumber, " ", row.ID, " ", row.State, " ", row.Reason))
			}
		}
		return all
	}
	wrong := []string{
		"XXFAKE0SER1: bypass: the device must be in hand",
		"XXFAKE0SER2: subject, actor and reason are required, in at most 255 bytes of UTF-8 each",
		"NOCODE 2026/NOCODE failed noCode",
		"TV 2026/TV notSupported ",
	}
	require.Equal(t, append(append([]string{"XXFAKE0SER0 2026/XXFAKE0SER0 pending "}, wrong...),
		"XXFAKE0SER5 =by hand pending ", "XXFAKE0SER6 2026/XXFAKE0SER6 pending ", "XXFAKE0SER0 2026/XXFAKE0SER0 pending ",
	), states(report))
	require.Equal(t, 4, report.Count(bypass.Pending))
	// A dry run leaves no trace.
	require.Equal(t, before, s.told())
	all, err := s.actions.Scan(t.Context(), "", 9, false)
	require.NoError(t, err)
	require.Len(t, all, 1)
	require.Empty(t, all[0].BulkIDs)
	require.Empty(t, s.clock.pauses)

	report, err = s.Bulk(t.Context(), bulk, double)
	require.NoError(t, err)
	want := append(append([]string{"XXFAKE0SER0 2026/XXFAKE0SER0 done "}, wrong...),
		"XXFAKE0SER5 =by hand done ", "XXFAKE0SER6 2026/XXFAKE0SER6 failed codesRefused", "XXFAKE0SER0 2026/XXFAKE0SER0 done ")
	require.Equal(t, want, states(report))
	require.Equal(t, []int{3, 2, 1, 0}, []int{report.Count(bypass.Done), report.Count(bypass.Failed), report.Count(bypass.NotSupported), report.Count("")})
	require.Equal(t, []string{"2026"}, s.get("=by hand").BulkIDs, "it is the run's now")

	// Once more: what was carried on is not begun anew. So says a dry run.
	sent := len(double.sent)
	for _, b := range []bypass.Bulk{bulk, dry} {
		report, err = s.Bulk(t.Context(), b, double)
		require.NoError(t, err)
		require.Equal(t, want, states(report))
		require.Len(t, double.sent, sent)
	}

	// The report as a file, in both languages.
	var out strings.Builder
	for _, l := range activationlock.Languages() {
		from := out.Len()
		require.NoError(t, report.WriteCSV(&out, l))
		rows, err := csv.NewReader(strings.NewReader(out.String()[from:])).ReadAll()
		require.NoError(t, err)
		require.Len(t, rows, 9)
		require.Equal(t, "'=by hand", rows[6][10], "no spreadsheet runs it")
	}
	require.Equal(t, 18, strings.Count(out.String(), "\r\n"))
	require.NotContains(t, out.String(), "C0-1")
	golden(t, "report.csv", strings.ReplaceAll(out.String(), "\r\n", "\n"))
	require.ErrorIs(t, report.WriteCSV(full{}, activationlock.Dutch), errDown)
}

type full struct{}

func (full) Write([]byte) (int, error) { return 0, errDown }

// An open action of another run, or of a person, belongs to the run that came first.
func TestBulkOfAnothersAction(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	bulk, double := s.school(1)
	double.answer = func(int, string) (int, http.Header, error) { return 503, nil, nil }
	s.clock.onStop = func() { require.Fail(t, "no pause") }
	call, _, err := func() (*bypass.Call, bypass.Action, error) {
		start := bulk.Starts[0]
		start.ID = "A1"
		_, _, err := s.Start(t.Context(), start)
		require.NoError(t, err)
		return s.Next(t.Context(), "A1")
	}()
	require.NoError(t, err)
	// Another server's call is under way. The run waits for it, and is told.
	s.clock.onStop = func() {
		_, err := s.Answer(context.Background(), call, apple.Answer{Outcome: apple.Done})
		require.NoError(t, err)
	}
	report, err := s.Bulk(t.Context(), bulk, double)
	require.NoError(t, err)
	require.Equal(t, []time.Duration{bypass.AnswerWithin}, s.clock.pauses)
	require.Equal(t, bypass.Done, report.Rows[0].State)
	require.Empty(t, double.sent)
}

// An ID that is a serial number here and an enrollment there: the run must not take
// one device for the other.
func TestBulkOfSameIDs(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	bulk, double := s.school(1)
	bulk.Starts = append(bulk.Starts, bulk.Starts[0])
	bulk.Starts[1].Subject = escrow.Subject{EnrollmentID: serialOf(0)}
	report, err := s.Bulk(t.Context(), bulk, double)
	require.NoError(t, err)
	require.NoError(t, report.Rows[0].Err)
	require.Error(t, report.Rows[1].Err)
	require.Equal(t, escrow.Subject{EnrollmentID: serialOf(0)}, report.Rows[1].Subject)
}

func TestBulkOfEnrollments(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	subject := escrow.Subject{EnrollmentID: "E1"}
	s.hold(subject, "C-1")
	start := bypass.Start{ID: "A1", Subject: subject, Act: act, InHand: true, Identity: phone}
	_, _, err := s.Start(t.Context(), start)
	require.NoError(t, err)
	report, err := s.Bulk(t.Context(), bypass.Bulk{ID: "2026", Starts: []bypass.Start{start}}, &appleDouble{opens: map[string]bool{"C-1": true}})
	require.NoError(t, err)
	require.Equal(t, "A1", report.Rows[0].ID)
	require.Equal(t, bypass.Done, report.Rows[0].State)
}

// When Apple asks to wait, all wait; when it stumbles over one device, the others
// go on.
func TestBulkWaits(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		status int
		header http.Header
		want   []time.Duration // when the calls are made
	}{
		"500":              {500, nil, []time.Duration{0, 3 * time.Second, 6 * time.Second, 60 * time.Second}},
		"429":              {429, nil, []time.Duration{0, 60 * time.Second, 63 * time.Second, 66 * time.Second}},
		"503":              {503, nil, []time.Duration{0, 60 * time.Second, 63 * time.Second, 66 * time.Second}},
		"429, Retry-After": {429, http.Header{"Retry-After": {"600"}}, []time.Duration{0, 600 * time.Second, 603 * time.Second, 606 * time.Second}},
		"500, Retry-After": {500, http.Header{"Retry-After": {"90"}}, []time.Duration{0, 90 * time.Second, 93 * time.Second, 96 * time.Second}},
		"short":            {429, http.Header{"Retry-After": {"2"}}, []time.Duration{0, 60 * time.Second, 63 * time.Second, 66 * time.Second}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newServer(t)
			bulk, double := s.school(3)
			bulk.Pace = 3 * time.Second
			double.answer = func(n int, _ string) (int, http.Header, error) {
				if n == 0 {
					return test.status, test.header, nil
				}
				return 200, nil, nil
			}
			report, err := s.Bulk(t.Context(), bulk, double)
			require.NoError(t, err)
			require.Equal(t, 3, report.Count(bypass.Done))
			got := []time.Duration{}
			for _, at := range double.at {
				got = append(got, at.Sub(noon))
			}
			require.Equal(t, test.want, got)
			require.Equal(t, []string{"C0-2", "C1-2", "C2-2", "C0-2"}, double.sent)
		})
	}
}

// Apple asks all to wait, also if nobody wants that device any more.
func TestBulkWaitsForAll(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	bulk, double := s.school(2)
	double.answer = func(n int, _ string) (int, http.Header, error) { return []int{429, 200}[n], nil, nil }
	double.after = func(string) {
		_, err := s.Cancel(context.Background(), "2026/"+serialOf(0), act)
		require.NoError(t, err)
		double.after = nil
	}
	report, err := s.Bulk(t.Context(), bulk, double)
	require.NoError(t, err)
	require.Equal(t, []int{1, 1}, []int{report.Count(bypass.Canceled), report.Count(bypass.Done)})
	require.Equal(t, []time.Time{noon, noon.Add(time.Minute)}, double.at)
}

// It wakes up for the one that may go on first.
func TestBulkWakesUp(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	bulk, double := s.school(2)
	double.answer = func(n int, _ string) (int, http.Header, error) { return []int{500, 500, 200, 200}[n], nil, nil }
	_, err := s.Bulk(t.Context(), bulk, double)
	require.NoError(t, err)
	require.Equal(t, []time.Time{noon, noon.Add(time.Second), noon.Add(time.Minute), noon.Add(61 * time.Second)}, double.at)
}

// While one device waits for an hour, the run sleeps, and does not ask the store all
// the time.
func TestBulkSleeps(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	bulk, double := s.school(20)
	double.answer = func(int, string) (int, http.Header, error) { return 500, nil, nil }
	f := &fate{at: -1}
	s.fated(f)
	report, err := s.Bulk(t.Context(), bulk, double)
	require.NoError(t, err)
	require.Equal(t, 20, report.Count(bypass.Failed))
	for _, row := range report.Rows {
		require.Equal(t, bypass.NoAnswer, row.Reason)
		require.Less(t, row.EndedAt.Sub(noon), bypass.GiveUpAfter+2*time.Hour)
	}
	require.Less(t, f.calls, 8*len(double.sent), "some calls of the store for a call of Apple")
	for i := range double.at[1:] {
		require.GreaterOrEqual(t, double.at[i+1].Sub(double.at[i]), time.Second)
	}
}

// The run is stopped at every single place, and goes on with the same ID.
func TestBulkResumes(t *testing.T) {
	t.Parallel()
	for _, how := range []string{"before", "after", "crash before", "crash"} {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			n := 1
			for ; ; n++ {
				s := newServer(t)
				bulk, double := s.school(3)
				s.witness(double)
				start := bulk.Starts[1]
				start.ID = "by hand"
				_, _, err := s.Start(t.Context(), start)
				require.NoError(t, err)
				bulk.Starts[2].InHand = n%2 == 0
				f := &fate{at: n, how: how}
				s.fated(f)
				var report bypass.Report
				over := map[string]bool{}
				bulk.Progress = func(_, _ int, a bypass.Action) { over[a.ID] = true }
				says := fmt.Sprintf("%s call %d", how, n)
				for i := 0; ; i++ {
					require.Less(t, i, 9, says)
					err := s.survive(func() (err error) { report, err = s.Bulk(context.Background(), bulk, double); return err })
					if err == nil {
						break
					}
					if !errors.Is(err, errCrash) {
						require.Len(t, report.Rows, 3, says)
						for i, row := range report.Rows { // a report of all devices whatever happens
							require.Equal(t, bulk.Starts[i].Subject, row.Subject, says)
							require.True(t, row.Err != nil || row.ID != "", says)
						}
					}
					s.clock.Move(bypass.AnswerWithin)
				}
				f.at = -1
				require.Equal(t, bypass.Done, report.Rows[0].State, says)
				require.Equal(t, bypass.Done, report.Rows[1].State, says)
				require.Equal(t, "by hand", report.Rows[1].ID, says)
				require.Equal(t, n%2 == 0, report.Rows[2].Err == nil, says)
				require.Equal(t, n%2 == 0, over["2026/"+serialOf(2)], says)
				require.True(t, over["by hand"] && over["2026/"+serialOf(0)], says)
				all, err := s.mem.Actions().Scan(t.Context(), "", 99, false)
				require.NoError(t, err)
				require.Len(t, all, 2+(n+1)%2, says)
				for _, a := range all {
					require.True(t, a.Noted, says)
				}
				require.LessOrEqual(t, len(double.sent), 7, says)
				if !f.fired {
					break
				}
			}
			require.Greater(t, n, 30)
		})
	}
}

func TestBulkContextEnds(t *testing.T) {
	t.Parallel()
	t.Run("before", func(t *testing.T) {
		t.Parallel()
		s := newServer(t)
		bulk, double := s.school(2)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		report, err := s.Bulk(ctx, bulk, double)
		require.ErrorIs(t, err, context.Canceled)
		require.Len(t, report.Rows, 2)
		require.Error(t, report.Rows[1].Err)
		require.Equal(t, bulk.Starts[1].Subject, report.Rows[1].Subject)
		var out strings.Builder
		require.NoError(t, report.WriteCSV(&out, activationlock.Dutch))
		require.Contains(t, out.String(), "De reeks eindigde voor dit apparaat.")
	})
	t.Run("in a call", func(t *testing.T) {
		t.Parallel()
		s := newServer(t)
		bulk, double := s.school(2)
		ctx, cancel := context.WithCancel(t.Context())
		double.opens["C0-2"] = true
		double.after = func(string) { cancel() }
		report, err := s.Bulk(ctx, bulk, double)
		require.ErrorIs(t, err, context.Canceled)
		require.Equal(t, bypass.Done, report.Rows[0].State)
		require.Equal(t, bypass.Pending, report.Rows[1].State)
		require.Len(t, double.sent, 1)
	})
	t.Run("in a pause", func(t *testing.T) {
		t.Parallel()
		s := newServer(t)
		bulk, double := s.school(2)
		ctx, cancel := context.WithCancel(t.Context())
		s.clock.onStop = cancel
		_, err := s.Bulk(ctx, bulk, double)
		require.ErrorIs(t, err, context.Canceled)
		require.Len(t, double.sent, 1)
		s.clock.onStop = nil
		report, err := s.Bulk(t.Context(), bulk, double)
		require.NoError(t, err)
		require.Equal(t, 2, report.Count(bypass.Done))
	})
}

// What Apple did is in the report also if the rest of the run fails.
func TestBulkReportsWhatIsDone(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	bulk, double := s.school(1)
	double.opens["C0-2"] = true
	var trail audit.Store = s.trail
	s.trail = choosy{trail}
	s.boot()
	report, err := s.Bulk(t.Context(), bulk, double)
	require.ErrorIs(t, err, errDown)
	require.Equal(t, bypass.Done, report.Rows[0].State)
}

// choosy is an audit that takes no ends.
type choosy struct{ audit.Store }

func (c choosy) Append(ctx context.Context, next func(audit.Entry) ([]audit.Entry, error)) error {
	return c.Store.Append(ctx, func(last audit.Entry) ([]audit.Entry, error) {
		all, err := next(last)
		if len(all) > 0 && all[0].Act == audit.UnlockEnded {
			return nil, errDown
		}
		return all, err
	})
}
