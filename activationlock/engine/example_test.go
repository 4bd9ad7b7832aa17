package engine_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/activationlock/sdk/activationlock"
	"github.com/activationlock/sdk/activationlock/engine"
	"github.com/activationlock/sdk/activationlock/memstore"
	"github.com/activationlock/sdk/bypasscode/audit"
	"github.com/activationlock/sdk/bypasscode/escrow"
	"github.com/activationlock/sdk/bypasscode/seal"
	"github.com/activationlock/sdk/inventory"
	"github.com/activationlock/sdk/mdmcmd"
)

// newEngine makes an engine that allows the lock once the code is safe.
func newEngine(onEvent func(context.Context, engine.Event)) (*engine.Engine, error) {
	stores := memstore.New()
	key, err := seal.GenerateKey(seal.X25519)
	if err != nil {
		return nil, err
	}
	keys, err := seal.NewKeyring([]seal.PublicKey{key.Public()}, key)
	if err != nil {
		return nil, err
	}
	codes, err := escrow.New(escrow.Config{Store: stores.Escrow(), Sealer: keys})
	if err != nil {
		return nil, err
	}
	return engine.New(engine.Config{
		Escrow:    codes,
		Inventory: stores.Inventory(),
		Policy:    engine.Policy{Options: mdmcmd.MDMOptions{ActivationLockAllowedWhileSupervised: new(true)}},
		OnEvent:   onEvent,
	})
}

func ExampleNew() {
	stores := memstore.New() // forgets everything: your own database in production
	key, err := seal.GenerateKey(seal.X25519)
	if err != nil {
		panic(err)
	}
	keys, err := seal.NewKeyring([]seal.PublicKey{key.Public()})
	if err != nil {
		panic(err)
	}
	codes, err := escrow.New(escrow.Config{Store: stores.Escrow(), Sealer: keys})
	if err != nil {
		panic(err)
	}
	_, err = engine.New(engine.Config{
		Escrow: codes, Inventory: stores.Inventory(),
		Policy: engine.Policy{Options: mdmcmd.MDMOptions{ActivationLockAllowedWhileSupervised: new(true)}},
	})
	fmt.Println(err)
	_, err = engine.New(engine.Config{})
	fmt.Println(err)
	// Output:
	// <nil>
	// engine: Config.Escrow is required
}

func ExampleEngine_HandleCheckin() {
	e, err := newEngine(nil)
	if err != nil {
		panic(err)
	}
	ctx, from := context.Background(), engine.Enrollment{ID: "UDID-1"}
	for _, body := range []string{
		`<plist><dict><key>MessageType</key><string>Authenticate</string><key>UDID</key><string>UDID-1</string><key>SerialNumber</key><string>XXFAKE0SER1</string></dict></plist>`,
		`<plist><dict><key>MessageType</key><string>TokenUpdate</string><key>UDID</key><string>UDID-1</string></dict></plist>`,
	} {
		out, err := e.HandleCheckin(ctx, from, []byte(body))
		if err != nil {
			panic(err)
		}
		for _, c := range out.Commands {
			fmt.Println("queue", c.RequestType)
		}
	}
	// Output: queue DeviceInformation
}

func ExampleEngine_HandleReport() {
	e, err := newEngine(func(_ context.Context, event engine.Event) {
		if event.Type == engine.CodeCaptured {
			fmt.Println("event:", event.Type)
		}
	})
	if err != nil {
		panic(err)
	}
	ctx, from := context.Background(), engine.Enrollment{ID: "UDID-1"}

	// The device has nothing to say, and the engine asks. Then it answers each
	// question, until there are none.
	body := []byte(`<plist><dict><key>Status</key><string>Idle</string><key>UDID</key><string>UDID-1</string></dict></plist>`)
	for {
		out, err := e.HandleReport(ctx, from, body)
		if err != nil {
			panic(err) // a host answers with HTTP 500
		}
		if len(out.Commands) == 0 {
			break
		}
		command := out.Commands[0]
		fmt.Println("queue", command.RequestType)
		answers := map[string]string{
			"DeviceInformation":        `<key>QueryResponses</key><dict><key>SerialNumber</key><string>XXFAKE0SER1</string><key>ProductName</key><string>iPhone17,3</string><key>OSVersion</key><string>26.1</string><key>IsSupervised</key><true/><key>IsActivationLockEnabled</key><true/></dict>`,
			"ActivationLockBypassCode": `<key>ActivationLockBypassCode</key><string>3UM43-PUYVY-QYD1-UVCC-HEHJ-FKA4</string>`,
		}
		body = []byte(`<plist><dict><key>Status</key><string>Acknowledged</string><key>UDID</key><string>UDID-1</string><key>CommandUUID</key><string>` +
			command.UUID + `</string>` + answers[command.RequestType] + `</dict></plist>`)
	}
	details, err := e.Device(ctx, "XXFAKE0SER1")
	if err != nil {
		panic(err)
	}
	fmt.Println(details.Status.Label(activationlock.English))
	// Output:
	// queue DeviceInformation
	// queue ActivationLockBypassCode
	// event: code captured
	// queue Settings
	// Enabled with bypass code
}

func ExampleEngine_Device() {
	c := newConfig()
	e, ctx := lockedIPhone(c), context.Background()
	d, err := e.Device(ctx, "XXFAKE0SER1")
	if err != nil {
		panic(err)
	}
	fmt.Println(d.Status.Label(activationlock.English))
	fmt.Println(len(d.Codes), "code, bypassed before:", d.LastBypass != nil)
	_, err = e.Device(ctx, "XXFAKE0SER9")
	fmt.Println(err)
	// Output:
	// Enabled with bypass code
	// 1 code, bypassed before: false
	// engine: device: inventory: not found
}

// newConfig is the whole configuration of an engine that can do everything but call
// Apple by itself.
func newConfig() engine.Config {
	stores := memstore.New()
	key, err := seal.GenerateKey(seal.X25519)
	if err != nil {
		panic(err)
	}
	keys, err := seal.NewKeyring([]seal.PublicKey{key.Public()}, key)
	if err != nil {
		panic(err)
	}
	acts, err := audit.New(audit.Config{Store: stores.Audit()})
	if err != nil {
		panic(err)
	}
	codes, err := escrow.New(escrow.Config{Store: stores.Escrow(), Sealer: keys, Audit: acts})
	if err != nil {
		panic(err)
	}
	return engine.Config{
		Escrow: codes, Inventory: stores.Inventory(), Audit: acts, Actions: stores.Actions(), Organization: "Example School",
	}
}

// lockedIPhone is an engine with a device UDID-1 whose lock is on and whose code is
// held.
func lockedIPhone(c engine.Config) *engine.Engine {
	c.NewUUID = numbered()
	e, err := engine.New(c)
	if err != nil {
		panic(err)
	}
	for _, said := range []string{ // with each of them it is asked the next thing
		`<key>Status</key><string>Idle</string>`,
		`<key>Status</key><string>Acknowledged</string><key>CommandUUID</key><string>activationlock-1</string><key>QueryResponses</key><dict><key>SerialNumber</key><string>XXFAKE0SER1</string><key>ProductName</key><string>iPhone17,3</string><key>OSVersion</key><string>26.1</string><key>IsSupervised</key><true/><key>IsActivationLockEnabled</key><true/><key>IsDeviceLocatorServiceEnabled</key><true/></dict>`,
		`<key>Status</key><string>Acknowledged</string><key>CommandUUID</key><string>activationlock-2</string><key>ActivationLockBypassCode</key><string>3UM43-PUYVY-QYD1-UVCC-HEHJ-FKA4</string>`,
	} {
		body := `<plist><dict><key>UDID</key><string>UDID-1</string>` + said + `</dict></plist>`
		if _, err := e.HandleReport(context.Background(), engine.Enrollment{ID: "UDID-1"}, []byte(body)); err != nil {
			panic(err)
		}
	}
	return e
}

// numbered makes UUIDs that are known before.
func numbered() func() string {
	n := 0
	return func() string { n++; return fmt.Sprint("activationlock-", n) }
}

func ExampleEngine_Adopt() {
	e, err := engine.New(newConfig())
	if err != nil {
		panic(err)
	}
	fleet := slices.Values([]engine.Enrollment{{ID: "UDID-1"}, {ID: "UDID-2"}, {ID: ""}})
	for range 2 { // as after an error: what is known is left alone
		result, err := e.Adopt(context.Background(), fleet)
		if err != nil {
			panic(err)
		}
		fmt.Printf("%+v\n", result)
	}
	// Output:
	// {Adopted:2 Known:0 Invalid:1}
	// {Adopted:0 Known:2 Invalid:1}
}

func ExampleEngine_Tick() {
	now := time.Date(2026, 11, 23, 8, 0, 0, 0, time.UTC)
	c := newConfig()
	c.Clock = func() time.Time { return now }
	e, err := engine.New(c)
	if err != nil {
		panic(err)
	}
	ctx := context.Background()
	if _, err := e.Adopt(ctx, slices.Values([]engine.Enrollment{{ID: "UDID-1"}, {ID: "UDID-2"}})); err != nil {
		panic(err)
	}

	now = now.AddDate(0, 0, 1)
	batches, err := e.Tick(ctx, 100)
	if err != nil {
		fmt.Println(err) // what came before it counts all the same
	}
	slices.SortFunc(batches, func(a, b engine.Batch) int { return strings.Compare(a.Enrollment.ID, b.Enrollment.ID) })
	for _, b := range batches {
		for _, command := range b.Commands {
			fmt.Println("queue", command.RequestType, "for", b.Enrollment.ID)
		}
		fmt.Println("push", b.Enrollment.ID)
	}
	// Output:
	// queue DeviceInformation for UDID-1
	// push UDID-1
	// queue DeviceInformation for UDID-2
	// push UDID-2
}

func ExampleEngine_Run() {
	now := time.Date(2026, 11, 23, 8, 0, 0, 0, time.UTC)
	c := newConfig()
	c.Clock = func() time.Time { return now }
	e, err := engine.New(c)
	if err != nil {
		panic(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	if _, err := e.Adopt(ctx, slices.Values([]engine.Enrollment{{ID: "UDID-1"}})); err != nil {
		panic(err)
	}
	now = now.AddDate(0, 0, 1)

	err = e.Run(ctx, time.Minute, 100, func(_ context.Context, b engine.Batch) error {
		fmt.Println("queue", len(b.Commands), "and push", b.Enrollment.ID)
		stop() // a server does that when it ends
		return nil
	})
	fmt.Println(err)
	// Output:
	// queue 1 and push UDID-1
	// context canceled
}

// pushClient stands in for the host's client with its push certificate.
type pushClient struct{}

func (pushClient) Do(r *http.Request) (*http.Response, error) {
	fmt.Println("to", r.URL.Host)
	return &http.Response{StatusCode: http.StatusOK, Body: http.NoBody}, nil
}

func ExampleEngine_Bypass() {
	c := newConfig()
	c.Doer = pushClient{}
	e := lockedIPhone(c)
	action, warning, err := e.Bypass(context.Background(), "XXFAKE0SER1", engine.Unlock{
		Act:    escrow.Act{Actor: "anna@example.org", Reason: "the pupil left"},
		InHand: true,
	})
	if err != nil {
		panic(err)
	}
	fmt.Println(action.State)
	fmt.Println(warning.Label(activationlock.English))
	// Output:
	// to deviceservices-external.apple.com
	// done
	// Once the lock is removed, the device locks itself again as soon as Find My is opened. Erase it then at once, or have Find My turned off.
}

func ExampleEngine_CanErase() {
	c := newConfig()
	answer, err := lockedIPhone(c).CanErase(context.Background(), "XXFAKE0SER1")
	if err != nil {
		panic(err)
	}
	// Its lock was on before the device was asked for its code.
	fmt.Println(answer.Yes(), "since it is", answer.Verdict.Label(activationlock.English))
	for _, reason := range answer.Reasons {
		fmt.Println(reason.Label(activationlock.English))
	}
	// Output:
	// false since it is unknown
	// The code that is held may be out of date, or another device's.
}

func ExampleEngine_Reveal() {
	c := newConfig()
	e, ctx := lockedIPhone(c), context.Background()
	wish := engine.Wish{Act: escrow.Act{Actor: "anna@example.org", Reason: "the pupil left"}}
	_, err := e.Reveal(ctx, "XXFAKE0SER1", wish)
	fmt.Println(err)

	// Whose a device is, the host says.
	err = c.Inventory.Update(ctx, "UDID-1", func(r *inventory.Record) error {
		r.Ownership = inventory.Company
		return nil
	})
	if err != nil {
		panic(err)
	}
	text, err := e.Reveal(ctx, "XXFAKE0SER1", wish)
	if err != nil {
		panic(err)
	}
	fmt.Println(text)
	fmt.Println(text.Reveal())
	// Output:
	// engine: reveal: escrow: reveal: escrow: refused: the device is not known to be the company's
	// [redacted]
	// 3UM43-PUYVY-QYD1-UVCC-HEHJ-FKA4
}

func ExampleEngine_LockForOrganization() {
	c := newConfig()
	e, err := engine.New(c)
	if err != nil {
		panic(err)
	}
	ctx := context.Background()
	body := `<plist><dict><key>MessageType</key><string>Authenticate</string><key>UDID</key><string>UDID-1</string><key>SerialNumber</key><string>XXFAKE0SER1</string><key>ProductName</key><string>iPad14,3</string><key>OSVersion</key><string>26.1</string></dict></plist>`
	if _, err := e.HandleCheckin(ctx, engine.Enrollment{ID: "UDID-1"}, []byte(body)); err != nil {
		panic(err)
	}
	by := escrow.Act{Actor: "anna@example.org", Reason: "left in a train"}
	if err := e.LockForOrganization(ctx, "XXFAKE0SER1", by, "Please call Example School."); err != nil {
		panic(err)
	}
	device, err := e.Device(ctx, "UDID-1")
	if err != nil {
		panic(err)
	}
	fmt.Println(device.Record.LockOrder.Message)
	fmt.Println(device.Record.LockOrder.By.Reason)
	// Output:
	// Please call Example School.
	// left in a train
}

func ExampleEngine_HandleAnswer() {
	c := newConfig()
	c.StatusAPI = "https://api-school.apple.com"
	e, ctx := lockedIPhone(c), context.Background()
	batches, err := e.Tick(ctx, 100)
	if err != nil {
		panic(err)
	}
	client := statusClient{}
	for _, b := range batches {
		for _, request := range b.Requests {
			resp, err := client.Do(request.HTTP)
			if err := e.HandleAnswer(ctx, request, resp, err); err != nil {
				fmt.Println(err) // Apple is asked again
			}
		}
	}
	device, err := e.Device(ctx, "UDID-1")
	if err != nil {
		panic(err)
	}
	fmt.Println(device.Lock.State, device.Lock.Kind, "says", device.Lock.Source)
	// Output: on user says apple
}

// statusClient stands in for the host's client with an access token.
type statusClient struct{}

func (statusClient) Do(*http.Request) (*http.Response, error) {
	body := `{"data":{"id":"XXFAKE0SER1","attributes":{"isLocked":true,"lockType":"USER"}}}`
	return &http.Response{StatusCode: http.StatusOK, Body: io.NopCloser(strings.NewReader(body))}, nil
}

// The host deleted a device, of which no CheckOut will come.
func ExampleEngine_End() {
	e, ctx := lockedIPhone(newConfig()), context.Background()
	if err := e.End(ctx, "UDID-1"); err != nil {
		panic(err)
	}
	device, err := e.Device(ctx, "UDID-1")
	if err != nil {
		panic(err)
	}
	fmt.Println("enrolled:", device.Record.Live())
	fmt.Println("codes:", len(device.Codes))
	// Output:
	// enrolled: false
	// codes: 1
}

func ExampleEngine_CanReassign() {
	e, ctx := lockedIPhone(newConfig()), context.Background()
	answer, err := e.CanReassign(ctx, "UDID-1")
	if err != nil {
		panic(err)
	}
	fmt.Println(answer.Verdict.Label(activationlock.English))
	for _, reason := range answer.Reasons {
		fmt.Println(reason.Label(activationlock.English))
	}
	// Output:
	// no
	// The lock is on.
}

// counter is an observer that prints what is counted.
type counter struct{}

func (counter) Counted(what engine.Counter, label string, n int) { fmt.Println(what, label, n) }

func (counter) Took(engine.Step, time.Duration) {} // for a histogram

func ExampleObserver() {
	c := newConfig()
	c.Observer = counter{}
	e, err := engine.New(c)
	if err != nil {
		panic(err)
	}
	body := `<plist><dict><key>Status</key><string>Idle</string><key>UDID</key><string>UDID-1</string></dict></plist>`
	if _, err := e.HandleReport(context.Background(), engine.Enrollment{ID: "UDID-1"}, []byte(body)); err != nil {
		panic(err)
	}
	// Output: commands DeviceInformation 1
}
