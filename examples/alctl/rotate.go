package main

import (
	"fmt"

	"github.com/activationlock/sdk/bypasscode/escrow"
)

func runEscrowRotate(c *console, args []string) error {
	f := newFlags("alctl escrow rotate", storeUsage+" -actor NAME -reason TEXT -key FILE -to KEY [flags]", `Seals every code of a store to the keys of -to, and to no others: a key that is
not named there opens nothing any more, except in old copies of the store. Give
the new keys to the servers first, or they go on sealing to the old ones.

It takes one of the keys that codes are sealed to now. It may be interrupted, and
run again; then and if codes failed, keep the old key.`,
		"-store codes.db -actor anna -reason \"bert left\" -key old.key -to new.pub -to offline.pub")
	a := c.access(f)
	a.audited()
	var keys, to, recovery []string
	var after string
	f.texts(&keys, "key", "`FILE` with a private key that codes are sealed to now; may be given more than once")
	f.publicKeys(&to, "to", "who may read the codes from now on")
	f.recovery(&recovery)
	f.text(&after, "after", "go on after the record with that `ID`")
	if err := a.parse(args, 0); err != nil {
		return err
	}
	if len(keys) == 0 || len(to) == 0 {
		return usageError("-key and -to are required")
	}
	recipients, err := c.readPublicKeys("to", to)
	if err != nil {
		return err
	}
	sealer, err := readKeys(keys, recipients...)
	if err != nil {
		return err
	}
	config, err := c.recoveryConfig(recovery)
	if err != nil {
		return err
	}
	ctx, stop := c.interruptible()
	defer stop()
	o, err := a.open(ctx, sealer, config)
	if err != nil {
		return err
	}
	defer o.close()

	progress := c.progress("codes", o.count(ctx, after), false)
	defer progress.end()
	done, err := o.Rotate(ctx, *a.by, after, func(r escrow.Rotation) {
		if r.Err != nil {
			c.warn(nameOf(r.Record), r.Err)
		}
		progress.step(0)
	})
	progress.end()
	if err = explained(ctx, err); err != nil && done.Seen == 0 {
		return err
	}
	fmt.Fprintf(&c.out, "%d codes seen, %d sealed anew, %d recovery copies made, %d failed\n", done.Seen, done.Rewrapped, done.Copied, done.Failed)
	switch {
	case err != nil && done.Failed > 0:
		return partialError(fmt.Sprintf("%v; keep the old key, and run the same again: %d codes stay as they were", err, done.Failed))
	case err != nil:
		return partialError(fmt.Sprintf("%v; to go on: the same with -after %s", err, printable(done.Record.ID)))
	case done.Failed == 0 && after != "":
		c.line("alctl: now run it once more without -after, before you retire the old key")
	case done.Failed > 0:
		return partialError(fmt.Sprintf("keep the old key: %d of %d codes stay as they were", done.Failed, done.Seen))
	}
	return nil
}
