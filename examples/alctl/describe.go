package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/activationlock/sdk/bypasscode/escrow"
	"github.com/activationlock/sdk/examples/internal/operator"
	"github.com/activationlock/sdk/inventory"
)

// maxGroups is how many groups a device may be in.
const maxGroups = 100

func runDescribe(c *console, args []string) error {
	f := newFlags("alctl describe", storeUsage+" -serial NUMBER|-enrollment ID [-ownership OWNER] [-group NAME...]\n"+
		"       alctl describe "+storeUsage+" -csv FILE [flags]", `Says whose devices in the inventory of a store are, and in which groups. Reports can
be filtered by both, and by default only codes of the company's devices are shown to
people. What is not given stays as it is; groups that are given replace all of before.
A serial number is that of all enrollments that claim it, also of those that ended. A
server looks at the devices at once afterwards. No key is needed, and the audit is not
told.

The first line of a CSV file names its columns: serial or enrollment, and ownership,
groups, or both. Groups have semicolons between them. A cell that is empty is no
group, or an unknown owner; a column that is not there changes nothing. All lines are
checked before anything is changed, each that is wrong is told, and if there is one
nothing is changed.`,
		"-store codes.db -csv devices.csv -dry-run")
	a := c.access(f)
	a.writes = true
	d := describing{console: c, now: time.Now()}
	var one description
	var ownership, list string
	var groups []string
	var comma rune
	f.text(&one.subject.SerialNumber, "serial", "serial `NUMBER` of the device")
	f.text(&one.subject.EnrollmentID, "enrollment", "`ID` of the enrollment, for a device that told no serial number")
	f.oneOf(&ownership, "ownership", "`OWNER` of the device", string(inventory.Company), string(inventory.Personal), unknown)
	f.texts(&groups, "group", "`NAME` of a group that the device is in; may be given more than once")
	ungrouped := f.Bool("no-groups", false, "the device is in no group")
	f.text(&list, "csv", "CSV `FILE` with devices; \"-\" is standard input")
	f.comma(&comma)
	f.BoolVar(&d.skipMissing, "skip-missing", false, "pass over devices that are not in the inventory; else each is a wrong line")
	f.BoolVar(&a.dryRun, "dry-run", false, "only say what would happen")
	if err := a.parse(args, 0); err != nil {
		return err
	}
	named := one.subject.SerialNumber != "" || one.subject.EnrollmentID != ""
	described := ownership != "" || len(groups) > 0 || *ungrouped
	switch {
	case (list != "") == named || one.subject.SerialNumber != "" && one.subject.EnrollmentID != "":
		return usageError("want one of -serial, -enrollment and -csv")
	case list != "" && described:
		return usageError("with -csv, the file has ownership and groups")
	case list == "" && !described:
		return usageError("want -ownership, -group or -no-groups")
	case list == "" && comma != 0:
		return usageError("-comma is for -csv")
	case *ungrouped && len(groups) > 0:
		return usageError("want either -group or -no-groups")
	}
	if err := noCodes(append(slices.Clone(groups), one.subject.SerialNumber, one.subject.EnrollmentID)...); err != nil {
		return err
	}
	lines := []description{one}
	if list != "" {
		content, err := c.read(list)
		if err == nil {
			lines, err = readDescriptions(content, comma)
		}
		if err != nil {
			return fmt.Errorf("read -csv: %w", err)
		}
	} else {
		if ownership != "" {
			lines[0].setOwnership(ownership)
		}
		if len(groups) > 0 || *ungrouped {
			lines[0].setGroups(groups)
		}
		if err := lines[0].err; err != nil {
			return usageError(err.Error())
		}
	}
	ctx, stop := c.interruptible()
	defer stop()
	o, err := a.inventory(ctx)
	if err != nil {
		return err
	}
	defer o.close()
	d.records, d.dryRun = o.records, a.dryRun
	return d.run(ctx, lines)
}

// description is what a line says of a device.
type description struct {
	line      int // 0 if it is of no file
	subject   escrow.Subject
	ownership *inventory.Ownership // nil stays as it is
	groups    []string             // with regroups
	regroups  bool
	err       error // why it is wrong
}

func (d *description) setOwnership(s string) {
	if s == unknown {
		s = ""
	}
	if d.ownership = new(inventory.Ownership(s)); !slices.Contains(ownerships, *d.ownership) {
		d.err = errors.New("want the ownership company, personal or unknown")
	}
}

func (d *description) setGroups(groups []string) {
	d.groups, d.regroups = groups, true
	if len(groups) > maxGroups {
		d.err = fmt.Errorf("a device is in at most %d groups", maxGroups)
	}
	for _, g := range groups {
		if !escrow.ValidIdentifier(g) {
			d.err = errors.New("the name of a group has at most 255 bytes of text")
		} else if operator.HoldsCode(g) {
			d.err = errors.New("a group is a code, as if columns were mixed up")
		}
	}
}

// change changes a record, and reports whether there is a difference.
func (d *description) change(r *inventory.Record) (changed bool) {
	owner, groups := r.Ownership, r.Groups
	if d.ownership != nil {
		r.Ownership = *d.ownership
	}
	if d.regroups {
		r.SetGroups(d.groups...)
	}
	return r.Ownership != owner || !slices.Equal(r.Groups, groups)
}

// readDescriptions reads a CSV file. Nothing of the file is in an error; that of a
// line is in its description.
func readDescriptions(content []byte, comma rune) (lines []description, err error) {
	r := csv.NewReader(bytes.NewReader(bytes.TrimPrefix(content, []byte("\ufeff"))))
	r.TrimLeadingSpace = true
	if comma != 0 {
		r.Comma = comma
	}
	var columns []string
	for {
		cells, err := r.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if e, ok := errors.AsType[*csv.ParseError](err); ok {
			return nil, fmt.Errorf("line %d: %w", e.Line, e.Err)
		}
		if err != nil {
			return nil, err
		}
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		if columns == nil {
			if columns = cells; !describes(columns) {
				return nil, errors.New("its first line names no columns such as serial,ownership,groups: want serial or enrollment, ownership or groups, and no others")
			}
			continue
		}
		line, _ := r.FieldPos(0)
		lines = append(lines, describe(line, columns, cells))
	}
	if len(lines) == 0 {
		return nil, errors.New("it has no device")
	}
	return lines, nil
}

// describes reports whether a file with such columns describes devices.
func describes(columns []string) bool {
	sorted := slices.Sorted(slices.Values(columns))
	for _, name := range columns {
		if !slices.Contains([]string{"serial", "enrollment", "ownership", "groups"}, name) {
			return false
		}
	}
	has := func(name string) bool { return slices.Contains(columns, name) }
	return len(slices.Compact(sorted)) == len(columns) && (has("serial") || has("enrollment")) && (has("ownership") || has("groups"))
}

// describe reads a line.
func describe(line int, columns, cells []string) description {
	d := description{line: line}
	for i, cell := range cells {
		switch columns[i] {
		case "serial":
			d.subject.SerialNumber = cell
		case "enrollment":
			d.subject.EnrollmentID = cell
		case "ownership":
			d.setOwnership(cell)
		case "groups":
			var groups []string
			for g := range strings.SplitSeq(cell, ";") {
				if g = strings.TrimSpace(g); g != "" {
					groups = append(groups, g)
				}
			}
			d.setGroups(groups)
		}
	}
	switch id := cmp.Or(d.subject.SerialNumber, d.subject.EnrollmentID); {
	case (d.subject.SerialNumber == "") == (d.subject.EnrollmentID == ""):
		d.err = errors.New("want a serial number or an enrollment ID, and not both")
	case operator.HoldsCode(id):
		d.err = errors.New("its serial number or enrollment ID is a code, as if columns were mixed up")
	case !escrow.ValidIdentifier(id):
		d.err = errors.New("its serial number or enrollment ID is none")
	}
	return d
}

// describing has descriptions of devices in the inventory.
type describing struct {
	*console
	records             inventory.Store
	dryRun, skipMissing bool
	now                 time.Time
	changed, same       int // enrollments
	missing             int // lines
}

// target is a description of an enrollment.
type target struct {
	enrollmentID string
	*description
}

// run checks all lines, and then has what they say in the inventory.
func (d *describing) run(ctx context.Context, lines []description) error {
	var targets []target
	by := map[string]int{} // lines, by the enrollments that they describe
	wrong := 0
	for i := range lines {
		line := &lines[i]
		records, err := d.find(ctx, line)
		if err != nil {
			return explained(ctx, err)
		}
		for _, r := range records {
			if first, twice := by[r.EnrollmentID]; twice && line.err == nil {
				line.err = fmt.Errorf("line %d describes the device already", first)
			}
			by[r.EnrollmentID] = line.line
			targets = append(targets, target{r.EnrollmentID, line})
			if line.change(&r) {
				d.changed++
			} else {
				d.same++
			}
		}
		if line.err == nil {
			continue
		}
		if wrong++; line.line == 0 {
			return line.err
		}
		d.warn(fmt.Sprintf("line %d", line.line), line.err)
	}
	if wrong > 0 {
		return fmt.Errorf("%d of %d lines are wrong; nothing is changed", wrong, len(lines))
	}
	if d.dryRun {
		d.out.WriteString("nothing is changed; this would be: ")
	} else if err := d.write(ctx, targets); err != nil {
		return fmt.Errorf("%w; what is done stays; to go on: the same again", explained(ctx, err))
	}
	fmt.Fprintf(&d.out, "%d enrollments changed, %d were so already, %d devices passed over\n", d.changed, d.same, d.missing)
	return nil
}

// find returns the records that a line describes.
func (d *describing) find(ctx context.Context, line *description) (records []inventory.Record, err error) {
	if line.err != nil {
		return nil, nil
	}
	if serial := line.subject.SerialNumber; serial != "" {
		records, err = d.records.BySerialNumber(ctx, serial)
	} else {
		records = make([]inventory.Record, 1)
		if records[0], err = d.records.Get(ctx, line.subject.EnrollmentID); errors.Is(err, inventory.ErrNotFound) {
			records, err = nil, nil
		}
	}
	switch {
	case err != nil:
	case len(records) == 0 && d.skipMissing:
		d.missing++
	case len(records) == 0:
		line.err = errors.New("the device is not in the inventory")
	}
	return records, err
}

// write changes the records. Each is due at once, in the same transaction: its status
// and its findings may be others now.
func (d *describing) write(ctx context.Context, targets []target) error {
	now := d.now.UTC().Truncate(time.Microsecond)
	d.changed, d.same = 0, 0
	for _, t := range targets {
		changed := false
		if err := d.records.Update(ctx, t.enrollmentID, func(r *inventory.Record) error {
			if changed = t.change(r); changed && (r.Summary.DueAt.IsZero() || r.Summary.DueAt.After(now)) {
				r.Summary.DueAt = now
			}
			return nil
		}); err != nil {
			return err
		}
		if changed {
			d.changed++
		} else {
			d.same++
		}
	}
	return nil
}
