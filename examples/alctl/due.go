package main

import (
	"cmp"
	"container/heap"
	"context"
	"flag"
	"fmt"
	"slices"
	"time"

	"github.com/activationlock/sdk/activationlock"
	"github.com/activationlock/sdk/inventory"
)

const (
	maxDue      = 10_000
	defaultDue  = 50
	defaultSoon = 24 * time.Hour
)

// shownDue is a device that is due, in JSON.
type shownDue struct {
	SerialNumber string    `json:"serialNumber"`
	EnrollmentID string    `json:"enrollmentID"`
	DeviceName   string    `json:"deviceName"`
	DueAt        time.Time `json:"dueAt"`
	Due          bool      `json:"due"` // already
}

func runDue(c *console, args []string) error {
	f := newFlags("alctl due", storeUsage+" [flags]\n       alctl due -schedule ID [flags]", `Lists the devices in the inventory of a store that a server has to look at, now or
soon, the earliest first, without claiming them: no server is kept from its work,
and what one has claimed is listed too. The whole inventory is read, since it
cannot be sorted by that time, but no more than -limit is kept in memory. Nothing
is changed, no key is needed, and the audit is not told.

With -schedule no store is read: it prints when a weekly schedule, or that of
-every, is due next for the device with that enrollment ID, as inventory.Periodic
says it, which a server may use.`,
		"-store codes.db -within 1h\n  alctl due -schedule 00008120-0011223344556677 -zone Europe/Amsterdam -from 08:00 -to 17:00 -weekdays mon-fri")
	a := c.access(f)
	var l activationlock.Language
	f.language(&l)
	limit := f.Int("limit", defaultDue, "list so `MANY` at most, 1 to 10000")
	within := f.Duration("within", defaultSoon, "list what is due within that `TIME`; 0 is what is due now")
	asJSON := f.Bool("json", false, "print one JSON object per line")
	s := f.schedule()
	if err := a.flags.parse(c, args, 0); err != nil {
		return err
	}
	if mixed := s.mixed(f); mixed != "" {
		return usageError(mixed)
	}
	if s.id != "" {
		return s.print(c, *asJSON)
	}
	switch {
	case *limit < 1 || *limit > maxDue:
		return usageError("-limit is 1 to 10000")
	case *within < 0:
		return usageError("-within is less than 0")
	}
	if err := a.check(); err != nil {
		return err
	}
	ctx, stop := c.interruptible()
	defer stop()
	o, err := a.inventory(ctx)
	if err != nil {
		return err
	}
	defer o.close()
	now := time.Now().UTC()
	list, whole, err := o.due(ctx, now.Add(*within), *limit)
	if err != nil {
		return explained(ctx, err)
	}
	if *asJSON {
		for _, r := range list {
			at := r.Summary.DueAt
			if err := printLine(&c.out, shownDue{r.SerialNumber, r.EnrollmentID, r.DeviceName, at, !at.After(now)}); err != nil {
				return err
			}
		}
		return nil
	}
	return c.printDue(list, whole, now, l)
}

func (c *console) printDue(list []inventory.Row, whole int, now time.Time, l activationlock.Language) error {
	if whole == 0 {
		c.out.WriteString(in(l, "Nothing is due.", "Er is niets aan de beurt.") + "\n")
		return nil
	}
	t := newTable(&c.out, in(l, "DEVICE", "APPARAAT"), in(l, "NAME", "NAAM"), in(l, "LAST SEEN", "LAATST GEZIEN"), in(l, "DUE", "AAN DE BEURT"))
	for _, r := range list {
		when := moment(r.Summary.DueAt)
		if !r.Summary.DueAt.After(now) {
			when += in(l, " (now)", " (nu)")
		}
		if err := t.add(nameOfRow(r), orDash(r.DeviceName), moment(r.LastSeen), when); err != nil {
			return err
		}
	}
	if err := t.flush(); err != nil {
		return err
	}
	if whole > len(list) {
		fmt.Fprintf(&c.out, in(l, "\n%d of %d; see more with -limit.\n", "\n%d van %d; bekijk meer met -limit.\n"), len(list), whole)
	}
	return nil
}

// due returns the rows that are due until a moment, the earliest first and no
// more than a limit, and how many there are.
func (o *opened) due(ctx context.Context, until time.Time, limit int) (list []inventory.Row, whole int, err error) {
	var kept latestFirst
	for r, err := range o.rows(ctx, inventory.Query{}) {
		at := r.Summary.DueAt
		switch {
		case err != nil:
			return nil, 0, err
		case at.IsZero() || at.After(until):
			continue
		case len(kept) < limit:
			heap.Push(&kept, r)
		case byDue(r, kept[0]) < 0:
			kept[0] = r
			heap.Fix(&kept, 0)
		}
		whole++
	}
	return slices.SortedFunc(slices.Values(kept), byDue), whole, nil
}

func byDue(a, b inventory.Row) int {
	return cmp.Or(a.Summary.DueAt.Compare(b.Summary.DueAt), cmp.Compare(a.EnrollmentID, b.EnrollmentID))
}

// latestFirst is a heap of rows.
type latestFirst []inventory.Row

func (h latestFirst) Len() int           { return len(h) }
func (h latestFirst) Less(i, j int) bool { return byDue(h[i], h[j]) > 0 }
func (h latestFirst) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *latestFirst) Push(row any)      { *h = append(*h, row.(inventory.Row)) }
func (h *latestFirst) Pop() any {
	last := (*h)[len(*h)-1]
	*h = (*h)[:len(*h)-1]
	return last
}

// mixed tells what was given of the one use of the program in the other.
func (s *schedule) mixed(f *flags) (complaint string) {
	f.Visit(func(given *flag.Flag) {
		switch own, shared := scheduleFlags[given.Name], given.Name == "json"; {
		case s.id == "" && own:
			complaint = "-" + given.Name + " is for -schedule"
		case s.id != "" && !own && !shared:
			complaint = "-" + given.Name + " is not for -schedule"
		}
	})
	return complaint
}
