package engine_test

import (
	"context"
	"fmt"

	"github.com/activationlock/sdk/activationlock"
	"github.com/activationlock/sdk/activationlock/engine"
	"github.com/activationlock/sdk/activationlock/memstore"
	"github.com/activationlock/sdk/bypasscode/escrow"
	"github.com/activationlock/sdk/bypasscode/seal"
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
	_, err := engine.New(engine.Config{})
	fmt.Println(err)
	// Output: engine: Config.Escrow is required
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
	e, err := newEngine(nil)
	if err != nil {
		panic(err)
	}
	_, err = e.Device(context.Background(), "XXFAKE0SER9")
	fmt.Println(err)
	// Output: engine: device: inventory: not found
}
