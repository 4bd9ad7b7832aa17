// Package seal makes bypass codes unreadable for whoever reads the database that
// keeps them. It is envelope encryption to public keys: a server that only
// collects codes needs no private key, and cannot read what it has stored.
//
// # What to call
//
// Once, on the machine of whoever may read codes: [GenerateKey] and
// [WriteKeyFile]. On the server that collects: [ParsePublicKey] and
// [NewKeyring], whose [Keyring] is what package escrow wants as a Sealer. Where
// codes are read: [ReadKeyFile], and a [NewKeyring] that has the private key
// too. To exchange keys: a Keyring with the new recipients and the old private
// key, and [Keyring.Rewrap] on every row.
//
// Use [X25519] unless a rule says otherwise: [P256] for FIPS 140-3, or
// [MLKEM768X25519] against somebody who keeps a copy of the database until there
// are quantum computers. Seal to two keys or more, one of them offline: if the
// last private key is lost, so is every code.
//
// # What not to do
//
// Do not give a server a private key that it does not need. Do not print
// [PrivateKey.Reveal], or send it anywhere. Do not leave out the associated data:
// it is what keeps a row from being moved to another device. Do not throw a
// private key away after a rotation before every row is rewrapped, and no backup
// is left that somebody may need: [Recipients] tells which keys a row is
// sealed to.
//
// # What it does not prove
//
// Sealed text has no sender. The public keys are enough to make it, so whoever
// can write the table can plant rows and delete them, and can also take a
// recipient out of a row; they can neither read a row nor change its text.
// A rotation does not help against somebody who has both an old private key and
// an old copy of the database: the codes in it have to be replaced.
//
// # Compatibility
//
// What was sealed once opens for ever, with the same key: formats get new
// versions and suites new names, and old ones stay readable. The vectors in
// testdata hold us to it.
//
// # Format
//
// Sealed text of version 1 is one byte of version, one of the number of
// recipients (1 to 16), and for each recipient one byte of suite (1 x25519, 2
// p256, 3 mlkem768-x25519), 16 bytes of key ID, two bytes of length and the
// wrapped data key: HPKE (RFC 9180; base mode, HKDF-SHA256, AES-256-GCM) of 32
// random bytes, with the info "activationlock-escrow-v1 data key", a zero byte
// and the key ID. The rest is the text, sealed with the data key in AES-256-GCM:
// 12 bytes of nonce, ciphertext, 16 bytes of tag. Its associated data is
// "activationlock-escrow-v1 text", a zero byte and the caller's. Numbers are
// big-endian.
//
// A key ID is the first 16 bytes of the SHA-256 over "activationlock-escrow-v1
// key", a zero byte, the suite's name, a zero byte and the public key as HPKE
// serializes it. A key line is "activationlock-escrow-public-" or
// "activationlock-escrow-private-", the suite's name, a colon, and base64url
// without padding of the serialized key and the first four bytes of the key ID,
// so that a mistyped line is no key, instead of one that nobody can open with.
package seal
