package main

import (
	"iter"
	"time"

	"github.com/activationlock/sdk/bypasscode"
	"github.com/activationlock/sdk/bypasscode/escrow"
)

// listedRecord is a record in JSON.
type listedRecord struct {
	recoveredCode
	FirstSeen time.Time `json:"firstSeen,omitzero"`
	Cause     string    `json:"cause"`
}

func runEscrowList(c *console, args []string) error {
	f := newFlags("alctl escrow list", storeUsage+" [flags]", `Lists the codes of a store, without the codes themselves: no key is needed, and
the audit is not told. With -serial the best one comes first.`, "-store codes.db -serial XXFAKE0SER1")
	a := c.access(f)
	var serial string
	f.text(&serial, "serial", "only the codes of the device with that serial `NUMBER`")
	asJSON := f.Bool("json", false, "print one JSON object per line")
	if err := a.parse(args, 0); err != nil {
		return err
	}
	ctx, stop := c.interruptible()
	defer stop()
	o, err := a.open(ctx, noSealer{}, escrow.Config{})
	if err != nil {
		return err
	}
	defer o.close()
	records := o.All(ctx)
	if serial != "" {
		records = recordsOf(o.Records(ctx, escrow.Subject{SerialNumber: serial}))
	}
	t := newTable(c.stdout, "DEVICE", "KIND", "STATE", "LAST SEEN", "CAUSE", "RECORD")
	for record, err := range records {
		if err != nil {
			return explained(ctx, err)
		}
		row := listedRecord{newRecoveredCode(bypasscode.Text{}, record.Device), record.FirstSeen, string(record.Cause)}
		row.add(record)
		if *asJSON {
			err = printLine(c.stdout, row)
		} else {
			state := row.State
			if !row.StaleSince.IsZero() {
				state += ", perhaps stale since " + row.StaleSince.Format(time.RFC3339)
			}
			err = t.add(printable(row.device()), printable(row.Kind), printable(state), row.seen().Format(time.RFC3339), printable(row.Cause), printable(row.RecordID))
		}
		if err != nil {
			return err
		}
	}
	if *asJSON {
		return nil
	}
	return t.flush()
}

// recordsOf returns what a call returned as a walk does.
func recordsOf(records []escrow.Record, err error) iter.Seq2[escrow.Record, error] {
	return func(yield func(escrow.Record, error) bool) {
		for _, r := range records {
			if !yield(r, nil) {
				return
			}
		}
		if err != nil {
			yield(escrow.Record{}, err)
		}
	}
}
