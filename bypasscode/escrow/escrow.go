package escrow

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"fmt"
	"iter"
	"slices"
	"time"

	"github.com/activationlock/sdk/bypasscode"
	"github.com/activationlock/sdk/bypasscode/audit"
)

var (
	// ErrEmpty means that there was no code to keep.
	ErrEmpty = errors.New("escrow: an empty code is not kept")
	// ErrTooLong means that what was called a code has more than MaxText bytes.
	ErrTooLong = errors.New("escrow: a code of that length is not kept")
	// ErrQuota means that an enrollment gave more codes than any honest device.
	ErrQuota = errors.New("escrow: too many codes of one enrollment")
	// ErrNotFound means that there is no such record.
	ErrNotFound = errors.New("escrow: not found")
	// ErrPurged means that the record's code was destroyed on purpose.
	ErrPurged = errors.New("escrow: the code was purged")
	// ErrNoOpener means that this server only collects codes.
	ErrNoOpener = errors.New("escrow: this server has nothing to open codes with")
	// ErrMoved means that a record does not fit what is sealed in it: its device,
	// digest or hash are another's.
	ErrMoved = errors.New("escrow: the code was sealed for another record or device")
	// ErrRefused means that Config.Allow refused to reveal a code.
	ErrRefused = errors.New("escrow: refused")
	// ErrNoAudit means that there is no audit log, without which no code leaves.
	ErrNoAudit = errors.New("escrow: there is no audit log")
	// ErrLockMayBeOn means that nobody knows that the lock is off, so that
	// destroying the code may make a brick.
	ErrLockMayBeOn = errors.New("escrow: not purged, since the lock may be on")
	// ErrNotDeleted means that the device was not deleted before the purge.
	ErrNotDeleted = errors.New("escrow: not purged, since the device is not deleted")
)

const (
	// Quota is the number of records of one kind that one enrollment can fill for
	// one subject; disputed ones count apart, so that junk never keeps a code out
	// that was asked for. A device makes a new code when it is erased or Find My
	// comes on.
	Quota = 256

	// MaxText is the size of the longest code that is kept, in bytes. Codes have
	// 31; the rest is for formats that Apple may think of.
	MaxText = 1 << 10

	// MaxIdentifier is the size in bytes of the longest serial number,
	// enrollment ID, reason or other string of a record.
	MaxIdentifier = 255

	// MaxSealed is the size in bytes of the longest sealed code and of the
	// longest recovery copy.
	MaxSealed = 64 << 10
)

// Config is what an escrow needs.
type Config struct {
	Store Store // required
	// Sealer seals the codes. It may be an [Opener] too, else nothing can be
	// revealed here, and a [Rewrapper]. Required; package seal has one.
	Sealer Sealer
	// Recovery are the certificates (RSA) whose holders can read each code from
	// its recovery copy, without this library and without the Sealer's keys. None
	// means no new copies; those that are there stay.
	Recovery []*x509.Certificate
	// Audit is told of each code before it leaves, and of other acts of people.
	// Without one nothing can be revealed, exported, imported, purged or rotated.
	Audit *audit.Log
	// Allow decides whether somebody may have a code, by a reveal or an export; its error is the reason why
	// not, and goes to whoever asked. Default [Allow].
	Allow func(context.Context, Reveal, Record) error
	Clock func() time.Time // of the audit; default time.Now
}

// Escrow applies the rules of the package to a store. It is safe for many
// goroutines.
type Escrow struct {
	store    Store
	sealer   Sealer
	recovery []*x509.Certificate
	audit    *audit.Log
	allow    func(context.Context, Reveal, Record) error
	clock    func() time.Time
}

// New returns an escrow. It checks its configuration, the certificates with a
// recovery copy as large as they get, so that no code is turned away for them.
func New(c Config) (*Escrow, error) {
	if c.Store == nil {
		return nil, errors.New("escrow: Config.Store is required")
	}
	if c.Sealer == nil {
		return nil, errors.New("escrow: Config.Sealer is required")
	}
	if c.Allow == nil {
		c.Allow = Allow
	}
	if c.Clock == nil {
		c.Clock = time.Now
	}
	e := &Escrow{c.Store, c.Sealer, slices.Clone(c.Recovery), c.Audit, c.Allow, c.Clock}
	if _, err := e.copyFor(largest()); err != nil {
		return nil, err
	}
	return e, nil
}

// AuditedBy reports whether a log is the audit of the escrow. Packages that write about
// the same acts check it.
func (e *Escrow) AuditedBy(l *audit.Log) bool { return l != nil && e.audit == l }

// Capture is a code that has arrived, with everything to keep about it.
// Strings that no record can hold (see [ValidIdentifier]) are left out, except
// for the Subject's, which are an error.
type Capture struct {
	Subject      Subject         // required
	Kind         bypasscode.Kind // required
	Text         bypasscode.Text // required, not empty
	Cause        Cause           // required; CauseOrganizationLock is for [Escrow.LockCode] alone
	EnrollmentID string          // who gave it
	CommandUUID  string
	AskedAt      time.Time // zero if unknown
	ReceivedAt   time.Time // required
	// FirstSeen is when another system saw the code first, for CauseImport and
	// CauseManual; zero means ReceivedAt.
	FirstSeen time.Time
	// Device has the Subject's serial number, if there is one: another is
	// replaced.
	Device Device
	// Disputed: another live enrollment claims the same serial number.
	Disputed bool
}

// Capture commits a code and returns its record. When it returns without an
// error the code is durable. A device may send its report as often as it likes:
// one that is known by its command UUID changes nothing. (A text that does not
// parse cannot be compared, so it is kept each time.)
func (e *Escrow) Capture(ctx context.Context, c Capture) (Record, error) {
	if c.Text.IsZero() {
		return Record{}, ErrEmpty
	}
	if len(c.Text.Reveal()) > MaxText {
		return Record{}, ErrTooLong
	}
	if !c.Subject.valid() || !c.Kind.Valid() || !c.Cause.captured() || c.ReceivedAt.IsZero() {
		return Record{}, errors.New("escrow: capture: subject, kind, cause and time are required")
	}
	c.bound()
	fresh, err := e.entry(ctx, Record{
		ID: newID(), Subject: c.Subject, Kind: c.Kind, State: Current, Cause: c.Cause,
		EnrollmentID: c.EnrollmentID, CommandUUID: c.CommandUUID, AskedAt: c.AskedAt, ReceivedAt: c.ReceivedAt,
		FirstSeen: c.FirstSeen, LastSeen: c.seen(), Device: c.Device,
	}, c.Text)
	if err != nil {
		return Record{}, fmt.Errorf("escrow: capture: %w", err)
	}
	var kept Record
	err = e.store.Update(ctx, c.Subject, func(entries []Entry) ([]Entry, error) {
		after, k, err := capture(entries, c, fresh)
		kept = k
		return changes(entries, after), err
	})
	if err != nil {
		return Record{}, fmt.Errorf("escrow: capture: %w", err)
	}
	return kept, nil
}

// bound makes what was captured fit into a record, with times as stores keep
// them.
func (c *Capture) bound() {
	for _, s := range []*string{
		&c.EnrollmentID, &c.CommandUUID, &c.Device.SerialNumber, &c.Device.UDID,
		&c.Device.ProductType, &c.Device.IMEI, &c.Device.IMEI2, &c.Device.MEID,
	} {
		if !ValidIdentifier(*s) {
			*s = ""
		}
	}
	if c.Subject.SerialNumber != "" { // any other would be sealed, and never open under the subject
		c.Device.SerialNumber = c.Subject.SerialNumber
	}
	c.AskedAt, c.ReceivedAt, c.FirstSeen = stored(c.AskedAt), stored(c.ReceivedAt), stored(c.FirstSeen)
	if c.FirstSeen.IsZero() || c.FirstSeen.After(c.ReceivedAt) || !c.Cause.told() {
		c.FirstSeen = c.ReceivedAt
	}
}

// stored returns a time as a record keeps it.
func stored(t time.Time) time.Time {
	if t.IsZero() {
		return time.Time{}
	}
	return t.UTC().Truncate(time.Microsecond)
}

// entry makes the entry of a new record: sealed, with its digest and recovery
// copy.
func (e *Escrow) entry(ctx context.Context, r Record, text bypasscode.Text) (Entry, error) {
	sealed, err := e.sealer.Seal(ctx, payload(r.Device, text), associated(r))
	if err != nil {
		return Entry{}, err
	}
	recoveryCopy, err := e.copyFor(r, text)
	if err != nil {
		return Entry{}, err
	}
	return Entry{r, sealed, digest(r.Kind, text), recoveryCopy}, nil
}

// MarkStale notes on the current device code of a subject that the device may
// have made another one since, unless it was seen later. The code stays current: an erase followed by a
// restore of the device's own backup keeps it. A mark that is there stays.
func (e *Escrow) MarkStale(ctx context.Context, subject Subject, reason string, since time.Time) error {
	if !ValidIdentifier(reason) || since.IsZero() {
		return errors.New("escrow: mark stale: reason and time are required")
	}
	since = stored(since)
	return e.update(ctx, "mark stale", subject, func(entries []Entry) (changed []Entry, _ error) {
		for _, entry := range entries {
			if entry.Kind == bypasscode.Device && entry.State == Current && entry.StaleSince.IsZero() && !entry.LastSeen.After(since) {
				entry.StaleSince, entry.StaleReason = since, reason
				changed = append(changed, entry)
			}
		}
		return changed, nil
	})
}

// Join files what came from an enrollment under a serial number too. If the
// serial number has a current code already, a different one of the enrollment
// becomes disputed. To do it again, as with each report that names a serial number,
// takes no transaction.
func (e *Escrow) Join(ctx context.Context, enrollmentID, serialNumber string) error {
	if !ValidIdentifier(enrollmentID) || !ValidIdentifier(serialNumber) {
		return errors.New("escrow: join: enrollment ID and serial number are required")
	}
	of := Subject{SerialNumber: serialNumber}
	joined, err := e.store.Joined(ctx, enrollmentID)
	if err == nil && slices.Contains(joined, serialNumber) {
		if entries, err := e.store.Entries(ctx, of); err == nil && len(disputed(entries, enrollmentID, serialNumber)) == 0 {
			return nil
		}
	}
	if err := e.store.Join(ctx, enrollmentID, serialNumber); err != nil {
		return fmt.Errorf("escrow: join: %w", err)
	}
	return e.update(ctx, "join", of, func(entries []Entry) ([]Entry, error) {
		changed := disputed(entries, enrollmentID, serialNumber)
		for i := range changed {
			changed[i].enter(Disputed, time.Time{}, "")
		}
		return changed, nil
	})
}

// disputed returns the current codes of an enrollment where the serial number has
// another.
func disputed(entries []Entry, enrollmentID, serialNumber string) (list []Entry) {
	for _, entry := range entries {
		if entry.State == Current && entry.Subject.EnrollmentID == enrollmentID && slices.ContainsFunc(entries, func(own Entry) bool {
			return own.State == Current && own.Subject.SerialNumber == serialNumber && own.Kind == entry.Kind && !own.same(entry)
		}) {
			list = append(list, entry)
		}
	}
	return list
}

// update runs a change on the store and names what failed.
func (e *Escrow) update(ctx context.Context, what string, subject Subject, change func([]Entry) ([]Entry, error)) error {
	if !subject.valid() {
		return errSubject(what)
	}
	if err := e.store.Update(ctx, subject, change); err != nil {
		return fmt.Errorf("escrow: %s: %w", what, err)
	}
	return nil
}

func errSubject(what string) error {
	return fmt.Errorf("escrow: %s: a serial number or an enrollment ID is required", what)
}

// Records returns what is known of a subject's codes, in the order of their
// worth: by state, in the order of the constants of [State]; within one, those
// seen last first. None is not an error.
func (e *Escrow) Records(ctx context.Context, subject Subject) ([]Record, error) {
	entries, err := e.store.Entries(ctx, subject)
	if err != nil {
		return nil, fmt.Errorf("escrow: records: %w", err)
	}
	records := make([]Record, 0, len(entries))
	for _, entry := range slices.Backward(entries) { // of the same moment, the later filed first
		records = append(records, entry.Record)
	}
	rank := map[string]int{}
	for _, r := range records {
		rank[r.ID] = r.State.rank()
		if slices.ContainsFunc(records, r.behind) {
			rank[r.ID] = Superseded.rank()
		}
	}
	slices.SortStableFunc(records, func(a, b Record) int {
		return cmp.Or(cmp.Compare(rank[a.ID], rank[b.ID]), b.LastSeen.Compare(a.LastSeen))
	})
	return records, nil
}

// All returns the records of all subjects, in the order of their IDs, which
// says nothing else. An error ends it.
func (e *Escrow) All(ctx context.Context) iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		for entry, err := range e.entries(ctx, "") {
			if err != nil {
				err = fmt.Errorf("escrow: all: %w", err)
			}
			if !yield(entry.Record, err) {
				return
			}
		}
	}
}

// page is the number of entries that a walk reads at once.
const page = 256

// entries walks through the store, from the ID after which to begin.
func (e *Escrow) entries(ctx context.Context, after string) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		for {
			entries, err := e.store.Scan(ctx, after, page)
			if err != nil {
				yield(Entry{}, err)
				return
			}
			for _, entry := range entries {
				if !yield(entry, nil) {
					return
				}
				after = entry.ID
			}
			if len(entries) < page {
				return
			}
		}
	}
}

// find returns one entry of a subject.
func (e *Escrow) find(ctx context.Context, subject Subject, recordID string) (Entry, error) {
	entries, err := e.store.Entries(ctx, subject)
	if err != nil {
		return Entry{}, err
	}
	for _, entry := range entries {
		if entry.ID == recordID {
			return entry, nil
		}
	}
	return Entry{}, ErrNotFound
}

// open opens an entry that was found under a subject.
func (e *Escrow) open(ctx context.Context, subject Subject, entry Entry) (bypasscode.Text, error) {
	if entry.State == Purged {
		return bypasscode.Text{}, ErrPurged
	}
	opener, ok := e.sealer.(Opener)
	if !ok {
		return bypasscode.Text{}, ErrNoOpener
	}
	content, err := opener.Open(ctx, entry.Sealed, associated(entry.Record))
	if err != nil {
		return bypasscode.Text{}, err
	}
	sealedFor, text, ok := readPayload(content)
	if !ok || entry.Digest != digest(entry.Kind, text) {
		return bypasscode.Text{}, ErrMoved
	}
	if entry.Hash != (bypasscode.Hash{}) {
		// A lock that is tried again would be made with a code that nobody knows.
		code, err := text.Code()
		if err != nil {
			return bypasscode.Text{}, ErrMoved
		}
		if hash, err := code.Hash(); err != nil || hash != entry.Hash {
			return bypasscode.Text{}, errors.Join(ErrMoved, err)
		}
	}
	for _, pair := range [][2]string{
		{sealedFor.SerialNumber, entry.Device.SerialNumber},
		{sealedFor.SerialNumber, subject.SerialNumber}, // a planted join
		{sealedFor.UDID, entry.Device.UDID},
	} {
		if pair[0] != "" && pair[1] != "" && pair[0] != pair[1] {
			return bypasscode.Text{}, ErrMoved
		}
	}
	return text, nil
}

func newID() string { return rand.Text() }
