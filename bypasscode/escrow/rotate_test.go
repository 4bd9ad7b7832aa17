package escrow_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/activationlock/sdk/activationlock/memstore"
	"github.com/activationlock/sdk/bypasscode/escrow"
	"github.com/activationlock/sdk/bypasscode/seal"
	"github.com/activationlock/sdk/internal/cms"
)

// exchange is a store whose codes are sealed to an old key, and the two keys.
type exchange struct {
	store        escrow.Store
	before, next seal.PrivateKey
	texts        map[string]string // by record ID
}

func newExchange(t *testing.T, n int) exchange {
	t.Helper()
	x := exchange{memstore.New().Escrow(), newKey(t), newKey(t), map[string]string{}}
	e := onServer(t, x.store, x.before)
	for i := range n {
		text := numbered(i)
		if i%3 == 2 {
			text = fmt.Sprint("no code ", i)
		}
		x.texts[capture(t, e, from(fmt.Sprint("enrollment ", i/100), asked(text, fmt.Sprint(i), i+1))).ID] = text
	}
	return x
}

// rotator is who exchanges keys: with the new public key, and both private ones.
func (x exchange) rotator(t *testing.T, store escrow.Store) *escrow.Escrow {
	t.Helper()
	return onDesk(t, store, x.next, x.before)
}

// requireDone wants everything to open with the new key, and with no other.
func (x exchange) requireDone(t *testing.T) {
	t.Helper()
	now, before := onDesk(t, x.store, x.next), onDesk(t, x.store, x.before)
	found := records(t, now, bySerial)
	require.Len(t, found, len(x.texts))
	for _, r := range found {
		require.Equal(t, x.texts[r.ID], reveal(t, now, bySerial, r.ID))
		_, err := before.Reveal(t.Context(), wish(bySerial, r.ID))
		require.ErrorIs(t, err, seal.ErrNoKey)
	}
}

// requireNothingLost wants everything to open with one of the keys.
func (x exchange) requireNothingLost(t *testing.T) {
	t.Helper()
	e := x.rotator(t, x.store)
	require.Len(t, scan(t, x.store), len(x.texts))
	for id, text := range x.texts {
		require.Equal(t, text, reveal(t, e, bySerial, id))
	}
}

func (x exchange) rotate(t *testing.T) escrow.Rotation {
	t.Helper()
	done, err := x.rotator(t, x.store).Rotate(t.Context(), act, "", nil)
	require.NoError(t, err)
	return done
}

func TestRotate(t *testing.T) {
	t.Parallel()
	const n = 20
	x := newExchange(t, n)
	before := scan(t, x.store)
	var steps []escrow.Rotation
	done, err := x.rotator(t, x.store).Rotate(t.Context(), act, "", func(r escrow.Rotation) { steps = append(steps, r) })
	require.NoError(t, err)
	require.Len(t, steps, n)
	for i, step := range steps {
		require.Equal(t, escrow.Rotation{Record: before[i].Record, Seen: i + 1, Rewrapped: i + 1}, step)
	}
	require.Equal(t, steps[n-1], done)
	x.requireDone(t)
	after := scan(t, x.store)
	for i := range before {
		require.NotEqual(t, before[i].Sealed, after[i].Sealed)
		before[i].Sealed = after[i].Sealed
	}
	require.Equal(t, before, after, "nothing else changes")

	// Again: nothing to do, so nothing is written.
	writes := 0
	again, err := x.rotator(t, hooked{Store: x.store, before: func(method string) error {
		if method == "update" {
			writes++
		}
		return nil
	}}).Rotate(t.Context(), act, "", nil)
	require.NoError(t, err)
	require.Equal(t, escrow.Rotation{Record: after[n-1].Record, Seen: n}, again)
	require.Zero(t, writes)
	require.Equal(t, after, scan(t, x.store))

	// Of nothing.
	done, err = x.rotator(t, memstore.New().Escrow()).Rotate(t.Context(), act, "", nil)
	require.NoError(t, err)
	require.Zero(t, done)
}

// eager is a Sealer that exchanges keys where there are none.
type eager struct{ clear }

func (eager) Rewrap(_ context.Context, sealed, _ []byte) ([]byte, bool, error) {
	return sealed, true, nil
}

func TestRotateAcrossPages(t *testing.T) {
	t.Parallel()
	const n = 300
	store := memstore.New().Escrow()
	e, err := escrow.New(escrow.Config{Audit: newAudit(), Store: store, Sealer: eager{}})
	require.NoError(t, err)
	for i := range n {
		capture(t, e, of(escrow.Subject{SerialNumber: fmt.Sprint("serial ", i)}, asked(code, "1", 1)))
	}
	var seen []string
	done, err := e.Rotate(t.Context(), act, "", func(r escrow.Rotation) { seen = append(seen, r.Record.ID) })
	require.NoError(t, err)
	require.Equal(t, []int{n, n}, []int{done.Seen, done.Rewrapped})
	for i, entry := range scan(t, store) {
		require.Equal(t, entry.ID, seen[i])
	}
}

func TestRotateFromTheMiddle(t *testing.T) {
	t.Parallel()
	x := newExchange(t, 7)
	all := scan(t, x.store)
	done, err := x.rotator(t, x.store).Rotate(t.Context(), act, all[3].ID, nil)
	require.NoError(t, err)
	require.Equal(t, escrow.Rotation{Record: all[6].Record, Seen: 3, Rewrapped: 3}, done)
	require.Equal(t, all[:4], scan(t, x.store)[:4])
	require.Equal(t, 4, x.rotate(t).Rewrapped)
	x.requireDone(t)
}

// Stopped after any record, or before any call to the store, nothing is lost and
// the rerun finishes.
func TestRotateStopped(t *testing.T) {
	t.Parallel()
	const n = 6
	for stop := range n {
		x := newExchange(t, n)
		ctx, cancel := context.WithCancel(t.Context())
		done, err := x.rotator(t, x.store).Rotate(ctx, act, "", func(r escrow.Rotation) {
			if r.Seen == stop+1 {
				cancel()
			}
		})
		cancel()
		require.Equal(t, stop+1, done.Rewrapped)
		require.Equal(t, done.Seen, done.Rewrapped)
		require.Zero(t, done.Failed)
		if stop < n-1 {
			require.ErrorIs(t, err, context.Canceled)
			require.EqualError(t, err, "escrow: rotate: context canceled")
		} else {
			require.NoError(t, err)
		}
		x.requireNothingLost(t)
		rest, err := x.rotator(t, x.store).Rotate(t.Context(), act, done.Record.ID, nil)
		require.NoError(t, err)
		require.Equal(t, n-stop-1, rest.Rewrapped)
		x.requireDone(t)
	}
	for step := 1; ; step++ {
		x := newExchange(t, n)
		ctx, cancel := context.WithCancel(t.Context())
		calls := 0
		stop := func(string) error {
			if calls++; calls == step {
				cancel()
			}
			return nil
		}
		done, err := x.rotator(t, hooked{Store: x.store, before: stop}).Rotate(ctx, act, "", nil)
		cancel()
		if calls < step {
			require.NoError(t, err)
			require.Equal(t, n+1, calls)
			break
		}
		require.ErrorIs(t, err, context.Canceled)
		require.Zero(t, done.Failed, "what was stopped did not fail")
		require.Equal(t, done.Seen, done.Rewrapped)
		x.requireNothingLost(t)
		x.rotate(t)
		x.requireDone(t)
	}
}

func TestRotateWithAStoreThatFails(t *testing.T) {
	t.Parallel()
	const n = 5
	for _, afterwards := range []bool{false, true} {
		for step := 1; ; step++ {
			x := newExchange(t, n)
			calls := 0
			fail := func(string) error {
				if calls++; calls == step {
					return errDown
				}
				return nil
			}
			store := hooked{Store: x.store, before: fail}
			if afterwards {
				store = hooked{Store: x.store, after: fail}
			}
			var failed []error
			done, err := x.rotator(t, store).Rotate(t.Context(), act, "", func(r escrow.Rotation) {
				if r.Err != nil {
					failed = append(failed, r.Err)
				}
			})
			if calls < step {
				require.NoError(t, err)
				require.Equal(t, n, done.Rewrapped)
				break
			}
			if step == 1 { // the scan
				require.EqualError(t, err, "escrow: rotate: the store is down")
				require.Zero(t, done)
			} else {
				require.NoError(t, err)
				require.Equal(t, []error{errDown}, failed)
				require.Equal(t, []int{n, n - 1, 1}, []int{done.Seen, done.Rewrapped, done.Failed})
			}
			x.requireNothingLost(t)
			again := x.rotate(t)
			require.Zero(t, again.Failed)
			x.requireDone(t)
		}
	}
}

// What others do meanwhile stays.
func TestRotateAndOthers(t *testing.T) {
	t.Parallel()
	t.Run("a capture", func(t *testing.T) {
		t.Parallel()
		x := newExchange(t, 1)
		others := onServer(t, x.store, x.before)
		last := numbered(0)
		hours := 10
		store := hooked{Store: x.store, before: func(method string) error {
			if method == "update" {
				hours++
				capture(t, others, asked(last, fmt.Sprint("again ", hours), hours))
			}
			return nil
		}}
		_, err := x.rotator(t, store).Rotate(t.Context(), act, "", nil)
		require.NoError(t, err)
		r := records(t, others, bySerial)[0]
		require.Equal(t, at(hours), r.LastSeen)
		require.Equal(t, escrow.Current, r.State)
		x.requireDone(t)
	})
	t.Run("another rotation", func(t *testing.T) {
		t.Parallel()
		x := newExchange(t, 3)
		var others []escrow.Entry
		store := hooked{Store: x.store, before: func(method string) error {
			if method == "update" && others == nil {
				x.rotate(t)
				others = scan(t, x.store)
			}
			return nil
		}}
		_, err := x.rotator(t, store).Rotate(t.Context(), act, "", nil)
		require.NoError(t, err)
		require.Equal(t, others[0], scan(t, x.store)[0], "who was faster wins")
		x.requireDone(t)
	})
	t.Run("another's recovery copy", func(t *testing.T) {
		t.Parallel()
		x := newExchange(t, 1)
		store := hooked{Store: x.store, before: func(method string) error {
			if method == "update" {
				entry := scan(t, x.store)[0]
				entry.RecoveryCopy = []byte("new")
				write(t, x.store, entry)
			}
			return nil
		}}
		_, err := x.rotator(t, store).Rotate(t.Context(), act, "", nil)
		require.NoError(t, err)
		require.Equal(t, "new", string(scan(t, x.store)[0].RecoveryCopy))
		x.requireDone(t)
	})
	t.Run("a purge", func(t *testing.T) {
		t.Parallel()
		x := newExchange(t, 3)
		others := onServer(t, x.store, x.before)
		store := hooked{Store: x.store, before: func(method string) error {
			if method == "update" {
				remove(t, others, bySerial, 5)
				require.NoError(t, others.Purge(t.Context(), bySerial, sold))
			}
			return nil
		}}
		_, err := x.rotator(t, store).Rotate(t.Context(), act, "", nil)
		require.NoError(t, err)
		for _, entry := range scan(t, x.store) {
			require.Equal(t, escrow.Purged, entry.State)
			require.Empty(t, entry.Sealed)
			require.Empty(t, entry.RecoveryCopy)
		}
		require.Equal(t, 0, x.rotate(t).Failed, "what is purged is passed over")
	})
}

func TestRotateLeavesWhatFails(t *testing.T) {
	t.Parallel()
	x := newExchange(t, 5)
	all := scan(t, x.store)
	all[1].Sealed[len(all[1].Sealed)-1] ^= 1
	all[3].Sealed = nil
	write(t, x.store, all[1], all[3])
	lost := capture(t, onServer(t, x.store, newKey(t)), of(byAnother, asked(code, "x", 9)))
	bad := map[string]error{all[1].ID: seal.ErrDamaged, all[3].ID: seal.ErrDamaged, lost.ID: seal.ErrNoKey}
	before := scan(t, x.store)
	seen := 0
	done, err := x.rotator(t, x.store).Rotate(t.Context(), act, "", func(r escrow.Rotation) {
		require.Equal(t, bad[r.Record.ID], r.Err)
		seen++
	})
	require.NoError(t, err)
	require.Equal(t, []int{6, 3, 3, 0}, []int{done.Seen, done.Rewrapped, done.Failed, done.Copied})
	require.Equal(t, 6, seen)
	e := onDesk(t, x.store, x.next)
	for i, entry := range scan(t, x.store) {
		if bad[entry.ID] != nil {
			require.Equal(t, before[i], entry)
			continue
		}
		require.Equal(t, x.texts[entry.ID], reveal(t, e, bySerial, entry.ID))
	}
}

func TestRotateRecoveryCopies(t *testing.T) {
	t.Parallel()
	key := newKey(t)
	store := memstore.New().Escrow()
	none := onDesk(t, store, key)
	r := capture(t, none, asked(code, "1", 1))
	second := capture(t, withKey(t, store, key, "b"), asked("no code", "2", 2))
	rotate := func(e *escrow.Escrow, want escrow.Rotation) {
		t.Helper()
		done, err := e.Rotate(t.Context(), act, "", nil)
		require.NoError(t, err)
		done.Record = escrow.Record{}
		require.Equal(t, want, done)
	}
	failed, err := withKey(t, hooked{Store: store, after: func(method string) error {
		if method == "update" {
			return errDown
		}
		return nil
	}}, key, "a", "b").Rotate(t.Context(), act, "", nil)
	require.NoError(t, err)
	require.Equal(t, []int{2, 2, 0}, []int{failed.Seen, failed.Failed, failed.Copied}, "nobody knows that they were")
	rotate(withKey(t, store, key, "a"), escrow.Rotation{Seen: 2, Copied: 2}) // added and replaced
	e := withKey(t, store, key, "a", "b")
	rotate(e, escrow.Rotation{Seen: 2, Copied: 2})
	requireCopy(t, e, r, code, "a", "b")
	requireCopy(t, e, second, "no code", "a", "b")
	before := scan(t, store)
	rotate(withKey(t, store, key, "b", "a"), escrow.Rotation{Seen: 2}) // equal in any order
	rotate(none, escrow.Rotation{Seen: 2})                             // nobody to make copies for
	require.Equal(t, before, scan(t, store))

	// A copy that is no copy is replaced.
	before[0].RecoveryCopy = []byte("x")
	write(t, store, before[0])
	rotate(e, escrow.Rotation{Seen: 2, Copied: 1})
	requireCopy(t, e, r, code, "a", "b")

	// The subject says whose it is where the row does not.
	before[0].RecoveryCopy, before[0].Device.SerialNumber = nil, ""
	write(t, store, before[0])
	rotate(e, escrow.Rotation{Seen: 2, Copied: 1})
	require.Equal(t, serial, openCopy(t, scan(t, store)[0].RecoveryCopy, "b").Device.SerialNumber)

	// A row that names another device gets none, nor is it sealed anew.
	moved := scan(t, store)[0]
	moved.Device.UDID, moved.RecoveryCopy = "other", nil
	write(t, store, moved)
	done, err := e.Rotate(t.Context(), act, "", func(r escrow.Rotation) {
		if r.Record.ID == moved.ID {
			require.Equal(t, escrow.ErrMoved, r.Err)
		}
	})
	require.NoError(t, err)
	require.Equal(t, []int{2, 1, 0}, []int{done.Seen, done.Failed, done.Copied})
	require.Equal(t, moved, scan(t, store)[0])
}

func withKey(t *testing.T, store escrow.Store, key seal.PrivateKey, names ...string) *escrow.Escrow {
	t.Helper()
	ring, err := seal.NewKeyring([]seal.PublicKey{key.Public()}, key)
	require.NoError(t, err)
	e, err := escrow.New(escrow.Config{Audit: newAudit(), Store: store, Sealer: ring, Recovery: certificates(names...)})
	require.NoError(t, err)
	return e
}

// Key and certificates are exchanged at once, by who has the old private key
// only.
func TestRotateWithTheOldKeyOnly(t *testing.T) {
	t.Parallel()
	x := newExchange(t, 3)
	ring, err := seal.NewKeyring([]seal.PublicKey{x.next.Public()}, x.before)
	require.NoError(t, err)
	e, err := escrow.New(escrow.Config{Audit: newAudit(), Store: x.store, Sealer: ring, Recovery: certificates("a")})
	require.NoError(t, err)
	done, err := e.Rotate(t.Context(), act, "", nil)
	require.NoError(t, err)
	require.Equal(t, []int{3, 3, 3, 0}, []int{done.Seen, done.Rewrapped, done.Copied, done.Failed})
	x.requireDone(t)
	for _, entry := range scan(t, x.store) {
		require.True(t, cms.EncryptedFor(entry.RecoveryCopy, certificates("a")))
		require.Equal(t, x.texts[entry.ID], openCopy(t, entry.RecoveryCopy, "a").Text.Reveal())
	}
}

// locked is a Sealer that can exchange keys and open nothing.
type locked struct{ clear }

func (locked) Rewrap(_ context.Context, sealed, _ []byte) ([]byte, bool, error) {
	return sealed, false, nil
}

func (locked) Open() {} // hides that of clear

func TestRotateNeeds(t *testing.T) {
	t.Parallel()
	done, err := newEscrow(t).Rotate(t.Context(), act, "", func(escrow.Rotation) { t.Error("nothing to see") })
	require.EqualError(t, err, "escrow: rotate: the Sealer cannot exchange keys")
	require.Zero(t, done)

	store := memstore.New().Escrow()
	capture(t, with(t, store), asked(code, "1", 1))
	e, err := escrow.New(escrow.Config{Audit: newAudit(), Store: store, Sealer: locked{}, Recovery: certificates("a")})
	require.NoError(t, err)
	done, err = e.Rotate(t.Context(), act, "", nil)
	require.NoError(t, err)
	require.Equal(t, 1, done.Failed)
	require.True(t, errors.Is(done.Err, escrow.ErrNoOpener))
}

// Everything at once, from many goroutines: no code is lost, and in the end all
// open with the new key.
func TestEverythingAtOnce(t *testing.T) {
	t.Parallel()
	x := newExchange(t, 8)
	given := make([]map[string]string, 8)
	var made escrow.Record
	var wait sync.WaitGroup
	for i := range given {
		given[i] = map[string]string{}
		e := x.rotator(t, x.store)
		wait.Go(func() {
			for n := range 4 {
				text := numbered(100 + 10*i + n)
				r, err := e.Capture(t.Context(), asked(text, fmt.Sprint("uuid ", i, n), i+n+1))
				assert.NoError(t, err)
				given[i][r.ID] = text
				_, err = e.Rotate(t.Context(), act, "", nil)
				assert.NoError(t, err)
				assert.NoError(t, e.MarkStale(t.Context(), bySerial, "erased", at(i+n)))
				assert.NoError(t, e.Delete(t.Context(), bySerial, at(i+n)))
				locked, err := e.LockCode(t.Context(), escrow.Lock{SerialNumber: serial, At: at(i)})
				assert.NoError(t, err)
				_, err = e.Mark(t.Context(), bySerial, locked.ID, escrow.Verdict{State: escrow.MaybeActive, Reason: "no answer", At: at(n)})
				assert.NoError(t, err)
				if i == 0 {
					made = locked
				}
			}
		})
	}
	wait.Wait()
	e := onDesk(t, x.store, x.next)
	x.texts[made.ID] = reveal(t, e, bySerial, made.ID)
	for _, texts := range given {
		maps.Copy(x.texts, texts)
	}
	x.rotate(t)
	x.requireDone(t)
}
