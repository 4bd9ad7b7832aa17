package main

import (
	"context"
	"time"

	"github.com/activationlock/sdk/activationlock"
	"github.com/activationlock/sdk/activationlock/bypass"
	"github.com/activationlock/sdk/bypasscode"
	"github.com/activationlock/sdk/bypasscode/escrow"
)

// known is what a store knows of a device.
type known struct {
	codes    []escrow.Record
	actions  []bypass.Action // oldest first
	evidence []activationlock.Evidence
}

// known reads what there is about a device.
func (o *opened) known(ctx context.Context, subject escrow.Subject) (known, error) {
	var k known
	var err error
	if k.codes, err = o.Records(ctx, subject); err != nil {
		return k, err
	}
	if subject.SerialNumber != "" {
		if k.actions, err = o.actions.OfDevice(ctx, subject.SerialNumber); err != nil {
			return k, err
		}
	}
	for _, r := range k.codes {
		if e, says := evidenceOf(r); says {
			k.evidence = append(k.evidence, e)
		}
	}
	for i := range k.actions {
		if e, says := k.actions[i].Evidence(); says {
			k.evidence = append(k.evidence, e)
		}
	}
	return k, nil
}

// evidenceOf is what the record of a server code says of the lock: whoever made
// the lock call kept there what Apple answered.
func evidenceOf(r escrow.Record) (e activationlock.Evidence, says bool) {
	e = activationlock.Evidence{Source: activationlock.SourceLockCall, At: r.StateSince}
	switch {
	case r.Kind != bypasscode.Server || r.StateSince.IsZero():
	case r.State == escrow.Current:
		e.State, e.Kind = activationlock.On, activationlock.OrganizationLinked
		return e, true
	case r.State == escrow.MaybeActive:
		return e, true
	}
	return e, false
}

// answered is when the device answered the question for its code last, zero if
// the store does not know that it did.
func (k known) answered() (last time.Time) {
	for _, r := range k.codes {
		asked := r.Cause == escrow.CauseEnrollment || r.Cause == escrow.CauseLockOn || r.Cause == escrow.CauseSchedule
		if asked && r.Kind == bypasscode.Device && r.ReceivedAt.After(last) {
			last = r.ReceivedAt
		}
	}
	return last
}

// lockCameOn reports whether a device gave a code since, because Find My or the
// lock came on.
func (k known) lockCameOn(lock activationlock.Lock) bool {
	for _, r := range k.codes {
		if r.Kind == bypasscode.Device && r.Cause == escrow.CauseLockOn && r.ReceivedAt.After(lock.At) {
			return true
		}
	}
	return false
}
