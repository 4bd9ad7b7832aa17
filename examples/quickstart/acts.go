package main

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/activationlock/sdk/activationlock"
	"github.com/activationlock/sdk/activationlock/activationlocktest"
	"github.com/activationlock/sdk/activationlock/engine"
	"github.com/activationlock/sdk/bypasscode/audit"
	"github.com/activationlock/sdk/bypasscode/escrow"
	"github.com/activationlock/sdk/inventory"
	"github.com/activationlock/sdk/mdmcmd"
)

func (s *stage) enroll() error {
	s.say(`Activation Lock ties a device to the person who uses it. When that person
leaves without signing out, only a bypass code opens the device again. This
play shows how a device management server gets hold of that code in time, and
what it does with it. Devices and Apple are simulated; the engine is real.

  device ->  a message from the device to the server
  server ->  a command that the engine puts into the server's queue
  (engine)   an event that the engine tells the server of`)
	for _, d := range s.fleet {
		s.title(d.title)
		if err := s.checkIn(d); err != nil {
			return err
		}
		if d == s.personal {
			s.say("\n  Nobody asks for a code: only a supervised device has one for the server.")
		}
		if d == s.old {
			s.say("\n  Nobody asks for a code: before iOS 7.1 there were none.")
		}
	}
	return nil
}

// checkIn enrolls a device and runs the commands that follow.
func (s *stage) checkIn(d *player) error {
	messages, err := d.Enroll()
	if err != nil {
		return err
	}
	s.line("device ->", "Authenticate, TokenUpdate: I enroll")
	var queue []engine.Queued
	for _, raw := range messages {
		outcome, err := s.engine.HandleCheckin(s.ctx, engine.Enrollment{ID: d.ID()}, raw)
		if err != nil {
			return err
		}
		queue = append(queue, outcome.Commands...)
	}
	return s.deliver(d, queue)
}

// deliver hands commands to a device, and its reports to the engine, until
// nothing is left to do.
func (s *stage) deliver(d *player, queue []engine.Queued) error {
	for ; len(queue) > 0; queue = queue[1:] {
		command := queue[0]
		s.now = s.now.Add(time.Second)
		s.line("server ->", "%s", explain[command.RequestType])
		reports, err := d.Answer(command.Plist)
		if err != nil {
			return err
		}
		for _, raw := range reports {
			said, err := s.answer(d, command.RequestType, raw)
			if err != nil {
				return err
			}
			s.line("device ->", "%s", said)
			outcome, err := s.engine.HandleReport(s.ctx, engine.Enrollment{ID: d.ID()}, raw)
			if err != nil {
				return err // a real host answers the device with HTTP 500, and it sends again
			}
			if code := d.Code().Reveal(); code != "" && bytes.Contains(outcome.Redacted, []byte(code)) {
				return errors.New("the code is still in the report")
			}
			queue = append(queue, outcome.Commands...)
		}
	}
	return nil
}

var explain = map[string]string{
	"DeviceInformation":        "DeviceInformation: what are you?",
	"SecurityInfo":             "SecurityInfo: may I manage your Activation Lock?",
	"ActivationLockBypassCode": "ActivationLockBypassCode: give me your bypass code",
	"Settings":                 "Settings: your code is safe with me, you may lock from now on",
}

// answer is a device's report in words, or an error if it is not what the play is about.
func (s *stage) answer(d *player, requestType string, raw []byte) (string, error) {
	unexpected := fmt.Errorf("another answer to %s was expected", requestType)
	message, err := mdmcmd.Parse(raw)
	if err != nil {
		return "", err
	}
	report, is := message.(*mdmcmd.Report)
	if !is || report.Status != mdmcmd.Acknowledged {
		return "", unexpected
	}
	switch requestType {
	case "DeviceInformation":
		c := d.Config()
		words := []string{c.ProductName, "version " + c.OSVersion, map[bool]string{true: "supervised", false: "not supervised"}[d.Supervised()]}
		if d != s.old {
			words = append(words, map[bool]string{true: "Find My is on", false: "Find My is off"}[d.FindMy()])
		}
		return strings.Join(words, ", "), nil
	case "SecurityInfo":
		if info := report.SecurityInfo; info != nil && info.ManagementStatus != nil {
			if may := info.ManagementStatus.IsActivationLockManageable; may != nil && *may {
				return "yes, you may", nil
			}
		}
	case "ActivationLockBypassCode":
		if report.BypassCode != nil && !report.BypassCode.IsZero() {
			return fmt.Sprintf("here it is: %v", *report.BypassCode), nil
		}
	case "Settings":
		if len(report.Settings) == 1 && report.Settings[0].Status == mdmcmd.Acknowledged {
			return "done", nil
		}
	}
	return "", unexpected
}

func (s *stage) weekPasses() error {
	s.title("A week passes")
	s.say(`  Every hour the server asks the engine what is due (Engine.Tick). Each device
  has a time of its own in the week, so that they never all come at once.`)
	monday := s.now.Truncate(24 * time.Hour)
	if err := s.hoursPass(monday.Add(2*24*time.Hour + 14*time.Hour)); err != nil {
		return err
	}
	fmt.Fprintf(s.out, "\n  %s: the user of the iPhone turns Find My on\n", s.now.Format("Monday 15:04"))
	s.say(`  With Find My comes the lock. The device tells nobody; the server learns of it
  when it next asks. Nothing is lost meanwhile, since the code came first.`)
	if err := s.iphone.SetFindMy(true); err != nil {
		return err
	}
	return s.hoursPass(monday.Add(7*24*time.Hour + 9*time.Hour))
}

// hoursPass lets hours go by, as the ticker of a server would.
func (s *stage) hoursPass(end time.Time) error {
	for s.now.Before(end) {
		s.now = s.now.Truncate(time.Hour).Add(time.Hour)
		batches, err := s.engine.Tick(s.ctx, 100)
		if err != nil {
			return err
		}
		for _, batch := range batches {
			for _, d := range s.fleet {
				if d.ID() != batch.Enrollment.ID {
					continue
				}
				fmt.Fprintf(s.out, "\n  %s: %s is due\n", s.now.Format("Monday 15:04"), d.name)
				if err := s.deliver(d, batch.Commands); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

func (s *stage) report() error {
	s.title("The report, in two languages")
	for _, language := range activationlock.Languages() {
		var lines bytes.Buffer
		table := tabwriter.NewWriter(&lines, 0, 0, 3, ' ', 0)
		fmt.Fprintf(table, "  %s\t%s\t%s\n", map[activationlock.Language]string{
			activationlock.English: "Device", activationlock.Dutch: "Apparaat",
		}[language], activationlock.TermSupervised.Label(language), activationlock.TermActivationStatus.Label(language))
		var findings []string
		for row, err := range inventory.Rows(s.ctx, s.records, inventory.Query{Sort: inventory.BySerialNumber, Filter: inventory.Filter{Live: true}}) {
			if err != nil {
				return err
			}
			fmt.Fprintf(table, "  %s, %s %s\t%s\t%s\n", row.SerialNumber, row.Platform, row.OSVersion,
				activationlock.SupervisedLabel(row.Supervised, language), row.Summary.Status.Label(language))
			for _, f := range row.Summary.Findings {
				findings = append(findings, fmt.Sprintf("  %s (%s): %s\n    %s", row.SerialNumber, f.Severity.Label(language), f.Label(language), f.Advice(language)))
			}
		}
		if err := table.Flush(); err != nil {
			return err
		}
		for line := range strings.Lines(lines.String()) {
			s.say(strings.TrimRight(line, " \n"))
		}
		s.say("\n" + strings.Join(findings, "\n") + "\n")
	}
	s.say("  The old iPad's status is blank: below iOS 7.1 there are no bypass codes.")
	return nil
}

// ask prints a question to the engine and its answer.
func (s *stage) ask(question string, ask func() (activationlock.Answer, error)) error {
	answer, err := ask()
	if err != nil {
		return err
	}
	s.line(question, "%s", answer.Verdict.Label("en"))
	for _, reason := range answer.Reasons {
		s.line("", "%s", reason.Label("en"))
	}
	return nil
}

func (s *stage) mayErase() error {
	return s.ask("erase?", func() (activationlock.Answer, error) { return s.engine.CanErase(s.ctx, s.iphone.serial) })
}

func (s *stage) mayReassign() error {
	return s.ask("reassign?", func() (activationlock.Answer, error) { return s.engine.CanReassign(s.ctx, s.iphone.serial) })
}

func (s *stage) userLeaves() error {
	s.title("The user leaves, and hands in the iPhone without signing out")
	s.say("  May it be erased, and may somebody else have it (Engine.CanErase, CanReassign)?\n")
	if err := errors.Join(s.mayErase(), s.mayReassign()); err != nil {
		return err
	}
	s.iphone.Erase()
	s.say("\n  Somebody does not wait for that, and erases it. The lock stays, since Apple\n  keeps it:\n")
	if _, err := s.iphone.Enroll(); !errors.Is(err, activationlocktest.ErrLocked) {
		return fmt.Errorf("the iPhone should be locked: %w", err)
	}
	s.line("device ->", "(nothing: it stops at the activation screen)")

	s.say("\n  Ada, who has it in her hand, has the lock removed (Engine.Bypass). The codes\n  that are held go to Apple, the likeliest first, until one opens the lock:\n")
	s.now = s.now.Add(time.Hour)
	action, warning, err := s.engine.Bypass(s.ctx, s.iphone.serial, engine.Unlock{
		Act: escrow.Act{Actor: "ada@example.org", Reason: "its user left"}, InHand: true,
	})
	if err != nil {
		return err
	}
	s.line("action", "%s", action.State.Label("en"))
	s.line("warning", "%s", warning.Label("en"))
	return s.evidence()
}

// evidence prints what is known of the iPhone's lock.
func (s *stage) evidence() error {
	details, err := s.engine.Device(s.ctx, s.iphone.serial)
	if err != nil {
		return err
	}
	s.line("lock", "%s, says %s; %s", details.Lock.State.Label("en"), details.Lock.Source.Label("en"), details.LastBypass.Aftermath(details.Record.Evidence).Label("en"))
	return nil
}

func (s *stage) nextUser() error {
	s.title("The iPhone is set up again")
	s.now = s.now.Add(time.Hour)
	if err := s.checkIn(s.iphone); err != nil {
		return err
	}
	s.say(`
  It made another code, which is in escrow beside the old one: nothing is ever
  thrown away. A day passes, in which Engine.Tick also asks Apple how the
  iPhone's lock stands.`)
	if err := s.hoursPass(s.now.Add(25 * time.Hour)); err != nil {
		return err
	}
	s.say("")
	if err := s.evidence(); err != nil {
		return err
	}
	return s.mayReassign()
}

func (s *stage) readAudit() error {
	s.title("The audit: who did what with codes")
	for entry, err := range s.audit.Entries(s.ctx) {
		if err != nil {
			return err
		}
		fmt.Fprintf(s.out, "  %d  %s  %-14s  %s, %s: %s\n", entry.Number, entry.At.Format("2006-01-02 15:04"), entry.Act, entry.SerialNumber, entry.Actor, entry.Reason)
	}
	if _, err := s.audit.Verify(s.ctx, audit.Head{}); err != nil {
		return err
	}
	s.say("\n  Each entry has the digest of the one before, so a change would show. It does\n  not: the chain is whole. No code was printed, and none is stored in the clear.")
	return nil
}
