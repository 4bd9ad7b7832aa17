package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"

	"github.com/activationlock/sdk/activationlock/activationlocktest"
	"github.com/activationlock/sdk/activationlock/engine"
	"github.com/activationlock/sdk/bypasscode/audit"
	"github.com/activationlock/sdk/bypasscode/escrow"
	"github.com/activationlock/sdk/bypasscode/seal"
	"github.com/activationlock/sdk/examples/internal/appleclient"
)

// play makes the three calls, with made-up credentials, to an Apple on this machine.
func play(ctx context.Context, out io.Writer) error {
	fmt.Fprint(out, `No credentials are given: activationlocktest plays Apple, on this machine.
With yours, the same code calls the real one: go run ./examples/apple -h

`)
	dir, err := os.MkdirTemp("", "apple")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	simulated := activationlocktest.NewApple(activationlocktest.AppleConfig{})
	var phones []*activationlocktest.Device
	for _, serial := range []string{"XXFAKE0SER1", "XXFAKE0SER2"} {
		phone, err := activationlocktest.NewDevice(activationlocktest.DeviceConfig{SerialNumber: serial, Supervised: true, ADE: true})
		if err != nil {
			return err
		}
		if err := simulated.Add(phone, true); err != nil {
			return err
		}
		phones = append(phones, phone)
	}
	server, err := simulated.Start()
	if err != nil {
		return err
	}
	defer server.Close()

	d := &desk{out: out, organization: "Example School"}
	if d.doer, err = madeUp(server, out); err != nil {
		return err
	}
	d.api = appleclient.School.API()
	key, err := seal.GenerateKey(seal.X25519)
	if err != nil {
		return err
	}
	closeStore, err := d.open(ctx, filepath.Join(dir, "codes.db"), key, audit.Key{})
	if err != nil {
		return err
	}
	defer closeStore()
	for _, phone := range phones {
		if err := enroll(ctx, d.engine, phone); err != nil {
			return err
		}
	}

	anna := escrow.Act{Actor: "anna@example.com", Reason: "a play"}
	for _, act := range []struct {
		title string
		play  func() error
	}{
		{"The lock status, with an API account: a client assertion, then an access token", func() error { return d.status(ctx, "XXFAKE0SER1") }},
		{"A lock of the organization, with the server token: a session, then the call", func() error { return d.lock(ctx, "XXFAKE0SER1", anna, "Property of Example School") }},
		{"Another one, when that session is over: a new one, and the call once more", func() error {
			simulated.ExpireSessions()
			return d.lock(ctx, "XXFAKE0SER2", anna, "Property of Example School")
		}},
		{"The end of the first, with the push certificate as the TLS client certificate", func() error { return d.unlock(ctx, "XXFAKE0SER1", anna) }},
		{"The lock status again; the access token still holds", func() error { return d.status(ctx, "XXFAKE0SER1") }},
	} {
		fmt.Fprintf(out, "-- %s\n", act.title)
		if err := act.play(); err != nil {
			return err
		}
		fmt.Fprintln(out)
	}
	fmt.Fprint(out, `Where to look: examples/internal/appleclient has the three clients, and the Route
that engine.Config.Doer gets. The store of this play is gone.
`)
	return nil
}

// madeUp is the wiring that credentials get, but for where it connects to and whom
// it trusts.
func madeUp(server *activationlocktest.Server, out io.Writer) (engine.Doer, error) {
	local := server.Client().Transport.(*http.Transport)
	push, err := local.TLSClientConfig.GetClientCertificate(nil)
	if err != nil {
		return nil, err
	}
	transport := func(certificate *tls.Certificate) http.RoundTripper {
		t := appleclient.Transport(certificate)
		t.Proxy, t.DialContext, t.TLSClientConfig.RootCAs = nil, local.DialContext, local.TLSClientConfig.RootCAs
		return told{t, out}
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	account := appleclient.Account{ClientID: "SCHOOLAPI.example", KeyID: "example", Key: key, Scope: appleclient.School}
	axm, err := appleclient.NewAxM(account, transport(nil), nil)
	if err != nil {
		return nil, err
	}
	token := &appleclient.ServerToken{ConsumerKey: "example", ConsumerSecret: "example", AccessToken: "example", AccessSecret: "example"}
	return appleclient.Route{
		Unlock: appleclient.Client(transport(push)), Lock: appleclient.NewADE(token, transport(nil)), Status: axm, StatusAPI: account.Scope.API(),
	}, nil
}

// enroll brings the messages of a device that enrolls to the engine, as a server does.
func enroll(ctx context.Context, e *engine.Engine, d *activationlocktest.Device) error {
	messages, err := d.Enroll()
	if err != nil {
		return err
	}
	for _, message := range messages {
		if _, err := e.HandleCheckin(ctx, engine.Enrollment{ID: d.ID()}, message); err != nil {
			return err
		}
	}
	return nil
}
