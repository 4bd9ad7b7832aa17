package storetest_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/activationlock/sdk/activationlock/memstore"
	"github.com/activationlock/sdk/bypasscode/audit"
)

type (
	rows = []audit.Entry
	next = func(last audit.Entry) (rows, error)
)

// auditStore is a store whose methods can be exchanged. It begins as one that
// keeps every promise.
type auditStore struct {
	append func(context.Context, next) error
	scan   func(ctx context.Context, after int64, limit int) (rows, error)
}

func (s *auditStore) Append(ctx context.Context, next func(audit.Entry) ([]audit.Entry, error)) error {
	return s.append(ctx, next)
}

func (s *auditStore) Scan(ctx context.Context, after int64, limit int) ([]audit.Entry, error) {
	return s.scan(ctx, after, limit)
}

// all returns every entry.
func (s *auditStore) all(ctx context.Context) (rows, error) {
	return s.scan(ctx, math.MinInt64, everything)
}

// nexts changes what next does.
func (s *auditStore) nexts(edit func(ctx context.Context, last audit.Entry, next next) (rows, error)) {
	append := s.append
	s.append = func(ctx context.Context, next next) error {
		return append(ctx, func(last audit.Entry) (rows, error) { return edit(ctx, last, next) })
	}
}

// writes changes what is written.
func (s *auditStore) writes(edit func(rows) rows) {
	s.nexts(func(_ context.Context, last audit.Entry, next next) (rows, error) {
		e, err := next(last)
		return edit(slices.Clone(e)), err
	})
}

// in changes each entry that is written.
func (s *auditStore) in(edit func(e *audit.Entry)) {
	s.writes(func(e rows) rows {
		for i := range e {
			edit(&e[i])
		}
		return e
	})
}

// out changes each entry that is read.
func (s *auditStore) out(edit func(e *audit.Entry)) {
	s.nexts(func(_ context.Context, last audit.Entry, next next) (rows, error) {
		if last.Number > 0 {
			edit(&last)
		}
		return next(last)
	})
	s.pages(func(_ int64, _ int, e rows) rows {
		for i := range e {
			edit(&e[i])
		}
		return e
	})
}

// pages changes the pages that are read.
func (s *auditStore) pages(edit func(after int64, limit int, page rows) rows) {
	scan := s.scan
	s.scan = func(ctx context.Context, after int64, limit int) (rows, error) {
		e, err := scan(ctx, after, limit)
		return edit(after, limit, e), err
	}
}

// asks changes what is asked of Scan.
func (s *auditStore) asks(edit func(after int64, limit int) (int64, int)) {
	scan := s.scan
	s.scan = func(ctx context.Context, after int64, limit int) (rows, error) {
		after, limit = edit(after, limit)
		return scan(ctx, after, limit)
	}
}

// unlocked appends in two steps, and fails where another was quicker, unless it
// numbers the entries anew. Two calls wait for each other between the steps.
func (s *auditStore) unlocked(anew bool) {
	write := s.append
	s.append = func(ctx context.Context, next next) error {
		var last audit.Entry
		if err := write(ctx, func(e audit.Entry) (rows, error) { last = e; return nil, nil }); err != nil {
			return err
		}
		e, err := next(last)
		if err != nil {
			return err
		}
		if len(e) == 1 { // so that both get the same number
			readers.wait()
		}
		return write(ctx, func(last audit.Entry) (rows, error) {
			if e = slices.Clone(e); anew {
				for i := range e {
					e[i].Number = last.Number + int64(i) + 1
				}
			}
			return e, nil
		})
	}
}

// brokenAudit is an audit's store that breaks one promise.
type brokenAudit struct {
	name    string
	at      string // the case that finds it
	promise string // what the failure says
	bend    func(*auditStore)
	apart   bool // each handle has a storage of its own
	used    bool // it is not empty
}

const (
	keepsEntry  = "an entry keeps every field"
	keepsText   = "strings are kept byte by byte"
	keepsDigest = "an entry keeps every byte of its digest"
	keepsTime   = "times are returned as they came: in UTC, in whole microseconds: At was"
	byNumber    = "entries are returned in the order of their numbers"
	scans       = "Scan returns the entries with a greater number than after, fewer than limit only if there are no more"
	noLimit     = "Scan with a limit below 1 returns no entries and no error"
	noOverlap   = "appends at the same time never overlap"
	allSucceed  = "appends at the same time all succeed"
	thereError  = "an entry whose number is there already gives an error"
	thereWrites = "an append with an entry whose number is there already writes nothing"
)

// brokenAudits break each promise in at least one way.
var brokenAudits = []brokenAudit{
	{name: "is not empty", at: "None", promise: "fresh makes an empty storage", bend: func(*auditStore) {}, used: true},
	{name: "finds none an error", at: "None", promise: "gives no error where nothing is wrong", bend: func(s *auditStore) {
		scan := s.scan
		s.scan = func(ctx context.Context, after int64, limit int) (rows, error) {
			e, err := scan(ctx, after, limit)
			if len(e) == 0 {
				err = cmp.Or(err, errBusy)
			}
			return e, err
		}
	}},
	{name: "does not call next on nothing", at: "None", promise: "Append calls next, also where there are no entries", bend: func(s *auditStore) {
		write := s.append
		s.append = func(ctx context.Context, next next) error {
			if e, err := s.all(ctx); err != nil || len(e) == 0 {
				return err
			}
			return write(ctx, next)
		}
	}},
	{name: "begins with an entry", at: "None", promise: "next is passed the zero Entry where there are none", bend: func(s *auditStore) {
		s.nexts(func(_ context.Context, last audit.Entry, next next) (rows, error) {
			if last.Number == 0 {
				last.At = time.Unix(0, 0).UTC()
			}
			return next(last)
		})
	}},
	{name: "finds nothing to append an error", at: "None", promise: "Append gives no error where nothing is wrong", bend: func(s *auditStore) {
		s.nexts(func(_ context.Context, last audit.Entry, next next) (rows, error) {
			e, err := next(last)
			if len(e) == 0 {
				err = cmp.Or(err, errBusy)
			}
			return e, err
		})
	}},

	{name: "forgets a field", at: "NewEntry", promise: keepsEntry + `: RecordID was`, bend: func(s *auditStore) {
		s.in(func(e *audit.Entry) { e.RecordID = "" })
	}},
	{name: "forgets the digest", at: "NewEntry", promise: keepsEntry + `: Digest was`, bend: func(s *auditStore) {
		s.in(func(e *audit.Entry) { e.Digest = audit.Digest{} })
	}},
	{name: "mixes two fields up", at: "NewEntry", promise: keepsEntry + `: SerialNumber was`, bend: func(s *auditStore) {
		s.in(func(e *audit.Entry) { e.SerialNumber, e.EnrollmentID = e.EnrollmentID, e.SerialNumber })
	}},
	{name: "fills an empty field", at: "NewEntry", promise: keepsEntry + `: Detail was "" and is "NULL"`, bend: func(s *auditStore) {
		s.in(func(e *audit.Entry) { e.Detail = cmp.Or(e.Detail, "NULL") })
	}},
	{name: "knows few acts", at: "NewEntry", promise: keepsEntry + `: Act was`, bend: func(s *auditStore) {
		s.in(func(e *audit.Entry) { e.Act = audit.Revealed })
	}},
	{name: "passes half of the last entry", at: "NewEntry", promise: keepsEntry + ": next is passed the entry with the greatest number: Reason was", bend: func(s *auditStore) {
		s.nexts(func(_ context.Context, last audit.Entry, next next) (rows, error) {
			last.Reason = ""
			return next(last)
		})
	}},
	{name: "passes the first entry", at: "NewEntry", promise: keepsEntry + ": next is passed the entry with the greatest number", bend: func(s *auditStore) {
		s.nexts(func(_ context.Context, last audit.Entry, next next) (rows, error) {
			if last.Number == 2 {
				last.Number = 1
			}
			return next(last)
		})
	}},
	{name: "trims the zeros of a digest", at: "Digests", promise: keepsDigest + ": Digest was", bend: func(s *auditStore) {
		s.in(func(e *audit.Entry) {
			if e.Digest[0] == 0 && e.Digest[31] == 1 {
				copy(e.Digest[:], e.Digest[16:])
			}
		})
	}},
	{name: "pads digests with spaces", at: "Digests", promise: keepsDigest + ": Digest was", bend: func(s *auditStore) {
		s.in(func(e *audit.Entry) {
			kept := strings.TrimRight(string(e.Digest[:]), " ")
			e.Digest = audit.Digest{}
			copy(e.Digest[:], kept)
		})
	}},
	{name: "keeps digests as text", at: "Digests", promise: keepsDigest + ": Digest was", bend: func(s *auditStore) {
		s.in(func(e *audit.Entry) { copy(e.Digest[:], strings.ToValidUTF8(string(e.Digest[:]), "?")) })
	}},

	{name: "cuts strings", at: "Limits", promise: "an entry keeps every field up to the limits: Reason was", bend: func(s *auditStore) {
		s.in(func(e *audit.Entry) { e.Reason = upTo(254)(e.Reason) })
	}},
	{name: "counts symbols", at: "Limits", promise: "an entry keeps every field up to the limits: EnrollmentID was", bend: func(s *auditStore) {
		s.in(func(e *audit.Entry) {
			symbols := []rune(e.EnrollmentID)
			e.EnrollmentID = string(symbols[:min(len(symbols), 191)])
		})
	}},
	{name: "has no room for many long strings", at: "Limits", promise: "Append gives no error where nothing is wrong", bend: func(s *auditStore) {
		s.nexts(func(_ context.Context, last audit.Entry, next next) (rows, error) {
			e, err := next(last)
			for _, e := range e {
				if len(e.Actor+e.Reason+e.SerialNumber+e.EnrollmentID+e.RecordID+e.Detail) > 1024 {
					return nil, errors.New("row size too large")
				}
			}
			return e, err
		})
	}},
	{name: "has three bytes for a symbol", at: "Strings", promise: keepsText + ": Detail was", bend: func(s *auditStore) {
		s.in(func(e *audit.Entry) { e.Detail = strings.ReplaceAll(e.Detail, "\U0001F513", "?") })
	}},
	{name: "trims strings", at: "Strings", promise: keepsText + ": Actor was", bend: func(s *auditStore) {
		s.in(func(e *audit.Entry) { e.Actor = cmp.Or(strings.TrimRight(e.Actor, " "), " ") })
	}},
	{name: "composes accents", at: "Strings", promise: keepsText + ": Reason was", bend: func(s *auditStore) {
		s.in(func(e *audit.Entry) { e.Reason = strings.ReplaceAll(e.Reason, "e\u0301", "\u00e9") })
	}},
	{name: "knows each act in one case", at: "Strings", promise: keepsText + ": Act was", bend: func(s *auditStore) {
		s.in(func(e *audit.Entry) { e.Act = audit.Act(strings.ToLower(string(e.Act))) })
	}},

	{name: "keeps numbers as floats", at: "Numbers", promise: "Append gives no error where nothing is wrong", bend: func(s *auditStore) {
		s.in(func(e *audit.Entry) { e.Number = int64(min(float64(e.Number), math.MaxInt64-1024)) })
	}},
	{name: "has 32 bits for a number", at: "Numbers", promise: "Append gives no error where nothing is wrong", bend: func(s *auditStore) {
		s.in(func(e *audit.Entry) { e.Number = int64(int32(e.Number)) })
	}},
	{name: "numbers entries itself", at: "Numbers", promise: byNumber, bend: func(s *auditStore) {
		n := int64(0)
		s.in(func(e *audit.Entry) { n++; e.Number = n })
	}},
	{name: "sorts numbers as text", at: "Numbers", promise: "Scan returns entries in the order of their numbers", bend: func(s *auditStore) {
		s.pages(func(_ int64, _ int, e rows) rows {
			slices.SortFunc(e, func(a, b audit.Entry) int { return cmp.Compare(fmt.Sprint(a.Number), fmt.Sprint(b.Number)) })
			return e
		})
	}},
	{name: "passes the entry that is greatest as text", at: "Numbers", promise: "next is passed the entry with the greatest number", bend: func(s *auditStore) {
		s.nexts(func(_ context.Context, last audit.Entry, next next) (rows, error) {
			if last.Number == 10 {
				last.Number = 9
			}
			return next(last)
		})
	}},

	{name: "keeps milliseconds", at: "Times", promise: keepsTime, bend: func(s *auditStore) {
		s.in(func(e *audit.Entry) { e.At = e.At.Truncate(time.Millisecond) })
	}},
	{name: "returns local time", at: "Times", promise: "and is that in the location", bend: func(s *auditStore) {
		s.out(func(e *audit.Entry) { e.At = e.At.In(time.FixedZone("CET", 3600)) })
	}},
	{name: "counts nanoseconds", at: "Times", promise: keepsTime, bend: func(s *auditStore) {
		s.in(func(e *audit.Entry) { e.At = time.Unix(0, e.At.UnixNano()).UTC() })
	}},
	{name: "begins in 1970", at: "Times", promise: keepsTime, bend: func(s *auditStore) {
		s.in(func(e *audit.Entry) {
			if e.At.Unix() < 0 {
				e.At = time.Unix(0, 0).UTC()
			}
		})
	}},
	{name: "ends in 2038", at: "Times", promise: keepsTime, bend: func(s *auditStore) {
		s.in(func(e *audit.Entry) {
			if e.At.Unix() > math.MaxInt32 {
				e.At = time.Unix(math.MaxInt32, 0).UTC()
			}
		})
	}},

	{name: "writes one of several", at: "ManyEntries", promise: "an append writes as many entries as next returns", bend: func(s *auditStore) {
		s.writes(func(e rows) rows { return e[:min(len(e), 1)] })
	}},
	{name: "limits its parameters", at: "ManyEntries", promise: "Append gives no error where nothing is wrong", bend: func(s *auditStore) {
		s.nexts(func(_ context.Context, last audit.Entry, next next) (rows, error) {
			e, err := next(last)
			if len(e) > 999 {
				err = errBusy
			}
			return e, err
		})
	}},
	{name: "writes several in another order", at: "ManyEntries", promise: "Append gives no error where nothing is wrong", bend: func(s *auditStore) {
		s.writes(func(e rows) rows { slices.Reverse(e); return e })
	}},
	{name: "sorts by time", at: "ManyEntries", promise: "Scan returns entries in the order of their numbers", bend: func(s *auditStore) {
		s.pages(func(_ int64, _ int, e rows) rows {
			slices.SortFunc(e, func(a, b audit.Entry) int { return a.At.Compare(b.At) })
			return e
		})
	}},

	{name: "scans from after on", at: "Scan", promise: "Scan returns entries in the order of their numbers, those greater than after", bend: func(s *auditStore) {
		s.asks(func(after int64, limit int) (int64, int) { return max(after, math.MinInt64+1) - 1, limit })
	}},
	{name: "scans without a limit", at: "Scan", promise: "Scan returns no more entries than the limit", bend: func(s *auditStore) {
		s.asks(func(after int64, limit int) (int64, int) { return after, max(limit, limit+1) })
	}},
	{name: "scans short pages", at: "Scan", promise: scans, bend: func(s *auditStore) {
		s.asks(func(after int64, limit int) (int64, int) { return after, min(limit, 10) })
	}},
	{name: "skips at the edge of a page", at: "Scan", promise: scans, bend: func(s *auditStore) {
		s.asks(func(after int64, limit int) (int64, int) {
			if after > 0 && after < math.MaxInt64 {
				after++
			}
			return after, limit
		})
	}},
	{name: "scans by offset", at: "Scan", promise: scans, bend: func(s *auditStore) {
		scan := s.scan
		s.scan = func(ctx context.Context, after int64, limit int) (rows, error) {
			if after < -1 || after > 20 {
				return scan(ctx, after, limit)
			}
			return scan(ctx, after+1, limit)
		}
	}},
	{name: "wraps around before the first number", at: "Scan", promise: scans, bend: func(s *auditStore) {
		s.asks(func(after int64, limit int) (int64, int) {
			if after == math.MinInt32 { // as a number of 32 bits does that is one less
				after = math.MaxInt32
			}
			return after, limit
		})
	}},
	{name: "finds a page beyond the end an error", at: "Scan", promise: "Scan gives no error where nothing is wrong", bend: func(s *auditStore) {
		scan := s.scan
		s.scan = func(ctx context.Context, after int64, limit int) (rows, error) {
			if after == 1000 {
				return nil, errBusy
			}
			return scan(ctx, after, limit)
		}
	}},
	{name: "has no limit for 0", at: "Scan", promise: noLimit, bend: func(s *auditStore) {
		s.asks(func(after int64, limit int) (int64, int) {
			if limit == 0 {
				limit = everything
			}
			return after, limit
		})
	}},
	{name: "finds a negative limit an error", at: "Scan", promise: noLimit, bend: func(s *auditStore) {
		scan := s.scan
		s.scan = func(ctx context.Context, after int64, limit int) (rows, error) {
			if limit < 0 {
				return nil, errors.New("LIMIT must not be negative")
			}
			return scan(ctx, after, limit)
		}
	}},
	{name: "walks through what was there", at: "Scan", promise: "a walk sees each entry once, also those that come meanwhile", bend: func(s *auditStore) {
		count := 0
		s.asks(func(after int64, limit int) (int64, int) {
			if after < 0 {
				e, _ := s.scan(context.Background(), 0, everything)
				count = len(e)
			}
			return after, limit
		})
		s.pages(func(after int64, limit int, page rows) rows {
			if limit != 5 {
				return page
			}
			return slices.DeleteFunc(page, func(e audit.Entry) bool { return e.Number > int64(count) })
		})
	}},

	{name: "forgets on reopening", at: "Reopen", promise: "a call that returns without an error is durable", bend: func(*auditStore) {}, apart: true},
	{name: "remembers the last entry on each handle", at: "Reopen", promise: "another handle sees it at once: next is passed", bend: func(s *auditStore) {
		known := false
		var kept audit.Entry
		s.nexts(func(_ context.Context, last audit.Entry, next next) (rows, error) {
			if !known {
				known, kept = true, last
			}
			e, err := next(kept)
			if len(e) > 0 {
				kept = e[len(e)-1]
			}
			return e, err
		})
	}},

	{name: "keeps what it is given", at: "Memory", promise: "nothing that goes in shares memory with the store", bend: func(s *auditStore) {
		var kept rows
		s.nexts(func(_ context.Context, last audit.Entry, next next) (rows, error) {
			e, err := next(last)
			kept = e
			return slices.Clone(e), err
		})
		s.pages(func(_ int64, _ int, page rows) rows {
			copy(page, kept)
			return page
		})
	}},
	{name: "modifies what it is given", at: "Memory", promise: "an append does not modify what next returns", bend: func(s *auditStore) {
		s.nexts(func(_ context.Context, last audit.Entry, next next) (rows, error) {
			e, err := next(last)
			written := slices.Clone(e)
			for i := range e {
				e[i].Digest[0]++
			}
			return written, err
		})
	}},
	{name: "keeps its pages", at: "Memory", promise: "nothing that comes out of Scan shares memory with the store", bend: func(s *auditStore) {
		var kept rows
		s.pages(func(after int64, _ int, page rows) rows {
			if after < 0 && len(page) == 5 {
				if kept == nil {
					kept = page
				}
				return kept
			}
			return page
		})
	}},

	{name: "hides the error of next", at: "NextFails", promise: "an error of next is returned as it is, or wrapped: the error is <nil>", bend: func(s *auditStore) {
		write := s.append
		s.append = func(ctx context.Context, next next) error {
			failed := false
			err := write(ctx, func(last audit.Entry) (rows, error) {
				e, err := next(last)
				failed = err != nil
				return e, err
			})
			if failed {
				return nil
			}
			return err
		}
	}},
	{name: "rewrites the error of next", at: "NextFails", promise: "an error of next is returned as it is, or wrapped", bend: func(s *auditStore) {
		write := s.append
		s.append = func(ctx context.Context, next next) error {
			if err := write(ctx, next); err != nil {
				return errors.New(err.Error())
			}
			return nil
		}
	}},
	{name: "writes despite an error", at: "NextFails", promise: "nothing is written when next returns an error", bend: func(s *auditStore) {
		write := s.append
		s.append = func(ctx context.Context, next next) error {
			var failed error
			err := write(ctx, func(last audit.Entry) (e rows, _ error) { e, failed = next(last); return e, nil })
			return cmp.Or(failed, err)
		}
	}},
	{name: "hides a panic", at: "NextPanics", promise: "an append whose next panics does not return as if it were done", bend: func(s *auditStore) {
		write := s.append
		s.append = func(ctx context.Context, next next) error {
			defer func() { _ = recover() }()
			return write(ctx, next)
		}
	}},
	{name: "writes before a panic", at: "NextPanics", promise: "nothing is written when next panics", bend: func(s *auditStore) {
		write := s.append
		s.append = func(ctx context.Context, next next) error {
			defer func() {
				if p := recover(); p != nil {
					_ = write(ctx, func(last audit.Entry) (rows, error) { return rows{{Number: last.Number + 1}}, nil })
					panic(p)
				}
			}()
			return write(ctx, next)
		}
	}},
	{name: "has lost its connection after a panic", at: "NextPanics", promise: "Append gives no error where nothing is wrong", bend: func(s *auditStore) {
		write, lost := s.append, false
		s.append = func(ctx context.Context, next next) error {
			if lost {
				return errBusy
			}
			lost = true
			err := write(ctx, next)
			lost = false
			return err
		}
	}},

	{name: "leaves out what is there", at: "NumberIsThere", promise: thereError + ": the error is nil", bend: func(s *auditStore) {
		s.nexts(func(_ context.Context, last audit.Entry, next next) (rows, error) {
			e, err := next(last)
			number := last.Number
			return slices.DeleteFunc(slices.Clone(e), func(e audit.Entry) bool {
				there := e.Number <= number
				number = max(number, e.Number)
				return there
			}), err
		})
	}},
	{name: "replaces what is there", at: "NumberIsThere", promise: thereError + ": the error is nil", bend: func(s *auditStore) {
		replaced := map[int64]audit.Entry{}
		s.nexts(func(_ context.Context, last audit.Entry, next next) (rows, error) {
			e, err := next(last)
			return slices.DeleteFunc(slices.Clone(e), func(e audit.Entry) bool {
				if e.Number <= last.Number {
					replaced[e.Number] = e
				}
				return e.Number <= last.Number
			}), err
		})
		s.pages(func(_ int64, _ int, page rows) rows {
			for i, e := range page {
				if r, there := replaced[e.Number]; there {
					page[i] = r
				}
			}
			return page
		})
	}},
	{name: "numbers anew what is there", at: "NumberIsThere", promise: thereError + ": the error is nil", bend: func(s *auditStore) {
		s.nexts(func(_ context.Context, last audit.Entry, next next) (rows, error) {
			e, err := next(last)
			e = slices.Clone(e)
			for i := range e {
				e[i].Number = last.Number + int64(i) + 1
			}
			return e, err
		})
	}},
	{name: "writes up to what is there", at: "NumberIsThere", promise: thereWrites, bend: func(s *auditStore) {
		write := s.append
		s.append = func(ctx context.Context, next next) error {
			var e rows
			if err := write(ctx, func(last audit.Entry) (_ rows, err error) { e, err = next(last); return nil, err }); err != nil {
				return err
			}
			for _, e := range e {
				if err := write(ctx, func(audit.Entry) (rows, error) { return rows{e}, nil }); err != nil {
					return err
				}
			}
			return nil
		}
	}},

	{name: "appends without a context", at: "ContextIsOver", promise: contextError + " (Append): the error is <nil>", bend: func(s *auditStore) {
		write := s.append
		s.append = func(ctx context.Context, next next) error { return write(context.WithoutCancel(ctx), next) }
	}},
	{name: "scans without a context", at: "ContextIsOver", promise: contextError + " (Scan): the error is <nil>", bend: func(s *auditStore) {
		scan := s.scan
		s.scan = func(ctx context.Context, after int64, limit int) (rows, error) {
			return scan(context.WithoutCancel(ctx), after, limit)
		}
	}},
	{name: "has words of its own for a context", at: "ContextIsOver", promise: contextError + " (Append)", bend: func(s *auditStore) {
		write := s.append
		s.append = func(ctx context.Context, next next) error {
			if ctx.Err() != nil {
				return errors.New("interrupted")
			}
			return write(ctx, next)
		}
	}},
	{name: "writes and then looks at the context", at: "ContextIsOver", promise: "a call whose context is over writes nothing", bend: func(s *auditStore) {
		write := s.append
		s.append = func(ctx context.Context, next next) error {
			return cmp.Or(write(context.WithoutCancel(ctx), next), ctx.Err())
		}
	}},
	{name: "writes half when a context ends", at: "ContextEndsInNext", promise: "an append whose context ends in next writes everything or nothing", bend: func(s *auditStore) {
		write := s.append
		s.append = func(ctx context.Context, next next) error {
			return cmp.Or(write(ctx, func(last audit.Entry) (rows, error) {
				e, err := next(last)
				if ctx.Err() != nil {
					e = e[:min(1, len(e))]
				}
				return e, err
			}), ctx.Err())
		}
	}},
	{name: "lies when a context ends", at: "ContextEndsInNext", promise: "an append that returns without an error is durable, also if its context ended in next", bend: func(s *auditStore) {
		s.nexts(func(ctx context.Context, last audit.Entry, next next) (rows, error) {
			e, err := next(last)
			if ctx.Err() != nil {
				e = nil
			}
			return e, err
		})
	}},

	{name: "does not lock", at: "Writers", promise: allSucceed, bend: func(s *auditStore) { s.unlocked(false) }},
	{name: "does not lock and numbers anew", at: "Writers", promise: noOverlap, bend: func(s *auditStore) { s.unlocked(true) }},
	{name: "locks each handle alone", at: "Writers", promise: noOverlap, bend: func(s *auditStore) {
		var mu sync.Mutex
		s.unlocked(true)
		write := s.append
		s.append = func(ctx context.Context, next next) error {
			mu.Lock()
			defer mu.Unlock()
			return write(ctx, next)
		}
	}},
	{name: "fails when it is busy", at: "Writers", promise: allSucceed, bend: func(s *auditStore) {
		write := s.append
		s.append = func(ctx context.Context, next next) error {
			defer inFlight.Add(-1)
			if inFlight.Add(1) > 1 {
				callers.wait()
				return errBusy
			}
			callers.wait()
			return write(ctx, next)
		}
	}},
	{name: "loses one", at: "Writers", promise: noOverlap, bend: func(s *auditStore) {
		s.writes(func(e rows) rows {
			if len(e) > 0 && lost.Add(1) == 9 {
				return nil
			}
			return e
		})
	}},
	{name: "writes one by one", at: "HalfAnAppend", promise: "what an append writes is seen together or not at all", bend: func(s *auditStore) {
		var appends atomic.Int64
		grown := make(chan struct{})
		write := s.append
		s.append = func(ctx context.Context, next next) error {
			err := write(ctx, next)
			if appends.Add(1) == 2 {
				close(grown)
			}
			return err
		}
		scan := s.scan
		s.scan = func(ctx context.Context, after int64, limit int) (rows, error) {
			select {
			case <-grown:
			case <-time.After(aWhile):
			}
			return scan(ctx, after, limit)
		}
		s.pages(func(_ int64, _ int, page rows) rows { // as a reader may see it
			if len(page) > 3 && lost.Add(1)%5 == 0 {
				return page[:len(page)-1]
			}
			return page
		})
	}},
	// Which is noticed first depends on who meets: two with one event, and so with the same
	// number, or one with two events, whose digests are of another entry before.
	{name: "does not lock a log", at: "Log", promise: "an audit.Log ", bend: func(s *auditStore) { s.unlocked(true) }},
	{name: "forgets a bit", at: "Log", promise: "an audit.Log works on this store: Verify gives the error", bend: func(s *auditStore) {
		s.in(func(e *audit.Entry) {
			if e.Number == 17 {
				e.Digest[31] ^= 1
			}
		})
	}},
	{name: "moves a time", at: "Log", promise: "an audit.Log works on this store: Verify gives the error", bend: func(s *auditStore) {
		s.in(func(e *audit.Entry) {
			if e.Number > 4 && e.At.Year() < 1000 {
				e.At = e.At.AddDate(0, 0, 2) // another calendar
			}
		})
	}},
}

// lost counts what passes by, on all handles.
var lost atomic.Int64

// lawfulAudit is what an audit's store may do although nobody expects it.
var lawfulAudit = map[string]func(*auditStore){
	"calls next more than once": func(s *auditStore) {
		s.nexts(func(_ context.Context, last audit.Entry, next next) (rows, error) {
			if _, err := next(audit.Entry{}); err != nil {
				return nil, err
			}
			return next(last)
		})
	},
	"wraps errors, and returns panics": func(s *auditStore) {
		write := s.append
		s.append = func(ctx context.Context, next next) (err error) {
			defer func() {
				if p := recover(); p != nil {
					err = errBusy
				}
				if err != nil {
					err = fmt.Errorf("store: append: %w", err)
				}
			}()
			return write(ctx, next)
		}
	},
	"returns empty for nil": func(s *auditStore) {
		s.pages(func(_ int64, _ int, page rows) rows { return append(rows{}, page...) })
	},
	"gives up when the context ends in next": func(s *auditStore) {
		s.nexts(func(ctx context.Context, last audit.Entry, next next) (rows, error) {
			e, err := next(last)
			return e, cmp.Or(err, ctx.Err())
		})
	},
}

// handles returns the way to a store's handles: broken, on one storage or, if
// they are apart, on several.
func (b brokenAudit) handles() func() audit.Store {
	storage := memstore.New()
	if b.used {
		_ = storage.Audit().Append(context.Background(), func(audit.Entry) (rows, error) { return rows{{Number: 1}}, nil })
	}
	return func() audit.Store {
		if b.apart {
			storage = memstore.New()
		}
		s := &auditStore{storage.Audit().Append, storage.Audit().Scan}
		b.bend(s)
		return s
	}
}
