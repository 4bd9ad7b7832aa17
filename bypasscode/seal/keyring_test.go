package seal_test

import (
	"bytes"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hpke"
	"encoding/binary"
	"slices"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/activationlock/sdk/bypasscode/seal"
)

func TestRoundTrip(t *testing.T) {
	t.Parallel()
	for _, suite := range all {
		k := ring(t, generate(t, suite))
		for _, text := range [][]byte{nil, {0}, text, bytes.Repeat([]byte{0xa5}, seal.MaxText)} {
			for _, associated := range [][]byte{nil, associated, make([]byte, 100_000)} {
				sealed, err := k.Seal(t.Context(), text, associated)
				require.NoError(t, err)
				require.LessOrEqual(t, len(sealed), seal.MaxSealed)
				got, err := k.Open(t.Context(), sealed, associated)
				require.NoError(t, err)
				require.True(t, bytes.Equal(text, got))

				again, err := k.Seal(t.Context(), text, associated)
				require.NoError(t, err)
				require.NotEqual(t, sealed, again)
			}
		}
		_, err := k.Seal(t.Context(), make([]byte, seal.MaxText+1), nil)
		require.Same(t, seal.ErrTooLarge, err)
	}
}

// A code that has come is sealed even if its request is over.
func TestContextIsNotLookedAt(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	old, key := generate(t, seal.X25519), generate(t, seal.X25519)
	s, err := ring(t, old).Seal(ctx, text, associated)
	require.NoError(t, err)
	s, changed, err := ringFor(t, publics(key), old).Rewrap(ctx, s, associated)
	require.NoError(t, err)
	require.True(t, changed)
	got, err := ring(t, key).Open(ctx, s, associated)
	require.NoError(t, err)
	require.Equal(t, text, got)
}

func TestRecipients(t *testing.T) {
	t.Parallel()
	var keys []seal.PrivateKey
	for i := range seal.MaxRecipients {
		keys = append(keys, generate(t, all[i%len(all)]))
	}
	s := sealed(t, ringFor(t, publics(keys...)))
	for _, key := range keys {
		requireOpens(t, ring(t, key), s)
	}
	requireRefused(t, seal.ErrNoKey, ring(t, generate(t, seal.X25519)), s, associated)
	requireRefused(t, seal.ErrNoKey, ringFor(t, publics(keys...)), s, associated)

	got, err := seal.Recipients(s)
	require.NoError(t, err)
	require.Equal(t, ids(keys...), got)
	_, err = seal.Recipients(s[:20])
	require.Same(t, seal.ErrDamaged, err)

	// An old key that is no recipient any more opens what was sealed to it.
	requireOpens(t, ringFor(t, publics(generate(t, seal.P256)), keys[3], keys[4], keys[3]), s)
}

func TestLargest(t *testing.T) {
	t.Parallel()
	var keys []seal.PrivateKey
	for range seal.MaxRecipients {
		keys = append(keys, generate(t, seal.MLKEM768X25519))
	}
	large := bytes.Repeat([]byte{1}, seal.MaxText)
	s, err := ring(t, keys...).Seal(t.Context(), large, nil)
	require.NoError(t, err)
	require.LessOrEqual(t, len(s), seal.MaxSealed)
	got, err := ring(t, keys[15]).Open(t.Context(), s, nil)
	require.NoError(t, err)
	require.Equal(t, large, got)
}

func TestNewKeyringRefuses(t *testing.T) {
	t.Parallel()
	key := generate(t, seal.X25519).Public()
	var many []seal.PublicKey
	for range seal.MaxRecipients + 1 {
		many = append(many, generate(t, seal.X25519).Public())
	}
	_, err := seal.NewKeyring(many[:seal.MaxRecipients])
	require.NoError(t, err)
	for want, recipients := range map[string][]seal.PublicKey{
		"seal: want 1 to 16 recipients, got 0":  nil,
		"seal: want 1 to 16 recipients, got 17": many,
		"seal: recipient 3 is given twice":      {key, many[0], key},
		"seal: no key in recipient 2":           {key, {}},
	} {
		k, err := seal.NewKeyring(recipients)
		require.Nil(t, k)
		require.EqualError(t, err, want)
	}
}

func TestZeroKeyring(t *testing.T) {
	t.Parallel()
	var zero seal.Keyring
	_, err := zero.Seal(t.Context(), text, nil)
	require.EqualError(t, err, "seal: keyring without recipients")
	s := sealed(t, ring(t, generate(t, seal.X25519)))
	requireRefused(t, seal.ErrNoKey, &zero, s, associated)
	_, _, err = zero.Rewrap(t.Context(), s, associated)
	require.Same(t, seal.ErrNoKey, err)
}

func TestKeyringKeepsItsOwnRecipients(t *testing.T) {
	t.Parallel()
	key, other := generate(t, seal.X25519), generate(t, seal.X25519)
	recipients := publics(key)
	private := []seal.PrivateKey{key}
	k := ringFor(t, recipients, private...)
	recipients[0], private[0] = other.Public(), other
	requireOpens(t, k, sealed(t, k))
	requireOpens(t, ring(t, key), sealed(t, k))
}

func TestAssociatedDataBinds(t *testing.T) {
	t.Parallel()
	for _, suite := range all {
		key := generate(t, suite)
		k := ring(t, key)
		s := sealed(t, k)
		for _, other := range [][]byte{nil, {}, associated[1:], associated[:len(associated)-1], append(bytes.Clone(associated), 0), []byte("record 2")} {
			requireRefused(t, seal.ErrDamaged, k, s, other)
			out, changed, err := ringFor(t, publics(generate(t, suite)), key).Rewrap(t.Context(), s, other)
			require.Same(t, seal.ErrDamaged, err)
			require.Nil(t, out)
			require.False(t, changed)
		}
	}
}

// refusals are all that Open can say.
var refusals = []error{seal.ErrNoKey, seal.ErrDamaged, seal.ErrVersion}

func TestEveryFlippedBit(t *testing.T) {
	t.Parallel()
	for _, suite := range all {
		t.Run(string(suite), func(t *testing.T) {
			t.Parallel()
			key := generate(t, suite)
			k, rotated := ring(t, key), ringFor(t, publics(generate(t, suite)), key)
			s := sealed(t, k)
			step := 1
			if suite != seal.X25519 {
				step = 7
			}
			for bit := 0; bit < len(s)*8; bit += step {
				flipped := bytes.Clone(s)
				flipped[bit/8] ^= 1 << (bit % 8)
				got, err := k.Open(t.Context(), flipped, associated)
				if got != nil || !slices.Contains(refusals, err) {
					t.Fatalf("bit %d: %v", bit, err)
				}
				out, changed, rewrapErr := rotated.Rewrap(t.Context(), flipped, associated)
				if out != nil || changed || rewrapErr != err {
					t.Fatalf("bit %d: Rewrap says %v, Open %v", bit, rewrapErr, err)
				}
			}
		})
	}
}

func TestEveryFlippedBitOfTwoRecipients(t *testing.T) {
	t.Parallel()
	one, two := generate(t, seal.X25519), generate(t, seal.P256)
	s := sealed(t, ring(t, one, two))
	both := ring(t, one, two)
	for bit := range len(s) * 8 {
		flipped := bytes.Clone(s)
		flipped[bit/8] ^= 1 << (bit % 8)
		got, err := both.Open(t.Context(), flipped, associated)
		// What is damaged for one recipient may open for the other: to the same text.
		if err == nil && !bytes.Equal(got, text) || err != nil && !slices.Contains(refusals, err) {
			t.Fatalf("bit %d: %v", bit, err)
		}
	}
}

func TestEveryTruncation(t *testing.T) {
	t.Parallel()
	for _, suite := range all {
		key := generate(t, suite)
		k := ring(t, key)
		s := sealed(t, k)
		for n := range s {
			requireRefused(t, seal.ErrDamaged, k, s[:n], associated)
		}
		requireRefused(t, seal.ErrDamaged, k, append(bytes.Clone(s), 0), associated)
		// Whatever is taken for the length of a key may fit, of a key that nobody has.
		_, err := k.Open(t.Context(), append([]byte{1}, s...), associated)
		require.Contains(t, []error{seal.ErrDamaged, seal.ErrNoKey}, err)
		requireRefused(t, seal.ErrDamaged, k, slices.Concat(s, s), associated)
	}
}

// parts is sealed text taken apart by the documentation of the format.
type parts struct {
	version, count byte
	slots          [][]byte
	text           []byte
}

func split(tb testing.TB, s []byte) parts {
	tb.Helper()
	p := parts{version: s[0], count: s[1]}
	s = s[2:]
	for range p.count {
		n := 19 + int(binary.BigEndian.Uint16(s[17:]))
		p.slots, s = append(p.slots, s[:n:n]), s[n:]
	}
	p.text = s
	return p
}

func (p parts) join() []byte {
	return slices.Concat([]byte{p.version, p.count}, slices.Concat(p.slots...), p.text)
}

func slot(suite byte, id seal.KeyID, key []byte) []byte {
	return slices.Concat([]byte{suite}, id[:], binary.BigEndian.AppendUint16(nil, uint16(len(key))), key)
}

// Open does what the documentation of the format says, and so does this test without it.
func TestFormat(t *testing.T) {
	t.Parallel()
	for i, suite := range all {
		key := testKey(t, suite)
		id := key.Public().ID()
		private, err := kems[suite].NewPrivateKey([]byte(testRaw))
		require.NoError(t, err)

		p := split(t, sealed(t, ring(t, key)))
		require.Equal(t, byte(1), p.version)
		require.Equal(t, byte(i+1), p.slots[0][0])
		require.Equal(t, id[:], p.slots[0][1:17])
		info := append([]byte("activationlock-escrow-v1 data key\x00"), id[:]...)
		dataKey, err := hpke.Open(private, hpke.HKDFSHA256(), hpke.AES256GCM(), info, p.slots[0][19:])
		require.NoError(t, err)
		require.Len(t, dataKey, 32)
		block, err := aes.NewCipher(dataKey)
		require.NoError(t, err)
		gcm, err := cipher.NewGCM(block)
		require.NoError(t, err)
		data := append([]byte("activationlock-escrow-v1 text\x00"), associated...)
		got, err := gcm.Open(nil, p.text[:12], p.text[12:], data)
		require.NoError(t, err)
		require.Equal(t, text, got)

		// And the other way round, with any nonce and any other recipients.
		nonce := make([]byte, 12)
		wrapped, err := hpke.Seal(private.PublicKey(), hpke.HKDFSHA256(), hpke.AES256GCM(), info, dataKey)
		require.NoError(t, err)
		p = parts{version: 1, count: 2, text: gcm.Seal(nonce, nonce, text, data)}
		p.slots = [][]byte{slot(99, seal.KeyID{1}, []byte("of a suite to come")), slot(byte(i+1), id, wrapped)}
		requireOpens(t, ring(t, key), p.join())
	}
}

func TestStructure(t *testing.T) {
	t.Parallel()
	one, two := generate(t, seal.X25519), generate(t, seal.X25519)
	k := ring(t, one, two)
	good := split(t, sealed(t, k))
	requireOpens(t, k, good.join())
	edit := func(change func(*parts)) []byte {
		p := good
		p.slots = slices.Clone(p.slots)
		change(&p)
		return p.join()
	}
	filler := func(n int) (slots [][]byte) {
		for i := range n {
			slots = append(slots, slot(200, seal.KeyID{byte(i)}, nil))
		}
		return slots
	}
	id := one.Public().ID()

	for name, test := range map[string]struct {
		sealed []byte
		want   error
	}{
		"nothing":               {nil, seal.ErrDamaged},
		"version only":          {[]byte{1}, seal.ErrDamaged},
		"no recipient":          {edit(func(p *parts) { p.count, p.slots = 0, nil }), seal.ErrDamaged},
		"version 0":             {edit(func(p *parts) { p.version = 0 }), seal.ErrVersion},
		"version 2":             {edit(func(p *parts) { p.version = 2 }), seal.ErrVersion},
		"count too small":       {edit(func(p *parts) { p.count-- }), seal.ErrDamaged},
		"count too large":       {edit(func(p *parts) { p.count++ }), seal.ErrDamaged},
		"recipient twice":       {edit(func(p *parts) { p.slots[1] = p.slots[0] }), seal.ErrDamaged},
		"ID in two suites":      {edit(func(p *parts) { p.slots[1] = slot(2, id, nil) }), seal.ErrDamaged},
		"16 recipients":         {edit(func(p *parts) { p.count, p.slots = 16, append(p.slots, filler(14)...) }), nil},
		"17 recipients":         {edit(func(p *parts) { p.count, p.slots = 17, append(p.slots, filler(15)...) }), seal.ErrDamaged},
		"recipients exchanged":  {edit(func(p *parts) { p.slots[0], p.slots[1] = p.slots[1], p.slots[0] }), nil},
		"recipient removed":     {edit(func(p *parts) { p.count, p.slots = 1, p.slots[1:] }), nil},
		"no data key":           {edit(func(p *parts) { p.count, p.slots = 1, [][]byte{slot(1, id, nil)} }), seal.ErrDamaged},
		"data key of the other": {edit(func(p *parts) { p.count, p.slots = 1, [][]byte{slot(1, id, p.slots[1][19:])} }), seal.ErrDamaged},
		"first damaged":         {edit(func(p *parts) { p.slots[0] = slot(1, id, make([]byte, 80)) }), nil},
		"both damaged": {edit(func(p *parts) {
			p.slots = [][]byte{slot(1, id, make([]byte, 80)), slot(1, two.Public().ID(), make([]byte, 80))}
		}), seal.ErrDamaged},
		"another suite":     {edit(func(p *parts) { p.count, p.slots = 1, [][]byte{slot(2, id, p.slots[0][19:])} }), seal.ErrNoKey},
		"unknown suite":     {edit(func(p *parts) { p.count, p.slots = 1, [][]byte{slot(99, id, p.slots[0][19:])} }), seal.ErrNoKey},
		"strangers only":    {edit(func(p *parts) { p.slots = filler(2) }), seal.ErrNoKey},
		"no text":           {edit(func(p *parts) { p.text = nil }), seal.ErrDamaged},
		"tag too short":     {edit(func(p *parts) { p.text = p.text[:27] }), seal.ErrDamaged},
		"text too large":    {edit(func(p *parts) { p.slots, p.text = filler(2), make([]byte, 28+seal.MaxText+1) }), seal.ErrDamaged},
		"largest of texts":  {edit(func(p *parts) { p.slots, p.text = filler(2), make([]byte, 28+seal.MaxText) }), seal.ErrNoKey},
		"data key of a row": {edit(func(p *parts) { p.text = split(t, sealed(t, k)).text }), seal.ErrDamaged},
		"larger than may be": {edit(func(p *parts) {
			p.slots[0] = slot(1, id, make([]byte, seal.MaxSealed-len(p.slots[1])-len(p.text)-20))
		}), seal.ErrDamaged},
		"as large as may be": {edit(func(p *parts) {
			p.slots[0] = slot(1, id, make([]byte, seal.MaxSealed-len(p.slots[1])-len(p.text)-21))
		}), nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if test.want == nil {
				requireOpens(t, k, test.sealed)
			} else {
				requireRefused(t, test.want, k, test.sealed, associated)
			}
		})
	}
	// What does not have the form is damaged also where nothing is opened.
	for _, room := range []int{0, 27} {
		cut := edit(func(p *parts) { p.text = p.text[:room] })
		_, err := seal.Recipients(cut)
		require.Same(t, seal.ErrDamaged, err)
		_, _, err = k.Rewrap(t.Context(), cut, associated)
		require.Same(t, seal.ErrDamaged, err)
	}
	large := edit(func(p *parts) {
		p.slots[0] = slot(1, id, make([]byte, seal.MaxSealed-len(p.slots[1])-len(p.text)-21))
	})
	require.Len(t, large, seal.MaxSealed)
}

// A data key that is not 32 bytes is damage, not another cipher.
func TestShortDataKey(t *testing.T) {
	t.Parallel()
	key := testKey(t, seal.X25519)
	id := key.Public().ID()
	public, err := kems[seal.X25519].NewPublicKey(testPublic(t, seal.X25519))
	require.NoError(t, err)
	for _, size := range []int{0, 16, 24, 31, 33} {
		dataKey := make([]byte, size)
		info := append([]byte("activationlock-escrow-v1 data key\x00"), id[:]...)
		wrapped, err := hpke.Seal(public, hpke.HKDFSHA256(), hpke.AES256GCM(), info, dataKey)
		require.NoError(t, err)
		p := parts{version: 1, count: 1, slots: [][]byte{slot(1, id, wrapped)}, text: make([]byte, 28)}
		if block, err := aes.NewCipher(dataKey); err == nil {
			gcm, err := cipher.NewGCM(block)
			require.NoError(t, err)
			p.text = gcm.Seal(make([]byte, 12), make([]byte, 12), text, append([]byte("activationlock-escrow-v1 text\x00"), associated...))
		}
		requireRefused(t, seal.ErrDamaged, ring(t, key), p.join(), associated)
	}
}

func TestRewrap(t *testing.T) {
	t.Parallel()
	old, kept, fresh := generate(t, seal.X25519), generate(t, seal.P256), generate(t, seal.MLKEM768X25519)
	s := sealed(t, ring(t, old, kept))
	rotated := ringFor(t, publics(kept, fresh), old)

	out, changed, err := rotated.Rewrap(t.Context(), s, associated)
	require.NoError(t, err)
	require.True(t, changed)
	got, err := seal.Recipients(out)
	require.NoError(t, err)
	require.Equal(t, ids(kept, fresh), got)
	requireOpens(t, ring(t, kept), out)
	requireOpens(t, ring(t, fresh), out)
	requireRefused(t, seal.ErrNoKey, ring(t, old), out, associated)
	require.Equal(t, split(t, s).text, split(t, out).text, "the text stays as it is sealed")
	require.NotEqual(t, split(t, s).slots[1], split(t, out).slots[0], "every data key is wrapped anew")

	// Again: nothing to do, whatever the order, and without any private key.
	for _, recipients := range [][]seal.PublicKey{publics(kept, fresh), publics(fresh, kept)} {
		again, changed, err := ringFor(t, recipients).Rewrap(t.Context(), out, associated)
		require.NoError(t, err)
		require.False(t, changed)
		require.Equal(t, out, again)
		again[0] ^= 1
		requireOpens(t, ring(t, fresh), out)
	}

	// A recipient more, fewer, or another one is a change.
	for _, keys := range [][]seal.PrivateKey{{kept}, {fresh}, {kept, fresh, old}, {kept, old}} {
		again, changed, err := ringFor(t, publics(keys...), fresh).Rewrap(t.Context(), out, associated)
		require.NoError(t, err)
		require.True(t, changed)
		for _, key := range keys {
			requireOpens(t, ring(t, key), again)
		}
	}

	for name, bad := range map[string][]byte{"nothing": nil, "text": []byte("hello"), "cut": out[:len(out)/2]} {
		for _, k := range []*seal.Keyring{rotated, ring(t, kept, fresh)} {
			again, changed, err := k.Rewrap(t.Context(), bad, associated)
			require.Error(t, err, name)
			require.Nil(t, again)
			require.False(t, changed)
		}
	}
	_, _, err = ringFor(t, publics(kept)).Rewrap(t.Context(), out, associated)
	require.Same(t, seal.ErrNoKey, err)
}

// The ID alone does not name a key.
func TestRewrapLooksAtSuites(t *testing.T) {
	t.Parallel()
	key := generate(t, seal.X25519)
	k := ring(t, key)
	p := split(t, sealed(t, k))
	p.slots[0][0] = 2
	_, _, err := k.Rewrap(t.Context(), p.join(), associated)
	require.Same(t, seal.ErrNoKey, err)
}

func TestArgumentsAndResultsAreApart(t *testing.T) {
	t.Parallel()
	key, next := generate(t, seal.X25519), generate(t, seal.X25519)
	k, rotated := ring(t, key), ringFor(t, publics(next), key)
	// Slices with room behind them, which append would write into.
	room := func(b []byte) []byte { return append(b, bytes.Repeat([]byte{0xee}, 4096)...)[:len(b)] }
	whole := func(b []byte) []byte { return bytes.Clone(b[:cap(b)]) }
	text, associated := room(bytes.Clone(text)), room(bytes.Clone(associated))
	textBefore, associatedBefore := whole(text), whole(associated)

	s, err := k.Seal(t.Context(), text, associated)
	require.NoError(t, err)
	s = room(s)
	before := whole(s)

	opened, err := k.Open(t.Context(), s, associated)
	require.NoError(t, err)
	out, changed, err := rotated.Rewrap(t.Context(), s, associated)
	require.NoError(t, err)
	require.True(t, changed)
	same, changed, err := k.Rewrap(t.Context(), s, associated)
	require.NoError(t, err)
	require.False(t, changed)
	seen, err := seal.Recipients(s)
	require.NoError(t, err)

	require.Equal(t, textBefore, whole(text))
	require.Equal(t, associatedBefore, whole(associated))
	require.Equal(t, before, whole(s))

	kept := slices.Clone(out)
	for _, b := range [][]byte{opened[:cap(opened)], same[:cap(same)], seen[0][:]} {
		clear(b)
	}
	require.Equal(t, before, whole(s))
	clear(s[:cap(s)])
	require.Equal(t, kept, out)
	requireOpens(t, ring(t, next), out)
}

func TestManyGoroutines(t *testing.T) {
	t.Parallel()
	var keys []seal.PrivateKey
	for _, suite := range all {
		keys = append(keys, generate(t, suite))
	}
	k := ring(t, keys...)
	rotated := ringFor(t, publics(keys[1]), keys...)
	shared := sealed(t, k)
	var workers sync.WaitGroup
	for range 8 {
		workers.Go(func() {
			for range 5 {
				s, err := k.Seal(t.Context(), text, associated)
				if err != nil {
					t.Error(err)
					return
				}
				for _, s := range [][]byte{s, shared} {
					if got, err := k.Open(t.Context(), s, associated); err != nil || !bytes.Equal(got, text) {
						t.Error(err)
					}
					if _, changed, err := rotated.Rewrap(t.Context(), s, associated); err != nil || !changed {
						t.Error(err)
					}
				}
			}
		})
	}
	workers.Wait()
}

func FuzzOpen(f *testing.F) {
	var keys []seal.PrivateKey
	for _, suite := range all {
		keys = append(keys, testKey(f, suite))
		f.Add(sealed(f, ring(f, testKey(f, suite))))
	}
	f.Add(sealed(f, ring(f, keys...)))
	f.Add([]byte{1, 1, 1})
	k := ring(f, keys...)
	rotated := ringFor(f, publics(keys[1]), keys...)
	f.Fuzz(func(t *testing.T, s []byte) {
		before := bytes.Clone(s)
		got, err := k.Open(t.Context(), s, associated)
		out, changed, rewrapErr := rotated.Rewrap(t.Context(), s, associated)
		seen, seenErr := seal.Recipients(s)
		if !bytes.Equal(before, s) {
			t.Fatal("input was changed")
		}
		if seenErr == nil && (len(seen) == 0 || len(seen) > seal.MaxRecipients) {
			t.Fatalf("%d recipients", len(seen))
		}
		if err != nil {
			if got != nil || !slices.Contains(refusals, err) {
				t.Fatalf("text %v, error %v", got != nil, err)
			}
			if changed {
				t.Fatal("rewrapped what does not open")
			}
			return
		}
		// Nobody but the seeds' maker can make others, unless with the published keys.
		if !bytes.Equal(got, text) {
			t.Fatal("another text")
		}
		if seenErr != nil || rewrapErr != nil {
			t.Fatal(seenErr, rewrapErr)
		}
		if again, err := k.Open(t.Context(), out, associated); err != nil || !bytes.Equal(again, text) {
			t.Fatal(err)
		}
	})
}
