package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"

	"github.com/activationlock/sdk/bypasscode/escrow"
	"github.com/activationlock/sdk/bypasscode/seal"
	"github.com/activationlock/sdk/bypasscode/transfer"
)

func runEscrowExport(c *console, args []string) error {
	f := newFlags("alctl escrow export", storeUsage+" -actor NAME -reason TEXT -key FILE -to KEY -out FILE [flags]", `Writes the codes of a store into a bundle, sealed to the keys of whoever is to
import it (-to). Each code is in the audit before it is written. What went wrong
is reported code by code, the others still come, and the exit code is 1; if the
whole went wrong, or was interrupted, there is no file.

With -csv it writes a CSV file with the codes as they are, in place of a bundle.
Such a file opens every device in it: destroy it as soon as it has served.`,
		"-store codes.db -actor anna -reason \"new server\" -key escrow.key -to their.pub -out codes.bundle")
	a := c.access(f)
	a.audited()
	var keys, to []string
	var out, after string
	f.texts(&keys, "key", "`FILE` with a private key that codes are sealed to; may be given more than once")
	f.publicKeys(&to, "to", "who may open the bundle")
	f.text(&out, "out", "`FILE` to write to, for you alone; it must not exist")
	f.text(&after, "after", "only the records after that `ID`; IDs are random, so those are not the newer ones")
	asCSV := f.Bool("csv", false, "write a CSV file with the codes as they are")
	if err := a.parse(args, 0); err != nil {
		return err
	}
	switch {
	case len(keys) == 0 || out == "":
		return usageError("-key and -out are required")
	case out == "-":
		return usageError("-out is a file: codes are not printed")
	case *asCSV == (len(to) > 0):
		return usageError("want either -to or -csv")
	}
	opener, err := readKeys(keys)
	if err != nil {
		return err
	}
	recipients, err := c.readPublicKeys("to", to)
	if err != nil {
		return err
	}
	ctx, stop := c.interruptible()
	defer stop()
	o, err := a.open(ctx, opener, escrow.Config{})
	if err != nil {
		return err
	}
	defer o.close()

	progress := c.progress("codes", o.count(ctx, after), false)
	defer progress.end()
	rows := eachOf(ctx, o.Export(ctx, *a.by, after), func() { progress.step(0) })
	failed := func(p escrow.Portable) { c.warn(nameOf(p.Record), p.Err) }
	var n transfer.Written
	err = writeNew(out, func(w io.Writer) (err error) {
		if *asCSV {
			n, err = transfer.WriteCSV(w, rows, failed)
		} else {
			var sealer *seal.Keyring
			if sealer, err = seal.NewKeyring(recipients); err == nil {
				n, err = transfer.WriteBundle(ctx, w, sealer, rows, failed)
			}
		}
		if err == nil && n.Rows == 0 && n.Failed > 0 {
			err = errors.New("no code could be read")
		}
		return err
	})
	progress.end()
	if err != nil {
		return explained(ctx, err)
	}
	fmt.Fprintf(&c.out, "%d codes written, %d left out\n", n.Rows, n.Failed)
	if n.Failed > 0 {
		return partialError(fmt.Sprintf("%d of %d codes could not be read", n.Failed, n.Failed+n.Rows))
	}
	return nil
}

// eachOf calls a function for each row that passes, and ends with the context.
func eachOf(ctx context.Context, rows iter.Seq2[escrow.Portable, error], each func()) iter.Seq2[escrow.Portable, error] {
	return func(yield func(escrow.Portable, error) bool) {
		for row, err := range rows {
			if err == nil {
				each()
				err = ctx.Err()
			}
			if !yield(row, err) {
				return
			}
		}
	}
}

// writeNew writes a file that was not there before, for its owner only. After
// an error there is none.
func writeNew(path string, write func(io.Writer) error) error {
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return fmt.Errorf("write -out: %w", reason(err))
	}
	err = write(file)
	if err == nil {
		err = file.Sync()
	}
	if err = cmp.Or(err, file.Close()); err != nil {
		return errors.Join(reason(err), os.Remove(path))
	}
	return nil
}
