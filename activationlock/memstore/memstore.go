// Package memstore keeps codes and records in memory: for tests, examples and
// a first look. What it holds is gone with the process, so it is no place for
// the codes of real devices.
package memstore

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"slices"
	"sync"

	"github.com/activationlock/sdk/bypasscode/escrow"
	"github.com/activationlock/sdk/inventory"
)

// Store is a store for every floor. Its zero value is not usable; see [New].
type Store struct {
	mu      sync.Mutex
	entries map[string]escrow.Entry // by record ID
	order   []string                // record IDs as they came
	joined  map[escrow.Subject]map[string]bool
	records map[string]inventory.Record
}

// New returns an empty store.
func New() *Store {
	return &Store{
		entries: map[string]escrow.Entry{},
		joined:  map[escrow.Subject]map[string]bool{},
		records: map[string]inventory.Record{},
	}
}

// Escrow returns the store of codes.
func (s *Store) Escrow() escrow.Store { return escrowStore{s} }

// Inventory returns the store of records.
func (s *Store) Inventory() inventory.Store { return inventoryStore{s} }

type escrowStore struct{ *Store }

func (s escrowStore) of(subject escrow.Subject) (entries []escrow.Entry) {
	for _, id := range s.order {
		e := s.entries[id]
		if e.Subject == subject || e.Subject.EnrollmentID != "" && s.joined[subject][e.Subject.EnrollmentID] {
			entries = append(entries, clone(e))
		}
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
		e = clone(e)
		if _, there := s.entries[e.ID]; !there {
			s.order = append(s.order, e.ID)
		}
		s.entries[e.ID] = e
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
	var entries []escrow.Entry
	for _, id := range slices.Sorted(maps.Keys(s.entries)) {
		if id > after && len(entries) < limit {
			entries = append(entries, clone(s.entries[id]))
		}
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
	subject := escrow.Subject{SerialNumber: serialNumber}
	if s.joined[subject] == nil {
		s.joined[subject] = map[string]bool{}
	}
	s.joined[subject][enrollmentID] = true
	return nil
}

type inventoryStore struct{ *Store }

func (s inventoryStore) Update(ctx context.Context, enrollmentID string, change func(*inventory.Record) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	stored, there := s.records[enrollmentID]
	if !there {
		stored = inventory.Record{EnrollmentID: enrollmentID}
	}
	record := stored.Clone()
	if err := change(&record); err != nil {
		return err
	}
	s.records[enrollmentID] = record.Clone()
	return nil
}

func (s inventoryStore) Get(ctx context.Context, enrollmentID string) (inventory.Record, error) {
	if err := ctx.Err(); err != nil {
		return inventory.Record{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	record, there := s.records[enrollmentID]
	if !there {
		return inventory.Record{}, inventory.ErrNotFound
	}
	return record.Clone(), nil
}

func (s inventoryStore) BySerialNumber(ctx context.Context, serialNumber string) ([]inventory.Record, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	var found []inventory.Record
	for _, record := range s.records {
		if serialNumber != "" && record.Facts.SerialNumber == serialNumber {
			found = append(found, record.Clone())
		}
	}
	slices.SortFunc(found, func(a, b inventory.Record) int { return cmp.Compare(a.EnrollmentID, b.EnrollmentID) })
	return found, nil
}
