package main

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/activationlock/sdk/activationlock"
	"github.com/activationlock/sdk/activationlock/apple"
	"github.com/activationlock/sdk/activationlock/bypass"
	"github.com/activationlock/sdk/bypasscode/escrow"
	"github.com/activationlock/sdk/inventory"
	"github.com/activationlock/sdk/mdmcmd"
)

func runStatus(c *console, args []string) error {
	f := newFlags("alctl status", storeUsage+" -serial NUMBER [-api API -token-file FILE] [flags]", `Tells what is known of the lock of a device: the codes that are held, without the
codes themselves; the last bypass and what became of it; what Apple says, if there
is a token; the lock that all this comes to; what can be done about it; and whether
the device may be erased, or given to somebody else. What is not known is never
yes. No key is needed, and the audit is not told.

The token is an access token of the Apple Business or Apple School Manager API,
which lasts for an hour. If Apple does not answer with a status, the rest is
printed, and the exit code is 1.

What the device said of itself and of its lock, and what is wrong with it, is there
if a server keeps its inventory in the store. -product, -os, -supervised and
-shared-ipad go before that, for what you know better.`,
		"-store codes.db -serial XXFAKE0SER1 -product iPhone17,3 -os 26.1 -supervised yes -api school -token-file token.txt")
	a := c.access(f)
	s := deviceStatus{now: time.Now().UTC()}
	var serial, api, tokenFile string
	var to route
	var l activationlock.Language
	f.text(&serial, "serial", "serial `NUMBER` of the device")
	f.device(&s.Device)
	f.text(&api, "api", "`API` to ask: business or school")
	f.text(&tokenFile, "token-file", "`FILE` that only you can read, with an access token for -api")
	f.route(&to)
	f.language(&l)
	asJSON := f.Bool("json", false, "print a JSON object, whose words are the same in all languages")
	if err := a.parse(args, 0); err != nil {
		return err
	}
	base := map[string]apple.API{"business": apple.BusinessAPI, "school": apple.SchoolAPI}[api]
	switch {
	case serial == "":
		return usageError("-serial is required")
	case api != "" && base == "":
		return usageError("-api is neither business nor school")
	case (api == "") != (tokenFile == ""):
		return usageError("-api and -token-file go together")
	case api == "" && to != (route{}):
		return usageError("-connect and -ca are for -api")
	}
	if err := noCodes(serial, s.Device.ProductName, s.Device.OSVersion); err != nil {
		return err
	}
	if err := to.check(); err != nil {
		return err
	}
	ctx, stop := c.interruptible()
	defer stop()
	var client *appleClient
	if api != "" {
		var err error
		if client, err = c.statusClient(to, tokenFile); err != nil {
			return err
		}
	}
	o, err := a.open(ctx, noSealer{}, escrow.Config{})
	if err != nil {
		return err
	}
	defer o.close()
	s.subject = escrow.Subject{SerialNumber: serial}
	if s.known, err = o.known(ctx, s.subject); err != nil {
		return explained(ctx, err)
	}
	if s.record, err = o.recordOf(ctx, serial); err != nil {
		return explained(ctx, err)
	}
	s.evidence = slices.Concat(s.record.Evidence, s.evidence)
	if client != nil {
		if err := s.ask(ctx, base, client); err != nil {
			return err
		}
	}
	s.derive()
	if *asJSON {
		err = c.printJSON(s.shown())
	} else {
		err = s.print(c, l)
	}
	if err == nil && s.apple != nil && s.apple.Outcome != apple.Done {
		return partialError("Apple did not tell the status")
	}
	return err
}

// deviceStatus is all that is known of a device's lock.
type deviceStatus struct {
	known
	activationlock.Situation
	now       time.Time
	subject   escrow.Subject
	record    inventory.Record    // empty if there is none
	apple     *apple.StatusAnswer // nil if Apple was not asked
	last      *bypass.Action      // nil if there is none
	aftermath activationlock.Aftermath
}

// statusClient makes a client that has an access token.
func (c *console) statusClient(to route, tokenFile string) (*appleClient, error) {
	token, err := readToken(tokenFile)
	if err != nil {
		return nil, err
	}
	client, err := c.client(to, nil)
	if err != nil {
		return nil, err
	}
	client.client.Transport = bearer{token, client.client.Transport}
	return client, nil
}

// ask asks Apple.
func (s *deviceStatus) ask(ctx context.Context, api apple.API, client *appleClient) error {
	req, err := apple.StatusRequest(api, s.subject.SerialNumber)
	if err != nil {
		return err
	}
	answer := apple.ReadStatus(client.Do(req.WithContext(ctx)))
	if ctx.Err() != nil {
		return explained(ctx, ctx.Err())
	}
	s.apple, s.now = &answer, time.Now().UTC()
	if e, says := activationlock.OfStatus(s.subject.SerialNumber, answer, s.now); says {
		s.evidence = append(s.evidence, e)
	}
	return nil
}

// derive makes everything else of what was read.
func (s *deviceStatus) derive() {
	device := over(s.Device, s.record.Device())
	newest := slices.SortedFunc(slices.Values(s.codes), func(a, b escrow.Record) int { return b.LastSeen.Compare(a.LastSeen) })
	for _, r := range newest {
		if r.State != escrow.Disputed {
			device.ProductName = cmp.Or(device.ProductName, r.Device.ProductType)
		}
	}
	record, question := s.record.Clone(), mdmcmd.ActivationLockBypassCode.RequestType()
	record.Evidence = s.evidence
	if at := s.answered(); record.Exchanges[question].AnsweredAt.Before(at) {
		record.Exchanges = map[string]inventory.Exchange{question: {AnsweredAt: at}}
	}
	s.Situation = record.Situation(s.codes, s.now)
	s.Device = device
	if s.Lock.State == activationlock.Off && s.lockCameOn(s.Lock) {
		s.FindMy = new(true)
	}
	if n := len(s.actions); n > 0 {
		s.last = &s.actions[n-1]
		s.aftermath = s.last.Aftermath(s.evidence)
	}
}
