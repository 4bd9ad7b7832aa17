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
//   - The same code again is the same [Record], seen again. Texts that do not
//     parse cannot be compared, and are kept each time.
//   - A code that nobody asked for, or whose serial number is disputed, is
//     kept but marked, and supersedes nothing. Nor does one that was imported
//     or typed supersede one that a device gave.
//   - A server code is committed before its hash can be had
//     ([Escrow.LockCode]).
//   - Deleting a device ([Escrow.Delete]) takes nothing away;
//     [Escrow.Purge] does.
//
// What devices and hosts do: [Escrow.Capture], [Escrow.MarkStale], [Escrow.Join],
// [Escrow.LockCode], [Escrow.Mark], [Escrow.Delete]. What people do, each with who
// and why ([Act]) in the audit: [Escrow.Reveal], [Escrow.Export], [Escrow.Import],
// [Escrow.Purge], [Escrow.Rotate]. What shows no code: [Escrow.Records],
// [Escrow.All], [Escrow.RecoveryCopy].
//
// Codes are sealed by a [Sealer] before they reach a [Store], bound to their
// record; package seal has the one, packages sqlstore and, for tests, memstore the other. All
// ways back take a private key: [Escrow.Reveal] and [Escrow.Export], which return
// no code before the audit has it (package audit), and the recovery copy of a code
// ([Escrow.RecoveryCopy]), which opens without this library and leaves no trace
// here. Package transfer moves codes between escrows.
//
// Sealing proves no sender. Who can write the store can plant records and
// delete them; a record that was moved to another device, or changed to name
// another, does not open.
package escrow
