package main

import (
	"context"
	"io"
	"os"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"
)

// lineEvery is the number of rows between two lines of progress.
var lineEvery = 1000

// progress tells on standard error how far a program is: with a bar on a
// terminal, in plain lines elsewhere.
type progress struct {
	c     *console
	unit  string // of what is counted: "codes"
	whole int64  // how many there are, or the bytes that hold them; -1 if nobody knows
	bytes bool
	rows  int
}

// progress begins to tell.
func (c *console) progress(unit string, whole int64, bytes bool) *progress {
	if file, ok := c.stderr.(*os.File); ok && term.IsTerminal(int(file.Fd())) {
		c.bar = progressbar.NewOptions64(whole,
			progressbar.OptionSetWriter(c.stderr), progressbar.OptionSetDescription(unit),
			progressbar.OptionShowCount(), progressbar.OptionShowBytes(bytes),
			progressbar.OptionThrottle(100*time.Millisecond), progressbar.OptionSetSpinnerChangeInterval(0))
	}
	return &progress{c: c, unit: unit, whole: whole, bytes: bytes}
}

// step tells that one more row is done, and with it so many bytes.
func (p *progress) step(bytes int64) {
	p.rows++
	done := int64(p.rows)
	if p.bytes {
		done = bytes
	}
	switch {
	case p.c.bar != nil:
		p.c.bar.Set64(done)
	case p.rows%lineEvery != 0:
	case p.bytes || p.whole < 0:
		p.c.line("%d %s", p.rows, p.unit)
	default:
		p.c.line("%d of %d %s", p.rows, p.whole, p.unit)
	}
}

// end takes the bar away.
func (p *progress) end() {
	if p.c.bar != nil {
		p.c.bar.Clear()
		p.c.bar = nil
	}
}

// input is a file that is being read: how much of it was read, and no more once
// the context is over, even while there is nothing to read.
type input struct {
	ctx    context.Context
	from   io.Reader
	closer io.Closer // nil for what is not ours to close
	read   int64
	wait   bool // reading may wait for ever
}

func (i *input) close() {
	if i.closer != nil {
		i.closer.Close()
	}
}

func (i *input) Read(p []byte) (int, error) {
	if err := i.ctx.Err(); err != nil {
		return 0, err
	}
	if !i.wait {
		n, err := i.from.Read(p)
		i.read += int64(n)
		return n, err
	}
	type result struct {
		content []byte
		err     error
	}
	done := make(chan result, 1)
	go func(size int) { // into memory of its own: nobody waits for it in the end
		content := make([]byte, size)
		n, err := i.from.Read(content)
		done <- result{content[:n], err}
	}(len(p))
	select {
	case r := <-done:
		i.read += int64(len(r.content))
		return copy(p, r.content), r.err
	case <-i.ctx.Done():
		return 0, i.ctx.Err()
	}
}
