package memstore

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"slices"
	"time"

	"github.com/activationlock/sdk/activationlock"
	"github.com/activationlock/sdk/internal/cursor"
	"github.com/activationlock/sdk/inventory"
)

// Inventory returns the store of records.
func (s *Store) Inventory() inventory.Store { return inventoryStore{s} }

type inventoryStore struct{ *Store }

// claim is the last claim of a record that was not released.
type claim struct {
	token string
	until time.Time
}

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
	if record.EnrollmentID != enrollmentID {
		return errors.New("memstore: a record keeps its enrollment ID")
	}
	s.records[enrollmentID] = record.Clone()
	if was, is := stored.Facts.SerialNumber, record.Facts.SerialNumber; was != is {
		s.serials[was] = slices.DeleteFunc(s.serials[was], func(id string) bool { return id == enrollmentID })
		s.serials[is] = append(s.serials[is], enrollmentID)
		slices.Sort(s.serials[is])
	}
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
	if serialNumber == "" {
		return nil, nil
	}
	var found []inventory.Record
	for _, id := range s.serials[serialNumber] {
		record := s.records[id]
		found = append(found, record.Clone())
	}
	return found, nil
}

func (s inventoryStore) Claim(ctx context.Context, now, until time.Time, limit int) ([]inventory.Claim, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	type free struct {
		id    string
		since time.Time
	}
	var due []free
	for id, record := range s.records {
		since := record.Summary.DueAt
		if since.IsZero() {
			continue
		}
		if claimed := s.claims[id].until; claimed.After(since) {
			since = claimed
		}
		if !since.After(now) {
			due = append(due, free{id, since})
		}
	}
	slices.SortFunc(due, func(a, b free) int { return cmp.Or(a.since.Compare(b.since), cmp.Compare(a.id, b.id)) })
	token := rand.Text()
	var claims []inventory.Claim
	for _, f := range due[:min(len(due), max(0, limit))] {
		s.claims[f.id] = claim{token, until}
		claims = append(claims, inventory.Claim{EnrollmentID: f.id, Token: token})
	}
	return claims, nil
}

func (s inventoryStore) Release(ctx context.Context, c inventory.Claim) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if held, there := s.claims[c.EnrollmentID]; !there || held.token != c.Token {
		return inventory.ErrNotClaimed
	}
	delete(s.claims, c.EnrollmentID)
	return nil
}

func (s inventoryStore) List(ctx context.Context, q inventory.Query) ([]inventory.Row, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	order, err := cursor.OrderOf(q)
	if err != nil {
		return nil, err
	}
	direction := 1
	if q.Descending {
		direction = -1
	}
	var after cursor.Place
	if q.After != "" {
		if after, err = order.Parse(q.After); err != nil {
			return nil, err
		}
	}
	type placed struct {
		cursor.Place
		row inventory.Row
	}
	var found []placed
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, record := range s.records {
		row := inventory.RowOf(&record)
		place := order.Place(&row)
		if (q.After == "" || direction*place.Compare(after) > 0) && q.Filter.Matches(row) {
			found = append(found, placed{place, row})
		}
	}
	slices.SortFunc(found, func(a, b placed) int { return direction * a.Compare(b.Place) })
	rows := q.Into[:0]
	for _, f := range found[:min(len(found), max(0, q.Limit), inventory.MaxPage)] {
		f.row.Cursor = order.Cursor(&f.row)
		rows = append(rows, f.row)
	}
	return rows, nil
}

func (s inventoryStore) Totals(ctx context.Context, f inventory.Filter, now time.Time) (inventory.Totals, error) {
	if err := ctx.Err(); err != nil {
		return inventory.Totals{}, err
	}
	totals := inventory.Totals{Statuses: map[activationlock.Status]int{}, Severities: map[inventory.Severity]int{}}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, record := range s.records {
		if !f.Matches(inventory.RowOf(&record)) {
			continue
		}
		summary := record.Summary
		totals.Devices++
		totals.Statuses[summary.Status]++
		totals.Severities[summary.Severity()]++
		if !summary.CodeSince.IsZero() && summary.Status != activationlock.NotApplicable {
			totals.WithCode++
		}
		if summary.Reassign == activationlock.Yes {
			totals.Reassignable++
		}
		if !summary.DueAt.IsZero() && summary.DueAt.Before(now) {
			totals.Overdue++
		}
	}
	return totals, nil
}
