package engine

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/activationlock/sdk/bypasscode/escrow"
	"github.com/activationlock/sdk/inventory"
	"github.com/activationlock/sdk/mdmcmd"
)

// Config is everything that an engine needs. Zero fields mean their defaults.
type Config struct {
	Escrow    *escrow.Escrow  // required: where codes are kept
	Inventory inventory.Store // required: where records are kept
	Policy    Policy

	// UUIDPrefix begins the UUIDs of the engine's commands, so that a host can
	// tell them from its own: at most 64 printable ASCII characters. Default
	// "activationlock-".
	UUIDPrefix string
	// NewUUID makes a command UUID, which begins with UUIDPrefix. Default:
	// [mdmcmd.NewUUID].
	NewUUID func() string

	Clock  func() time.Time // default time.Now
	Logger *slog.Logger     // default: nothing is logged; never gets a secret
	// OnEvent is told what happened, in the goroutine of the call that it
	// happened in, after everything is committed, at most once. It must return
	// soon. Default: nobody is told.
	OnEvent func(context.Context, Event)
}

// Policy is what an organization wants.
type Policy struct {
	// Options is the whole set of MDM options to send to devices; the zero value
	// sends none. ActivationLockAllowedWhileSupervised true is sent only to a
	// device whose bypass code is in escrow.
	Options mdmcmd.MDMOptions

	// InformationEvery is how old facts may get before they are asked again.
	// Default seven days.
	InformationEvery time.Duration
	// AnswerWithin is the time that a device has to answer before its command
	// counts as lost and is asked again. Default one day.
	AnswerWithin time.Duration
	// CodeEvery is how soon a device that gave no code is asked again while its
	// 15 days last; after them, InformationEvery holds. Default six hours.
	CodeEvery time.Duration
	// Limits say from when on time alone is a finding.
	Limits inventory.Limits
	// NotNowAgain is how soon a command is asked again that a device could not
	// run. Default one hour.
	NotNowAgain time.Duration
}

const defaultUUIDPrefix = "activationlock-"

func (c Config) withDefaults() (Config, error) {
	switch {
	case c.Escrow == nil:
		return c, errors.New("engine: Config.Escrow is required")
	case c.Inventory == nil:
		return c, errors.New("engine: Config.Inventory is required")
	case len(c.UUIDPrefix) > 64:
		return c, errors.New("engine: Config.UUIDPrefix has more than 64 characters")
	}
	for _, b := range []byte(c.UUIDPrefix) {
		if b <= ' ' || b > '~' {
			return c, errors.New("engine: Config.UUIDPrefix has other characters than printable ASCII")
		}
	}
	for _, d := range []struct {
		name   string
		value  *time.Duration
		normal time.Duration
	}{
		{"InformationEvery", &c.Policy.InformationEvery, 7 * 24 * time.Hour},
		{"AnswerWithin", &c.Policy.AnswerWithin, 24 * time.Hour},
		{"CodeEvery", &c.Policy.CodeEvery, 6 * time.Hour},
		{"NotNowAgain", &c.Policy.NotNowAgain, time.Hour},
	} {
		if *d.value < 0 {
			return c, fmt.Errorf("engine: Policy.%s is negative", d.name)
		}
		if *d.value == 0 {
			*d.value = d.normal
		}
	}
	if c.UUIDPrefix == "" {
		c.UUIDPrefix = defaultUUIDPrefix
	}
	if c.NewUUID == nil {
		prefix := c.UUIDPrefix
		c.NewUUID = func() string { return mdmcmd.NewUUID(prefix) }
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
