package main

import (
	"strings"
	"text/tabwriter"
	"time"
)

// moment prints a time, "-" for none.
func moment(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.UTC().Format(time.RFC3339)
}

// facts prints names and what belongs to them, in two columns.
func (c *console) facts(pairs ...string) {
	columns := tabwriter.NewWriter(&c.out, 0, 0, 2, ' ', 0)
	for i := 0; i < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			columns.Write([]byte(pairs[i] + "\t" + printable(pairs[i+1]) + "\n"))
		}
	}
	columns.Flush()
}

// sentences prints lines below one that names them.
func (c *console) sentences(name string, all []string) {
	if len(all) > 0 {
		c.out.WriteString("\n" + name + "\n  " + strings.Join(all, "\n  ") + "\n")
	}
}

// ifAny prints a time, nothing for none.
func ifAny(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return moment(t)
}

func words(all ...string) (some []string) {
	for _, s := range all {
		if s != "" {
			some = append(some, s)
		}
	}
	return some
}

// word is a text as a shell takes it for one word.
func word(s string) string {
	s = printable(s)
	plain := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("-_./@", r)
	}
	if strings.ContainsFunc(s, func(r rune) bool { return !plain(r) }) {
		return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
	}
	return s
}
