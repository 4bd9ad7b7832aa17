// Package activationlocktest plays the other two parties of Activation Lock, so
// that the tests of an MDM server need neither devices nor Apple.
//
// A [Device] is a simulated iPhone, iPad, Mac, Vision Pro, Apple TV or Watch. It
// reads commands and writes messages as XML property lists, by itself and not
// with the code that a server would read them with:
//
//	device, err := activationlocktest.NewDevice(activationlocktest.DeviceConfig{SerialNumber: "XXFAKE0SER1", Supervised: true})
//	messages, err := device.Enroll()          // Authenticate, TokenUpdate
//	messages, err = device.Answer(command)    // a report
//
// or [Device.Poll] talks to a server over HTTP. What people and fate do to it
// are methods too: [Device.Erase], [Device.SetFindMy], [Device.NotNow],
// [Device.Lose] and others.
//
// An [Apple] is an [http.Handler] for the three services: unlock, lock of the
// organization, and lock status. It keeps the true lock of each device that was
// added to it, where a server has beliefs: see [Apple.Lock]. [Apple.Start] serves
// it under Apple's own host names, so that requests need no other URLs.
// [Apple.Script] and [Apple.LimitRate] make it fail.
//
// What nobody outside Apple knows is a [Reading]: one field for each open
// question. Test with [Readings], or with [RandomReading], and a server does not
// depend on a guess.
//
// All that a device says is deterministic: the time comes from a clock and
// randomness from a reader, both of the caller. Devices and Apple are safe for
// use by several goroutines.
//
// What not to do:
//   - Don't import this package outside of tests: it plays, it protects nothing.
//   - Don't take its answers for Apple's where a [Reading] chooses, or where a
//     comment says "here".
//
// Source: Apple's schemas (github.com/apple/device-management) and "Creating and
// using bypass codes", as far as no other source is named.
package activationlocktest
