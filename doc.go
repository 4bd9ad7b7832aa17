// Package sdk is the root of a library that keeps Apple Activation Lock from
// turning an organization's devices into bricks. It has no code; import the
// packages below it.
//
// A host, which is a device management (MDM) server written in Go, embeds
// package activationlock/engine: bytes that devices sent go in, commands for
// the host's queue come out, and every bypass code that a device ever gave is
// in escrow before its lock is allowed. The floors of the house, each of which
// imports only those below:
//
//   - bypasscode makes, reads, prints and hashes codes; bypasscode/seal seals
//     them to public keys; bypasscode/audit chains what people did with them.
//   - mdmcmd writes MDM commands and reads device messages;
//     activationlock/apple writes requests to Apple's services and reads the
//     answers; bypasscode/escrow keeps codes.
//   - activationlock knows what can be known of a lock; bypasscode/transfer moves
//     codes between escrows.
//   - activationlock/bypass lifts locks; inventory keeps what is known of each
//     enrollment.
//   - activationlock/engine does the work; activationlock/memstore stores in
//     memory, activationlock/sqlstore in SQLite, PostgreSQL, MariaDB or MySQL;
//     activationlock/storetest tests a store of your own.
//   - activationlock/activationlocktest plays devices and Apple for tests.
//
// The module does no networking, and starts no goroutines that outlive a call, but for
// the simulated Apple of activationlocktest, which can listen on a local port. Of the
// rest, bypasscode.HashAll uses all processors while it runs, and inventory.Rows reads
// the next page while a loop is at one.
package sdk
