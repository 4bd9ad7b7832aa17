package main

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/activationlock/sdk/activationlock"
	"github.com/activationlock/sdk/activationlock/apple"
	"github.com/activationlock/sdk/activationlock/bypass"
)

// shownAction is an action in JSON. Its words are the library's, whatever the
// language.
type shownAction struct {
	ID           string         `json:"action"`
	BulkIDs      []string       `json:"bulk,omitempty"`
	SerialNumber string         `json:"serialNumber,omitempty"`
	EnrollmentID string         `json:"enrollmentID,omitempty"`
	ProductType  string         `json:"productType,omitempty"`
	State        string         `json:"state"`
	Reason       string         `json:"reason,omitempty"`
	Unsupported  []string       `json:"unsupported,omitempty"`
	Aftermath    string         `json:"aftermath,omitempty"`
	Actor        string         `json:"actor"`
	ActReason    string         `json:"actReason"`
	StartedAt    time.Time      `json:"startedAt"`
	NextAt       time.Time      `json:"nextAt,omitzero"`
	EndedAt      time.Time      `json:"endedAt,omitzero"`
	Attempts     []shownAttempt `json:"attempts"`
}

type shownAttempt struct {
	RecordID   string    `json:"record"`
	Kind       string    `json:"kind"`
	Tries      int       `json:"tries"`
	SentAt     time.Time `json:"sentAt,omitzero"`
	AnsweredAt time.Time `json:"answeredAt,omitzero"`
	Outcome    string    `json:"outcome,omitempty"`
	StatusCode int       `json:"statusCode,omitempty"`
	Detail     string    `json:"detail,omitempty"`
	Lost       bool      `json:"lost,omitempty"`
	NotOpened  bool      `json:"notOpened,omitempty"`
}

func newShownAction(a bypass.Action, became activationlock.Aftermath) shownAction {
	s := shownAction{
		ID: a.ID, BulkIDs: a.BulkIDs, SerialNumber: a.Subject.SerialNumber, EnrollmentID: a.Subject.EnrollmentID, ProductType: a.Device.ProductType,
		State: string(a.State), Reason: string(a.Reason), Aftermath: string(became), Actor: a.By.Actor, ActReason: a.By.Reason,
		StartedAt: a.StartedAt, NextAt: a.NextAt, EndedAt: a.EndedAt, Attempts: []shownAttempt{},
	}
	for _, r := range a.Unsupported {
		s.Unsupported = append(s.Unsupported, string(r))
	}
	for _, t := range a.Attempts {
		s.Attempts = append(s.Attempts, shownAttempt{
			t.RecordID, string(t.Kind), t.Tries, t.SentAt, t.AnsweredAt, string(t.Outcome), t.StatusCode, t.Detail, t.Lost, t.NotOpened,
		})
	}
	return s
}

// printAction prints an action, its attempts, and what comes next.
func (c *console) printAction(a bypass.Action, became activationlock.Aftermath, l activationlock.Language) error {
	device := cmp.Or(a.Subject.SerialNumber, "enrollment "+a.Subject.EnrollmentID)
	if a.Device.ProductType != "" {
		device += ", " + a.Device.ProductType
	}
	afterwards := ""
	if became != activationlock.NotUnlocked {
		afterwards = became.Label(l)
	}
	c.facts(
		in(l, "action", "actie"), a.ID,
		in(l, "bulk run", "reeks"), strings.Join(a.BulkIDs, ", "),
		in(l, "device", "apparaat"), device,
		in(l, "started", "begonnen"), moment(a.StartedAt)+in(l, " by ", " door ")+a.By.Actor+": "+a.By.Reason,
		in(l, "state", "status"), strings.Join(append([]string{a.State.Label(l)}, whyNot(a, l)...), ". "),
		in(l, "ended", "beëindigd"), ifAny(a.EndedAt),
		in(l, "the lock now", "het slot nu"), afterwards,
	)
	if len(a.Attempts) > 0 {
		c.out.WriteString("\n")
		t := newTable(&c.out, "CODE", in(l, "KIND", "SOORT"), in(l, "SENT", "VERSTUURD"), in(l, "LAST", "LAATST"),
			"RECORD", in(l, "ANSWER", "ANTWOORD"))
		for i, attempt := range a.Attempts {
			t.add(strconv.Itoa(i+1), codeKind(attempt.Kind, l), times(attempt.Tries, l), moment(attempt.SentAt),
				printable(attempt.RecordID), printable(answerTo(attempt, l)))
		}
		if err := t.flush(); err != nil {
			return err
		}
	}
	c.sentences(in(l, "Next:", "Hierna:"), nextOf(a, became, l))
	return nil
}

func times(n int, l activationlock.Language) string {
	if n == 0 {
		return in(l, "no", "nee")
	}
	return strconv.Itoa(n) + "x"
}

// whyNot are the sentences that say why an action did not remove the lock.
func whyNot(a bypass.Action, l activationlock.Language) (all []string) {
	if a.Reason != "" {
		all = append(all, strings.TrimSuffix(a.Reason.Label(l), "."))
	}
	for _, r := range a.Unsupported {
		all = append(all, strings.TrimSuffix(r.Label(l), "."))
	}
	if a.MaybeUnlocked() && a.Reason != bypass.MaybeUnlocked {
		all = append(all, strings.TrimSuffix(bypass.MaybeUnlocked.Label(l), "."))
	}
	return all
}

// answerTo is what Apple answered to an attempt.
func answerTo(t bypass.Attempt, l activationlock.Language) string {
	if t.NotOpened {
		return in(l, "the code could not be opened, so it was not sent", "de code kon niet worden geopend en is daarom niet verstuurd")
	}
	if t.Tries > 0 && t.AnsweredAt.Before(t.SentAt) {
		return in(l, "none yet", "nog geen")
	}
	said := map[apple.Outcome]string{
		apple.Done:      in(l, "the lock is removed", "het slot is verwijderd"),
		apple.NotFound:  in(l, "device not found, or another code", "apparaat niet gevonden, of een andere code"),
		apple.Malformed: in(l, "the request could not be read", "de aanvraag kon niet worden gelezen"),
		apple.Later:     in(l, "try again later", "probeer het later opnieuw"),
		apple.NoAnswer:  in(l, "no answer", "geen antwoord"),
		apple.Failed:    in(l, "an answer that Apple does not document", "een antwoord dat Apple niet documenteert"),
		apple.Refused:   in(l, "the call was refused", "de aanroep is geweigerd"),
		"":              "-",
	}[t.Outcome]
	if said == "" {
		said = string(t.Outcome)
	}
	if t.StatusCode != 0 {
		said = fmt.Sprintf("%d, %s", t.StatusCode, said)
	}
	if t.Detail != "" {
		said += in(l, "; Apple wrote: ", "; Apple schreef: ") + t.Detail
	}
	return said
}

// nextOf are the sentences that say what to do next.
func nextOf(a bypass.Action, became activationlock.Aftermath, l activationlock.Language) []string {
	switch {
	case a.State.Over() && became == activationlock.NotUnlocked && a.State == bypass.Canceled:
		return nil
	case !a.State.Over():
		when := ""
		if !a.NextAt.IsZero() {
			when = in(l, ", not before ", ", niet voor ") + moment(a.NextAt)
		}
		return []string{in(l, "Go on: alctl bypass run -action ", "Ga verder: alctl bypass run -action ") + word(a.ID) + when + "."}
	case became == activationlock.Verified:
		return nil
	case became == activationlock.Relocked:
		return []string{
			in(l, "Remove the lock again: alctl bypass start.", "Verwijder het slot opnieuw: alctl bypass start."),
			bypass.WarningRelock.Label(l),
		}
	case a.State == bypass.Done:
		return []string{
			bypass.WarningRelock.Label(l),
			in(l, "That Apple says so does not prove it. Look at the device, or ask Apple: alctl status -api … -token-file ….",
				"Dat Apple het zegt, bewijst het niet. Bekijk het apparaat, of vraag Apple: alctl status -api … -token-file …."),
		}
	case a.Reason == bypass.AppleRefused:
		return []string{in(l, "Mend -cert, the push certificate of the server, then start again.", "Herstel -cert, het pushcertificaat van de server, en begin dan opnieuw.")}
	case a.Reason == bypass.NoProductType:
		return []string{in(l, "Start again with -product.", "Begin opnieuw met -product.")}
	case a.Reason == bypass.CodesRefused || a.Reason == bypass.MaybeUnlocked:
		return []string{
			in(l, "Ask Apple whether the lock is on, and of which kind: alctl status -api … -token-file ….",
				"Vraag Apple of het slot aan is, en van welke soort: alctl status -api … -token-file …."),
			in(l, "A code can also be typed on the device: alctl instructions.", "Een code kan ook op het apparaat worden getypt: alctl instructions."),
		}
	}
	return nil
}
