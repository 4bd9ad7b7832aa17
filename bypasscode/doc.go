// Package bypasscode makes, reads, prints and hashes the codes that lift
// Apple's Activation Lock.
//
// A server that locks a device for its organization makes a code with [New],
// keeps it (package escrow), and sends Apple its [Code.Hash]. A person who has
// a code on paper types it into [ParseLenient]. What a device reported is a
// [Text]: it is kept byte for byte, because nobody promises that devices keep
// to the format that servers do.
//
// # Secrets
//
// A code opens a stolen device. [Code] and [Text] therefore keep their secret
// in a closure, where no printer, debugger dump or test diff can follow:
// every fmt verb and log/slog shows "[redacted]", and encoding one (JSON, XML,
// text, gob, plist, an SQL parameter) is an error, since a stored "[redacted]"
// is a lost code. The only ways to the secret are the methods Reveal and
// RevealBytes, named so that a reviewer can search for them. The types cannot
// be compared with ==; use Equal, which takes constant time.
//
// Do not keep the hash and throw the code away: the hash locks, the code
// unlocks, and the one cannot be turned back into the other.
//
// # Format
//
// A code is 16 random bytes, printed as 26 symbols of the alphabet
// 0123456789ACDEFGHJKLMNPQRTUVWXYZ in groups of 5-5-4-4-4-4 with dashes
// between: 31 characters. The bits are taken most significant first, five to
// a symbol; the 26th symbol holds the last three bits as a plain number from
// 0 to 7. No RFC 4648 coder produces that last symbol.
//
// Source: Apple, "Creating and using bypass codes"
// (developer.apple.com/documentation/devicemanagement/creating-and-using-bypass-codes).
package bypasscode
