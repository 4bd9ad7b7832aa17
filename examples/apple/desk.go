package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"strings"
	"time"
	"unicode"

	_ "modernc.org/sqlite"

	"github.com/activationlock/sdk/activationlock"
	"github.com/activationlock/sdk/activationlock/apple"
	"github.com/activationlock/sdk/activationlock/bypass"
	"github.com/activationlock/sdk/activationlock/engine"
	"github.com/activationlock/sdk/activationlock/sqlstore"
	"github.com/activationlock/sdk/bypasscode/audit"
	"github.com/activationlock/sdk/bypasscode/escrow"
	"github.com/activationlock/sdk/bypasscode/seal"
	"github.com/activationlock/sdk/inventory"
	"github.com/activationlock/sdk/mdmcmd"
)

// desk is where a person sits who asks things of Apple.
type desk struct {
	out          io.Writer
	organization string
	doer         engine.Doer
	api          apple.API
	clock        func() time.Time // default time.Now

	engine  *engine.Engine
	codes   *escrow.Escrow
	devices inventory.Store
	last    map[string]apple.Outcome // what came of the last call, by service
}

func (d *desk) say(format string, args ...any) { fmt.Fprintf(d.out, format+"\n", args...) }

// open opens the store, and makes the engine that a server would have.
func (d *desk) open(ctx context.Context, file string, key seal.PrivateKey, auditKey audit.Key) (closeStore func() error, err error) {
	db, err := sqlstore.OpenSQLite(ctx, "sqlite", file)
	if err != nil {
		return nil, fmt.Errorf("open -store: %w", withoutPath(err))
	}
	defer func() {
		if err != nil {
			db.Close()
			err = fmt.Errorf("open -store: %w", err)
		}
	}()
	store, err := sqlstore.New(db, sqlstore.SQLite)
	if err != nil {
		return nil, err
	}
	if err := store.Migrate(ctx); err != nil {
		return nil, err
	}
	keys, err := seal.NewKeyring([]seal.PublicKey{key.Public()}, key)
	if err != nil {
		return nil, err
	}
	acts, err := audit.New(audit.Config{Store: store.Audit(), Key: auditKey})
	if err != nil {
		return nil, err
	}
	d.codes, err = escrow.New(escrow.Config{Store: store.Escrow(), Sealer: keys, Audit: acts, Clock: d.clock})
	if err != nil {
		return nil, err
	}
	d.devices, d.last = store.Inventory(), map[string]apple.Outcome{}
	config := engine.Config{
		Escrow: d.codes, Inventory: d.devices, Audit: acts,
		Doer: d.doer, StatusAPI: d.api,
		Clock: d.clock, Observer: d,
		OnEvent: func(_ context.Context, e engine.Event) { d.say("  engine: %s", e.Type) },
	}
	if d.organization != "" {
		config.Actions, config.Organization = store.Actions(), d.organization
	}
	if d.engine, err = engine.New(config); err != nil {
		return nil, err
	}
	return db.Close, nil
}

// Counted remembers what came of calls.
func (d *desk) Counted(what engine.Counter, label string, _ int) {
	if service, outcome, ok := strings.Cut(label, ": "); ok && what == engine.AppleCalls {
		d.last[service] = apple.Outcome(outcome)
	}
}

// Took is of no interest here.
func (d *desk) Took(engine.Step, time.Duration) {}

// know has a device on record. On a server it is there, since it enrolled; for one
// that never did, what is on its box will do.
func (d *desk) know(ctx context.Context, serial string, f inventory.Facts) error {
	details, err := d.engine.Device(ctx, serial)
	if err != nil && !errors.Is(err, inventory.ErrNotFound) {
		return err
	}
	if details.Record.EnrollmentID != "" || f.ProductName == "" {
		return nil
	}
	f.SerialNumber = serial
	return d.devices.Update(ctx, "typed:"+serial, func(r *inventory.Record) error {
		r.Channel, r.Facts = mdmcmd.DeviceChannel, f
		r.Summarize(nil, time.Time{}, inventory.Limits{}, time.Now())
		return nil
	})
}

func cellular(imei, imei2 string) mdmcmd.Cellular { return mdmcmd.Cellular{IMEI: imei, IMEI2: imei2} }

func (d *desk) status(ctx context.Context, serial string) error {
	d.say("Asking Apple for the lock of %s", serial)
	req, err := apple.StatusRequest(d.api, serial)
	if err != nil {
		return err
	}
	answer := apple.ReadStatus(d.doer.Do(req.WithContext(ctx)))
	if answer.Outcome != apple.Done {
		return problem("status", answer.Outcome, answer.RetryAfter)
	}
	said := map[apple.LockType]string{
		apple.LockMDM:  "locked for the organization; a server code opens it (Managed Lost Mode shows so too)",
		apple.LockUser: "locked by its user; the device's code opens it",
	}[answer.LockType]
	switch {
	case !*answer.Locked:
		said = "not locked"
	case said == "":
		said = "locked"
	}
	d.say("Apple says: %s", said)
	return nil
}

func (d *desk) lock(ctx context.Context, serial string, by escrow.Act, message string) error {
	d.say("Locking %s for the organization", serial)
	delete(d.last, "lock")
	err := d.engine.LockForOrganization(ctx, serial, by, message)
	switch {
	case errors.Is(err, inventory.ErrNotFound):
		return errors.New("the store does not know the device: say with -product what it is, such as iPhone17,3")
	case errors.Is(err, engine.ErrNotPossible):
		return errors.New("this is no device that Apple locks for an organization")
	case err != nil:
		return err
	}
	details, err := d.engine.Device(ctx, serial)
	if err != nil {
		return err
	}
	if outcome := d.last["lock"]; outcome != apple.Done {
		again := details.Record.Exchanges[string(engine.LockService)].AgainAt
		if outcome == "" {
			return fmt.Errorf("the order is on record, and Apple is to be left alone until %s UTC; the same again goes on then", again.UTC().Format(time.DateTime))
		}
		return problem("lock", outcome, time.Until(again))
	}
	d.say("It is locked. The code that opens it was in the escrow before Apple was called:")
	for _, code := range details.Codes {
		d.say("  a code of kind %s, sealed, %s", code.Kind, code.State)
	}
	return nil
}

func (d *desk) unlock(ctx context.Context, serial string, by escrow.Act) error {
	d.say("Having the lock of %s removed", serial)
	action, warning, err := d.engine.Bypass(ctx, serial, engine.Unlock{Act: by, InHand: true})
	switch {
	case errors.Is(err, inventory.ErrNotFound):
		return errors.New("the store holds no code of the device")
	case errors.Is(err, bypass.ErrOpen):
		return fmt.Errorf("a bypass of the device is under way; to go on: go run ./examples/alctl bypass run -action %s", action.ID)
	case err != nil:
		return err
	}
	said := action.State.Label(activationlock.English)
	if why := action.Reason.Label(activationlock.English); action.Reason != "" {
		said += ": " + why
	}
	switch {
	case !action.State.Over():
		return fmt.Errorf("not done yet, Apple is to be asked again from %s UTC on: go run ./examples/alctl bypass run -action %s",
			action.NextAt.UTC().Format(time.DateTime), action.ID)
	case action.State != bypass.Done:
		return errors.New(said)
	}
	d.say("%s. %s", said, warning.Label(activationlock.English))
	return nil
}

// problem says what came of a call that did not do what was asked.
func problem(service string, o apple.Outcome, wait time.Duration) error {
	said := map[string]string{
		"lock: session over":   "Apple refuses the server token (-ade-token): it may be over, or the portal gave a newer one",
		"lock: terms":          "an administrator has to accept Apple's new terms in the portal first",
		"lock: already locked": "the device is locked already, by somebody else or with another code",
		"lock: not possible":   "this server token cannot lock this device: it is not in the organization, or of a kind that Apple does not lock",
		"lock: no answer":      "Apple gave no answer; whether the device is locked is not known, and its code is kept. The same again goes on",
		"lock: failed":         "Apple failed; whether the device is locked is not known, and its code is kept. The same again goes on",
		"status: session over": "Apple refuses the API account: check -axm-client-id, -axm-key-id, -axm-key and -axm-scope",
		"status: not found":    "the organization has no device with this serial number",
		"status: no answer":    "Apple gave no answer",
	}[service+": "+string(o)]
	switch {
	case said == "" && o == apple.Later && wait > 0:
		said = "Apple asks to wait, for " + wait.Round(time.Second).String()
	case said == "" && o == apple.Later:
		said = "Apple asks to wait"
	case said == "":
		said = "Apple does not do it: " + string(o)
	}
	return errors.New(said)
}

// told says what is called, and what came of it. The query, which has identifiers
// of the device, stays out, as do headers and bodies, which have secrets.
type told struct {
	by  http.RoundTripper
	out io.Writer
}

func (t told) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := t.by.RoundTrip(req)
	came := "no answer"
	switch {
	case err == nil:
		came = fmt.Sprint(resp.StatusCode)
	case req.Context().Err() == nil:
		came += ": " + printable(withoutAddress(err).Error())
	}
	fmt.Fprintf(t.out, "  %s %s://%s%s: %s\n", req.Method, req.URL.Scheme, req.URL.Host, printable(req.URL.EscapedPath()), came)
	return resp, err
}

func withoutAddress(err error) error {
	if e, ok := errors.AsType[*url.Error](err); ok {
		return e.Err
	}
	return err
}

// withoutPath drops the file's name from an error: somebody may have typed a secret
// in its place.
func withoutPath(err error) error {
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		return e.Err
	}
	return err
}

func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, s)
}
