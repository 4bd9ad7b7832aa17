// Package transfer moves codes between escrows: from server to server in a
// bundle, and from another product in a CSV file.
//
//	from an escrow, [escrow.Escrow.Export]  →  [WriteBundle], [WriteCSV]
//	into an escrow, [escrow.Escrow.Import]  ←  [ReadBundle], [ReadCSV]
//
// # Bundles
//
// A bundle is one file, sealed to the keys of whoever is to import it: their
// public key is enough to write it. To move, look at what a dry run says first:
//
//	n, err := transfer.WriteBundle(ctx, file, theirKeys, codes.Export(ctx, act, ""), nil)
//
//	how := escrow.Import{Act: act, Source: "the old server", DryRun: true}
//	for row, err := range codes.Import(ctx, how, transfer.ReadBundle(ctx, file, ourKeys)) { … }
//
// A bundle that is cut off, or whose parts were reordered, changed, repeated or
// taken from another, is found out when it is read that far; the rows before are
// good, and may be imported already. To import it again does no harm. It proves no
// sender: whoever has the public key can write one.
//
// Bundles of this version can be read for ever; the format is described in the
// code.
//
// # CSV
//
// [ReadCSV] reads what other products export, by the names of its columns
// ([TwoCodes] for those with a code of each kind), and checks each code.
// [WriteCSV] writes codes as they are, for people who must have them so: whoever
// has such a file can open every device in it.
//
// # Size and progress
//
// All of it streams: a million codes take no more memory than one, except for a
// dry run (see [escrow.Escrow.Import]). The rows are the progress too: an import
// returns what became of each, and whoever writes can count them on their way, as
// the example of WriteBundle does.
package transfer
