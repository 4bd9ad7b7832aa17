package escrow_test

import (
	"context"
	"encoding/gob"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/activationlock/sdk/activationlock/memstore"
	"github.com/activationlock/sdk/bypasscode"
	"github.com/activationlock/sdk/bypasscode/audit"
	"github.com/activationlock/sdk/bypasscode/escrow"
)

// export takes everything, without what ends it.
func export(t *testing.T, e *escrow.Escrow) (found []escrow.Portable) {
	t.Helper()
	for p, err := range e.Export(t.Context(), act, "") {
		require.NoError(t, err)
		found = append(found, p)
	}
	return found
}

func rowsOf(portables ...escrow.Portable) iter.Seq2[escrow.Portable, error] {
	return func(yield func(escrow.Portable, error) bool) {
		for _, p := range portables {
			if !yield(p, nil) {
				return
			}
		}
	}
}

func importAll(t *testing.T, e *escrow.Escrow, i escrow.Import, portables ...escrow.Portable) (found []escrow.Imported) {
	t.Helper()
	i.Act = act
	for r, err := range e.Import(t.Context(), i, rowsOf(portables...)) {
		require.NoError(t, err)
		found = append(found, r)
	}
	return found
}

func outcomes(results []escrow.Imported) (found []escrow.Outcome) {
	for _, r := range results {
		found = append(found, r.Outcome)
	}
	return found
}

// portable is a current device code as another escrow had it.
func portable(id, text string, hour int) escrow.Portable {
	return escrow.Portable{Text: bypasscode.NewText(text), Record: escrow.Record{
		ID: id, Subject: bySerial, Kind: bypasscode.Device, State: escrow.Current, Cause: escrow.CauseSchedule,
		EnrollmentID: enrollment, ReceivedAt: at(hour), FirstSeen: at(hour), LastSeen: at(hour),
		Device: escrow.Device{SerialNumber: serial},
	}}
}

func changed(p escrow.Portable, change func(*escrow.Portable)) escrow.Portable {
	change(&p)
	return p
}

func TestExport(t *testing.T) {
	t.Parallel()
	store := memstore.New().Escrow()
	e, l := audited(t, escrow.Config{Store: store, Clock: func() time.Time { return at(9) }})
	texts := map[string]string{}
	const n = 600
	for i := range n {
		c := of(escrow.Subject{SerialNumber: fmt.Sprint("S", i)}, asked(numbered(i), "1", 1))
		if i%3 == 0 {
			c = of(escrow.Subject{EnrollmentID: fmt.Sprint("E", i)}, asked(numbered(i), "1", 1))
			c.Device.SerialNumber = ""
			require.NoError(t, e.Join(t.Context(), c.Subject.EnrollmentID, fmt.Sprint("S", i)))
		}
		texts[capture(t, e, c).ID] = numbered(i)
	}
	entries := scan(t, store)
	purged, spoilt := entries[10], entries[300]
	remove(t, e, purged.Subject, 2)
	require.NoError(t, e.Purge(t.Context(), purged.Subject, escrow.Purge{Act: act, At: at(3), LockOff: true}))
	spoilt.Sealed = nil
	write(t, store, spoilt)
	before := len(l.entries(t))

	noted := map[string]bool{}
	seen := 0
	var ids []string
	for p, err := range e.Export(t.Context(), act, "") {
		require.NoError(t, err)
		ids = append(ids, p.Record.ID)
		if p.Record.ID == spoilt.ID {
			require.Error(t, p.Err)
			require.True(t, p.Text.IsZero())
			continue
		}
		require.NoError(t, p.Err)
		require.Equal(t, texts[p.Record.ID], p.Text.Reveal())
		if id := p.Record.Subject.EnrollmentID; id != "" {
			require.Equal(t, []string{"S" + id[1:]}, p.JoinedTo)
		} else {
			require.Empty(t, p.JoinedTo)
		}
		all := l.entries(t)[before:]
		for _, a := range all[seen:] {
			require.Equal(t, audit.Event{
				Act: audit.Exported, At: at(9), Actor: act.Actor, Reason: act.Reason, RecordID: a.RecordID,
				SerialNumber: a.SerialNumber, EnrollmentID: a.EnrollmentID,
			}, a.Event)
			require.False(t, noted[a.RecordID], "noted twice")
			noted[a.RecordID] = true
		}
		seen = len(all)
		require.True(t, noted[p.Record.ID], "a code left before it was in the audit")
	}
	require.True(t, slices.IsSorted(ids))
	require.Len(t, ids, n-1)
	require.NotContains(t, ids, purged.ID)
	require.Len(t, noted, n-2)

	// Somebody who stops has had one code, and goes on after it.
	for p, err := range e.Export(t.Context(), act, "") {
		require.NoError(t, err)
		require.Equal(t, ids[0], p.Record.ID)
		break
	}
	require.Len(t, l.entries(t), before+seen+255) // 256 records of which one is purged
	next := 1
	for p, err := range e.Export(t.Context(), act, ids[0]) {
		require.NoError(t, err)
		require.Equal(t, ids[next], p.Record.ID)
		next++
	}
	require.Equal(t, len(ids), next)
}

// exported returns what came before the error.
func exported(ctx context.Context, e *escrow.Escrow, by escrow.Act) (n int, err error) {
	for p, err := range e.Export(ctx, by, "") {
		if err != nil {
			if !p.Text.IsZero() {
				panic("a code with an error")
			}
			return n, err
		}
		n++
	}
	return n, nil
}

func TestExportThatFails(t *testing.T) {
	t.Parallel()
	memory := memstore.New().Escrow()
	l := &ledger{Store: memstore.New().Audit()}
	log, err := audit.New(audit.Config{Store: l})
	require.NoError(t, err)
	e, err := escrow.New(escrow.Config{Store: memory, Sealer: clear{}, Audit: log})
	require.NoError(t, err)
	for i := range 520 {
		capture(t, e, of(escrow.Subject{SerialNumber: fmt.Sprint("S", i)}, asked(numbered(i), "1", 1)))
	}
	scans := 0
	hook := hooked{Store: memory, before: func(method string) error {
		if method == "scan" {
			if scans++; scans == 3 {
				return errDown
			}
		}
		return nil
	}}
	e, err = escrow.New(escrow.Config{Store: hook, Sealer: clear{}, Audit: log})
	require.NoError(t, err)
	n, err := exported(t.Context(), e, act)
	require.ErrorIs(t, err, errDown)
	require.Equal(t, 512, n)
	require.Len(t, l.entries(t), 512)

	scans = 10
	appends := 0
	l.fail = func() error {
		if appends++; appends == 2 {
			return errDown
		}
		return nil
	}
	n, err = exported(t.Context(), e, act)
	require.ErrorIs(t, err, errDown)
	require.Equal(t, 256, n)
	l.fail = nil

	ctx, cancel := context.WithCancel(t.Context())
	opener := stopping{cancel: cancel, after: 300}
	e, err = escrow.New(escrow.Config{Store: memory, Sealer: &opener, Audit: log})
	require.NoError(t, err)
	n, err = exported(ctx, e, act)
	require.ErrorIs(t, err, context.Canceled)
	require.Equal(t, 256, n)

	ctx, cancel = context.WithCancel(t.Context())
	e, err = escrow.New(escrow.Config{Store: memory, Sealer: &stopping{cancel: cancel, after: 1}, Audit: log})
	require.NoError(t, err)
	n, err = exported(ctx, e, act)
	require.ErrorIs(t, err, context.Canceled)
	require.Zero(t, n, "codes that are none the worse")

	for _, c := range []struct {
		config escrow.Config
		by     escrow.Act
		want   error
	}{
		{escrow.Config{Store: memory, Sealer: clear{}}, act, escrow.ErrNoAudit},
		{escrow.Config{Store: memory, Sealer: locked{}, Audit: log}, act, escrow.ErrNoOpener},
		{escrow.Config{Store: memory, Sealer: clear{}, Audit: log}, escrow.Act{Actor: "x"}, nil},
	} {
		e, err := escrow.New(c.config)
		require.NoError(t, err)
		n, err := exported(t.Context(), e, c.by)
		require.Error(t, err)
		require.Zero(t, n)
		if c.want != nil {
			require.ErrorIs(t, err, c.want)
		}
	}
	// Only joined records ask for joins.
	e, err = escrow.New(escrow.Config{Store: joinless{memory}, Sealer: clear{}, Audit: log})
	require.NoError(t, err)
	_, err = exported(t.Context(), e, act)
	require.NoError(t, err)
	capture(t, e, of(byEnrollment, asked(code, "1", 1)))
	_, err = exported(t.Context(), e, act)
	require.ErrorIs(t, err, errDown)
}

type joinless struct{ escrow.Store }

func (joinless) Joined(context.Context, string) ([]string, error) { return nil, errDown }

// stopping ends the context, and fails then.
type stopping struct {
	clear
	cancel context.CancelFunc
	after  int
}

func (s *stopping) Open(ctx context.Context, sealed, associated []byte) ([]byte, error) {
	if s.after--; s.after == 0 {
		s.cancel()
	}
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	return s.clear.Open(ctx, sealed, associated)
}

// everything fills a store with all that a record can be.
func everything(t *testing.T, e *escrow.Escrow) {
	t.Helper()
	capture(t, e, asked(code, "1", 1), asked(code2, "2", 2), unasked(asked(code3, "3", 3)))
	capture(t, e, asked("no code", "4", 4), disputed(asked("no code either \xff", "5", 5)))
	require.NoError(t, e.MarkStale(t.Context(), bySerial, "erased", at(6)))
	mark(t, e, lock(t, e, 7).ID, escrow.MaybeActive, 8)
	mark(t, e, lock(t, e, 7).ID, escrow.Void, 9)
	mark(t, e, lock(t, e, 10).ID, escrow.Worked, 11)
	mark(t, e, lock(t, e, 12).ID, escrow.Current, 13)
	c := of(byEnrollment, asked(numbered(1), "6", 5))
	c.Device = escrow.Device{UDID: enrollment}
	capture(t, e, c)
	require.NoError(t, e.Join(t.Context(), enrollment, "XXFAKE0SER2"))
	require.NoError(t, e.Join(t.Context(), enrollment, "XXFAKE0SER3"))
	gone := escrow.Subject{SerialNumber: "XXFAKE0SER4"}
	c = of(gone, asked(numbered(2), "7", 5))
	capture(t, e, c)
	remove(t, e, gone, 6)
}

// state is all that a store holds that does not depend on keys.
func state(t *testing.T, store escrow.Store) (found []string) {
	t.Helper()
	for _, e := range scan(t, store) {
		joined, err := store.Joined(t.Context(), e.Subject.EnrollmentID)
		require.NoError(t, err)
		found = append(found, fmt.Sprintf("%+v %s %v %x", e.Record, e.Digest, joined, e.Sealed))
	}
	return found
}

// A whole escrow moves, and nothing of it changes, in whatever order the rows
// come; a second time changes nothing.
func TestMove(t *testing.T) {
	t.Parallel()
	from := memstore.New().Escrow()
	source, _ := audited(t, escrow.Config{Store: from})
	everything(t, source)
	rows := export(t, source)
	require.Len(t, rows, 10)
	random := rand.New(rand.NewPCG(1, 2))
	for range 4 {
		to := memstore.New().Escrow()
		e, l := audited(t, escrow.Config{Store: to})
		how := escrow.Import{Act: act, Source: "old.example.com"}
		for _, r := range importAll(t, e, how, rows...) {
			require.Equal(t, escrow.Added, r.Outcome, r.Err)
			require.Equal(t, find(t, source, r.Record.Subject, r.Record.ID), r.Record)
		}
		require.Equal(t, state(t, from), state(t, to)) // clear seals alike
		for _, serialNumber := range []string{serial, "XXFAKE0SER2", "XXFAKE0SER4"} {
			subject := escrow.Subject{SerialNumber: serialNumber}
			require.Equal(t, summary(t, source, subject), summary(t, e, subject))
		}
		for _, r := range importAll(t, e, how, rows...) {
			require.Equal(t, escrow.Known, r.Outcome, r.Err)
		}
		require.Equal(t, state(t, from), state(t, to))
		require.Equal(t, audit.Imported, l.acts(t)[0])
		require.Equal(t, "old.example.com", l.entries(t)[0].Detail)
		random.Shuffle(len(rows), func(i, j int) { rows[i], rows[j] = rows[j], rows[i] })
	}
}

// The server code of a lock is used again by the new server, should it have to
// lock once more.
func TestMoveOfALock(t *testing.T) {
	t.Parallel()
	source := newEscrow(t)
	want := lock(t, source, 1)
	e := newEscrow(t)
	importAll(t, e, escrow.Import{}, export(t, source)...)
	require.Equal(t, want.Hash, lock(t, e, 2).Hash)
}

// What a merge leaves, as "text state" in the order in which to try them.
func TestMerge(t *testing.T) {
	t.Parallel()
	typed := func(text string, hour int) escrow.Capture {
		c := imported(asked(text, "", hour))
		return c
	}
	told := func(p escrow.Portable) escrow.Portable {
		return changed(p, func(p *escrow.Portable) { p.Record.Cause = escrow.CauseImport })
	}
	in := func(state escrow.State, p escrow.Portable) escrow.Portable {
		return changed(p, func(p *escrow.Portable) { p.Record.State = state })
	}
	for _, test := range []struct {
		name string
		here []escrow.Capture
		rows []escrow.Portable
		want []string
	}{
		{"an older one goes below", []escrow.Capture{asked(code, "1", 5)}, []escrow.Portable{portable("A", code2, 4)},
			[]string{code + " current", code2 + " superseded"}},
		{"one of the same time goes below", []escrow.Capture{asked(code, "1", 5)}, []escrow.Portable{portable("A", code2, 5)},
			[]string{code + " current", code2 + " superseded"}},
		{"a newer one goes above, and changes nothing", []escrow.Capture{asked(code, "1", 5)}, []escrow.Portable{portable("A", code2, 6)},
			[]string{code2 + " current", code + " current"}},
		{"a newer one that was told goes below what the device gave", []escrow.Capture{asked(code, "1", 5)}, []escrow.Portable{told(portable("A", code2, 6))},
			[]string{code + " current", code2 + " superseded"}},
		{"and above what was told", []escrow.Capture{typed(code, 5)}, []escrow.Portable{told(portable("A", code2, 6))},
			[]string{code2 + " current", code + " current"}},
		{"newest first, in any order of rows", nil, []escrow.Portable{told(portable("A", code2, 2)), told(portable("B", code3, 3)), told(portable("C", code, 1))},
			[]string{code3 + " current", code2 + " current", code + " superseded"}},
		{"doubts stay", nil, []escrow.Portable{in(escrow.Disputed, portable("A", code2, 6))},
			[]string{code2 + " disputed"}},
		{"and do not outrank", []escrow.Capture{asked(code, "1", 5)}, []escrow.Portable{in(escrow.Disputed, portable("A", code2, 6)), in(escrow.Void, portable("B", code3, 7))},
			[]string{code + " current", code2 + " disputed", code3 + " void"}},
		{"the same code stays as it is", []escrow.Capture{asked(code, "1", 5), asked(code2, "2", 6)}, []escrow.Portable{portable("A", code, 9)},
			[]string{code2 + " current", code + " superseded"}},
		{"kinds do not touch", []escrow.Capture{asked(code, "1", 5)}, []escrow.Portable{changed(portable("A", code2, 4), func(p *escrow.Portable) { p.Record.Kind = bypasscode.Server })},
			[]string{code + " current", code2 + " current"}},
		{"the same code of the other kind is another", []escrow.Capture{asked(code, "1", 5)}, []escrow.Portable{changed(portable("A", code, 4), func(p *escrow.Portable) { p.Record.Kind = bypasscode.Server })},
			[]string{code + " current", code + " current"}},
	} {
		e := newEscrow(t)
		capture(t, e, test.here...)
		before := records(t, e, bySerial)
		importAll(t, e, escrow.Import{}, test.rows...)
		var got []string
		after := records(t, e, bySerial)
		for _, r := range after {
			got = append(got, reveal(t, e, bySerial, r.ID)+" "+string(r.State))
		}
		require.Equal(t, test.want, got, test.name)
		for _, r := range before {
			require.Contains(t, after, r, test.name)
		}
		// What the device gives next is the only current one.
		capture(t, e, asked(numbered(99), "9", 20))
		n := 0
		for _, r := range records(t, e, bySerial) {
			if r.Kind == bypasscode.Device && r.State == escrow.Current {
				n++
			}
		}
		require.Equal(t, 1, n, test.name)
	}
}

// A state that changes takes its time and reason along.
func TestMergeForgetsTheReason(t *testing.T) {
	t.Parallel()
	source, e := newEscrow(t), newEscrow(t)
	mark(t, source, lock(t, source, 1).ID, escrow.MaybeActive, 2)
	require.False(t, mark(t, source, lock(t, source, 1).ID, escrow.Current, 2).StateSince.IsZero())
	mark(t, e, lock(t, e, 3).ID, escrow.Current, 4)
	got := importAll(t, e, escrow.Import{}, export(t, source)...)[0].Record
	require.Equal(t, escrow.Superseded, got.State)
	require.True(t, got.StateSince.IsZero())
	require.Empty(t, got.StateReason)
}

func TestImportChecks(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", 256)
	other, err := bypasscode.New().Hash()
	require.NoError(t, err)
	server := export(t, func() *escrow.Escrow { e := newEscrow(t); lock(t, e, 1); return e }())[0]
	good := portable("A", code, 1)
	for name, test := range map[string]struct {
		row  escrow.Portable
		want escrow.Outcome
	}{
		"good":                {good, escrow.Added},
		"a lock's":            {server, escrow.Added},
		"its own error":       {changed(good, func(p *escrow.Portable) { p.Err = errDown }), escrow.Failed},
		"said to be empty":    {escrow.Portable{Err: fmt.Errorf("row: %w", escrow.ErrEmpty)}, escrow.Empty},
		"empty":               {changed(good, func(p *escrow.Portable) { p.Text = bypasscode.Text{} }), escrow.Empty},
		"longest":             {changed(good, func(p *escrow.Portable) { p.Text = bypasscode.NewText(strings.Repeat("x", escrow.MaxText)) }), escrow.Added},
		"too long":            {changed(good, func(p *escrow.Portable) { p.Text = bypasscode.NewText(strings.Repeat("x", escrow.MaxText+1)) }), escrow.Failed},
		"no subject":          {changed(good, func(p *escrow.Portable) { p.Record.Subject = escrow.Subject{} }), escrow.Failed},
		"two subjects":        {changed(good, func(p *escrow.Portable) { p.Record.Subject.EnrollmentID = "x" }), escrow.Failed},
		"long subject":        {changed(good, func(p *escrow.Portable) { p.Record.Subject.SerialNumber = long }), escrow.Failed},
		"no kind":             {changed(good, func(p *escrow.Portable) { p.Record.Kind = "" }), escrow.Failed},
		"no state":            {changed(good, func(p *escrow.Portable) { p.Record.State = "" }), escrow.Failed},
		"a state of tomorrow": {changed(good, func(p *escrow.Portable) { p.Record.State = "tomorrow" }), escrow.Failed},
		"purged":              {changed(good, func(p *escrow.Portable) { p.Record.State = escrow.Purged }), escrow.Failed},
		"no cause":            {changed(good, func(p *escrow.Portable) { p.Record.Cause = "" }), escrow.Failed},
		"long cause":          {changed(good, func(p *escrow.Portable) { p.Record.Cause = escrow.Cause(long) }), escrow.Failed},
		"no time":             {changed(good, func(p *escrow.Portable) { p.Record.LastSeen = time.Time{} }), escrow.Failed},
		"a time too early":    {changed(good, func(p *escrow.Portable) { p.Record.LastSeen = time.Date(1581, 1, 1, 0, 0, 0, 0, time.UTC) }), escrow.Failed},
		"a time too late": {changed(good, func(p *escrow.Portable) {
			p.Record.LastSeen = time.Date(9999, 12, 31, 23, 59, 0, 0, time.FixedZone("", -3600))
		}), escrow.Failed},
		"another hash":   {changed(server, func(p *escrow.Portable) { p.Record.Hash = other }), escrow.Failed},
		"a hash of junk": {changed(server, func(p *escrow.Portable) { p.Text = bypasscode.NewText("junk") }), escrow.Failed},
	} {
		for _, dry := range []bool{true, false} {
			store := memstore.New().Escrow()
			e, _ := audited(t, escrow.Config{Store: store})
			test.row.Row = 7
			got := importAll(t, e, escrow.Import{DryRun: dry}, test.row)[0]
			require.Equal(t, test.want, got.Outcome, "%s %v", name, got.Err)
			require.Equal(t, test.want == escrow.Failed, got.Err != nil, name)
			require.Equal(t, 7, got.Row)
			require.Equal(t, !dry && test.want == escrow.Added, len(scan(t, store)) == 1, name)
			if test.want == escrow.Failed {
				require.Equal(t, test.row.Record, got.Record, name)
				require.NotContains(t, got.Err.Error(), "XXFAKE")
			} else if test.want == escrow.Added {
				require.Equal(t, test.row.Record, got.Record, name)
			}
			if got.Outcome == escrow.Added && !dry {
				require.Equal(t, test.row.Text.Reveal(), reveal(t, e, test.row.Record.Subject, got.Record.ID))
			}
		}
	}
}

// What no record can hold is left out, and the code stays readable.
func TestImportMakesItFit(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", 256)
	e := newEscrow(t)
	p := portable(long, code, 3)
	p.Record.StateReason, p.Record.EnrollmentID, p.Record.CommandUUID, p.Record.StaleReason = long, "\xff", "\x00", long
	p.Record.Device = escrow.Device{SerialNumber: "ANOTHER", UDID: long, ProductType: long, IMEI: long, IMEI2: long, MEID: long}
	p.Record.StateSince = time.Date(1000, 1, 1, 0, 0, 0, 0, time.UTC)
	p.Record.FirstSeen = at(4)
	p.Record.AskedAt = at(1).In(time.FixedZone("", 3600)).Add(1)
	p.JoinedTo = []string{"a serial number is joined to nothing"}
	got := importAll(t, e, escrow.Import{}, p)[0]
	require.Equal(t, escrow.Added, got.Outcome, got.Err)
	require.NotEmpty(t, got.Record.ID)
	require.NotEqual(t, long, got.Record.ID)
	require.Equal(t, escrow.Record{
		ID: got.Record.ID, Subject: bySerial, Kind: bypasscode.Device, State: escrow.Current, Cause: escrow.CauseSchedule,
		AskedAt: at(1), ReceivedAt: at(3), FirstSeen: at(3), LastSeen: at(3), Device: escrow.Device{SerialNumber: serial},
	}, got.Record)
	require.Equal(t, code, reveal(t, e, bySerial, got.Record.ID))

	p = portable("E", code, 3)
	p.Record.Subject = byEnrollment
	p.Record.Device = escrow.Device{}
	p.JoinedTo = []string{long, "", serial}
	require.Equal(t, escrow.Added, importAll(t, e, escrow.Import{}, p)[0].Outcome)
	require.Len(t, records(t, e, bySerial), 2)
	require.Equal(t, []string{serial}, export(t, e)[slices.IndexFunc(export(t, e), func(p escrow.Portable) bool { return p.Record.ID == "E" })].JoinedTo)
}

// An enrollment that was joined and its serial number have a current code each;
// whatever the order of rows, they come as they were.
func TestMoveOfAJoin(t *testing.T) {
	t.Parallel()
	mine := portable("S", code, 5)
	theirs := changed(portable("E", code2, 6), func(p *escrow.Portable) { p.Record.Subject, p.JoinedTo = byEnrollment, []string{serial} })
	for _, rows := range [][]escrow.Portable{{mine, theirs}, {theirs, mine}} {
		for _, dry := range []bool{true, false} {
			e := newEscrow(t)
			for _, r := range importAll(t, e, escrow.Import{DryRun: dry}, rows...) {
				require.Equal(t, escrow.Current, r.Record.State)
			}
			if !dry {
				require.Equal(t, []string{"device " + code2 + " current", "device " + code + " current"}, summary(t, e, bySerial))
			}
		}
	}
}

// A dry run sees what a row would add through joins that are here already.
func TestDryRunKnowsJoins(t *testing.T) {
	t.Parallel()
	e := newEscrow(t)
	require.NoError(t, e.Join(t.Context(), enrollment, serial))
	theirs := changed(portable("E", code, 4), func(p *escrow.Portable) { p.Record.Subject = byEnrollment })
	for _, dry := range []bool{true, false} {
		got := importAll(t, e, escrow.Import{DryRun: dry}, theirs, portable("S", code, 5))
		require.Equal(t, []escrow.Outcome{escrow.Added, escrow.Known}, outcomes(got))
	}
}

func TestImportedIDs(t *testing.T) {
	t.Parallel()
	for _, dry := range []bool{true, false} {
		how := escrow.Import{DryRun: dry}
		store := memstore.New().Escrow()
		e, _ := audited(t, escrow.Config{Store: store})
		here := portable("ID", code, 1)
		junk := portable("JUNK", "no code", 1)
		importAll(t, e, escrow.Import{}, here, junk)
		before := state(t, store)
		elsewhere := changed(here, func(p *escrow.Portable) { p.Record.Subject.SerialNumber = "XXFAKE0SER9" })
		for name, test := range map[string]struct {
			rows []escrow.Portable
			want []escrow.Outcome
		}{
			"another code":          {[]escrow.Portable{portable("ID", code2, 1)}, []escrow.Outcome{escrow.Failed}},
			"another kind":          {[]escrow.Portable{changed(junk, func(p *escrow.Portable) { p.Record.Kind = bypasscode.Server })}, []escrow.Outcome{escrow.Failed}},
			"another device":        {[]escrow.Portable{elsewhere}, []escrow.Outcome{escrow.Failed}},
			"junk by its ID":        {[]escrow.Portable{junk}, []escrow.Outcome{escrow.Known}},
			"junk for a code":       {[]escrow.Portable{portable("ID", "no code", 1)}, []escrow.Outcome{escrow.Failed}},
			"the code, another ID":  {[]escrow.Portable{portable("ID2", code, 1)}, []escrow.Outcome{escrow.Known}},
			"twice in a file":       {[]escrow.Portable{portable("N", code3, 1), portable("N", code3, 1), portable("N2", code3, 1)}, []escrow.Outcome{escrow.Added, escrow.Known, escrow.Known}},
			"twice without an ID":   {[]escrow.Portable{portable("", code3, 1), portable("", code3, 1)}, []escrow.Outcome{escrow.Added, escrow.Known}},
			"junk without an ID":    {[]escrow.Portable{portable("", "x", 1), portable("", "x", 1)}, []escrow.Outcome{escrow.Added, escrow.Added}},
			"two devices in a file": {[]escrow.Portable{portable("N", code3, 1), changed(elsewhere, func(p *escrow.Portable) { p.Record.ID = "N" })}, []escrow.Outcome{escrow.Added, escrow.Failed}},
			"a prefix is no ID":     {[]escrow.Portable{portable("I", code2, 1), portable("IDX", code3, 1), portable("IC\U0010ffff", numbered(1), 1)}, []escrow.Outcome{escrow.Added, escrow.Added, escrow.Added}},
			"odd IDs":               {[]escrow.Portable{portable("\x01", code2, 1), portable("\ue000", code3, 1), portable(strings.Repeat("\U0010ffff", 63), numbered(1), 1)}, []escrow.Outcome{escrow.Added, escrow.Added, escrow.Added}},
		} {
			store := memstore.New().Escrow()
			e, _ := audited(t, escrow.Config{Store: store})
			importAll(t, e, escrow.Import{}, here, junk)
			require.Equal(t, test.want, outcomes(importAll(t, e, how, test.rows...)), "%s, dry: %v", name, dry)
			if dry {
				require.Equal(t, before, state(t, store))
			}
		}
		// Every odd ID is found again, among others that are near.
		odd := []string{"\x01", "a", "a\x01", "a\U0010ffff", "b", "\ue000", "\ud7ff", strings.Repeat("\U0010ffff", 63), strings.Repeat("z", 255)}
		for i, id := range odd {
			importAll(t, e, escrow.Import{}, changed(portable(id, numbered(i), 1), func(p *escrow.Portable) { p.Record.Subject = escrow.Subject{SerialNumber: fmt.Sprint(i)} }))
		}
		for i, id := range odd {
			require.Equal(t, []escrow.Outcome{escrow.Failed}, outcomes(importAll(t, e, how, portable(id, numbered(100+i), 1))), "%q", id)
		}
	}
}

// What was purged does not come back with the bundle that it is in.
func TestImportOfWhatWasPurged(t *testing.T) {
	t.Parallel()
	e := newEscrow(t)
	row := portable("ID", code, 1)
	importAll(t, e, escrow.Import{}, row)
	remove(t, e, bySerial, 2)
	require.NoError(t, e.Purge(t.Context(), bySerial, escrow.Purge{Act: act, At: at(3), LockOff: true}))
	for _, dry := range []bool{true, false} {
		got := importAll(t, e, escrow.Import{DryRun: dry}, row)[0]
		require.Equal(t, escrow.Known, got.Outcome)
		require.Equal(t, escrow.Purged, got.Record.State)
	}
	require.Len(t, records(t, e, bySerial), 1)
	// The code under another ID is another record, as if the device gave it.
	row.Record.ID = "ID2"
	require.Equal(t, escrow.Added, importAll(t, e, escrow.Import{}, row)[0].Outcome)
}

func TestImportSkips(t *testing.T) {
	t.Parallel()
	e := newEscrow(t)
	var rows []escrow.Portable
	for i := range 5 {
		rows = append(rows, changed(portable(fmt.Sprint(i), numbered(i), 1), func(p *escrow.Portable) { p.Row = i }))
	}
	var seen []int
	for _, r := range importAll(t, e, escrow.Import{Skip: 2}, rows...) {
		seen = append(seen, r.Row)
	}
	require.Equal(t, []int{0, 3, 4}, seen)
}

func imports(ctx context.Context, e *escrow.Escrow, i escrow.Import, rows iter.Seq2[escrow.Portable, error]) (n int, err error) {
	for _, err := range e.Import(ctx, i, rows) {
		if err != nil {
			return n, err
		}
		n++
	}
	return n, nil
}

func TestImportEnds(t *testing.T) {
	t.Parallel()
	store := memstore.New().Escrow()
	e, l := audited(t, escrow.Config{Store: store})
	how := escrow.Import{Act: act, Source: "a file"}
	broken := func(yield func(escrow.Portable, error) bool) {
		if yield(portable("1", code, 1), nil) {
			yield(portable("2", code2, 2), errDown)
		}
	}
	n, err := imports(t.Context(), e, how, broken)
	require.ErrorIs(t, err, errDown)
	require.Equal(t, 1, n)
	require.Len(t, scan(t, store), 1)

	// Whoever stops has imported what they saw.
	for r, err := range e.Import(t.Context(), how, rowsOf(portable("3", code3, 3), portable("4", numbered(4), 4))) {
		require.NoError(t, err)
		require.Equal(t, "3", r.Record.ID)
		break
	}
	require.Len(t, scan(t, store), 2)
	require.Len(t, l.entries(t), 2)

	ctx, cancel := context.WithCancel(t.Context())
	n, err = imports(ctx, e, how, func(yield func(escrow.Portable, error) bool) {
		if yield(portable("5", numbered(5), 5), nil) {
			cancel()
			require.False(t, yield(portable("6", numbered(6), 6), nil))
		}
	})
	require.ErrorIs(t, err, context.Canceled)
	require.Equal(t, 1, n)
	require.Len(t, scan(t, store), 3)

	// Without the audit nothing comes in.
	never := func(yield func(escrow.Portable, error) bool) { panic("the rows are read") }
	l.fail = func() error { return errDown }
	_, err = imports(t.Context(), e, how, never)
	require.ErrorIs(t, err, errDown)
	l.fail = nil
	for _, bad := range []escrow.Import{{}, {Act: escrow.Act{Actor: "x"}}, {Act: act, Source: strings.Repeat("x", 256)}, {Act: act, Source: "\xff"}} {
		for _, bad.DryRun = range []bool{true, false} {
			_, err = imports(t.Context(), e, bad, never)
			require.Error(t, err)
		}
	}
	e, err = escrow.New(escrow.Config{Store: store, Sealer: clear{}})
	require.NoError(t, err)
	_, err = imports(t.Context(), e, how, never)
	require.ErrorIs(t, err, escrow.ErrNoAudit)
}

// The audit has the import before anything is written.
func TestImportIsAuditedFirst(t *testing.T) {
	t.Parallel()
	memory := memstore.New().Escrow()
	l := &ledger{Store: memstore.New().Audit()}
	log, err := audit.New(audit.Config{Store: l})
	require.NoError(t, err)
	hook := hooked{Store: memory, before: func(string) error {
		require.Equal(t, []audit.Act{audit.Imported}, l.acts(t))
		return nil
	}}
	e, err := escrow.New(escrow.Config{Store: hook, Sealer: clear{}, Audit: log})
	require.NoError(t, err)
	require.Equal(t, escrow.Added, importAll(t, e, escrow.Import{}, portable("1", code, 1))[0].Outcome)
}

// Failures of a row do not stop the others; a second run repairs them.
func TestImportWithAStoreThatFails(t *testing.T) {
	t.Parallel()
	source := newEscrow(t)
	everything(t, source)
	rows := export(t, source)
	for _, method := range []string{"update", "join"} {
		memory := memstore.New().Escrow()
		n := 0
		e, _ := audited(t, escrow.Config{Store: hooked{Store: memory, before: func(m string) error {
			if m == method {
				if n++; n == 1 {
					return errDown
				}
			}
			return nil
		}}})
		failed := 0
		for _, r := range importAll(t, e, escrow.Import{}, rows...) {
			if r.Outcome == escrow.Failed {
				require.ErrorIs(t, r.Err, errDown)
				failed++
			}
		}
		require.Equal(t, 1, failed)
		for _, r := range importAll(t, e, escrow.Import{}, rows...) {
			require.NotEqual(t, escrow.Failed, r.Outcome)
		}
		whole := memstore.New().Escrow()
		o, _ := audited(t, escrow.Config{Store: whole})
		importAll(t, o, escrow.Import{}, rows...)
		require.Equal(t, state(t, whole), state(t, memory))
	}
	e, _ := audited(t, escrow.Config{Store: memstore.New().Escrow(), Sealer: broken{}})
	require.Equal(t, escrow.Failed, importAll(t, e, escrow.Import{}, rows[0])[0].Outcome)
	require.Equal(t, escrow.Added, importAll(t, e, escrow.Import{DryRun: true}, rows[0])[0].Outcome)
}

// forbidding is a store that nobody may write to.
type forbidding struct {
	escrow.Store
	t *testing.T
}

func (f forbidding) Update(context.Context, escrow.Subject, func([]escrow.Entry) ([]escrow.Entry, error)) error {
	f.t.Error("a dry run writes")
	return errDown
}

func (f forbidding) Join(context.Context, string, string) error {
	f.t.Error("a dry run joins")
	return errDown
}

// A dry run writes nothing and says what the import then does.
func TestRandomDryRuns(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	random := rand.New(rand.NewPCG(seed, 0))
	pick := func(n int) int { return random.IntN(n) }
	texts := []string{code, code2, code3, numbered(1), "junk", "more junk"}
	subjects := []escrow.Subject{bySerial, {SerialNumber: "XXFAKE0SER2"}, byEnrollment, byAnother}
	states := []escrow.State{escrow.Current, escrow.Current, escrow.Current, escrow.Superseded, escrow.Disputed, escrow.Void, "tomorrow"}
	causes := []escrow.Cause{escrow.CauseSchedule, escrow.CauseImport}
	row := func() escrow.Portable {
		p := portable([]string{"", "A", "B", "C", "D", "E", "F"}[pick(7)], texts[pick(len(texts))], 1+pick(5))
		p.Record.Subject = subjects[pick(len(subjects))]
		p.Record.Device = escrow.Device{}
		p.Record.State, p.Record.Cause = states[pick(len(states))], causes[pick(2)]
		if pick(3) == 0 {
			p.Record.Kind = bypasscode.Server
		}
		if pick(8) == 0 {
			p.Err = []error{errDown, escrow.ErrEmpty}[pick(2)]
		}
		for _, s := range []string{serial, "XXFAKE0SER2"} {
			if pick(4) == 0 {
				p.JoinedTo = append(p.JoinedTo, s)
			}
		}
		return p
	}
	for range 1000 {
		memory := memstore.New()
		l := &ledger{Store: memory.Audit()}
		log, err := audit.New(audit.Config{Store: l})
		require.NoError(t, err)
		e, err := escrow.New(escrow.Config{Store: memory.Escrow(), Sealer: clear{}, Audit: log})
		require.NoError(t, err)
		var here, rows []escrow.Portable
		for range pick(5) {
			here = append(here, row())
		}
		importAll(t, e, escrow.Import{}, here...)
		if pick(3) == 0 {
			remove(t, e, bySerial, 9)
			require.NoError(t, e.Purge(t.Context(), bySerial, escrow.Purge{Act: act, At: at(9), LockOff: true}))
		}
		for i := range pick(9) {
			p := row()
			if i > 0 && pick(4) == 0 {
				p = rows[pick(i)]
			}
			p.Row = i + 1
			rows = append(rows, p)
		}
		skip := pick(3)
		before, noted := state(t, memory.Escrow()), l.acts(t)
		dry, err := escrow.New(escrow.Config{Store: forbidding{memory.Escrow(), t}, Sealer: clear{}, Audit: log})
		require.NoError(t, err)
		said := importAll(t, dry, escrow.Import{DryRun: true, Skip: skip}, rows...)
		require.Equal(t, before, state(t, memory.Escrow()), "seed %d", seed)
		require.Equal(t, noted, l.acts(t), "seed %d", seed)
		done := importAll(t, e, escrow.Import{Skip: skip}, rows...)
		require.Equal(t, len(said), len(done))
		for i := range said {
			s, d := said[i], done[i]
			require.Equal(t, d.Outcome, s.Outcome, "seed %d: %v %v", seed, d.Err, s.Err)
			require.Equal(t, []any{d.Row, d.Record.Subject, d.Record.Kind, d.Record.State, d.Record.LastSeen},
				[]any{s.Row, s.Record.Subject, s.Record.Kind, s.Record.State, s.Record.LastSeen}, "seed %d", seed)
			require.Equal(t, d.Err == nil, s.Err == nil)
			if s.Outcome == escrow.Added && s.Record.ID != "" {
				require.Equal(t, d.Record, s.Record)
			}
		}
		// What was there is as it was.
		after := state(t, memory.Escrow())
		for _, line := range before {
			if !strings.Contains(line, "EnrollmentID:0000") { // joins may be more
				require.Contains(t, after, line, "seed %d", seed)
			}
		}
		for _, r := range importAll(t, e, escrow.Import{Skip: skip}, rows...) {
			if r.Outcome == escrow.Added { // a text that nobody can compare, without an ID
				_, err := texted(rows, r).Code()
				require.Error(t, err, "seed %d", seed)
			}
		}
	}
}

func texted(rows []escrow.Portable, r escrow.Imported) bypasscode.Text { return rows[r.Row-1].Text }

func TestDryRunFailsWithTheStore(t *testing.T) {
	t.Parallel()
	p := portable("1", code, 1)
	p.Record.Subject = byEnrollment
	for _, method := range []string{"entries", "scan"} {
		e, _ := audited(t, escrow.Config{Store: hooked{Store: memstore.New().Escrow(), before: func(m string) error {
			if m == method {
				return errDown
			}
			return nil
		}}})
		got := importAll(t, e, escrow.Import{DryRun: true}, p)[0]
		require.ErrorIs(t, got.Err, errDown, method)
		require.Equal(t, escrow.Failed, got.Outcome)
	}
	e, _ := audited(t, escrow.Config{Store: joinless{memstore.New().Escrow()}})
	require.ErrorIs(t, importAll(t, e, escrow.Import{DryRun: true}, p)[0].Err, errDown)
}

func TestNothingShowsACodeOnItsWay(t *testing.T) {
	t.Parallel()
	p := portable("1", code, 1)
	bare := strings.ReplaceAll(code, "-", "")
	for name, v := range map[string]any{
		"portable": p, "pointer": &p, "list": []escrow.Portable{p}, "imported": escrow.Imported{Record: p.Record, Outcome: escrow.Added},
		"import": escrow.Import{Act: act}, "reveal": wish(bySerial, "1"),
	} {
		requireShowsNothing(t, name, v, code, bare)
	}
	_, err := json.Marshal(p)
	require.ErrorIs(t, err, bypasscode.ErrSecret)
	require.Error(t, gob.NewEncoder(io.Discard).Encode(struct{ Text bypasscode.Text }{p.Text}))
	var asError error = fmt.Errorf("%v %+v %#v", p, p, p)
	require.NotContains(t, asError.Error(), bare[:6])
	require.False(t, errors.Is(asError, escrow.ErrEmpty))
}

// The audit says what an import brought, and that it came to its end.
func TestImportIsCounted(t *testing.T) {
	t.Parallel()
	rows := func(end error) iter.Seq2[escrow.Portable, error] {
		return func(yield func(escrow.Portable, error) bool) {
			row := escrow.Portable{Record: escrow.Record{
				Subject: bySerial, Kind: bypasscode.Device, State: escrow.Current, Cause: escrow.CauseImport, LastSeen: at(1),
			}, Text: bypasscode.NewText(code)}
			mixedUp := row
			mixedUp.Record.Subject.SerialNumber = strings.ToLower(code2)
			for _, p := range []escrow.Portable{row, row, {Err: escrow.ErrEmpty}, {Err: errDown}, mixedUp} {
				if !yield(p, nil) {
					return
				}
			}
			if end != nil {
				yield(escrow.Portable{}, end)
			}
		}
	}
	store := memstore.New().Escrow()
	e, l := audited(t, escrow.Config{Store: store})
	var outcomes []escrow.Outcome
	for row, err := range e.Import(t.Context(), escrow.Import{Act: act, Source: "a file"}, rows(nil)) {
		require.NoError(t, err)
		outcomes = append(outcomes, row.Outcome)
		if row.Outcome == escrow.Failed {
			require.NotContains(t, strings.ToUpper(row.Err.Error()), code2)
		}
	}
	require.Equal(t, []escrow.Outcome{escrow.Added, escrow.Known, escrow.Empty, escrow.Failed, escrow.Failed}, outcomes, "a code in the place of a serial number is none")
	require.Len(t, scan(t, store), 1)
	require.Equal(t, []audit.Act{audit.Imported, audit.Imported}, l.acts(t))
	require.Equal(t, "a file", l.entries(t)[0].Detail)
	require.Equal(t, "the end: 1 added, 1 known, 1 empty, 2 failed", l.entries(t)[1].Detail)

	e, l = audited(t, escrow.Config{Store: store})
	for _, err := range e.Import(t.Context(), escrow.Import{Act: act}, rows(errDown)) {
		if err != nil {
			require.ErrorIs(t, err, errDown)
		}
	}
	require.Len(t, l.entries(t), 1, "it did not come to its end")
	for range e.Import(t.Context(), escrow.Import{Act: act, DryRun: true}, rows(nil)) {
	}
	require.Len(t, l.entries(t), 1)
}

// However two servers are merged, the records come in the order in which to try
// them: what a device gave before what was told, then the one seen last.
func TestMergedRecordsAreInOrder(t *testing.T) {
	t.Parallel()
	row := func(n, hour int, state escrow.State, cause escrow.Cause) escrow.Portable {
		return escrow.Portable{Record: escrow.Record{
			Subject: bySerial, Kind: bypasscode.Device, State: state, Cause: cause, FirstSeen: at(hour), LastSeen: at(hour),
		}, Text: bypasscode.NewText(numbered(n))}
	}
	given := []escrow.Portable{row(10, 10, escrow.Superseded, escrow.CauseSchedule), row(11, 11, escrow.Current, escrow.CauseSchedule)}
	own := []escrow.Portable{row(5, 5, escrow.Current, escrow.CauseEnrollment)}
	told := []escrow.Portable{row(20, 20, escrow.Current, escrow.CauseImport)}
	for _, test := range []struct {
		imports [][]escrow.Portable
		want    []string
	}{
		{[][]escrow.Portable{own, given}, []string{numbered(11), numbered(10), numbered(5)}},
		{[][]escrow.Portable{given, own}, []string{numbered(11), numbered(10), numbered(5)}},
		{[][]escrow.Portable{told, given}, []string{numbered(11), numbered(20), numbered(10)}},
		{[][]escrow.Portable{given, told}, []string{numbered(11), numbered(20), numbered(10)}},
		{[][]escrow.Portable{told, own, given}, []string{numbered(11), numbered(20), numbered(10), numbered(5)}},
	} {
		e := newEscrow(t)
		for _, rows := range test.imports {
			for result, err := range e.Import(t.Context(), escrow.Import{Act: act}, func(yield func(escrow.Portable, error) bool) {
				for _, p := range rows {
					if !yield(p, nil) {
						return
					}
				}
			}) {
				require.NoError(t, err)
				require.Equal(t, escrow.Added, result.Outcome)
			}
		}
		var got []string
		for _, r := range records(t, e, bySerial) {
			got = append(got, reveal(t, e, bySerial, r.ID))
		}
		require.Equal(t, test.want, got)
		// The device's next code puts an end to all doubts.
		capture(t, e, asked(numbered(30), "1", 30))
		currents := 0
		for _, r := range records(t, e, bySerial) {
			if r.State == escrow.Current {
				currents++
			}
		}
		require.Equal(t, 1, currents)
	}
}

// The rule has its say over exports too, and what it refuses is in the audit.
func TestExportIsForAllowToDecide(t *testing.T) {
	t.Parallel()
	no := errors.New("not these")
	e, l := audited(t, escrow.Config{Store: memstore.New().Escrow(), Allow: func(_ context.Context, r escrow.Reveal, record escrow.Record) error {
		require.Equal(t, escrow.ToExport, r.Purpose)
		require.Equal(t, act, r.Act)
		require.Equal(t, record.ID, r.RecordID)
		if record.Subject == bySerial {
			return no
		}
		return nil
	}})
	capture(t, e, asked(code, "1", 1), of(byEnrollment, asked(code2, "2", 2)))
	refused := 0
	for p, err := range e.Export(t.Context(), act, "") {
		require.NoError(t, err)
		if p.Err != nil {
			refused++
			require.ErrorIs(t, p.Err, escrow.ErrRefused)
			require.ErrorIs(t, p.Err, no)
			require.True(t, p.Text.IsZero())
			require.Equal(t, bySerial, p.Record.Subject)
		} else {
			require.Equal(t, code2, p.Text.Reveal())
		}
	}
	require.Equal(t, 1, refused)
	require.ElementsMatch(t, []audit.Act{audit.Refused, audit.Exported}, l.acts(t))
	_, err := e.Reveal(t.Context(), escrow.Reveal{Subject: byEnrollment, RecordID: "x", Act: act, Purpose: escrow.ToExport})
	require.ErrorContains(t, err, "purpose")
}

// A code that stands in another column is not kept there in clear.
func TestImportKeepsNoCodeInClear(t *testing.T) {
	t.Parallel()
	store := memstore.New().Escrow()
	e := with(t, store)
	row := escrow.Portable{Record: escrow.Record{
		Subject: bySerial, Kind: bypasscode.Device, State: escrow.Current, Cause: escrow.CauseImport, LastSeen: at(1), StateReason: code2,
		StaleReason: code2, Device: escrow.Device{UDID: strings.ToLower(code2), ProductType: code2, IMEI: code2, IMEI2: code2, MEID: code2},
	}, Text: bypasscode.NewText(code)}
	rows := func(yield func(escrow.Portable, error) bool) { yield(row, nil) }
	for result, err := range e.Import(t.Context(), escrow.Import{Act: act}, rows) {
		require.NoError(t, err)
		require.Equal(t, escrow.Added, result.Outcome)
	}
	require.NotContains(t, strings.ToUpper(fmt.Sprintf("%+v", scan(t, store)[0].Record)), code2)
}

// Identifiers are random, and may by chance have the form of a code.
func TestImportKeepsIdentifiersThatLookLikeCodes(t *testing.T) {
	t.Parallel()
	like := strings.ReplaceAll(code2, "-", "")
	subject := escrow.Subject{EnrollmentID: like}
	row := escrow.Portable{Record: escrow.Record{
		ID: like, Subject: subject, Kind: bypasscode.Device, State: escrow.Current, Cause: escrow.CauseSchedule, LastSeen: at(1),
		EnrollmentID: like, CommandUUID: like,
	}, Text: bypasscode.NewText(code)}
	e := newEscrow(t)
	for result, err := range e.Import(t.Context(), escrow.Import{Act: act}, func(yield func(escrow.Portable, error) bool) { yield(row, nil) }) {
		require.NoError(t, err)
		require.Equal(t, escrow.Added, result.Outcome)
		require.Equal(t, like, result.Record.ID)
		require.Equal(t, like, result.Record.EnrollmentID)
		require.Equal(t, like, result.Record.CommandUUID)
	}
}
