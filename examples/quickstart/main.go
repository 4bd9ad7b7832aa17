// Quickstart plays the messages of four devices through the engine and prints
// what happens, without a network and without a real device.
package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/activationlock/sdk/activationlock"
	"github.com/activationlock/sdk/activationlock/apple"
	"github.com/activationlock/sdk/activationlock/engine"
	"github.com/activationlock/sdk/activationlock/memstore"
	"github.com/activationlock/sdk/bypasscode/audit"
	"github.com/activationlock/sdk/bypasscode/escrow"
	"github.com/activationlock/sdk/bypasscode/seal"
	"github.com/activationlock/sdk/mdmcmd"
)

func main() {
	if err := play(context.Background(), os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "quickstart:", err)
		os.Exit(1)
	}
}

// fleet are the devices of the play. Their codes are published test vectors.
var fleet = []*device{
	{
		title: "An iPhone of the organization (supervised)",
		udid:  "00008120-000000000000001E", serial: "XXFAKE0SER1", model: "iPhone 16", product: "iPhone17,3", os: "26.1",
		facts: dict{
			"IsSupervised": true, "IsActivationLockEnabled": false, "IsDeviceLocatorServiceEnabled": false,
			"ServiceSubscriptions": []dict{{"Slot": "CTSubscriptionSlotOne", "IMEI": "35 000000 000001 9"}},
		},
		code: "J4DNT-6VT2Y-3LD8-1VV7-AT3U-LW17",
	},
	{
		title: "An iPhone that somebody bought privately (not supervised)",
		udid:  "00008110-000000000000002E", serial: "XXFAKE0SER2", model: "iPhone 13", product: "iPhone14,5", os: "18.6",
		facts:   dict{"IsSupervised": false, "IsActivationLockEnabled": true, "IsDeviceLocatorServiceEnabled": true},
		without: "only a supervised device has one to give",
	},
	{
		title: "A Mac of the organization (supervised)",
		udid:  "7A4E1C52-9B0D-5F36-8E21-000000000003", serial: "XXFAKEMAC03", model: "MacBook Air", product: "Mac14,2", os: "15.1",
		facts:    dict{"IsSupervised": true, "IsActivationLockEnabled": false, "IsActivationLockSupported": true},
		security: dict{"ManagementStatus": dict{"EnrolledViaDEP": true, "IsActivationLockManageable": true}},
		code:     "D08HY-EJDEX-X91Q-8YYA-25YD-K857",
	},
	{
		title: "An old iPad with iOS 7.0 (supervised)",
		udid:  "0123456789abcdef0123456789abcdef00000004", serial: "XXFAKE0SER4", model: "iPad 2", product: "iPad2,1", os: "7.0.4",
		facts:   dict{"IsSupervised": true},
		without: "before iOS 7.1 there were none",
	},
}

// stage is everything that a host has around the engine.
type stage struct {
	ctx    context.Context
	out    io.Writer
	engine *engine.Engine
	escrow *escrow.Escrow
	now    time.Time
}

func play(ctx context.Context, out io.Writer) error {
	// What is printed goes through one writer that remembers the first error.
	var printed bytes.Buffer
	s := &stage{ctx: ctx, out: &printed, now: time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)}
	if err := s.build(); err != nil {
		return err
	}
	for _, act := range []func() error{s.enrollAll, s.findMyComesOn, s.report, s.unlock} {
		if err := act(); err != nil {
			return err
		}
	}
	_, err := printed.WriteTo(out)
	return err
}

// build makes an engine as a host would, but with a clock and command UUIDs
// that make every run the same.
func (s *stage) build() error {
	stores := memstore.New()
	key, err := seal.GenerateKey(seal.X25519)
	if err != nil {
		return err
	}
	keys, err := seal.NewKeyring([]seal.PublicKey{key.Public()}, key)
	if err != nil {
		return err
	}
	acts, err := audit.New(audit.Config{Store: stores.Audit()})
	if err != nil {
		return err
	}
	if s.escrow, err = escrow.New(escrow.Config{Store: stores.Escrow(), Sealer: keys, Audit: acts}); err != nil {
		return err
	}
	commands := 0
	s.engine, err = engine.New(engine.Config{
		Escrow:    s.escrow,
		Inventory: stores.Inventory(),
		Policy: engine.Policy{
			Options: mdmcmd.MDMOptions{ActivationLockAllowedWhileSupervised: new(true)},
		},
		NewUUID: func() string {
			commands++
			return fmt.Sprintf("activationlock-%04d", commands)
		},
		Clock: func() time.Time { return s.now },
		OnEvent: func(_ context.Context, e engine.Event) {
			s.line("(engine)", "%s, for serial number %s", e.Type, e.SerialNumber)
		},
	})
	return err
}

// line prints what somebody says or does.
func (s *stage) line(who, format string, args ...any) {
	fmt.Fprintf(s.out, "  %-9s  %s\n", who, fmt.Sprintf(format, args...))
}

func (s *stage) title(text string) {
	fmt.Fprintf(s.out, "\n%s\n%s\n\n", text, strings.Repeat("-", len(text)))
}

func (s *stage) enrollAll() error {
	fmt.Fprint(s.out, `Activation Lock ties a device to the person who uses it. When that person
leaves without signing out, only a bypass code opens the device again. This
play shows how a device management server gets hold of that code in time.

  device ->  a message from the device to the server
  server ->  a command that the engine puts into the server's queue
  (engine)   what the engine did
`)
	for _, d := range fleet {
		s.title(d.title)
		s.line("device ->", "Authenticate: I begin to enroll")
		if _, err := s.engine.HandleCheckin(s.ctx, d.enrollment(), d.authenticate()); err != nil {
			return err
		}
		s.line("device ->", "TokenUpdate: I am enrolled")
		outcome, err := s.engine.HandleCheckin(s.ctx, d.enrollment(), d.tokenUpdate())
		if err != nil {
			return err
		}
		if err := s.deliver(d, outcome.Commands); err != nil {
			return err
		}
		details, err := s.engine.Device(s.ctx, d.serial)
		if err != nil {
			return err
		}
		if len(details.Codes) == 0 {
			s.line("(engine)", "asks for no code: %s", d.without)
		}
	}
	return nil
}

// deliver hands commands to a device, and its answers to the engine, until
// nothing is left to do.
func (s *stage) deliver(d *device, queue []engine.Queued) error {
	for ; len(queue) > 0; queue = queue[1:] {
		command := queue[0]
		s.now = s.now.Add(time.Second)
		said, report := d.run(command)
		s.line("server ->", "%s", explain[command.RequestType])
		s.line("device ->", "%s", said)
		outcome, err := s.engine.HandleReport(s.ctx, d.enrollment(), report)
		if err != nil {
			return err // a real host answers the device with HTTP 500, and it sends again
		}
		if d.code != "" && bytes.Contains(outcome.Redacted, []byte(d.code)) {
			return fmt.Errorf("the code is still in the report")
		}
		queue = append(queue, outcome.Commands...)
	}
	return nil
}

var explain = map[string]string{
	"DeviceInformation":        "DeviceInformation: what are you?",
	"SecurityInfo":             "SecurityInfo: may I manage your Activation Lock?",
	"ActivationLockBypassCode": "ActivationLockBypassCode: give me your bypass code",
	"Settings":                 "Settings: your code is safe with me, you may lock now",
}

func (s *stage) findMyComesOn() error {
	d := fleet[0]
	s.title("Two days later, the user of the first iPhone turns Find My on")
	s.now = s.now.Add(48 * time.Hour)
	d.facts["IsDeviceLocatorServiceEnabled"], d.facts["IsActivationLockEnabled"] = true, true
	said, report := d.run(engine.Queued{RequestType: "DeviceInformation", UUID: "a-question-of-the-host"})
	s.line("device ->", "%s", said)
	outcome, err := s.engine.HandleReport(s.ctx, d.enrollment(), report)
	if err != nil {
		return err
	}
	return s.deliver(d, outcome.Commands)
}

func (s *stage) report() error {
	s.title("The report")
	for _, language := range activationlock.Languages() {
		var lines bytes.Buffer
		table := tabwriter.NewWriter(&lines, 0, 0, 3, ' ', 0)
		fmt.Fprintf(table, "  %s\t%s\t%s\n", map[activationlock.Language]string{
			activationlock.English: "Device", activationlock.Dutch: "Apparaat",
		}[language], activationlock.TermSupervised.Label(language), activationlock.TermActivationStatus.Label(language))
		for _, d := range fleet {
			details, err := s.engine.Device(s.ctx, d.serial)
			if err != nil {
				return err
			}
			facts := details.Record.Facts
			fmt.Fprintf(table, "  %s, %s %s\t%s\t%s\n", facts.ModelName, facts.Platform(), facts.OSVersion,
				activationlock.SupervisedLabel(facts.Supervised, language), details.Status.Label(language))
		}
		if err := table.Flush(); err != nil {
			return err
		}
		for line := range strings.Lines(lines.String()) {
			fmt.Fprintln(s.out, strings.TrimRight(line, " \n"))
		}
		fmt.Fprintln(s.out)
	}
	fmt.Fprintln(s.out, "  The old iPad's status is blank: below iOS 7.1 there are no bypass codes.")
	return nil
}

func (s *stage) unlock() error {
	s.title("The user leaves without signing out: the request that unlocks the iPhone")
	details, err := s.engine.Device(s.ctx, fleet[0].serial)
	if err != nil {
		return err
	}
	record := details.Codes[0]
	code, err := s.escrow.Reveal(s.ctx, escrow.Reveal{
		Subject: record.Subject, RecordID: record.ID, Purpose: escrow.ToUnlock,
		Act: escrow.Act{Actor: "ada@example.com", Reason: "its user left"},
	})
	if err != nil {
		return err
	}
	request, err := apple.UnlockRequest(apple.Unlock{
		SerialNumber: record.Device.SerialNumber, ProductType: record.Device.ProductType,
		IMEI: record.Device.IMEI, IMEI2: record.Device.IMEI2, MEID: record.Device.MEID,
		Code: code, Organization: "Example School", RequestedBy: "jane.admin@example.org",
	})
	if err != nil {
		return err
	}
	body, err := io.ReadAll(request.Body)
	if err != nil {
		return err
	}
	shown := strings.Replace(string(body), code.Reveal(), code.String(), 1)
	shown = strings.ReplaceAll(shown, "&", "&\n     ")
	fmt.Fprintf(s.out, "  %s %s://%s%s\n", request.Method, request.URL.Scheme, request.URL.Host, request.URL.Path)
	fmt.Fprintf(s.out, "     ?%s\n", strings.ReplaceAll(request.URL.RawQuery, "&", "\n     &"))
	fmt.Fprintf(s.out, "  Content-Type: %s\n\n     %s\n\n", request.Header.Get("Content-Type"), shown)
	fmt.Fprint(s.out, `  The server would send it with its push certificate. Nothing was sent: this
  was a play, and the code, which the request does hold, is not shown.
`)
	return nil
}
