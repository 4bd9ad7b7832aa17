// Package audit keeps a record of what people did with codes: an append-only
// chain in which each entry has the digest of the one before.
//
// [New] makes a [Log] on a [Store] (packages memstore and sqlstore have some);
// give it to package escrow, which appends to it before a code is shown. Keep
// the heads that Config.OnHead is told outside of the database: in a log server,
// on paper. [Log.Verify] says whether the chain is whole and still leads through
// a head that was kept.
//
// # What is found, and what is not
//
//	done to the table                         without a key      with a key
//	an entry changed, doubled or inserted     found              found
//	an entry removed that others follow       found              found
//	two entries swapped                       found              found
//	the last entries removed, or all          by a head of those by a head of those
//	the same, and others appended since       by a head of those by a head of those
//	digests made anew, from some entry on     by a head of those found
//	an entry added at the end, with a digest  NOT found          found
//	another chain in its place                by a head          found
//
// "By a head of those" means: by a kept head of one of the entries that are gone
// or were made anew; no other head finds it. So keep every head, or replace the
// one you have only by what Verify returned when it was given that one: the heads
// that are told after the last entries were removed lead through what is left.
//
// The key (see [NewKey]) is one that the database does not have, so that whoever
// can write the table cannot make digests. Against whoever has the key too, and
// with a chain of the same key in its place, the first column holds.
//
// Verify compares what the Store returns, which is what [Log.Entries] shows. It
// finds that a chain is broken, not by whom, and a wrong key looks like a change.
//
// Entries hold what the host says of actors and reasons. The library puts no code
// into them; a person who types one into the reason does.
package audit
