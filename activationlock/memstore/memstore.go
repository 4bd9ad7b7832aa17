// Package memstore keeps codes and records in memory: for tests, examples and
// a first look. What it holds is gone with the process, so it is no place for
// the codes of real devices.
package memstore

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"sync"

	"github.com/activationlock/sdk/activationlock/bypass"
	"github.com/activationlock/sdk/bypasscode/audit"
	"github.com/activationlock/sdk/bypasscode/escrow"
	"github.com/activationlock/sdk/inventory"
)

// Store is a store for every floor. Its zero value is not usable; see [New].
type Store struct {
	mu      sync.Mutex
	entries map[string]*filed // by record ID
	filed   map[escrow.Subject][]*filed
	ids     []string            // of all entries
	sorted  bool                // the ids are in order
	joined  map[string][]string // enrollment IDs by serial number
	joins   map[string][]string // serial numbers by enrollment ID, in byte order
	records map[string]inventory.Record
	serials map[string][]string // enrollment IDs by serial number, in byte order
	claims  map[string]claim    // by enrollment ID
	audit   []audit.Entry       // in the order of their numbers
	actions map[string]bypass.Action
}

// filed is an entry and its place in the order of filing.
type filed struct {
	escrow.Entry
	place int
}

// New returns an empty store.
func New() *Store {
	return &Store{
		entries: map[string]*filed{},
		filed:   map[escrow.Subject][]*filed{},
		joined:  map[string][]string{},
		joins:   map[string][]string{},
		records: map[string]inventory.Record{},
		serials: map[string][]string{},
		claims:  map[string]claim{},
		actions: map[string]bypass.Action{},
	}
}

// Escrow returns the store of codes.
func (s *Store) Escrow() escrow.Store { return escrowStore{s} }

// Audit returns the store of the audit.
func (s *Store) Audit() audit.Store { return auditStore{s} }

// Actions returns the store of bypass actions.
func (s *Store) Actions() bypass.Store { return actionStore{s} }

type escrowStore struct{ *Store }

func (s escrowStore) of(subject escrow.Subject) []escrow.Entry {
	found := slices.Clone(s.filed[subject])
	if subject.EnrollmentID == "" {
		for _, id := range s.joined[subject.SerialNumber] {
			found = append(found, s.filed[escrow.Subject{EnrollmentID: id}]...)
		}
		slices.SortFunc(found, func(a, b *filed) int { return cmp.Compare(a.place, b.place) })
	}
	var entries []escrow.Entry
	for _, f := range found {
		entries = append(entries, clone(f.Entry))
	}
	return entries
}

func (s escrowStore) Update(ctx context.Context, subject escrow.Subject, change func([]escrow.Entry) ([]escrow.Entry, error)) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	entries := s.of(subject)
	there := map[string]bool{}
	for _, e := range entries {
		there[e.ID] = true
	}
	changed, err := change(entries)
	if err != nil {
		return err
	}
	for _, e := range changed {
		if _, foreign := s.entries[e.ID]; !there[e.ID] && (foreign || e.Subject != subject) {
			return errors.New("memstore: an entry belongs to another subject")
		}
	}
	for _, e := range changed {
		if f := s.entries[e.ID]; f != nil {
			f.Entry = clone(e)
			continue
		}
		f := &filed{clone(e), len(s.ids)}
		s.entries[e.ID], s.filed[subject] = f, append(s.filed[subject], f)
		s.Store.ids, s.Store.sorted = append(s.ids, e.ID), false
	}
	return nil
}

func (s escrowStore) Entries(ctx context.Context, subject escrow.Subject) ([]escrow.Entry, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.of(subject), nil
}

func (s escrowStore) Scan(ctx context.Context, after string, limit int) ([]escrow.Entry, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.sorted {
		slices.Sort(s.ids)
		s.Store.sorted = true
	}
	from, there := slices.BinarySearch(s.ids, after)
	if there {
		from++
	}
	var entries []escrow.Entry
	for _, id := range s.ids[from:] {
		if len(entries) >= limit {
			break
		}
		entries = append(entries, clone(s.entries[id].Entry))
	}
	return entries, nil
}

// clone returns an entry that shares no memory.
func clone(e escrow.Entry) escrow.Entry {
	e.Sealed, e.RecoveryCopy = slices.Clone(e.Sealed), slices.Clone(e.RecoveryCopy)
	return e
}

func (s escrowStore) Join(ctx context.Context, enrollmentID, serialNumber string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	at, there := slices.BinarySearch(s.joins[enrollmentID], serialNumber)
	if !there {
		s.joins[enrollmentID] = slices.Insert(s.joins[enrollmentID], at, serialNumber)
		s.joined[serialNumber] = append(s.joined[serialNumber], enrollmentID)
	}
	return nil
}

func (s escrowStore) Joined(ctx context.Context, enrollmentID string) ([]string, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.joins[enrollmentID]), nil
}

type auditStore struct{ *Store }

func (s auditStore) Append(ctx context.Context, next func(last audit.Entry) ([]audit.Entry, error)) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	var last audit.Entry
	if len(s.audit) > 0 {
		last = s.audit[len(s.audit)-1]
	}
	entries, err := next(last)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.Number <= last.Number {
			return errors.New("memstore: the audit has an entry of that number")
		}
		last = e
	}
	s.Store.audit = append(s.audit, entries...)
	return nil
}

func (s auditStore) Scan(ctx context.Context, after int64, limit int) ([]audit.Entry, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	from, _ := slices.BinarySearchFunc(s.audit, after, func(e audit.Entry, after int64) int {
		if e.Number <= after {
			return -1
		}
		return 1
	})
	found := s.audit[from:]
	return slices.Clone(found[:min(len(found), max(0, limit))]), nil
}

type actionStore struct{ *Store }

func (s actionStore) Create(ctx context.Context, a bypass.Action) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, there := s.actions[a.ID]; there {
		return bypass.ErrExists
	}
	if !a.State.Over() {
		for _, other := range s.actions {
			if !other.State.Over() && other.Subject == a.Subject {
				return bypass.ErrOpen
			}
		}
	}
	s.actions[a.ID] = a.Clone()
	return nil
}

func (s actionStore) Update(ctx context.Context, id string, change func(*bypass.Action) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	before, there := s.actions[id]
	if !there {
		return bypass.ErrNotFound
	}
	after := before.Clone()
	if err := change(&after); err != nil {
		return err
	}
	switch {
	case after.ID != before.ID || after.Subject != before.Subject:
		return errors.New("memstore: an action keeps its ID and its subject")
	case before.State.Over() && !after.State.Over():
		return errors.New("memstore: an action that is over stays over")
	}
	s.actions[id] = after.Clone()
	return nil
}

func (s actionStore) Get(ctx context.Context, id string) (bypass.Action, error) {
	if err := ctx.Err(); err != nil {
		return bypass.Action{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	a, there := s.actions[id]
	if !there {
		return bypass.Action{}, bypass.ErrNotFound
	}
	return a.Clone(), nil
}

func (s actionStore) OfDevice(ctx context.Context, serialNumber string) ([]bypass.Action, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	found := s.find(func(a *bypass.Action) bool { return serialNumber != "" && a.Subject.SerialNumber == serialNumber })
	slices.SortStableFunc(found, func(a, b bypass.Action) int { return a.StartedAt.Compare(b.StartedAt) })
	return found, nil
}

func (s actionStore) Scan(ctx context.Context, after string, limit int, open bool) ([]bypass.Action, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	found := s.find(func(a *bypass.Action) bool { return a.ID > after && !(open && a.State.Over()) })
	return found[:min(len(found), max(0, limit))], nil
}

// find returns copies of actions in the order of their IDs.
func (s actionStore) find(wanted func(*bypass.Action) bool) (found []bypass.Action) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, a := range s.actions {
		if wanted(&a) {
			found = append(found, a.Clone())
		}
	}
	slices.SortFunc(found, func(a, b bypass.Action) int { return cmp.Compare(a.ID, b.ID) })
	return found
}
