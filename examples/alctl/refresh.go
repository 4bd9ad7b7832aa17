package main

import (
	"context"
	"slices"
	"time"

	"github.com/activationlock/sdk/bypasscode/escrow"
	"github.com/activationlock/sdk/inventory"
)

// refreshing is a store of codes beside an inventory: the records of a device whose
// codes change are due at once, so that a server computes their status anew.
type refreshing struct {
	escrow.Store
	records inventory.Store
	console *console
}

func (r refreshing) Update(ctx context.Context, subject escrow.Subject, change func([]escrow.Entry) ([]escrow.Entry, error)) error {
	changed := false
	err := r.Store.Update(ctx, subject, func(entries []escrow.Entry) ([]escrow.Entry, error) {
		written, err := change(entries)
		changed = slices.ContainsFunc(written, func(w escrow.Entry) bool { // and is not only sealed anew
			return !slices.ContainsFunc(entries, func(e escrow.Entry) bool { return e.Record == w.Record })
		})
		return written, err
	})
	if err == nil && changed {
		r.refresh(ctx, subject)
	}
	return err
}

func (r refreshing) Join(ctx context.Context, enrollmentID, serialNumber string) error {
	err := r.Store.Join(ctx, enrollmentID, serialNumber)
	if err == nil {
		r.refresh(ctx, escrow.Subject{SerialNumber: serialNumber})
	}
	return err
}

// refresh is for a change that is committed, so its failure is only told, and an
// interrupt comes too late.
func (r refreshing) refresh(ctx context.Context, subject escrow.Subject) {
	if err := inventory.Refresh(context.WithoutCancel(ctx), r.records, subject, time.Now()); err != nil {
		r.console.warn("the inventory shows the codes later", err)
	}
}
