package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/activationlock/sdk/bypasscode/escrow"
)

func runEscrowReveal(c *console, args []string) error {
	f := newFlags("alctl escrow reveal", storeUsage+" -serial NUMBER -actor NAME -reason TEXT -key FILE [flags]", `Shows the codes of a device, the best one first, or the one of a record. Each is
in the audit before it is shown, and so is each refusal.

The rule is: a person sees the codes of devices that are known to be the
company's (-company-owned) and locked (-lock-on). Say only what you know.`,
		"-store codes.db -serial XXFAKE0SER1 -actor anna -reason \"owner left\" -key escrow.key -company-owned -lock-on")
	a := c.access(f)
	a.audited()
	var serial, enrollment, recordID string
	var keys []string
	r := escrow.Reveal{}
	f.text(&serial, "serial", "serial `NUMBER` of the device")
	f.text(&enrollment, "enrollment", "enrollment `ID`, for a code whose device's serial number is not known")
	f.text(&recordID, "record", "only the code of the record with that `ID`")
	f.texts(&keys, "key", "`FILE` with a private key, as keygen writes it; may be given more than once")
	f.optional(&r.CompanyOwned, "company-owned", "whether the device is the company's")
	f.optional(&r.LockOn, "lock-on", "whether the device is locked")
	asJSON := f.Bool("json", false, "print one JSON object per line")
	if err := a.parse(args, 0); err != nil {
		return err
	}
	switch {
	case (serial == "") == (enrollment == ""):
		return usageError("want either -serial or -enrollment")
	case len(keys) == 0:
		return usageError("-key is required")
	}
	sealer, err := readKeys(keys)
	if err != nil {
		return err
	}
	ctx, stop := c.interruptible()
	defer stop()
	o, err := a.open(ctx, sealer, escrow.Config{})
	if err != nil {
		return err
	}
	defer o.close()
	r.Subject, r.Act = escrow.Subject{SerialNumber: serial, EnrollmentID: enrollment}, *a.by
	records, err := o.Records(ctx, r.Subject)
	if err != nil {
		return explained(ctx, err)
	}
	var codes []recoveredCode
	var purged, failed int
	for _, record := range records {
		if recordID != "" && record.ID != recordID {
			continue
		}
		if record.State == escrow.Purged {
			purged++
			continue
		}
		r.RecordID = record.ID
		before := o.head
		text, err := o.Reveal(ctx, r)
		if errors.Is(err, escrow.ErrRefused) {
			if o.head == before { // the audit could not be told
				return explained(ctx, err)
			}
			return refused(r)
		}
		if err != nil {
			failed++
			c.warn(nameOf(record), explained(ctx, err))
			continue
		}
		code := newRecoveredCode(text, record.Device)
		code.add(record)
		codes = append(codes, code)
	}
	if err := c.printCodes(codes, *asJSON); err != nil {
		return err
	}
	return shortOf(len(codes), failed, purged)
}

// shortOf says that codes are missing that were asked for.
func shortOf(read, failed, purged int) error {
	switch {
	case failed > 0:
		return partialError(fmt.Sprintf("%d of %d codes could not be read", failed, failed+read))
	case read == 0 && purged > 0:
		return fmt.Errorf("no codes: %d were destroyed on purpose (purged)", purged)
	case read == 0:
		return errors.New("no codes found")
	}
	return nil
}

// refused says what the rule misses.
func refused(r escrow.Reveal) error {
	var missing []string
	if r.CompanyOwned == nil || !*r.CompanyOwned {
		missing = append(missing, "that it is the company's (-company-owned)")
	}
	if r.LockOn == nil || !*r.LockOn {
		missing = append(missing, "that it is locked (-lock-on)")
	}
	return fmt.Errorf("refused, and the audit says so: of this device nobody said %s", strings.Join(missing, " and "))
}
