package main

import (
	"cmp"
	"time"

	"github.com/activationlock/sdk/activationlock"
	"github.com/activationlock/sdk/inventory"
)

// shownStatus is a status in JSON. Its words are the library's; "unknown" is
// said, and times are left out where nothing happened.
type shownStatus struct {
	SerialNumber    string                  `json:"serialNumber"`
	At              time.Time               `json:"at"`
	ProductType     string                  `json:"productType,omitempty"`
	OSVersion       string                  `json:"osVersion,omitempty"`
	Supervised      *bool                   `json:"supervised,omitempty"`
	SharedIPad      *bool                   `json:"sharedIPad,omitempty"`
	Status          string                  `json:"status"`
	Lock            shownLock               `json:"lock"`
	LastSeen        time.Time               `json:"lastSeen,omitzero"`
	SummaryAt       time.Time               `json:"summaryAt,omitzero"` // of the findings
	Findings        []shownFinding          `json:"findings,omitempty"` // in the inventory
	Apple           *shownApple             `json:"apple,omitempty"`    // if it was asked
	Codes           []shownCode             `json:"codes"`
	LastBypass      *shownAction            `json:"lastBypass,omitempty"`
	Abilities       map[string]shownVerdict `json:"abilities"`
	CanErase        shownVerdict            `json:"canErase"`
	CanReassign     shownVerdict            `json:"canReassign"`
	ReturnToService shownVerdict            `json:"returnToService"`
}

type shownLock struct {
	State      string          `json:"state"`
	Kind       string          `json:"kind"`
	Confidence string          `json:"confidence"`
	Source     string          `json:"source,omitempty"`
	At         time.Time       `json:"at,omitzero"`
	Since      time.Time       `json:"since,omitzero"`
	Conflicts  []shownEvidence `json:"conflicts"`
}

type shownEvidence struct {
	State  string    `json:"state"`
	Kind   string    `json:"kind"`
	Source string    `json:"source"`
	At     time.Time `json:"at"`
}

type shownApple struct {
	Outcome    string `json:"outcome"`
	StatusCode int    `json:"statusCode,omitempty"`
	Locked     *bool  `json:"locked,omitempty"`
	LockType   string `json:"lockType,omitempty"`
	ErrorCode  string `json:"errorCode,omitempty"`
}

type shownCode struct {
	RecordID   string    `json:"record"`
	Kind       string    `json:"kind"`
	State      string    `json:"state"`
	StateSince time.Time `json:"stateSince,omitzero"`
	Cause      string    `json:"cause"`
	FirstSeen  time.Time `json:"firstSeen,omitzero"`
	LastSeen   time.Time `json:"lastSeen,omitzero"`
	StaleSince time.Time `json:"staleSince,omitzero"`
}

type shownVerdict struct {
	Verdict string   `json:"verdict"`
	Reasons []string `json:"reasons"`
	Steps   []string `json:"steps,omitempty"`
}

const unknown = "unknown"

func newShownVerdict(a activationlock.Answer) shownVerdict {
	v := shownVerdict{Verdict: cmp.Or(string(a.Verdict), unknown), Reasons: []string{}}
	for _, r := range a.Reasons {
		v.Reasons = append(v.Reasons, string(r))
	}
	return v
}

func (s *deviceStatus) shown() shownStatus {
	lock := s.Lock
	out := shownStatus{
		SerialNumber: s.subject.SerialNumber, At: s.now, ProductType: s.Device.ProductName, OSVersion: s.Device.OSVersion,
		Supervised: s.Device.Supervised, SharedIPad: s.Device.SharedIPad, Status: string(activationlock.StatusOf(s.Situation)),
		Lock: shownLock{
			State: cmp.Or(string(lock.State), unknown), Kind: cmp.Or(string(lock.Kind), unknown), Confidence: cmp.Or(string(lock.Confidence), "unfounded"),
			Source: string(lock.Source), At: lock.At, Since: lock.Since, Conflicts: []shownEvidence{},
		},
		LastSeen: s.record.LastSeen, SummaryAt: s.record.Summary.At,
		Codes: []shownCode{}, Abilities: map[string]shownVerdict{},
		CanErase: newShownVerdict(s.CanErase(s.now)), CanReassign: newShownVerdict(s.CanReassign(s.now)),
	}
	for _, e := range lock.Conflicts {
		out.Lock.Conflicts = append(out.Lock.Conflicts, shownEvidence{string(e.State), cmp.Or(string(e.Kind), unknown), string(e.Source), e.At})
	}
	row := inventory.RowOf(&s.record)
	for _, x := range row.Summary.Findings {
		out.Findings = append(out.Findings, newShownFinding(found{row, x}, activationlock.English, true))
	}
	if a := s.apple; a != nil {
		out.Apple = &shownApple{string(a.Outcome), a.StatusCode, a.Locked, string(a.LockType), a.ErrorCode}
	}
	for _, r := range s.codes {
		out.Codes = append(out.Codes, shownCode{r.ID, string(r.Kind), string(r.State), r.StateSince, string(r.Cause), r.FirstSeen, r.LastSeen, r.StaleSince})
	}
	if s.last != nil {
		last := newShownAction(*s.last, s.aftermath)
		out.LastBypass = &last
	}
	for _, a := range abilities {
		out.Abilities[string(a)] = newShownVerdict(s.Device.Can(a))
	}
	steps, answer := s.ReturnToService(s.now)
	out.ReturnToService = newShownVerdict(answer)
	for _, step := range steps {
		out.ReturnToService.Steps = append(out.ReturnToService.Steps, string(step))
	}
	return out
}
