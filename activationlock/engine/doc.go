// Package engine is what a host embeds: bytes that devices sent go in,
// commands for the host's queue come out.
//
//	engine, err := engine.New(engine.Config{Escrow: codes, Inventory: records, Policy: policy})
//	…
//	out, err := engine.HandleReport(ctx, enrollment, body)
//	if err != nil {
//		// Answer the device with HTTP 500: it sends the report again.
//	}
//	// Keep out.Redacted in place of body; put out.Commands into the queue.
//
// # How it works
//
// Observe, record, plan. A message becomes an observation, which is committed,
// a bypass code first of all, before anything else happens; then a pure
// function decides from what is on record which commands should be queued now.
// A crash, a lost command, a NotNow, a report that comes twice or late need no
// special case: the next plan repairs them. A plan is made when a message comes,
// so push to a device that stays silent.
//
// # What it promises
//
//   - The order: information (and SecurityInfo on a Mac), then the bypass code,
//     then, with the code committed, the permission to lock. The permission is
//     never planned before a code that the device gave in this enrollment is in
//     escrow. A host drops the queue of a device that enrolls again, as servers
//     do, or an old permission could overtake the new code.
//   - An error comes back only when a code in this very message could not be
//     committed; junk gives none, see [CodeNotKept]. Whatever else is wrong, with the message or with the inventory,
//     is an [Event], and the host's queue goes on.
//   - A message is believed only if the identifier inside it is the one that the
//     host authenticated.
//   - No secret is in an event, a log or an error.
package engine
