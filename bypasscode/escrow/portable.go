package escrow

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"time"

	"github.com/activationlock/sdk/bypasscode"
	"github.com/activationlock/sdk/bypasscode/audit"
)

// Portable is a record with its code, on its way from one escrow to another.
// Package transfer writes and reads them.
type Portable struct {
	Record Record
	// Text is the code. It prints as "[redacted]", and encoding a Portable is an
	// error.
	Text bypasscode.Text
	// JoinedTo are the serial numbers that the enrollment is joined to that the
	// code was filed under (see [Escrow.Join]).
	JoinedTo []string
	// Row is where it came from, counted from 1; 0 if that means nothing.
	Row int
	// Err says why there is no code.
	Err error
}

// Export returns every record with its code, in the order of the records' IDs,
// from the ID after which to begin ("" for all). Each code is in the audit, by an
// entry of its own, before it is returned. They are read and audited in pages of
// 256, so that whoever stops early leaves up to 255 entries of codes that were
// not taken.
//
// A code that Config.Allow refuses (the Purpose is [ToExport]) or that cannot be
// read comes with its Err (see [Escrow.Reveal]) and stops nothing; purged records are left out. An error ends it:
// [ErrNoAudit], [ErrNoOpener], the context's, or one of store or audit; what came
// before it is good, and the last ID that came says where to go on.
func (e *Escrow) Export(ctx context.Context, by Act, after string) iter.Seq2[Portable, error] {
	return func(yield func(Portable, error) bool) {
		if err := e.export(ctx, by, after, yield); err != nil {
			yield(Portable{}, fmt.Errorf("escrow: export: %w", err))
		}
	}
}

func (e *Escrow) export(ctx context.Context, by Act, after string, yield func(Portable, error) bool) error {
	if err := by.check(); err != nil {
		return err
	}
	if e.audit == nil {
		return ErrNoAudit
	}
	if _, ok := e.sealer.(Opener); !ok {
		return ErrNoOpener
	}
	for {
		entries, err := e.store.Scan(ctx, after, page)
		if err != nil {
			return err
		}
		var portables []Portable
		var events []audit.Event
		for _, entry := range entries {
			after = entry.ID
			if entry.State == Purged {
				continue
			}
			p := Portable{Record: entry.Record}
			if id := entry.Subject.EnrollmentID; id != "" {
				if p.JoinedTo, err = e.store.Joined(ctx, id); err != nil {
					return err
				}
			}
			wish := Reveal{Subject: entry.Subject, RecordID: entry.ID, Act: by, Purpose: ToExport}
			if refused := e.allow(ctx, wish, entry.Record); refused != nil {
				p.Err = fmt.Errorf("%w: %w", ErrRefused, refused)
				events = append(events, e.event(audit.Refused, by, entry.Subject, entry.ID, "to export"))
			} else if p.Text, p.Err = e.open(ctx, entry.Subject, entry); p.Err == nil {
				events = append(events, e.event(audit.Exported, by, entry.Subject, entry.ID, ""))
			}
			if ctx.Err() != nil {
				return ctx.Err() // no fault of the code
			}
			portables = append(portables, p)
		}
		if len(events) > 0 {
			if _, err := e.audit.Append(ctx, events...); err != nil {
				return err
			}
		}
		for _, p := range portables {
			if !yield(p, nil) {
				return nil
			}
		}
		if len(entries) < page {
			return nil
		}
	}
}

// Import says how to take in codes.
type Import struct {
	Act
	Source string // where they come from; goes into the audit; "" or as an [Act]'s strings
	// DryRun says what would happen, and writes nothing, no audit entry either.
	DryRun bool
	// Skip passes over the rows up to that Row, since an import before came so
	// far. Rows without a number are not passed over. To import a row twice does
	// no harm either.
	Skip int
}

// Outcome is what became of an imported row.
type Outcome string

const (
	// Added: it is a new record, maybe in another state than it came in.
	Added Outcome = "added"
	// Known: the code is there already, or its record was purged here. The record
	// is as it was.
	Known Outcome = "known"
	// Empty: the row has no code.
	Empty Outcome = "empty"
	// Failed: the row has an error, or its code could not be taken in.
	Failed Outcome = "failed"
)

// Imported is what became of one row.
type Imported struct {
	Row     int // as in Portable
	Outcome Outcome
	Record  Record // as it is kept, if it was added or known; else as it came
	Err     error  // why it failed, else nil
}

// Import takes in rows and returns what becomes of each, in their order: that is
// the progress too. A row that fails does not stop the others. An error ends it:
// [ErrNoAudit], the context's, one of the audit, or what ended the rows. The audit
// is told before the first row, and after the last one how many there were; an
// import that ended before has no second entry.
//
// A record keeps its ID, times, state, cause and tombstone, and the joins of its
// enrollment are made here. Its code is sealed anew, for this escrow's keys. What
// is here already is never changed:
//
//   - The same code of the same kind and subject is [Known]. So is the same ID
//     of the same kind and subject with a text that does not parse, which nobody
//     can compare; so a bundle can be imported again. (Texts that do not parse
//     and have no ID are kept each time.) A purged record stays purged.
//   - An ID that another code has fails.
//   - A code that comes as [Current] where there is a current one of its kind and
//     subject becomes [Superseded], unless it counts for more: a device gave it
//     and that one was told (see [CauseImport], [CauseManual]), or else it was
//     seen later. Then both are current, until the device gives a code, and
//     [Escrow.Records] lists the lesser one among the superseded. So after two
//     servers are merged the records are still in the order in which to try them.
//   - What the other escrow learned of a code that is here already, that it was
//     seen again, worked or is void, is not taken over.
//   - Disputed, void and other states are kept.
//
// Strings that no record can hold (see [ValidIdentifier]), and times that none
// can, are left out, except for subject, cause and LastSeen, which are errors. A
// hash that is not the code's is an error.
//
// A dry run compares each row with what is here and with the rows before it, so
// that it says of the second of two equal rows what the import says: [Known]. For
// that it keeps some 300 bytes of each row that it would add; the import itself
// keeps none. It cannot foresee a store or Sealer that fails, nor the ID that a
// record without one will get; and of a record that only a row before would add,
// it returns ID, Subject, Kind, State and LastSeen.
func (e *Escrow) Import(ctx context.Context, i Import, rows iter.Seq2[Portable, error]) iter.Seq2[Imported, error] {
	return func(yield func(Imported, error) bool) {
		if err := e.importRows(ctx, i, rows, yield); err != nil {
			yield(Imported{}, fmt.Errorf("escrow: import: %w", err))
		}
	}
}

func (e *Escrow) importRows(ctx context.Context, i Import, rows iter.Seq2[Portable, error], yield func(Imported, error) bool) error {
	if err := i.check(); err != nil {
		return err
	}
	if e.audit == nil {
		return ErrNoAudit
	}
	if i.Source != "" && !ValidIdentifier(i.Source) {
		return errors.New("the source has more than 255 bytes, or is no text")
	}
	take := e.take
	if i.DryRun {
		take = newDraft(e.store).take
	} else if err := e.note(ctx, audit.Imported, i.Act, Subject{}, "", i.Source); err != nil {
		return err
	}
	counts := map[Outcome]int{}
	for p, err := range rows {
		if err != nil {
			return err
		}
		if p.Row > 0 && p.Row <= i.Skip {
			continue
		}
		result := Imported{Row: p.Row, Outcome: Failed, Record: p.Record, Err: p.Err}
		if p.Err == nil {
			result.Err = p.arrive()
		}
		if errors.Is(result.Err, ErrEmpty) {
			result.Outcome, result.Err = Empty, nil
		} else if result.Err == nil {
			var kept Record
			if kept, result.Outcome, result.Err = take(ctx, p); result.Err == nil {
				result.Record = kept
			}
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		counts[result.Outcome]++
		if !yield(result, nil) {
			return nil
		}
	}
	if i.DryRun {
		return nil
	}
	return e.note(ctx, audit.Imported, i.Act, Subject{}, "", fmt.Sprintf(
		"the end: %d added, %d known, %d empty, %d failed", counts[Added], counts[Known], counts[Empty], counts[Failed]))
}

// take adds a row to the store.
func (e *Escrow) take(ctx context.Context, p Portable) (kept Record, outcome Outcome, err error) {
	if p.Record.ID == "" {
		p.Record.ID = newID()
	}
	fresh, err := e.entry(ctx, p.Record, p.Text)
	if err != nil {
		return Record{}, Failed, err
	}
	if err := e.store.Update(ctx, p.Record.Subject, func(entries []Entry) ([]Entry, error) {
		added, k, o, err := adopt(entries, fresh)
		kept, outcome = k, o
		return added, err
	}); err != nil {
		return Record{}, Failed, err
	}
	for _, serialNumber := range p.JoinedTo {
		// Not Escrow.Join, whose doubts depend on the order of the rows. The states
		// come as the other escrow had settled them.
		if err := e.store.Join(ctx, p.Record.Subject.EnrollmentID, serialNumber); err != nil {
			return Record{}, Failed, err
		}
	}
	return kept, outcome, nil
}

var errTaken = errors.New("escrow: another code has the record's ID")

// adopt returns what is to be added to the entries that a subject shows, and the
// record as it is then kept.
func adopt(entries []Entry, fresh Entry) (added []Entry, kept Record, outcome Outcome, err error) {
	known := -1
	for i, e := range entries {
		if e.ID == fresh.ID {
			if e.Subject != fresh.Subject || e.Kind != fresh.Kind || e.State != Purged && e.Digest != fresh.Digest {
				return nil, Record{}, Failed, errTaken
			}
			return nil, e.Record, Known, nil
		}
		if e.State != Purged && e.same(fresh) && (known < 0 || nearer(e.Record, entries[known].Record, fresh.Subject)) {
			known = i
		}
	}
	if known >= 0 {
		return nil, entries[known].Record, Known, nil
	}
	if fresh.State == Current && slices.ContainsFunc(entries, func(e Entry) bool {
		// Those of joined enrollments have a current one of their own.
		return e.State == Current && e.Kind == fresh.Kind && e.Subject == fresh.Subject && !e.behind(fresh.Record)
	}) {
		fresh.enter(Superseded, time.Time{}, "")
	}
	return []Entry{fresh}, fresh.Record, Added, nil
}

// nearer decides which of two records of one code is the known one: that of the
// subject itself, else the one of more worth. It goes by no order of filing, which
// a dry run does not know.
func nearer(a, b Record, to Subject) bool {
	worth := func(r Record) int {
		if r.Subject == to {
			return -1
		}
		return r.State.rank()
	}
	return cmp.Or(cmp.Compare(worth(a), worth(b)), b.LastSeen.Compare(a.LastSeen),
		cmp.Compare(a.Subject.SerialNumber+a.Subject.EnrollmentID, b.Subject.SerialNumber+b.Subject.EnrollmentID)) < 0
}

// arrive checks a row of elsewhere, and makes it fit.
func (p *Portable) arrive() error {
	r := &p.Record
	switch {
	case p.Text.IsZero():
		return ErrEmpty
	case len(p.Text.Reveal()) > MaxText:
		return ErrTooLong
	case !r.Subject.valid():
		return errors.New("escrow: there is no serial number, or one that cannot be kept")
	}
	if isCode(r.Subject.SerialNumber) { // mixed-up columns
		return errors.New("escrow: the serial number is a code, which would be kept unsealed")
	}
	for _, s := range []*string{&r.ID, &r.EnrollmentID, &r.CommandUUID} { // random, so they may look like codes
		if !ValidIdentifier(*s) {
			*s = ""
		}
	}
	for _, s := range []*string{
		&r.StateReason, &r.StaleReason, &r.Device.SerialNumber, &r.Device.UDID,
		&r.Device.ProductType, &r.Device.IMEI, &r.Device.IMEI2, &r.Device.MEID,
	} {
		if !ValidIdentifier(*s) || isCode(*s) { // which would be kept unsealed
			*s = ""
		}
	}
	if r.Subject.SerialNumber != "" { // any other would be sealed, and never open under the subject
		r.Device.SerialNumber = r.Subject.SerialNumber
	}
	for _, t := range []*time.Time{
		&r.StateSince, &r.AskedAt, &r.ReceivedAt, &r.FirstSeen, &r.LastSeen, &r.StaleSince, &r.DeletedAt,
	} {
		if *t = stored(*t); t.Year() < 1582 || t.Year() > 9999 {
			*t = time.Time{}
		}
	}
	if !r.Kind.Valid() || r.State.rank() >= Purged.rank() || !ValidIdentifier(string(r.Cause)) || r.LastSeen.IsZero() {
		return errors.New("escrow: kind, state, cause and time are required")
	}
	if r.FirstSeen.IsZero() || r.FirstSeen.After(r.LastSeen) {
		r.FirstSeen = r.LastSeen
	}
	joinedTo := p.JoinedTo
	p.JoinedTo = nil
	for _, serialNumber := range joinedTo {
		if r.Subject.EnrollmentID != "" && ValidIdentifier(serialNumber) {
			p.JoinedTo = append(p.JoinedTo, serialNumber)
		}
	}
	if r.Hash == (bypasscode.Hash{}) {
		return nil
	}
	// A wrong hash would lock a device with a code that nobody knows.
	code, err := p.Text.Code()
	if err != nil {
		return errHash
	}
	if hash, err := code.Hash(); err != nil || hash != r.Hash {
		return errors.Join(errHash, err)
	}
	return nil
}

func isCode(s string) bool {
	_, err := bypasscode.ParseLenient(s, false)
	return err == nil
}

var errHash = errors.New("escrow: the hash is not that of the code")
