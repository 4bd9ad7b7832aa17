// Package mdmcmd writes the MDM commands and reads the device messages that
// concern Activation Lock.
//
// [Encode] makes a command's plist for the host's queue:
//
//	raw, err := mdmcmd.Encode(mdmcmd.NewUUID("example-"), mdmcmd.ActivationLockBypassCode)
//
// [Parse] reads a check-in or a report of the device; [Report.BypassCodeAnswer]
// says what a report tells of a bypass code. [Redact] takes the code out of a
// report, so that the host can store and forward it. [VerifySignature] reads
// the header Mdm-Signature, and [Check] is for hosts whose own plist parser
// has no limits.
//
// Everything that comes in is untrusted: messages are bounded in size and
// depth, errors never quote them, and unknown keys are tolerated. An absent
// key is never taken for false: optional booleans are pointers. Of a message's
// other secrets (unlock token, push magic, push token) nothing is kept.
//
// Sources: Apple's schemas (github.com/apple/device-management) and "Sending
// MDM commands to a device"; what is documented nowhere is marked "observed".
package mdmcmd
