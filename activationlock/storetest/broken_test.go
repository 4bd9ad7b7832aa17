package storetest_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/activationlock/sdk/activationlock/memstore"
	"github.com/activationlock/sdk/bypasscode/escrow"
)

type (
	entries = []escrow.Entry
	change  = func(entries) (entries, error)
)

// store is a store whose methods can be exchanged. It begins as one that keeps
// every promise.
type store struct {
	update  func(context.Context, escrow.Subject, change) error
	entries func(context.Context, escrow.Subject) (entries, error)
	join    func(ctx context.Context, enrollmentID, serialNumber string) error
	joined  func(ctx context.Context, enrollmentID string) ([]string, error)
	scan    func(ctx context.Context, after string, limit int) (entries, error)
}

func (s *store) Update(ctx context.Context, subject escrow.Subject, change change) error {
	return s.update(ctx, subject, change)
}

func (s *store) Entries(ctx context.Context, subject escrow.Subject) (entries, error) {
	return s.entries(ctx, subject)
}

func (s *store) Join(ctx context.Context, enrollmentID, serialNumber string) error {
	return s.join(ctx, enrollmentID, serialNumber)
}

func (s *store) Joined(ctx context.Context, enrollmentID string) ([]string, error) {
	return s.joined(ctx, enrollmentID)
}

func (s *store) Scan(ctx context.Context, after string, limit int) (entries, error) {
	return s.scan(ctx, after, limit)
}

func over(s escrow.Store) *store { return &store{s.Update, s.Entries, s.Join, s.Joined, s.Scan} }

// leads changes what serial numbers are returned of an enrollment.
func (s *store) leads(edit func(enrollmentID string, found []string) []string) {
	read := s.joined
	s.joined = func(ctx context.Context, enrollmentID string) ([]string, error) {
		found, err := read(ctx, enrollmentID)
		return edit(enrollmentID, found), err
	}
}

const everything = 1 << 20

// all returns every entry.
func (s *store) all(ctx context.Context) (entries, error) { return s.scan(ctx, "", everything) }

// in changes what is written.
func (s *store) in(edit func(before entries, e *escrow.Entry)) {
	update := s.update
	s.update = func(ctx context.Context, subject escrow.Subject, change change) error {
		return update(ctx, subject, func(before entries) (entries, error) {
			after, err := change(before)
			after = slices.Clone(after)
			for i := range after {
				edit(before, &after[i])
			}
			return after, err
		})
	}
}

// old runs an edit on entries that were there before.
func old(edit func(was escrow.Entry, e *escrow.Entry)) func(entries, *escrow.Entry) {
	return func(before entries, e *escrow.Entry) {
		for _, was := range before {
			if was.ID == e.ID {
				edit(was, e)
			}
		}
	}
}

// out changes what is read of a subject.
func (s *store) out(edit func(escrow.Subject, entries) entries) {
	update, read := s.update, s.entries
	s.update = func(ctx context.Context, subject escrow.Subject, change change) error {
		return update(ctx, subject, func(e entries) (entries, error) { return change(edit(subject, e)) })
	}
	s.entries = func(ctx context.Context, subject escrow.Subject) (entries, error) {
		e, err := read(ctx, subject)
		return edit(subject, e), err
	}
}

// times changes the times that are read.
func (s *store) times(edit func(time.Time) time.Time) {
	s.out(func(_ escrow.Subject, e entries) entries {
		for i := range e {
			e[i].StaleSince, e[i].FirstSeen = edit(e[i].StaleSince), edit(e[i].FirstSeen)
		}
		return e
	})
}

// strings changes the strings that are written.
func (s *store) strings(edit func(string) string) {
	s.in(func(_ entries, e *escrow.Entry) { e.StateReason = edit(e.StateReason) })
}

// finds reads the entries of all subjects that are taken for the same.
func (s *store) finds(same func(stored, wanted escrow.Subject) bool) {
	read := s.entries
	s.entries = func(ctx context.Context, subject escrow.Subject) (entries, error) {
		found, err := read(ctx, subject)
		if err != nil {
			return nil, err
		}
		everyone, err := s.all(ctx)
		for _, e := range everyone {
			if !slices.ContainsFunc(found, func(f escrow.Entry) bool { return f.ID == e.ID }) && same(e.Subject, subject) {
				found = append(found, e)
			}
		}
		return found, err
	}
}

// folds takes identifiers for the same that are so after a function.
func (s *store) folds(fold func(string) string) {
	s.finds(func(a, b escrow.Subject) bool {
		return fold(a.SerialNumber) == fold(b.SerialNumber) && fold(a.EnrollmentID) == fold(b.EnrollmentID)
	})
}

// unlocked updates in two steps: it reads with one, and writes with the next. Two
// calls that have read something wait for each other before they write.
func (s *store) unlocked(lock func(escrow.Subject) func()) {
	update := s.update
	s.update = func(ctx context.Context, subject escrow.Subject, change change) error {
		defer lock(subject)()
		before, err := s.entries(ctx, subject)
		if err != nil {
			return err
		}
		after, err := change(before)
		if err != nil {
			return err
		}
		if len(before) > 0 {
			readers.wait()
		}
		return update(ctx, subject, func(entries) (entries, error) { return after, nil })
	}
}

// broken is a store that breaks one promise.
type broken struct {
	name    string
	at      string // the case that finds it
	promise string // what the failure says
	bend    func(*store)
	// apart: each handle has a storage of its own. Used: it is not empty.
	apart, used bool
}

func noLock(escrow.Subject) func() { return func() {} }

func upTo(n int) func(string) string { return func(s string) string { return s[:min(n, len(s))] } }

// aliased keeps memory that it gave or was given, and reads from it.
type aliased struct {
	mu      sync.Mutex
	sealed  map[string][]byte
	results map[escrow.Subject]entries
}

func newAliased() *aliased {
	return &aliased{sealed: map[string][]byte{}, results: map[escrow.Subject]entries{}}
}

func (a *aliased) keep(e entries) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, e := range e {
		a.sealed[e.ID] = e.Sealed
	}
}

func (a *aliased) restore(_ escrow.Subject, e entries) entries {
	a.mu.Lock()
	defer a.mu.Unlock()
	for i := range e {
		if sealed, kept := a.sealed[e[i].ID]; kept {
			e[i].Sealed = slices.Clone(sealed)
		}
	}
	return e
}

const (
	keepsNew     = "a new entry keeps every field"
	keepsChanged = "an update changes every field that may change, and no other"
	keepsLimits  = "an entry keeps every field up to the limits"
	keepsTimes   = "times are returned as they came"
	keepsOrder   = "entries come in the order of filing, and keep their place when they change"
	exact        = "identifiers are compared byte by byte, and a serial number is never an enrollment ID"
	exactJoin    = "Join compares identifiers byte by byte"
	exactStrings = "record IDs are compared byte by byte, and strings are kept so"
	greater      = "Scan returns entries in the byte order of their IDs, those greater than after"
	noSubject    = "a subject that nothing can be filed under has no entries, and that is not an error"
	joinedTo     = "Joined returns the serial numbers that an enrollment is joined to, in byte order"
	walk         = "a walk sees each entry that is there all the time once, whatever is written meanwhile"
	contextError = "a call whose context is over returns the context's error"
	succeed      = "updates at the same time all succeed"
)

var errBusy = errors.New("database is locked")

// brokenStores break each promise in at least one way.
var brokenStores = []broken{
	{name: "is not empty", at: "None", promise: "fresh makes an empty storage", bend: func(*store) {}, used: true},
	{name: "finds nothing an error", at: "None", promise: "none is not an error: Entries", bend: func(s *store) {
		read := s.entries
		s.entries = func(ctx context.Context, subject escrow.Subject) (entries, error) {
			e, err := read(ctx, subject)
			if len(e) == 0 {
				err = cmp.Or(err, escrow.ErrNotFound)
			}
			return e, err
		}
	}},
	{name: "finds an empty page an error", at: "None", promise: "Scan gives no error where nothing is wrong", bend: func(s *store) {
		s.scan = func(_ context.Context, after string, _ int) (entries, error) {
			return nil, errBusy
		}
	}},
	{name: "changes only what is there", at: "None", promise: "Update calls change, also where there are no entries", bend: func(s *store) {
		update := s.update
		s.update = func(ctx context.Context, subject escrow.Subject, change change) error {
			if e, err := s.entries(ctx, subject); err != nil || len(e) == 0 {
				return err
			}
			return update(ctx, subject, change)
		}
	}},
	{name: "joins only what is there", at: "None", promise: "an enrollment without entries can be joined", bend: func(s *store) {
		join := s.join
		s.join = func(ctx context.Context, enrollmentID, serialNumber string) error {
			if e, err := s.entries(ctx, escrow.Subject{EnrollmentID: enrollmentID}); err != nil || len(e) == 0 {
				return cmp.Or(err, escrow.ErrNotFound)
			}
			return join(ctx, enrollmentID, serialNumber)
		}
	}},

	{name: "finds no subject an error", at: "NoSubject", promise: noSubject, bend: func(s *store) {
		read := s.entries
		s.entries = func(ctx context.Context, subject escrow.Subject) (entries, error) {
			if strings.ContainsRune(subject.SerialNumber, 0) {
				return nil, errors.New("invalid byte sequence")
			}
			return read(ctx, subject)
		}
	}},
	{name: "finds a long identifier an error", at: "NoSubject", promise: noSubject, bend: func(s *store) {
		read := s.entries
		s.entries = func(ctx context.Context, subject escrow.Subject) (entries, error) {
			if len(subject.EnrollmentID) > escrow.MaxIdentifier {
				return nil, errors.New("data too long for column")
			}
			return read(ctx, subject)
		}
	}},
	{name: "has an empty subject", at: "NoSubject", promise: noSubject + ": of the empty subject", bend: func(s *store) {
		s.finds(func(a, b escrow.Subject) bool { return b == escrow.Subject{} && a.EnrollmentID == "" })
	}},
	{name: "looks at one of two identifiers", at: "NoSubject", promise: noSubject + ": of a serial number and", bend: func(s *store) {
		read := s.entries
		s.entries = func(ctx context.Context, subject escrow.Subject) (entries, error) {
			if subject.SerialNumber != "" {
				subject.EnrollmentID = ""
			}
			return read(ctx, subject)
		}
	}},
	{name: "ends identifiers at a NUL", at: "NoSubject", promise: noSubject + ": of a serial number with a NUL", bend: func(s *store) {
		s.folds(func(s string) string { before, _, _ := strings.Cut(s, "\x00"); return before })
	}},

	{name: "forgets a field", at: "NewEntry", promise: keepsNew + `: Device.IMEI2 was "Device.IMEI2 1" and is ""`, bend: func(s *store) {
		s.in(func(_ entries, e *escrow.Entry) { e.Device.IMEI2 = "" })
	}},
	{name: "forgets the recovery copy", at: "NewEntry", promise: keepsNew + ": RecoveryCopy had 39 bytes and has 0", bend: func(s *store) {
		s.in(func(_ entries, e *escrow.Entry) { e.RecoveryCopy = nil })
	}},
	{name: "mixes two fields up", at: "NewEntry", promise: keepsNew + ": StateReason was", bend: func(s *store) {
		s.in(func(_ entries, e *escrow.Entry) { e.StateReason, e.StaleReason = e.StaleReason, e.StateReason })
	}},
	{name: "fills a field from another", at: "NewEntry", promise: keepsNew + ": Device.SerialNumber was", bend: func(s *store) {
		s.in(func(_ entries, e *escrow.Entry) {
			e.Device.SerialNumber = cmp.Or(e.Device.SerialNumber, e.Subject.SerialNumber)
		})
	}},
	{name: "cuts what is sealed at a NUL", at: "NewEntry", promise: keepsNew + ": Sealed had", bend: func(s *store) {
		s.in(func(_ entries, e *escrow.Entry) {
			before, _, _ := strings.Cut(string(e.Sealed), "\x00")
			e.Sealed = []byte(before)
		})
	}},
	{name: "forgets a field of a page", at: "NewEntry", promise: "Scan returns every field: Hash was", bend: func(s *store) {
		scan := s.scan
		s.scan = func(ctx context.Context, after string, limit int) (entries, error) {
			e, err := scan(ctx, after, limit)
			for i := range e {
				e[i].Hash = [32]byte{}
			}
			return e, err
		}
	}},

	{name: "does not update a field", at: "ChangedEntry", promise: keepsChanged + ": Device.MEID was", bend: func(s *store) {
		s.in(old(func(was escrow.Entry, e *escrow.Entry) { e.Device.MEID = was.Device.MEID }))
	}},
	{name: "does not empty a field", at: "ChangedEntry", promise: keepsChanged + `: StaleReason was ""`, bend: func(s *store) {
		s.in(old(func(was escrow.Entry, e *escrow.Entry) { e.StaleReason = cmp.Or(e.StaleReason, was.StaleReason) }))
	}},
	{name: "does not take a time back", at: "ChangedEntry", promise: keepsChanged + ": DeletedAt was zero", bend: func(s *store) {
		s.in(old(func(was escrow.Entry, e *escrow.Entry) { e.DeletedAt = cmp.Or(e.DeletedAt, was.DeletedAt) }))
	}},
	{name: "never destroys what is sealed", at: "ChangedEntry", promise: keepsChanged + ": Sealed had 0 bytes", bend: func(s *store) {
		s.in(old(func(was escrow.Entry, e *escrow.Entry) {
			if len(e.Sealed) == 0 {
				e.Sealed = was.Sealed
			}
		}))
	}},
	{name: "knows a state less", at: "ChangedEntry", promise: keepsChanged + `: State was "maybe active"`, bend: func(s *store) {
		s.in(old(func(was escrow.Entry, e *escrow.Entry) {
			if e.State == escrow.MaybeActive {
				e.State = escrow.Current
			}
		}))
	}},

	{name: "cuts strings", at: "Limits", promise: keepsLimits + ": StateReason was", bend: func(s *store) { s.strings(upTo(254)) }},
	{name: "counts symbols", at: "Limits", promise: keepsLimits + ": StateReason was", bend: func(s *store) {
		s.strings(func(s string) string { return string([]rune(s)[:min(64, len([]rune(s)))]) })
	}},
	{name: "cuts what is sealed", at: "Limits", promise: keepsLimits + ": Sealed had 65536 bytes and has 65535", bend: func(s *store) {
		s.in(func(_ entries, e *escrow.Entry) { e.Sealed = e.Sealed[:min(len(e.Sealed), 1<<16-1)] })
	}},
	{name: "compares beginnings", at: "Limits", promise: keepsLimits + ": the entries were", bend: func(s *store) {
		s.finds(func(a, b escrow.Subject) bool {
			return a.EnrollmentID == b.EnrollmentID && upTo(250)(a.SerialNumber) == upTo(250)(b.SerialNumber)
		})
	}},
	{name: "limits its parameters", at: "ManyEntries", promise: "Update gives no error where nothing is wrong", bend: func(s *store) {
		update := s.update
		s.update = func(ctx context.Context, subject escrow.Subject, change change) error {
			return update(ctx, subject, func(e entries) (entries, error) {
				after, err := change(e)
				if len(after) > 500 {
					err = errBusy
				}
				return after, err
			})
		}
	}},

	{name: "keeps milliseconds", at: "Times", promise: keepsTimes, bend: func(s *store) {
		s.times(func(t time.Time) time.Time { return t.Truncate(time.Millisecond) })
	}},
	{name: "returns local time", at: "Times", promise: "and is that in the location", bend: func(s *store) {
		s.times(func(t time.Time) time.Time { return t.In(time.FixedZone("CET", 3600)) })
	}},
	{name: "counts nanoseconds", at: "Times", promise: keepsTimes, bend: func(s *store) {
		s.times(func(t time.Time) time.Time {
			if t.IsZero() {
				return t
			}
			return time.Unix(0, t.UnixNano()).UTC()
		})
	}},
	{name: "has zero in 1970", at: "Times", promise: "was zero and is 1970-01-01", bend: func(s *store) {
		s.times(func(t time.Time) time.Time {
			if t.IsZero() {
				return time.Unix(0, 0).UTC()
			}
			return t
		})
	}},
	{name: "has 1970 as zero", at: "Times", promise: "was 1970-01-01T00:00:00Z and is zero", bend: func(s *store) {
		s.times(func(t time.Time) time.Time {
			if t.Unix() == 0 {
				return time.Time{}
			}
			return t
		})
	}},

	{name: "sorts by ID", at: "Order", promise: keepsOrder, bend: func(s *store) {
		s.out(func(_ escrow.Subject, e entries) entries {
			slices.SortFunc(e, func(a, b escrow.Entry) int { return cmp.Compare(a.ID, b.ID) })
			return e
		})
	}},
	{name: "moves what changes to the end", at: "Order", promise: keepsOrder, bend: func(s *store) {
		touched, n := map[string]int{}, 0
		s.in(func(_ entries, e *escrow.Entry) { n++; touched[e.ID] = n })
		s.out(func(_ escrow.Subject, e entries) entries {
			slices.SortStableFunc(e, func(a, b escrow.Entry) int { return cmp.Compare(touched[a.ID], touched[b.ID]) })
			return e
		})
	}},
	{name: "files the last first", at: "Order", promise: keepsOrder, bend: func(s *store) {
		update := s.update
		s.update = func(ctx context.Context, subject escrow.Subject, change change) error {
			return update(ctx, subject, func(e entries) (entries, error) {
				after, err := change(e)
				after = slices.Clone(after)
				slices.Reverse(after)
				return after, err
			})
		}
	}},
	{name: "files three in one update as they fall", at: "Order", promise: "several new entries of one update are filed in their order", bend: func(s *store) {
		update := s.update
		s.update = func(ctx context.Context, subject escrow.Subject, change change) error {
			return update(ctx, subject, func(e entries) (entries, error) {
				after, err := change(e)
				if after = slices.Clone(after); len(after) > 2 {
					slices.Reverse(after)
				}
				return after, err
			})
		}
	}},
	{name: "puts its own first", at: "Order", promise: "the entries of a serial number and of joined enrollments come in one order", bend: func(s *store) {
		s.out(func(subject escrow.Subject, e entries) entries {
			own := func(e escrow.Entry) int {
				if e.Subject == subject {
					return 0
				}
				return 1
			}
			slices.SortStableFunc(e, func(a, b escrow.Entry) int { return own(a) - own(b) })
			return e
		})
	}},
	{name: "deletes what change leaves out", at: "Untouched", promise: "what change returned nothing for stays as it is", bend: func(s *store) {
		kept := map[string]bool{}
		s.in(func(before entries, e *escrow.Entry) {
			if len(before) > 2 {
				for _, b := range before {
					kept[b.ID] = true
				}
				delete(kept, e.ID)
			}
		})
		s.out(func(_ escrow.Subject, e entries) entries {
			return slices.DeleteFunc(e, func(e escrow.Entry) bool { return kept[e.ID] })
		})
	}},

	{name: "does not join", at: "Join", promise: "Join makes the entries of an enrollment entries of the serial number too", bend: func(s *store) {
		s.join = func(context.Context, string, string) error { return nil }
	}},
	{name: "joins both ways", at: "Join", promise: "Join goes in one direction", bend: func(s *store) {
		join, read, joined := s.join, s.entries, map[string]string{}
		s.join = func(ctx context.Context, enrollmentID, serialNumber string) error {
			joined[enrollmentID] = serialNumber
			return join(ctx, enrollmentID, serialNumber)
		}
		s.entries = func(ctx context.Context, subject escrow.Subject) (entries, error) {
			if serialNumber, there := joined[subject.EnrollmentID]; there {
				return read(ctx, escrow.Subject{SerialNumber: serialNumber})
			}
			return read(ctx, subject)
		}
		update := s.update
		s.update = func(ctx context.Context, subject escrow.Subject, change change) error {
			if serialNumber, there := joined[subject.EnrollmentID]; there {
				subject = escrow.Subject{SerialNumber: serialNumber}
			}
			return update(ctx, subject, change)
		}
	}},
	{name: "moves entries with a join", at: "Join", promise: "Join goes in one direction", bend: func(s *store) {
		join, joined := s.join, map[string]bool{}
		s.join = func(ctx context.Context, enrollmentID, serialNumber string) error {
			joined[enrollmentID] = true
			return join(ctx, enrollmentID, serialNumber)
		}
		s.out(func(subject escrow.Subject, e entries) entries {
			if joined[subject.EnrollmentID] {
				return nil
			}
			return e
		})
	}},
	{name: "fails the second join", at: "Join", promise: "Join gives no error where nothing is wrong", bend: func(s *store) {
		join, joined := s.join, map[string]bool{}
		s.join = func(ctx context.Context, enrollmentID, serialNumber string) error {
			if joined[enrollmentID] {
				return errors.New("UNIQUE constraint failed")
			}
			joined[enrollmentID] = true
			return join(ctx, enrollmentID, serialNumber)
		}
	}},
	{name: "returns twice what is joined twice", at: "Join", promise: "joining twice is joining once", bend: func(s *store) {
		join, joined := s.join, map[string]int{}
		s.join = func(ctx context.Context, enrollmentID, serialNumber string) error {
			joined[enrollmentID]++
			return join(ctx, enrollmentID, serialNumber)
		}
		s.out(func(subject escrow.Subject, e entries) (all entries) {
			for _, e := range e {
				for range max(1, joined[e.Subject.EnrollmentID]) {
					if all = append(all, e); e.Subject == subject {
						break
					}
				}
			}
			return all
		})
	}},
	{name: "joins what is there by then", at: "Join", promise: "Join counts for entries that are still to come", bend: func(s *store) {
		join, there := s.join, map[string]bool{}
		s.join = func(ctx context.Context, enrollmentID, serialNumber string) error {
			e, err := s.entries(ctx, escrow.Subject{EnrollmentID: enrollmentID})
			for _, e := range e {
				there[e.ID] = true
			}
			return cmp.Or(err, join(ctx, enrollmentID, serialNumber))
		}
		s.out(func(subject escrow.Subject, e entries) entries {
			return slices.DeleteFunc(e, func(e escrow.Entry) bool { return e.Subject != subject && !there[e.ID] })
		})
	}},
	{name: "has one enrollment for a serial number", at: "Join", promise: "several enrollments can be joined to a serial number", bend: func(s *store) {
		join, last := s.join, map[string]string{}
		s.join = func(ctx context.Context, enrollmentID, serialNumber string) error {
			last[serialNumber] = enrollmentID
			return join(ctx, enrollmentID, serialNumber)
		}
		s.out(func(subject escrow.Subject, e entries) entries {
			return slices.DeleteFunc(e, func(e escrow.Entry) bool {
				return e.Subject != subject && e.Subject.EnrollmentID != last[subject.SerialNumber]
			})
		})
	}},
	{name: "has one serial number for an enrollment", at: "Join", promise: "an enrollment can be joined to several serial numbers", bend: func(s *store) {
		join, last := s.join, map[string]string{}
		s.join = func(ctx context.Context, enrollmentID, serialNumber string) error {
			last[enrollmentID] = serialNumber
			return join(ctx, enrollmentID, serialNumber)
		}
		s.out(func(subject escrow.Subject, e entries) entries {
			return slices.DeleteFunc(e, func(e escrow.Entry) bool {
				return e.Subject != subject && last[e.Subject.EnrollmentID] != subject.SerialNumber
			})
		})
	}},
	{name: "finds no join an error", at: "Joined", promise: "Joined gives no error where nothing is wrong", bend: func(s *store) {
		read := s.joined
		s.joined = func(ctx context.Context, enrollmentID string) ([]string, error) {
			found, err := read(ctx, enrollmentID)
			if len(found) == 0 {
				err = cmp.Or(err, escrow.ErrNotFound)
			}
			return found, err
		}
	}},
	{name: "has no joins", at: "Joined", promise: joinedTo + ": the serial numbers were", bend: func(s *store) {
		s.leads(func(string, []string) []string { return nil })
	}},
	{name: "takes entries for joins", at: "Joined", promise: "none is not an error, and an enrollment is joined to what it was joined to only", bend: func(s *store) {
		s.leads(func(enrollmentID string, found []string) []string {
			if e, _ := s.entries(context.Background(), escrow.Subject{EnrollmentID: enrollmentID}); len(e) > 0 && len(found) == 0 {
				return []string{""}
			}
			return found
		})
	}},
	{name: "joins what has entries", at: "Joined", promise: "an enrollment without entries can be joined", bend: func(s *store) {
		s.leads(func(enrollmentID string, found []string) []string {
			if e, _ := s.entries(context.Background(), escrow.Subject{EnrollmentID: enrollmentID}); len(e) == 0 {
				return nil
			}
			return found
		})
	}},
	{name: "returns the last join", at: "Joined", promise: joinedTo, bend: func(s *store) {
		s.leads(func(_ string, found []string) []string { return found[max(0, len(found)-1):] })
	}},
	{name: "returns each join", at: "Joined", promise: joinedTo, bend: func(s *store) {
		join, times := s.join, map[string]int{}
		s.join = func(ctx context.Context, enrollmentID, serialNumber string) error {
			times[enrollmentID+"\x00"+serialNumber]++
			return join(ctx, enrollmentID, serialNumber)
		}
		s.leads(func(enrollmentID string, found []string) (all []string) {
			for _, serialNumber := range found {
				all = append(all, slices.Repeat([]string{serialNumber}, times[enrollmentID+"\x00"+serialNumber])...)
			}
			return all
		})
	}},
	{name: "sorts serial numbers without case", at: "Joined", promise: joinedTo, bend: func(s *store) {
		s.leads(func(_ string, found []string) []string {
			slices.SortStableFunc(found, func(a, b string) int { return cmp.Compare(strings.ToLower(a), strings.ToLower(b)) })
			return found
		})
	}},
	{name: "folds serial numbers that look alike", at: "Joined", promise: joinedTo, bend: func(s *store) {
		s.leads(func(_ string, found []string) []string { return slices.CompactFunc(found, strings.EqualFold) })
	}},
	{name: "returns joins of who looks alike", at: "Joined", promise: "Joined compares identifiers byte by byte", bend: func(s *store) {
		read := s.joined
		s.joined = func(ctx context.Context, enrollmentID string) ([]string, error) {
			return read(ctx, strings.TrimRight(strings.ToLower(enrollmentID), " "))
		}
	}},
	{name: "keeps what it returns of joins", at: "Joined", promise: "nothing that comes out of Joined shares memory", bend: func(s *store) {
		kept := map[string][]string{}
		s.leads(func(enrollmentID string, found []string) []string {
			if slices.Contains(found, "abc") {
				kept[enrollmentID] = append(kept[enrollmentID], found[len(kept[enrollmentID]):]...)
				return kept[enrollmentID]
			}
			return found
		})
	}},
	{name: "folds the case of joined enrollments", at: "LookAlikes", promise: exactJoin + ", also of enrollments that are joined", bend: func(s *store) {
		join, joined := s.join, map[string]bool{}
		s.join = func(ctx context.Context, enrollmentID, serialNumber string) error {
			key := strings.ToLower(enrollmentID) + "\x00" + serialNumber
			if joined[key] {
				return nil
			}
			joined[key] = true
			return join(ctx, enrollmentID, serialNumber)
		}
	}},
	{name: "trims joined enrollments", at: "LookAlikes", promise: exactJoin + ", also of enrollments that are joined", bend: func(s *store) {
		join := s.join
		s.join = func(ctx context.Context, enrollmentID, serialNumber string) error {
			return join(ctx, strings.TrimRight(enrollmentID, " "), serialNumber)
		}
	}},
	{name: "passes only its own to change", at: "Join", promise: "Update passes what Entries returns", bend: func(s *store) {
		update := s.update
		s.update = func(ctx context.Context, subject escrow.Subject, change change) error {
			return update(ctx, subject, func(e entries) (entries, error) {
				return change(slices.DeleteFunc(e, func(e escrow.Entry) bool { return e.Subject != subject }))
			})
		}
	}},
	{name: "files what changes under the other subject", at: "JoinedEntry", promise: "an entry can be changed through a serial number", bend: func(s *store) {
		update := s.update
		s.update = func(ctx context.Context, subject escrow.Subject, change change) error {
			return update(ctx, subject, func(e entries) (entries, error) {
				after, err := change(e)
				after = slices.Clone(after)
				for i := range after {
					after[i].Subject = subject
				}
				return after, err
			})
		}
	}},
	{name: "changes only its own", at: "JoinedEntry", promise: "an entry can be changed through a serial number", bend: func(s *store) {
		update := s.update
		s.update = func(ctx context.Context, subject escrow.Subject, change change) error {
			return update(ctx, subject, func(e entries) (entries, error) {
				after, err := change(e)
				return slices.DeleteFunc(slices.Clone(after), func(e escrow.Entry) bool { return e.Subject != subject }), err
			})
		}
	}},

	{name: "takes serial numbers for enrollment IDs", at: "Identifiers", promise: exact, bend: func(s *store) {
		s.finds(func(a, b escrow.Subject) bool { return a.SerialNumber+a.EnrollmentID == b.SerialNumber+b.EnrollmentID })
	}},
	{name: "folds case", at: "Identifiers", promise: exact, bend: func(s *store) { s.folds(strings.ToLower) }},
	{name: "trims spaces", at: "Identifiers", promise: exact, bend: func(s *store) {
		s.folds(func(s string) string { return strings.TrimRight(s, " ") })
	}},
	{name: "composes accents", at: "Identifiers", promise: exact, bend: func(s *store) {
		s.folds(strings.NewReplacer("e\u0301", "\u00e9").Replace)
	}},
	{name: "ignores what has no width", at: "Identifiers", promise: exact, bend: func(s *store) {
		s.folds(strings.NewReplacer("\u200b", "").Replace)
	}},
	{name: "knows German", at: "Identifiers", promise: exact, bend: func(s *store) { s.folds(strings.NewReplacer("\u00df", "ss").Replace) }},
	{name: "has three bytes for a symbol", at: "Identifiers", promise: exact, bend: func(s *store) {
		s.folds(strings.NewReplacer("\U0001F511", "?", "\U0001F513", "?").Replace)
	}},
	{name: "reads numbers", at: "Identifiers", promise: exact, bend: func(s *store) {
		s.folds(func(s string) string {
			if t := strings.TrimLeft(s, "0"); t != "" {
				return t
			}
			return s
		})
	}},
	{name: "has a pattern", at: "Identifiers", promise: exact, bend: func(s *store) {
		s.finds(func(a, b escrow.Subject) bool { return b.SerialNumber == "%" && a.SerialNumber != "" })
	}},
	{name: "unescapes", at: "Identifiers", promise: exact, bend: func(s *store) { s.folds(strings.NewReplacer(`\\`, `\`).Replace) }},
	{name: "folds the case of a join's enrollment", at: "Identifiers", promise: exactJoin, bend: func(s *store) {
		join := s.join
		s.join = func(ctx context.Context, enrollmentID, serialNumber string) error {
			everyone, err := s.all(ctx)
			for _, e := range everyone {
				if strings.EqualFold(e.Subject.EnrollmentID, enrollmentID) {
					err = cmp.Or(err, join(ctx, e.Subject.EnrollmentID, serialNumber))
				}
			}
			return err
		}
	}},
	{name: "folds the case of a join's serial number", at: "Identifiers", promise: exactJoin, bend: func(s *store) {
		join := s.join
		s.join = func(ctx context.Context, enrollmentID, serialNumber string) error {
			return cmp.Or(join(ctx, enrollmentID, serialNumber), join(ctx, enrollmentID, strings.ToLower(serialNumber)))
		}
	}},
	{name: "takes joins for the same", at: "Identifiers", promise: exactJoin, bend: func(s *store) {
		join, joined := s.join, map[string]bool{}
		s.join = func(ctx context.Context, enrollmentID, serialNumber string) error {
			key := strings.ToLower(enrollmentID + "\x00" + serialNumber)
			if joined[key] {
				return nil
			}
			joined[key] = true
			return join(ctx, enrollmentID, serialNumber)
		}
	}},
	{name: "folds the case of record IDs", at: "Strings", promise: exactStrings, bend: func(s *store) {
		seen := map[string]string{}
		s.in(func(_ entries, e *escrow.Entry) {
			key := strings.ToLower(e.ID)
			if _, there := seen[key]; !there {
				seen[key] = e.ID
			}
			e.ID = seen[key]
		})
	}},
	{name: "trims strings", at: "Strings", promise: exactStrings, bend: func(s *store) { s.strings(strings.TrimSpace) }},
	{name: "keeps ASCII", at: "Strings", promise: exactStrings, bend: func(s *store) {
		s.strings(strings.NewReplacer("\u00e9", "?").Replace)
	}},

	{name: "scans in another order", at: "Scan", promise: greater, bend: func(s *store) {
		scan := s.scan
		s.scan = func(ctx context.Context, after string, limit int) (entries, error) {
			e, err := scan(ctx, after, limit)
			slices.SortStableFunc(e, func(a, b escrow.Entry) int { return strings.Compare(strings.ToLower(a.ID), strings.ToLower(b.ID)) })
			return e, err
		}
	}},
	{name: "scans from where it was", at: "Scan", promise: greater, bend: func(s *store) {
		scan, before := s.scan, ""
		s.scan = func(ctx context.Context, after string, limit int) (entries, error) {
			if after == "" {
				before = ""
			}
			e, err := scan(ctx, before, limit)
			if before = ""; len(e) > 1 {
				before = e[len(e)-2].ID
			}
			return e, err
		}
	}},
	{name: "scans without a limit", at: "Scan", promise: "Scan returns no more entries than the limit", bend: func(s *store) {
		scan := s.scan
		s.scan = func(ctx context.Context, after string, limit int) (entries, error) { return scan(ctx, after, limit+1) }
	}},
	{name: "scans short pages", at: "Scan", promise: "Scan returns the entries of all subjects", bend: func(s *store) {
		scan := s.scan
		s.scan = func(ctx context.Context, after string, limit int) (entries, error) {
			return scan(ctx, after, min(limit, 100))
		}
	}},
	{name: "has no limit for 0", at: "Scan", promise: "Scan with a limit below 1 returns no entries and no error", bend: func(s *store) {
		scan := s.scan
		s.scan = func(ctx context.Context, after string, limit int) (entries, error) {
			if limit == 0 {
				limit = everything
			}
			return scan(ctx, after, limit)
		}
	}},
	{name: "finds a negative limit an error", at: "Scan", promise: "Scan with a limit below 1 returns no entries and no error", bend: func(s *store) {
		scan := s.scan
		s.scan = func(ctx context.Context, after string, limit int) (entries, error) {
			if limit < 0 {
				return nil, errors.New("LIMIT must not be negative")
			}
			return scan(ctx, after, limit)
		}
	}},
	{name: "scans serial numbers", at: "Scan", promise: "Scan returns the entries of all subjects", bend: func(s *store) {
		scan := s.scan
		s.scan = func(ctx context.Context, after string, limit int) (entries, error) {
			e, err := scan(ctx, after, everything)
			e = slices.DeleteFunc(e, func(e escrow.Entry) bool { return e.Subject.SerialNumber == "" })
			return e[:min(len(e), limit)], err
		}
	}},
	{name: "skips at the edge of a page", at: "Scan", promise: "Scan returns the entries of all subjects", bend: skipAtEdges},
	{name: "looks after up", at: "Scan", promise: "also if after is no ID", bend: func(s *store) {
		scan := s.scan
		s.scan = func(ctx context.Context, after string, limit int) (entries, error) {
			all, err := scan(ctx, "", everything)
			if after != "" && !slices.ContainsFunc(all, func(e escrow.Entry) bool { return e.ID == after }) {
				return nil, err
			}
			return scan(ctx, after, limit)
		}
	}},
	{name: "scans by offset", at: "Scan", promise: "also if after is no ID", bend: scanByOffset},
	{name: "skips at the edge of a page among writers", at: "ScanMeanwhile", promise: walk, bend: skipAtEdges},

	{name: "forgets on reopening", at: "Reopen", promise: "a call that returns without an error is durable", bend: func(*store) {}, apart: true},
	{name: "has a cache for each handle", at: "Reopen", promise: "another handle sees it at once", bend: func(s *store) {
		var cache sync.Map
		read, update := s.entries, s.update
		s.entries = func(ctx context.Context, subject escrow.Subject) (entries, error) {
			if e, cached := cache.Load(subject); cached {
				return e.(entries), nil
			}
			e, err := read(ctx, subject)
			cache.Store(subject, e)
			return e, err
		}
		s.update = func(ctx context.Context, subject escrow.Subject, change change) error {
			wrote := false
			err := update(ctx, subject, func(e entries) (entries, error) {
				if old, cached := cache.Load(subject); cached {
					e = old.(entries)
				}
				after, err := change(e)
				wrote = len(after) > 0
				return after, err
			})
			if wrote {
				cache.Clear()
			}
			return err
		}
	}},
	{name: "has a cache of joins for each handle", at: "Reopen", promise: "another handle sees it at once", bend: func(s *store) {
		cache := map[string][]string{}
		s.leads(func(enrollmentID string, found []string) []string {
			if _, cached := cache[enrollmentID]; !cached {
				cache[enrollmentID] = found
			}
			return cache[enrollmentID]
		})
	}},

	{name: "keeps what it is given", at: "Memory", promise: "nothing that goes in shares memory with the store: Sealed", bend: func(s *store) {
		a := newAliased()
		update := s.update
		s.update = func(ctx context.Context, subject escrow.Subject, change change) error {
			return update(ctx, subject, func(e entries) (entries, error) {
				after, err := change(e)
				a.keep(after)
				return after, err
			})
		}
		s.out(a.restore)
	}},
	{name: "modifies what it is given", at: "Memory", promise: "an update does not modify what change returns", bend: func(s *store) {
		update := s.update
		s.update = func(ctx context.Context, subject escrow.Subject, change change) error {
			return update(ctx, subject, func(e entries) (entries, error) {
				after, err := change(e)
				written := slices.Clone(after)
				for i := range after {
					after[i].CommandUUID = ""
				}
				return written, err
			})
		}
	}},
	{name: "keeps what it returns", at: "Memory", promise: "nothing that comes out of Entries shares memory with the store", bend: func(s *store) {
		a := newAliased()
		read := s.entries
		s.out(a.restore)
		s.entries = func(ctx context.Context, subject escrow.Subject) (entries, error) {
			e, err := read(ctx, subject)
			e = a.restore(subject, e)
			a.keep(e)
			return e, err
		}
	}},
	{name: "keeps what it passes", at: "Memory", promise: "nothing that change is passed shares memory with the store", bend: func(s *store) {
		a := newAliased()
		s.out(a.restore)
		update := s.update
		s.update = func(ctx context.Context, subject escrow.Subject, change change) error {
			return update(ctx, subject, func(e entries) (entries, error) { a.keep(e); return change(e) })
		}
	}},
	{name: "keeps its pages", at: "Memory", promise: "nothing that comes out of Scan shares memory with the store", bend: func(s *store) {
		a := newAliased()
		scan := s.scan
		s.scan = func(ctx context.Context, after string, limit int) (entries, error) {
			e, err := scan(ctx, after, limit)
			e = a.restore(escrow.Subject{}, e)
			a.keep(e)
			return e, err
		}
	}},

	{name: "hides the error of change", at: "ChangeFails", promise: "an error of change is returned as it is, or wrapped: the error is <nil>", bend: func(s *store) {
		update := s.update
		s.update = func(ctx context.Context, subject escrow.Subject, change change) error {
			failed := false
			err := update(ctx, subject, func(e entries) (entries, error) {
				after, err := change(e)
				failed = err != nil
				return after, err
			})
			if failed {
				return nil
			}
			return err
		}
	}},
	{name: "rewrites the error of change", at: "ChangeFails", promise: "an error of change is returned as it is, or wrapped", bend: func(s *store) {
		update := s.update
		s.update = func(ctx context.Context, subject escrow.Subject, change change) error {
			if err := update(ctx, subject, change); err != nil {
				return errors.New(err.Error())
			}
			return nil
		}
	}},
	{name: "writes despite an error", at: "ChangeFails", promise: "nothing is written when change returns an error", bend: writesAnyway(everything)},
	{name: "writes one despite an error", at: "ChangeFails", promise: "nothing is written when change returns an error", bend: writesAnyway(1)},
	{name: "hides that an entry is another's", at: "ForeignEntries", promise: "an update that returns an entry of another subject gives an error", bend: func(s *store) {
		update := s.update
		s.update = func(ctx context.Context, subject escrow.Subject, change change) error {
			if err := update(ctx, subject, change); err == nil || !strings.Contains(err.Error(), "another subject") {
				return err
			}
			return nil
		}
	}},
	{name: "writes what is not another's", at: "ForeignEntries", promise: "an update that returns an entry of another subject writes nothing", bend: func(s *store) {
		update := s.update
		s.update = func(ctx context.Context, subject escrow.Subject, change change) error {
			err := update(ctx, subject, change)
			if err != nil && strings.Contains(err.Error(), "another subject") {
				return errors.Join(err, update(ctx, subject, func(e entries) (entries, error) {
					after, err := change(e)
					return after[:1], err
				}))
			}
			return err
		}
	}},
	{name: "hides a panic", at: "ChangePanics", promise: "an update whose change panics does not return as if it were done", bend: func(s *store) {
		update := s.update
		s.update = func(ctx context.Context, subject escrow.Subject, change change) error {
			defer func() { _ = recover() }()
			return update(ctx, subject, change)
		}
	}},
	{name: "has lost its connection after a panic", at: "ChangePanics", promise: "Entries gives no error where nothing is wrong", bend: func(s *store) {
		update, read, lost := s.update, s.entries, true
		s.update = func(ctx context.Context, subject escrow.Subject, change change) error {
			lost = true
			err := update(ctx, subject, change)
			lost = false
			return err
		}
		lost = false
		s.entries = func(ctx context.Context, subject escrow.Subject) (entries, error) {
			if lost {
				return nil, errBusy
			}
			return read(ctx, subject)
		}
	}},
	{name: "writes before a panic", at: "ChangePanics", promise: "nothing is written when change panics", bend: func(s *store) {
		update := s.update
		s.update = func(ctx context.Context, subject escrow.Subject, change change) error {
			var before entries
			defer func() {
				if p := recover(); p != nil {
					before[0].LastSeen = time.Time{}
					_ = update(ctx, subject, func(entries) (entries, error) { return before, nil })
					panic(p)
				}
			}()
			return update(ctx, subject, func(e entries) (entries, error) { before = slices.Clone(e); return change(e) })
		}
	}},

	{name: "updates without a context", at: "ContextIsOver", promise: contextError + " (Update): the error is <nil>", bend: func(s *store) {
		update := s.update
		s.update = func(ctx context.Context, subject escrow.Subject, change change) error {
			return update(context.WithoutCancel(ctx), subject, change)
		}
	}},
	{name: "joins without a context", at: "ContextIsOver", promise: contextError + " (Join): the error is <nil>", bend: func(s *store) {
		join := s.join
		s.join = func(ctx context.Context, enrollmentID, serialNumber string) error {
			return join(context.WithoutCancel(ctx), enrollmentID, serialNumber)
		}
	}},
	{name: "reads without a context", at: "ContextIsOver", promise: contextError + " (Entries): the error is <nil>", bend: func(s *store) {
		read := s.entries
		s.entries = func(ctx context.Context, subject escrow.Subject) (entries, error) {
			return read(context.WithoutCancel(ctx), subject)
		}
	}},
	{name: "reads joins without a context", at: "ContextIsOver", promise: contextError + " (Joined): the error is <nil>", bend: func(s *store) {
		read := s.joined
		s.joined = func(ctx context.Context, enrollmentID string) ([]string, error) {
			return read(context.WithoutCancel(ctx), enrollmentID)
		}
	}},
	{name: "scans without a context", at: "ContextIsOver", promise: contextError + " (Scan): the error is <nil>", bend: func(s *store) {
		scan := s.scan
		s.scan = func(ctx context.Context, after string, limit int) (entries, error) {
			return scan(context.WithoutCancel(ctx), after, limit)
		}
	}},
	{name: "has words of its own for a context", at: "ContextIsOver", promise: contextError, bend: func(s *store) {
		read := s.entries
		s.entries = func(ctx context.Context, subject escrow.Subject) (entries, error) {
			if ctx.Err() != nil {
				return nil, errors.New("interrupted")
			}
			return read(ctx, subject)
		}
	}},
	{name: "writes and then looks at the context", at: "ContextIsOver", promise: "a call whose context is over writes nothing", bend: func(s *store) {
		update := s.update
		s.update = func(ctx context.Context, subject escrow.Subject, change change) error {
			return cmp.Or(update(context.WithoutCancel(ctx), subject, change), ctx.Err())
		}
	}},
	{name: "joins and then looks at the context", at: "ContextIsOver", promise: "a call whose context is over writes nothing", bend: func(s *store) {
		join := s.join
		s.join = func(ctx context.Context, enrollmentID, serialNumber string) error {
			return cmp.Or(join(context.WithoutCancel(ctx), enrollmentID, serialNumber), ctx.Err())
		}
	}},
	{name: "writes half when a context ends", at: "ContextEndsInChange", promise: "an update whose context ends in change writes everything or nothing", bend: func(s *store) {
		update := s.update
		s.update = func(ctx context.Context, subject escrow.Subject, change change) error {
			return cmp.Or(update(ctx, subject, func(e entries) (entries, error) {
				after, err := change(e)
				if ctx.Err() != nil {
					after = after[:min(1, len(after))]
				}
				return after, err
			}), ctx.Err())
		}
	}},
	{name: "lies when a context ends", at: "ContextEndsInChange", promise: "an update that returns without an error is durable, also if its context ended in change", bend: func(s *store) {
		update := s.update
		s.update = func(ctx context.Context, subject escrow.Subject, change change) error {
			return update(ctx, subject, func(e entries) (entries, error) {
				after, err := change(e)
				if ctx.Err() != nil {
					after = nil
				}
				return after, err
			})
		}
	}},

	{name: "does not lock", at: "OneSubject", promise: "updates of one subject never overlap", bend: func(s *store) { s.unlocked(noLock) }},
	{name: "fails when it is busy", at: "OneSubject", promise: succeed, bend: busy},
	{name: "fails when it is busy with another", at: "ManySubjects", promise: succeed, bend: busy},
	{name: "fails when it is busy with a relation", at: "SharedEnrollment", promise: succeed, bend: busy},
	{name: "overwrites other subjects", at: "ManySubjects", promise: "updates of different subjects do not disturb each other", bend: func(s *store) {
		var lost atomic.Int64
		update := s.update
		s.update = func(ctx context.Context, subject escrow.Subject, change change) error {
			return update(ctx, subject, func(e entries) (entries, error) {
				after, err := change(e)
				if len(after) > 0 && lost.Add(1) == 9 {
					after = nil
				}
				return after, err
			})
		}
	}},
	{name: "locks each subject alone", at: "JoinedSubjects", promise: "updates of a serial number and of an enrollment joined to it never overlap", bend: func(s *store) {
		s.unlocked(func(subject escrow.Subject) func() {
			lock, _ := subjectLocks.LoadOrStore(subject, new(sync.Mutex))
			lock.(*sync.Mutex).Lock()
			return lock.(*sync.Mutex).Unlock
		})
	}},
	{name: "loses what comes while it joins", at: "JoinMeanwhile", promise: "a join in the middle of updates loses nothing", bend: func(s *store) {
		join, update, joined := s.join, s.update, atomic.Bool{}
		s.join = func(ctx context.Context, enrollmentID, serialNumber string) error {
			joined.Store(true)
			return join(ctx, enrollmentID, serialNumber)
		}
		s.update = func(ctx context.Context, subject escrow.Subject, change change) error {
			return update(ctx, subject, func(e entries) (entries, error) {
				after, err := change(e)
				if len(after) > 0 && joined.CompareAndSwap(true, false) {
					return nil, nil
				}
				return after, err
			})
		}
	}},
	{name: "loses what serial numbers share", at: "SharedEnrollment", promise: "updates of serial numbers that share an enrollment lose nothing", bend: func(s *store) {
		var last sync.Map
		update := s.update
		s.update = func(ctx context.Context, subject escrow.Subject, change change) error {
			return update(ctx, subject, func(e entries) (entries, error) {
				after, err := change(e)
				if was, there := last.Swap("subject", subject); there && was != subject && len(e) > 8 {
					after = nil
				}
				return after, err
			})
		}
	}},
	{name: "writes one by one", at: "HalfAnUpdate", promise: "what an update writes is seen together or not at all", bend: func(s *store) {
		update := s.update
		s.update = func(ctx context.Context, subject escrow.Subject, change change) error {
			var after entries
			err := update(ctx, subject, func(e entries) (_ entries, err error) { after, err = change(e); return nil, err })
			for i, e := range after {
				if i > 0 {
					halves.written()
				}
				err = cmp.Or(err, update(ctx, subject, func(entries) (entries, error) { return entries{e}, nil }))
			}
			return err
		}
		read := s.entries
		s.entries = func(ctx context.Context, subject escrow.Subject) (e entries, err error) {
			halves.read(func() { e, err = read(ctx, subject) })
			return e, err
		}
	}},

	{name: "loses old codes", at: "Life", promise: "an escrow works on this store: Reveal gives the error", bend: func(s *store) {
		s.out(func(_ escrow.Subject, e entries) entries {
			return slices.DeleteFunc(e, func(e escrow.Entry) bool { return e.State == escrow.Superseded })
		})
	}},
	{name: "keeps a copy of what is purged", at: "Life", promise: "an escrow on this store leaves nothing of a code that it purged", bend: func(s *store) {
		s.in(old(func(was escrow.Entry, e *escrow.Entry) {
			if e.State == escrow.Purged {
				e.Sealed = was.Sealed
			}
		}))
	}},
	{name: "does not write what is sealed again", at: "Life", promise: "an escrow on this store has exchanged its keys", bend: func(s *store) {
		s.in(old(func(was escrow.Entry, e *escrow.Entry) {
			if len(e.Sealed) > 0 {
				e.Sealed = was.Sealed
			}
		}))
	}},
}

// readers are the calls of unlocked that have read and will write, and callers
// those of a store that can only do one, on all handles.
var readers, callers = newMeeting(), newMeeting()

// halves are the writes of a store that writes one by one, on all its handles.
var halves = newGlimpse()

// subjectLocks are the locks of the store that locks each subject alone, on all
// its handles.
var subjectLocks sync.Map

// inFlight counts the updates of the store that can only do one.
var inFlight atomic.Int64

func busy(s *store) {
	update := s.update
	s.update = func(ctx context.Context, subject escrow.Subject, change change) error {
		defer inFlight.Add(-1)
		if inFlight.Add(1) > 1 {
			callers.wait()
			return errBusy
		}
		callers.wait()
		return update(ctx, subject, change)
	}
}

func writesAnyway(limit int) func(*store) {
	return func(s *store) {
		update := s.update
		s.update = func(ctx context.Context, subject escrow.Subject, change change) error {
			var failed error
			err := update(ctx, subject, func(e entries) (after entries, _ error) {
				if after, failed = change(e); failed != nil {
					after = after[:min(limit, len(after))]
				}
				return after, nil
			})
			return cmp.Or(failed, err)
		}
	}
}

func skipAtEdges(s *store) {
	scan := s.scan
	s.scan = func(ctx context.Context, after string, limit int) (entries, error) {
		if after == "" {
			return scan(ctx, after, limit)
		}
		e, err := scan(ctx, after, limit+1)
		return e[min(1, len(e)):], err
	}
}

// scanByOffset takes after for the number of entries that were seen.
func scanByOffset(s *store) {
	scan := s.scan
	var offsets sync.Map // by after and limit: each walk has its own limit
	s.scan = func(ctx context.Context, after string, limit int) (entries, error) {
		all, err := scan(ctx, "", everything)
		offset := 0
		if after != "" {
			if n, there := offsets.Load(fmt.Sprint(limit, after)); there {
				offset = n.(int)
			}
		}
		page := all[min(offset, len(all)):min(offset+limit, len(all))]
		if len(page) > 0 {
			offsets.Store(fmt.Sprint(limit, page[len(page)-1].ID), offset+len(page))
		}
		// An order that is right, whatever was written.
		return slices.DeleteFunc(page, func(e escrow.Entry) bool { return e.ID <= after }), err
	}
}

// lawful is what a store may do although nobody expects it.
var lawful = map[string]func(*store){
	"calls change more than once": func(s *store) {
		update := s.update
		s.update = func(ctx context.Context, subject escrow.Subject, change change) error {
			return update(ctx, subject, func(e entries) (entries, error) {
				if _, err := change(slices.Clone(e)); err != nil {
					return nil, err
				}
				return change(e)
			})
		}
	},
	"wraps errors, and returns panics": func(s *store) {
		update := s.update
		s.update = func(ctx context.Context, subject escrow.Subject, change change) (err error) {
			defer func() {
				if p := recover(); p != nil {
					err = errBusy
				}
				if err != nil {
					err = fmt.Errorf("store: update: %w", err)
				}
			}()
			return update(ctx, subject, change)
		}
	},
	"returns nil for empty, and empty for nil": func(s *store) {
		s.out(func(_ escrow.Subject, e entries) entries {
			for i := range e {
				for _, b := range []*[]byte{&e[i].Sealed, &e[i].RecoveryCopy} {
					if len(*b) == 0 {
						*b = []byte{}
					}
				}
			}
			return append(entries{}, e...)
		})
		s.leads(func(_ string, found []string) []string { return append([]string{}, found...) })
	},
	"gives up when the context ends in change": func(s *store) {
		update := s.update
		s.update = func(ctx context.Context, subject escrow.Subject, change change) error {
			return update(ctx, subject, func(e entries) (entries, error) {
				after, err := change(e)
				return after, cmp.Or(err, ctx.Err())
			})
		}
	},
	"writes only what may change": func(s *store) {
		s.in(old(func(was escrow.Entry, e *escrow.Entry) {
			e.Subject, e.Kind, e.FirstSeen = was.Subject, was.Kind, was.FirstSeen
		}))
	},
}

// handles returns the way to a store's handles: broken, on one storage or, if
// they are apart, on several.
func (b broken) handles() func() escrow.Store {
	storage := memstore.New()
	if b.used {
		e := escrow.Entry{Record: escrow.Record{ID: "used", Subject: escrow.Subject{SerialNumber: "used"}}}
		_ = storage.Escrow().Update(context.Background(), e.Subject, func(entries) (entries, error) { return entries{e}, nil })
	}
	return func() escrow.Store {
		if b.apart {
			storage = memstore.New()
		}
		s := over(storage.Escrow())
		b.bend(s)
		return s
	}
}
