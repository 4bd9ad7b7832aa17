package escrow_test

import (
	"bytes"
	"context"
	"encoding/hex"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/activationlock/sdk/activationlock/memstore"
	"github.com/activationlock/sdk/bypasscode"
	"github.com/activationlock/sdk/bypasscode/escrow"
	"github.com/activationlock/sdk/bypasscode/seal"
)

const otherSerial = "XXFAKE0SER2"

// fleet is a store with two codes of one device, and of another device and an
// enrollment one each.
type fleet struct {
	codes                 map[string]string // by record ID
	old, now, other, byID escrow.Entry
}

func newFleet(t *testing.T, key seal.PrivateKey) fleet {
	t.Helper()
	store := memstore.New().Escrow()
	e := onServer(t, store, key)
	f := fleet{codes: map[string]string{}}
	for _, one := range []struct {
		c    escrow.Capture
		into *escrow.Entry
	}{
		{asked(code, "1", 1), &f.old},
		{asked(code2, "2", 2), &f.now},
		{of(escrow.Subject{SerialNumber: otherSerial}, asked(code3, "3", 3)), &f.other},
		{of(byAnother, asked(code3, "4", 4)), &f.byID},
	} {
		r := capture(t, e, one.c)
		f.codes[r.ID] = one.c.Text.Reveal()
	}
	for _, entry := range scan(t, store) {
		for into, want := range map[*escrow.Entry]string{&f.old: code, &f.now: code2} {
			if f.codes[entry.ID] == want {
				*into = entry
			}
		}
		switch {
		case entry.Subject == byAnother:
			f.byID = entry
		case entry.Subject.SerialNumber == otherSerial:
			f.other = entry
		}
	}
	return f
}

// requireRefused writes an entry into a new store, where it does not open, and
// all others do.
func (f fleet) requireRefused(t *testing.T, name string, e func(escrow.Store) *escrow.Escrow, entry escrow.Entry, want error) {
	t.Helper()
	store := memstore.New().Escrow()
	for _, other := range []escrow.Entry{f.old, f.now, f.other, f.byID} {
		if other.ID != entry.ID {
			write(t, store, other)
		}
	}
	write(t, store, entry)
	reader := e(store)
	text, err := reader.Reveal(t.Context(), wish(entry.Subject, entry.ID))
	require.ErrorIs(t, err, want, name)
	require.EqualError(t, err, "escrow: reveal: "+want.Error(), name) // so nothing of the input is in it
	require.True(t, text.IsZero(), name)
	for _, there := range scan(t, store) {
		if there.ID != entry.ID {
			require.Equal(t, f.codes[there.ID], reveal(t, reader, there.Subject, there.ID), name)
		}
	}
}

func TestTamperedRows(t *testing.T) {
	t.Parallel()
	key := newKey(t)
	f := newFleet(t, key)
	desk := func(store escrow.Store) *escrow.Escrow { return onDesk(t, store, key) }
	for name, test := range map[string]struct {
		change func(*escrow.Entry)
		want   error
	}{
		"another ID":               {func(e *escrow.Entry) { e.ID += "x" }, seal.ErrDamaged},
		"the ID of another row":    {func(e *escrow.Entry) { e.ID = f.old.ID }, seal.ErrDamaged},
		"another kind":             {func(e *escrow.Entry) { e.Kind = bypasscode.Server }, seal.ErrDamaged},
		"another subject":          {func(e *escrow.Entry) { e.Subject.SerialNumber = otherSerial }, seal.ErrDamaged},
		"filed by enrollment":      {func(e *escrow.Entry) { e.Subject = byEnrollment }, seal.ErrDamaged},
		"subjects exchanged":       {func(e *escrow.Entry) { e.Subject = escrow.Subject{EnrollmentID: serial} }, seal.ErrDamaged},
		"sealed for another row":   {func(e *escrow.Entry) { e.Sealed = f.old.Sealed }, seal.ErrDamaged},
		"of another device":        {func(e *escrow.Entry) { e.Sealed = f.other.Sealed }, seal.ErrDamaged},
		"another device's, whole":  {func(e *escrow.Entry) { *e = f.other; e.ID, e.Subject = f.now.ID, f.now.Subject }, seal.ErrDamaged},
		"another serial number":    {func(e *escrow.Entry) { e.Device.SerialNumber = otherSerial }, escrow.ErrMoved},
		"another UDID":             {func(e *escrow.Entry) { e.Device.UDID = another }, escrow.ErrMoved},
		"another digest":           {func(e *escrow.Entry) { e.Digest = f.old.Digest }, escrow.ErrMoved},
		"no digest":                {func(e *escrow.Entry) { e.Digest = "" }, escrow.ErrMoved},
		"emptied":                  {func(e *escrow.Entry) { e.Sealed = nil }, seal.ErrDamaged},
		"a byte":                   {func(e *escrow.Entry) { e.Sealed = e.Sealed[:1] }, seal.ErrDamaged},
		"truncated":                {func(e *escrow.Entry) { e.Sealed = e.Sealed[:len(e.Sealed)-1] }, seal.ErrDamaged},
		"a byte more":              {func(e *escrow.Entry) { e.Sealed = append(bytes.Clone(e.Sealed), 0) }, seal.ErrDamaged},
		"another version":          {func(e *escrow.Entry) { e.Sealed = bytes.Clone(e.Sealed); e.Sealed[0]++ }, seal.ErrVersion},
		"said to be purged":        {func(e *escrow.Entry) { e.State = escrow.Purged }, escrow.ErrPurged},
		"purged, said to be there": {func(e *escrow.Entry) { e.Sealed, e.Digest, e.Device = nil, "", escrow.Device{} }, seal.ErrDamaged},
	} {
		tampered := f.now
		test.change(&tampered)
		f.requireRefused(t, name, desk, tampered, test.want)
	}

	// What is not bound opens, with the right code.
	for name, change := range map[string]func(*escrow.Entry){
		"state":     func(e *escrow.Entry) { e.State, e.StateReason = escrow.Void, "x" },
		"times":     func(e *escrow.Entry) { e.FirstSeen, e.LastSeen, e.DeletedAt = at(1), at(2), at(3) },
		"no device": func(e *escrow.Entry) { e.Device = escrow.Device{IMEI: "1"} },
		"no copy":   func(e *escrow.Entry) { e.RecoveryCopy = []byte("x") },
	} {
		changed := f.now
		change(&changed)
		store := memstore.New().Escrow()
		write(t, store, changed)
		require.Equal(t, code2, reveal(t, desk(store), bySerial, changed.ID), name)
	}

	f.requireRefused(t, "not there", desk, escrow.Entry{Record: escrow.Record{ID: "x", Subject: bySerial, State: escrow.Purged}}, escrow.ErrPurged)
	for _, test := range []struct {
		e    func(escrow.Store) *escrow.Escrow
		want error
	}{
		{func(store escrow.Store) *escrow.Escrow { return onDesk(t, store, newKey(t)) }, seal.ErrNoKey},
		{func(store escrow.Store) *escrow.Escrow { return onServer(t, store, key) }, seal.ErrNoKey},
		{func(store escrow.Store) *escrow.Escrow {
			e, err := escrow.New(escrow.Config{Audit: newAudit(), Store: store, Sealer: broken{}})
			require.NoError(t, err)
			return e
		}, escrow.ErrNoOpener},
	} {
		store := memstore.New().Escrow()
		write(t, store, f.now)
		text, err := test.e(store).Reveal(t.Context(), wish(bySerial, f.now.ID))
		require.EqualError(t, err, "escrow: reveal: "+test.want.Error())
		require.ErrorIs(t, err, test.want)
		require.True(t, text.IsZero())
	}
}

// A row for another key does not keep the others from coming.
func TestRowsOfSeveralKeys(t *testing.T) {
	t.Parallel()
	key, lost := newKey(t), newKey(t)
	store := memstore.New().Escrow()
	gone := capture(t, onServer(t, store, lost), asked(code, "1", 1))
	there := capture(t, onServer(t, store, key), asked(code2, "2", 2))
	e := onDesk(t, store, key)
	_, err := e.Reveal(t.Context(), wish(bySerial, gone.ID))
	require.ErrorIs(t, err, seal.ErrNoKey)
	require.Equal(t, code2, reveal(t, e, bySerial, there.ID))
	require.Equal(t, code, reveal(t, onDesk(t, store, lost, key), bySerial, gone.ID))
}

// Whoever can write the store can join an enrollment to any serial number. Its
// codes do not open there if they are known to be another's.
func TestPlantedJoin(t *testing.T) {
	t.Parallel()
	store := memstore.New().Escrow()
	e, err := escrow.New(sealing(store))
	require.NoError(t, err)
	c := of(byEnrollment, asked(code, "1", 1))
	r := capture(t, e, c)
	unknown := of(byEnrollment, asked(code2, "2", 2))
	unknown.Device.SerialNumber = ""
	u := capture(t, e, unknown)
	require.NoError(t, store.Join(t.Context(), enrollment, otherSerial))
	require.NoError(t, store.Join(t.Context(), enrollment, serial))
	other := escrow.Subject{SerialNumber: otherSerial}
	require.Len(t, records(t, e, other), 2)
	_, err = e.Reveal(t.Context(), wish(other, r.ID))
	require.EqualError(t, err, "escrow: reveal: "+escrow.ErrMoved.Error())
	require.ErrorIs(t, err, escrow.ErrMoved)
	require.Equal(t, code2, reveal(t, e, other, u.ID), "whose it is was never known")
	for _, subject := range []escrow.Subject{byEnrollment, bySerial} {
		require.Equal(t, code, reveal(t, e, subject, r.ID))
	}
}

func TestFlippedBits(t *testing.T) {
	t.Parallel()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 7))
	key := newKey(t)
	f := newFleet(t, key)
	store := memstore.New().Escrow()
	e := onDesk(t, store, key)
	write(t, store, f.old, f.now)
	for i := range f.now.Sealed { // one of each byte
		bit := 8*i + random.IntN(8)
		damaged := f.now
		damaged.Sealed = bytes.Clone(damaged.Sealed)
		damaged.Sealed[bit/8] ^= 1 << (bit % 8)
		write(t, store, damaged)
		text, err := e.Reveal(t.Context(), wish(bySerial, damaged.ID))
		require.Error(t, err, "bit %d", bit)
		require.True(t, text.IsZero())
		require.Contains(t, []string{
			"escrow: reveal: " + seal.ErrDamaged.Error(), "escrow: reveal: " + seal.ErrNoKey.Error(), "escrow: reveal: " + seal.ErrVersion.Error(),
		}, err.Error())
	}
	require.Equal(t, code, reveal(t, e, bySerial, f.old.ID))
}

// Entries in which everything may be exchanged or damaged open with their own
// code or not at all.
func TestRandomTampering(t *testing.T) {
	t.Parallel()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 5))
	key := newKey(t)
	f := newFleet(t, key)
	all := []escrow.Entry{f.old, f.now, f.other, f.byID}
	pick := func() escrow.Entry { return all[random.IntN(len(all))] }
	opened := 0
	for range 500 {
		e := pick()
		for range 1 + random.IntN(3) {
			switch random.IntN(7) {
			case 0:
				e.ID = pick().ID
			case 1:
				e.Subject = pick().Subject
			case 2:
				e.Sealed = pick().Sealed
			case 3:
				e.Digest = pick().Digest
			case 4:
				e.Device = pick().Device
			case 5:
				e.Kind = []bypasscode.Kind{bypasscode.Device, bypasscode.Server}[random.IntN(2)]
			case 6:
				e.Sealed = bytes.Clone(e.Sealed)
				e.Sealed[random.IntN(len(e.Sealed))] ^= byte(1 << random.IntN(8))
			}
		}
		store := memstore.New().Escrow()
		write(t, store, e)
		text, err := onDesk(t, store, key).Reveal(t.Context(), wish(e.Subject, e.ID))
		if err != nil {
			require.True(t, text.IsZero())
			continue
		}
		opened++
		require.Equal(t, f.codes[e.ID], text.Reveal())
	}
	require.Positive(t, opened)
}

// forged opens everything as what it is told, like a Sealer gone wrong.
type forged struct {
	clear
	content []byte
}

func (f forged) Open(context.Context, []byte, []byte) ([]byte, error) { return f.content, nil }

func TestMalformedContent(t *testing.T) {
	t.Parallel()
	store := memstore.New().Escrow()
	r := capture(t, with(t, store), of(byAnother, asked("x", "1", 1)))
	for name, hexadecimal := range map[string]string{
		"empty": "", "a byte": "01", "another version": "02000178" + "00000000", "no text": "01000000000000", "too short": "010001780000",
		"a length too long": "01000278", "half a length": "0100017800", "a byte more": "0100017800000000" + "00",
	} {
		content, err := hex.DecodeString(hexadecimal)
		require.NoError(t, err)
		e, err := escrow.New(escrow.Config{Audit: newAudit(), Store: store, Sealer: forged{content: content}})
		require.NoError(t, err)
		text, err := e.Reveal(t.Context(), wish(byAnother, r.ID))
		require.ErrorIs(t, err, escrow.ErrMoved, name)
		require.True(t, text.IsZero())
	}
	content, err := hex.DecodeString("010001780000" + "0000")
	require.NoError(t, err)
	e, err := escrow.New(escrow.Config{Audit: newAudit(), Store: store, Sealer: forged{content: content}})
	require.NoError(t, err)
	require.Equal(t, "x", reveal(t, e, byAnother, r.ID))
}
