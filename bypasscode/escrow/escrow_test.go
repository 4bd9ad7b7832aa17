package escrow_test

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/gob"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/activationlock/sdk/activationlock/memstore"
	"github.com/activationlock/sdk/bypasscode"
	"github.com/activationlock/sdk/bypasscode/audit"
	"github.com/activationlock/sdk/bypasscode/escrow"
	"github.com/activationlock/sdk/bypasscode/seal"
)

const (
	serial     = "XXFAKE0SER1"
	enrollment = "00008120-0011223344556677"
	another    = "00008120-00AABBCCDDEEFF00"
	code       = "3UM43-PUYVY-QYD1-UVCC-HEHJ-FKA4"
	code2      = "8LNYD-DVNKU-GYRC-E6GU-3YFD-CT86"
	code3      = "TF27L-31WN1-E6FH-DMAM-52X5-NFV0"
)

var (
	bySerial     = escrow.Subject{SerialNumber: serial}
	byEnrollment = escrow.Subject{EnrollmentID: enrollment}
	byAnother    = escrow.Subject{EnrollmentID: another}
)

// at is the nth hour.
func at(hour int) time.Time {
	return time.Date(2026, 11, 22, 9, 0, 0, 0, time.UTC).Add(time.Duration(hour) * time.Hour)
}

// keys is a keyring for all tests.
var keys = sync.OnceValue(func() *seal.Keyring {
	key, err := seal.GenerateKey(seal.X25519)
	if err != nil {
		panic(err)
	}
	ring, err := seal.NewKeyring([]seal.PublicKey{key.Public()}, key)
	if err != nil {
		panic(err)
	}
	return ring
})

var act = escrow.Act{Actor: "tester", Reason: "test"}

// wish is for a code that no person is to see.
func wish(subject escrow.Subject, recordID string) escrow.Reveal {
	return escrow.Reveal{Subject: subject, RecordID: recordID, Act: act, Purpose: escrow.ToUnlock}
}

func newAudit() *audit.Log {
	log, err := audit.New(audit.Config{Store: memstore.New().Audit()})
	if err != nil {
		panic(err)
	}
	return log
}

// clear is a sealer that hides nothing, for tests of rules.
type clear struct{}

func (clear) Seal(_ context.Context, text, associated []byte) ([]byte, error) {
	return slices.Concat(associated, text), nil
}

func (clear) Open(_ context.Context, sealed, associated []byte) ([]byte, error) {
	text, ok := bytes.CutPrefix(sealed, associated)
	if !ok {
		return nil, errors.New("not sealed for this record")
	}
	return text, nil
}

func config(store escrow.Store) escrow.Config {
	return escrow.Config{Audit: newAudit(), Store: store, Sealer: clear{}}
}

// sealing is an escrow that really seals.
func sealing(store escrow.Store) escrow.Config {
	return escrow.Config{Audit: newAudit(), Store: store, Sealer: keys()}
}

// numbered returns the nth of many codes.
func numbered(n int) string {
	raw := sha256.Sum256([]byte(fmt.Sprint(n)))
	c, err := bypasscode.FromBytes(raw[:16])
	if err != nil {
		panic(err)
	}
	return c.Reveal()
}

func newEscrow(t *testing.T) *escrow.Escrow {
	t.Helper()
	e, err := escrow.New(config(memstore.New().Escrow()))
	require.NoError(t, err)
	return e
}

// asked is a device code that came in answer to a question, in the nth hour.
func asked(text, uuid string, hour int) escrow.Capture {
	return escrow.Capture{
		Subject: bySerial, Kind: bypasscode.Device, Text: bypasscode.NewText(text), Cause: escrow.CauseSchedule,
		EnrollmentID: enrollment, CommandUUID: uuid, AskedAt: at(hour - 1), ReceivedAt: at(hour),
		Device: escrow.Device{SerialNumber: serial, UDID: enrollment, ProductType: "iPhone17,3", IMEI: "350000000000019"},
	}
}

func unasked(c escrow.Capture) escrow.Capture { c.Cause = escrow.CauseUnasked; return c }

func disputed(c escrow.Capture) escrow.Capture { c.Disputed = true; return c }

func server(c escrow.Capture) escrow.Capture { c.Kind = bypasscode.Server; return c }

func of(subject escrow.Subject, c escrow.Capture) escrow.Capture { c.Subject = subject; return c }

func from(id string, c escrow.Capture) escrow.Capture { c.EnrollmentID = id; return c }

func capture(t *testing.T, e *escrow.Escrow, captures ...escrow.Capture) (last escrow.Record) {
	t.Helper()
	for _, c := range captures {
		var err error
		last, err = e.Capture(t.Context(), c)
		require.NoError(t, err)
	}
	return last
}

func records(t *testing.T, e *escrow.Escrow, subject escrow.Subject) []escrow.Record {
	t.Helper()
	found, err := e.Records(t.Context(), subject)
	require.NoError(t, err)
	return found
}

func reveal(t *testing.T, e *escrow.Escrow, subject escrow.Subject, id string) string {
	t.Helper()
	text, err := e.Reveal(t.Context(), wish(subject, id))
	require.NoError(t, err)
	return text.Reveal()
}

// summary lists a subject's records as "kind text state", in their order.
func summary(t *testing.T, e *escrow.Escrow, subject escrow.Subject) (lines []string) {
	t.Helper()
	for _, r := range records(t, e, subject) {
		lines = append(lines, fmt.Sprintf("%s %s %s", r.Kind, reveal(t, e, subject, r.ID), r.State))
	}
	return lines
}

func TestNew(t *testing.T) {
	t.Parallel()
	_, err := escrow.New(escrow.Config{Sealer: keys()})
	require.EqualError(t, err, "escrow: Config.Store is required")
	_, err = escrow.New(escrow.Config{Audit: newAudit(), Store: memstore.New().Escrow()})
	require.EqualError(t, err, "escrow: Config.Sealer is required")
}

func TestSubjectOf(t *testing.T) {
	t.Parallel()
	require.Equal(t, bySerial, escrow.SubjectOf(serial, enrollment))
	require.Equal(t, byEnrollment, escrow.SubjectOf("", enrollment))
	require.Equal(t, escrow.Subject{}, escrow.SubjectOf("", ""))
}

// The rules of the package, as what a sequence of captures leaves.
func TestRules(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name  string
		given []escrow.Capture
		want  []string
	}{
		{"one", []escrow.Capture{asked(code, "1", 1)}, []string{"device " + code + " current"}},
		{
			"a different one supersedes, and the one before stays",
			[]escrow.Capture{asked(code, "1", 1), asked(code2, "2", 2), asked(code3, "3", 3)},
			[]string{"device " + code3 + " current", "device " + code2 + " superseded", "device " + code + " superseded"},
		},
		{
			"the same again is the same",
			[]escrow.Capture{asked(code, "1", 1), asked(code, "2", 2), asked(code, "3", 3)},
			[]string{"device " + code + " current"},
		},
		{
			"an old one that comes back, as after a restore, is current again",
			[]escrow.Capture{asked(code, "1", 1), asked(code2, "2", 2), asked(code, "3", 3)},
			[]string{"device " + code + " current", "device " + code2 + " superseded"},
		},
		{
			"the report sent again changes nothing",
			[]escrow.Capture{asked(code, "1", 1), asked(code, "1", 2), asked(code2, "2", 3), asked(code2, "2", 4)},
			[]string{"device " + code2 + " current", "device " + code + " superseded"},
		},
		{
			"nor does an old report that comes late",
			[]escrow.Capture{asked(code, "1", 1), asked(code2, "2", 2), asked(code, "1", 3), asked(code, "1", 1)},
			[]string{"device " + code2 + " current", "device " + code + " superseded"},
		},
		{
			"kinds do not touch",
			[]escrow.Capture{asked(code, "1", 1), server(asked(code2, "", 2)), server(asked(code3, "", 3))},
			[]string{"server " + code3 + " current", "device " + code + " current", "server " + code2 + " superseded"},
		},
		{
			"not even with the same text",
			[]escrow.Capture{asked(code, "1", 1), server(asked(code, "1", 2))},
			[]string{"server " + code + " current", "device " + code + " current"},
		},
		{
			"what nobody asked for supersedes nothing",
			[]escrow.Capture{asked(code, "1", 1), unasked(asked(code2, "x", 2))},
			[]string{"device " + code + " current", "device " + code2 + " disputed"},
		},
		{
			"nor does what is disputed",
			[]escrow.Capture{asked(code, "1", 1), from(another, disputed(asked(code2, "x", 2)))},
			[]string{"device " + code + " current", "device " + code2 + " disputed"},
		},
		{
			"alone it is marked all the same",
			[]escrow.Capture{unasked(asked(code, "1", 1)), disputed(asked(code2, "2", 2))},
			[]string{"device " + code2 + " disputed", "device " + code + " disputed"},
		},
		{
			"the current one, unasked, stays current",
			[]escrow.Capture{asked(code, "1", 1), unasked(asked(code, "x", 2)), disputed(asked(code, "y", 3))},
			[]string{"device " + code + " current"},
		},
		{
			"a superseded one, unasked, stays superseded",
			[]escrow.Capture{asked(code, "1", 1), asked(code2, "2", 2), unasked(asked(code, "x", 3))},
			[]string{"device " + code2 + " current", "device " + code + " superseded"},
		},
		{
			"a marked one that the device gives on being asked is current",
			[]escrow.Capture{asked(code2, "1", 1), unasked(asked(code, "x", 2)), asked(code, "3", 3)},
			[]string{"device " + code + " current", "device " + code2 + " superseded"},
		},
		{
			"even with the same command, once the dispute is over",
			[]escrow.Capture{disputed(asked(code, "1", 1)), asked(code, "1", 2)},
			[]string{"device " + code + " current"},
		},
		{
			"texts are compared byte by byte",
			[]escrow.Capture{asked(code, "1", 1), asked(strings.ToLower(code), "2", 2), asked(code+" ", "3", 3), asked(strings.ReplaceAll(code, "-", ""), "4", 4)},
			[]string{
				"device " + strings.ReplaceAll(code, "-", "") + " current", "device " + code + "  superseded",
				"device " + strings.ToLower(code) + " superseded", "device " + code + " superseded",
			},
		},
		{
			"what is no code is kept as well",
			[]escrow.Capture{asked("\xff\x00 no code", "1", 1), asked(" ", "2", 2)},
			[]string{"device   current", "device \xff\x00 no code superseded"},
		},
		{
			"without command UUIDs nothing is taken for the same report",
			[]escrow.Capture{asked(code, "", 1), asked(code2, "", 2), asked(code, "", 3)},
			[]string{"device " + code + " current", "device " + code2 + " superseded"},
		},
		{
			"the same command UUID from another enrollment is another report",
			[]escrow.Capture{asked(code, "1", 1), asked(code2, "2", 2), from(another, asked(code, "1", 3))},
			[]string{"device " + code + " current", "device " + code2 + " superseded"},
		},
		{
			"within a state the one seen last is first",
			[]escrow.Capture{asked(code, "1", 1), asked(code2, "2", 2), asked(code3, "3", 3), unasked(asked(code, "x", 4))},
			[]string{"device " + code3 + " current", "device " + code + " superseded", "device " + code2 + " superseded"},
		},
		{
			"of the same moment the one filed later",
			[]escrow.Capture{unasked(asked(code, "1", 1)), unasked(asked(code2, "2", 1)), unasked(asked(code3, "3", 1))},
			[]string{"device " + code3 + " disputed", "device " + code2 + " disputed", "device " + code + " disputed"},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			e := newEscrow(t)
			capture(t, e, test.given...)
			require.Equal(t, test.want, summary(t, e, bySerial))
		})
	}
}

func TestRecordOfACapture(t *testing.T) {
	t.Parallel()
	e := newEscrow(t)
	c := asked(code, "1", 5)
	r := capture(t, e, c)
	require.NotEmpty(t, r.ID)
	want := escrow.Record{
		ID: r.ID, Subject: bySerial, Kind: bypasscode.Device, State: escrow.Current, Cause: escrow.CauseSchedule,
		EnrollmentID: enrollment, CommandUUID: "1", AskedAt: at(4), ReceivedAt: at(5), FirstSeen: at(5), LastSeen: at(5), Device: c.Device,
	}
	require.Equal(t, want, r)
	require.Equal(t, []escrow.Record{want}, records(t, e, bySerial))

	// The report again, much later: nothing at all is new.
	c.ReceivedAt, c.Device.IMEI, c.Cause = at(50), "1", escrow.CauseLockOn
	require.Equal(t, want, capture(t, e, c))
	require.Equal(t, []escrow.Record{want}, records(t, e, bySerial))

	// Nobody's word changes what is known of a code but when it was seen.
	junk := from(another, unasked(asked(code, "x", 7)))
	junk.Device = escrow.Device{SerialNumber: "other", ProductType: "junk"}
	want.LastSeen = at(7)
	require.Equal(t, want, capture(t, e, junk))

	// Given again on being asked, the identity is that of now, as the unlock
	// call needs it.
	again := from(another, asked(code, "2", 9))
	again.Device.IMEI, again.Cause = "350000000000027", escrow.CauseLockOn
	want.EnrollmentID, want.CommandUUID, want.Cause, want.AskedAt, want.ReceivedAt, want.LastSeen, want.Device = another, "2", escrow.CauseLockOn, at(8), at(9), at(9), again.Device
	require.Equal(t, want, capture(t, e, again))
	require.Equal(t, []escrow.Record{want}, records(t, e, bySerial))

	// A clock that runs late moves nothing back.
	late := asked(code, "3", 2)
	got := capture(t, e, late)
	require.Equal(t, at(5), got.FirstSeen)
	require.Equal(t, at(9), got.LastSeen)
	require.Equal(t, r.ID, got.ID)
}

func TestCaptureRequires(t *testing.T) {
	t.Parallel()
	e := newEscrow(t)
	for name, spoil := range map[string]func(*escrow.Capture){
		"no subject":      func(c *escrow.Capture) { c.Subject = escrow.Subject{} },
		"two subjects":    func(c *escrow.Capture) { c.Subject.EnrollmentID = enrollment },
		"no kind":         func(c *escrow.Capture) { c.Kind = "" },
		"an unknown kind": func(c *escrow.Capture) { c.Kind = "other" },
		"no cause":        func(c *escrow.Capture) { c.Cause = "" },
		"no time":         func(c *escrow.Capture) { c.ReceivedAt = time.Time{} },
	} {
		c := asked(code, "1", 1)
		spoil(&c)
		r, err := e.Capture(t.Context(), c)
		require.EqualError(t, err, "escrow: capture: subject, kind, cause and time are required", name)
		require.Zero(t, r)
	}
	require.Empty(t, records(t, e, bySerial))

	// Empty is its own error, and never overwrites.
	capture(t, e, asked(code, "1", 1))
	for _, c := range []escrow.Capture{asked("", "2", 2), {}} {
		r, err := e.Capture(t.Context(), c)
		require.ErrorIs(t, err, escrow.ErrEmpty)
		require.Zero(t, r)
	}
	require.Equal(t, []string{"device " + code + " current"}, summary(t, e, bySerial))
}

func TestReveal(t *testing.T) {
	t.Parallel()
	e := newEscrow(t)
	r := capture(t, e, asked(code, "1", 1))
	elsewhere := capture(t, e, of(escrow.Subject{SerialNumber: "XXFAKE0SER2"}, asked(code2, "2", 2)))
	require.Equal(t, code, reveal(t, e, bySerial, r.ID))
	for _, test := range []struct {
		subject escrow.Subject
		id      string
	}{
		{bySerial, ""}, {bySerial, "x"}, {bySerial, strings.ToLower(r.ID)}, {bySerial, elsewhere.ID},
		{byEnrollment, r.ID}, {escrow.Subject{}, r.ID}, {escrow.Subject{EnrollmentID: serial}, r.ID},
	} {
		text, err := e.Reveal(t.Context(), wish(test.subject, test.id))
		require.ErrorIs(t, err, escrow.ErrNotFound, "%+v", test)
		require.True(t, text.IsZero())
	}
	require.NotNil(t, records(t, e, byAnother), "none is an empty list")
	require.Empty(t, records(t, e, byAnother))
}

func TestMarkStale(t *testing.T) {
	t.Parallel()
	mark := func(e *escrow.Escrow, reason string, hour int) {
		require.NoError(t, e.MarkStale(t.Context(), bySerial, reason, at(hour)))
	}
	t.Run("only the current device code", func(t *testing.T) {
		t.Parallel()
		e := newEscrow(t)
		capture(t, e, asked(code, "1", 1), asked(code2, "2", 2), server(asked(code3, "", 3)), unasked(asked("junk", "4", 4)))
		mark(e, "erased", 5)
		for _, r := range records(t, e, bySerial) {
			if r.Kind == bypasscode.Device && r.State == escrow.Current {
				require.Equal(t, at(5), r.StaleSince)
				require.Equal(t, "erased", r.StaleReason)
			} else {
				require.Zero(t, r.StaleSince)
				require.Empty(t, r.StaleReason)
			}
		}
		require.Equal(t, []string{
			"server " + code3 + " current", "device " + code2 + " current", "device " + code + " superseded", "device junk disputed",
		}, summary(t, e, bySerial), "a mark changes no state")
	})
	t.Run("the first mark stays", func(t *testing.T) {
		t.Parallel()
		e := newEscrow(t)
		capture(t, e, asked(code, "1", 1))
		mark(e, "first", 2)
		mark(e, "second", 3)
		r := records(t, e, bySerial)[0]
		require.Equal(t, at(2), r.StaleSince)
		require.Equal(t, "first", r.StaleReason)
	})
	t.Run("the same code given again takes it off", func(t *testing.T) {
		t.Parallel()
		e := newEscrow(t)
		capture(t, e, asked(code, "1", 1))
		mark(e, "erased", 2)
		capture(t, e, unasked(asked(code, "x", 3)), disputed(asked(code, "y", 3)), asked(code, "1", 3))
		require.Equal(t, at(2), records(t, e, bySerial)[0].StaleSince, "but not unasked, and not the old report")
		r := capture(t, e, asked(code, "2", 4))
		require.Zero(t, r.StaleSince)
		require.Empty(t, r.StaleReason)
		mark(e, "again", 5)
		require.Equal(t, at(5), records(t, e, bySerial)[0].StaleSince)
	})
	t.Run("a mark of before the code says nothing of it", func(t *testing.T) {
		t.Parallel()
		e := newEscrow(t)
		capture(t, e, asked(code, "1", 3))
		mark(e, "late", 2)
		require.Zero(t, records(t, e, bySerial)[0].StaleSince)
		mark(e, "the same moment", 3)
		require.Equal(t, at(3), records(t, e, bySerial)[0].StaleSince)
	})
	t.Run("and a code of before the mark nothing of the mark, in either order", func(t *testing.T) {
		t.Parallel()
		e := newEscrow(t)
		capture(t, e, asked(code, "1", 1))
		mark(e, "erased", 5)
		r := capture(t, e, asked(code, "2", 4)) // received before, committed after
		require.Equal(t, at(5), r.StaleSince)
		require.Equal(t, "erased", r.StaleReason)
	})
	t.Run("of nothing", func(t *testing.T) {
		t.Parallel()
		e := newEscrow(t)
		mark(e, "erased", 1)
		require.Empty(t, records(t, e, bySerial))
	})
	t.Run("a different code is not stale", func(t *testing.T) {
		t.Parallel()
		e := newEscrow(t)
		capture(t, e, asked(code, "1", 1))
		mark(e, "erased", 2)
		capture(t, e, asked(code2, "2", 3))
		found := records(t, e, bySerial)
		require.Zero(t, found[0].StaleSince)
		require.Equal(t, at(2), found[1].StaleSince, "history keeps its mark")
	})
	t.Run("joined codes too", func(t *testing.T) {
		t.Parallel()
		e := newEscrow(t)
		capture(t, e, of(byEnrollment, asked(code, "1", 1)))
		require.NoError(t, e.Join(t.Context(), enrollment, serial))
		mark(e, "erased", 2)
		require.Equal(t, at(2), records(t, e, byEnrollment)[0].StaleSince)
	})
}

func TestJoin(t *testing.T) {
	t.Parallel()
	join := func(t *testing.T, e *escrow.Escrow, id string) {
		t.Helper()
		require.NoError(t, e.Join(t.Context(), id, serial))
	}
	t.Run("what came before the serial number was known", func(t *testing.T) {
		t.Parallel()
		e := newEscrow(t)
		r := capture(t, e, of(byEnrollment, asked(code, "1", 1)))
		for range 3 { // twice is once
			join(t, e, enrollment)
			require.Equal(t, []string{"device " + code + " current"}, summary(t, e, bySerial))
			require.Equal(t, []escrow.Record{r}, records(t, e, bySerial), "with the subject that it was filed under")
			require.Equal(t, []escrow.Record{r}, records(t, e, byEnrollment))
		}
		capture(t, e, asked(code2, "2", 2))
		join(t, e, enrollment)
		require.Equal(t, []string{"device " + code2 + " current", "device " + code + " superseded"}, summary(t, e, bySerial))
		require.Equal(t, []string{"device " + code + " superseded"}, summary(t, e, byEnrollment))
	})
	t.Run("what is filed under the enrollment afterwards", func(t *testing.T) {
		t.Parallel()
		e := newEscrow(t)
		join(t, e, enrollment)
		capture(t, e, of(byEnrollment, asked(code, "1", 1)))
		require.Equal(t, []string{"device " + code + " current"}, summary(t, e, bySerial))
		require.Empty(t, summary(t, e, byAnother))
	})
	t.Run("the same code again is the same record", func(t *testing.T) {
		t.Parallel()
		e := newEscrow(t)
		r := capture(t, e, of(byEnrollment, asked(code, "1", 1)))
		join(t, e, enrollment)
		require.Equal(t, r.ID, capture(t, e, asked(code, "2", 2)).ID)
		require.Equal(t, []string{"device " + code + " current"}, summary(t, e, bySerial))
	})
	t.Run("a conflict is marked, and nothing of the serial number's own changes", func(t *testing.T) {
		t.Parallel()
		e := newEscrow(t)
		own := capture(t, e, asked(code, "1", 1))
		capture(t, e, of(byEnrollment, asked(code2, "2", 2)), of(byEnrollment, server(asked(code3, "", 3))))
		join(t, e, enrollment)
		require.Equal(t, []string{"server " + code3 + " current", "device " + code + " current", "device " + code2 + " disputed"}, summary(t, e, bySerial))
		require.Contains(t, records(t, e, bySerial), own)
		join(t, e, enrollment)
		require.Contains(t, records(t, e, bySerial), own)
		// Given on being asked, it is the one after all; to join again changes nothing.
		capture(t, e, asked(code2, "4", 4))
		for range 2 {
			require.Equal(t, []string{"device " + code2 + " current", "server " + code3 + " current", "device " + code + " superseded"}, summary(t, e, bySerial))
			join(t, e, enrollment)
		}
	})
	t.Run("only a current code conflicts", func(t *testing.T) {
		t.Parallel()
		e := newEscrow(t)
		capture(t, e, unasked(asked(code, "1", 1)), of(byEnrollment, asked(code2, "2", 2)))
		join(t, e, enrollment)
		require.Equal(t, []string{"device " + code2 + " current", "device " + code + " disputed"}, summary(t, e, bySerial))
	})
	t.Run("the same code does not conflict", func(t *testing.T) {
		t.Parallel()
		e := newEscrow(t)
		capture(t, e, asked(code, "1", 1), of(byEnrollment, asked(code, "2", 2)))
		join(t, e, enrollment)
		require.Equal(t, []string{"device " + code + " current", "device " + code + " current"}, summary(t, e, bySerial))
		capture(t, e, asked(code2, "3", 3))
		require.Equal(t, []string{"device " + code2 + " current", "device " + code + " superseded", "device " + code + " superseded"}, summary(t, e, bySerial))
	})
	t.Run("required", func(t *testing.T) {
		t.Parallel()
		e := newEscrow(t)
		for _, ids := range [][2]string{{"", serial}, {enrollment, ""}, {"", ""}} {
			require.EqualError(t, e.Join(t.Context(), ids[0], ids[1]), "escrow: join: enrollment ID and serial number are required")
		}
	})
	t.Run("of nothing", func(t *testing.T) {
		t.Parallel()
		e := newEscrow(t)
		join(t, e, enrollment)
		require.Empty(t, records(t, e, bySerial))
	})
	t.Run("in any order", func(t *testing.T) {
		t.Parallel()
		for _, own := range []string{"", code, code2} {
			var want []string
			for _, order := range [][]string{{enrollment, another}, {another, enrollment}, {another, enrollment, another}} {
				e := newEscrow(t)
				capture(t, e, of(byEnrollment, asked(code, "1", 1)), from(another, of(byAnother, asked(code2, "2", 2))), of(byAnother, server(asked(code3, "", 2))))
				if own != "" {
					capture(t, e, asked(own, "3", 3))
				}
				for _, id := range order {
					join(t, e, id)
				}
				got := summary(t, e, bySerial)
				if want == nil {
					want = got
				}
				require.Equal(t, want, got, "%v", order)
			}
		}
	})
}

func TestQuota(t *testing.T) {
	t.Parallel()
	e := newEscrow(t)
	for i := range escrow.Quota {
		c := unasked(asked(numbered(i), fmt.Sprint(i), i+1))
		c.Disputed = i%2 == 0
		capture(t, e, c)
	}
	for _, c := range []escrow.Capture{unasked(asked(code, "x", 1)), disputed(asked(code, "x", 1))} {
		r, err := e.Capture(t.Context(), c)
		require.ErrorIs(t, err, escrow.ErrQuota)
		require.NotContains(t, err.Error(), code)
		require.Zero(t, r)
	}
	require.Len(t, records(t, e, bySerial), escrow.Quota)
	// What is there can be given again.
	require.Equal(t, escrow.Current, capture(t, e, asked(numbered(7), "y", 1000)).State)
	// Nobody else is shut out: not another enrollment, not the server's code
	// (kinds never touch), not another subject.
	capture(t, e, from(another, asked(code, "1", 1)))
	capture(t, e, server(asked(code2, "1", 1)))
	capture(t, e, of(escrow.Subject{SerialNumber: "XXFAKE0SER2"}, asked(code, "1", 1)))
	require.Len(t, records(t, e, bySerial), escrow.Quota+2)

	// Nor is a code that was asked for, by all the junk before it.
	require.Equal(t, escrow.Current, capture(t, e, asked("J4DNT-6VT2Y-3LD8-1VV7-AT3U-LW17", "x", 1001)).State)

	// Nor does joining get round it.
	capture(t, e, of(byEnrollment, unasked(asked(code3, "1", 1))))
	require.NoError(t, e.Join(t.Context(), enrollment, serial))
	_, err := e.Capture(t.Context(), unasked(asked("one more", "z", 2000)))
	require.ErrorIs(t, err, escrow.ErrQuota)
	require.Len(t, records(t, e, bySerial), escrow.Quota+4)
}

func TestQuotaOfAskedCodes(t *testing.T) {
	t.Parallel()
	e := newEscrow(t)
	for i := range escrow.Quota {
		capture(t, e, asked(fmt.Sprint("code ", i), fmt.Sprint(i), i+1))
	}
	_, err := e.Capture(t.Context(), asked(code, "x", 1000))
	require.ErrorIs(t, err, escrow.ErrQuota)
	capture(t, e, unasked(asked(code, "x", 1000)))
}

func TestTooLong(t *testing.T) {
	t.Parallel()
	e := newEscrow(t)
	long := strings.Repeat("x", escrow.MaxText)
	capture(t, e, asked(long, "1", 1))
	_, err := e.Capture(t.Context(), asked(long+"x", "2", 2))
	require.ErrorIs(t, err, escrow.ErrTooLong)
	require.Len(t, records(t, e, bySerial), 1)
}

func TestManyWriters(t *testing.T) {
	t.Parallel()
	const writers = 32
	e := newEscrow(t)
	want := map[string]bool{}
	var wait sync.WaitGroup
	for i := range writers {
		c := asked(numbered(i), fmt.Sprint("uuid ", i), i+1)
		if i%2 == 1 {
			c = server(c)
		}
		want[string(c.Kind)+" "+c.Text.Reveal()] = true
		wait.Go(func() {
			for range 3 { // and each sends it again
				_, err := e.Capture(t.Context(), c)
				assert.NoError(t, err)
			}
			_, err := e.Capture(t.Context(), asked(code, fmt.Sprint("same ", i), i+1))
			assert.NoError(t, err)
			assert.NoError(t, e.MarkStale(t.Context(), bySerial, "erased", at(i)))
			assert.NoError(t, e.Join(t.Context(), enrollment, serial))
			_, err = e.Records(t.Context(), bySerial)
			assert.NoError(t, err)
		})
	}
	wait.Wait()
	want["device "+code] = true
	got := map[string]bool{}
	current := map[bypasscode.Kind]int{}
	for _, r := range records(t, e, bySerial) {
		key := string(r.Kind) + " " + reveal(t, e, bySerial, r.ID)
		require.False(t, got[key], "%s is there twice", key)
		got[key] = true
		if r.State == escrow.Current {
			current[r.Kind]++
		} else {
			require.Equal(t, escrow.Superseded, r.State)
		}
	}
	require.Equal(t, want, got)
	require.Equal(t, map[bypasscode.Kind]int{bypasscode.Device: 1, bypasscode.Server: 1}, current)
}

// faulty is a store that fails at one method, after it called change or before.
type faulty struct {
	escrow.Store
	fails       string
	afterChange bool
}

var errDown = errors.New("the store is down")

func (f faulty) Update(ctx context.Context, s escrow.Subject, change func([]escrow.Entry) ([]escrow.Entry, error)) error {
	if f.fails == "update" {
		if f.afterChange {
			if _, err := change(nil); err != nil {
				return err
			}
		}
		return errDown
	}
	return f.Store.Update(ctx, s, change)
}

func (f faulty) Entries(ctx context.Context, s escrow.Subject) ([]escrow.Entry, error) {
	if f.fails == "entries" {
		return []escrow.Entry{{Sealed: []byte(code)}}, errDown
	}
	return f.Store.Entries(ctx, s)
}

func (f faulty) Join(ctx context.Context, enrollmentID, serialNumber string) error {
	if f.fails == "join" {
		return errDown
	}
	return f.Store.Join(ctx, enrollmentID, serialNumber)
}

func TestStoreErrors(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name  string
		store faulty
		call  func(context.Context, *escrow.Escrow) error
		want  string
	}{
		{"capture", faulty{fails: "update"}, func(ctx context.Context, e *escrow.Escrow) error {
			r, err := e.Capture(ctx, asked(code, "1", 1))
			require.Zero(t, r)
			return err
		}, "escrow: capture: the store is down"},
		{"capture that was almost there", faulty{fails: "update", afterChange: true}, func(ctx context.Context, e *escrow.Escrow) error {
			r, err := e.Capture(ctx, asked(code, "1", 1))
			require.Zero(t, r, "what is not durable is not reported")
			return err
		}, "escrow: capture: the store is down"},
		{"mark stale", faulty{fails: "update"}, func(ctx context.Context, e *escrow.Escrow) error {
			return e.MarkStale(ctx, bySerial, "erased", at(1))
		}, "escrow: mark stale: the store is down"},
		{"join", faulty{fails: "join"}, func(ctx context.Context, e *escrow.Escrow) error {
			return e.Join(ctx, enrollment, serial)
		}, "escrow: join: the store is down"},
		{"join, second half", faulty{fails: "update"}, func(ctx context.Context, e *escrow.Escrow) error {
			return e.Join(ctx, enrollment, serial)
		}, "escrow: join: the store is down"},
		{"records", faulty{fails: "entries"}, func(ctx context.Context, e *escrow.Escrow) error {
			found, err := e.Records(ctx, bySerial)
			require.Nil(t, found)
			return err
		}, "escrow: records: the store is down"},
		{"reveal", faulty{fails: "entries"}, func(ctx context.Context, e *escrow.Escrow) error {
			text, err := e.Reveal(ctx, wish(bySerial, "x"))
			require.True(t, text.IsZero())
			require.NotErrorIs(t, err, escrow.ErrNotFound)
			return err
		}, "escrow: reveal: the store is down"},
	} {
		test.store.Store = memstore.New().Escrow()
		e, err := escrow.New(config(test.store))
		require.NoError(t, err)
		err = test.call(t.Context(), e)
		require.ErrorIs(t, err, errDown, test.name)
		require.EqualError(t, err, test.want, test.name) // so no code is in it

		// The same with a context that is over.
		test.store.fails = ""
		e, err = escrow.New(config(test.store))
		require.NoError(t, err)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		require.ErrorIs(t, test.call(ctx, e), context.Canceled, test.name)
		require.Empty(t, records(t, e, bySerial), test.name)
	}
}

// What is joined takes no transaction to join again, unless a code is to be marked;
// and who cannot see that it is joins.
func TestJoinAgain(t *testing.T) {
	t.Parallel()
	store := memstore.New().Escrow()
	var writes []string
	failing := ""
	e := with(t, hooked{Store: store, before: func(method string) error {
		if method == failing {
			return errDown
		}
		if method != "entries" {
			writes = append(writes, method)
		}
		return nil
	}})
	join := func(want ...string) {
		t.Helper()
		writes = nil
		require.NoError(t, e.Join(t.Context(), enrollment, serial))
		require.Equal(t, want, writes)
	}
	join("join", "update")
	join()
	capture(t, e, asked(code, "1", 1))
	join()
	capture(t, e, of(byEnrollment, asked(code2, "2", 2)))
	join("join", "update")
	require.Equal(t, []string{"device " + code + " current", "device " + code2 + " disputed"}, summary(t, e, bySerial))
	join()
	require.NoError(t, e.Join(t.Context(), enrollment, "XXFAKE0SER2"))
	require.Equal(t, []string{"join", "update"}, writes)
	join()
	failing = "entries"
	join("join", "update")
	failing = ""
	e = with(t, joinless{hooked{Store: store, before: func(method string) error { writes = append(writes, method); return nil }}})
	join("join", "update")
}

// A join whose second half failed is made good by joining again.
func TestJoinAgainAfterAFailure(t *testing.T) {
	t.Parallel()
	store := memstore.New().Escrow()
	e, err := escrow.New(config(store))
	require.NoError(t, err)
	capture(t, e, asked(code, "1", 1), of(byEnrollment, asked(code2, "2", 2)))
	half, err := escrow.New(config(faulty{Store: store, fails: "update"}))
	require.NoError(t, err)
	require.ErrorIs(t, half.Join(t.Context(), enrollment, serial), errDown)
	require.NoError(t, e.Join(t.Context(), enrollment, serial))
	require.Equal(t, []string{"device " + code + " current", "device " + code2 + " disputed"}, summary(t, e, bySerial))
}

// hesitant is a store that, like a database after a conflict, calls change
// again, and it shows what it was given in its errors.
type hesitant struct {
	escrow.Store
	fail bool
}

func (h hesitant) Update(ctx context.Context, s escrow.Subject, change func([]escrow.Entry) ([]escrow.Entry, error)) error {
	stale, err := h.Entries(ctx, s)
	if err != nil {
		return err
	}
	before := slices.Clone(stale)
	out, err := change(stale[:len(stale)/2])
	if h.fail {
		return fmt.Errorf("cannot write %v, %+v, %#v after %w", out, out, out, errDown)
	}
	for i := range stale {
		if stale[i].Record != before[i].Record {
			return errors.New("change wrote into its argument")
		}
	}
	if _, err := change(nil); err != nil {
		return err
	}
	return errors.Join(err, h.Store.Update(ctx, s, change))
}

func TestChangeIsCalledAgain(t *testing.T) {
	t.Parallel()
	store := memstore.New().Escrow()
	e, err := escrow.New(sealing(hesitant{Store: store}))
	require.NoError(t, err)
	first := capture(t, e, asked(code, "1", 1), asked(code2, "2", 2))
	require.Equal(t, first.ID, capture(t, e, asked(code2, "3", 3)).ID, "the last call counts")
	require.NoError(t, e.MarkStale(t.Context(), bySerial, "erased", at(4)))
	require.NoError(t, e.Join(t.Context(), enrollment, serial))
	require.Equal(t, []string{"device " + code2 + " current", "device " + code + " superseded"}, summary(t, e, bySerial))

	e, err = escrow.New(sealing(hesitant{Store: store, fail: true}))
	require.NoError(t, err)
	for _, text := range []string{code, code3} {
		_, err = e.Capture(t.Context(), asked(text, "9", 9))
		require.ErrorIs(t, err, errDown)
		for _, secret := range []string{code, code2, code3} {
			require.NotContains(t, err.Error(), secret)
		}
	}
	require.Contains(t, err.Error(), "Sealed:", "it does show what it was given")
}

// fake is a testing.T that keeps what it is told.
type fake struct{ bytes.Buffer }

func (f *fake) Errorf(format string, args ...any) { fmt.Fprintf(&f.Buffer, format, args...) }

// requireShowsNothing prints a value in every way and looks for secrets.
func requireShowsNothing(t *testing.T, name string, v any, secrets ...string) {
	t.Helper()
	var out bytes.Buffer
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%c", "%U", "%t", "%T"} {
		fmt.Fprintf(&out, verb, v)
	}
	slog.New(slog.NewTextHandler(&out, nil)).Info("m", "v", v)
	slog.New(slog.NewJSONHandler(&out, nil)).Info("m", "v", v)
	diff := &fake{}
	require.False(t, assert.Equal(diff, v, "other"))
	require.False(t, assert.Equal(diff, "other", v))
	require.False(t, assert.Nil(diff, v))
	require.False(t, assert.Contains(diff, []any{v}, "other"))
	out.Write(diff.Bytes())
	if encoded, err := json.Marshal(v); err == nil {
		out.Write(encoded)
	}
	shown := strings.ToLower(out.String())
	for _, secret := range secrets {
		for _, form := range []string{secret, strings.ReplaceAll(secret, "-", ""), hex.EncodeToString([]byte(secret)), strings.Trim(fmt.Sprint([]byte(secret)), "[]")} {
			require.False(t, strings.Contains(shown, strings.ToLower(form)), "%s: %s", name, shown)
		}
	}
}

func TestNothingShowsACode(t *testing.T) {
	t.Parallel()
	store := memstore.New()
	e, err := escrow.New(sealing(store.Escrow()))
	require.NoError(t, err)
	c := asked(code, "1", 1)
	r := capture(t, e, c)
	entries, err := store.Escrow().Entries(t.Context(), bySerial)
	require.NoError(t, err)
	require.NotEmpty(t, entries[0].Sealed)
	for name, v := range map[string]any{
		"capture": c, "pointer to capture": &c, "entry": entries[0], "pointer to entry": &entries[0], "entries": entries, "record": r,
		"map": map[string]any{"entry": entries[0], "capture": &c}, "inside": struct{ entry escrow.Entry }{entries[0]},
		"the store": store, "the escrow": e,
	} {
		requireShowsNothing(t, name, v, code)
		if name != "record" {
			_, err := json.Marshal(v)
			var out bytes.Buffer
			gobErr := gob.NewEncoder(&out).Encode(v)
			switch name {
			case "the store", "the escrow", "inside", "entry", "pointer to entry", "entries": // nothing in them is secret
				require.NotContains(t, out.String(), code)
			case "map": // gob has no such type
				require.ErrorIs(t, err, bypasscode.ErrSecret, name)
			default:
				require.ErrorIs(t, err, bypasscode.ErrSecret, name)
				require.Error(t, gobErr, name)
			}
		}
	}
}

// step is one step of a random history.
type step struct {
	do      string // capture, mark or join
	capture escrow.Capture
	joins   string
	hour    int
}

func (s step) String() string {
	switch s.do {
	case "capture":
		c := s.capture
		return fmt.Sprintf("capture %s %q of %+v from %s, %s, uuid %q, disputed %t, hour %d", c.Kind, c.Text.Reveal(), c.Subject, c.EnrollmentID, c.Cause, c.CommandUUID, c.Disputed, s.hour)
	case "mark":
		return fmt.Sprintf("mark of hour %d", s.hour)
	}
	return "join " + s.joins
}

// history makes random steps, all about one device.
func history(random *rand.Rand, joins bool) (steps []step) {
	pick := func(from ...string) string { return from[random.IntN(len(from))] }
	hour := 10
	for range 1 + random.IntN(25) {
		hour += random.IntN(3)
		s := step{do: "capture", hour: max(1, hour-random.IntN(4))} // out of order now and then
		switch n := random.IntN(12); {
		case n == 0:
			s.do = "mark"
		case n <= 2 && joins:
			s.do, s.joins = "join", pick(enrollment, another)
		default:
			if before := len(steps); before > 0 && random.IntN(5) == 0 {
				if again := steps[random.IntN(before)]; again.do == "capture" { // the same report again
					s = again
					s.hour = hour
					s.capture.ReceivedAt = at(hour)
					break
				}
			}
			c := asked(pick(code, code2, code3, "", "no code"), pick("1", "2", "3", "4", "5", "6", ""), s.hour)
			c.Kind = bypasscode.Kind(pick("device", "device", "server"))
			c.EnrollmentID = pick(enrollment, enrollment, another)
			c.Disputed = random.IntN(6) == 0
			c.Cause = escrow.Cause(pick("enrollment", "schedule", "lock on", "unasked"))
			if joins {
				c.Subject = []escrow.Subject{bySerial, byEnrollment, byAnother}[random.IntN(3)]
			}
			s.capture = c
		}
		steps = append(steps, s)
	}
	return steps
}

// play applies steps and checks after each that no identity changes and no
// text is lost.
func play(t *testing.T, steps []step) *escrow.Escrow {
	t.Helper()
	e := newEscrow(t)
	type fixed struct {
		kind    bypasscode.Kind
		subject escrow.Subject
		first   time.Time
		text    string
	}
	known := map[string]fixed{}
	given := map[escrow.Subject]map[string]bool{bySerial: {}, byEnrollment: {}, byAnother: {}}
	for _, s := range steps {
		switch s.do {
		case "mark":
			require.NoError(t, e.MarkStale(t.Context(), bySerial, "erased", at(s.hour)))
		case "join":
			require.NoError(t, e.Join(t.Context(), s.joins, serial))
		default:
			r, err := e.Capture(t.Context(), s.capture)
			if s.capture.Text.IsZero() {
				require.ErrorIs(t, err, escrow.ErrEmpty)
				break
			}
			require.NoError(t, err)
			require.Equal(t, s.capture.Text.Reveal(), reveal(t, e, s.capture.Subject, r.ID))
			require.Equal(t, s.capture.Kind, r.Kind)
			require.Contains(t, records(t, e, s.capture.Subject), r, "what is returned is what is there")
			given[s.capture.Subject][string(r.Kind)+s.capture.Text.Reveal()] = true
			if !s.capture.Disputed && s.capture.Cause != escrow.CauseUnasked {
				require.NotEqual(t, escrow.Disputed, r.State)
			}
		}
		for subject, texts := range given {
			there := map[string]bool{}
			for _, r := range records(t, e, subject) {
				text := reveal(t, e, subject, r.ID)
				there[string(r.Kind)+text] = true
				require.False(t, r.LastSeen.Before(r.FirstSeen), "%+v", r)
				require.Contains(t, []escrow.State{escrow.Current, escrow.Superseded, escrow.Disputed}, r.State)
				is := fixed{r.Kind, r.Subject, r.FirstSeen, text}
				if was, ok := known[r.ID]; ok {
					require.Equal(t, was, is)
				}
				known[r.ID] = is
				if r.Kind == bypasscode.Server {
					require.Zero(t, r.StaleSince)
				}
			}
			for text := range texts {
				require.True(t, there[text], "%q is lost", text)
			}
		}
	}
	return e
}

// known is what the model says of a code.
type known struct {
	Kind                 bypasscode.Kind
	Text                 string
	State                escrow.State
	CommandUUID          string
	First, Last, StaleAt time.Time
}

// model derives from a whole history, without joins, what must be known in the
// end. A code is current if it is the last that the device gave on being asked,
// superseded if it gave it so before, and else disputed.
func model(steps []step) (found []known) {
	trusted := func(c escrow.Capture) bool { return !c.Disputed && c.Cause != escrow.CauseUnasked }
	all := map[string]known{}
	current := map[bypasscode.Kind]string{}
	everTrusted := map[string]bool{}
	reports := map[string]bool{}        // with a text that does not parse
	last := map[string]escrow.Capture{} // of each code, the capture that describes it
	for i, s := range steps {
		if s.do == "mark" {
			key := current[bypasscode.Device]
			k, ok := all[key]
			if ok && k.StaleAt.IsZero() && !k.Last.After(at(s.hour)) {
				k.StaleAt = at(s.hour)
				all[key] = k
			}
			continue
		}
		c := s.capture
		if c.Text.IsZero() {
			continue
		}
		key := string(c.Kind) + " " + c.Text.Reveal()
		sentAgain := false
		if _, err := c.Text.Code(); err != nil { // what does not parse is kept each time, but sent again it is not the last
			key += fmt.Sprint(" #", i)
			report := fmt.Sprint(c.Kind, c.EnrollmentID, c.CommandUUID)
			sentAgain = trusted(c) && c.CommandUUID != "" && reports[report]
			reports[report] = reports[report] || trusted(c)
		}
		describes, seen := last[key]
		same := seen && c.CommandUUID != "" && c.CommandUUID == describes.CommandUUID && c.EnrollmentID == describes.EnrollmentID
		if same && (everTrusted[key] || !trusted(c)) {
			continue
		}
		k := all[key]
		if !seen {
			k = known{Kind: c.Kind, Text: c.Text.Reveal(), First: c.ReceivedAt}
		}
		if c.ReceivedAt.After(k.Last) {
			k.Last = c.ReceivedAt
		}
		if !seen || trusted(c) {
			last[key] = c
		}
		if trusted(c) {
			everTrusted[key] = true
			if !sentAgain {
				current[c.Kind] = key
			}
			if !k.StaleAt.After(c.ReceivedAt) {
				k.StaleAt = time.Time{}
			}
		}
		all[key] = k
	}
	for key, k := range all {
		k.State = escrow.Disputed
		if everTrusted[key] {
			k.State = escrow.Superseded
		}
		if current[k.Kind] == key {
			k.State = escrow.Current
		}
		k.CommandUUID = last[key].CommandUUID
		found = append(found, k)
	}
	return found
}

const seed = 20261122

func TestRandomHistories(t *testing.T) {
	t.Parallel()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 1))
	for round := range 250 {
		steps := history(random, false)
		e := play(t, steps)
		var got []known
		currents := map[bypasscode.Kind]int{}
		for _, r := range records(t, e, bySerial) {
			got = append(got, known{r.Kind, reveal(t, e, bySerial, r.ID), r.State, r.CommandUUID, r.FirstSeen, r.LastSeen, r.StaleSince})
			if r.State == escrow.Current {
				currents[r.Kind]++
			}
		}
		require.ElementsMatch(t, model(steps), got, "round %d: %v", round, steps)
		require.LessOrEqual(t, currents[bypasscode.Device], 1)
		require.LessOrEqual(t, currents[bypasscode.Server], 1)
		require.True(t, slices.IsSortedFunc(records(t, e, bySerial), func(a, b escrow.Record) int {
			order := []escrow.State{escrow.Current, escrow.Superseded, escrow.Disputed}
			return cmp.Or(cmp.Compare(slices.Index(order, a.State), slices.Index(order, b.State)), b.LastSeen.Compare(a.LastSeen))
		}))
	}
}

// What becomes of the codes of one kind is the same as if the other kind had
// never been there.
func TestKindsNeverTouch(t *testing.T) {
	t.Parallel()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 2))
	for round := range 120 {
		steps := history(random, true)
		both := play(t, steps)
		for _, kind := range []bypasscode.Kind{bypasscode.Device, bypasscode.Server} {
			alone := play(t, slices.DeleteFunc(slices.Clone(steps), func(s step) bool { return s.do == "capture" && s.capture.Kind != kind }))
			for _, subject := range []escrow.Subject{bySerial, byEnrollment, byAnother} {
				only := func(e *escrow.Escrow) (found []string) {
					for _, r := range records(t, e, subject) {
						if r.Kind == kind {
							text := reveal(t, e, subject, r.ID)
							r.ID = ""
							found = append(found, fmt.Sprintf("%+v %q", r, text))
						}
					}
					return found
				}
				require.Equal(t, only(alone), only(both), "round %d: %v", round, steps)
			}
		}
	}
}

// The order in which enrollments are joined, and how often, makes no
// difference, and a join changes nothing but to mark what contradicts.
func TestRandomJoins(t *testing.T) {
	t.Parallel()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 3))
	marked := 0
	for round := range 120 {
		var steps []step
		for _, s := range history(random, true) {
			if s.do != "join" {
				steps = append(steps, s)
			}
		}
		var want []string
		for _, order := range [][]string{{enrollment, another}, {another, enrollment}, {another, enrollment, another, another}} {
			e := play(t, steps)
			before := map[string]escrow.Record{}
			for _, subject := range []escrow.Subject{bySerial, byEnrollment, byAnother} {
				for _, r := range records(t, e, subject) {
					before[r.ID] = r
				}
			}
			for _, id := range order {
				require.NoError(t, e.Join(t.Context(), id, serial))
			}
			var got []string
			after := map[string]escrow.Record{}
			for _, r := range records(t, e, bySerial) {
				after[r.ID] = r
				text := reveal(t, e, bySerial, r.ID)
				was := before[r.ID]
				if r.State != was.State {
					marked++
					require.Equal(t, escrow.Current, was.State)
					require.Equal(t, escrow.Disputed, r.State)
					require.Empty(t, r.Subject.SerialNumber, "a join touches the enrollment's only")
					was.State = r.State
				}
				require.Equal(t, was, r)
				r.ID = ""
				got = append(got, fmt.Sprintf("%+v %q", r, text))
			}
			require.ElementsMatch(t, slices.Collect(maps.Keys(before)), slices.Collect(maps.Keys(after)))
			slices.Sort(got)
			if want == nil {
				want = got
			}
			require.Equal(t, want, got, "round %d, %v: %v", round, order, steps)
		}
	}
	require.Positive(t, marked)
}
