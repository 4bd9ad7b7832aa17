package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

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
	// warnings go to standard error in any case.
	warnings bytes.Buffer
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
