package embedding

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/activationlock/sdk/activationlock/activationlocktest"
	"github.com/activationlock/sdk/activationlock/engine"
	"github.com/activationlock/sdk/activationlock/memstore"
	"github.com/activationlock/sdk/bypasscode/escrow"
	"github.com/activationlock/sdk/bypasscode/seal"
	"github.com/activationlock/sdk/mdmcmd"
)

// world is an engine, a device, and the queue of the server between them.
type world struct {
	t      *testing.T
	locks  *engine.Engine
	codes  *escrow.Escrow
	device *activationlocktest.Device
	down   bool // the escrow
	queued []engine.Queued
}

var errDown = errors.New("down")

type mayFail struct {
	escrow.Store
	w *world
}

func (m mayFail) Update(ctx context.Context, s escrow.Subject, change func([]escrow.Entry) ([]escrow.Entry, error)) error {
	if m.w.down {
		return errDown
	}
	return m.Store.Update(ctx, s, change)
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t}
	key, err := seal.GenerateKey(seal.X25519)
	require.NoError(t, err)
	keys, err := seal.NewKeyring([]seal.PublicKey{key.Public()})
	require.NoError(t, err)
	stores := memstore.New()
	w.codes, err = escrow.New(escrow.Config{Store: mayFail{stores.Escrow(), w}, Sealer: keys})
	require.NoError(t, err)
	now := func() time.Time { return time.Date(2026, 11, 30, 9, 0, 0, 0, time.UTC) }
	w.locks, err = engine.New(engine.Config{
		Escrow: w.codes, Inventory: stores.Inventory(), Clock: now,
		Policy: engine.Policy{Options: mdmcmd.MDMOptions{ActivationLockAllowedWhileSupervised: new(true)}},
	})
	require.NoError(t, err)
	w.device, err = activationlocktest.NewDevice(activationlocktest.DeviceConfig{SerialNumber: "XXFAKE0SER1", Supervised: true, Now: now})
	require.NoError(t, err)
	return w
}

func (w *world) queue(_ context.Context, id string, commands []engine.Queued) error {
	require.True(w.t, len(commands) == 0 || id == w.device.ID())
	w.queued = append(w.queued, commands...)
	return nil
}

// life enrolls the device and has it answer until nothing is queued. Its report with
// the code is refused once, while the escrow is down, and comes again.
func (w *world) life(checkin, report func(raw []byte) error) {
	messages, err := w.device.Enroll()
	require.NoError(w.t, err)
	for _, m := range messages {
		require.NoError(w.t, checkin(m))
	}
	idle, err := w.device.Idle()
	require.NoError(w.t, err)
	require.NoError(w.t, report(idle[0]))
	asked := []string{}
	for len(w.queued) > 0 {
		command := w.queued[0]
		w.queued = w.queued[1:]
		asked = append(asked, command.RequestType)
		answers, err := w.device.Answer(command.Plist)
		require.NoError(w.t, err)
		if command.RequestType == "ActivationLockBypassCode" {
			w.down = true
			require.Error(w.t, report(answers[0]), "the device has to send it again")
			w.down = false
		}
		require.NoError(w.t, report(answers[0]))
	}
	require.Equal(w.t, []string{"DeviceInformation", "ActivationLockBypassCode", "Settings"}, asked)
	held, err := w.codes.Records(w.t.Context(), escrow.Subject{SerialNumber: "XXFAKE0SER1"})
	require.NoError(w.t, err)
	require.Len(w.t, held, 1)
	require.Equal(w.t, escrow.Current, held[0].State)
}

// withoutCode reads what the server keeps.
func (w *world) withoutCode(raw []byte) {
	require.NotEmpty(w.t, raw)
	require.NotContains(w.t, string(raw), w.device.Code().Reveal())
}

type fakeFleet struct {
	*world
	handlers map[string]func(context.Context, results) error
}

func (f *fakeFleet) RegisterResultsHandler(requestType string, handler func(context.Context, results) error) {
	f.handlers[requestType] = handler
}

func (f *fakeFleet) EnqueueCommand(_ context.Context, hosts []string, raw string) error {
	require.Equal(f.t, []string{f.device.ID()}, hosts)
	requestType := regexp.MustCompile(`<key>RequestType</key>\s*<string>(\w+)</string>`).FindStringSubmatch(raw)[1]
	f.queued = append(f.queued, engine.Queued{RequestType: requestType, Plist: []byte(raw)})
	return nil
}

type fleetResults struct {
	host string
	raw  []byte
}

func (r fleetResults) HostUUID() string { return r.host }
func (r fleetResults) Raw() []byte      { return r.raw }

func TestFleet(t *testing.T) {
	t.Parallel()
	f := &fakeFleet{newWorld(t), map[string]func(context.Context, results) error{}}
	intoFleet(f, f.locks)
	require.Len(t, f.handlers, 4)
	answering := "" // Fleet knows what a report answers
	f.life(func(raw []byte) error {
		out, err := f.locks.HandleCheckin(t.Context(), engine.Enrollment{ID: f.device.ID()}, raw)
		require.NoError(t, err)
		return queueInFleet(t.Context(), f, f.device.ID(), out.Commands)
	}, func(raw []byte) error {
		for requestType, sign := range map[string]string{
			"DeviceInformation": "QueryResponses", "ActivationLockBypassCode": "<key>ActivationLockBypassCode", "Settings": "<key>Settings",
		} {
			if strings.Contains(string(raw), sign) {
				answering = requestType
				return f.handlers[requestType](t.Context(), fleetResults{f.device.ID(), raw})
			}
		}
		return nil // of no handler
	})
	require.Equal(t, "Settings", answering)
}

// inner is MicroMDM's own service.
type inner struct{ *world }

func (i inner) Checkin(context.Context, checkinEvent) ([]byte, error) { return []byte("payload"), nil }

func (i inner) Acknowledge(_ context.Context, e acknowledgeEvent) ([]byte, error) {
	i.withoutCode(e.Raw)
	return []byte("payload"), nil
}

func TestMicroMDM(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	m := intoMicroMDM{inner{w}, w.locks, w.queue}
	w.life(func(raw []byte) error {
		e := checkinEvent{Raw: raw}
		e.Command.UDID = w.device.ID()
		payload, err := m.Checkin(t.Context(), e)
		require.Equal(t, "payload", string(payload))
		return err
	}, func(raw []byte) error {
		e := acknowledgeEvent{Raw: raw}
		e.Response.UDID = w.device.ID()
		payload, err := m.Acknowledge(t.Context(), e)
		require.Equal(t, err == nil, len(payload) > 0)
		return err
	})
}

func TestNanoCMD(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	type message struct {
		UDID   string `json:"udid"`
		Status string `json:"status,omitempty"`
		Raw    []byte `json:"raw_payload"`
	}
	seen := 0
	h := beforeNanoCMD(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		require.NoError(t, err)
		require.EqualValues(t, len(body), r.ContentLength)
		var event struct {
			Topic       string
			Checkin     *message `json:"checkin_event"`
			Acknowledge *message `json:"acknowledge_event"`
		}
		require.NoError(t, json.Unmarshal(body, &event))
		m := event.Checkin
		if event.Topic == "mdm.Connect" {
			m = event.Acknowledge
			require.Equal(t, "as it was", m.Status)
		}
		require.Equal(t, w.device.ID(), m.UDID)
		w.withoutCode(m.Raw)
		seen++
	}), w.locks, w.queue)
	post := func(topic, key string, raw []byte) error {
		body, err := json.Marshal(map[string]any{"topic": topic, key: message{w.device.ID(), "as it was", raw}})
		require.NoError(t, err)
		out := httptest.NewRecorder()
		h.ServeHTTP(out, httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/webhook", bytes.NewReader(body)))
		if out.Code != http.StatusOK {
			return errors.New(out.Result().Status)
		}
		return nil
	}
	w.life(func(raw []byte) error { return post("mdm.TokenUpdate", "checkin_event", raw) },
		func(raw []byte) error { return post("mdm.Connect", "acknowledge_event", raw) })
	require.Equal(t, 2+1+3, seen)

	for _, junk := range []string{"", "x", "[]", strings.Repeat(" ", maxEvent+1)} {
		out := httptest.NewRecorder()
		h.ServeHTTP(out, httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/webhook", strings.NewReader(junk)))
		require.Equal(t, http.StatusBadRequest, out.Code)
	}
}

// The lines in the README are these.
func TestReadme(t *testing.T) {
	t.Parallel()
	readme, err := os.ReadFile("../README.md")
	require.NoError(t, err)
	for name, file := range map[string]string{
		"fleet": "fleet.go", "micromdm": "micromdm.go", "nanocmd": "nanocmd.go", "nanomdm": "../nanomdm/decorator/decorator.go",
	} {
		source, err := os.ReadFile(file)
		require.NoError(t, err)
		_, code, begins := strings.Cut(string(source), "// README "+name+" begin\n\n")
		code, _, ends := strings.Cut(code, "\n// README "+name+" end\n")
		require.True(t, begins && ends, file)
		require.Contains(t, string(readme), "```go\n"+code+"```\n", file)
	}
}
