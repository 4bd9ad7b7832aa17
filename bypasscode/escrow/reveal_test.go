package escrow_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/activationlock/sdk/activationlock/memstore"
	"github.com/activationlock/sdk/bypasscode/audit"
	"github.com/activationlock/sdk/bypasscode/escrow"
)

// ledger is an audit store that can fail.
type ledger struct {
	audit.Store
	fail func() error // before a write; nil never fails
}

func (l *ledger) Append(ctx context.Context, next func(audit.Entry) ([]audit.Entry, error)) error {
	if l.fail != nil {
		if err := l.fail(); err != nil {
			return err
		}
	}
	return l.Store.Append(ctx, next)
}

// audited is an escrow whose audit can be looked at.
func audited(t *testing.T, c escrow.Config) (*escrow.Escrow, *ledger) {
	t.Helper()
	l := &ledger{Store: memstore.New().Audit()}
	var err error
	c.Audit, err = audit.New(audit.Config{Store: l})
	require.NoError(t, err)
	if c.Sealer == nil {
		c.Sealer = clear{}
	}
	e, err := escrow.New(c)
	require.NoError(t, err)
	return e, l
}

func (l *ledger) entries(t *testing.T) []audit.Entry {
	t.Helper()
	entries, err := l.Scan(context.Background(), -1, 1<<20)
	require.NoError(t, err)
	return entries
}

func (l *ledger) acts(t *testing.T) (acts []audit.Act) {
	t.Helper()
	for _, e := range l.entries(t) {
		acts = append(acts, e.Act)
	}
	return acts
}

// What is not known is not taken for granted, in either direction.
func TestAllow(t *testing.T) {
	t.Parallel()
	for _, owned := range []*bool{nil, new(false), new(true)} {
		for _, on := range []*bool{nil, new(false), new(true)} {
			r := escrow.Reveal{CompanyOwned: owned, LockOn: on}
			err := escrow.Allow(t.Context(), r, escrow.Record{})
			switch {
			case owned == nil || !*owned:
				require.EqualError(t, err, "the device is not known to be the company's")
			case on == nil || !*on:
				require.EqualError(t, err, "the device's lock is not known to be on")
			default:
				require.NoError(t, err)
			}
			r.Purpose = escrow.ToUnlock
			require.NoError(t, escrow.Allow(t.Context(), r, escrow.Record{}))
			r.Purpose = "something else"
			require.Equal(t, err == nil, escrow.Allow(t.Context(), r, escrow.Record{}) == nil)
		}
	}
}

func TestRevealIsAudited(t *testing.T) {
	t.Parallel()
	e, l := audited(t, escrow.Config{Store: memstore.New().Escrow(), Clock: func() time.Time { return at(7) }})
	r := capture(t, e, asked(code, "1", 1))
	shown := escrow.Reveal{Subject: bySerial, RecordID: r.ID, Act: act}

	_, err := e.Reveal(t.Context(), shown)
	require.ErrorIs(t, err, escrow.ErrRefused)
	require.ErrorContains(t, err, "not known to be the company's")
	shown.CompanyOwned, shown.LockOn = new(true), new(true)
	text, err := e.Reveal(t.Context(), shown)
	require.NoError(t, err)
	require.Equal(t, code, text.Reveal())
	require.Equal(t, code, reveal(t, e, bySerial, r.ID)) // for an unlock

	want := audit.Event{Act: audit.Refused, At: at(7), Actor: act.Actor, Reason: act.Reason, SerialNumber: serial, RecordID: r.ID}
	for i, a := range []audit.Act{audit.Refused, audit.Revealed, audit.UsedUnlock} {
		want.Act = a
		want.Detail = []string{
			"to show; company-owned: unknown, lock on: unknown", "to show; company-owned: yes, lock on: yes", "to unlock",
		}[i]
		require.Equal(t, want, l.entries(t)[i].Event)
	}
	require.Len(t, l.entries(t), 3)
}

func TestRevealAsksThePolicy(t *testing.T) {
	t.Parallel()
	type key struct{}
	no := errors.New("ask your boss")
	var sawReveal escrow.Reveal
	var sawRecord escrow.Record
	verdict := func() error { return no }
	e, l := audited(t, escrow.Config{Store: memstore.New().Escrow(), Allow: func(ctx context.Context, r escrow.Reveal, record escrow.Record) error {
		require.Equal(t, "x", ctx.Value(key{}))
		sawReveal, sawRecord = r, record
		return verdict()
	}})
	record := capture(t, e, asked(code, "1", 1))
	w := wish(bySerial, record.ID)
	w.LockOn = new(false)
	ctx := context.WithValue(t.Context(), key{}, "x")
	text, err := e.Reveal(ctx, w)
	require.ErrorIs(t, err, escrow.ErrRefused)
	require.ErrorIs(t, err, no)
	require.True(t, text.IsZero())
	require.Equal(t, w, sawReveal)
	require.Equal(t, record, sawRecord)
	require.Equal(t, []audit.Act{audit.Refused}, l.acts(t))
	require.Equal(t, "to unlock", l.entries(t)[0].Detail)

	verdict = func() error { panic("a policy's own mistake") }
	require.PanicsWithValue(t, "a policy's own mistake", func() { text, _ = e.Reveal(ctx, w) })
	require.True(t, text.IsZero())

	verdict = func() error { return nil }
	w.Purpose = escrow.ToShow // a host's rule may be wider than ours
	text, err = e.Reveal(ctx, w)
	require.NoError(t, err)
	require.Equal(t, code, text.Reveal())
	require.Equal(t, []audit.Act{audit.Refused, audit.Revealed}, l.acts(t))
}

// Without an audit entry nothing leaves.
func TestRevealNeedsTheAudit(t *testing.T) {
	t.Parallel()
	store := memstore.New().Escrow()
	e, l := audited(t, escrow.Config{Store: store})
	r := capture(t, e, asked(code, "1", 1))
	l.fail = func() error { return errDown }

	text, err := e.Reveal(t.Context(), wish(bySerial, r.ID))
	require.ErrorIs(t, err, errDown)
	require.True(t, text.IsZero())

	shown := escrow.Reveal{Subject: bySerial, RecordID: r.ID, Act: act}
	text, err = e.Reveal(t.Context(), shown)
	require.ErrorIs(t, err, errDown)
	require.ErrorIs(t, err, escrow.ErrRefused)
	require.True(t, text.IsZero())
	require.Empty(t, l.entries(t))

	// A time that no audit can hold.
	l.fail = nil
	e, _ = audited(t, escrow.Config{Store: store, Clock: func() time.Time { return time.Time{} }})
	text, err = e.Reveal(t.Context(), wish(bySerial, r.ID))
	require.Error(t, err)
	require.True(t, text.IsZero())

	e, err = escrow.New(escrow.Config{Store: store, Sealer: clear{}})
	require.NoError(t, err)
	text, err = e.Reveal(t.Context(), wish(bySerial, r.ID))
	require.ErrorIs(t, err, escrow.ErrNoAudit)
	require.True(t, text.IsZero())
}

func TestRevealRequires(t *testing.T) {
	t.Parallel()
	e, l := audited(t, escrow.Config{Store: memstore.New().Escrow()})
	r := capture(t, e, asked(code, "1", 1))
	for name, change := range map[string]func(*escrow.Reveal){
		"actor":      func(w *escrow.Reveal) { w.Actor = "" },
		"reason":     func(w *escrow.Reveal) { w.Reason = "" },
		"short":      func(w *escrow.Reveal) { w.Reason = strings.Repeat("x", 256) },
		"text":       func(w *escrow.Reveal) { w.Actor = "\xff" },
		"purpose":    func(w *escrow.Reveal) { w.Purpose = "fun" },
		"a record":   func(w *escrow.Reveal) { w.RecordID = "" },
		"a subject":  func(w *escrow.Reveal) { w.Subject = escrow.Subject{} },
		"no other's": func(w *escrow.Reveal) { w.Subject = byAnother },
	} {
		w := wish(bySerial, r.ID)
		change(&w)
		text, err := e.Reveal(t.Context(), w)
		require.Error(t, err, name)
		require.True(t, text.IsZero(), name)
	}
	require.Empty(t, l.entries(t))
	w := wish(bySerial, r.ID)
	w.Reason = strings.Repeat("x", 255)
	_, err := e.Reveal(t.Context(), w)
	require.NoError(t, err)
}

// Somebody who may have a code and tries keys leaves a trace.
func TestRevealThatFailsIsAudited(t *testing.T) {
	t.Parallel()
	store := memstore.New().Escrow()
	e, l := audited(t, escrow.Config{Store: store})
	r := capture(t, e, asked(code, "1", 1))
	entry := scan(t, store)[0]
	entry.Sealed = []byte("spoilt")
	write(t, store, entry)
	text, err := e.Reveal(t.Context(), wish(bySerial, r.ID))
	require.Error(t, err)
	require.True(t, text.IsZero())
	require.Equal(t, []audit.Act{audit.Refused}, l.acts(t))
	require.Equal(t, "to unlock; it could not be opened", l.entries(t)[0].Detail)
}
