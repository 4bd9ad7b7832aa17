package audit_test

import (
	"bytes"
	"cmp"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/activationlock/sdk/bypasscode/audit"
)

var (
	errStore = errors.New("the store is down")
	start    = time.Date(2026, 3, 4, 5, 6, 7, 891234000, time.UTC)
)

// table is a store whose rows anybody can change. It returns them in the order
// in which they lie.
type table struct {
	mu         sync.Mutex
	rows       []audit.Entry
	failBefore bool // the next append fails before it writes
	failAfter  bool // the next append fails after it wrote
	failScan   bool
	retry      bool // next is called twice, the first time with another row
	pages      int  // rows that are returned at once, unless 0
	ignore     int  // the limit is passed by that many
	stuck      bool // after is passed over
	scans      int
	asked      []int // the limits
}

func (s *table) Append(ctx context.Context, next func(audit.Entry) ([]audit.Entry, error)) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return err
	}
	if s.failBefore {
		s.failBefore = false
		return errStore
	}
	if s.retry {
		if _, err := next(audit.Entry{Number: 77, Digest: audit.Digest{7}}); err != nil {
			return err
		}
	}
	var last audit.Entry
	if len(s.rows) > 0 {
		last = slices.MaxFunc(s.rows, func(a, b audit.Entry) int { return cmp.Compare(a.Number, b.Number) })
	}
	rows, err := next(last)
	if err != nil {
		return err
	}
	s.rows = append(s.rows, rows...)
	if s.failAfter {
		s.failAfter = false
		return errStore
	}
	return nil
}

func (s *table) Scan(ctx context.Context, after int64, limit int) ([]audit.Entry, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.scans++
	s.asked = append(s.asked, limit)
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if s.failScan {
		return nil, errStore
	}
	if s.pages > 0 {
		limit = min(limit, s.pages)
	}
	limit += s.ignore
	var rows []audit.Entry
	for _, row := range s.rows {
		if (row.Number > after || s.stuck) && len(rows) < limit {
			rows = append(rows, row)
		}
	}
	return rows, nil
}

func (s *table) copy() *table { return &table{rows: slices.Clone(s.rows)} }

func testKey(tb testing.TB, first byte) audit.Key {
	tb.Helper()
	key, err := audit.NewKey(keyBytes(first))
	require.NoError(tb, err)
	return key
}

// keyBytes is 32 bytes that count up.
func keyBytes(first byte) []byte {
	raw := make([]byte, audit.KeySize)
	for i := range raw {
		raw[i] = first + byte(i)
	}
	return raw
}

func newLog(tb testing.TB, s audit.Store, key audit.Key) *audit.Log {
	tb.Helper()
	log, err := audit.New(audit.Config{Store: s, Key: key})
	require.NoError(tb, err)
	return log
}

// event has all its fields.
func event(i int) audit.Event {
	acts := []audit.Act{audit.Revealed, audit.Refused, audit.UsedUnlock, audit.Exported, audit.Imported, audit.Purged, audit.Overridden, audit.Rotated}
	suffix := string(rune('a' + i%26))
	return audit.Event{
		Act: acts[i%len(acts)], At: start.Add(time.Duration(i) * time.Second), Actor: "anna-" + suffix, Reason: "she left-" + suffix,
		SerialNumber: "C02-" + suffix, EnrollmentID: "udid-" + suffix, RecordID: "record-" + suffix, Detail: "detail-" + suffix,
	}
}

// digestOf is the definition of a digest, written down once more.
func digestOf(key []byte, previous audit.Digest, number int64, e audit.Event) (d audit.Digest) {
	var b bytes.Buffer
	text := func(s string) {
		b.Write([]byte{byte(len(s) >> 8), byte(len(s))})
		b.WriteString(s)
	}
	text("activationlock audit entry 1")
	b.Write(previous[:])
	for _, n := range []int64{number, e.At.Unix()*1_000_000 + int64(e.At.Nanosecond())/1000} {
		if err := binary.Write(&b, binary.BigEndian, n); err != nil {
			panic(err)
		}
	}
	for _, s := range []string{string(e.Act), e.Actor, e.Reason, e.SerialNumber, e.EnrollmentID, e.RecordID, e.Detail} {
		text(s)
	}
	h := sha256.New()
	if key != nil {
		h = hmac.New(sha256.New, key)
	}
	h.Write(b.Bytes())
	copy(d[:], h.Sum(nil))
	return d
}

// anew makes the digests of the rows from an index on anew.
func anew(key []byte, rows []audit.Entry, from int) {
	for i := from; i < len(rows); i++ {
		var previous audit.Digest
		if i > 0 {
			previous = rows[i-1].Digest
		}
		rows[i].Digest = digestOf(key, previous, rows[i].Number, rows[i].Event)
	}
}

// headOf is the head after so many rows.
func headOf(rows []audit.Entry, n int) audit.Head {
	if n == 0 {
		return audit.Head{}
	}
	return audit.Head{Number: rows[n-1].Number, Digest: rows[n-1].Digest}
}

func requireBroken(tb testing.TB, err error, number int64, problem string) {
	tb.Helper()
	broken, ok := errors.AsType[*audit.BrokenError](err)
	require.True(tb, ok, "%v", err)
	require.Equal(tb, audit.BrokenError{Number: number, Problem: problem}, *broken)
}

const (
	missing    = "it is missing"
	cut        = "it is missing, and the head that was kept is of it or later"
	wrong      = "its digest is not that of what it says and of all before, or is of another key"
	otherHead  = "it is not the entry of the head that was kept"
	foreign    = "it holds what no log writes"
	disorder   = "it is there twice, or out of order"
	belowOne   = "the first entry has the number 1"
	noneFollow = "nothing can follow it"
)
