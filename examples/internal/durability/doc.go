// Package durability shows that no code is lost which escrow called committed:
// not when the server that keeps it is killed, and not when the database is. It
// has tests only.
//
//	go test ./examples/internal/durability -v -kills 1000 -seed 7
//
// The test runs itself again as a child, which captures codes and reports each
// one that is committed. It is killed in the middle, and all that it reported
// must be there. A process that is killed leaves its writes with the operating
// system, so this alone says nothing of a loss of power: for that, databases are
// stopped as if it had come, settings are read inside of the store's own
// transactions, and calls of fsync are counted.
package durability
