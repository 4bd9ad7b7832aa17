package main

import (
	"errors"
	"slices"

	"github.com/activationlock/sdk/activationlock"
	"github.com/activationlock/sdk/bypasscode"
	"github.com/activationlock/sdk/bypasscode/escrow"
)

// language is a flag with the language of what is printed. Errors, warnings of
// the program and -h are in English.
func (f *flags) language(to *activationlock.Language) {
	*to = activationlock.English
	f.Func("language", "`LANGUAGE` of what is printed, en or nl; default en", func(s string) error {
		if !slices.Contains(activationlock.Languages(), activationlock.Language(s)) {
			return errors.New("want en or nl")
		}
		*to = activationlock.Language(s)
		return nil
	})
}

// in returns one of two texts that say the same.
func in(l activationlock.Language, english, dutch string) string {
	if l == activationlock.Dutch {
		return dutch
	}
	return english
}

// codeKind is the kind of a code in words.
func codeKind(k bypasscode.Kind, l activationlock.Language) string {
	if k == bypasscode.Device {
		return in(l, "device", "apparaat")
	}
	return printable(string(k)) // "server", in all languages
}

// codeState is the state of a code in words.
func codeState(r escrow.Record, l activationlock.Language) string {
	state := printable(string(r.State))
	if dutch, known := map[escrow.State]string{
		escrow.Current: "actueel", escrow.MaybeActive: "mogelijk actief", escrow.Worked: "heeft gewerkt", escrow.Superseded: "vervangen",
		escrow.Disputed: "betwist", escrow.Void: "ongeldig", escrow.Purged: "vernietigd",
	}[r.State]; known {
		state = in(l, state, dutch)
	}
	if !r.StaleSince.IsZero() {
		state += in(l, ", perhaps stale since ", ", mogelijk verouderd sinds ") + moment(r.StaleSince)
	}
	return state
}
