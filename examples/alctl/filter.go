package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"slices"
	"strings"

	"github.com/activationlock/sdk/activationlock"
	"github.com/activationlock/sdk/bypasscode/escrow"
	"github.com/activationlock/sdk/inventory"
	"github.com/activationlock/sdk/mdmcmd"
)

// What can be filtered by. "" is what nobody knows.
var (
	statuses = []activationlock.Status{
		activationlock.NotApplicable, activationlock.NotEnabled, activationlock.EnabledWithBypassCode,
		activationlock.EnabledWithoutBypassCodeNotSupervised, activationlock.EnabledWithoutBypassCodeUnreachable,
		activationlock.EnabledWithoutBypassCodeNotProvided, activationlock.Unknown, "",
	}
	ownerships   = []inventory.Ownership{inventory.Company, inventory.Personal, inventory.OwnershipUnknown}
	platforms    = []mdmcmd.Platform{mdmcmd.IOS, mdmcmd.MacOS, mdmcmd.TvOS, mdmcmd.VisionOS, mdmcmd.WatchOS, ""}
	verdicts     = []activationlock.Verdict{activationlock.Yes, activationlock.No, activationlock.VerdictUnknown}
	findingKinds = []inventory.FindingKind{
		inventory.MayLock, inventory.WindowCloses, inventory.WindowOver, inventory.CodeStale, inventory.EmptyAnswers,
		inventory.LockedNotSupervised, inventory.LockedUnreachable, inventory.LockedNotProvided, inventory.LockedNoCode,
		inventory.NotManageable, inventory.Relocked, inventory.Conflict, inventory.SerialDisputed, inventory.NotSeen, inventory.AllowedFirst,
	}
	severities = []inventory.Severity{inventory.Critical, inventory.Warning, inventory.Notice} // the worst first
)

// filter adds the flags that say which devices a report is of.
func (f *flags) filter(to *inventory.Filter) {
	choice(f, &to.Statuses, "status", "only devices whose status is one of `STATUS,…`", statuses)
	f.Func("supervised", "only devices that are supervised, or only those that are not: `yes|no`", func(s string) error {
		if s != "yes" && s != "no" {
			return errors.New("want yes or no")
		}
		to.Supervised = new(s == "yes")
		return nil
	})
	choice(f, &to.Ownerships, "ownership", "only devices that belong to one of `OWNER,…`", ownerships)
	f.texts(&to.Groups, "group", "only devices of the group with that `NAME`, which may have commas in it; may be given more than once")
	choice(f, &to.Platforms, "platform", "only devices of one of `PLATFORM,…`", platforms)
	choice(f, &to.Findings, "finding", "only devices with one of the findings `KIND,…`", findingKinds)
	f.Func("severity", "only devices with a finding of that `SEVERITY` or a worse one: notice, warning or critical", func(s string) error {
		for _, severity := range severities {
			if s == severity.Label(activationlock.English) {
				to.Severity = severity
				return nil
			}
		}
		return errors.New("want notice, warning or critical")
	})
	choice(f, &to.Reassign, "reassign", "only devices for which one of `ANSWER,…` is the one to whether somebody else may have them", verdicts)
	f.text(&to.Text, "text", "only devices with that `TEXT` in their serial number, enrollment ID, name or model")
	f.BoolVar(&to.Live, "live", false, "only enrollments that are complete and did not end")
}

// choice is a flag with values of a list, between commas. Again, it adds more.
func choice[S ~string](f *flags, to *[]S, name, usage string, from []S) {
	var all []string
	for _, s := range from {
		all = append(all, cmp.Or(string(s), unknown))
	}
	all = slices.Compact(all)
	want := orList(all)
	f.Func(name, usage+": "+want+"; may be given more than once", func(given string) error {
		var some []S
		for word := range strings.SplitSeq(given, ",") {
			before := len(some)
			for _, s := range from {
				if word == cmp.Or(string(s), unknown) {
					some = append(some, s)
				}
			}
			if len(some) == before {
				return errors.New("want " + want)
			}
		}
		*to = append(*to, some...)
		return nil
	})
}

// oneOf is a flag with one of some values.
func (f *flags) oneOf(to *string, name, usage string, values ...string) {
	f.Func(name, usage+": "+orList(values), func(s string) error {
		if !slices.Contains(values, s) {
			return errors.New("want " + orList(values))
		}
		*to = s
		return nil
	})
}

func orList(all []string) string {
	last := len(all) - 1
	return strings.Join(all[:last], ", ") + " or " + all[last]
}

// inventory opens a store that has an inventory.
func (a *access) inventory(ctx context.Context) (*opened, error) {
	o, err := a.open(ctx, noSealer{}, escrow.Config{})
	if err != nil {
		return nil, err
	}
	if o.records == nil {
		o.close()
		return nil, errors.New("the store has no inventory: it is of a version before, and a server with this one adds it")
	}
	return o, nil
}

// rows streams the rows of a query, and ends with the context.
func (o *opened) rows(ctx context.Context, q inventory.Query) iter.Seq2[inventory.Row, error] {
	return func(yield func(inventory.Row, error) bool) {
		for r, err := range inventory.Rows(ctx, o.records, q) {
			if !yield(r, cmp.Or(err, ctx.Err())) {
				return
			}
		}
	}
}

// unwritten returns the error of a writer without the name of its file.
func unwritten(err error) error {
	if _, is := errors.AsType[*fs.PathError](err); is {
		return fmt.Errorf("write the output: %w", reason(err))
	}
	return err
}

// nameOfRow is how a device is called that may have told no serial number.
func nameOfRow(r inventory.Row) string {
	if r.SerialNumber == "" {
		return "enrollment " + printable(r.EnrollmentID)
	}
	return printable(r.SerialNumber)
}

// orDash is a cell of a table.
func orDash(s string) string { return cmp.Or(printable(s), "-") }
