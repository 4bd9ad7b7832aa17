package main

import (
	"cmp"
	"errors"
	"fmt"
	"iter"
	"strconv"
	"time"

	"github.com/activationlock/sdk/bypasscode/audit"
	"github.com/activationlock/sdk/bypasscode/escrow"
)

// auditEntry is an entry of the audit in JSON.
type auditEntry struct {
	Number       int64     `json:"number"`
	At           time.Time `json:"at"`
	Act          string    `json:"act"`
	Actor        string    `json:"actor"`
	Reason       string    `json:"reason"`
	SerialNumber string    `json:"serialNumber,omitempty"`
	EnrollmentID string    `json:"enrollmentID,omitempty"`
	RecordID     string    `json:"record,omitempty"`
	Detail       string    `json:"detail,omitempty"`
	Digest       string    `json:"digest"`
}

// auditVerdict is what verify-audit finds, in JSON.
type auditVerdict struct {
	Whole    bool   `json:"whole"`
	Head     string `json:"head,omitempty"`
	BrokenAt *int64 `json:"brokenAt,omitempty"`
	Problem  string `json:"problem,omitempty"`
}

func runEscrowVerifyAudit(c *console, args []string) error {
	f := newFlags("alctl escrow verify-audit", storeUsage+" [flags]", `Verifies that the audit of a store is whole: that no entry was changed, removed
or put in, and that it still leads through a head that was kept elsewhere. The
commands that write the audit print its head ("audit head: 17:…"). Without -head
it is not found that the last entries are gone, and without -audit-key none who
made all digests anew. A broken audit is exit code 1, and the entry is named.`,
		"-store codes.db -head 17:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08 -print")
	a := c.access(f)
	a.withAuditKey()
	var kept string
	f.text(&kept, "head", "the `HEAD` that was kept")
	list := f.Bool("print", false, "list the entries too")
	asJSON := f.Bool("json", false, "print one JSON object per line")
	if err := a.parse(args, 0); err != nil {
		return err
	}
	var head audit.Head
	if kept != "" {
		var err error
		if head, err = audit.ParseHead(kept); err != nil {
			return usageError("-head is no head: want a number, a colon and 64 hexadecimal digits")
		}
	}
	ctx, stop := c.interruptible()
	defer stop()
	o, err := a.open(ctx, noSealer{}, escrow.Config{})
	if err != nil {
		return err
	}
	defer o.close()
	if *list {
		if err := c.printAudit(o.audit.Entries(ctx), *asJSON); err != nil {
			return explained(ctx, err)
		}
	}
	now, err := o.audit.Verify(ctx, head)
	broken, isBroken := errors.AsType[*audit.BrokenError](err)
	if err != nil && !isBroken {
		return explained(ctx, err)
	}
	verdict := auditVerdict{Whole: true, Head: now.String()}
	if isBroken {
		verdict = auditVerdict{BrokenAt: &broken.Number, Problem: broken.Problem}
	}
	switch {
	case *asJSON:
		if err := printLine(&c.out, verdict); err != nil {
			return err
		}
	case verdict.Whole && kept != "":
		fmt.Fprintf(&c.out, "whole, through the head that was kept; its head is %s\n", now)
	case verdict.Whole:
		fmt.Fprintf(&c.out, "whole; its head is %s\n", now)
	}
	if isBroken {
		return partialError(broken.Error())
	}
	return nil
}

// printAudit lists entries as they come.
func (c *console) printAudit(entries iter.Seq2[audit.Entry, error], asJSON bool) error {
	t := newTable(c.stdout, "ENTRY", "TIME", "ACTOR", "ACT", "DEVICE", "RECORD", "REASON", "DETAIL")
	for e, err := range entries {
		if _, broken := errors.AsType[*audit.BrokenError](err); broken {
			break // which is what Verify says too
		}
		if err != nil {
			return err
		}
		if asJSON {
			err = printLine(c.stdout, auditEntry{
				e.Number, e.At, string(e.Act), e.Actor, e.Reason, e.SerialNumber, e.EnrollmentID, e.RecordID, e.Detail, e.Digest.String(),
			})
		} else {
			device := e.SerialNumber
			if e.EnrollmentID != "" {
				device = "enrollment " + e.EnrollmentID
			}
			cells := []string{strconv.FormatInt(e.Number, 10), e.At.Format(time.RFC3339)}
			for _, text := range []string{e.Actor, string(e.Act), device, e.RecordID, e.Reason, e.Detail} {
				cells = append(cells, printable(cmp.Or(text, "-")))
			}
			err = t.add(cells...)
		}
		if err != nil {
			return err
		}
	}
	if asJSON {
		return nil
	}
	return t.flush()
}
