package main

import (
	"errors"
	"strings"

	"github.com/activationlock/sdk/mdmcmd"
)

// mdmCommand is a command of package mdmcmd with its flags.
type mdmCommand struct {
	mdmcmd.Command // its name, availability and access right
	about          string
	example        string
	// flags defines the flags. What it returns is called after they are read,
	// and makes the command. Nil: a command without keys.
	flags func(f *flags) func() (mdmcmd.Command, error)
}

var mdmCommands = []mdmCommand{
	{mdmcmd.ActivationLockBypassCode,
		"Asks for the bypass code that the device made, which it gives for 15 days after\nits supervision began.", "", nil},
	{mdmcmd.ClearActivationLockBypassCode,
		"Removes the code from the device. It does not lift a lock, and a server that\nkeeps codes has no need of it.", "", nil},
	{mdmcmd.DeviceInformation{}, "Asks for facts, by name or by a default list.",
		"-queries UDID,SerialNumber,IsActivationLockEnabled", deviceInformation},
	{mdmcmd.SecurityInfo,
		"Asks for the security state. A Mac's answer says whether the server may manage\nActivation Lock.", "", nil},
	{mdmcmd.Settings{}, "Sets MDM options. Name every option that must hold: whether a device resets the\nones left out is not documented.",
		"-activation-lock-allowed-while-supervised", settings},
	{mdmcmd.EraseDevice{}, "Erases a device at once and without asking. Activation Lock stays on: a locked\ndevice asks for its owner or the bypass code afterwards.",
		"-preserve-data-plan -return-to-service -wifi-profile-data-file wifi.mobileconfig", eraseDevice},
	{mdmcmd.EnableLostMode{}, "Puts a device in Managed Lost Mode. -message or -phone-number is required.",
		`-message "Please call" -phone-number "+31 20 000 0000"`, enableLostMode},
	{mdmcmd.DisableLostMode, "Ends Managed Lost Mode.", "", nil},
	{mdmcmd.DeviceLocation, "Asks where a device in Managed Lost Mode is.", "", nil},
	{mdmcmd.PlayLostModeSound, "Makes a device in Managed Lost Mode play a sound.", "", nil},
	{mdmcmd.DeviceLock{}, "Locks the screen, or restarts a Mac into a PIN lock. That has nothing to do with\nActivation Lock.",
		`-message "Please call" -pin-file pin.txt`, deviceLock},
	{mdmcmd.ClearPasscode{}, "Removes the passcode of a device. -unlock-token-file is required.",
		"-unlock-token-file unlock-token.bin", clearPasscode},
	{mdmcmd.RemoveProfile{}, "Removes a profile that the server installed. -identifier is required. Without its\nenrollment profile a device is no longer managed.",
		"-identifier com.example.mdm", removeProfile},
	{mdmcmd.DeviceConfigured, "Lets Setup Assistant go on after await_device_configured.", "", nil},
}

func runCommand(c *console, args []string) error {
	var table []program
	for _, m := range mdmCommands {
		table = append(table, program{name: m.RequestType(), run: m.run})
	}
	return c.dispatch("alctl command", args, table, listCommands)
}

func (m mdmCommand) run(c *console, args []string) error {
	name := m.RequestType()
	f := newFlags("alctl command "+name, "[flags]", m.about+"\n\n"+requirements(m), m.example)
	var uuid string
	f.text(&uuid, "uuid", "the command's `UUID`, which comes back in the device's report (default random)")
	build := func() (mdmcmd.Command, error) { return m.Command, nil }
	if m.flags != nil {
		build = m.flags(f)
	}
	if err := f.parse(c, args, 0); err != nil {
		return err
	}
	if err := f.readSecrets(c); err != nil {
		return err
	}
	command, err := build()
	if err != nil {
		return err
	}
	if uuid == "" {
		uuid = mdmcmd.NewUUID("")
	}
	raw, err := mdmcmd.Encode(uuid, command)
	if err != nil {
		return err
	}
	c.out.Write(raw)
	return nil
}

func deviceInformation(f *flags) func() (mdmcmd.Command, error) {
	var c mdmcmd.DeviceInformation
	f.Func("queries", "`NAMES` of facts, with commas between", func(s string) error {
		for name := range strings.SplitSeq(s, ",") {
			if name = strings.TrimSpace(name); name == "" {
				return errors.New("a name is empty")
			}
			c.Queries = append(c.Queries, mdmcmd.Query(name))
		}
		return nil
	})
	var platform mdmcmd.Platform
	f.Func("platform", "ask what is worth asking a device of this `PLATFORM`: iOS, macOS, tvOS, watchOS, visionOS", func(s string) error {
		switch platform = mdmcmd.Platform(s); platform {
		case mdmcmd.IOS, mdmcmd.MacOS, mdmcmd.TvOS, mdmcmd.WatchOS, mdmcmd.VisionOS:
			return nil
		}
		return errors.New("unknown platform")
	})
	return func() (mdmcmd.Command, error) {
		if (len(c.Queries) == 0) == (platform == "") {
			return nil, usageError("exactly one of -queries and -platform is required")
		}
		if platform != "" {
			c.Queries = mdmcmd.DefaultQueries(platform)
		}
		return c, nil
	}
}

func settings(f *flags) func() (mdmcmd.Command, error) {
	var c mdmcmd.Settings
	o := &c.MDMOptions
	f.optional(&o.ActivationLockAllowedWhileSupervised, "activation-lock-allowed-while-supervised",
		"let a supervised device turn Activation Lock on with Find My")
	f.optional(&o.BootstrapTokenAllowed, "bootstrap-token-allowed", "macOS 10.15, deprecated in 11")
	f.optional(&o.PromptUserToAllowBootstrapTokenForAuthentication, "prompt-user-to-allow-bootstrap-token-for-authentication",
		"macOS 11 on Apple silicon")
	f.optional(&o.IdleRebootAllowed, "idle-reboot-allowed", "iOS 18.4")
	return func() (mdmcmd.Command, error) {
		if o.IsZero() {
			return nil, usageError("an option is required")
		}
		return c, nil
	}
}

func eraseDevice(f *flags) func() (mdmcmd.Command, error) {
	var c mdmcmd.EraseDevice
	f.optional(&c.PreserveDataPlan, "preserve-data-plan", "keep the eSIM plan; iOS 11.0")
	f.optional(&c.DisallowProximitySetup, "disallow-proximity-setup", "no setup by a device nearby; iOS 11.3, not on a Shared iPad")
	f.secret(&c.PIN, "pin-file", "a PIN of six characters, for Macs that want one", true)
	f.Func("obliteration-behavior", "`BEHAVIOR` of a Mac that cannot erase gently: Default, DoNotObliterate, ObliterateWithWarning, Always",
		func(s string) error {
			switch c.ObliterationBehavior = mdmcmd.ObliterationBehavior(s); c.ObliterationBehavior {
			case mdmcmd.ObliterationDefault, mdmcmd.DoNotObliterate, mdmcmd.ObliterateWithWarning, mdmcmd.ObliterateAlways:
				return nil
			}
			return errors.New("unknown behavior")
		})
	var enabled *bool
	var r mdmcmd.ReturnToServiceOptions
	f.optional(&enabled, "return-to-service", "enroll again by itself; iOS 17.0, tvOS 18.0, visionOS 26.0")
	f.secret(&r.WiFiProfileData, "wifi-profile-data-file", "the Wi-Fi profile for -return-to-service", false)
	f.secret(&r.MDMProfileData, "mdm-profile-data-file", "the enrollment profile for -return-to-service", false)
	f.secret(&r.BootstrapToken, "bootstrap-token-file", "the bootstrap token for -return-to-service", false)
	f.optional(&r.ShouldRetryEnrollment, "should-retry-enrollment", "for -return-to-service; iOS 27.0")
	return func() (mdmcmd.Command, error) {
		switch {
		case enabled != nil:
			r.Enabled = *enabled
			c.ReturnToService = &r
		case !r.WiFiProfileData.IsZero() || !r.MDMProfileData.IsZero() || !r.BootstrapToken.IsZero() || r.ShouldRetryEnrollment != nil:
			return nil, usageError("a flag is given that belongs to -return-to-service")
		}
		return c, nil
	}
}

func enableLostMode(f *flags) func() (mdmcmd.Command, error) {
	var c mdmcmd.EnableLostMode
	f.text(&c.Message, "message", "`TEXT` on the locked screen")
	f.text(&c.PhoneNumber, "phone-number", "`NUMBER` on the locked screen")
	f.text(&c.Footnote, "footnote", "small `TEXT` on the locked screen")
	return func() (mdmcmd.Command, error) {
		if c.Message == "" && c.PhoneNumber == "" {
			return nil, usageError("-message or -phone-number is required")
		}
		return c, nil
	}
}

func deviceLock(f *flags) func() (mdmcmd.Command, error) {
	var c mdmcmd.DeviceLock
	f.text(&c.Message, "message", "`TEXT` on the locked screen")
	f.text(&c.PhoneNumber, "phone-number", "`NUMBER` on the locked screen")
	f.secret(&c.PIN, "pin-file", "a PIN of six characters, for Macs", true)
	return func() (mdmcmd.Command, error) { return c, nil }
}

func clearPasscode(f *flags) func() (mdmcmd.Command, error) {
	var c mdmcmd.ClearPasscode
	f.secret(&c.UnlockToken, "unlock-token-file", "the unlock token of the device's TokenUpdate, as raw bytes", false)
	return func() (mdmcmd.Command, error) {
		if c.UnlockToken.IsZero() {
			return nil, usageError("-unlock-token-file is required")
		}
		return c, nil
	}
}

func removeProfile(f *flags) func() (mdmcmd.Command, error) {
	var c mdmcmd.RemoveProfile
	f.text(&c.Identifier, "identifier", "the profile's `IDENTIFIER`")
	return func() (mdmcmd.Command, error) {
		if c.Identifier == "" {
			return nil, usageError("-identifier is required")
		}
		return c, nil
	}
}
