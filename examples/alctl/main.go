// Alctl does on the command line what Activation Lock needs: it makes and reads
// bypass codes and their escrow, MDM commands, device messages and their
// signatures, tells what is known of a lock, has Apple remove it, and reports on
// the devices of a server.
//
//	go run ./examples/alctl -h
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"text/tabwriter"
)

func main() {
	os.Exit(run(context.Background(), os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

// program is what a name on the command line runs.
type program struct {
	name, about string
	run         func(c *console, args []string) error
}

var programs = []program{
	{"bypass", "have Apple remove the locks of devices with the codes of a store", runBypass},
	{"code", "make and show bypass codes", runCode},
	{"command", "write an MDM command", runCommand},
	{"decode", "show a device message or a command as JSON, without its secrets", runDecode},
	{"describe", "say whose devices of an inventory are, and in which groups", runDescribe},
	{"due", "list the devices that a server has to look at, now or soon", runDue},
	{"escrow", "look after the codes of a store: show, move and recover them; keys and audit", runEscrow},
	{"findings", "list what is wrong with the devices of an inventory", runFindings},
	{"instructions", "say how to type a code on a device", runInstructions},
	{"redact", "take the bypass code out of a message", runRedact},
	{"report", "write a report of the devices of an inventory, or its numbers", runReport},
	{"status", "tell what is known of the lock of a device, and what to do next", runStatus},
	{"verify-signature", "verify the header Mdm-Signature of a message", runVerifySignature},
}

// run runs one command line and returns its exit code: 1 if it failed, 2 if it
// was wrong.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	c := &console{ctx: ctx, in: stdin, stdout: stdout, stderr: stderr}
	err := c.dispatch("alctl", args, programs, func(w io.Writer) {
		fmt.Fprint(w, "Alctl makes and reads what Activation Lock needs: bypass codes and their escrow,\n"+
			"MDM commands, device messages and their signatures. It tells what is known of a\n"+
			"lock, has Apple remove it, and reports on the devices of a server.\n\nUsage: alctl COMMAND [arguments]\n\nCommands:\n")
		listPrograms(w, programs)
		fmt.Fprint(w, "\n\"alctl COMMAND -h\" explains a command. Exit codes: 0 done, 1 failed, 2 wrong usage.\n"+
			"\nExample:\n  alctl decode report.plist\n")
	})
	_, partial := errors.AsType[partialError](err)
	if err == nil || partial || errors.Is(err, flag.ErrHelp) {
		if _, failed := c.out.WriteTo(stdout); failed != nil {
			err = fmt.Errorf("write the output: %w", reason(failed))
		} else if !partial {
			err = nil
		}
	}
	if err == nil {
		return 0
	}
	fmt.Fprintf(stderr, "alctl: %v\n", err)
	if _, wrong := errors.AsType[usageError](err); wrong {
		fmt.Fprintf(stderr, "Run \"%s -h\" for help.\n", c.program)
		return 2
	}
	return 1
}

// usageError is a command line that makes no sense.
type usageError string

func (e usageError) Error() string { return string(e) }

// partialError is a failure that leaves something to print.
type partialError string

func (e partialError) Error() string { return string(e) }

// dispatch runs the program of a table that the first argument names.
func (c *console) dispatch(name string, args []string, table []program, help func(io.Writer)) error {
	c.program = name
	if len(args) == 0 {
		return usageError("a command is missing")
	}
	switch args[0] {
	case "help", "-h", "-help", "--h", "--help":
		help(&c.out)
		return nil
	}
	for _, p := range table {
		if p.name == args[0] {
			return p.run(c, args[1:])
		}
	}
	return usageError("unknown command") // not quoted: it may be a code
}

func listPrograms(w io.Writer, table []program) {
	columns := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, p := range table {
		fmt.Fprintf(columns, "  %s\t%s\n", p.name, p.about)
	}
	columns.Flush()
}
