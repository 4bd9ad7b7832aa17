package main

import (
	"errors"

	"github.com/activationlock/sdk/activationlock"
	"github.com/activationlock/sdk/examples/internal/operator"
)

// device adds the flags with what is known of a device.
func (f *flags) device(d *activationlock.Device) {
	f.text(&d.ProductName, "product", "model `IDENTIFIER` of the device, such as iPhone17,3")
	f.text(&d.OSVersion, "os", "`VERSION` of its system, such as 26.1")
	f.yesNo(&d.Supervised, "supervised", "whether it is supervised")
	f.optional(&d.SharedIPad, "shared-ipad", "whether it is a Shared iPad")
}

// kind is a flag with the kind of a lock.
func (f *flags) kind(to *activationlock.LockKind) {
	f.Func("kind", "`KIND` of the lock, user (Find My) or organization; unknown if not given", func(s string) error {
		switch kind := activationlock.LockKind(s); kind {
		case activationlock.UserLinked, activationlock.OrganizationLinked:
			*to = kind
			return nil
		}
		return errors.New("want user or organization")
	})
}

// yesNo is a flag that is yes, no or not given.
func (f *flags) yesNo(to **bool, name, usage string) {
	f.Func(name, usage+", `yes|no`; unknown if not given", func(s string) error {
		if s != "yes" && s != "no" {
			return errors.New("want yes or no")
		}
		*to = new(s == "yes")
		return nil
	})
}

// noCodes refuses what is printed or stored, and would be in the clear then.
func noCodes(texts ...string) error {
	for _, text := range texts {
		if operator.HoldsCode(text) {
			return usageError("a flag that is not for codes holds one")
		}
	}
	return nil
}
