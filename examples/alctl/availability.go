package main

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/activationlock/sdk/mdmcmd"
)

// listCommands is the help of all commands.
func listCommands(w io.Writer) {
	fmt.Fprint(w, `Usage: alctl command NAME [-uuid UUID] [flags]

Writes the property list of an MDM command, for the queue of a server. "alctl
command NAME -h" explains the flags of one.

`)
	platforms := []mdmcmd.Platform{mdmcmd.IOS, mdmcmd.MacOS, mdmcmd.TvOS, mdmcmd.VisionOS, mdmcmd.WatchOS}
	columns := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprint(columns, "  Name\tRight")
	for _, p := range platforms {
		fmt.Fprintf(columns, "\t%s", p)
	}
	fmt.Fprintln(columns)
	for _, m := range mdmCommands {
		fmt.Fprintf(columns, "  %s\t%s", m.RequestType(), right(m))
		for _, p := range platforms {
			fmt.Fprintf(columns, "\t%s", letters(m.Availability(), p))
		}
		fmt.Fprintln(columns)
	}
	columns.Flush()
	fmt.Fprint(w, `
Right is the bit of AccessRights that the management profile must have. With the
first version: S supervised devices only, A Automated Device Enrollment only, i
also a Shared iPad, u also user enrollments, c also the user channel.

Example:
  alctl command ActivationLockBypassCode
`)
}

// letters is a cell of that list.
func letters(where []mdmcmd.Availability, p mdmcmd.Platform) string {
	for _, a := range where {
		if a.Platform != p {
			continue
		}
		cell := a.Since + " "
		for _, is := range conditions(a) {
			if is.so {
				cell += is.letter
			}
		}
		return strings.TrimSpace(cell)
	}
	return "-"
}

// requirements says the same of one command, in words.
func requirements(m mdmCommand) string {
	var s strings.Builder
	fmt.Fprintf(&s, "Access right: %s\nWorks on:", right(m))
	for _, a := range m.Availability() {
		fmt.Fprintf(&s, "\n  %s %s", a.Platform, a.Since)
		for _, is := range conditions(a) {
			if is.so {
				s.WriteString(", " + is.words)
			}
		}
	}
	return s.String()
}

func right(m mdmCommand) string {
	if m.AccessRight() == mdmcmd.NoRight {
		return "none"
	}
	return strconv.Itoa(int(m.AccessRight()))
}

type condition struct {
	so            bool
	letter, words string
}

func conditions(a mdmcmd.Availability) []condition {
	return []condition{
		{a.Supervised, "S", "supervised devices only"},
		{a.ADE, "A", "Automated Device Enrollment only"},
		{a.SharedIPad, "i", "also a Shared iPad"},
		{a.UserEnrollment, "u", "also user enrollments"},
		{a.UserChannel, "c", "also the user channel"},
	}
}
