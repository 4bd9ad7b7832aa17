package main

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/activationlock/sdk/mdmcmd"
)

// flags are the flags of one program, and what its help says besides them.
type flags struct {
	*flag.FlagSet
	operands string // how the usage line goes on after the program's name
	about    string
	example  string // as typed after the program's name
	secrets  []secretFile
}

// secretFile is a file that was named on the command line.
type secretFile struct {
	flag, path string
	line       bool // the newline at the end of the file is no part of the secret
	to         *mdmcmd.Secret
}

func newFlags(name, operands, about, example string) *flags {
	f := &flags{FlagSet: flag.NewFlagSet(name, flag.ContinueOnError), operands: operands, about: about, example: example}
	f.SetOutput(io.Discard)
	f.Usage = func() {}
	return f
}

// parse reads the arguments, of which at most maxOperands are no flags. With
// -h it prints the help and returns flag.ErrHelp.
func (f *flags) parse(c *console, args []string, maxOperands int) error {
	c.program = f.Name()
	switch err := f.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		f.help(&c.out)
		return err
	case err != nil:
		return usageError(withoutInput(err))
	case f.NArg() > maxOperands:
		return usageError("too many arguments (flags go before a file)")
	}
	return nil
}

// withoutInput is the text of an error of the flag package without what was
// typed: the name of an unknown flag, or the value of a known one.
func withoutInput(err error) string {
	text := err.Error()
	before, after, _ := strings.Cut(text, `"`)
	switch before {
	case "invalid value ", "invalid boolean value ":
		value, _ := strconv.QuotedPrefix(`"` + after)
		return before + strings.TrimPrefix(`"`+after, value+" ")
	}
	if strings.HasPrefix(text, "flag needs an argument: ") {
		return text // its flag is known
	}
	text, _, _ = strings.Cut(text, ":")
	return text
}

func (f *flags) help(w io.Writer) {
	fmt.Fprintf(w, "Usage: %s\n\n%s\n", strings.TrimSpace(f.Name()+" "+f.operands), f.about)
	var defaults bytes.Buffer
	f.SetOutput(&defaults)
	f.PrintDefaults()
	if defaults.Len() > 0 {
		fmt.Fprintf(w, "\nFlags:\n%s", &defaults)
	}
	fmt.Fprintf(w, "\nExample:\n  %s\n", strings.TrimSpace(f.Name()+" "+f.example))
}

// text is a flag with a text. An empty one is refused: in a script it is a
// variable that is not set, and must not mean that nothing was given.
func (f *flags) text(to *string, name, usage string) {
	f.Func(name, usage, func(s string) error {
		if s == "" {
			return errors.New("it is empty")
		}
		*to = s
		return nil
	})
}

// texts is a flag with a text that may be given more than once.
func (f *flags) texts(to *[]string, name, usage string) {
	f.Func(name, usage, func(s string) error {
		if s == "" {
			return errors.New("it is empty")
		}
		*to = append(*to, s)
		return nil
	})
}

// optional is a flag that is true, false or not given.
func (f *flags) optional(to **bool, name, usage string) {
	f.BoolFunc(name, usage+" (=true or =false; left out if not given)", func(s string) error {
		b, err := strconv.ParseBool(s)
		if err != nil {
			return errors.New("want true or false")
		}
		*to = &b
		return nil
	})
}

// secret is a flag with the name of a file that holds a secret. Arguments are
// no place for one: every process of the machine can see them.
func (f *flags) secret(to *mdmcmd.Secret, name, usage string, line bool) {
	f.Func(name, "`FILE` with "+usage+"; \"-\" is standard input", func(path string) error {
		f.secrets = append(f.secrets, secretFile{name, path, line, to})
		return nil
	})
}

// readSecrets reads the files of all secrets.
func (f *flags) readSecrets(c *console) error {
	for _, s := range f.secrets {
		content, err := c.read(s.path)
		if err != nil {
			return fmt.Errorf("read -%s: %w", s.flag, err)
		}
		if s.line {
			content = bytes.TrimSuffix(bytes.TrimSuffix(content, []byte("\n")), []byte("\r"))
		}
		if len(content) == 0 {
			return fmt.Errorf("read -%s: the file is empty", s.flag)
		}
		*s.to = mdmcmd.NewSecret(content)
	}
	return nil
}
