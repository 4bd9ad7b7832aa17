package main

import (
	"crypto/sha256"
	"fmt"
	"strings"
	"time"
	"unicode"

	"github.com/activationlock/sdk/mdmcmd"
)

func runVerifySignature(c *console, args []string) error {
	f := newFlags("alctl verify-signature", "-header FILE -body FILE", `Verifies that the value of the header Mdm-Signature signs exactly the bytes of a
message's body, and prints whose certificate it names. The certificate's chain
and dates are not verified: that takes the authority of your own devices.`, "-header mdm-signature.txt -body report.plist")
	var header, body string
	f.text(&header, "header", "`FILE` with the value of the header; \"-\" is standard input")
	f.text(&body, "body", "`FILE` with the body, which may be empty; \"-\" is standard input")
	if err := f.parse(c, args, 0); err != nil {
		return err
	}
	if header == "" || body == "" {
		return usageError("-header and -body are required")
	}
	signature, err := c.read(header)
	if err != nil {
		return fmt.Errorf("read -header: %w", err)
	}
	signed, err := c.read(body)
	if err != nil {
		return fmt.Errorf("read -body: %w", err)
	}
	signer, err := mdmcmd.VerifySignature(strings.TrimSpace(string(signature)), signed)
	if err != nil {
		return err
	}
	fmt.Fprintf(&c.out, `The signature is over this body.

signer         %s
serial number  %X
issuer         %s
not before     %s
not after      %s
sha-256        %x

The chain is unverified: anybody can make a certificate that says this.
`, printable(signer.Subject.String()), signer.SerialNumber, printable(signer.Issuer.String()),
		signer.NotBefore.UTC().Format(time.RFC3339), signer.NotAfter.UTC().Format(time.RFC3339), sha256.Sum256(signer.Raw))
	return nil
}

// printable keeps a stranger's text from adding lines of its own, or commands
// for the terminal.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return unicode.ReplacementChar
		}
		return r
	}, s)
}
