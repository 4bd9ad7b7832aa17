package escrow_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/activationlock/sdk/activationlock/memstore"
	"github.com/activationlock/sdk/bypasscode"
	"github.com/activationlock/sdk/bypasscode/escrow"
	"github.com/activationlock/sdk/bypasscode/seal"
)

// hooked is a store with something to do around its calls. An error of before
// keeps a call from being made, one of after hides that it was made.
type hooked struct {
	escrow.Store
	before, after func(method string) error
}

func (h hooked) around(method string, call func() error) error {
	if h.before != nil {
		if err := h.before(method); err != nil {
			return err
		}
	}
	if err := call(); err != nil {
		return err
	}
	if h.after != nil {
		return h.after(method)
	}
	return nil
}

func (h hooked) Update(ctx context.Context, s escrow.Subject, change func([]escrow.Entry) ([]escrow.Entry, error)) error {
	return h.around("update", func() error { return h.Store.Update(ctx, s, change) })
}

func (h hooked) Entries(ctx context.Context, s escrow.Subject) (entries []escrow.Entry, err error) {
	err = h.around("entries", func() (err error) { entries, err = h.Store.Entries(ctx, s); return err })
	return entries, err
}

func (h hooked) Join(ctx context.Context, enrollmentID, serialNumber string) error {
	return h.around("join", func() error { return h.Store.Join(ctx, enrollmentID, serialNumber) })
}

func (h hooked) Scan(ctx context.Context, after string, limit int) (entries []escrow.Entry, err error) {
	err = h.around("scan", func() (err error) { entries, err = h.Store.Scan(ctx, after, limit); return err })
	return entries, err
}

// with returns an escrow that tests rules on a store.
func with(t *testing.T, store escrow.Store) *escrow.Escrow {
	t.Helper()
	e, err := escrow.New(config(store))
	require.NoError(t, err)
	return e
}

// onServer is an escrow of a server that only collects codes.
func onServer(t *testing.T, store escrow.Store, key seal.PrivateKey) *escrow.Escrow {
	t.Helper()
	ring, err := seal.NewKeyring([]seal.PublicKey{key.Public()})
	require.NoError(t, err)
	e, err := escrow.New(escrow.Config{Audit: newAudit(), Store: store, Sealer: ring})
	require.NoError(t, err)
	return e
}

// onDesk is an escrow of those who read codes.
func onDesk(t *testing.T, store escrow.Store, private ...seal.PrivateKey) *escrow.Escrow {
	t.Helper()
	ring, err := seal.NewKeyring([]seal.PublicKey{private[0].Public()}, private...)
	require.NoError(t, err)
	e, err := escrow.New(escrow.Config{Audit: newAudit(), Store: store, Sealer: ring})
	require.NoError(t, err)
	return e
}

func newKey(t *testing.T) seal.PrivateKey {
	t.Helper()
	key, err := seal.GenerateKey(seal.X25519)
	require.NoError(t, err)
	return key
}

func scan(t *testing.T, store escrow.Store) []escrow.Entry {
	t.Helper()
	entries, err := store.Scan(t.Context(), "", 1000)
	require.NoError(t, err)
	return entries
}

// write puts entries into a store as somebody would who can write its table.
func write(t *testing.T, store escrow.Store, entries ...escrow.Entry) {
	t.Helper()
	for _, entry := range entries {
		require.NoError(t, store.Update(t.Context(), entry.Subject, func([]escrow.Entry) ([]escrow.Entry, error) { return []escrow.Entry{entry}, nil }))
	}
}

func lock(t *testing.T, e *escrow.Escrow, hour int) escrow.Record {
	t.Helper()
	r, err := e.LockCode(t.Context(), escrow.Lock{SerialNumber: serial, At: at(hour)})
	require.NoError(t, err)
	require.NotZero(t, r.Hash)
	return r
}

func mark(t *testing.T, e *escrow.Escrow, id string, state escrow.State, hour int) escrow.Record {
	t.Helper()
	r, err := e.Mark(t.Context(), bySerial, id, escrow.Verdict{State: state, Reason: "test", At: at(hour)})
	require.NoError(t, err)
	return r
}

func imported(c escrow.Capture) escrow.Capture {
	c.Cause, c.EnrollmentID, c.CommandUUID, c.AskedAt = escrow.CauseImport, "", "", time.Time{}
	return c
}

// find returns one record of the subject.
func find(t *testing.T, e *escrow.Escrow, subject escrow.Subject, id string) escrow.Record {
	t.Helper()
	for _, r := range records(t, e, subject) {
		if r.ID == id {
			return r
		}
	}
	t.Fatal("the record is gone")
	return escrow.Record{}
}

func TestLockCode(t *testing.T) {
	t.Parallel()
	key := newKey(t)
	store := memstore.New().Escrow()
	e := onServer(t, store, key)
	deviceCode := capture(t, e, asked(code, "1", 1))
	l := escrow.Lock{
		SerialNumber: serial, At: at(2).Add(1999).In(time.FixedZone("here", 3600)),
		Device: escrow.Device{SerialNumber: "other", UDID: enrollment, ProductType: "iPhone17,3", IMEI: strings.Repeat("3", 256), MEID: "\xff"},
	}
	r, err := e.LockCode(t.Context(), l)
	require.NoError(t, err)
	now := at(2).Add(time.Microsecond)
	require.Equal(t, escrow.Record{
		ID: r.ID, Subject: bySerial, Kind: bypasscode.Server, State: escrow.Current, Cause: escrow.CauseOrganizationLock,
		ReceivedAt: now, FirstSeen: now, LastSeen: now, Hash: r.Hash,
		Device: escrow.Device{SerialNumber: serial, UDID: enrollment, ProductType: "iPhone17,3"},
	}, r)
	require.Equal(t, r, find(t, e, bySerial, r.ID), "it is in the store")
	require.Equal(t, deviceCode, find(t, e, bySerial, deviceCode.ID), "device codes are not touched")

	text, err := onDesk(t, store, key).Reveal(t.Context(), wish(bySerial, r.ID))
	require.NoError(t, err)
	revealed, err := text.Code()
	require.NoError(t, err)
	hash, err := revealed.Hash()
	require.NoError(t, err)
	require.Equal(t, hash, r.Hash)

	// Nothing in the result is the code.
	shown := strings.ToLower(fmt.Sprintf("%v %+v %#v %x %s", r, r, r, r, r.Hash))
	raw := revealed.RevealBytes()
	for _, secret := range []string{text.Reveal(), strings.ReplaceAll(text.Reveal(), "-", ""), fmt.Sprintf("%x", raw), fmt.Sprintf("%x", text.Reveal())} {
		require.False(t, strings.Contains(shown, strings.ToLower(secret)))
	}

	for range 3 {
		require.Equal(t, r, lock(t, e, 9), "a retry gets the same record")
		require.Equal(t, r, lock(t, onServer(t, store, newKey(t)), 10), "on another server too")
	}
	_, err = with(t, faulty{Store: store, fails: "update"}).LockCode(t.Context(), escrow.Lock{SerialNumber: serial, At: at(11)})
	require.ErrorIs(t, err, errDown, "what can be read may not be durable, so it has to wait for an update")
	require.Len(t, scan(t, store), 2)
}

func TestLockCodeRequires(t *testing.T) {
	t.Parallel()
	e := newEscrow(t)
	for name, l := range map[string]escrow.Lock{
		"no serial number": {At: at(1)}, "no time": {SerialNumber: serial}, "no text": {SerialNumber: "\xff", At: at(1)},
		"too long": {SerialNumber: strings.Repeat("x", 256), At: at(1)}, "NUL": {SerialNumber: "x\x00", At: at(1)},
	} {
		r, err := e.LockCode(t.Context(), l)
		require.EqualError(t, err, "escrow: lock code: serial number and time are required", name)
		require.Zero(t, r)
	}
}

// No hash comes out before its code is in the store.
func TestLockCodeIsCommittedFirst(t *testing.T) {
	t.Parallel()
	inner := memstore.New().Escrow()
	failing := ""
	down := func(method string) error {
		if method == failing {
			return errDown
		}
		return nil
	}
	l := escrow.Lock{SerialNumber: serial, At: at(1)}
	for _, method := range []string{"entries", "update"} {
		failing = method
		r, err := with(t, hooked{Store: inner, before: down}).LockCode(t.Context(), l)
		require.EqualError(t, err, "escrow: lock code: the store is down")
		require.Zero(t, r)
		require.Empty(t, scan(t, inner))
	}
	// Committed, but nobody can say so: no hash yet, and then that of this code.
	r, err := with(t, hooked{Store: inner, after: down}).LockCode(t.Context(), l)
	require.ErrorIs(t, err, errDown)
	require.Zero(t, r)
	require.Len(t, scan(t, inner), 1)
	require.Equal(t, scan(t, inner)[0].Record, lock(t, with(t, inner), 2))

	// A Sealer that fails leaves nothing, and gives nothing.
	fresh := memstore.New().Escrow()
	e, err := escrow.New(escrow.Config{Audit: newAudit(), Store: fresh, Sealer: broken{}})
	require.NoError(t, err)
	r, err = e.LockCode(t.Context(), l)
	require.EqualError(t, err, "escrow: lock code: the store is down")
	require.Zero(t, r)
	_, err = e.Capture(t.Context(), asked(code, "1", 1))
	require.EqualError(t, err, "escrow: capture: the store is down")
	require.Empty(t, scan(t, fresh))

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = with(t, fresh).LockCode(ctx, l)
	require.ErrorIs(t, err, context.Canceled)
	require.Empty(t, scan(t, fresh))
}

// broken is a Sealer that fails.
type broken struct{}

func (broken) Seal(context.Context, []byte, []byte) ([]byte, error) { return nil, errDown }

// When LockCode returns, the entry was committed by an Update that had ended.
func TestLockCodeReturnsWhatIsDurable(t *testing.T) {
	t.Parallel()
	store := memstore.New().Escrow()
	var durable []escrow.Entry
	spy := hooked{Store: store, after: func(method string) error {
		if method == "update" {
			durable = scan(t, store)
		}
		return nil
	}}
	r := lock(t, with(t, spy), 1)
	require.Len(t, durable, 1)
	require.Equal(t, durable[0].Record, r)
	require.NotEmpty(t, durable[0].Sealed)
}

func TestLockCodeOfManyCallers(t *testing.T) {
	t.Parallel()
	const callers = 32
	store := memstore.New().Escrow()
	got := make([]escrow.Record, callers)
	var wait sync.WaitGroup
	for i := range callers {
		e := with(t, store)
		wait.Go(func() {
			var err error
			got[i], err = e.LockCode(t.Context(), escrow.Lock{SerialNumber: serial, At: at(i)})
			assert.NoError(t, err)
		})
	}
	wait.Wait()
	require.Len(t, scan(t, store), 1)
	for _, r := range got {
		require.Equal(t, scan(t, store)[0].Record, r)
	}
}

// Two servers saw that there is no code: the one that commits later takes the
// code of the other.
func TestLockCodeRace(t *testing.T) {
	t.Parallel()
	store := memstore.New().Escrow()
	var first escrow.Record
	late := hooked{Store: store, before: func(method string) error {
		if method == "update" {
			first = lock(t, with(t, store), 1)
		}
		return nil
	}}
	require.Equal(t, lock(t, with(t, late), 2), first)
	require.Len(t, scan(t, store), 1)
}

func TestLockCodeIsMadeAnew(t *testing.T) {
	t.Parallel()
	for _, state := range []escrow.State{escrow.Void, escrow.Worked} {
		e := newEscrow(t)
		first := lock(t, e, 1)
		marked := mark(t, e, first.ID, state, 2)
		second := lock(t, e, 3)
		require.NotEqual(t, first.ID, second.ID)
		require.NotEqual(t, first.Hash, second.Hash)
		require.Equal(t, escrow.Current, second.State)
		require.Equal(t, marked, find(t, e, bySerial, first.ID), "it stays as it was")
		require.Equal(t, second, lock(t, e, 4))
	}
	// One that was superseded, as there was a confirmed one, is not used again.
	e := newEscrow(t)
	first := lock(t, e, 1)
	mark(t, e, first.ID, escrow.Void, 2)
	second := lock(t, e, 3)
	mark(t, e, first.ID, escrow.Current, 4)
	require.Equal(t, escrow.Superseded, find(t, e, bySerial, second.ID).State)
	mark(t, e, first.ID, escrow.Void, 5)
	third := lock(t, e, 6)
	require.NotContains(t, []string{first.ID, second.ID}, third.ID)
}

func TestLockCodeThatMayBeActiveComesFirst(t *testing.T) {
	t.Parallel()
	e := newEscrow(t)
	first := lock(t, e, 1)
	mark(t, e, first.ID, escrow.Void, 2)
	second := lock(t, e, 3)
	third := mark(t, e, first.ID, escrow.MaybeActive, 4) // what was known was wrong
	require.Equal(t, third, lock(t, e, 5))
	require.Equal(t, escrow.Current, find(t, e, bySerial, second.ID).State)
	mark(t, e, first.ID, escrow.Void, 6)
	mark(t, e, second.ID, escrow.MaybeActive, 7)
	require.Equal(t, second.ID, lock(t, e, 8).ID)

	// The other way round in the order of filing.
	mark(t, e, first.ID, escrow.Current, 9)
	mark(t, e, second.ID, escrow.MaybeActive, 10)
	require.Equal(t, second.ID, lock(t, e, 11).ID)
}

// Codes of elsewhere have no hash, so they are not for locking.
func TestLockCodeAndCodesOfElsewhere(t *testing.T) {
	t.Parallel()
	e := newEscrow(t)
	other := capture(t, e, imported(server(asked(code, "", 1))))
	require.Equal(t, escrow.Current, other.State)
	require.Zero(t, other.Hash)
	r := lock(t, e, 2)
	require.Equal(t, []string{"server " + reveal(t, e, bySerial, r.ID) + " current", "server " + code + " superseded"}, summary(t, e, bySerial))

	// Even if one may be active.
	mark(t, e, other.ID, escrow.MaybeActive, 3)
	require.Equal(t, r, lock(t, e, 4))
	mark(t, e, r.ID, escrow.Void, 5)
	require.NotEqual(t, other.ID, lock(t, e, 6).ID)
	require.Equal(t, escrow.MaybeActive, find(t, e, bySerial, other.ID).State, "and it stays so")

	// A code that was made here and is typed in again is the same record, with
	// its hash.
	again := capture(t, e, imported(server(asked(reveal(t, e, bySerial, r.ID), "", 7))))
	require.Equal(t, r.ID, again.ID)
	require.Equal(t, r.Hash, again.Hash)
	require.Equal(t, escrow.Void, again.State)
}

func TestLockCodeLiftsTombstones(t *testing.T) {
	t.Parallel()
	for _, before := range []bool{false, true} { // the code is there before the device is deleted
		e := newEscrow(t)
		deviceCode := capture(t, e, asked(code, "1", 1))
		var first escrow.Record
		if before {
			first = lock(t, e, 2)
		}
		require.NoError(t, e.Delete(t.Context(), bySerial, at(3)))
		r := lock(t, e, 4)
		if before {
			require.Equal(t, first, r)
		}
		require.Len(t, records(t, e, bySerial), 2)
		for _, r := range records(t, e, bySerial) {
			require.Zero(t, r.DeletedAt)
		}
		require.Equal(t, deviceCode, find(t, e, bySerial, deviceCode.ID))
	}
	// Also those of an enrollment that is joined later.
	e := newEscrow(t)
	r := lock(t, e, 1)
	capture(t, e, of(byEnrollment, asked(code, "1", 2)))
	require.NoError(t, e.Delete(t.Context(), byEnrollment, at(3)))
	require.NoError(t, e.Join(t.Context(), enrollment, serial))
	require.Equal(t, r, lock(t, e, 4))
	require.Zero(t, records(t, e, byEnrollment)[0].DeletedAt)
}

func TestLockCodeQuota(t *testing.T) {
	t.Parallel()
	e := newEscrow(t)
	for i := range escrow.Quota {
		capture(t, e, imported(server(asked(numbered(i), "", i+1))))
	}
	l := escrow.Lock{SerialNumber: serial, At: at(1)}
	r, err := e.LockCode(t.Context(), l)
	require.ErrorIs(t, err, escrow.ErrQuota)
	require.Zero(t, r)
	require.NoError(t, e.Delete(t.Context(), bySerial, at(1)))
	require.NoError(t, e.Purge(t.Context(), bySerial, escrow.Purge{Act: escrow.Act{Actor: "tester", Reason: "sold"}, At: at(1), LockOff: true}))
	lock(t, e, 2) // what was purged does not count
}

func TestMark(t *testing.T) {
	t.Parallel()
	states := []escrow.State{escrow.Worked, escrow.Void, escrow.MaybeActive, escrow.Current}
	for _, from := range states {
		for _, to := range states {
			e := newEscrow(t)
			r := lock(t, e, 1)
			was := mark(t, e, r.ID, from, 2)
			now, err := e.Mark(t.Context(), bySerial, r.ID, escrow.Verdict{State: to, Reason: "why", At: at(3).Add(1999)})
			require.NoError(t, err)
			want := was
			if from != to {
				want.State, want.StateSince, want.StateReason = to, at(3).Add(time.Microsecond), "why"
			}
			require.Equal(t, want, now, "%s to %s", from, to)
			require.Equal(t, []escrow.Record{want}, records(t, e, bySerial))
		}
	}

	for _, to := range []escrow.State{escrow.Worked, escrow.Void} {
		for _, change := range []func(escrow.Capture) escrow.Capture{func(c escrow.Capture) escrow.Capture { return c }, unasked} {
			e := newEscrow(t)
			r := capture(t, e, change(asked(code, "1", 1)))
			want := r
			want.State, want.StateSince, want.StateReason = to, at(2), "test"
			require.Equal(t, want, mark(t, e, r.ID, to, 2))
			require.Equal(t, want, mark(t, e, r.ID, to, 3), "the same state again changes nothing")
			require.Equal(t, code, reveal(t, e, bySerial, r.ID))

			// Sent again the report changes nothing, given again on being asked
			// the code is the device's.
			report := change(asked(code, "1", 3))
			require.Equal(t, to, capture(t, e, report).State)
			require.Equal(t, to, capture(t, e, unasked(asked(code, "2", 4))).State)
			again := capture(t, e, asked(code, "3", 5))
			require.Equal(t, r.ID, again.ID)
			require.Equal(t, escrow.Current, again.State)
			require.Zero(t, again.StateSince)
			require.Empty(t, again.StateReason)
		}
	}
}

func TestMarkIsRefused(t *testing.T) {
	t.Parallel()
	e := newEscrow(t)
	r := capture(t, e, asked(code, "1", 1))
	s := lock(t, e, 1)
	elsewhere := capture(t, e, of(byAnother, asked(code2, "2", 2)))
	for name, test := range map[string]struct {
		subject escrow.Subject
		id      string
		verdict escrow.Verdict
		want    string
	}{
		"no state":               {bySerial, s.ID, escrow.Verdict{Reason: "r", At: at(1)}, "escrow: mark: state, reason and time are required"},
		"superseded":             {bySerial, s.ID, escrow.Verdict{State: escrow.Superseded, Reason: "r", At: at(1)}, "escrow: mark: state, reason and time are required"},
		"disputed":               {bySerial, s.ID, escrow.Verdict{State: escrow.Disputed, Reason: "r", At: at(1)}, "escrow: mark: state, reason and time are required"},
		"purged":                 {bySerial, s.ID, escrow.Verdict{State: escrow.Purged, Reason: "r", At: at(1)}, "escrow: mark: state, reason and time are required"},
		"no time":                {bySerial, s.ID, escrow.Verdict{State: escrow.Void, Reason: "r"}, "escrow: mark: state, reason and time are required"},
		"no reason":              {bySerial, s.ID, escrow.Verdict{State: escrow.Void, At: at(1)}, "escrow: mark: state, reason and time are required"},
		"no reason, maybe":       {bySerial, s.ID, escrow.Verdict{State: escrow.MaybeActive, At: at(1)}, "escrow: mark: state, reason and time are required"},
		"a long reason":          {bySerial, s.ID, escrow.Verdict{State: escrow.Current, Reason: strings.Repeat("x", 256), At: at(1)}, "escrow: mark: state, reason and time are required"},
		"a device's is current":  {bySerial, r.ID, escrow.Verdict{State: escrow.Current, At: at(1)}, "escrow: mark: only the device says that its code is current"},
		"a device's is maybe":    {bySerial, r.ID, escrow.Verdict{State: escrow.MaybeActive, Reason: "r", At: at(1)}, "escrow: mark: only the device says that its code is current"},
		"no subject":             {escrow.Subject{}, s.ID, escrow.Verdict{State: escrow.Void, Reason: "r", At: at(1)}, "escrow: mark: a serial number or an enrollment ID is required"},
		"another subject":        {byAnother, s.ID, escrow.Verdict{State: escrow.Void, Reason: "r", At: at(1)}, "escrow: mark: escrow: not found"},
		"another subject's code": {bySerial, elsewhere.ID, escrow.Verdict{State: escrow.Void, Reason: "r", At: at(1)}, "escrow: mark: escrow: not found"},
	} {
		got, err := e.Mark(t.Context(), test.subject, test.id, test.verdict)
		require.EqualError(t, err, test.want, name)
		require.Zero(t, got)
	}
	_, err := e.Mark(t.Context(), bySerial, "x", escrow.Verdict{State: escrow.Void, Reason: "r", At: at(1)})
	require.ErrorIs(t, err, escrow.ErrNotFound)
	require.Contains(t, records(t, e, bySerial), r)
	require.Contains(t, records(t, e, bySerial), s)

	require.NoError(t, e.Delete(t.Context(), bySerial, at(2)))
	require.NoError(t, e.Purge(t.Context(), bySerial, escrow.Purge{Act: escrow.Act{Actor: "tester", Reason: "sold"}, At: at(2), LockOff: true}))
	before := records(t, e, bySerial)
	for _, id := range []string{r.ID, s.ID} {
		_, err = e.Mark(t.Context(), bySerial, id, escrow.Verdict{State: escrow.Void, Reason: "r", At: at(3)})
		require.ErrorIs(t, err, escrow.ErrPurged)
	}
	require.Equal(t, before, records(t, e, bySerial))
}

// A confirmed lock has one code.
func TestMarkCurrent(t *testing.T) {
	t.Parallel()
	store := memstore.New().Escrow()
	e := with(t, store)
	deviceCode := capture(t, e, asked(code, "1", 1))
	other := capture(t, e, imported(server(asked(code2, "", 1))))
	voided := lock(t, e, 2)
	voided = mark(t, e, voided.ID, escrow.Void, 3)
	worked := lock(t, e, 4)
	worked = mark(t, e, worked.ID, escrow.Worked, 5)
	maybe := lock(t, e, 6)
	mark(t, e, maybe.ID, escrow.MaybeActive, 7)
	marked := mark(t, e, other.ID, escrow.Current, 8)
	require.Equal(t, escrow.Superseded, find(t, e, bySerial, maybe.ID).State)
	require.Zero(t, find(t, e, bySerial, maybe.ID).StateSince, "what was said of another state is gone")
	require.Empty(t, find(t, e, bySerial, maybe.ID).StateReason)
	for _, r := range []escrow.Record{deviceCode, voided, worked, marked} {
		require.Equal(t, r, find(t, e, bySerial, r.ID))
	}

	// Without a reason too, and a code that is current already supersedes what
	// may have been active.
	fresh := lock(t, e, 9)
	require.Zero(t, find(t, e, bySerial, other.ID).StateSince, "superseded by a new one, as by any")
	mark(t, e, maybe.ID, escrow.MaybeActive, 10)
	again, err := e.Mark(t.Context(), bySerial, fresh.ID, escrow.Verdict{State: escrow.Current, At: at(11)})
	require.NoError(t, err)
	require.Equal(t, fresh, again)
	require.Equal(t, escrow.Superseded, find(t, e, bySerial, maybe.ID).State)
}

// What is said of a state goes with it.
func TestStateReasons(t *testing.T) {
	t.Parallel()
	e := newEscrow(t)
	c := from("", imported(of(byEnrollment, server(asked(code, "", 1)))))
	r := capture(t, e, c)
	_, err := e.Mark(t.Context(), byEnrollment, r.ID, escrow.Verdict{State: escrow.Void, Reason: "no", At: at(2)})
	require.NoError(t, err)
	_, err = e.Mark(t.Context(), byEnrollment, r.ID, escrow.Verdict{State: escrow.Current, Reason: "yes", At: at(3)})
	require.NoError(t, err)
	lock(t, e, 4)
	require.NoError(t, e.Join(t.Context(), enrollment, serial))
	r.State = escrow.Disputed
	require.Equal(t, r, find(t, e, bySerial, r.ID))
}

func TestRecordsInTheOrderOfTheirWorth(t *testing.T) {
	t.Parallel()
	states := []escrow.State{
		escrow.Current, escrow.MaybeActive, escrow.Worked, escrow.Superseded, escrow.Disputed, escrow.Void, escrow.Purged,
	}
	store := memstore.New().Escrow()
	var want []string
	for i, state := range states {
		for _, seen := range []int{9, 1} {
			id := fmt.Sprint(state, seen)
			if id != "current1" {
				want = append(want, id)
			}
			write(t, store, escrow.Entry{Record: escrow.Record{
				ID: id, Subject: bySerial, Kind: bypasscode.Device, State: state, LastSeen: at((i*5)%7*10 + seen),
			}})
		}
	}
	// A current one that stands behind another, as after a merge, is one among the
	// superseded; it was seen first of them.
	want = slices.Insert(want, slices.Index(want, "superseded1")+1, "current1")
	var got []string
	for _, r := range records(t, with(t, store), bySerial) {
		got = append(got, r.ID)
	}
	require.Equal(t, want, got)
}

// A lock that Apple refuses every night does not fill the quota.
func TestRefusedLocksDoNotEndTheNext(t *testing.T) {
	t.Parallel()
	e := newEscrow(t)
	for day := range escrow.Quota + 3 {
		r, err := e.LockCode(t.Context(), escrow.Lock{SerialNumber: serial, At: at(24 * day)})
		require.NoError(t, err)
		_, err = e.Mark(t.Context(), bySerial, r.ID, escrow.Verdict{State: escrow.Void, Reason: "refused", At: at(24*day + 1)})
		require.NoError(t, err)
	}
	require.Len(t, records(t, e, bySerial), escrow.Quota+3)
}

// outdated is a store whose Entries are those of before.
type outdated struct {
	escrow.Store
	entries []escrow.Entry
}

func (o outdated) Entries(context.Context, escrow.Subject) ([]escrow.Entry, error) {
	return o.entries, nil
}

// A code that was marked between looking and locking is not locked with.
func TestLockCodeOfAMarkedCode(t *testing.T) {
	t.Parallel()
	store := memstore.New().Escrow()
	e := with(t, store)
	void := lock(t, e, 1)
	before, err := store.Entries(t.Context(), bySerial)
	require.NoError(t, err)
	mark(t, e, void.ID, escrow.Void, 2)
	r := lock(t, with(t, outdated{store, before}), 3)
	require.NotEqual(t, void.Hash, r.Hash)
	require.Equal(t, r, find(t, e, bySerial, r.ID))
}

// A hash that was changed in the store is noticed where somebody has the key.
func TestChangedHashIsNoticed(t *testing.T) {
	t.Parallel()
	store := memstore.New().Escrow()
	e := with(t, store)
	locked := lock(t, e, 1)
	other := capture(t, e, asked(code, "1", 2))
	for _, entry := range scan(t, store) {
		if entry.ID == locked.ID {
			entry.Hash[0] ^= 1
			write(t, store, entry)
		}
	}
	text, err := e.Reveal(t.Context(), wish(bySerial, locked.ID))
	require.ErrorIs(t, err, escrow.ErrMoved)
	require.True(t, text.IsZero())
	require.Equal(t, code, reveal(t, e, bySerial, other.ID), "the others still come")
}
