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
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/micromdm/nanolib/log/stdlogfmt"
	"github.com/micromdm/nanomdm/mdm"
	"github.com/micromdm/nanomdm/push"
	"github.com/micromdm/nanomdm/service"
	"github.com/micromdm/nanomdm/service/certauth"
	"github.com/micromdm/nanomdm/test/enrollment"
	"github.com/micromdm/plist"
	"github.com/stretchr/testify/require"

	"github.com/activationlock/sdk/activationlock"
	"github.com/activationlock/sdk/activationlock/engine"
	"github.com/activationlock/sdk/activationlock/sqlstore"
	"github.com/activationlock/sdk/bypasscode/escrow"
	"github.com/activationlock/sdk/bypasscode/seal"
	"github.com/activationlock/sdk/examples/internal/database"
	"github.com/activationlock/sdk/examples/nanomdm/decorator"
	"github.com/activationlock/sdk/inventory"
	"github.com/activationlock/sdk/mdmcmd"
)

const (
	code  = "3UM43-PUYVY-QYD1-UVCC-HEHJ-FKA4"
	code2 = "8LNYD-DVNKU-GYRC-E6GU-3YFD-CT86"
)

// world is the program with what is around it, behind a real HTTP server.
type world struct {
	*host
	t        *testing.T
	settings settings
	dialect  sqlstore.Dialect
	outside  outside
	url      string
	log      journal // of NanoMDM
	ownLog   journal
	pushed   chan string   // whom a push went to
	hold     chan struct{} // a push does not end before; nil holds none

	mu     sync.Mutex
	now    time.Time
	events []engine.Event
}

// journal is a log that is read while others write it.
type journal struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (j *journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.Write(p)
}

func (j *journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.String()
}

// clock moves on whenever somebody looks at it.
func (w *world) clock() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.now = w.now.Add(time.Second)
	return w.now
}

func (w *world) pass(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.now = w.now.Add(d)
}

func (w *world) event(_ context.Context, e engine.Event) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.events = append(w.events, e)
}

func (w *world) lastEvent() engine.EventType {
	types := w.eventTypes()
	return types[len(types)-1]
}

// anybody verifies every certificate: test devices sign their own.
type anybody struct{}

func (anybody) Verify(_ context.Context, c *x509.Certificate) error {
	if c == nil {
		return errors.New("no certificate")
	}
	return nil
}

// Push is a push service that reaches everybody.
func (w *world) Push(_ context.Context, ids []string) (map[string]*push.Response, error) {
	answers := map[string]*push.Response{}
	for _, id := range ids {
		w.pushed <- id
		if w.hold != nil {
			<-w.hold
		}
		answers[id] = &push.Response{Id: "example"}
	}
	return answers, nil
}

const (
	topic    = "com.apple.mgmt.External.example"
	password = "0123456789abcdef0123456789abcdef"
)

func newWorld(t *testing.T) *world {
	t.Helper()
	folder := t.TempDir()
	w := &world{t: t, dialect: sqlstore.SQLite, now: time.Date(2026, 11, 22, 9, 0, 0, 0, time.UTC), pushed: make(chan string, 99)}
	w.settings = settings{
		storage: filepath.Join(folder, "nanomdm"), db: filepath.Join(folder, "codes.db"),
		key: filepath.Join(folder, "escrow.key"), apiKey: filepath.Join(folder, "api.key"),
		organization: "Example School", topic: topic,
	}
	key, err := seal.GenerateKey(seal.X25519)
	require.NoError(t, err)
	require.NoError(t, seal.WriteKeyFile(w.settings.key, key))
	require.NoError(t, os.WriteFile(w.settings.apiKey, []byte(password+"\n"), 0o600))
	w.outside = outside{
		verifier: anybody{},
		logger:   slog.New(slog.NewTextHandler(&w.ownLog, &slog.HandlerOptions{Level: slog.LevelDebug})),
		nano:     stdlogfmt.New(stdlogfmt.WithLogger(stdlog.New(&w.log, "", 0)), stdlogfmt.WithDebug()),
		clock:    w.clock,
		onEvent:  w.event,
		pusher:   w,
	}
	return w
}

// start starts the program, as after a stop: nothing but its files is left.
func (w *world) start() {
	w.t.Helper()
	var err error
	w.host, err = newHost(w.t.Context(), w.settings, w.outside)
	require.NoError(w.t, err)
	started, server := w.host, httptest.NewServer(w.handler)
	w.t.Cleanup(func() {
		server.Close()
		require.NoError(w.t, started.close())
	})
	w.url = server.URL + "/mdm"
}

// useDatabase has the program keep everything in a database of a kind.
func (w *world) useDatabase(dialect sqlstore.Dialect) {
	w.t.Helper()
	w.dialect = dialect
	if dialect == sqlstore.SQLite {
		return
	}
	address := database.New(w.t, dialect).Source
	if dialect == sqlstore.MySQL {
		address = "mysql://" + address
	}
	w.settings.dsnFile, w.settings.db = w.settings.db, ""
	require.NoError(w.t, os.WriteFile(w.settings.dsnFile, []byte(address+"\n"), 0o600))
}

// failing has a database refuse new codes, until its second statement.
var failing = map[sqlstore.Dialect][2]string{
	sqlstore.SQLite: {
		"CREATE TRIGGER down BEFORE INSERT ON activationlock_codes BEGIN SELECT RAISE(FAIL, 'down'); END",
		"DROP TRIGGER down",
	},
	sqlstore.PostgreSQL: {
		"ALTER TABLE activationlock_codes ADD CONSTRAINT down CHECK (false) NOT VALID",
		"ALTER TABLE activationlock_codes DROP CONSTRAINT down",
	},
	sqlstore.MySQL: {
		"CREATE TRIGGER down BEFORE INSERT ON activationlock_codes FOR EACH ROW SIGNAL SQLSTATE '45000'",
		"DROP TRIGGER down",
	},
}

// escrowDown has the database refuse codes, or no longer.
func (w *world) escrowDown(down bool) {
	w.t.Helper()
	statement := failing[w.dialect][1]
	if down {
		statement = failing[w.dialect][0]
	}
	_, err := w.db.Exec(statement)
	require.NoError(w.t, err)
}

func (w *world) newDevice() *enrollment.Enrollment {
	w.t.Helper()
	d, err := enrollment.NewRandomDeviceEnrollment(http.DefaultClient, topic, w.url, "")
	require.NoError(w.t, err)
	return d
}

func (w *world) enroll() *enrollment.Enrollment {
	w.t.Helper()
	d := w.newDevice()
	require.NoError(w.t, d.DoEnroll(w.t.Context()))
	return d
}

type message map[string]any

// send posts a report and returns the HTTP status and the next command.
func (w *world) send(d *enrollment.Enrollment, body []byte) (int, *mdm.Command) {
	w.t.Helper()
	resp, err := d.DoReportAndFetch(w.t.Context(), bytes.NewReader(body))
	require.NoError(w.t, err)
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	require.NoError(w.t, err)
	if resp.StatusCode != http.StatusOK || len(answer) == 0 {
		return resp.StatusCode, nil
	}
	command, err := mdm.DecodeCommand(answer)
	require.NoError(w.t, err)
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
func (w *world) next(d *enrollment.Enrollment, body []byte, requestType string) string {
	w.t.Helper()
	status, command := w.send(d, body)
	require.Equal(w.t, http.StatusOK, status)
	if requestType == "" {
		require.Nil(w.t, command)
		return ""
	}
	require.NotNil(w.t, command)
	require.Equal(w.t, requestType, command.Command.RequestType)
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
func (w *world) askedForCode() (*enrollment.Enrollment, string) {
	w.t.Helper()
	d := w.enroll()
	info := w.next(d, report(d, "", nil), "DeviceInformation")
	return d, w.next(d, report(d, info, facts(d)), "ActivationLockBypassCode")
}

func (w *world) records(d *enrollment.Enrollment) []escrow.Record {
	w.t.Helper()
	records, err := w.escrow.Records(w.t.Context(), escrow.Subject{SerialNumber: d.SerialNumber()})
	require.NoError(w.t, err)
	return records
}

// stored reports whether a text stands in any file of NanoMDM's storage.
func (w *world) stored(text string) bool {
	w.t.Helper()
	found := false
	require.NoError(w.t, filepath.WalkDir(w.settings.storage, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		found = found || bytes.Contains(data, []byte(text)) || strings.Contains(path, text)
		return err
	}))
	return found
}

func (w *world) eventTypes() []engine.EventType {
	w.mu.Lock()
	defer w.mu.Unlock()
	types := []engine.EventType{}
	for _, e := range w.events {
		types = append(types, e.Type)
	}
	return types
}

// One device, from enrollment to the permission to lock, with escrow down when
// the code comes.
func TestOneDevice(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.start()
	d, ask := w.askedForCode()

	w.escrowDown(true)
	for range 2 {
		status, _ := w.send(d, codeReport(d, ask, code))
		require.Equal(t, http.StatusInternalServerError, status, "the device must send it again")
	}
	require.Empty(t, w.records(d))
	require.False(t, w.stored(code))

	w.escrowDown(false)
	settings := w.next(d, codeReport(d, ask, code), "Settings")
	held := w.records(d)
	require.Len(t, held, 1)
	text, err := w.escrow.Reveal(t.Context(), escrow.Reveal{
		Subject: held[0].Subject, RecordID: held[0].ID, Purpose: escrow.ToUnlock,
		Act: escrow.Act{Actor: "tester", Reason: "test"},
	})
	require.NoError(t, err)
	require.Equal(t, code, text.Reveal())
	require.Equal(t, "iPhone17,3", held[0].Device.ProductType)

	w.next(d, report(d, settings, message{"Settings": []message{{"Item": "MDMOptions", "Status": "Acknowledged"}}}), "")
	w.next(d, report(d, "", nil), "")
	details, err := w.engine.Device(t.Context(), d.SerialNumber())
	require.NoError(t, err)
	require.Equal(t, activationlock.NotEnabled, details.Status)

	require.True(t, w.stored(d.ID()), "the search finds what is there")
	require.True(t, w.stored(mdmcmd.Redacted), "the report is stored without its code")
	require.False(t, w.stored(code))
	require.False(t, w.stored(strings.ReplaceAll(code, "-", "")))
	require.NotContains(t, w.log.String(), code)

	// The stored report comes back, as from a webhook's archive.
	before := w.records(d)
	w.next(d, codeReport(d, ask, mdmcmd.Redacted), "")
	require.Equal(t, before, w.records(d))
	require.Equal(t, engine.AlreadyRedacted, w.lastEvent())

	// So does the one with the code.
	w.next(d, codeReport(d, ask, code), "")
	require.Equal(t, before, w.records(d))

	// The device enrolls again: what it was asked is asked again, and NanoMDM drops
	// the permission that it did not come for.
	require.NoError(t, decorator.Enqueue(t.Context(), w.store, d.ID(), []engine.Queued{{Plist: []byte(`<plist><dict><key>CommandUUID</key><string>old</string>
		<key>Command</key><dict><key>RequestType</key><string>Settings</string></dict></dict></plist>`)}}))
	require.NoError(t, d.DoEnroll(t.Context()))
	info := w.next(d, report(d, "", nil), "DeviceInformation")
	ask = w.next(d, report(d, info, facts(d)), "ActivationLockBypassCode")
	w.next(d, codeReport(d, ask, code2), "Settings")
	require.Len(t, w.records(d), 2)
	require.False(t, w.stored(code2))
}

// The host's own command is answered with 5 MiB, and the queue goes on.
func TestForeignReports(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.start()
	d := w.enroll()
	own, err := mdm.DecodeCommand([]byte(`<plist><dict><key>CommandUUID</key><string>of-the-host</string>
		<key>Command</key><dict><key>RequestType</key><string>InstalledApplicationList</string></dict></dict></plist>`))
	require.NoError(t, err)
	_, err = w.store.EnqueueCommand(t.Context(), []string{d.ID()}, own)
	require.NoError(t, err)
	info := w.next(d, report(d, "", nil), "DeviceInformation")
	w.next(d, report(d, info, facts(d)), "InstalledApplicationList")
	applications := report(d, own.CommandUUID, message{"InstalledApplicationList": []message{{"Name": strings.Repeat("x", 5<<20)}}})
	ask := w.next(d, applications, "ActivationLockBypassCode")
	require.True(t, w.stored(strings.Repeat("x", 5<<20)), "the host has all of its report")
	w.next(d, codeReport(d, ask, code), "Settings")
}

// One device speaks for another.
func TestAnotherDevicesReport(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.start()
	victim, ask := w.askedForCode()
	attacker := w.enroll()
	known := func() (records []inventory.Record) {
		for _, d := range []*enrollment.Enrollment{victim, attacker} {
			r, err := w.host.records.Get(t.Context(), d.ID())
			require.NoError(t, err)
			records = append(records, r)
		}
		return records
	}
	before, events := known(), w.eventTypes()
	unrecorded := func() {
		t.Helper()
		require.Equal(t, before, known())
		require.Equal(t, events, w.eventTypes())
		require.Empty(t, w.records(victim))
		require.Empty(t, w.records(attacker))
		require.False(t, w.stored(code2))
	}
	status, _ := w.send(attacker, codeReport(victim, ask, code2))
	require.Equal(t, http.StatusInternalServerError, status, "NanoMDM's own check")
	unrecorded()

	// Nor is it believed where that check is missing, and no check-in either. NanoMDM,
	// which comes after it with a report, does not see it.
	d, request := w.around(&unreached{t: t}), attacker.NewMDMRequest(t.Context())
	results, err := mdm.DecodeCommandResults(codeReport(victim, ask, code2))
	require.NoError(t, err)
	_, err = d.CommandAndReportResults(request, results)
	require.ErrorIs(t, err, certauth.ErrNoCertAssoc)
	as := mdm.Enrollment{UDID: victim.ID()}
	for _, messageType := range []string{"Authenticate", "TokenUpdate", "CheckOut"} {
		raw, err := plist.Marshal(message{"MessageType": messageType, "UDID": victim.ID(), "SerialNumber": "XXFORGED", "Topic": topic, "PushMagic": "x", "Token": []byte("x")})
		require.NoError(t, err)
		switch messageType {
		case "Authenticate":
			err = d.Authenticate(request, &mdm.Authenticate{Enrollment: as, Raw: raw})
		case "TokenUpdate":
			err = d.TokenUpdate(request, &mdm.TokenUpdate{Enrollment: as, Raw: raw})
		case "CheckOut":
			err = d.CheckOut(request, &mdm.CheckOut{Enrollment: as, Raw: raw})
		}
		require.ErrorIs(t, err, certauth.ErrNoCertAssoc, messageType)
	}
	request.Certificate = nil
	require.ErrorIs(t, d.CheckOut(request, &mdm.CheckOut{Enrollment: as}), certauth.ErrNoCertAssoc)
	require.ErrorIs(t, d.CheckOut(attacker.NewMDMRequest(t.Context()), &mdm.CheckOut{}), certauth.ErrNoCertAssoc, "nobody is named")
	unrecorded()

	// What NanoMDM and the engine read differently is not believed either: the engine
	// reads the bytes by itself.
	d.CheckinAndCommandService = &nothing{}
	results.UDID = attacker.ID()
	_, err = d.CommandAndReportResults(attacker.NewMDMRequest(t.Context()), results)
	require.NoError(t, err)
	require.Equal(t, engine.NotBelieved, w.lastEvent())
	require.NotContains(t, string(results.Raw), code2)
	events = append(events, engine.NotBelieved)
	unrecorded()

	// The victim's certificate is known by now, and none but that speaks for it.
	for who, want := range map[*enrollment.Enrollment]error{victim: nil, attacker: certauth.ErrNoCertAssoc} {
		for range 2 {
			idle, err := mdm.DecodeCommandResults(report(victim, "", nil))
			require.NoError(t, err)
			_, err = d.CommandAndReportResults(who.NewMDMRequest(t.Context()), idle)
			require.ErrorIs(t, err, want)
		}
	}

	w.next(victim, codeReport(victim, ask, code), "Settings")
}

// A device names the serial number of another one.
func TestForgedSerialNumber(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.start()
	victim, ask := w.askedForCode()
	w.next(victim, codeReport(victim, ask, code), "Settings")
	attacker := w.enroll()
	info := w.next(attacker, report(attacker, "", nil), "DeviceInformation")
	lie := facts(attacker)
	lie["QueryResponses"].(message)["SerialNumber"] = victim.SerialNumber()
	ask = w.next(attacker, report(attacker, info, lie), "ActivationLockBypassCode")
	w.next(attacker, codeReport(attacker, ask, code2), "Settings")
	require.Contains(t, w.eventTypes(), engine.SerialDisputed)
	held := w.records(victim)
	require.Len(t, held, 1, "the attacker's code is filed under its own serial number")
	require.Equal(t, victim.ID(), held[0].EnrollmentID)
	require.Len(t, w.records(attacker), 1)
}

// What would end NanoMDM's process, or put a code into its log, does not reach
// it.
func TestGuard(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.start()
	d, ask := w.askedForCode()
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
			status, _ := w.send(d, test.body)
			require.Equal(t, test.status, status)
			require.NotContains(t, w.log.String(), code)
		})
	}
	request, err := http.NewRequest(http.MethodPut, w.url, bytes.NewReader(report(d, "", nil)))
	require.NoError(t, err)
	request.Header.Set("Mdm-Signature", "MIQ=") // two bytes that end a process whose CMS reader is old
	resp, err := http.DefaultClient.Do(request)
	require.NoError(t, err)
	resp.Body.Close()
	require.Equal(t, http.StatusBadRequest, resp.StatusCode)
	w.next(d, codeReport(d, ask, code), "Settings")
}

// unreached is a service that no report must come to.
type unreached struct {
	service.NopService
	t *testing.T
}

func (u *unreached) CommandAndReportResults(*mdm.Request, *mdm.CommandResults) (*mdm.Command, error) {
	u.t.Error("a forged report was passed on")
	return nil, nil
}

// nothing is a service that does nothing, in place of NanoMDM's.
type nothing struct{ service.NopService }
