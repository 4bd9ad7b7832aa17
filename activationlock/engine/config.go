package engine

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/activationlock/sdk/activationlock/apple"
	"github.com/activationlock/sdk/activationlock/bypass"
	"github.com/activationlock/sdk/bypasscode/audit"
	"github.com/activationlock/sdk/bypasscode/escrow"
	"github.com/activationlock/sdk/inventory"
	"github.com/activationlock/sdk/mdmcmd"
)

// Config is everything that an engine needs. Zero fields mean their defaults.
type Config struct {
	Escrow    *escrow.Escrow  // required: where codes are kept
	Inventory inventory.Store // required: where records are kept
	Policy    Policy
	// PolicyFor returns the policy of one enrollment, such as that of its groups. It
	// has to return soon, may be called more than once, and changes nothing; a
	// policy that [New] would refuse is an event, and Policy holds. Other options go
	// out when the device speaks next; the rest of another policy holds when it is due.
	// Default: Policy for all.
	PolicyFor func(*inventory.Record) Policy

	// Audit is told of acts of people: orders to lock, and rules that are set aside.
	// It must be the same as escrow.Config.Audit. [Engine.Bypass],
	// [Engine.LockForOrganization] and Policy.AllowWithoutCode require it.
	Audit *audit.Log
	// Actions is where bypass actions are kept, and Organization is what Apple is
	// told for its audit. Both, and Audit, are required for [Engine.Bypass]; without
	// Actions there are no bypasses.
	Actions      bypass.Store
	Organization string

	// Doer sends requests to Apple: to the unlock service with the host's push
	// certificate, to the ADE service with a session, to the AxM API with an access
	// token; it can tell them apart by the URL's host. It follows no redirects.
	// Default: requests are handed out, see [Batch].
	Doer Doer
	// StatusAPI is the API that is asked for the lock status of devices. Default:
	// Apple is not asked, and then [Engine.CanReassign] is yes only after an unlock by
	// this server, or for a device that can have no lock: what the device says of
	// itself is not enough.
	StatusAPI apple.API

	// UUIDPrefix begins the UUIDs of the engine's commands, so that a host can
	// tell them from its own: at most 64 printable ASCII characters. Default
	// "activationlock-".
	UUIDPrefix string
	// NewUUID makes a command UUID, which begins with UUIDPrefix and is another one each
	// time. Default: [mdmcmd.NewUUID].
	NewUUID func() string

	Clock  func() time.Time // default time.Now
	Logger *slog.Logger     // default: nothing is logged; never gets a secret
	// OnEvent is told what happened, in the goroutine of the call that it
	// happened in, after everything is committed, at most once. It must return
	// soon. Default: nobody is told.
	OnEvent func(context.Context, Event)
	// Observer is told numbers. Default: nobody is told.
	Observer Observer
}

// Doer sends one request, as *http.Client does.
type Doer interface {
	Do(*http.Request) (*http.Response, error)
}

// Policy is what an organization wants. Zero fields mean their defaults; an interval is
// a second at least.
type Policy struct {
	// Options is the whole set of MDM options to send to devices, since options that
	// a command does not name might be reset; the zero value sends none.
	// ActivationLockAllowedWhileSupervised true is sent only to a device whose bypass
	// code is in escrow; one that gives none, or cannot, gets the others, with false.
	Options mdmcmd.MDMOptions
	// AllowWithoutCode sets that rule aside: the lock is allowed also to a device
	// that gave no code, which may brick it. It says who wants that, and why; each
	// permission is in Config.Audit, which is required, before the command is
	// returned. The code is asked for all the same. Default: the rule holds.
	AllowWithoutCode escrow.Act
	// LockForOrganization has each iPhone and iPad locked for the organization once
	// in an enrollment, unless its lock is on or was removed in this enrollment. The
	// code is in escrow before Apple is called. No person orders these locks, so the
	// audit has none of them. LostMessage is what the activation screen shows, in at
	// most 255 bytes of UTF-8.
	LockForOrganization bool
	LostMessage         string

	// Inventory says when the facts of a device are to be asked again, by its
	// enrollment ID, such as [inventory.Periodic].For or a schedule of the host's. It and
	// its schedules are called within transactions of Config.Inventory, so they must use
	// no store. The first time is at once; where there was no answer, it is asked again
	// while the schedule's window is open, if it has one (see [inventory.Earliest]).
	// Default, also for a device for which it returns nil: every seven days, spread evenly.
	Inventory func(enrollmentID string) inventory.Schedule
	// LockStatus says in the same way when Apple is to be asked for the lock's
	// status. After an unlock it is asked every day until it shows that. Default as for
	// Inventory.
	LockStatus func(enrollmentID string) inventory.Schedule

	// AnswerWithin is the time that a device has to answer before its command
	// counts as lost and is asked again: after that time, and after more and more of
	// it up to a week while the device does not answer; toward the end of the time in
	// which it gives its code, sooner. Default one day.
	AnswerWithin time.Duration
	// CodeEvery is how soon a device that answers without a code is asked again
	// while its 15 days last, and more often toward their end; after them, Inventory
	// holds. Default six hours.
	CodeEvery time.Duration
	// NotNowAgain is how soon a command is asked again that a device could not
	// run, and after twice the time each further time, up to AnswerWithin: servers send
	// it again by themselves, too. Default one hour.
	NotNowAgain time.Duration
	// AdoptWithin is the time over which the first questions to an adopted fleet are
	// spread, at least an hour and in whole seconds; see [Engine.Adopt]. Default one
	// day.
	AdoptWithin time.Duration
	// Limits say from when on time alone is a finding.
	Limits inventory.Limits
}

const (
	defaultUUIDPrefix = "activationlock-"
	week              = 7 * 24 * time.Hour
	// shortest is the shortest interval: less is a number without its unit.
	shortest = time.Second
)

func (c Config) withDefaults() (Config, error) {
	var err error
	switch {
	case c.Escrow == nil:
		return c, errors.New("engine: Config.Escrow is required")
	case c.Inventory == nil:
		return c, errors.New("engine: Config.Inventory is required")
	case len(c.UUIDPrefix) > 64:
		return c, errors.New("engine: Config.UUIDPrefix has more than 64 characters")
	case c.Actions != nil && c.Audit == nil:
		return c, errors.New("engine: Config.Audit is required with Config.Actions")
	case c.Audit != nil && !c.Escrow.AuditedBy(c.Audit):
		return c, errors.New("engine: Config.Audit is not the audit of Config.Escrow")
	case c.Actions != nil && !escrow.ValidIdentifier(c.Organization):
		return c, errors.New("engine: Config.Organization is required with Config.Actions, in at most 255 bytes of UTF-8")
	case c.Actions == nil && c.Organization != "":
		return c, errors.New("engine: Config.Organization is of no use without Config.Actions")
	}
	for _, b := range []byte(c.UUIDPrefix) {
		if b <= ' ' || b > '~' {
			return c, errors.New("engine: Config.UUIDPrefix has other characters than printable ASCII")
		}
	}
	if c.StatusAPI != "" {
		if _, err := apple.StatusRequest(c.StatusAPI, "XXFAKE0SER1"); err != nil {
			return c, errors.New("engine: Config.StatusAPI is no https address")
		}
	}
	if c.Policy, err = c.Policy.withDefaults(c.Audit != nil); err != nil {
		return c, err
	}
	if c.UUIDPrefix == "" {
		c.UUIDPrefix = defaultUUIDPrefix
	}
	if c.NewUUID == nil {
		prefix := c.UUIDPrefix
		c.NewUUID = func() string { return mdmcmd.NewUUID(prefix) }
	} else if first, second := c.NewUUID(), c.NewUUID(); first == second ||
		!strings.HasPrefix(first, c.UUIDPrefix) || !strings.HasPrefix(second, c.UUIDPrefix) {
		return c, errors.New("engine: Config.NewUUID makes the same twice, or without Config.UUIDPrefix")
	} else if _, err := mdmcmd.Encode(first, mdmcmd.SecurityInfo); err != nil {
		return c, errors.New("engine: Config.NewUUID makes what cannot be a command UUID")
	}
	if c.Clock == nil {
		c.Clock = time.Now
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.OnEvent == nil {
		c.OnEvent = func(context.Context, Event) {}
	}
	return c, nil
}

func (p Policy) withDefaults(audited bool) (Policy, error) {
	for _, d := range []struct {
		name   string
		value  *time.Duration
		normal time.Duration
	}{
		{"AnswerWithin", &p.AnswerWithin, 24 * time.Hour},
		{"CodeEvery", &p.CodeEvery, 6 * time.Hour},
		{"NotNowAgain", &p.NotNowAgain, time.Hour},
		{"AdoptWithin", &p.AdoptWithin, 24 * time.Hour},
	} {
		if *d.value = cmp.Or(*d.value, d.normal); *d.value < shortest {
			return p, fmt.Errorf("engine: Policy.%s is less than a second", d.name)
		}
	}
	switch by := p.AllowWithoutCode; {
	case (inventory.Periodic{Every: p.AdoptWithin}).Validate() != nil:
		return p, errors.New("engine: Policy.AdoptWithin is not from an hour to 366 days, in whole seconds")
	case by == escrow.Act{}:
	case !escrow.ValidIdentifier(by.Actor) || !escrow.ValidIdentifier(by.Reason):
		return p, errors.New("engine: Policy.AllowWithoutCode needs an actor and a reason, in at most 255 bytes of UTF-8 each")
	case !audited:
		return p, errors.New("engine: Config.Audit is required with Policy.AllowWithoutCode")
	}
	if p.LostMessage != "" && !escrow.ValidIdentifier(p.LostMessage) {
		return p, errors.New("engine: Policy.LostMessage has more than 255 bytes, or is not UTF-8")
	}
	for _, s := range []struct {
		name string
		of   *func(string) inventory.Schedule
	}{{"Inventory", &p.Inventory}, {"LockStatus", &p.LockStatus}} {
		of := *s.of
		if of == nil {
			of = inventory.Periodic{}.For
		} else if schedule := of("XXFAKE0SER1"); schedule == nil || schedule.Next(time.Unix(0, 0)).IsZero() {
			return p, fmt.Errorf("engine: Policy.%s is never due", s.name)
		}
		*s.of = func(enrollmentID string) inventory.Schedule {
			if schedule := of(enrollmentID); schedule != nil {
				return schedule
			}
			return inventory.Periodic{}.For(enrollmentID)
		}
	}
	return p, nil
}

// policyFor returns the policy of one enrollment, and what is wrong with the one
// that the host said.
func (e *Engine) policyFor(r *inventory.Record) (Policy, error) {
	if e.config.PolicyFor == nil {
		return e.config.Policy, nil
	}
	c := r.Clone()
	p, err := e.config.PolicyFor(&c).withDefaults(e.config.Audit != nil)
	if err != nil {
		return e.config.Policy, err
	}
	return p, nil
}
