package bypass_test

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/activationlock/sdk/activationlock"
	"github.com/activationlock/sdk/activationlock/apple"
	"github.com/activationlock/sdk/activationlock/bypass"
	"github.com/activationlock/sdk/activationlock/memstore"
	"github.com/activationlock/sdk/bypasscode"
	"github.com/activationlock/sdk/bypasscode/audit"
	"github.com/activationlock/sdk/bypasscode/escrow"
	"github.com/activationlock/sdk/bypasscode/seal"
)

// refusesOnce is a host's HTTP client, here with an Apple that refuses the first
// code.
type refusesOnce struct{ calls int }

func (c *refusesOnce) Do(r *http.Request) (*http.Response, error) {
	c.calls++
	fmt.Println(r.Method, r.URL.Host, r.URL.Query().Get("serial"))
	if c.calls == 1 {
		return &http.Response{StatusCode: http.StatusNotFound, Body: http.NoBody}, nil
	}
	return &http.Response{StatusCode: http.StatusOK, Body: http.NoBody}, nil
}

// exampleServer returns what a host has: an escrow with the codes of some devices,
// two each, and a Bypass. A host's stores are in its database (package sqlstore),
// and its clock is the machine's.
func exampleServer(serials ...string) (*bypass.Bypass, *escrow.Escrow, error) {
	now := time.Date(2026, 7, 1, 9, 0, 0, 0, time.UTC)
	stores := memstore.New()
	key, err := seal.GenerateKey(seal.X25519)
	if err != nil {
		return nil, nil, err
	}
	ring, err := seal.NewKeyring([]seal.PublicKey{key.Public()}, key)
	if err != nil {
		return nil, nil, err
	}
	log, err := audit.New(audit.Config{Store: stores.Audit()})
	if err != nil {
		return nil, nil, err
	}
	codes, err := escrow.New(escrow.Config{Store: stores.Escrow(), Sealer: ring, Audit: log})
	if err != nil {
		return nil, nil, err
	}
	for _, serial := range serials {
		for days := range 2 {
			_, err = codes.Capture(context.Background(), escrow.Capture{
				Subject: escrow.Subject{SerialNumber: serial}, Kind: bypasscode.Device, Text: bypasscode.NewText(bypasscode.New().Reveal()),
				Cause: escrow.CauseSchedule, ReceivedAt: now.AddDate(0, -1, days), Device: escrow.Device{ProductType: "iPad13,18"},
			})
			if err != nil {
				return nil, nil, err
			}
		}
	}
	bypasses, err := bypass.New(bypass.Config{
		Store: stores.Actions(), Escrow: codes, Audit: log, Organization: "Example School", Clock: func() time.Time { return now },
		Pause: func(_ context.Context, d time.Duration) error { now = now.Add(d); return nil },
	})
	return bypasses, codes, err
}

// A pupil returned an iPad that is still locked.
func Example() {
	ctx := context.Background()
	bypasses, codes, err := exampleServer("XXFAKE0SER1")
	if err != nil {
		panic(err)
	}
	subject := escrow.Subject{SerialNumber: "XXFAKE0SER1"}
	action, warning, err := bypasses.Start(ctx, bypass.Start{
		ID: "ticket-17", Subject: subject,
		Act:    escrow.Act{Actor: "jane@example.org", Reason: "returned by a pupil"},
		InHand: true,                                                 // as Jane states
		Lock:   activationlock.Lock{Kind: activationlock.UserLinked}, // see activationlock.Derive
	})
	if err != nil {
		panic(err)
	}
	fmt.Println(warning.Label(activationlock.English))

	action, err = bypasses.Run(ctx, action.ID, &refusesOnce{})
	if err != nil {
		panic(err)
	}
	fmt.Println(action.State.Label(activationlock.English))

	records, err := codes.Records(ctx, subject)
	if err != nil {
		panic(err)
	}
	for _, r := range records {
		fmt.Println("a code of", r.LastSeen.Format(time.DateOnly), r.State)
	}

	// Two days later Apple's status says something.
	evidence := []activationlock.Evidence{{State: activationlock.Off, Source: activationlock.SourceApple, At: action.EndedAt.AddDate(0, 0, 2)}}
	fmt.Println(action.Aftermath(evidence).Label(activationlock.English))
	// Output:
	// Once the lock is removed, the device locks itself again as soon as Find My is opened. Erase it then at once, or have Find My turned off.
	// POST deviceservices-external.apple.com XXFAKE0SER1
	// POST deviceservices-external.apple.com XXFAKE0SER1
	// Done
	// a code of 2026-06-02 current
	// a code of 2026-06-01 worked
	// verified: the lock is off
}

// A host that sends requests in its own way asks for them one by one.
func ExampleBypass_Next() {
	ctx := context.Background()
	bypasses, _, err := exampleServer("XXFAKE0SER1")
	if err != nil {
		panic(err)
	}
	action, _, err := bypasses.Start(ctx, bypass.Start{
		Subject: escrow.Subject{SerialNumber: "XXFAKE0SER1"}, InHand: true,
		Act: escrow.Act{Actor: "jane@example.org", Reason: "returned by a pupil"},
	})
	if err != nil {
		panic(err)
	}
	client := &refusesOnce{}
	for {
		call, now, err := bypasses.Next(ctx, action.ID)
		if err != nil {
			panic(err)
		}
		if call == nil { // it is over, or waits until now.NextAt
			fmt.Println(now.State)
			break
		}
		answer := apple.ReadUnlock(client.Do(call.Request))
		if _, err := bypasses.Answer(ctx, call, answer); err != nil {
			panic(err)
		}
		fmt.Println(answer.Outcome)
	}
	// Output:
	// POST deviceservices-external.apple.com XXFAKE0SER1
	// not found
	// POST deviceservices-external.apple.com XXFAKE0SER1
	// done
	// done
}

// The day when a school's devices come back.
func ExampleBypass_Bulk() {
	ctx := context.Background()
	bypasses, _, err := exampleServer("XXFAKE0SER1", "XXFAKE0SER2")
	if err != nil {
		panic(err)
	}
	run := bypass.Bulk{ID: "summer-2026", DryRun: true}
	for _, serial := range []string{"XXFAKE0SER1", "XXFAKE0SER2", "XXFAKE0SER3"} {
		run.Starts = append(run.Starts, bypass.Start{
			Subject: escrow.Subject{SerialNumber: serial}, InHand: true,
			Act: escrow.Act{Actor: "jane@example.org", Reason: "end of the year"},
		})
	}
	report, err := bypasses.Bulk(ctx, run, nil)
	if err != nil {
		panic(err)
	}
	fmt.Println(report.Count(bypass.Pending), "would be tried,", report.Count(bypass.Failed), "cannot be")

	run.DryRun = false
	run.Progress = func(over, total int, a bypass.Action) {
		fmt.Println(over, "of", total, a.Subject.SerialNumber, a.State)
	}
	report, err = bypasses.Bulk(ctx, run, &refusesOnce{}) // again with the same ID if it is stopped
	if err != nil {
		panic(err)
	}
	var file strings.Builder
	if err := report.WriteCSV(&file, activationlock.Dutch); err != nil {
		panic(err)
	}
	fmt.Fprint(os.Stdout, strings.ReplaceAll(file.String(), "\r\n", "\n"))
	// Output:
	// 2 would be tried, 1 cannot be
	// 1 of 3 XXFAKE0SER3 failed
	// POST deviceservices-external.apple.com XXFAKE0SER1
	// POST deviceservices-external.apple.com XXFAKE0SER2
	// 2 of 3 XXFAKE0SER2 done
	// POST deviceservices-external.apple.com XXFAKE0SER1
	// 3 of 3 XXFAKE0SER1 done
	// serial_number,enrollment_id,state,reason,codes,sent,status_code,started_at,ended_at,next_at,action_id
	// XXFAKE0SER1,,Gereed,,2,2,200,2026-07-01T09:00:00Z,2026-07-01T09:00:02Z,,summer-2026/XXFAKE0SER1
	// XXFAKE0SER2,,Gereed,,2,1,200,2026-07-01T09:00:00Z,2026-07-01T09:00:01Z,,summer-2026/XXFAKE0SER2
	// XXFAKE0SER3,,Mislukt,Van dit apparaat is geen bypass-code bewaard.,0,0,,2026-07-01T09:00:00Z,2026-07-01T09:00:00Z,,summer-2026/XXFAKE0SER3
}

// The order in which codes are tried when the device's own status does not say
// which kind of lock it is.
func ExamplePlan() {
	day := func(n int) time.Time { return time.Date(2026, 6, n, 0, 0, 0, 0, time.UTC) }
	codes := []escrow.Record{
		{ID: "first", Kind: bypasscode.Device, State: escrow.Superseded, LastSeen: day(1)},
		{ID: "second", Kind: bypasscode.Device, State: escrow.Current, LastSeen: day(2)},
		{ID: "of the server", Kind: bypasscode.Server, State: escrow.MaybeActive, LastSeen: day(1), StateSince: day(3)},
		{ID: "void", Kind: bypasscode.Server, State: escrow.Void, LastSeen: day(4)},
	}
	for _, c := range bypass.Plan(codes, activationlock.Lock{State: activationlock.On}) {
		fmt.Println(c.ID)
	}
	// Output:
	// of the server
	// second
	// first
	// void
}

// The device turned up in its user's hands: nothing more shall be sent.
func ExampleBypass_Cancel() {
	ctx := context.Background()
	bypasses, _, err := exampleServer("XXFAKE0SER1")
	if err != nil {
		panic(err)
	}
	action, _, err := bypasses.Start(ctx, bypass.Start{
		Subject: escrow.Subject{SerialNumber: "XXFAKE0SER1"}, InHand: true,
		Act: escrow.Act{Actor: "jane@example.org", Reason: "returned by a pupil"},
	})
	if err != nil {
		panic(err)
	}
	action, err = bypasses.Cancel(ctx, action.ID, escrow.Act{Actor: "jane@example.org", Reason: "its user came and signed out"})
	if err != nil {
		panic(err)
	}
	call, _, err := bypasses.Next(ctx, action.ID)
	fmt.Println(action.State, call == nil, err)
	// Output:
	// canceled true <nil>
}
