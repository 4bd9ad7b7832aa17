package main

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"math"
	"strings"

	"github.com/micromdm/plist"

	"github.com/activationlock/sdk/mdmcmd"
)

func runDecode(c *console, args []string) error {
	f := newFlags("alctl decode", "[-reveal] [FILE|-]", `Shows a device message or a command, an XML property list in a file or on
standard input, as JSON. The key "message" has all of it; "summary" has what the
library understands of a message, and only what is there: what a device does not
say is not false. Secrets are replaced by "[redacted]": the bypass code wherever
it stands, tokens, push magic, PINs, challenges, passwords and profiles.`, "report.plist")
	reveal := f.Bool("reveal", false, "show secrets, too")
	if err := f.parse(c, args, 1); err != nil {
		return err
	}
	raw, err := c.readMessage(f.Args())
	if err != nil {
		return err
	}
	if err := mdmcmd.Check(raw, maxInput); err != nil {
		return err
	}
	shown := raw
	if !*reveal {
		if shown, err = mdmcmd.Redact(raw); err != nil {
			return err
		}
	}
	message, err := readAny(shown)
	if err != nil {
		return err
	}
	if !*reveal {
		message = withoutSecrets(message)
	}
	return c.printJSON(struct {
		Message any      `json:"message"`
		Summary *summary `json:"summary,omitempty"`
	}{message, summarize(raw, shown)})
}

// readAny reads any list that mdmcmd.Check has accepted, as values that can be
// written as JSON. The parser has no limits of its own, and its errors quote.
func readAny(raw []byte) (any, error) {
	var v any
	if err := plist.NewXMLDecoder(bytes.NewReader(raw)).Decode(&v); err != nil {
		return nil, errors.New("a number, a date or data in the message is malformed")
	}
	return forJSON(v), nil
}

// forJSON replaces what JSON has no form for, or one that is unclear.
func forJSON(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for key, value := range v {
			v[key] = forJSON(value)
		}
	case []any:
		for i, value := range v {
			v[i] = forJSON(value)
		}
	case []byte:
		return base64.StdEncoding.EncodeToString(v) // "" if empty, not null
	case float64:
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return fmt.Sprint(v)
		}
	}
	return v
}

// withoutSecrets replaces the values of all keys that name a secret, of
// whatever type they are.
func withoutSecrets(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for key, value := range v {
			if isSecret(key) {
				v[key] = mdmcmd.Redacted
			} else {
				v[key] = withoutSecrets(value)
			}
		}
	case []any:
		for i, value := range v {
			v[i] = withoutSecrets(value)
		}
	}
	return v
}

// isSecret errs on the side of secrecy: UnlockToken, Token, BootstrapToken,
// Password, NewPassword and what else ends like them, in any case.
func isSecret(key string) bool {
	key = strings.ToLower(key)
	switch key {
	case "pushmagic", "challenge", "wifiprofiledata", "mdmprofiledata", "passwordhash",
		"tokendata", // a signed token for a watch
		"payload":   // of InstallProfile: profiles hold passwords
		return true
	}
	for _, end := range []string{"token", "password", "passcode", "pin", "psk", "secret", "recoverykey"} {
		if strings.HasSuffix(key, end) {
			return true
		}
	}
	return false
}
