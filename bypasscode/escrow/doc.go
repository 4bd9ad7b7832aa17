// Package escrow keeps every bypass code that was ever seen, for as long as
// anybody may need it.
//
// Codes are filed by serial number, since a device that is erased and enrolls
// again is a new enrollment with the same serial number; by enrollment ID until
// the serial number is known ([Escrow.Join] brings the two together). They
// outlive unenrollment, wipe and the host's own device row. The rules:
//
//   - An empty code is refused, and never overwrites one.
//   - A different code of a device supersedes the one before, which stays.
//   - Device codes and server codes never touch each other.
//   - The same code again is the same [Record], seen again.
//   - A code that nobody asked for, or whose serial number is disputed, is
//     kept but marked, and supersedes nothing.
//
// For users of an [Escrow], [Escrow.Reveal] is the only way to a code. A [Store]
// does the keeping; package memstore has one. A store of your own is handed the
// codes as they are: encrypt them before you write them.
package escrow
