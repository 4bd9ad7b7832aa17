package main

import (
	"fmt"

	"github.com/activationlock/sdk/activationlock"
)

func runInstructions(c *console, args []string) error {
	f := newFlags("alctl instructions", "-product IDENTIFIER -os VERSION [flags]", `Prints how to type a bypass code on a device, step by step, for whoever has it in
hand. It needs no store and no code, and prints none.`, "-product iPhone17,3 -os 26.1 -kind user -language nl")
	var d activationlock.Device
	var kind activationlock.LockKind
	var l activationlock.Language
	f.device(&d)
	f.kind(&kind)
	f.language(&l)
	if err := f.parse(c, args, 0); err != nil {
		return err
	}
	if d.ProductName == "" || d.OSVersion == "" {
		return usageError("-product and -os are required")
	}
	if err := noCodes(d.ProductName, d.OSVersion); err != nil {
		return err
	}
	entry := activationlock.ManualEntry(d, kind, l)
	switch can := d.Can(activationlock.TypeCode); {
	case can.Verdict == activationlock.No:
		fmt.Fprintln(&c.out, in(l, "No code can be typed on this device.", "Op dit apparaat kan geen code worden getypt."))
	case !entry.Documented && len(entry.Steps) == 0:
		fmt.Fprintln(&c.out, in(l, "It is not known whether a code can be typed on this device.", "Het is niet bekend of op dit apparaat een code kan worden getypt."))
	case !entry.Documented:
		fmt.Fprintln(&c.out, in(l, "Not documented: nobody published how to type a code on this device. What may help instead:",
			"Niet gedocumenteerd: nergens staat beschreven hoe u op dit apparaat een code typt. Wat in plaats daarvan kan helpen:"))
	}
	for i, step := range entry.Steps {
		fmt.Fprintf(&c.out, "%d. %s\n", i+1, step)
	}
	c.sentences(in(l, "Notes:", "Opmerkingen:"), entry.Notes)
	return nil
}
