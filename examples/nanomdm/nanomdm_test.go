package main

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"io"
	"io/fs"
	stdlog "log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/micromdm/nanolib/log/stdlogfmt"
	"github.com/micromdm/nanomdm/mdm"
	"github.com/micromdm/nanomdm/service"
	"github.com/micromdm/nanomdm/storage/diskv"
	"github.com/micromdm/nanomdm/test/enrollment"
	"github.com/micromdm/plist"
	"github.com/stretchr/testify/require"

	"github.com/activationlock/sdk/activationlock"
	"github.com/activationlock/sdk/activationlock/engine"
	"github.com/activationlock/sdk/activationlock/memstore"
	"github.com/activationlock/sdk/bypasscode/audit"
	"github.com/activationlock/sdk/bypasscode/escrow"
	"github.com/activationlock/sdk/bypasscode/seal"
	"github.com/activationlock/sdk/mdmcmd"
)

const (
	code  = "3UM43-PUYVY-QYD1-UVCC-HEHJ-FKA4"
	code2 = "8LNYD-DVNKU-GYRC-E6GU-3YFD-CT86"
)

// host is NanoMDM with the engine inside, behind a real HTTP server.
type host struct {
	t       *testing.T
	url     string
	folder  string // of NanoMDM's storage
	log     bytes.Buffer
	engine  *engine.Engine
	escrow  *escrow.Escrow
	store   *diskv.Diskv
	down    bool // escrow
	events  []engine.Event
	handler http.Handler
}

type faulty struct {
	escrow.Store
	host *host
}

func (f faulty) Update(ctx context.Context, s escrow.Subject, change func([]escrow.Entry) ([]escrow.Entry, error)) error {
	if f.host.down {
		return errors.New("escrow is down")
	}
	return f.Store.Update(ctx, s, change)
}

// anybody verifies every certificate: test devices sign their own.
type anybody struct{}

func (anybody) Verify(_ context.Context, c *x509.Certificate) error {
	if c == nil {
		return errors.New("no certificate")
	}
	return nil
}

func newHost(t *testing.T) *host {
	t.Helper()
	h := &host{t: t, folder: t.TempDir()}
	h.store = diskv.New(h.folder)
	stores := memstore.New()
	key, err := seal.GenerateKey(seal.X25519)
	require.NoError(t, err)
	keys, err := seal.NewKeyring([]seal.PublicKey{key.Public()}, key)
	require.NoError(t, err)
	acts, err := audit.New(audit.Config{Store: stores.Audit()})
	require.NoError(t, err)
	h.escrow, err = escrow.New(escrow.Config{Store: faulty{stores.Escrow(), h}, Sealer: keys, Audit: acts})
	require.NoError(t, err)
	now := time.Date(2026, 11, 22, 9, 0, 0, 0, time.UTC)
	h.engine, err = engine.New(engine.Config{
		Escrow: h.escrow, Inventory: stores.Inventory(),
		Policy:  engine.Policy{Options: mdmcmd.MDMOptions{ActivationLockAllowedWhileSupervised: new(true)}},
		Clock:   func() time.Time { now = now.Add(time.Second); return now },
		OnEvent: func(_ context.Context, e engine.Event) { h.events = append(h.events, e) },
	})
	require.NoError(t, err)
	h.handler = newHandler(h.store, h.engine, anybody{}, stdlogfmt.New(stdlogfmt.WithLogger(stdlog.New(&h.log, "", 0)), stdlogfmt.WithDebug()))
	server := httptest.NewServer(h.handler)
	t.Cleanup(server.Close)
	h.url = server.URL
	return h
}

func (h *host) newDevice() *enrollment.Enrollment {
	h.t.Helper()
	d, err := enrollment.NewRandomDeviceEnrollment(http.DefaultClient, "com.apple.mgmt.example", h.url, "")
	require.NoError(h.t, err)
	return d
}

func (h *host) enroll() *enrollment.Enrollment {
	h.t.Helper()
	d := h.newDevice()
	require.NoError(h.t, d.DoEnroll(h.t.Context()))
	return d
}

type message map[string]any

// send posts a report and returns the HTTP status and the next command.
func (h *host) send(d *enrollment.Enrollment, body []byte) (int, *mdm.Command) {
	h.t.Helper()
	resp, err := d.DoReportAndFetch(h.t.Context(), bytes.NewReader(body))
	require.NoError(h.t, err)
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	require.NoError(h.t, err)
	if resp.StatusCode != http.StatusOK || len(answer) == 0 {
		return resp.StatusCode, nil
	}
	command, err := mdm.DecodeCommand(answer)
	require.NoError(h.t, err)
	return resp.StatusCode, command
}

func report(d *enrollment.Enrollment, uuid string, more message) []byte {
	m := message{"UDID": d.ID(), "Status": "Acknowledged"}
	if uuid == "" {
		m["Status"] = "Idle"
	} else {
		m["CommandUUID"] = uuid
	}
	for k, v := range more {
		m[k] = v
	}
	raw, err := plist.Marshal(m)
	if err != nil {
		panic(err)
	}
	return raw
}

// next sends a report that must be accepted and answered with a command of
// that type, or with none ("").
func (h *host) next(d *enrollment.Enrollment, body []byte, requestType string) string {
	h.t.Helper()
	status, command := h.send(d, body)
	require.Equal(h.t, http.StatusOK, status)
	if requestType == "" {
		require.Nil(h.t, command)
		return ""
	}
	require.NotNil(h.t, command)
	require.Equal(h.t, requestType, command.Command.RequestType)
	return command.CommandUUID
}

func facts(d *enrollment.Enrollment) message {
	return message{"QueryResponses": message{
		"UDID": d.ID(), "SerialNumber": d.SerialNumber(), "ProductName": "iPhone17,3", "OSVersion": "26.1",
		"IsSupervised": true, "IsActivationLockEnabled": false,
	}}
}

func codeReport(d *enrollment.Enrollment, uuid, code string) []byte {
	return report(d, uuid, message{"ActivationLockBypassCode": code})
}

// askedForCode enrolls a device up to the question for its code.
func (h *host) askedForCode() (*enrollment.Enrollment, string) {
	h.t.Helper()
	d := h.enroll()
	info := h.next(d, report(d, "", nil), "DeviceInformation")
	return d, h.next(d, report(d, info, facts(d)), "ActivationLockBypassCode")
}

func (h *host) records(d *enrollment.Enrollment) []escrow.Record {
	h.t.Helper()
	records, err := h.escrow.Records(h.t.Context(), escrow.Subject{SerialNumber: d.SerialNumber()})
	require.NoError(h.t, err)
	return records
}

// stored reports whether a text stands in any file of NanoMDM's storage.
func (h *host) stored(text string) bool {
	h.t.Helper()
	found := false
	require.NoError(h.t, filepath.WalkDir(h.folder, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		found = found || bytes.Contains(data, []byte(text)) || strings.Contains(path, text)
		return err
	}))
	return found
}

func (h *host) eventTypes() []engine.EventType {
	types := []engine.EventType{}
	for _, e := range h.events {
		types = append(types, e.Type)
	}
	return types
}

// One device, from enrollment to the permission to lock, with escrow down when
// the code comes.
func TestOneDevice(t *testing.T) {
	h := newHost(t)
	d, ask := h.askedForCode()

	h.down = true
	for range 2 {
		status, _ := h.send(d, codeReport(d, ask, code))
		require.Equal(t, http.StatusInternalServerError, status, "the device must send it again")
	}
	require.Empty(t, h.records(d))
	require.False(t, h.stored(code))

	h.down = false
	settings := h.next(d, codeReport(d, ask, code), "Settings")
	held := h.records(d)
	require.Len(t, held, 1)
	text, err := h.escrow.Reveal(t.Context(), escrow.Reveal{
		Subject: held[0].Subject, RecordID: held[0].ID, Purpose: escrow.ToUnlock,
		Act: escrow.Act{Actor: "tester", Reason: "test"},
	})
	require.NoError(t, err)
	require.Equal(t, code, text.Reveal())
	require.Equal(t, "iPhone17,3", held[0].Device.ProductType)

	h.next(d, report(d, settings, message{"Settings": []message{{"Item": "MDMOptions", "Status": "Acknowledged"}}}), "")
	h.next(d, report(d, "", nil), "")
	details, err := h.engine.Device(t.Context(), d.SerialNumber())
	require.NoError(t, err)
	require.Equal(t, activationlock.NotEnabled, details.Status)

	require.True(t, h.stored(d.ID()), "the search finds what is there")
	require.True(t, h.stored(mdmcmd.Redacted), "the report is stored without its code")
	require.False(t, h.stored(code))
	require.False(t, h.stored(strings.ReplaceAll(code, "-", "")))
	require.NotContains(t, h.log.String(), code)

	// The stored report comes back, as from a webhook's archive.
	before := h.records(d)
	h.next(d, codeReport(d, ask, mdmcmd.Redacted), "")
	require.Equal(t, before, h.records(d))
	require.Equal(t, engine.AlreadyRedacted, h.events[len(h.events)-1].Type)

	// So does the one with the code.
	h.next(d, codeReport(d, ask, code), "")
	require.Equal(t, before, h.records(d))

	// The device enrolls again: what it was asked is asked again.
	require.NoError(t, d.DoEnroll(t.Context()))
	info := h.next(d, report(d, "", nil), "DeviceInformation")
	ask = h.next(d, report(d, info, facts(d)), "ActivationLockBypassCode")
	h.next(d, codeReport(d, ask, code2), "Settings")
	require.Len(t, h.records(d), 2)
	require.False(t, h.stored(code2))
}

// The host's own command is answered with 5 MiB, and the queue goes on.
func TestForeignReports(t *testing.T) {
	h := newHost(t)
	d := h.enroll()
	own, err := mdm.DecodeCommand([]byte(`<plist><dict><key>CommandUUID</key><string>of-the-host</string>
		<key>Command</key><dict><key>RequestType</key><string>InstalledApplicationList</string></dict></dict></plist>`))
	require.NoError(t, err)
	_, err = h.store.EnqueueCommand(t.Context(), []string{d.ID()}, own)
	require.NoError(t, err)
	info := h.next(d, report(d, "", nil), "DeviceInformation")
	h.next(d, report(d, info, facts(d)), "InstalledApplicationList")
	applications := report(d, own.CommandUUID, message{"InstalledApplicationList": []message{{"Name": strings.Repeat("x", 5<<20)}}})
	ask := h.next(d, applications, "ActivationLockBypassCode")
	require.True(t, h.stored(strings.Repeat("x", 5<<20)), "the host has all of its report")
	h.next(d, codeReport(d, ask, code), "Settings")
}

// One device speaks for another.
func TestAnotherDevicesReport(t *testing.T) {
	h := newHost(t)
	victim, ask := h.askedForCode()
	attacker := h.enroll()
	status, _ := h.send(attacker, codeReport(victim, ask, code2))
	require.Equal(t, http.StatusInternalServerError, status, "NanoMDM's own check")
	require.Empty(t, h.records(victim))

	// The engine does not believe it even where NanoMDM's check is missing.
	own := &mdm.CommandResults{}
	require.NoError(t, plist.Unmarshal(codeReport(victim, ask, code2), own))
	own.Raw = codeReport(victim, ask, code2)
	d := &decorator{engine: h.engine, store: h.store, CheckinAndCommandService: &nothing{}}
	_, err := d.CommandAndReportResults(attacker.NewMDMRequest(t.Context()), own)
	require.NoError(t, err)
	require.Equal(t, engine.NotBelieved, h.events[len(h.events)-1].Type)
	require.NotContains(t, string(own.Raw), code2)
	require.Empty(t, h.records(victim))
	require.Empty(t, h.records(attacker))

	h.next(victim, codeReport(victim, ask, code), "Settings")
}

// A device names the serial number of another one.
func TestForgedSerialNumber(t *testing.T) {
	h := newHost(t)
	victim, ask := h.askedForCode()
	h.next(victim, codeReport(victim, ask, code), "Settings")
	attacker := h.enroll()
	info := h.next(attacker, report(attacker, "", nil), "DeviceInformation")
	lie := facts(attacker)
	lie["QueryResponses"].(message)["SerialNumber"] = victim.SerialNumber()
	ask = h.next(attacker, report(attacker, info, lie), "ActivationLockBypassCode")
	h.next(attacker, codeReport(attacker, ask, code2), "Settings")
	require.Contains(t, h.eventTypes(), engine.SerialDisputed)
	held := h.records(victim)
	require.Len(t, held, 1, "the attacker's code is filed under its own serial number")
	require.Equal(t, victim.ID(), held[0].EnrollmentID)
	require.Len(t, h.records(attacker), 1)
}

// What would end NanoMDM's process, or put a code into its log, does not reach
// it.
func TestGuard(t *testing.T) {
	h := newHost(t)
	d, ask := h.askedForCode()
	killer, err := hex.DecodeString("62706c6973743030a10008000000000000010100000000000000010000000000000000000000000000000a")
	require.NoError(t, err)
	for name, test := range map[string]struct {
		body   []byte
		status int
	}{
		"43 bytes":         {killer, http.StatusBadRequest},
		"a million arrays": {[]byte("<plist>" + strings.Repeat("<array>", 1<<20)), http.StatusBadRequest},
		"too large":        {bytes.Repeat([]byte(" "), maxBody+1), http.StatusRequestEntityTooLarge},
		"not a list":       {[]byte("hello"), http.StatusBadRequest},
		"wrong types, which NanoMDM would log": {
			[]byte(strings.Replace(string(codeReport(d, ask, code)), "<string>Acknowledged</string>", "<integer>1</integer>", 1)), http.StatusBadRequest,
		},
	} {
		t.Run(name, func(t *testing.T) {
			status, _ := h.send(d, test.body)
			require.Equal(t, test.status, status)
			require.NotContains(t, h.log.String(), code)
		})
	}
	request, err := http.NewRequest(http.MethodPut, h.url, bytes.NewReader(report(d, "", nil)))
	require.NoError(t, err)
	request.Header.Set("Mdm-Signature", "MIQ=") // two bytes that end a process whose CMS reader is old
	resp, err := http.DefaultClient.Do(request)
	require.NoError(t, err)
	resp.Body.Close()
	require.Equal(t, http.StatusBadRequest, resp.StatusCode)
	h.next(d, codeReport(d, ask, code), "Settings")
}

// nothing is a service that does nothing, in place of NanoMDM's.
type nothing struct{ service.NopService }
