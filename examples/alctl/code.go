package main

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/activationlock/sdk/bypasscode"
)

var codePrograms = []program{
	{"new", "make a code", runCodeNew},
	{"show", "read a code and show all its forms", runCodeShow},
}

func runCode(c *console, args []string) error {
	return c.dispatch("alctl code", args, codePrograms, func(w io.Writer) {
		fmt.Fprint(w, "Usage: alctl code COMMAND [flags]\n\nCommands:\n")
		listPrograms(w, codePrograms)
		fmt.Fprint(w, "\nExample:\n  alctl code new\n")
	})
}

func runCodeNew(c *console, args []string) error {
	f := newFlags("alctl code new", "[-json]", `Makes a bypass code from 16 random bytes and prints it. Keep it before its hash
goes to Apple: the hash locks a device, and only the code opens it again.`, "-json")
	asJSON := f.Bool("json", false, "print an object with raw, code and hash")
	if err := f.parse(c, args, 0); err != nil {
		return err
	}
	code := bypasscode.New()
	if *asJSON {
		return printCode(c, code, true)
	}
	fmt.Fprintln(&c.out, code.Reveal())
	return nil
}

func runCodeShow(c *console, args []string) error {
	f := newFlags("alctl code show", "[-raw HEX | -code TEXT] [-lookalikes] [-json]", `Reads a code and prints its canonical text, its 16 raw bytes and its hash. Case,
spaces and dashes of a text do not matter. Without -raw and -code, one line with
the text of a code is read from standard input: unlike an argument, no other
process sees it.`, "-code 3UM43-PUYVY-QYD1-UVCC-HEHJ-FKA4")
	var raw, text string
	f.text(&raw, "raw", "the 16 raw bytes of a code, 32 digits of `HEX`")
	f.text(&text, "code", "the `TEXT` of a code, as people type it")
	lookalikes := f.Bool("lookalikes", false, "read the letters O, I, S and B of a text as 0, 1, 5 and 8")
	asJSON := f.Bool("json", false, "print an object with raw, code and hash")
	if err := f.parse(c, args, 0); err != nil {
		return err
	}
	switch {
	case raw != "" && text != "":
		return usageError("-raw and -code exclude each other")
	case raw != "" && *lookalikes:
		return usageError("-lookalikes is for a text")
	case raw != "":
		code, err := codeFromHex(raw)
		if err != nil {
			return err
		}
		return printCode(c, code, *asJSON)
	case text == "":
		var err error
		if text, err = readLine(c); err != nil {
			return fmt.Errorf("read the code: %w", err)
		}
	}
	code, err := bypasscode.ParseLenient(text, *lookalikes)
	if err != nil {
		return err
	}
	return printCode(c, code, *asJSON)
}

// codeFromHex has its own error: the one of package hex quotes its input.
func codeFromHex(s string) (bypasscode.Code, error) {
	raw, err := hex.DecodeString(s)
	if err != nil || len(raw) != bypasscode.Size {
		return bypasscode.Code{}, errors.New("a raw code has 32 hexadecimal digits")
	}
	return bypasscode.FromBytes(raw)
}

// readLine reads the one line of standard input.
func readLine(c *console) (string, error) {
	content, err := c.read("-")
	if err != nil {
		return "", err
	}
	line := strings.TrimRight(string(content), "\r\n")
	switch {
	case line == "":
		return "", errors.New("standard input is empty")
	case strings.ContainsAny(line, "\r\n"):
		return "", errors.New("standard input has more than one line")
	}
	return line, nil
}

func printCode(c *console, code bypasscode.Code, asJSON bool) error {
	hash, err := code.Hash()
	if err != nil {
		return err
	}
	bytes := code.RevealBytes()
	raw := hex.EncodeToString(bytes[:])
	if asJSON {
		return c.printJSON(struct {
			Raw  string          `json:"raw"`
			Code string          `json:"code"`
			Hash bypasscode.Hash `json:"hash"`
		}{raw, code.Reveal(), hash})
	}
	fmt.Fprintf(&c.out, "code  %s\nraw   %s\nhash  %s\n", code.Reveal(), raw, hash)
	return nil
}
