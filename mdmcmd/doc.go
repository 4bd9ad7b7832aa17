// Package mdmcmd writes the MDM commands and reads the device messages that
// concern Activation Lock.
//
// Commands go out. [Encode] makes a command's plist for the host's queue, and
// refuses one that lacks a required key:
//
//	raw, err := mdmcmd.Encode(mdmcmd.NewUUID("example-"), mdmcmd.ActivationLockBypassCode)
//
// Every [Command] says where it works (Availability) and which right of the
// management profile it needs (AccessRight):
//   - the bypass code: [ActivationLockBypassCode], [ClearActivationLockBypassCode]
//   - facts: [DeviceInformation] with [DefaultQueries], [SecurityInfo]
//   - whether the lock may be turned on: [Settings] with [MDMOptions]
//   - a lost device: [EnableLostMode], [DisableLostMode], [DeviceLocation], [PlayLostModeSound], [DeviceLock]
//   - the end, or a new beginning: [ClearPasscode], [EraseDevice], [RemoveProfile], [DeviceConfigured]
//
// Messages come in. [Parse] reads a check-in ([Authenticate], [TokenUpdate],
// [CheckOut], [ReturnToService]) or a [Report], which holds the typed answer to
// its command. [Report.BypassCodeAnswer] says what a report tells of a bypass
// code, [Report.SettingsStatus] whether an option was taken, and
// [ErrorChain.Class] what an error means as far as that is known. [Check] is
// for hosts whose own plist parser has no limits.
//
// Everything that comes in is untrusted: messages are bounded in size and
// depth, errors never quote them, and unknown keys are tolerated. An absent
// key is never taken for false: optional booleans are pointers.
// [VerifySignature] reads the header Mdm-Signature; without it, or mutual TLS,
// an identifier in a message is only a claim.
//
// Secrets stay secret. The code is a [bypasscode.Text], and what a command
// carries (a PIN, an unlock token, a profile) a [Secret]: both print as
// "[redacted]", and encoding them is an error. Of a message's other secrets
// (unlock token, push magic, push token) nothing is kept. [Redact] takes the
// code out of a report, so that the host can store and forward it.
//
// What not to do:
//   - Don't let the lock be turned on before the code is stored; an empty or
//     missing code is no reason to forget the one you have.
//   - Don't store or log a raw report before Redact, nor an encoded command
//     with a secret any longer than the queue needs it.
//   - Don't take [EraseDevice] for an unlock: it turns no lock off.
//   - Don't decide by the texts of a device's errors; they are for people.
//   - Don't trust a certificate from VerifySignature before its chain is verified
//     and it is bound to the enrollment.
//
// Sources: Apple's schemas (github.com/apple/device-management) and "Sending
// MDM commands to a device"; what is documented nowhere is marked "observed".
package mdmcmd
