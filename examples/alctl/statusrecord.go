package main

import (
	"cmp"
	"context"
	"slices"

	"github.com/activationlock/sdk/activationlock"
	"github.com/activationlock/sdk/inventory"
	"github.com/activationlock/sdk/mdmcmd"
)

// recordOf reads what the inventory has of a device: of several enrollments, a
// live one before those that ended, and else the one that was heard of last. If
// several are live, nobody knows which one is the device: then none of their
// facts count, and no evidence that the lock is off.
func (o *opened) recordOf(ctx context.Context, serialNumber string) (inventory.Record, error) {
	if o.records == nil {
		return inventory.Record{}, nil
	}
	all, err := o.records.BySerialNumber(ctx, serialNumber)
	all = slices.DeleteFunc(all, func(r inventory.Record) bool { return r.Channel == mdmcmd.UserChannel })
	if err != nil || len(all) == 0 {
		return inventory.Record{}, err
	}
	live := slices.DeleteFunc(slices.Clone(all), func(r inventory.Record) bool { return !r.Live() })
	if len(live) > 1 {
		o.console.line("alctl: %d enrollments claim this serial number; what they say of the device is left out", len(live))
		disputed := inventory.Record{}
		for _, r := range live {
			disputed.Evidence = append(disputed.Evidence, r.Evidence...)
		}
		disputed.Evidence = slices.DeleteFunc(disputed.Evidence, func(e activationlock.Evidence) bool { return e.State == activationlock.Off })
		return disputed, nil
	}
	if len(live) == 1 {
		return live[0], nil
	}
	return slices.MaxFunc(all, func(a, b inventory.Record) int { return a.LastSeen.Compare(b.LastSeen) }), nil
}

// over is a device of which some things are given, and the rest known.
func over(given, known activationlock.Device) activationlock.Device {
	known.ProductName = cmp.Or(given.ProductName, known.ProductName)
	known.OSVersion = cmp.Or(given.OSVersion, known.OSVersion)
	known.Supervised = cmp.Or(given.Supervised, known.Supervised)
	known.SharedIPad = cmp.Or(given.SharedIPad, known.SharedIPad)
	return known
}

// printRecord prints what the inventory says is wrong.
func (s *deviceStatus) printRecord(c *console, l activationlock.Language) {
	of := s.record.Summary
	if len(of.Findings) == 0 {
		return
	}
	c.out.WriteString("\n" + in(l, "What is wrong, as the server saw it on ", "Wat er mis is, zoals de server het zag op ") + moment(of.At) + ":\n")
	for _, x := range of.Findings {
		c.out.WriteString("  " + x.Severity.Label(l) + in(l, ", since ", ", sinds ") + moment(x.Since) + ": " + printable(x.Label(l)) + "\n")
		c.out.WriteString("      " + x.Advice(l) + "\n")
	}
}
