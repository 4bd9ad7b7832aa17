// Package secrecy shows that no code and no private key gets out: it lets escrow
// and the engine run with codes that it knows, and then looks for them, in every
// encoding, in the files of the databases, their logs and dumps, in what was
// logged, in errors, in what printers and encoders make of public values, and in
// recovery copies. It has tests only.
//
// In each of these places something is planted that must be found, so that a
// search which looks at nothing does not pass.
package secrecy
