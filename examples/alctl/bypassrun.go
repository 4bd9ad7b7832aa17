package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/activationlock/sdk/activationlock/bypass"
)

// target adds the flags that name a device and what Apple is told of it.
func (f *flags) target(s *bypass.Start) {
	f.text(&s.Subject.SerialNumber, "serial", "serial `NUMBER` of the device")
	f.kind(&s.Lock.Kind)
	f.text(&s.Identity.ProductType, "product", "model `IDENTIFIER` of the device, such as iPhone17,3; default what came with its codes")
	f.text(&s.Identity.IMEI, "imei", "`IMEI` of slot one; default what came with its codes, if none of the three is given")
	f.text(&s.Identity.IMEI2, "imei2", "`IMEI` of slot two; default what came with its codes, if none of the three is given")
	f.text(&s.Identity.MEID, "meid", "`MEID` of slot one; default what came with its codes, if none of the three is given")
}

// checkTarget checks what target has added, and completes it.
func checkTarget(s *bypass.Start) error {
	s.Device.ProductName = s.Identity.ProductType
	if s.Subject.SerialNumber == "" {
		return usageError("-serial is required")
	}
	return noCodes(s.Subject.SerialNumber, s.Identity.ProductType, s.Identity.IMEI, s.Identity.IMEI2, s.Identity.MEID)
}

func runBypassStart(c *console, args []string) error {
	f := newFlags("alctl bypass start", storeUsage+" -serial NUMBER -in-hand -actor NAME -reason TEXT -key FILE\n"+
		"       -organization NAME -cert FILE -cert-key FILE [flags]", `Has Apple remove the lock of a device: sends its codes, the likeliest first, until
one opens it or there is nothing left to try. Each code is in the audit before it
goes out; no person sees it. -actor goes to Apple too.

When Apple asks to wait or does not answer, it ends with exit code 1 and says
when to go on.`,
		"-store codes.db -serial XXFAKE0SER1 -in-hand -actor anna@example.com -reason \"owner left\" \\\n"+
			"    -key escrow.key -organization \"Example School\" -cert push.pem -cert-key push.key")
	a := c.access(f)
	a.audited()
	u := a.calling()
	var s bypass.Start
	f.target(&s)
	f.BoolVar(&s.InHand, "in-hand", false, "you have the device in your hand; required, as a lock that is lifted from afar helps a thief")
	if err := a.parse(args, 0); err != nil {
		return err
	}
	if err := checkTarget(&s); err != nil {
		return err
	}
	if !s.InHand {
		return usageError("-in-hand is required: say so only if you have the device in your hand")
	}
	if err := u.check(); err != nil {
		return err
	}
	s.Act = *a.by
	ctx, stop := c.interruptible()
	defer stop()
	o, b, client, err := u.open(ctx, nil)
	if err != nil {
		return err
	}
	defer o.close()
	action, warning, err := b.Start(ctx, s)
	switch {
	case errors.Is(err, bypass.ErrOpen):
		return fmt.Errorf("the device has an action that is not over; to go on: alctl bypass run -action %s", word(action.ID))
	case err != nil:
		return explained(ctx, err)
	}
	id := action.ID
	if !action.State.Over() {
		action, err = b.Run(ctx, id, client)
	}
	// Without a State the action is under way, and could not be read again.
	if warning != "" && (action.State == bypass.Done || !action.State.Over() || action.State == "") {
		c.line("%s %s", in(u.language, "Warning:", "Let op:"), warning.Label(u.language))
	}
	return c.after(ctx, o, id, action, err, u.language)
}

func runBypassRun(c *console, args []string) error {
	f := newFlags("alctl bypass run", storeUsage+" [-action ID] -key FILE -organization NAME -cert FILE -cert-key FILE\n       [flags]", `Goes on with an action that is not over, or with all of them. Each code is in the
audit, with the name of whoever started the action. Actions that have to wait are
left alone until then, and once Apple asks to wait, all others are too: a job
that runs it every few minutes finishes everything.`,
		"-store codes.db -key escrow.key -organization \"Example School\" -cert push.pem -cert-key push.key")
	a := c.access(f)
	a.writes = true
	a.withAuditKey()
	u := a.calling()
	var id string
	f.text(&id, "action", "only the action with that `ID`")
	pace := f.pace()
	if err := a.parse(args, 0); err != nil {
		return err
	}
	if err := u.check(); err != nil {
		return err
	}
	ctx, stop := c.interruptible()
	defer stop()
	o, b, client, err := u.open(ctx, nil)
	if err != nil {
		return err
	}
	defer o.close()
	if id != "" {
		action, err := b.Run(ctx, id, client)
		return c.after(ctx, o, id, action, err, u.language)
	}
	return u.runAll(ctx, o, b, client, *pace)
}

// pace is a flag with the time between two devices.
func (f *flags) pace() *time.Duration {
	pace := time.Second
	f.Func("pace", "`TIME` between two calls to Apple, such as 500ms; default 1s", func(s string) (err error) {
		if pace, err = time.ParseDuration(s); err != nil || pace <= 0 {
			return errors.New("want a time such as 1s")
		}
		return nil
	})
	return &pace
}

// runAll goes on with all actions that are not over.
func (u *calling) runAll(ctx context.Context, o *opened, b *bypass.Bypass, client *appleClient, pace time.Duration) error {
	c, l := u.console, u.language
	var done, failed, open int
	wait := false
	t := newTable(&c.out, in(l, "DEVICE", "APPARAAT"), in(l, "STATE", "STATUS"), in(l, "NEXT", "HIERNA"), in(l, "ACTION", "ACTIE"))
	for after := ""; ; {
		page, err := o.actions.Scan(ctx, after, tablePage, true)
		if err != nil {
			return explained(ctx, err)
		}
		for _, a := range page {
			after = a.ID
			if now := time.Now(); !wait && a.Next(now).Do != bypass.Wait {
				if a, err = b.Run(ctx, after, client); err != nil {
					c.out.Reset()
					return fmt.Errorf("%w; what is done stays; to go on: the same again", explained(ctx, err))
				}
				wait = asksToWait(a)
				if !wait && sleep(ctx, pace) != nil {
					wait = true // and say what is done
				}
			}
			switch {
			case a.State == bypass.Done:
				done++
			case a.State.Over():
				failed++
			default:
				open++
			}
			t.add(printable(a.Subject.SerialNumber), a.State.Label(l), moment(a.NextAt), printable(a.ID))
		}
		if len(page) < tablePage {
			break
		}
	}
	if done+failed+open == 0 {
		c.out.WriteString(in(l, "nothing is open\n", "er staat niets open\n"))
		return explained(ctx, ctx.Err())
	}
	if err := t.flush(); err != nil {
		return err
	}
	switch {
	case ctx.Err() != nil:
		return partialError("interrupted; what is done stays; to go on: the same again")
	case failed+open > 0:
		return partialError(fmt.Sprintf("%d of %d locks are not removed: %d failed, %d wait", failed+open, done+failed+open, failed, open))
	}
	return nil
}

// asksToWait reports whether Apple asked to wait when it was called last.
func asksToWait(a bypass.Action) bool {
	for _, t := range a.Attempts {
		// Other faults may be of this device alone.
		if !a.State.Over() && (t.StatusCode == http.StatusTooManyRequests || t.StatusCode == http.StatusServiceUnavailable) {
			return true
		}
	}
	return false
}

// sleep waits, or until the context is over.
func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
