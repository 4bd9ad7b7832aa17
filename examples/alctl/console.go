package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/signal"
	"syscall"

	"github.com/schollz/progressbar/v3"

	"github.com/activationlock/sdk/mdmcmd"
)

// maxInput bounds everything that is read: 16 MiB.
const maxInput = mdmcmd.MaxRedact

// console is what a program reads and prints. Output is held back until the
// program has succeeded, so that a failure prints nothing by half, unless that
// is what it is for (partialError).
type console struct {
	program string // whose help to point at
	in      io.Reader
	inRead  bool
	out     bytes.Buffer
	// stdout and stderr are for what is printed while a program runs: what there
	// is too much of to hold back, and warnings (see warn).
	stdout, stderr io.Writer
	ctx            context.Context // what a program runs under; see interruptible
	bar            *progressbar.ProgressBar
}

// read returns the content of a file; "-" is standard input.
func (c *console) read(path string) ([]byte, error) {
	in := c.in
	if path == "-" {
		if c.inRead {
			return nil, usageError("standard input can be read only once")
		}
		c.inRead = true
	} else {
		file, err := os.Open(path)
		if err != nil {
			return nil, reason(err)
		}
		defer file.Close()
		in = file
	}
	content, err := io.ReadAll(io.LimitReader(in, maxInput+1))
	if err != nil {
		return nil, reason(err)
	}
	if len(content) > maxInput {
		return nil, errors.New("larger than 16 MiB")
	}
	return content, nil
}

// readMessage reads the one operand of a program, standard input without one.
func (c *console) readMessage(operands []string) ([]byte, error) {
	path := "-"
	if len(operands) > 0 {
		path = operands[0]
	}
	raw, err := c.read(path)
	if err != nil {
		return nil, fmt.Errorf("read the message: %w", err)
	}
	return raw, nil
}

// reason drops the file's name from an error: somebody may have typed a secret
// in its place.
func reason(err error) error {
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		return e.Err
	}
	return err
}

func (c *console) printJSON(v any) error {
	e := json.NewEncoder(&c.out)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

// line prints a line to standard error at once.
func (c *console) line(format string, args ...any) {
	if c.bar != nil {
		c.bar.Clear()
	}
	fmt.Fprintf(c.stderr, format+"\n", args...)
}

// warn prints what does not stop the program.
func (c *console) warn(what string, err error) { c.line("alctl: %s: %v", what, err) }

// interruptible returns a context that ends when the program is interrupted. It
// is for programs that then say how far they came; a second interrupt ends them
// as it ends any other.
func (c *console) interruptible() (context.Context, context.CancelFunc) {
	ctx, stop := signal.NotifyContext(c.ctx, os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)
	return ctx, stop
}

// explained returns the error of a program that ran under a context.
func explained(ctx context.Context, err error) error {
	if err != nil && ctx.Err() != nil {
		return errors.New("interrupted")
	}
	return err
}
