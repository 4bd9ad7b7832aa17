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
	"time"

	"github.com/activationlock/sdk/activationlock/bypass"
	"github.com/activationlock/sdk/activationlock/memstore"
	"github.com/activationlock/sdk/bypasscode"
	"github.com/activationlock/sdk/bypasscode/escrow"
)

type (
	list = []bypass.Action
	edit = func(*bypass.Action) error
)

// actionStore is a store whose methods can be exchanged. It begins as one that
// keeps every promise.
type actionStore struct {
	create   func(context.Context, bypass.Action) error
	update   func(ctx context.Context, id string, change edit) error
	get      func(ctx context.Context, id string) (bypass.Action, error)
	ofDevice func(ctx context.Context, serialNumber string) (list, error)
	scan     func(ctx context.Context, after string, limit int, open bool) (list, error)
}

func (s *actionStore) Create(ctx context.Context, a bypass.Action) error { return s.create(ctx, a) }
func (s *actionStore) Update(ctx context.Context, id string, change func(*bypass.Action) error) error {
	return s.update(ctx, id, change)
}
func (s *actionStore) Get(ctx context.Context, id string) (bypass.Action, error) {
	return s.get(ctx, id)
}
func (s *actionStore) OfDevice(ctx context.Context, serialNumber string) ([]bypass.Action, error) {
	return s.ofDevice(ctx, serialNumber)
}
func (s *actionStore) Scan(ctx context.Context, after string, limit int, open bool) ([]bypass.Action, error) {
	return s.scan(ctx, after, limit, open)
}

// all returns every action.
func (s *actionStore) all(ctx context.Context) list {
	all, _ := s.scan(ctx, "", everything, false)
	return all
}

// creates changes what a call of Create does.
func (s *actionStore) creates(do func(ctx context.Context, a bypass.Action, create func(context.Context, bypass.Action) error) error) {
	create := s.create
	s.create = func(ctx context.Context, a bypass.Action) error { return do(ctx, a, create) }
}

// updates changes what a call of Update does.
func (s *actionStore) updates(do func(ctx context.Context, id string, change edit, update func(context.Context, string, edit) error) error) {
	update := s.update
	s.update = func(ctx context.Context, id string, change edit) error { return do(ctx, id, change, update) }
}

// changes changes what change does.
func (s *actionStore) changes(do func(ctx context.Context, a *bypass.Action, change edit) error) {
	s.updates(func(ctx context.Context, id string, change edit, update func(context.Context, string, edit) error) error {
		return update(ctx, id, func(a *bypass.Action) error { return do(ctx, a, change) })
	})
}

// in changes each action that is written.
func (s *actionStore) in(edit func(a *bypass.Action)) {
	s.creates(func(ctx context.Context, a bypass.Action, create func(context.Context, bypass.Action) error) error {
		a = a.Clone()
		edit(&a)
		return create(ctx, a)
	})
	s.old(func(_ bypass.Action, a *bypass.Action) { edit(a) })
}

// old changes each action that is updated.
func (s *actionStore) old(edit func(was bypass.Action, a *bypass.Action)) {
	s.changes(func(_ context.Context, a *bypass.Action, change func(*bypass.Action) error) error {
		was := a.Clone()
		err := change(a)
		*a = a.Clone()
		edit(was, a)
		return err
	})
}

// out changes each action that is read.
func (s *actionStore) out(edit func(a *bypass.Action)) {
	get := s.get
	s.get = func(ctx context.Context, id string) (bypass.Action, error) {
		a, err := get(ctx, id)
		if err == nil {
			edit(&a)
		}
		return a, err
	}
	s.lists(func(l list) list {
		for i := range l {
			edit(&l[i])
		}
		return l
	})
	s.pages(func(_ string, _ int, _ bool, l list) list {
		for i := range l {
			edit(&l[i])
		}
		return l
	})
}

// lists changes what is read of a device, and pages what is read of all.
func (s *actionStore) lists(edit func(list) list) {
	read := s.ofDevice
	s.ofDevice = func(ctx context.Context, serialNumber string) (list, error) {
		l, err := read(ctx, serialNumber)
		return edit(l), err
	}
}

func (s *actionStore) pages(edit func(after string, limit int, open bool, page list) list) {
	scan := s.scan
	s.scan = func(ctx context.Context, after string, limit int, open bool) (list, error) {
		l, err := scan(ctx, after, limit, open)
		return edit(after, limit, open, l), err
	}
}

// texts changes strings that are written.
func (s *actionStore) texts(edit func(string) string) {
	s.in(func(a *bypass.Action) {
		a.By.Reason = edit(a.By.Reason)
		for i := range a.Attempts {
			a.Attempts[i].Detail = edit(a.Attempts[i].Detail)
		}
	})
}

// moments changes times that are read.
func (s *actionStore) moments(edit func(time.Time) time.Time) {
	s.out(func(a *bypass.Action) {
		a.NextAt = edit(a.NextAt)
		for i := range a.Attempts {
			a.Attempts[i].SentAt = edit(a.Attempts[i].SentAt)
		}
	})
}

// folds takes identifiers for the same that are so after a function.
func (s *actionStore) folds(fold func(string) string) {
	s.creates(func(ctx context.Context, a bypass.Action, create func(context.Context, bypass.Action) error) error {
		for _, other := range s.all(ctx) {
			if fold(a.ID) == fold(other.ID) && a.ID != other.ID {
				return bypass.ErrExists
			}
		}
		return create(ctx, a)
	})
}

// unlocked updates in two steps: it reads with one, and writes with the next. Two
// calls wait for each other between the steps.
func (s *actionStore) unlocked(lock func() func()) {
	s.updates(func(ctx context.Context, id string, change edit, update func(context.Context, string, edit) error) error {
		defer lock()()
		a, err := s.get(ctx, id)
		if err != nil {
			return err
		}
		if err := change(&a); err != nil {
			return err
		}
		readers.wait()
		return update(ctx, id, func(now *bypass.Action) error {
			if now.State.Over() {
				a.State = now.State
			}
			*now = a
			return nil
		})
	})
}

// elsewhere keeps what the store under it would not.
type elsewhere struct {
	mu      sync.Mutex
	actions map[string]bypass.Action
}

// brokenActions is a store of actions that breaks one promise.
type brokenActions struct {
	name    string
	at      string // the case that finds it
	promise string // what the failure says
	bend    func(*actionStore)
	apart   bool // each handle has a storage of its own
	used    bool // it is not empty
}

const (
	keepsAction  = "a new action keeps every field"
	keepsChange  = "an update changes every field that may change, and no other"
	keepsFull    = "an action keeps every field up to the limits"
	keepsMoment  = "times are returned as they came: in UTC, in whole microseconds, zero as zero"
	missing      = "it is ErrNotFound if there is no such action"
	byStart      = "OfDevice returns actions in the order of their start, and of the same moment in the byte order of their IDs"
	existsFirst  = "it is ErrExists if there is an action with that ID, whatever else there is"
	oneOpen      = "it is ErrOpen if the action is not over and its subject has one that is not over either"
	inNobodysWay = "an action that is over is in nobody's way"
	staysFixed   = "ID and subject of an action stay as they are, and one that is over stays over"
	looksAlike   = "actions of subjects that look alike are not in each other's way: identifiers are compared byte by byte"
	scansAll     = "Scan returns the actions of all subjects in the byte order of their IDs"
	neverOverlap = "two updates of one action never overlap"
	oneWins      = "of several calls at the same time that create an action of one subject, one succeeds, and the others get ErrOpen"
)

// openIn reports whether an action is in one of the states.
func openIn(a *bypass.Action, states ...bypass.State) bool { return slices.Contains(states, a.State) }

// brokenActionStores break each promise in at least one way.
var brokenActionStores = []brokenActions{
	{name: "is not empty", at: "None", promise: "fresh makes an empty storage", bend: func(*actionStore) {}, used: true},
	{name: "finds none an error", at: "None", promise: "none is not an error: OfDevice", bend: func(s *actionStore) {
		read := s.ofDevice
		s.ofDevice = func(ctx context.Context, serialNumber string) (list, error) {
			l, err := read(ctx, serialNumber)
			if len(l) == 0 {
				err = cmp.Or(err, bypass.ErrNotFound)
			}
			return l, err
		}
	}},
	{name: "finds an empty page an error", at: "None", promise: "Scan gives no error where nothing is wrong", bend: func(s *actionStore) {
		scan := s.scan
		s.scan = func(ctx context.Context, after string, limit int, open bool) (list, error) {
			l, err := scan(ctx, after, limit, open)
			if len(l) == 0 {
				err = cmp.Or(err, bypass.ErrNotFound)
			}
			return l, err
		}
	}},
	{name: "returns an empty action for none", at: "None", promise: missing + " (Get): the error is <nil>", bend: func(s *actionStore) {
		get := s.get
		s.get = func(ctx context.Context, id string) (bypass.Action, error) {
			a, err := get(ctx, id)
			if errors.Is(err, bypass.ErrNotFound) {
				return bypass.Action{}, nil
			}
			return a, err
		}
	}},
	{name: "returns half an action with its error", at: "None", promise: missing + ": Get returns the zero Action", bend: func(s *actionStore) {
		get := s.get
		s.get = func(ctx context.Context, id string) (bypass.Action, error) {
			a, err := get(ctx, id)
			a.ID = id
			return a, err
		}
	}},
	{name: "makes what it updates", at: "None", promise: missing + " (Update): the error is <nil>", bend: func(s *actionStore) {
		s.updates(func(ctx context.Context, id string, change edit, update func(context.Context, string, edit) error) error {
			err := update(ctx, id, change)
			if errors.Is(err, bypass.ErrNotFound) {
				a := bypass.Action{ID: id, State: bypass.Failed}
				return cmp.Or(change(&a), s.create(ctx, a))
			}
			return err
		})
	}},
	{name: "calls change for none", at: "None", promise: missing + ": change is not called", bend: func(s *actionStore) {
		s.updates(func(ctx context.Context, id string, change edit, update func(context.Context, string, edit) error) error {
			err := update(ctx, id, change)
			if errors.Is(err, bypass.ErrNotFound) {
				_ = change(new(bypass.Action))
			}
			return err
		})
	}},
	{name: "finds strange identifiers an error", at: "None", promise: missing + " (Get)", bend: func(s *actionStore) {
		get := s.get
		s.get = func(ctx context.Context, id string) (bypass.Action, error) {
			if strings.ContainsRune(id, 0) {
				return bypass.Action{}, errors.New("invalid byte sequence")
			}
			return get(ctx, id)
		}
	}},
	{name: "finds enrollments under no serial number", at: "None", promise: "none is not an error: OfDevice returns", bend: func(s *actionStore) {
		read := s.ofDevice
		s.ofDevice = func(ctx context.Context, serialNumber string) (list, error) {
			if serialNumber == "" {
				return slices.DeleteFunc(s.all(ctx), func(a bypass.Action) bool { return a.Subject.SerialNumber != "" }), nil
			}
			return read(ctx, serialNumber)
		}
	}},

	{name: "forgets a field", at: "NewAction", promise: keepsAction + `: Device.UDID was`, bend: func(s *actionStore) {
		s.in(func(a *bypass.Action) { a.Device.UDID = "" })
	}},
	{name: "forgets a field deep inside", at: "NewAction", promise: keepsAction + `: Attempts[0].StatusCode was`, bend: func(s *actionStore) {
		s.in(func(a *bypass.Action) {
			for i := range a.Attempts {
				a.Attempts[i].StatusCode = 0
			}
		})
	}},
	{name: "takes one reason for the other", at: "NewAction", promise: keepsAction + `: By.Reason was`, bend: func(s *actionStore) {
		s.in(func(a *bypass.Action) { a.By.Reason = string(a.Reason) })
	}},
	{name: "mixes two flags up", at: "NewAction", promise: keepsAction + `: Attempts[`, bend: func(s *actionStore) {
		s.in(func(a *bypass.Action) {
			for i := range a.Attempts {
				a.Attempts[i].Lost, a.Attempts[i].NotOpened = a.Attempts[i].NotOpened, a.Attempts[i].Lost
			}
		})
	}},
	{name: "keeps one attempt", at: "NewAction", promise: keepsAction + `: Attempts had 2 elements and has 1`, bend: func(s *actionStore) {
		s.in(func(a *bypass.Action) { a.Attempts = a.Attempts[:min(1, len(a.Attempts))] })
	}},
	{name: "keeps four attempts", at: "NewAction", promise: keepsAction + `: Attempts had 10 elements and has 4`, bend: func(s *actionStore) {
		s.in(func(a *bypass.Action) { a.Attempts = a.Attempts[:min(bypass.MaxAttempts, len(a.Attempts))] })
	}},
	{name: "sorts attempts", at: "NewAction", promise: keepsAction + `: Attempts[`, bend: func(s *actionStore) {
		s.in(func(a *bypass.Action) {
			slices.SortFunc(a.Attempts, func(a, b bypass.Attempt) int { return cmp.Compare(a.RecordID, b.RecordID) })
		})
	}},
	{name: "knows a state less", at: "NewAction", promise: keepsAction + `: State was "notSupported"`, bend: func(s *actionStore) {
		s.in(func(a *bypass.Action) {
			if a.State == bypass.NotSupported {
				a.State = bypass.Failed
			}
		})
	}},
	{name: "reads the columns that it knows", at: "NewAction", promise: keepsAction + ` (Scan): Attempts had 2 elements and has 0`, bend: func(s *actionStore) {
		s.pages(func(_ string, _ int, _ bool, l list) list {
			for i := range l {
				l[i].Attempts = nil
			}
			return l
		})
	}},
	{name: "forgets a field of a device's", at: "NewAction", promise: keepsAction + ` (OfDevice): Noted was`, bend: func(s *actionStore) {
		s.lists(func(l list) list {
			for i := range l {
				l[i].Noted = false
			}
			return l
		})
	}},

	{name: "does not update a field", at: "ChangedAction", promise: keepsChange + ": Device.MEID was", bend: func(s *actionStore) {
		s.old(func(was bypass.Action, a *bypass.Action) { a.Device.MEID = was.Device.MEID })
	}},
	{name: "does not update a field deep inside", at: "ChangedAction", promise: keepsChange + ": Attempts[1].Outcome was", bend: func(s *actionStore) {
		s.old(func(was bypass.Action, a *bypass.Action) {
			if len(was.Attempts) > 1 && len(a.Attempts) > 1 {
				a.Attempts[1].Outcome = was.Attempts[1].Outcome
			}
		})
	}},
	{name: "does not empty a field", at: "ChangedAction", promise: keepsChange + `: Reason was ""`, bend: func(s *actionStore) {
		s.old(func(was bypass.Action, a *bypass.Action) { a.Reason = cmp.Or(a.Reason, was.Reason) })
	}},
	{name: "does not take a time back", at: "ChangedAction", promise: keepsChange + ": NextAt was zero", bend: func(s *actionStore) {
		s.old(func(was bypass.Action, a *bypass.Action) { a.NextAt = cmp.Or(a.NextAt, was.NextAt) })
	}},
	{name: "merges lists", at: "ChangedAction", promise: keepsChange + ": Unsupported had 0 elements and has 2", bend: func(s *actionStore) {
		s.old(func(was bypass.Action, a *bypass.Action) {
			if len(a.Unsupported) == 0 {
				a.Unsupported = was.Unsupported
			}
		})
	}},
	{name: "never goes back to pending", at: "ChangedAction", promise: keepsChange + `: State was "pending"`, bend: func(s *actionStore) {
		s.old(func(was bypass.Action, a *bypass.Action) {
			if a.State == bypass.Pending {
				a.State = was.State
			}
		})
	}},
	{name: "keeps the first end", at: "ChangedAction", promise: keepsChange + `: State was "done" and is "canceled"`, bend: func(s *actionStore) {
		s.old(func(was bypass.Action, a *bypass.Action) {
			if was.State == bypass.Canceled {
				a.State = was.State
			}
		})
	}},
	{name: "updates all actions of a device", at: "ChangedAction", promise: keepsChange, bend: func(s *actionStore) {
		s.updates(func(ctx context.Context, id string, change edit, update func(context.Context, string, edit) error) error {
			if err := update(ctx, id, change); err != nil {
				return err
			}
			of, _ := s.get(ctx, id)
			for _, other := range s.all(ctx) {
				if other.Subject == of.Subject {
					if err := update(ctx, other.ID, func(a *bypass.Action) error { a.Noted = of.Noted; return nil }); err != nil {
						return err
					}
				}
			}
			return nil
		})
	}},

	{name: "cuts strings", at: "Limits", promise: keepsFull + ": By.Reason was", bend: func(s *actionStore) { s.texts(upTo(254)) }},
	{name: "cuts details", at: "Limits", promise: keepsFull + ": Attempts[0].Detail was", bend: func(s *actionStore) { s.texts(upTo(256)) }},
	{name: "has small numbers", at: "Limits", promise: keepsFull + ": Attempts[0].Tries was", bend: func(s *actionStore) {
		s.in(func(a *bypass.Action) {
			for i := range a.Attempts {
				a.Attempts[i].Tries = int(int16(a.Attempts[i].Tries))
			}
		})
	}},
	{name: "has no room", at: "Limits", promise: "Create gives no error where nothing is wrong", bend: func(s *actionStore) {
		s.creates(func(ctx context.Context, a bypass.Action, create func(context.Context, bypass.Action) error) error {
			if len(fmt.Sprintf("%q", fmt.Sprint(a))) > 1<<15 {
				return errors.New("data too long for column 'body'")
			}
			return create(ctx, a)
		})
	}},
	{name: "has three bytes for a symbol", at: "Strings", promise: "strings are kept byte by byte: By.Reason was", bend: func(s *actionStore) {
		s.texts(func(s string) string { return strings.ReplaceAll(s, "\U0001F513", "?") })
	}},
	{name: "escapes as for a page", at: "Strings", promise: "strings are kept byte by byte: By.Reason was", bend: func(s *actionStore) {
		s.texts(func(s string) string { return strings.ReplaceAll(s, "&", "&amp;") })
	}},
	{name: "trims strings", at: "Strings", promise: "strings are kept byte by byte: By.Reason was", bend: func(s *actionStore) {
		s.texts(func(s string) string { return strings.TrimRight(s, " ") })
	}},
	{name: "folds the case of IDs", at: "Identifiers", promise: looksAlike, bend: func(s *actionStore) { s.folds(strings.ToLower) }},
	{name: "compares the beginnings of IDs", at: "Identifiers", promise: looksAlike, bend: func(s *actionStore) { s.folds(upTo(254)) }},
	{name: "folds the case of serial numbers", at: "Identifiers", promise: looksAlike, bend: func(s *actionStore) {
		s.creates(func(ctx context.Context, a bypass.Action, create func(context.Context, bypass.Action) error) error {
			for _, other := range s.all(ctx) {
				if !other.State.Over() && !a.State.Over() && other.ID != a.ID && a.Subject.SerialNumber != "" &&
					strings.EqualFold(other.Subject.SerialNumber, a.Subject.SerialNumber) {
					return bypass.ErrOpen
				}
			}
			return create(ctx, a)
		})
	}},
	{name: "finds serial numbers without their spaces", at: "Identifiers", promise: "IDs and serial numbers are compared byte by byte", bend: func(s *actionStore) {
		read := s.ofDevice
		s.ofDevice = func(ctx context.Context, serialNumber string) (list, error) {
			l, err := read(ctx, serialNumber)
			if trimmed := strings.TrimRight(serialNumber, " "); len(l) == 0 && trimmed != "" {
				return read(ctx, trimmed)
			}
			return l, err
		}
	}},
	{name: "finds enrollment IDs as serial numbers", at: "Identifiers", promise: "OfDevice returns 1 actions of an enrollment ID", bend: func(s *actionStore) {
		read := s.ofDevice
		s.ofDevice = func(ctx context.Context, serialNumber string) (list, error) {
			l, err := read(ctx, serialNumber)
			for _, a := range s.all(ctx) {
				if a.Subject.EnrollmentID == serialNumber && serialNumber != "" {
					l = append(l, a)
				}
			}
			return l, err
		}
	}},

	{name: "keeps milliseconds", at: "Times", promise: keepsMoment, bend: func(s *actionStore) {
		s.moments(func(t time.Time) time.Time { return t.Truncate(time.Millisecond) })
	}},
	{name: "returns local time", at: "Times", promise: "and is that in the location", bend: func(s *actionStore) {
		s.moments(func(t time.Time) time.Time { return t.In(time.FixedZone("CET", 3600)) })
	}},
	{name: "counts nanoseconds", at: "Times", promise: keepsMoment, bend: func(s *actionStore) {
		s.moments(func(t time.Time) time.Time {
			if t.IsZero() {
				return t
			}
			return time.Unix(0, t.UnixNano()).UTC()
		})
	}},
	{name: "has zero in 1970", at: "Times", promise: "was zero and is 1970-01-01", bend: func(s *actionStore) {
		s.moments(func(t time.Time) time.Time {
			if t.IsZero() {
				return time.Unix(0, 0).UTC()
			}
			return t
		})
	}},
	{name: "has 1970 as zero", at: "Times", promise: "was 1970-01-01T00:00:00Z and is zero", bend: func(s *actionStore) {
		s.moments(func(t time.Time) time.Time {
			if t.Unix() == 0 {
				return time.Time{}
			}
			return t
		})
	}},
	{name: "sorts zero last", at: "Times", promise: keepsMoment + " (OfDevice)", bend: func(s *actionStore) {
		s.lists(func(l list) list {
			slices.SortStableFunc(l, func(a, b bypass.Action) int {
				if a.StartedAt.IsZero() != b.StartedAt.IsZero() {
					return cmp.Compare(b.StartedAt.Unix(), a.StartedAt.Unix())
				}
				return a.StartedAt.Compare(b.StartedAt)
			})
			return l
		})
	}},

	{name: "sorts by ID", at: "Order", promise: byStart, bend: func(s *actionStore) {
		s.lists(func(l list) list {
			slices.SortFunc(l, func(a, b bypass.Action) int { return cmp.Compare(a.ID, b.ID) })
			return l
		})
	}},
	{name: "sorts the last first", at: "Order", promise: byStart, bend: func(s *actionStore) {
		s.lists(func(l list) list { slices.Reverse(l); return l })
	}},
	{name: "sorts IDs in another case", at: "Order", promise: byStart, bend: func(s *actionStore) {
		s.lists(func(l list) list {
			slices.SortStableFunc(l, func(a, b bypass.Action) int {
				return cmp.Or(a.StartedAt.Compare(b.StartedAt), cmp.Compare(strings.ToLower(a.ID), strings.ToLower(b.ID)))
			})
			return l
		})
	}},
	{name: "sorts by seconds", at: "Order", promise: byStart, bend: func(s *actionStore) {
		s.lists(func(l list) list {
			slices.SortStableFunc(l, func(a, b bypass.Action) int {
				return cmp.Or(cmp.Compare(a.StartedAt.Unix(), b.StartedAt.Unix()), cmp.Compare(a.ID, b.ID))
			})
			return l
		})
	}},
	{name: "returns ten of a device", at: "Order", promise: byStart, bend: func(s *actionStore) {
		s.lists(func(l list) list { return l[:min(10, len(l))] })
	}},

	{name: "scans from after on", at: "Scan", promise: "Scan returns actions in the byte order of their IDs, those greater than after", bend: func(s *actionStore) {
		scan := s.scan
		s.scan = func(ctx context.Context, after string, limit int, open bool) (list, error) {
			l, err := scan(ctx, after, limit, open)
			if a, there := s.get(ctx, after); there == nil && limit > 0 {
				l = append(list{a}, l...)[:min(limit, len(l)+1)]
			}
			return l, err
		}
	}},
	{name: "scans without a limit", at: "Scan", promise: "Scan returns no more actions than the limit", bend: func(s *actionStore) {
		scan := s.scan
		s.scan = func(ctx context.Context, after string, limit int, open bool) (list, error) {
			if limit > 0 {
				limit = everything
			}
			return scan(ctx, after, limit, open)
		}
	}},
	{name: "scans short pages", at: "Scan", promise: scansAll, bend: func(s *actionStore) {
		s.pages(func(_ string, _ int, _ bool, l list) list { return l[:min(50, len(l))] })
	}},
	{name: "scans a page and then leaves out what is over", at: "Scan", promise: scansAll, bend: func(s *actionStore) {
		scan := s.scan
		s.scan = func(ctx context.Context, after string, limit int, open bool) (list, error) {
			l, err := scan(ctx, after, limit, false)
			return slices.DeleteFunc(l, func(a bypass.Action) bool { return open && a.State.Over() }), err
		}
	}},
	{name: "has no limit for 0", at: "Scan", promise: "Scan with a limit below 1 returns no actions and no error", bend: func(s *actionStore) {
		scan := s.scan
		s.scan = func(ctx context.Context, after string, limit int, open bool) (list, error) {
			if limit == 0 {
				limit = everything
			}
			return scan(ctx, after, limit, open)
		}
	}},
	{name: "finds a negative limit an error", at: "Scan", promise: "Scan with a limit below 1 returns no actions and no error", bend: func(s *actionStore) {
		scan := s.scan
		s.scan = func(ctx context.Context, after string, limit int, open bool) (list, error) {
			if limit == math.MinInt {
				return nil, errBusy
			}
			return scan(ctx, after, limit, open)
		}
	}},
	{name: "scans all, over or not", at: "NewAction", promise: "Scan of those that are not over returns no others", bend: func(s *actionStore) {
		scan := s.scan
		s.scan = func(ctx context.Context, after string, limit int, _ bool) (list, error) {
			return scan(ctx, after, limit, false)
		}
	}},
	{name: "takes active for over", at: "NewAction", promise: keepsAction + " (Scan of those that are not over)", bend: func(s *actionStore) {
		s.pages(func(_ string, _ int, open bool, l list) list {
			return slices.DeleteFunc(l, func(a bypass.Action) bool { return open && a.State == bypass.Active })
		})
	}},
	{name: "walks by offset", at: "Scan", promise: "a walk sees each action that is there all the time once", bend: walkByOffset},

	{name: "overwrites what is there", at: "Exists", promise: existsFirst + ": the error is <nil>", bend: func(s *actionStore) {
		s.creates(func(ctx context.Context, a bypass.Action, create func(context.Context, bypass.Action) error) error {
			err := create(ctx, a)
			if errors.Is(err, bypass.ErrExists) {
				return s.update(ctx, a.ID, func(old *bypass.Action) error { old.Device.UDID = a.Device.UDID; return nil })
			}
			return err
		})
	}},
	{name: "finds the same once more no error", at: "Exists", promise: "the error is <nil>", bend: func(s *actionStore) {
		s.creates(func(ctx context.Context, a bypass.Action, create func(context.Context, bypass.Action) error) error {
			err := create(ctx, a)
			if errors.Is(err, bypass.ErrExists) {
				return nil
			}
			return err
		})
	}},
	{name: "looks at the device first", at: "Exists", promise: existsFirst + ": the error is bypass: the device has an action", bend: func(s *actionStore) {
		s.creates(func(ctx context.Context, a bypass.Action, create func(context.Context, bypass.Action) error) error {
			for _, other := range s.all(ctx) {
				if other.Subject == a.Subject && !other.State.Over() && !a.State.Over() {
					return bypass.ErrOpen
				}
			}
			return create(ctx, a)
		})
	}},
	{name: "has an error of the database's", at: "Exists", promise: existsFirst + ": the error is UNIQUE", bend: func(s *actionStore) {
		s.creates(func(ctx context.Context, a bypass.Action, create func(context.Context, bypass.Action) error) error {
			err := create(ctx, a)
			if errors.Is(err, bypass.ErrExists) {
				return errors.New("UNIQUE constraint failed")
			}
			return err
		})
	}},

	{name: "has many open at a time", at: "Open", promise: oneOpen + ": the error is <nil>", bend: manyOpen(bypass.Pending, bypass.Active)},
	{name: "counts only pending ones", at: "Open", promise: oneOpen + ": the error is <nil>", bend: manyOpen(bypass.Active)},
	{name: "has one action at a time, over or not", at: "Open", promise: inNobodysWay, bend: func(s *actionStore) {
		s.creates(func(ctx context.Context, a bypass.Action, create func(context.Context, bypass.Action) error) error {
			for _, other := range s.all(ctx) {
				if other.Subject == a.Subject && !other.State.Over() && other.ID != a.ID {
					return bypass.ErrOpen
				}
			}
			return create(ctx, a)
		})
	}},
	{name: "has one action ever", at: "Open", promise: inNobodysWay, bend: func(s *actionStore) {
		s.creates(func(ctx context.Context, a bypass.Action, create func(context.Context, bypass.Action) error) error {
			for _, other := range s.all(ctx) {
				if other.Subject == a.Subject && other.ID != a.ID && !a.State.Over() {
					return bypass.ErrOpen
				}
			}
			return create(ctx, a)
		})
	}},
	{name: "does not free a device on failure", at: "Open", promise: inNobodysWay, bend: func(s *actionStore) {
		s.creates(func(ctx context.Context, a bypass.Action, create func(context.Context, bypass.Action) error) error {
			for _, other := range s.all(ctx) {
				if other.Subject == a.Subject && openIn(&other, bypass.NotSupported) && !a.State.Over() {
					return bypass.ErrOpen
				}
			}
			return create(ctx, a)
		})
	}},
	{name: "forgets enrollments", at: "Open", promise: oneOpen + ": the error is <nil>", bend: func(s *actionStore) {
		s.creates(func(ctx context.Context, a bypass.Action, create func(context.Context, bypass.Action) error) error {
			err := create(ctx, a)
			if errors.Is(err, bypass.ErrOpen) && a.Subject.EnrollmentID != "" {
				return nil
			}
			return err
		})
	}},
	{name: "mixes serial numbers and enrollment IDs up", at: "Open", promise: "an action is in the way of its subject only", bend: func(s *actionStore) {
		s.creates(func(ctx context.Context, a bypass.Action, create func(context.Context, bypass.Action) error) error {
			for _, other := range s.all(ctx) {
				if !other.State.Over() && !a.State.Over() && other.ID != a.ID &&
					other.Subject.SerialNumber+other.Subject.EnrollmentID == a.Subject.SerialNumber+a.Subject.EnrollmentID {
					return bypass.ErrOpen
				}
			}
			return create(ctx, a)
		})
	}},

	{name: "opens what is over", at: "Fixed", promise: staysFixed, bend: func(s *actionStore) { s.past(func(*bypass.Action, bypass.Action) {}) }},
	{name: "moves an action to another device", at: "Fixed", promise: staysFixed, bend: func(s *actionStore) {
		s.past(func(a *bypass.Action, was bypass.Action) {
			if was.State.Over() {
				a.State = was.State
			}
		})
	}},
	{name: "writes and then refuses", at: "Fixed", promise: "nothing is written when an update gives an error", bend: func(s *actionStore) {
		s.updates(func(ctx context.Context, id string, change edit, update func(context.Context, string, edit) error) error {
			refused := false
			err := update(ctx, id, func(a *bypass.Action) error {
				was := a.Clone()
				err := change(a)
				if a.ID != was.ID || a.Subject != was.Subject {
					refused = true
					a.ID, a.Subject = was.ID, was.Subject
				}
				return err
			})
			if refused {
				err = errBusy
			}
			return err
		})
	}},

	{name: "forgets on reopening", at: "Reopen", promise: "a call that returns without an error is durable", bend: func(*actionStore) {}, apart: true},
	{name: "remembers what it read", at: "Reopen", promise: "another handle sees it at once", bend: func(s *actionStore) {
		get := s.get
		kept := map[string]bypass.Action{}
		s.get = func(ctx context.Context, id string) (bypass.Action, error) {
			if a, known := kept[id]; known {
				return a, nil
			}
			a, err := get(ctx, id)
			if err == nil {
				kept[id] = a
			}
			return a, err
		}
	}},

	{name: "keeps what it is given", at: "Memory", promise: "nothing that goes in shares memory with the store", bend: func(s *actionStore) {
		kept := map[string][]bypass.Attempt{}
		s.creates(func(ctx context.Context, a bypass.Action, create func(context.Context, bypass.Action) error) error {
			kept[a.ID] = a.Attempts
			return create(ctx, a)
		})
		s.out(func(a *bypass.Action) { a.Attempts = slices.Clone(kept[a.ID]) })
	}},
	{name: "keeps what change was passed", at: "Memory", promise: "nothing that change is passed shares memory with the store", bend: func(s *actionStore) {
		kept := map[string]*bypass.Action{}
		s.changes(func(_ context.Context, a *bypass.Action, change func(*bypass.Action) error) error {
			mine := a.Clone()
			err := change(&mine)
			kept[a.ID] = &mine
			*a = mine.Clone()
			return err
		})
		s.out(func(a *bypass.Action) {
			if k := kept[a.ID]; k != nil {
				a.Attempts = slices.Clone(k.Attempts)
			}
		})
	}},
	{name: "keeps its lists", at: "Memory", promise: "nothing that comes out of OfDevice shares memory with the store", bend: func(s *actionStore) {
		var kept list
		s.lists(func(l list) list {
			if slices.ContainsFunc(l, func(a bypass.Action) bool { return a.State == bypass.Active }) {
				if kept == nil {
					kept = l
				}
				return kept
			}
			return l
		})
	}},
	{name: "modifies what it is given", at: "Memory", promise: "Create does not modify what it is passed", bend: func(s *actionStore) {
		s.creates(func(ctx context.Context, a bypass.Action, create func(context.Context, bypass.Action) error) error {
			err := create(ctx, a)
			a.Attempts[0].Tries++
			return err
		})
	}},

	{name: "hides the error of change", at: "ChangeFails", promise: "an error of change is returned as it is, or wrapped: the error is <nil>", bend: func(s *actionStore) {
		s.updates(func(ctx context.Context, id string, change edit, update func(context.Context, string, edit) error) error {
			failed := false
			err := update(ctx, id, func(a *bypass.Action) error {
				err := change(a)
				failed = err != nil
				return err
			})
			if failed {
				return nil
			}
			return err
		})
	}},
	{name: "rewrites the error of change", at: "ChangeFails", promise: "an error of change is returned as it is, or wrapped", bend: func(s *actionStore) {
		s.updates(func(ctx context.Context, id string, change edit, update func(context.Context, string, edit) error) error {
			if err := update(ctx, id, change); err != nil {
				return errors.New(err.Error())
			}
			return nil
		})
	}},
	{name: "writes despite an error", at: "ChangeFails", promise: "nothing is written when change returns an error", bend: func(s *actionStore) {
		s.updates(func(ctx context.Context, id string, change edit, update func(context.Context, string, edit) error) error {
			var failed error
			err := update(ctx, id, func(a *bypass.Action) error {
				was := *a
				failed = change(a)
				a.ID, a.Subject = was.ID, was.Subject
				if was.State.Over() {
					a.State = was.State
				}
				return nil
			})
			return cmp.Or(failed, err)
		})
	}},
	{name: "hides a panic", at: "ChangePanics", promise: "an update whose change panics does not return as if it were done", bend: func(s *actionStore) {
		s.updates(func(ctx context.Context, id string, change edit, update func(context.Context, string, edit) error) error {
			defer func() { _ = recover() }()
			return update(ctx, id, change)
		})
	}},
	{name: "writes before a panic", at: "ChangePanics", promise: "nothing is written when change panics", bend: func(s *actionStore) {
		s.updates(func(ctx context.Context, id string, change edit, update func(context.Context, string, edit) error) (err error) {
			var panicked any
			err = update(ctx, id, func(a *bypass.Action) error {
				defer func() { panicked = recover() }()
				return change(a)
			})
			if panicked != nil {
				panic(panicked)
			}
			return err
		})
	}},
	{name: "has lost its connection after a panic", at: "ChangePanics", promise: "Update gives no error where nothing is wrong", bend: func(s *actionStore) {
		lost := false
		s.updates(func(ctx context.Context, id string, change edit, update func(context.Context, string, edit) error) error {
			if lost {
				return errBusy
			}
			lost = true
			err := update(ctx, id, change)
			lost = false
			return err
		})
	}},

	{name: "creates without a context", at: "ContextIsOver", promise: contextError + " (Create): the error is <nil>", bend: func(s *actionStore) {
		s.creates(func(ctx context.Context, a bypass.Action, create func(context.Context, bypass.Action) error) error {
			return create(context.WithoutCancel(ctx), a)
		})
	}},
	{name: "updates without a context", at: "ContextIsOver", promise: contextError + " (Update): the error is <nil>", bend: func(s *actionStore) {
		s.updates(func(ctx context.Context, id string, change edit, update func(context.Context, string, edit) error) error {
			return update(context.WithoutCancel(ctx), id, change)
		})
	}},
	{name: "gets without a context", at: "ContextIsOver", promise: contextError + " (Get): the error is <nil>", bend: func(s *actionStore) {
		get := s.get
		s.get = func(ctx context.Context, id string) (bypass.Action, error) {
			return get(context.WithoutCancel(ctx), id)
		}
	}},
	{name: "finds without a context", at: "ContextIsOver", promise: contextError + " (OfDevice): the error is <nil>", bend: func(s *actionStore) {
		read := s.ofDevice
		s.ofDevice = func(ctx context.Context, serialNumber string) (list, error) {
			return read(context.WithoutCancel(ctx), serialNumber)
		}
	}},
	{name: "scans without a context", at: "ContextIsOver", promise: contextError + " (Scan): the error is <nil>", bend: func(s *actionStore) {
		scan := s.scan
		s.scan = func(ctx context.Context, after string, limit int, open bool) (list, error) {
			return scan(context.WithoutCancel(ctx), after, limit, open)
		}
	}},
	{name: "creates and then looks at the context", at: "ContextIsOver", promise: "a call whose context is over writes nothing", bend: func(s *actionStore) {
		s.creates(func(ctx context.Context, a bypass.Action, create func(context.Context, bypass.Action) error) error {
			return cmp.Or(create(context.WithoutCancel(ctx), a), ctx.Err())
		})
	}},
	{name: "writes half when a context ends", at: "ContextEndsInChange", promise: "an update whose context ends in change writes everything or nothing", bend: func(s *actionStore) {
		s.updates(func(ctx context.Context, id string, change edit, update func(context.Context, string, edit) error) error {
			return cmp.Or(update(context.WithoutCancel(ctx), id, func(a *bypass.Action) error {
				was := a.Clone()
				err := change(a)
				if ctx.Err() != nil {
					a.Attempts = was.Attempts
				}
				return err
			}), ctx.Err())
		})
	}},
	{name: "lies when a context ends", at: "ContextEndsInChange", promise: "an update that returns without an error is durable, also if its context ended in change", bend: func(s *actionStore) {
		s.updates(func(ctx context.Context, id string, change edit, update func(context.Context, string, edit) error) error {
			err := update(context.WithoutCancel(ctx), id, func(a *bypass.Action) error {
				was := a.Clone()
				err := change(a)
				if ctx.Err() != nil {
					*a = was
				}
				return err
			})
			return err
		})
	}},

	{name: "looks and then creates", at: "Creators", promise: oneWins, bend: racing},
	{name: "looks and then creates one ID", at: "CreatorsOfOneID", promise: "of several calls at the same time that create an action with one ID, one succeeds", bend: func(s *actionStore) {
		s.creates(func(ctx context.Context, a bypass.Action, create func(context.Context, bypass.Action) error) error {
			_, err := s.get(ctx, a.ID)
			if err == nil {
				return bypass.ErrExists
			}
			readers.wait()
			if err := create(ctx, a); !errors.Is(err, bypass.ErrExists) {
				return err
			}
			return nil // it was overwritten
		})
	}},
	{name: "is busy with another creator", at: "Creators", promise: oneWins + ": the error is database is locked", bend: func(s *actionStore) {
		s.creates(func(ctx context.Context, a bypass.Action, create func(context.Context, bypass.Action) error) error {
			err := create(ctx, a)
			if errors.Is(err, bypass.ErrOpen) && inFlight.Add(1)%7 == 0 {
				return errBusy
			}
			return err
		})
	}},
	{name: "does not lock", at: "OneAction", promise: neverOverlap, bend: func(s *actionStore) { s.unlocked(func() func() { return func() {} }) }},
	{name: "locks each handle alone", at: "OneAction", promise: neverOverlap, bend: func(s *actionStore) {
		var mu sync.Mutex
		s.unlocked(func() func() { mu.Lock(); return mu.Unlock })
	}},
	{name: "fails when it is busy", at: "OneAction", promise: succeed, bend: func(s *actionStore) {
		s.updates(func(ctx context.Context, id string, change edit, update func(context.Context, string, edit) error) error {
			defer inFlight.Add(-1)
			if inFlight.Add(1) > 1 {
				callers.wait()
				return errBusy
			}
			callers.wait()
			return update(ctx, id, change)
		})
	}},
	{name: "does one at a time", at: "ManyActions", promise: succeed, bend: func(s *actionStore) {
		s.updates(func(ctx context.Context, id string, change edit, update func(context.Context, string, edit) error) error {
			defer inFlight.Add(-1)
			if inFlight.Add(1) > 1 {
				callers.wait()
				return errBusy
			}
			callers.wait()
			return update(ctx, id, change)
		})
	}},
	{name: "loses an end", at: "OneAfterAnother", promise: "an update at the same time as others is written: one is not", bend: func(s *actionStore) {
		s.old(func(was bypass.Action, a *bypass.Action) {
			if a.State.Over() {
				a.State = was.State
			}
		})
	}},
	{name: "writes in two steps", at: "HalfAnUpdate", promise: "what an update writes is seen together or not at all", bend: func(s *actionStore) {
		s.updates(func(ctx context.Context, id string, change edit, update func(context.Context, string, edit) error) error {
			var after bypass.Action
			if err := update(ctx, id, func(a *bypass.Action) error {
				err := change(a)
				after = a.Clone()
				a.Attempts = slices.Clone(a.Attempts)
				a.Attempts[0].Detail = "half"
				return err
			}); err != nil {
				return err
			}
			halves.written()
			return update(ctx, id, func(a *bypass.Action) error { a.Attempts[0].Detail = after.Attempts[0].Detail; return nil })
		})
		get := s.get
		s.get = func(ctx context.Context, id string) (a bypass.Action, err error) {
			halves.read(func() { a, err = get(ctx, id) })
			return a, err
		}
	}},
	{name: "skips at the edge of a page", at: "ScanMeanwhile", promise: "a walk sees each action that is there all the time once", bend: func(s *actionStore) {
		scan := s.scan
		s.scan = func(ctx context.Context, after string, limit int, open bool) (list, error) {
			if after == "" {
				return scan(ctx, after, limit, open)
			}
			l, err := scan(ctx, after, limit+1, open)
			return l[min(1, len(l)):], err
		}
	}},
	{name: "forgets that it is noted", at: "Life", promise: "a bypass on this store", bend: func(s *actionStore) {
		s.in(func(a *bypass.Action) { a.Noted = false })
	}},
	{name: "forgets that a call was lost", at: "Life", promise: "a bypass on this store", bend: func(s *actionStore) {
		s.in(func(a *bypass.Action) {
			for i := range a.Attempts {
				a.Attempts[i].Lost = false
			}
		})
	}},
	{name: "forgets to wait", at: "Life", promise: "a bypass on this store", bend: func(s *actionStore) {
		s.in(func(a *bypass.Action) { a.NextAt = time.Time{} })
	}},
	{name: "opens a second one", at: "Life", promise: "a second Start while the first is not over is ErrOpen", bend: func(s *actionStore) {
		manyOpen(bypass.Pending, bypass.Active)(s)
		s.ofDevice = func(context.Context, string) (list, error) { return nil, nil }
		s.scan = s.ofDeviceLess(s.scan)
	}},
	{name: "knows each code as the device's", at: "NewAction", promise: keepsAction + ": Attempts[", bend: func(s *actionStore) {
		s.in(func(a *bypass.Action) {
			for i := range a.Attempts {
				a.Attempts[i].Kind = bypasscode.Device
			}
		})
	}},
}

// ofDeviceLess scans nothing of what is open.
func (s *actionStore) ofDeviceLess(scan func(context.Context, string, int, bool) (list, error)) func(context.Context, string, int, bool) (list, error) {
	return func(ctx context.Context, after string, limit int, open bool) (list, error) {
		if open {
			return nil, nil
		}
		return scan(ctx, after, limit, open)
	}
}

// manyOpen creates what should be ErrOpen, if the open one has one of the states,
// as over, and then shows it as it was.
func manyOpen(states ...bypass.State) func(*actionStore) {
	return func(s *actionStore) {
		as := &elsewhere{actions: map[string]bypass.Action{}}
		s.creates(func(ctx context.Context, a bypass.Action, create func(context.Context, bypass.Action) error) error {
			err := create(ctx, a)
			if !errors.Is(err, bypass.ErrOpen) {
				return err
			}
			for _, other := range s.all(ctx) {
				if other.Subject == a.Subject && !other.State.Over() && !openIn(&other, states...) {
					return err
				}
			}
			as.mu.Lock()
			defer as.mu.Unlock()
			as.actions[a.ID] = a.Clone()
			return nil
		})
		get := s.get
		s.get = func(ctx context.Context, id string) (bypass.Action, error) {
			as.mu.Lock()
			defer as.mu.Unlock()
			if a, there := as.actions[id]; there {
				return a.Clone(), nil
			}
			return get(ctx, id)
		}
	}
}

// racing creates past an ErrOpen that came between looking and creating.
func racing(s *actionStore) {
	s.creates(func(ctx context.Context, a bypass.Action, create func(context.Context, bypass.Action) error) error {
		if !a.State.Over() {
			for _, other := range s.all(ctx) {
				if other.Subject == a.Subject && !other.State.Over() {
					return bypass.ErrOpen
				}
			}
			readers.wait()
		}
		err := create(ctx, a)
		if errors.Is(err, bypass.ErrOpen) {
			return nil // both are there
		}
		return err
	})
}

// past writes what the store under it refuses: subject and state are shown as
// change left them.
func (s *actionStore) past(mend func(a *bypass.Action, was bypass.Action)) {
	shown := &overrides
	s.changes(func(_ context.Context, a *bypass.Action, change func(*bypass.Action) error) error {
		was := a.Clone()
		if err := change(a); err != nil {
			return err
		}
		mend(a, was)
		shown.Store(was.ID, *a)
		a.ID, a.Subject = was.ID, was.Subject
		if was.State.Over() && !a.State.Over() {
			a.State = was.State
		}
		return nil
	})
	s.out(func(a *bypass.Action) {
		if over, there := shown.Load(a.ID); there {
			a.Subject, a.State = over.(bypass.Action).Subject, over.(bypass.Action).State
		}
	})
}

// overrides are what the store of past shows, on all handles.
var overrides sync.Map

// walkByOffset takes after for the number of actions that were seen.
func walkByOffset(s *actionStore) {
	scan := s.scan
	var offsets sync.Map // by after, limit and open: each walk has its own
	s.scan = func(ctx context.Context, after string, limit int, open bool) (list, error) {
		all, err := scan(ctx, "", everything, open)
		offset := 0
		if after != "" {
			n, there := offsets.Load(fmt.Sprint(limit, open, after))
			if !there {
				return scan(ctx, after, limit, open)
			}
			offset = n.(int)
		}
		page := all[min(offset, len(all)):max(min(offset, len(all)), min(offset+limit, len(all)))]
		if len(page) > 0 {
			offsets.Store(fmt.Sprint(limit, open, page[len(page)-1].ID), offset+len(page))
		}
		// An order that is right, whatever was written.
		return slices.DeleteFunc(page, func(a bypass.Action) bool { return a.ID <= after }), err
	}
}

// lawfulActions is what a store of actions may do although nobody expects it.
var lawfulActions = map[string]func(*actionStore){
	"calls change more than once": func(s *actionStore) {
		s.changes(func(_ context.Context, a *bypass.Action, change func(*bypass.Action) error) error {
			first := a.Clone()
			if err := change(&first); err != nil {
				return err
			}
			return change(a)
		})
	},
	"wraps errors, and returns panics": func(s *actionStore) {
		s.updates(func(ctx context.Context, id string, change edit, update func(context.Context, string, edit) error) (err error) {
			defer func() {
				if p := recover(); p != nil {
					err = errBusy
				}
				if err != nil {
					err = fmt.Errorf("store: update: %w", err)
				}
			}()
			return update(ctx, id, change)
		})
		s.creates(func(ctx context.Context, a bypass.Action, create func(context.Context, bypass.Action) error) error {
			if err := create(ctx, a); err != nil {
				return fmt.Errorf("store: create: %w", err)
			}
			return nil
		})
	},
	"returns empty for nil": func(s *actionStore) {
		s.out(func(a *bypass.Action) {
			if len(a.Attempts) == 0 {
				a.Attempts = []bypass.Attempt{}
			}
			a.Unsupported = append(a.Unsupported[:0:0], a.Unsupported...)
		})
		s.lists(func(l list) list { return append(list{}, l...) })
		s.pages(func(_ string, _ int, _ bool, l list) list { return append(list{}, l...) })
	},
	"gives up when the context ends in change": func(s *actionStore) {
		s.changes(func(ctx context.Context, a *bypass.Action, change func(*bypass.Action) error) error {
			return cmp.Or(change(a), ctx.Err())
		})
	},
	"puts back what stays as it is": func(s *actionStore) {
		s.old(func(was bypass.Action, a *bypass.Action) {
			a.ID, a.Subject = was.ID, was.Subject
			if was.State.Over() && !a.State.Over() {
				a.State = was.State
			}
		})
	},
}

// handles returns the way to a store's handles: broken, on one storage or, if
// they are apart, on several.
func (b brokenActions) handles() func() bypass.Store {
	storage := memstore.New()
	if b.used {
		_ = storage.Actions().Create(context.Background(), bypass.Action{ID: "used", Subject: escrow.Subject{SerialNumber: "used"}})
	}
	return func() bypass.Store {
		if b.apart {
			storage = memstore.New()
		}
		of := storage.Actions()
		s := &actionStore{of.Create, of.Update, of.Get, of.OfDevice, of.Scan}
		b.bend(s)
		return s
	}
}
