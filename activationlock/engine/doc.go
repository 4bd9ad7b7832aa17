// Package engine is what a host embeds: bytes that devices sent go in, commands
// for the host's queue come out, and what is due is worked off.
//
//	locks, err := engine.New(engine.Config{Escrow: codes, Inventory: records, Policy: policy})
//	…
//	out, err := locks.HandleReport(ctx, enrollment, body)
//	if err != nil {
//		// Answer the device with HTTP 500: it sends the report again.
//	}
//	// Keep out.Redacted in place of body; put out.Commands into the queue.
//	…
//	go locks.Run(ctx, time.Minute, 1000, deliver) // queue the commands that are due, and push
//
// [Engine.Adopt] takes in devices that are enrolled already. [Engine.Device],
// [Engine.CanErase], [Engine.CanReassign], [Engine.Bypass],
// [Engine.LockForOrganization] and [Engine.Reveal] are for administrators.
//
// # How it works
//
// Observe, record, plan. A message becomes an observation, which is committed,
// a bypass code first of all, before anything else happens; then a pure
// function decides from what is on record which commands should be queued now.
// [Engine.Tick] does the same for records that are due. A crash, a lost command or
// push, a NotNow, a report that comes twice or late, several servers on the same
// stores need no special case: the next plan repairs them.
//
// Calls to Apple are planned in the same way, and made by [Config].Doer; without
// one they are handed out ([Batch].Requests), and their answers come back by
// [Engine.HandleAnswer].
//
// User channels, Shared iPads, user enrollments, watches and Apple TVs are
// recorded and never asked for a code, once the engine knows what they are: a device
// that enrolled and does not tell is asked after [Policy].AnswerWithin, while its 15 days
// last.
//
// # What it promises
//
//   - The order: information (and SecurityInfo on a Mac), then the bypass code,
//     then, with the code committed, the permission to lock. The permission is
//     never planned before a code that the device gave in this enrollment is in
//     escrow, unless [Policy].AllowWithoutCode says so, which is audited. A host
//     drops the queue of a device that enrolls again, as servers do, or an old
//     permission could overtake the new code.
//   - No device is locked for the organization with a code that is not in escrow.
//   - An error comes back only when a code in this very message could not be
//     committed; junk gives none, see [CodeNotKept]. Whatever else is wrong, with
//     the message or with the inventory, is an [Event], and the host's queue goes
//     on.
//   - A message is believed only if the identifier inside it is the one that the
//     host authenticated.
//   - Of several engines at the same time, one works off what is due.
//   - No secret is in an event, a log or an error.
package engine
