package main

import "github.com/activationlock/sdk/mdmcmd"

func runRedact(c *console, args []string) error {
	f := newFlags("alctl redact", "[FILE|-]", `Copies a message from a file or standard input to standard output, with the text
of the bypass code replaced and every other byte as it was. Other secrets stay:
"alctl decode" leaves those out too. What cannot be read is not copied at all.`, "report.plist >report-to-share.plist")
	if err := f.parse(c, args, 1); err != nil {
		return err
	}
	raw, err := c.readMessage(f.Args())
	if err != nil {
		return err
	}
	redacted, err := mdmcmd.Redact(raw)
	if err != nil {
		return err
	}
	c.out.Write(redacted)
	return nil
}
