package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/activationlock/sdk/activationlock"
	"github.com/activationlock/sdk/activationlock/bypass"
	"github.com/activationlock/sdk/bypasscode/escrow"
)

var bypassPrograms = []program{
	{"plan", "show which codes would be sent for a device, and send nothing", runBypassPlan},
	{"start", "have Apple remove the lock of a device", runBypassStart},
	{"run", "go on with what is not over", runBypassRun},
	{"show", "show what was done", runBypassShow},
	{"cancel", "end what is not over", runBypassCancel},
	{"bulk", "have Apple remove the locks of a list of devices", runBypassBulk},
}

func runBypass(c *console, args []string) error {
	return c.dispatch("alctl bypass", args, bypassPrograms, func(w io.Writer) {
		fmt.Fprint(w, "Usage: alctl bypass COMMAND [flags]\n\nCommands:\n")
		listPrograms(w, bypassPrograms)
		fmt.Fprint(w, `
Apple removes a lock when it is sent the code that opens it; the device takes no
part in it. It asks for the push certificate for MDM of the server (-cert). What
is done stays in the store (see "alctl escrow -h"), so that another can go on.

Exit code 0 means that Apple says that the lock is removed; 1 that it is not, or
not yet.

To rehearse, work on a copy of the store, since answers are stored, and send the
calls to a simulated Apple of your own (Go package activationlocktest, behind TLS)
with -connect and -ca.

Example:
  alctl bypass plan -store codes.db -serial XXFAKE0SER1
`)
	})
}

// calling is what the programs have in common that call Apple.
type calling struct {
	*access
	keys                        []string
	organization, cert, certKey string
	route                       route
	language                    activationlock.Language
}

func (a *access) calling() *calling {
	u := &calling{access: a}
	a.texts(&u.keys, "key", "`FILE` with a private key that codes are sealed to, as keygen writes it; may be given more than once")
	a.text(&u.organization, "organization", "`NAME` of the organization; goes to Apple")
	a.text(&u.cert, "cert", "`FILE` with the push certificate for MDM of the server (PEM)")
	a.text(&u.certKey, "cert-key", "`FILE` that only you can read, with the key of -cert (PEM, not encrypted)")
	a.flags.route(&u.route)
	a.flags.language(&u.language)
	return u
}

// check checks what calling has added.
func (u *calling) check() error {
	switch {
	case len(u.keys) == 0 || u.organization == "" || u.cert == "" || u.certKey == "":
		return usageError("-key, -organization, -cert and -cert-key are required")
	case !escrow.ValidIdentifier(u.organization):
		return usageError("-organization has at most 255 bytes of text")
	}
	if err := noCodes(u.organization); err != nil {
		return err
	}
	return u.route.check()
}

// open opens the store to send its codes to Apple.
func (u *calling) open(ctx context.Context, pause func(context.Context, time.Duration) error) (*opened, *bypass.Bypass, *appleClient, error) {
	sealer, err := readKeys(u.keys)
	if err != nil {
		return nil, nil, nil, err
	}
	certificate, err := u.console.readPushCertificate(u.cert, u.certKey)
	if err != nil {
		return nil, nil, nil, err
	}
	client, err := u.console.client(u.route, certificate)
	if err != nil {
		return nil, nil, nil, err
	}
	o, err := u.access.open(ctx, sealer, escrow.Config{})
	if err != nil {
		return nil, nil, nil, err
	}
	b, err := o.bypass(u.organization, pause)
	if err != nil {
		o.close()
		return nil, nil, nil, err
	}
	return o, b, client, nil
}

// bypass makes what works on actions. Without calls, any organization will do.
func (o *opened) bypass(organization string, pause func(context.Context, time.Duration) error) (*bypass.Bypass, error) {
	return bypass.New(bypass.Config{Store: o.actions, Escrow: o.Escrow, Audit: o.audit, Organization: organization, Pause: pause})
}

const noOrganization = "-"

// after prints an action that was run, and returns what is to be said of it.
func (c *console) after(ctx context.Context, o *opened, id string, a bypass.Action, err error, l activationlock.Language) error {
	goOn := "; to go on: alctl bypass run -action " + word(id)
	switch {
	case errors.Is(err, bypass.ErrNotFound):
		return noSuchAction(err)
	case err != nil && a.ID == "": // it could not be read
		return errors.New(explained(ctx, err).Error() + goOn)
	}
	if printed := c.printAction(a, o.aftermath(a), l); printed != nil {
		return printed
	}
	switch {
	case err != nil:
		return partialError(explained(ctx, err).Error() + goOn)
	case !a.State.Over():
		return partialError("not over" + goOn)
	case a.State != bypass.Done:
		return partialError("the lock is not removed")
	}
	return nil
}

func noSuchAction(err error) error {
	if errors.Is(err, bypass.ErrNotFound) {
		return errors.New("there is no such action")
	}
	return err
}

// aftermath is what became of a device, as far as the store knows.
func (o *opened) aftermath(a bypass.Action) activationlock.Aftermath {
	k, err := o.known(context.WithoutCancel(o.console.ctx), a.Subject)
	if err != nil {
		o.console.warn("what became of the device", err)
	}
	return a.Aftermath(k.evidence)
}
