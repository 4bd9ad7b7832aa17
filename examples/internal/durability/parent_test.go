package durability_test

import (
	"bufio"
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/activationlock/sdk/activationlock/bypass"
	"github.com/activationlock/sdk/activationlock/sqlstore"
	"github.com/activationlock/sdk/bypasscode"
	"github.com/activationlock/sdk/bypasscode/escrow"
	"github.com/activationlock/sdk/bypasscode/seal"
	"github.com/activationlock/sdk/examples/internal/database"
)

// patience is how long a child may take for what takes no time.
const patience = time.Minute

// running is a child that runs.
type running struct {
	command *exec.Cmd
	in      io.WriteCloser
	said    bytes.Buffer // on its standard error
	reports chan report
	broken  chan error // why reports ended, nil at their end
}

// start starts a child, under a tracer if one is given.
func start(tb testing.TB, t task, tracer ...string) *running {
	tb.Helper()
	self, err := os.Executable()
	require.NoError(tb, err)
	arguments := append(tracer, self)
	c := &running{command: exec.Command(arguments[0], arguments[1:]...), reports: make(chan report), broken: make(chan error, 1)}
	c.command.Env = append(os.Environ(), childVariable+"=1")
	c.command.Stderr = &c.said
	c.in, err = c.command.StdinPipe()
	require.NoError(tb, err)
	out, err := c.command.StdoutPipe()
	require.NoError(tb, err)
	require.NoError(tb, c.command.Start())
	tb.Cleanup(func() {
		if c.command.ProcessState == nil {
			c.kill(tb)
		}
	})
	go func() {
		defer close(c.reports)
		lines := bufio.NewReader(out)
		for {
			line, err := lines.ReadBytes('\n')
			if err != nil { // it may have died in the middle of a line
				c.broken <- nil
				return
			}
			var r report
			if err := json.Unmarshal(line, &r); err != nil {
				c.broken <- err
				return
			}
			c.reports <- r
		}
	}()
	c.send(tb, t)
	return c
}

// send sends a line to the child.
func (c *running) send(tb testing.TB, line any) {
	tb.Helper()
	require.NoError(tb, json.NewEncoder(c.in).Encode(line))
}

// next returns as many reports as are wanted.
func (c *running) next(tb testing.TB, want int) (reports []report) {
	tb.Helper()
	ctx, cancel := context.WithTimeout(tb.Context(), patience)
	defer cancel()
	for len(reports) < want {
		select {
		case r, ok := <-c.reports:
			if !ok {
				err := <-c.broken
				c.command.Wait()
				require.Fail(tb, "the child ended by itself", "%v %s %s", err, c.command.ProcessState, c.said.String())
			}
			reports = append(reports, r)
		case <-ctx.Done():
			require.Fail(tb, "the child reports nothing")
		}
	}
	return reports
}

// kill kills the child and returns what it had reported until then.
func (c *running) kill(tb testing.TB) (reports []report) {
	tb.Helper()
	require.NoError(tb, c.command.Process.Kill())
	for r := range c.reports {
		reports = append(reports, r)
	}
	require.NoError(tb, <-c.broken)
	require.Error(tb, c.command.Wait())
	return reports
}

// end ends the child and returns what else it reported.
func (c *running) end(tb testing.TB) (reports []report) {
	tb.Helper()
	require.NoError(tb, c.in.Close())
	for r := range c.reports {
		reports = append(reports, r)
	}
	require.NoError(tb, <-c.broken)
	require.NoError(tb, c.command.Wait(), "%s", c.said.String())
	return reports
}

// newTask returns the task of a storage, with keys of its own.
func newTask(tb testing.TB, s database.Storage, m mode) task {
	tb.Helper()
	t := task{Mode: m, Storage: s, Seed: *seed}
	for i := range t.Keys {
		key, err := seal.GenerateKey(seal.X25519)
		require.NoError(tb, err)
		t.Keys[i] = key.Reveal()
	}
	return t
}

// storage is what the children of a test leave behind, and what of it was
// looked at.
type storage struct {
	task
	reported   []report
	checked    int             // of the reports, those that were looked at
	opened     map[string]bool // record IDs
	found      int             // records
	unreported int             // of them, those that no report names
}

func newStorage(t task) *storage { return &storage{task: t, opened: map[string]bool{}} }

// check opens the storage as a server does and returns what is wrong with it;
// nothing, if all that was reported is there. What it has opened before it opens
// again only if all is set.
func (s *storage) check(tb testing.TB, all bool) (faults []string) {
	tb.Helper()
	ctx := tb.Context()
	fault := func(format string, args ...any) { faults = append(faults, fmt.Sprintf(format, args...)) }
	db := s.Storage.Open(tb)
	defer db.Close()
	for _, f := range intact(tb, db, s.Storage.Dialect) {
		fault("the database is damaged: %s", f)
	}
	store, err := sqlstore.New(db, s.Storage.Dialect)
	require.NoError(tb, err)
	require.NoError(tb, store.Migrate(ctx))
	collect, rotate, err := s.keyrings()
	require.NoError(tb, err)
	codes, err := escrow.New(escrow.Config{Audit: newAudit(), Store: store.Escrow(), Sealer: rotate})
	require.NoError(tb, err)

	type place struct {
		subject escrow.Subject
		kind    bypasscode.Kind
	}
	quiet := all || s.Mode != patient // else a child goes on, and pages are of different moments
	there, current := map[string]escrow.Record{}, map[place]int{}
	for r, err := range codes.All(ctx) {
		require.NoError(tb, err)
		there[r.ID] = r
		if r.State == escrow.Current && quiet {
			if current[place{r.Subject, r.Kind}]++; current[place{r.Subject, r.Kind}] == 2 {
				fault("several current codes of one kind: %v", r.Subject)
			}
		}
		if s.opened[r.ID] && !all {
			continue
		}
		s.opened[r.ID] = true
		if err := s.opens(ctx, codes, r.Subject, r); err != nil {
			fault("record %s: %v", r.ID, err)
		}
	}
	if all {
		s.checked = 0
	}
	faults = append(faults, s.asReported(ctx, codes, there)...)
	faults = append(faults, s.actionsAsReported(ctx, store.Actions())...)

	// It goes on working.
	collecting, err := escrow.New(escrow.Config{Audit: newAudit(), Store: store.Escrow(), Sealer: collect})
	require.NoError(tb, err)
	for n, serial := range []string{fmt.Sprintf("SERIAL%d-0", s.Round/2), "SERIAL-NEW"} {
		subject, number := escrow.Subject{SerialNumber: serial}, numberOf(s.Round, workers, n)
		kept, err := collecting.Capture(ctx, captureOf(s.task, subject, number, 0))
		if err == nil {
			err = s.opens(ctx, codes, subject, kept)
		}
		if err != nil {
			fault("it does not go on: %v", err)
		}
		s.reported = append(s.reported, report{Number: number, Subject: subject, RecordID: kept.ID})
		there[kept.ID] = kept
	}
	s.checked = len(s.reported)

	named := map[string]bool{}
	for _, r := range s.reported {
		named[r.RecordID] = true
	}
	s.found, s.unreported = len(there), 0
	for id := range there {
		if !named[id] {
			s.unreported++
		}
	}
	return faults
}

// asReported returns what of the reports is not true.
func (s *storage) asReported(ctx context.Context, codes *escrow.Escrow, there map[string]escrow.Record) (faults []string) {
	fault := func(format string, args ...any) { faults = append(faults, fmt.Sprintf(format, args...)) }
	joined := map[escrow.Subject][]string{}
	for _, r := range s.reported {
		if r.Join != "" {
			joined[r.Subject] = append(joined[r.Subject], r.Join)
		}
	}
	for _, r := range s.reported {
		if r.Join != "" || r.Action != "" {
			continue
		}
		kept, ok := there[r.RecordID]
		if !ok {
			fault("lost: code %d of %v, record %s", r.Number, r.Subject, r.RecordID)
			continue
		}
		number, _ := numberIn(kept.CommandUUID) // zero for those of a lock
		switch {
		case kept.State == escrow.Purged:
			fault("lost: record %s is purged", r.RecordID)
		case kept.Subject != r.Subject, number != r.Number, r.Number == 0 && kept.Hash.String() != r.Hash:
			fault("record %s is of another code than was reported", r.RecordID)
		}
	}
	for _, r := range s.reported[s.checked:] {
		for _, serial := range joined[r.Subject] {
			if kept, ok := there[r.RecordID]; ok {
				if err := s.opens(ctx, codes, escrow.Subject{SerialNumber: serial}, kept); err != nil {
					fault("record %s under serial number %s: %v", r.RecordID, serial, err)
				}
			}
		}
	}
	return faults
}

// actionsAsReported returns what of the reports of actions is not true.
func (s *storage) actionsAsReported(ctx context.Context, actions bypass.Store) (faults []string) {
	tries := map[string]int{}
	for _, r := range s.reported[s.checked:] {
		if r.Action != "" {
			tries[r.Action] = max(tries[r.Action], r.Tries)
		}
	}
	for id, n := range tries {
		switch a, err := actions.Get(ctx, id); {
		case err != nil:
			faults = append(faults, fmt.Sprintf("lost: %s: %v", id, err))
		case len(a.Attempts) != 1 || a.Attempts[0].Tries < n || (a.Attempts[0].Tries == 3) != a.State.Over():
			faults = append(faults, fmt.Sprintf("lost: %s was changed %d times, and is %+v", id, n, a))
		}
	}
	return faults
}

// opens opens a code and compares it with what it must be.
func (s *storage) opens(ctx context.Context, codes *escrow.Escrow, subject escrow.Subject, r escrow.Record) error {
	text, err := codes.Reveal(ctx, wish(subject, r.ID))
	if err != nil {
		return err
	}
	if r.Kind == bypasscode.Server {
		code, err := text.Code()
		if err != nil {
			return err
		}
		hash, err := code.Hash()
		if err == nil && hash != r.Hash {
			err = fmt.Errorf("not the code of its hash")
		}
		return err
	}
	number, err := numberIn(r.CommandUUID)
	if err == nil && !text.Equal(codeOf(s.Seed, number).Text()) {
		err = fmt.Errorf("not the code that it had")
	}
	return err
}

// intact asks the database whether its files are.
func intact(tb testing.TB, db *sql.DB, d sqlstore.Dialect) (faults []string) {
	tb.Helper()
	var query string
	switch d {
	case sqlstore.SQLite:
		query = "PRAGMA integrity_check"
	case sqlstore.MySQL:
		query = "CHECK TABLE activationlock_codes, activationlock_joins, activationlock_locks, activationlock_actions"
	default:
		return nil // it looks by itself, and offers nothing without an extension
	}
	rows, err := db.Query(query)
	require.NoError(tb, err)
	defer rows.Close()
	columns, err := rows.Columns()
	require.NoError(tb, err)
	for rows.Next() {
		row := make([]sql.NullString, len(columns))
		into := make([]any, len(columns))
		for i := range row {
			into[i] = &row[i]
		}
		require.NoError(tb, rows.Scan(into...))
		if result := row[len(row)-1].String; result != "ok" && result != "OK" {
			faults = append(faults, result)
		}
	}
	require.NoError(tb, rows.Err())
	return faults
}
