package main

import (
	"fmt"
	"strconv"

	"github.com/activationlock/sdk/activationlock"
	"github.com/activationlock/sdk/activationlock/bypass"
	"github.com/activationlock/sdk/bypasscode/escrow"
)

func runBypassPlan(c *console, args []string) error {
	f := newFlags("alctl bypass plan", storeUsage+" -serial NUMBER [flags]", `Shows which codes "alctl bypass start" would send for a device, and in which
order. Nothing is sent or stored, no code is opened and no key is needed.`, "-store codes.db -serial XXFAKE0SER1 -kind user")
	a := c.access(f)
	s := bypass.Start{Act: escrow.Act{Actor: "alctl", Reason: "plan"}} // which nobody is told
	var l activationlock.Language
	f.target(&s)
	f.language(&l)
	asJSON := f.Bool("json", false, "print a JSON object")
	if err := a.parse(args, 0); err != nil {
		return err
	}
	if err := checkTarget(&s); err != nil {
		return err
	}
	ctx, stop := c.interruptible()
	defer stop()
	o, err := a.open(ctx, noSealer{}, escrow.Config{})
	if err != nil {
		return err
	}
	defer o.close()
	b, err := o.bypass(noOrganization, nil)
	if err != nil {
		return err
	}
	action, err := b.Preview(ctx, s)
	if err != nil {
		return explained(ctx, err)
	}
	k, err := o.known(ctx, s.Subject)
	if err != nil {
		return explained(ctx, err)
	}
	if *asJSON {
		action.ID = ""
		err = c.printJSON(newPlan(action))
	} else {
		err = c.printPlan(action, k, l)
	}
	if err == nil && action.State.Over() {
		return partialError("there is nothing to send")
	}
	return err
}

// shownPlan is a plan in JSON.
type shownPlan struct {
	SerialNumber string        `json:"serialNumber"`
	ProductType  string        `json:"productType,omitempty"`
	IMEI         string        `json:"imei,omitempty"`
	IMEI2        string        `json:"imei2,omitempty"`
	MEID         string        `json:"meid,omitempty"`
	Reason       string        `json:"reason,omitempty"` // why it cannot be done
	Unsupported  []string      `json:"unsupported,omitempty"`
	AtMost       int           `json:"atMost"`
	Codes        []plannedCode `json:"codes"`
}

type plannedCode struct {
	RecordID string `json:"record"`
	Kind     string `json:"kind"`
}

func newPlan(a bypass.Action) shownPlan {
	d := a.Device
	p := shownPlan{
		SerialNumber: d.SerialNumber, ProductType: d.ProductType, IMEI: d.IMEI, IMEI2: d.IMEI2, MEID: d.MEID,
		Reason: string(a.Reason), AtMost: bypass.MaxAttempts, Codes: []plannedCode{},
	}
	for _, r := range a.Unsupported {
		p.Unsupported = append(p.Unsupported, string(r))
	}
	for _, t := range a.Attempts {
		p.Codes = append(p.Codes, plannedCode{t.RecordID, string(t.Kind)})
	}
	return p
}

func (c *console) printPlan(a bypass.Action, k known, l activationlock.Language) error {
	d := a.Device
	c.facts(
		in(l, "device", "apparaat"), d.SerialNumber, in(l, "product", "product"), d.ProductType,
		"IMEI", d.IMEI, "IMEI 2", d.IMEI2, "MEID", d.MEID,
	)
	if len(a.Attempts) > 0 {
		records := map[string]escrow.Record{}
		for _, r := range k.codes {
			records[r.ID] = r
		}
		c.out.WriteString("\n")
		t := newTable(&c.out, "CODE", in(l, "KIND", "SOORT"), in(l, "STATE", "STATUS"), in(l, "LAST SEEN", "LAATST GEZIEN"), "RECORD")
		for i, attempt := range a.Attempts {
			r := records[attempt.RecordID]
			t.add(strconv.Itoa(i+1), codeKind(attempt.Kind, l), codeState(r, l), moment(r.LastSeen), printable(attempt.RecordID))
		}
		if err := t.flush(); err != nil {
			return err
		}
		fmt.Fprintf(&c.out, in(l, "\nNothing was sent. At most %d of these codes would be, one after the other, until one opens the lock.\n",
			"\nEr is niets verstuurd. Ten hoogste %d van deze codes worden verstuurd, een voor een, tot er een het slot opent.\n"), bypass.MaxAttempts)
	}
	c.sentences(in(l, "It cannot be done:", "Het kan niet:"), whyNot(a, l))
	for _, open := range k.actions {
		if !open.State.Over() {
			c.sentences(in(l, "An action of this device is not over:", "Een actie van dit apparaat is niet afgelopen:"), nextOf(open, activationlock.NotUnlocked, l))
		}
	}
	return nil
}
