// Package embedding has the lines that put the engine into an MDM server of your
// own, one file for each kind of server. They are meant to be copied: what a server
// gives is named by small types here, so that nothing of the server has to be
// imported. The tests play messages through each of them.
//
// # What a server gives and takes
//
//   - It tells the engine who sent a message, by its own authentication: the
//     enrollment that it bound to the device's certificate.
//   - It hands over the bytes of check-ins and reports, before it stores them.
//   - It queues the commands that come out, and pushes to devices for which Tick
//     has something.
//   - It gives an HTTP client for Apple, or sends the requests itself.
//
// # The order of calls
//
// At the start: open the stores (Migrate), make the escrow and the engine, begin one
// goroutine with Run; for a fleet that is enrolled already call Adopt, once.
//
// A check-in first goes to the server's own code, which drops the queue of a device
// that begins to enroll, and then to HandleCheckin: an old permission to lock must
// not overtake the new code. A report first goes to HandleReport, and only if that
// gave no error to the server's own code, with Outcome.Redacted in place of the
// report: so no code gets into the server's database, dumps and webhooks.
//
// # What each error means
//
//   - HandleReport, HandleCheckin: a code could not be committed. Answer the device
//     with HTTP 500; it sends the report again. Nothing else is an error.
//   - Tick: the inventory could not be read, or the context is over. Deliver the
//     batches that came with it, and call it again later.
//   - HandleAnswer: Apple's answer could not be kept. Nothing is to be done: Apple is
//     asked again.
//   - Adopt: the inventory failed. Call it again with the same enrollments.
//   - Bypass: bypass.ErrNotInHand and ErrDisputed are for the person who asked;
//     bypass.ErrOpen comes with the action that is under way.
//   - Reveal: escrow.ErrRefused is the rule's answer; seal.ErrNoKey means that this
//     server has no key for this code.
//   - inventory.ErrNotFound: nothing is known of that device.
//
// A command that could not be queued, a push that failed, a server that stopped: log
// it, and do nothing else. What was asked and not answered is asked again.
//
// # What to back up
//
//   - The database: codes (sealed), audit, records and actions are in one.
//   - The private keys, apart from it. Without a key nobody reads a code again.
//   - The heads of the audit (audit.Config.OnHead), outside of the database, and the
//     audit's key if it has one.
package embedding
