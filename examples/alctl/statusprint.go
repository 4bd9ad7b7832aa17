package main

import (
	"strings"
	"time"

	"github.com/activationlock/sdk/activationlock"
	"github.com/activationlock/sdk/activationlock/apple"
	"github.com/activationlock/sdk/activationlock/bypass"
)

var abilities = []activationlock.Ability{
	activationlock.FetchCode, activationlock.AllowLock, activationlock.UnlockOverNetwork, activationlock.LockForOrganization,
	activationlock.AskDevice, activationlock.TypeCode,
}

// print prints a status for people.
func (s *deviceStatus) print(c *console, l activationlock.Language) error {
	lock := s.Lock
	state := lock.State.Label(l)
	if lock.State == activationlock.On {
		state += ", " + lock.Kind.Label(l)
	}
	by := ""
	if lock.Source != "" {
		by = lock.Source.Label(l) + ", " + moment(lock.At)
	}
	pairs := []string{
		in(l, "device", "apparaat"), strings.Join(words(s.subject.SerialNumber, s.Device.ProductName, s.Device.OSVersion), ", "),
		strings.ToLower(activationlock.TermSupervised.Label(l)), activationlock.SupervisedLabel(s.Device.Supervised, l),
		in(l, "status", "status"), activationlock.StatusOf(s.Situation).Label(l),
		in(l, "lock", "slot"), state,
		in(l, "since", "sinds"), ifAny(lock.Since),
		in(l, "by", "volgens"), by,
		in(l, "confidence", "zekerheid"), lock.Confidence.Label(l),
	}
	for _, e := range lock.Conflicts {
		pairs = append(pairs, in(l, "but", "maar"), e.Source.Label(l)+": "+e.State.Label(l)+", "+moment(e.At))
	}
	if s.apple != nil {
		pairs = append(pairs, in(l, "Apple says", "Apple zegt"), appleSays(*s.apple, l))
	}
	pairs = append(pairs, in(l, "last seen", "laatst gezien"), ifAny(s.record.LastSeen))
	c.facts(pairs...)
	s.printRecord(c, l)
	if err := s.printCodes(c, l); err != nil {
		return err
	}
	if s.last != nil {
		c.out.WriteString("\n" + in(l, "Last bypass:", "Laatste bypass:") + "\n")
		c.facts(
			in(l, "  action", "  actie"), s.last.ID,
			in(l, "  started", "  begonnen"), moment(s.last.StartedAt)+in(l, " by ", " door ")+s.last.By.Actor,
			in(l, "  state", "  status"), strings.Join(append([]string{s.last.State.Label(l)}, whyNot(*s.last, l)...), ". "),
			in(l, "  ended", "  beëindigd"), ifAny(s.last.EndedAt),
			in(l, "  the lock now", "  het slot nu"), s.aftermathLabel(l),
		)
	}
	c.out.WriteString("\n" + in(l, "What can be done:", "Wat mogelijk is:") + "\n")
	for _, a := range abilities {
		printAnswer(c, a.Label(l), s.Device.Can(a), l)
	}
	c.out.WriteString("\n" + in(l, "Decisions:", "Beslissingen:") + "\n")
	printAnswer(c, in(l, "may the device be erased", "mag het apparaat worden gewist"), s.CanErase(s.now), l)
	printAnswer(c, in(l, "may somebody else have it", "mag iemand anders het krijgen"), s.CanReassign(s.now), l)
	steps, answer := s.ReturnToService(s.now)
	printAnswer(c, in(l, "can it return to service by itself", "kan het vanzelf terugkeren naar dienst"), answer, l)
	for _, step := range steps {
		c.out.WriteString("    - " + step.Label(l) + "\n")
	}
	c.sentences(in(l, "Next:", "Hierna:"), s.next(l))
	return nil
}

func (s *deviceStatus) printCodes(c *console, l activationlock.Language) error {
	if len(s.codes) == 0 {
		c.out.WriteString("\n" + in(l, "No code is held.", "Er is geen code bewaard.") + "\n")
		return nil
	}
	c.out.WriteString("\n")
	t := newTable(&c.out, in(l, "CODE OF", "CODE VAN"), in(l, "STATE", "STATUS"), in(l, "LAST SEEN", "LAATST GEZIEN"), "RECORD")
	for _, r := range s.codes {
		t.add(codeKind(r.Kind, l), codeState(r, l), moment(r.LastSeen), printable(r.ID))
	}
	return t.flush()
}

func (s *deviceStatus) aftermathLabel(l activationlock.Language) string {
	if s.aftermath == activationlock.NotUnlocked {
		return ""
	}
	return s.aftermath.Label(l)
}

// printAnswer prints the answer to a question, and why it is so.
func printAnswer(c *console, question string, a activationlock.Answer, l activationlock.Language) {
	c.out.WriteString("  " + question + ": " + a.Verdict.Label(l) + "\n")
	for _, r := range a.Reasons {
		c.out.WriteString("      " + r.Label(l) + "\n")
	}
}

// appleSays is Apple's status in words.
func appleSays(a apple.StatusAnswer, l activationlock.Language) string {
	switch a.Outcome {
	case apple.Done:
		said := in(l, "not locked", "niet vergrendeld")
		if *a.Locked {
			said = in(l, "locked", "vergrendeld")
		}
		if a.LockType != "" {
			said += " (" + string(a.LockType) + ")"
		}
		return said
	case apple.NotFound:
		return in(l, "the organization has no device with this serial number", "de organisatie heeft geen apparaat met dit serienummer")
	case apple.SessionOver:
		return in(l, "the token is not valid (any more)", "het token is niet (meer) geldig")
	case apple.Refused:
		return in(l, "the call was refused", "de aanroep is geweigerd")
	case apple.Later:
		said := in(l, "try again later", "probeer het later opnieuw")
		if a.RetryAfter > 0 {
			said += " (" + a.RetryAfter.Round(time.Second).String() + ")"
		}
		return said
	case apple.NoAnswer:
		return in(l, "no answer", "geen antwoord")
	}
	return in(l, "an answer that cannot be read", "een antwoord dat niet te lezen is")
}

// lastMatters reports whether the last bypass decides what comes next.
func (s *deviceStatus) lastMatters() bool {
	watched := s.now.Sub(s.last.EndedAt) < activationlock.WatchFor && s.Lock.State == activationlock.Off
	return !s.last.State.Over() || s.aftermath == activationlock.Relocked || s.last.State == bypass.Done && s.aftermath != activationlock.Verified && watched
}

// next are the sentences that say what to do next.
func (s *deviceStatus) next(l activationlock.Language) (all []string) {
	say := func(english, dutch string) { all = append(all, in(l, english, dutch)) }
	if s.last != nil && s.lastMatters() {
		return nextOf(*s.last, s.aftermath, l)
	}
	if s.Device.HasLock() == activationlock.Off && s.Lock.State != activationlock.On {
		return nil
	}
	if !s.CanReassign(s.now).Yes() && s.Lock.State != activationlock.On && s.apple == nil {
		say("Ask Apple for the status: -api and -token-file.", "Vraag de status bij Apple: -api en -token-file.")
	}
	switch {
	case s.Lock.State == activationlock.Off:
	case s.Usable():
		say("Have Apple remove the lock: alctl bypass start. See first what it would do: alctl bypass plan.",
			"Laat Apple het slot verwijderen: alctl bypass start. Bekijk eerst wat dat zou doen: alctl bypass plan.")
		say("Or type the code on the device: alctl instructions, and alctl escrow reveal.",
			"Of typ de code op het apparaat: alctl instructions en alctl escrow reveal.")
	case s.Lock.State == activationlock.On && s.Lock.Kind == activationlock.OrganizationLinked:
		say("An administrator can turn off a lock of the organization in Apple Business or Apple School Manager.",
			"Een beheerder kan een slot van de organisatie uitschakelen in Apple Business of Apple School Manager.")
	case s.Lock.State == activationlock.On:
		say("Ask the owner to turn off Find My. If that cannot be, Apple's support may help with a proof of purchase.",
			"Vraag de eigenaar om Zoek mijn uit te schakelen. Als dat niet kan, helpt de ondersteuning van Apple mogelijk met een aankoopbewijs.")
	}
	return all
}
