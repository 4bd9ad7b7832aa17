// Package bypass lifts Activation Locks: it decides which codes to send to
// Apple, in which order and when to stop, and keeps every step so that nothing is
// lost or done twice.
//
//	action, warning, err := bypasses.Start(ctx, bypass.Start{Subject: …, Act: …, InHand: true, Lock: …})
//	action, err = bypasses.Run(ctx, action.ID, client) // again at action.NextAt while it is not over
//
// # What is where
//
//   - An [Action] is one bypass of one device, with its plan of [Attempt]s. What
//     comes next is a pure function of what is stored ([Action.Next]), so a server
//     may stop at any moment and another go on.
//   - [Plan] orders a device's codes.
//   - [Bypass] does the work: [Bypass.Start], then [Bypass.Run] with the host's
//     HTTP client, or [Bypass.Next] and [Bypass.Answer] for a host that sends the
//     requests in its own way. [Bypass.Bulk] does it for many devices.
//   - [Action.Aftermath] is the watch over a device whose lock was removed.
//   - A [Store] keeps actions; package storetest tests one.
//
// # What Apple's answers do
//
//	200                        done
//	404                        the next code; Apple says no more than "not found"
//	400                        the next code if this one is not in the usual form, else our fault
//	TLS faults, 401, 403, …    failed; no code was burnt
//	429, 5xx, no answer        the same code again, after a while
//	an undocumented 2xx        the same code once more, then failed: look at the device
//
// Done means that Apple says so; it is verified when later evidence agrees. Give
// the inventory what an action says of the lock, or the status stays as it was:
//
//	if e, ok := action.Evidence(); ok {
//		err = records.Update(ctx, enrollmentID, func(r *inventory.Record) error { r.AddEvidence(e); return nil })
//	}
package bypass
