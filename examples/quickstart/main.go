// Quickstart plays simulated devices and a simulated Apple through the whole
// engine and prints what happens, without a network, a real device or a wait.
// Every run prints the same.
//
// It imports package activationlocktest since it is a play; a server never does.
package main

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"time"

	"github.com/activationlock/sdk/activationlock/activationlocktest"
	"github.com/activationlock/sdk/activationlock/apple"
	"github.com/activationlock/sdk/activationlock/engine"
	"github.com/activationlock/sdk/activationlock/memstore"
	"github.com/activationlock/sdk/bypasscode/audit"
	"github.com/activationlock/sdk/bypasscode/escrow"
	"github.com/activationlock/sdk/bypasscode/seal"
	"github.com/activationlock/sdk/inventory"
	"github.com/activationlock/sdk/mdmcmd"
)

func main() {
	// All is printed at the end, or nothing if something fails.
	var printed bytes.Buffer
	s, err := newStage(context.Background(), &printed)
	if err == nil {
		err = s.play()
	}
	if err == nil {
		_, err = printed.WriteTo(os.Stdout)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "quickstart:", err)
		os.Exit(1)
	}
}

// stage is everything that a host has around the engine.
type stage struct {
	ctx     context.Context
	out     *bytes.Buffer
	engine  *engine.Engine
	records inventory.Store
	audit   *audit.Log
	now     time.Time

	apple                      *activationlocktest.Apple
	fleet                      []*player
	iphone, personal, mac, old *player
}

// player is one device of the play.
type player struct {
	*activationlocktest.Device
	serial, name, title string
}

func newStage(ctx context.Context, out *bytes.Buffer) (*stage, error) {
	s := &stage{ctx: ctx, out: out, now: time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)}
	if err := s.build(); err != nil {
		return nil, err
	}
	return s, s.cast()
}

func (s *stage) play() error {
	for _, act := range []func() error{s.enroll, s.weekPasses, s.report, s.userLeaves, s.nextUser, s.readAudit} {
		if err := act(); err != nil {
			return err
		}
	}
	return nil
}

// build makes an engine as a host would, but with a clock and command UUIDs
// that make every run the same.
func (s *stage) build() error {
	clock := func() time.Time { return s.now }
	s.apple = activationlocktest.NewApple(activationlocktest.AppleConfig{Now: clock})
	stores := memstore.New()
	s.records = stores.Inventory()
	key, err := seal.GenerateKey(seal.X25519)
	if err != nil {
		return err
	}
	keys, err := seal.NewKeyring([]seal.PublicKey{key.Public()}, key)
	if err != nil {
		return err
	}
	if s.audit, err = audit.New(audit.Config{Store: stores.Audit()}); err != nil {
		return err
	}
	codes, err := escrow.New(escrow.Config{Store: stores.Escrow(), Sealer: keys, Audit: s.audit, Clock: clock})
	if err != nil {
		return err
	}
	commands := 0
	s.engine, err = engine.New(engine.Config{
		Escrow: codes, Inventory: s.records, Audit: s.audit,
		Actions: stores.Actions(), Organization: "Example School",
		Policy: engine.Policy{
			Options: mdmcmd.MDMOptions{ActivationLockAllowedWhileSupervised: new(true)},
		},
		Doer: s, StatusAPI: apple.SchoolAPI,
		NewUUID: func() string {
			commands++
			return fmt.Sprintf("activationlock-%04d", commands)
		},
		Clock:   clock,
		OnEvent: s.event,
	})
	return err
}

// cast makes the devices. Whatever they have that is random, such as their
// codes, depends on their serial numbers only.
func (s *stage) cast() error {
	for _, d := range []struct {
		player      **player
		name, title string
		config      activationlocktest.DeviceConfig
		ours        bool
	}{
		{&s.iphone, "the iPhone", "An iPhone of the organization (supervised)", activationlocktest.DeviceConfig{
			SerialNumber: "XXFAKE0SER1", ProductName: "iPhone17,3", OSVersion: "26.1", Supervised: true, ADE: true, IMEI: "350000000000019",
		}, true},
		{&s.personal, "the private iPhone", "An iPhone that somebody bought privately (not supervised, Find My is on)", activationlocktest.DeviceConfig{
			SerialNumber: "XXFAKE0SER2", ProductName: "iPhone14,5", OSVersion: "18.6",
		}, false},
		{&s.mac, "the Mac", "A Mac of the organization (supervised)", activationlocktest.DeviceConfig{
			SerialNumber: "XXFAKEMAC03", ProductName: "Mac14,2", OSVersion: "15.1", Supervised: true, ADE: true,
		}, true},
		{&s.old, "the old iPad", "An old iPad with iOS 7.0 (supervised)", activationlocktest.DeviceConfig{
			SerialNumber: "XXFAKE0SER4", ProductName: "iPad2,1", OSVersion: "7.0.4", Supervised: true,
		}, true},
	} {
		d.config.Now = func() time.Time { return s.now }
		device, err := activationlocktest.NewDevice(d.config)
		if err != nil {
			return err
		}
		if err := s.apple.Add(device, d.ours); err != nil {
			return err
		}
		*d.player = &player{device, d.config.SerialNumber, d.name, d.title}
		s.fleet = append(s.fleet, *d.player)
	}
	return s.personal.SetFindMy(true)
}

// Do sends a request to the simulated Apple, in place of a client with the push
// certificate and a token, and prints what an unlock call consists of.
func (s *stage) Do(r *http.Request) (*http.Response, error) {
	r.Header.Set("Authorization", "Bearer example")
	answer := httptest.NewRecorder()
	s.apple.ServeHTTP(answer, r)
	if asked := s.apple.Requests(); asked[len(asked)-1].Service == activationlocktest.UnlockService {
		last := asked[len(asked)-1]
		s.line("to Apple", "%s %s", last.Method, last.Path)
		s.line("", "?%s; body: %s", strings.Join(last.QueryKeys, ", "), strings.Join(last.FormKeys, ", "))
		s.line("Apple", "HTTP %d", last.Status)
	}
	return answer.Result(), nil
}

// event prints what the engine tells.
func (s *stage) event(_ context.Context, e engine.Event) {
	what := string(e.Type)
	if e.Finding.Kind != "" {
		what += ": " + e.Finding.Label("en")
	}
	if e.Err != nil {
		what += ": " + e.Err.Error()
	}
	s.line("(engine)", "%s", what)
}

// line prints what somebody says or does.
func (s *stage) line(who, format string, args ...any) {
	fmt.Fprintf(s.out, "  %-9s  %s\n", who, fmt.Sprintf(format, args...))
}

// say prints an explanation.
func (s *stage) say(text string) { fmt.Fprintln(s.out, text) }

func (s *stage) title(text string) {
	fmt.Fprintf(s.out, "\n%s\n%s\n\n", text, strings.Repeat("-", len(text)))
}
