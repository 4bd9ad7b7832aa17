package storetest

import (
	"cmp"
	"context"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/activationlock/sdk/activationlock/bypass"
	"github.com/activationlock/sdk/bypasscode"
	"github.com/activationlock/sdk/bypasscode/audit"
	"github.com/activationlock/sdk/bypasscode/escrow"
)

// shelf keeps codes in memory: a bypass needs them, and this is no test of it.
type shelf struct {
	mu      sync.Mutex
	entries []escrow.Entry
}

func (s *shelf) of(subject escrow.Subject) []escrow.Entry {
	return slices.DeleteFunc(copied(s.entries), func(e escrow.Entry) bool { return e.Subject != subject })
}

func (s *shelf) Update(_ context.Context, subject escrow.Subject, change func([]escrow.Entry) ([]escrow.Entry, error)) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	changed, err := change(s.of(subject))
	for _, e := range changed {
		if at := slices.IndexFunc(s.entries, func(old escrow.Entry) bool { return old.ID == e.ID }); at >= 0 {
			s.entries[at] = e
		} else {
			s.entries = append(s.entries, e)
		}
	}
	return err
}

func (s *shelf) Entries(_ context.Context, subject escrow.Subject) ([]escrow.Entry, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.of(subject), nil
}

func (s *shelf) Scan(_ context.Context, after string, limit int) ([]escrow.Entry, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	found := slices.DeleteFunc(copied(s.entries), func(e escrow.Entry) bool { return e.ID <= after })
	slices.SortFunc(found, func(a, b escrow.Entry) int { return cmp.Compare(a.ID, b.ID) })
	return found[:min(len(found), limit)], nil
}

func (s *shelf) Join(context.Context, string, string) error               { return nil }
func (s *shelf) Joined(context.Context, string) (found []string, _ error) { return nil, nil }

// client answers as Apple does, from a list of status codes; 0 is no answer.
type client struct {
	answers []int
	calls   int
}

var errNoAnswer = errors.New("storetest: no answer")

func (c *client) Do(*http.Request) (*http.Response, error) {
	status := c.answers[0]
	c.answers = c.answers[1:]
	c.calls++
	if status == 0 {
		return nil, errNoAnswer
	}
	return &http.Response{StatusCode: status, Header: http.Header{}, Body: io.NopCloser(strings.NewReader("as it \u00e9\"was"))}, nil
}

// life has two servers lift locks of a device, in turns.
func (k actions) life() {
	const what = "a bypass"
	acts, err := audit.New(audit.Config{Store: new(ledger)})
	k.works(what, "audit.New", err)
	codes, err := escrow.New(escrow.Config{Store: new(shelf), Sealer: sealer{1}, Audit: acts})
	k.works(what, "escrow.New", err)
	now := noon
	server := func(s bypass.Store) *bypass.Bypass {
		b, err := bypass.New(bypass.Config{
			Store: s, Escrow: codes, Audit: acts, Organization: "storetest", Clock: func() time.Time { return now },
		})
		k.works(what, "New", err)
		return b
	}
	first, second := server(k.store), server(k.open())
	for i := range 3 {
		_, err := codes.Capture(k.ctx, escrow.Capture{
			Subject: serial, Kind: bypasscode.Device, Text: bypasscode.NewText(bypasscode.New().Reveal()), Cause: escrow.CauseEnrollment,
			ReceivedAt: noon.Add(time.Duration(i-9) * time.Hour), Device: escrow.Device{SerialNumber: serial.SerialNumber, ProductType: "iPhone17,3"},
		})
		k.works(what, "Capture", err)
	}
	same := func(a bypass.Action, state bypass.State) {
		k.Helper()
		if a.State != state {
			k.Fatalf("a bypass on this store goes its way: its state is %q, and should be %q", a.State, state)
		}
		for _, s := range []bypass.Store{k.store, k.open()} {
			got := k.get(s, a.ID)
			if !a.State.Over() {
				got.NextAt = a.NextAt // a server may say when to call again
			}
			k.wants("a bypass on this store returns what the store keeps", []bypass.Action{got}, a)
		}
	}
	wish := bypass.Start{ID: "first", Subject: serial, Act: act, InHand: true}
	a, _, err := first.Start(k.ctx, wish)
	k.works(what, "Start", err)
	same(a, bypass.Pending)
	if len(a.Attempts) != 3 {
		k.Fatalf("a bypass on this store goes its way: its plan has %d codes, and should have 3", len(a.Attempts))
	}
	again, _, err := second.Start(k.ctx, wish)
	k.fails("a second Start with the same ID is ErrExists", err, bypass.ErrExists)
	same(again, bypass.Pending)
	wish.ID = "second"
	again, _, err = second.Start(k.ctx, wish)
	k.fails("a second Start while the first is not over is ErrOpen", err, bypass.ErrOpen)
	k.wants("a second Start returns the action that is not over", []bypass.Action{again}, a)

	// One code is wrong, then Apple is busy, then there is no answer.
	apple := &client{answers: []int{404, 503, 0, 200}}
	a, err = first.Run(k.ctx, a.ID, apple)
	k.works(what, "Run", err)
	same(a, bypass.Active)
	a, err = second.Run(k.ctx, a.ID, apple)
	k.works(what, "Run", err)
	if apple.calls != 2 {
		k.Fatalf("a bypass on this store waits: there were %d calls, and should be 2", apple.calls)
	}
	now = now.Add(bypass.AnswerWithin)
	a, err = second.Run(k.ctx, a.ID, apple)
	k.works(what, "Run", err)
	same(a, bypass.Active)
	now = now.Add(2 * time.Hour)
	open := k.all(k.store, 10, true)
	k.wants("a bypass on this store can be found while it is not over", open, a)
	a, err = first.Run(k.ctx, open[0].ID, apple)
	k.works(what, "Run", err)
	same(a, bypass.Done)
	if t := a.Opened(); apple.calls != 4 || t == nil || t.Tries != 3 || !t.Lost || t != &a.Attempts[1] || !a.Noted || !a.EndedAt.Equal(now) {
		k.Errorf("a bypass on this store keeps what came of it: of the second of three codes, sent three times and once without an answer, it says something else")
	}

	// The next one, of which a call is under way when it is canceled.
	now = now.Add(time.Hour)
	b, _, err := second.Start(k.ctx, wish)
	k.works(what, "Start", err)
	same(b, bypass.Pending)
	call, b, err := first.Next(k.ctx, b.ID)
	k.works(what, "Next", err)
	if call == nil {
		k.Fatalf("a bypass on this store has a call to make: it has none")
	}
	same(b, bypass.Active)
	b, err = second.Cancel(k.ctx, b.ID, act)
	k.works(what, "Cancel", err)
	same(b, bypass.Canceled)
	k.holds("a bypass on this store keeps its actions", k.open(), a, b)
	records, err := codes.Records(k.ctx, serial)
	k.works(what, "Records", err)
	if !slices.ContainsFunc(records, func(r escrow.Record) bool { return r.ID == a.Opened().RecordID && r.State == escrow.Worked }) {
		k.Errorf("a bypass on this store marks the code that worked: it is not marked")
	}
}
