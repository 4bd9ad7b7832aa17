// Package activationlock knows the truth about a device's Activation Lock, as
// far as anybody can, and what may be done with the device.
//
//   - What was said of the lock: no single source tells whether it is on, and the
//     device's own answer can be wrong both ways, says Apple. [Evidence] keeps each
//     word with its source and time; [OfUnlock], [OfLock] and [OfStatus] make it of
//     Apple's answers, and [Derive] makes a [Lock] of all of it: on, off or unknown,
//     with how sure that is and who says otherwise. [OfCode] says what became of
//     the code of a lock call.
//   - What the device can do: [Device.Can] answers for each [Ability], with the
//     reasons.
//   - Both, with the codes that are held, are a [Situation]. [StatusOf] gives the
//     one value that a report shows; [Situation.CanErase], [Situation.CanReassign]
//     and [Situation.ReturnToService] answer before it is too late. Ask them before
//     every erase: unknown is never yes.
//   - What a person has to do: [ManualEntry] says how to type a code on the device.
//
// Everything that is shown has a label in each [Language].
//
// All functions here are pure: they depend on their arguments only, and change
// nothing.
package activationlock
