package activationlock_test

import (
	"fmt"
	"strings"
	"time"

	"github.com/activationlock/sdk/activationlock"
	"github.com/activationlock/sdk/activationlock/apple"
	"github.com/activationlock/sdk/bypasscode"
	"github.com/activationlock/sdk/bypasscode/escrow"
)

// The device does not see a lock that the server set at Apple.
func ExampleDerive() {
	at := time.Date(2026, time.November, 22, 9, 0, 0, 0, time.UTC)
	lock := activationlock.Derive([]activationlock.Evidence{
		{State: activationlock.On, Kind: activationlock.OrganizationLinked, Source: activationlock.SourceLockCall, At: at},
		{State: activationlock.Off, Source: activationlock.SourceDevice, At: at.Add(time.Hour)},
	})
	fmt.Println("The lock", lock.Kind.Label(activationlock.English), "is", lock.State.Label(activationlock.English))
	fmt.Println(lock.Confidence.Label(activationlock.English))
	for _, c := range lock.Conflicts {
		fmt.Println("-", c.Source.Label(activationlock.English), "says", c.State.Label(activationlock.English))
	}
	// Output:
	// The lock of the organization is on
	// doubted: another source says otherwise
	// - the device says off
}

func ExampleDevice_Can() {
	mac := activationlock.Device{ProductName: "Macmini7,1", OSVersion: "12.7", Supervised: new(true)}
	answer := mac.Can(activationlock.FetchCode)
	fmt.Println(answer.Verdict.Label(activationlock.English))
	fmt.Println(answer.Reasons[0].Label(activationlock.English))

	mac.LockSupported = new(false) // as it says when it is asked
	answer = mac.Can(activationlock.FetchCode)
	fmt.Println(answer.Verdict.Label(activationlock.English))
	fmt.Println(answer.Reasons[0].Label(activationlock.English))
	// Output:
	// unknown
	// It is not known whether this Mac has a T2 chip or Apple silicon; older Macs have no Activation Lock.
	// no
	// This device has no Activation Lock.
}

func ExampleSituation_CanErase() {
	now := time.Date(2026, time.November, 22, 9, 0, 0, 0, time.UTC)
	phone := activationlock.Situation{
		Device: activationlock.Device{ProductName: "iPhone17,3", OSVersion: "26.1", Supervised: new(true)},
		Lock: activationlock.Derive([]activationlock.Evidence{
			{State: activationlock.On, Kind: activationlock.UserLinked, Source: activationlock.SourceApple, At: now},
		}),
	}
	for _, codes := range [][]activationlock.HeldCode{nil, {{Kind: bypasscode.Device}}} {
		phone.Codes = codes
		answer := phone.CanErase(now)
		fmt.Println(answer.Yes(), answer.Reasons[0].Label(activationlock.English))
	}
	// Output:
	// false The lock is on and no code is held that opens it: after an erase nobody but the owner could activate the device.
	// true Remove the lock with the code that is held before you erase the device.
}

// Only what Apple says counts, since the device can be wrong.
func ExampleSituation_CanReassign() {
	now := time.Date(2026, time.November, 22, 9, 0, 0, 0, time.UTC)
	evidence := []activationlock.Evidence{{State: activationlock.Off, Source: activationlock.SourceDevice, At: now.Add(-time.Hour)}}
	phone := activationlock.Situation{
		Device: activationlock.Device{ProductName: "iPhone17,3", OSVersion: "26.1", Supervised: new(true)},
		Lock:   activationlock.Derive(evidence),
	}
	answer := phone.CanReassign(now)
	fmt.Println(answer.Verdict.Label(activationlock.Dutch), answer.Reasons)

	evidence = append(evidence, activationlock.Evidence{State: activationlock.Off, Source: activationlock.SourceApple, At: now})
	phone.Lock = activationlock.Derive(evidence)
	answer = phone.CanReassign(now)
	fmt.Println(answer.Verdict.Label(activationlock.Dutch), answer.Reasons)
	// Output:
	// onbekend [onlyDeviceSays]
	// ja [lockOff]
}

func ExampleSituation_ReturnToService() {
	now := time.Date(2026, time.November, 22, 9, 0, 0, 0, time.UTC)
	phone := activationlock.Situation{
		Device: activationlock.Device{ProductName: "iPhone17,3", OSVersion: "26.1", Supervised: new(true)},
		Lock: activationlock.Derive([]activationlock.Evidence{
			{State: activationlock.On, Kind: activationlock.UserLinked, Source: activationlock.SourceApple, At: now},
		}),
		Codes: []activationlock.HeldCode{{Kind: bypasscode.Device}},
	}
	steps, answer := phone.ReturnToService(now)
	fmt.Println(answer.Yes())
	for i, s := range steps {
		fmt.Printf("%d. %s\n", i+1, s.Label(activationlock.English))
	}
	// Output:
	// true
	// 1. Have Apple remove the lock with the code that is held.
	// 2. Erase the device at once, with Return to Service: the lock may come back while Find My is on.
}

func ExampleManualEntry() {
	mac := activationlock.Device{ProductName: "Mac14,2", OSVersion: "26.1", Supervised: new(true), LockSupported: new(true)}
	in := activationlock.ManualEntry(mac, activationlock.UserLinked, activationlock.English)
	for i, s := range in.Steps {
		fmt.Printf("%d. %s\n", i+1, s)
	}
	fmt.Println(in.Notes[1])

	code := bypasscode.NewText("J4DNT-6VT2Y-3LD8-1VV7-AT3U-LW17")
	fmt.Println(strings.Join(activationlock.RevealGroups(code), " "))
	// Output:
	// 1. Start the Mac in macOS Recovery.
	// 2. In the menu Recovery Assistant, choose Activate with MDM key.
	// 3. Type the code.
	// The lock is a person's: the code that the device made opens it, the server's does not.
	// J4DNT 6VT2Y 3LD8 1VV7 AT3U LW17
}

// The answer to the first call was lost, so that the second finds the device
// locked says nothing against the code: the lock may be ours.
func ExampleOfCode() {
	at := time.Date(2026, time.November, 22, 9, 0, 0, 0, time.UTC)
	answer := apple.LockAnswer{Answer: apple.Answer{Outcome: apple.AlreadyLocked, StatusCode: 200}}

	_, ok := activationlock.OfCode(escrow.Record{State: escrow.MaybeActive}, answer, at)
	fmt.Println("second call, to be marked:", ok)

	verdict, ok := activationlock.OfCode(escrow.Record{State: escrow.Current}, answer, at)
	fmt.Println("first call, to be marked:", ok, verdict.State)
	// Output:
	// second call, to be marked: false
	// first call, to be marked: true void
}

// The value of the report's column, of what is known of a device.
func ExampleStatusOf() {
	now := time.Date(2026, time.November, 22, 9, 0, 0, 0, time.UTC)
	phone := activationlock.Situation{
		Device: activationlock.Device{ProductName: "iPhone17,3", OSVersion: "26.1", Supervised: new(true)},
		Lock:   activationlock.Derive([]activationlock.Evidence{{State: activationlock.On, Source: activationlock.SourceDevice, At: now}}),
		Codes:  []activationlock.HeldCode{{Kind: bypasscode.Device}},
	}
	fmt.Println(activationlock.StatusOf(phone).Label(activationlock.English))
	// Output: Enabled with bypass code
}

// Apple removed a lock, and two days later its status says that it is on again.
func ExampleAfterUnlock() {
	removed := time.Date(2026, time.November, 22, 9, 0, 0, 0, time.UTC)
	off, ok := activationlock.OfUnlock(apple.Answer{Outcome: apple.Done, StatusCode: 200}, removed)
	fmt.Println(ok, off.State)
	evidence := []activationlock.Evidence{off}
	fmt.Println(activationlock.AfterUnlock(removed, evidence).Label(activationlock.English))

	on, ok := activationlock.OfStatus("XXFAKE0SER1", apple.StatusAnswer{
		Answer: apple.Answer{Outcome: apple.Done, StatusCode: 200}, SerialNumber: "XXFAKE0SER1", Locked: new(true), LockType: apple.LockUser,
	}, removed.AddDate(0, 0, 2))
	fmt.Println(ok, on.State)
	fmt.Println(activationlock.AfterUnlock(removed, append(evidence, on)).Label(activationlock.English))
	// Output:
	// true off
	// not verified yet
	// true on
	// locked again
}

// An answer that names another device says only that the call may have locked this one.
func ExampleOfLock() {
	at := time.Date(2026, time.November, 22, 9, 0, 0, 0, time.UTC)
	for _, named := range []string{"XXFAKE0SER1", "XXFAKE0SER2"} {
		e, ok := activationlock.OfLock("XXFAKE0SER1", apple.LockAnswer{Answer: apple.Answer{Outcome: apple.Done, StatusCode: 200}, SerialNumber: named}, at)
		fmt.Println(ok, e.State.Label(activationlock.English), e.Kind.Label(activationlock.English))
	}
	// Output:
	// true on of the organization
	// true unknown of unknown kind
}
