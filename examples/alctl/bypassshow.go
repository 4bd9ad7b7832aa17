package main

import (
	"github.com/activationlock/sdk/activationlock"
	"github.com/activationlock/sdk/activationlock/bypass"
	"github.com/activationlock/sdk/bypasscode/escrow"
)

func runBypassShow(c *console, args []string) error {
	f := newFlags("alctl bypass show", storeUsage+" -action ID|-serial NUMBER [flags]", `Shows an action, or those of a device, the oldest first: who started it, which
codes were sent, what Apple answered, and what became of the lock. No code is in
it, no key is needed, and the audit is not told.`, "-store codes.db -serial XXFAKE0SER1")
	a := c.access(f)
	var id, serial string
	var l activationlock.Language
	f.text(&id, "action", "`ID` of the action")
	f.text(&serial, "serial", "serial `NUMBER` of the device")
	f.language(&l)
	asJSON := f.Bool("json", false, "print one JSON object per line")
	if err := a.parse(args, 0); err != nil {
		return err
	}
	if (id == "") == (serial == "") {
		return usageError("want either -action or -serial")
	}
	ctx, stop := c.interruptible()
	defer stop()
	o, err := a.open(ctx, noSealer{}, escrow.Config{})
	if err != nil {
		return err
	}
	defer o.close()
	var actions []bypass.Action
	if serial != "" {
		actions, err = o.actions.OfDevice(ctx, serial)
	} else {
		var one bypass.Action
		one, err = o.actions.Get(ctx, id)
		actions = []bypass.Action{one}
	}
	if err != nil {
		return noSuchAction(explained(ctx, err))
	}
	if len(actions) == 0 {
		return noSuchAction(bypass.ErrNotFound)
	}
	for i, action := range actions {
		became := o.aftermath(action)
		if *asJSON {
			err = printLine(&c.out, newShownAction(action, became))
		} else {
			if i > 0 {
				c.out.WriteString("\n\n")
			}
			err = c.printAction(action, became, l)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
