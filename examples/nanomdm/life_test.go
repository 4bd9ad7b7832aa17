package main

import (
	"bytes"
	"context"
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/micromdm/nanomdm/mdm"
	"github.com/micromdm/nanomdm/storage"
	"github.com/micromdm/nanomdm/test"
	"github.com/micromdm/nanomdm/test/protocol"
	"github.com/stretchr/testify/require"

	"github.com/activationlock/sdk/activationlock"
	"github.com/activationlock/sdk/activationlock/activationlocktest"
	"github.com/activationlock/sdk/activationlock/bypass"
	"github.com/activationlock/sdk/activationlock/engine"
	"github.com/activationlock/sdk/activationlock/sqlstore"
	"github.com/activationlock/sdk/bypasscode/escrow"
	"github.com/activationlock/sdk/examples/internal/database"
	"github.com/activationlock/sdk/inventory"
)

// signing is how a device talks: it signs what it sends, and what the server
// answers with HTTP 500 it sends again.
type signing struct {
	*protocol.Transport
	refused func() // called once, between the two
}

func newSigning(t *testing.T) *signing {
	t.Helper()
	key, certificate, err := test.SimpleSelfSignedRSAKeypair("TESTDEVICE", 2)
	require.NoError(t, err)
	return &signing{Transport: protocol.NewTransport(protocol.WithIdentityProvider(
		func(context.Context) (*x509.Certificate, crypto.PrivateKey, error) { return certificate, key, nil }))}
}

func (s *signing) RoundTrip(r *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	signature, err := s.SignMessage(r.Context(), body)
	if err != nil {
		return nil, err
	}
	for {
		r = r.Clone(r.Context())
		r.Header.Set("Mdm-Signature", signature)
		r.Body = io.NopCloser(bytes.NewReader(body))
		resp, err := http.DefaultTransport.RoundTrip(r)
		if err != nil || resp.StatusCode != http.StatusInternalServerError || s.refused == nil {
			return resp, err
		}
		resp.Body.Close()
		s.refused()
		s.refused = nil
	}
}

// pushCertificates are a storage with one push certificate, or none.
type pushCertificates struct {
	storage.PushCertStore
	certificate *tls.Certificate
}

func (p *pushCertificates) RetrievePushCert(_ context.Context, of string) (*tls.Certificate, string, error) {
	if p.certificate == nil || of != topic {
		return nil, "", errors.New("not found")
	}
	return p.certificate, "1", nil
}

// serve starts the program as run does, with its ticker, and returns what tells it
// to stop, and what waits until it did.
func (w *world) serve() (stop, wait func()) {
	w.t.Helper()
	var err error
	w.host, err = newHost(w.t.Context(), w.settings, w.outside)
	require.NoError(w.t, err)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(w.t, err)
	w.url = "http://" + listener.Addr().String() + "/mdm"
	ctx, cancel := context.WithCancel(w.t.Context())
	ended := make(chan error, 1)
	go func() { ended <- w.host.serve(ctx, listener, time.Hour) }()
	return cancel, func() {
		w.t.Helper()
		require.NoError(w.t, <-ended)
		require.NoError(w.t, w.close())
	}
}

// pushedTo waits for a push.
func (w *world) pushedTo(id string) {
	w.t.Helper()
	select {
	case got := <-w.pushed:
		require.Equal(w.t, id, got)
	case <-time.After(time.Minute):
		require.FailNow(w.t, "nobody was pushed")
	}
}

// call calls the administrators' API and returns the status and the answer.
func (w *world) call(method, path, body string) (int, string) {
	w.t.Helper()
	request, err := http.NewRequestWithContext(w.t.Context(), method, strings.TrimSuffix(w.url, "/mdm")+path, strings.NewReader(body))
	require.NoError(w.t, err)
	request.SetBasicAuth("nanomdm", password)
	resp, err := http.DefaultClient.Do(request)
	require.NoError(w.t, err)
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	require.NoError(w.t, err)
	return resp.StatusCode, string(answer)
}

// A device from its enrollment to the unlock, through everything that the program
// has: the queue, push, the ticker, the database, the API, and calls to Apple that
// need the push certificate. Escrow fails once, and the program is stopped twice.
func TestLife(t *testing.T) {
	t.Parallel()
	for _, dialect := range database.Dialects {
		t.Run(string(dialect), func(t *testing.T) {
			t.Parallel()
			life(t, dialect)
		})
	}
}

func life(t *testing.T, dialect sqlstore.Dialect) {
	w := newWorld(t)
	w.useDatabase(dialect)
	apple := activationlocktest.NewApple(activationlocktest.AppleConfig{Now: w.clock})
	server, err := apple.Start()
	require.NoError(t, err)
	t.Cleanup(server.Close)
	w.outside.transport = server.Client().Transport.(*http.Transport)
	certificate, err := w.outside.transport.TLSClientConfig.GetClientCertificate(nil)
	require.NoError(t, err)
	certificates := &pushCertificates{}
	w.outside.certificates = certificates

	phone, err := activationlocktest.NewDevice(activationlocktest.DeviceConfig{
		SerialNumber: "XXFAKE0SER1", Supervised: true, ADE: true, IMEI: "350000000000019", Topic: topic, Now: w.clock,
	})
	require.NoError(t, err)
	require.NoError(t, apple.Add(phone, true))
	device := newSigning(t)
	client := &http.Client{Transport: device}
	record := func() escrow.Record {
		t.Helper()
		records, err := w.escrow.Records(t.Context(), escrow.Subject{SerialNumber: "XXFAKE0SER1"})
		require.NoError(t, err)
		require.Len(t, records, 1)
		return records[0]
	}
	details := func() engine.Details {
		t.Helper()
		d, err := w.engine.Device(t.Context(), "XXFAKE0SER1")
		require.NoError(t, err)
		return d
	}

	// It enrolls and is pushed. When its code comes, escrow is down.
	stop, wait := w.serve()
	messages, err := phone.Enroll()
	require.NoError(t, err)
	require.NoError(t, phone.CheckIn(t.Context(), client, w.url, messages))
	w.pushedTo(phone.ID())
	w.escrowDown(true)
	again := false
	device.refused = func() {
		again = true
		require.Empty(t, details().Codes)
		require.Equal(t, engine.CaptureFailed, w.lastEvent())
		w.escrowDown(false)
	}
	commands, err := phone.Poll(t.Context(), client, w.url)
	require.NoError(t, err)
	require.Equal(t, 3, commands, "information, code and permission")
	require.True(t, again)
	first := record()
	require.Equal(t, activationlock.NotEnabled, details().Status)
	require.NotContains(t, w.eventTypes(), engine.DeliveryFailed)
	stop()
	wait()

	// A week later, after a restart: the user has turned Find My on meanwhile, and
	// the ticker finds out.
	require.NoError(t, phone.SetFindMy(true))
	require.Equal(t, activationlocktest.UserLinked, apple.Lock("XXFAKE0SER1").Kind)
	w.pass(7 * 24 * time.Hour)
	stop, wait = w.serve()
	w.pushedTo(phone.ID())
	commands, err = phone.Poll(t.Context(), client, w.url)
	require.NoError(t, err)
	require.Equal(t, 2, commands, "information, and the code again")
	require.True(t, record().LastSeen.After(first.LastSeen))
	require.Equal(t, activationlock.EnabledWithBypassCode, details().Status)
	stop()
	wait()

	// After another restart, what the administrators see and do.
	stop, wait = w.serve()
	defer wait()
	defer stop()
	const path = "/v1/activationlock/XXFAKE0SER1"
	status, body := w.call(http.MethodGet, path, "")
	require.Equal(t, http.StatusOK, status, body)
	var seen deviceAnswer
	require.NoError(t, json.Unmarshal([]byte(body), &seen))
	require.Equal(t, phone.ID(), seen.EnrollmentID)
	require.Equal(t, activationlock.EnabledWithBypassCode, seen.Status)
	require.Equal(t, "yes", seen.CanErase.Verdict)
	require.Equal(t, "no", seen.CanReassign.Verdict)
	require.Len(t, seen.Codes, 1)
	require.Nil(t, seen.LastUnlock)
	status, report := w.call(http.MethodGet, "/v1/activationlock/report.csv?language=nl", "")
	require.Equal(t, http.StatusOK, status)
	require.Contains(t, report, "XXFAKE0SER1")
	require.Contains(t, report, "Ingeschakeld met bypass-code")
	said := []string{body, report}

	status, body = w.call(http.MethodPost, path+"/unlock", `{"actor": "ada", "reason": "there is no certificate yet", "inHand": true}`)
	require.Equal(t, http.StatusServiceUnavailable, status)
	said = append(said, body)
	certificates.certificate = certificate
	for _, wish := range []string{
		`{"actor": "ada", "reason": "left", "inHand": false}`,
		`{"actor": "", "reason": "left", "inHand": true}`,
		`{"actor": "ada", "reason": "code ` + phone.Code().Reveal() + `", "inHand": true}`,
		`{"actor": "ada", "reason": "left", "inHand": true, "more": 1}`,
		strings.Repeat(" ", 2<<20) + `{"actor": "ada", "reason": "left", "inHand": true}`,
	} {
		status, body := w.call(http.MethodPost, path+"/unlock", wish)
		require.Equal(t, http.StatusBadRequest, status, body)
		said = append(said, body)
	}
	status, _ = w.call(http.MethodPost, "/v1/activationlock/XXFAKE0SER9/unlock", `{"actor": "ada", "reason": "left", "inHand": true}`)
	require.Equal(t, http.StatusNotFound, status)
	require.Empty(t, apple.Requests())

	// Apple is busy at first, and the ticker goes on with it.
	apple.Script(activationlocktest.UnlockService, activationlocktest.Fault{Status: http.StatusServiceUnavailable})
	const wish = `{"actor": "ada@example.org", "reason": "its user left", "inHand": true}`
	var began, same, done action
	status, body = w.call(http.MethodPost, path+"/unlock", wish)
	require.Equal(t, http.StatusOK, status, body)
	require.NoError(t, json.Unmarshal([]byte(body), &began))
	require.Equal(t, bypass.Active, began.State, body)
	require.NotEmpty(t, began.Warning)
	status, body = w.call(http.MethodPost, path+"/unlock", wish)
	require.Equal(t, http.StatusConflict, status, body)
	require.NoError(t, json.Unmarshal([]byte(body), &same))
	require.Equal(t, began.ID, same.ID)
	require.Len(t, apple.Requests(), 1)
	w.pass(began.NextAt.Sub(w.clock()))
	_, err = w.engine.Tick(t.Context(), dueAtOnce)
	require.NoError(t, err)
	status, body = w.call(http.MethodGet, path, "")
	require.Equal(t, http.StatusOK, status)
	said = append(said, body)
	require.NoError(t, json.Unmarshal([]byte(body), &seen))
	done = *seen.LastUnlock
	require.Equal(t, began.ID, done.ID)
	require.Equal(t, bypass.Done, done.State, body)
	require.Equal(t, "ada@example.org", done.By)
	require.Equal(t, activationlocktest.NotLocked, apple.Lock("XXFAKE0SER1").Kind)
	require.Equal(t, engine.Unlocked, w.lastEvent())
	lock := details().Lock
	require.Equal(t, activationlock.Off, lock.State)
	require.Equal(t, activationlock.SourceUnlockCall, lock.Source)
	requests := apple.Requests()
	require.Len(t, requests, 2)
	require.Equal(t, http.StatusOK, requests[1].Status)
	require.Contains(t, requests[1].QueryKeys, "imei")

	// The code is where it belongs, and nowhere else.
	secret := phone.Code().Reveal()
	said = append(said, w.log.String(), w.ownLog.String())
	require.Contains(t, w.ownLog.String(), "head=", "the audit's head is in the log")
	for _, text := range said {
		require.NotContains(t, text, secret)
	}
	require.True(t, w.stored(phone.ID()))
	require.False(t, w.stored(secret))
	if dialect != sqlstore.SQLite {
		return
	}
	files, err := filepath.Glob(w.settings.db + "*")
	require.NoError(t, err)
	require.NotEmpty(t, files)
	for _, file := range files {
		content, err := os.ReadFile(file)
		require.NoError(t, err)
		require.False(t, bytes.Contains(content, []byte(secret)), file)
	}
}

// The engine comes to a NanoMDM that has devices already.
func TestAdopt(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.start()
	phone, err := activationlocktest.NewDevice(activationlocktest.DeviceConfig{SerialNumber: "XXFAKE0SER1", Supervised: true, Topic: topic, Now: w.clock})
	require.NoError(t, err)
	client := &http.Client{Transport: newSigning(t)}
	messages, err := phone.Enroll()
	require.NoError(t, err)
	require.NoError(t, phone.CheckIn(t.Context(), client, w.url, messages))
	w.pushedTo(phone.ID())
	require.NoError(t, w.store.ClearQueue(&mdm.Request{EnrollID: &mdm.EnrollID{Type: mdm.Device, ID: phone.ID()}}))

	w.settings.db += "2" // of which the engine knows nothing
	w.start()
	_, err = w.engine.Device(t.Context(), phone.ID())
	require.ErrorIs(t, err, inventory.ErrNotFound)
	for _, want := range []engine.AdoptResult{{Adopted: 1}, {Known: 1}} {
		result, err := w.adopt(t.Context())
		require.NoError(t, err)
		require.Equal(t, want, result)
	}
	w.pass(24 * time.Hour)
	batches, err := w.engine.Tick(t.Context(), dueAtOnce)
	require.NoError(t, err)
	require.Len(t, batches, 1)
	require.NoError(t, w.deliver(t.Context(), batches[0]))
	w.pushedTo(phone.ID())
	commands, err := phone.Poll(t.Context(), client, w.url)
	require.NoError(t, err)
	require.Equal(t, 3, commands)
	require.Contains(t, w.eventTypes(), engine.CodeCaptured)

	ended, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = w.adopt(ended)
	require.ErrorIs(t, err, context.Canceled)
}

// What is under way when the program is to stop comes to its end.
func TestStop(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.hold = make(chan struct{})
	stop, wait := w.serve()
	phone, err := activationlocktest.NewDevice(activationlocktest.DeviceConfig{SerialNumber: "XXFAKE0SER1", Supervised: true, Topic: topic, Now: w.clock})
	require.NoError(t, err)
	messages, err := phone.Enroll()
	require.NoError(t, err)
	answered := make(chan error, 1)
	go func() {
		answered <- phone.CheckIn(t.Context(), &http.Client{Transport: newSigning(t)}, w.url, messages)
	}()
	w.pushedTo(phone.ID()) // the check-in is being answered
	stop()
	address := strings.TrimSuffix(strings.TrimPrefix(w.url, "http://"), "/mdm")
	for {
		connection, err := net.Dial("tcp", address)
		if err != nil {
			break // it takes no more
		}
		connection.Close()
	}
	close(w.hold)
	require.NoError(t, <-answered)
	wait()
}

// Nobody gets in without the password, and no page of another site with it.
func TestAPIIsClosed(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.start()
	url := strings.TrimSuffix(w.url, "/mdm")
	for _, path := range []string{
		"/v1/activationlock/report.csv", "/v1/activationlock/XXFAKE0SER1", "/v1/activationlock/XXFAKE0SER1/unlock",
		"/v1/pushcert", "/v1/push/x", "/v1/enqueue/x", "/v1/escrowkeyunlock", "/v1/other",
	} {
		for _, word := range []string{"", password[1:], password + "x"} {
			request, err := http.NewRequest(http.MethodPost, url+path, nil)
			require.NoError(t, err)
			if word != "" {
				request.SetBasicAuth("nanomdm", word)
			}
			resp, err := http.DefaultClient.Do(request)
			require.NoError(t, err)
			resp.Body.Close()
			require.Equal(t, http.StatusUnauthorized, resp.StatusCode, path)
		}
	}
	request, err := http.NewRequest(http.MethodPost, url+"/v1/activationlock/XXFAKE0SER1/unlock", strings.NewReader(`{}`))
	require.NoError(t, err)
	request.SetBasicAuth("nanomdm", password)
	request.Header.Set("Sec-Fetch-Site", "cross-site")
	resp, err := http.DefaultClient.Do(request)
	require.NoError(t, err)
	resp.Body.Close()
	require.Equal(t, http.StatusForbidden, resp.StatusCode)

	status, _ := w.call(http.MethodPost, "/v1/escrowkeyunlock", "")
	require.Equal(t, http.StatusNotFound, status, "it goes past the audit")
	status, body := w.call(http.MethodGet, "/v1/activationlock/XXFAKE0SER1", "")
	require.Equal(t, http.StatusNotFound, status, body)

	// What NanoMDM cannot parse neither ends the process nor gets into the log.
	status, _ = w.call(http.MethodPut, "/v1/enqueue/x", "bplist00\xa0\x08")
	require.Equal(t, http.StatusBadRequest, status)
	w.call(http.MethodPut, "/v1/enqueue/x", "<plist><dict><key>CommandUUID</key><integer>1</integer><key>PIN</key><string>geheim</string></dict></plist>")
	require.Contains(t, w.log.String(), "not readable")
	require.NotContains(t, w.log.String(), "geheim")

	w = newWorld(t)
	w.settings.apiKey = ""
	w.start()
	status, _ = w.call(http.MethodGet, "/v1/activationlock/report.csv", "")
	require.Equal(t, http.StatusNotFound, status, "there is no API without a password")
}
