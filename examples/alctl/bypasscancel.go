package main

import (
	"github.com/activationlock/sdk/activationlock"
	"github.com/activationlock/sdk/activationlock/bypass"
	"github.com/activationlock/sdk/bypasscode/escrow"
)

func runBypassCancel(c *console, args []string) error {
	f := newFlags("alctl bypass cancel", storeUsage+" -action ID -actor NAME -reason TEXT [flags]", `Ends an action that is not over: no more codes are sent. A code that is on its way
cannot be called back.`, "-store codes.db -action 4JHA5Q2XVEVKPX3D6IW7A4B2QN -actor anna -reason \"wrong device\"")
	a := c.access(f)
	a.audited()
	var id string
	var l activationlock.Language
	f.text(&id, "action", "`ID` of the action")
	f.language(&l)
	if err := a.parse(args, 0); err != nil {
		return err
	}
	if id == "" {
		return usageError("-action is required")
	}
	ctx, stop := c.interruptible()
	defer stop()
	o, err := a.open(ctx, noSealer{}, escrow.Config{})
	if err != nil {
		return err
	}
	defer o.close()
	b, err := o.bypass(noOrganization, nil)
	if err != nil {
		return err
	}
	before, err := o.actions.Get(ctx, id)
	action := before
	if err == nil {
		action, err = b.Cancel(ctx, id, *a.by)
	}
	if err != nil {
		return noSuchAction(explained(ctx, err))
	}
	if err := c.printAction(action, o.aftermath(action), l); err != nil {
		return err
	}
	if before.State.Over() || action.State != bypass.Canceled {
		return partialError("the action was over already")
	}
	return nil
}
