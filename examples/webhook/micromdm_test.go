package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/micromdm/plist"
	"github.com/stretchr/testify/require"

	"github.com/activationlock/sdk/activationlock/activationlocktest"
	"github.com/activationlock/sdk/inventory"
	"github.com/activationlock/sdk/mdmcmd"
)

// playedMicroMDM plays MicroMDM, as far as its source tells: an API for raw
// commands, a queue that is emptied when a device enrolls, and a worker that posts
// events one by one and drops those that fail.
type playedMicroMDM struct {
	t    *testing.T
	hook string // where events go

	mu      sync.Mutex
	queues  map[string][][]byte
	dropped int
}

// ServeHTTP is the API.
func (m *playedMicroMDM) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if user, key, _ := r.BasicAuth(); user != "micromdm" || key != apiKey {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	raw, err := io.ReadAll(r.Body)
	var command struct {
		CommandUUID string
		Command     struct{ RequestType string }
	}
	if err == nil {
		err = plist.Unmarshal(raw, &command)
	}
	if err == nil && (command.CommandUUID == "" || command.Command.RequestType == "") {
		err = errors.New("malformed")
	}
	if err != nil {
		w.WriteHeader(http.StatusInternalServerError)
		return
	}
	udid := r.PathValue("udid")
	m.mu.Lock()
	m.queues[udid] = append(m.queues[udid], raw)
	m.mu.Unlock()
	w.WriteHeader(http.StatusCreated)
	json.NewEncoder(w).Encode(object{"payload": object{
		"udid": udid, "command_uuid": command.CommandUUID,
		"command": object{"request_type": command.Command.RequestType}, "payload": raw,
	}})
}

// next takes the next command out of a queue, nil if there is none.
func (m *playedMicroMDM) next(udid string) []byte {
	m.mu.Lock()
	defer m.mu.Unlock()
	q := m.queues[udid]
	if len(q) == 0 {
		return nil
	}
	m.queues[udid] = q[1:]
	return q[0]
}

// post tells the webhook what a device said, in the form of the recorded events.
func (m *playedMicroMDM) post(ctx context.Context, raw []byte) {
	m.t.Helper()
	message, err := mdmcmd.Parse(raw)
	require.NoError(m.t, err)
	udid := message.From().UDID
	checkin := object{"udid": udid, "url_params": object{}, "raw_payload": raw}
	event := object{"event_id": "7d1a2c3e-0000-4000-8000-000000000000", "created_at": time.Now().UTC()}
	switch message := message.(type) {
	case *mdmcmd.Authenticate:
		event["topic"], event["checkin_event"] = topicAuthenticate, checkin
		m.mu.Lock()
		m.queues[udid] = nil
		m.mu.Unlock()
	case *mdmcmd.TokenUpdate:
		event["topic"], event["checkin_event"] = topicTokenUpdate, checkin
	case *mdmcmd.Report:
		event["topic"], event["acknowledge_event"] = topicConnect, object{
			"udid": udid, "status": message.Status, "command_uuid": message.CommandUUID, "url_params": nil, "raw_payload": raw,
		}
	default:
		m.t.Fatalf("an event of %T", message)
	}
	body, err := json.MarshalIndent(event, "", "  ")
	require.NoError(m.t, err)
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, m.hook, bytes.NewReader(body))
	require.NoError(m.t, err)
	req.Header.Set("Content-Type", "application/json; charset=utf-8")
	resp, err := http.DefaultClient.Do(req)
	if err == nil {
		resp.Body.Close()
	}
	if err != nil || resp.StatusCode >= 400 {
		m.mu.Lock()
		m.dropped++
		m.mu.Unlock()
	}
}

// pushed reports whether a device was pushed, which it is when something is queued.
func (m *playedMicroMDM) pushed(d *activationlocktest.Device) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.queues[d.ID()]) > 0
}

// poll is what a device does after a push.
func (m *playedMicroMDM) poll(ctx context.Context, d *activationlocktest.Device) {
	m.t.Helper()
	messages, err := d.Idle()
	for {
		require.NoError(m.t, err)
		for _, raw := range messages {
			m.post(ctx, raw)
		}
		command := m.next(d.ID())
		if command == nil {
			return
		}
		messages, err = d.Answer(command)
	}
}

// MicroMDM drops what it cannot post: the schedule repairs that.
func TestMicroMDMDropsTheCode(t *testing.T) {
	t.Parallel()
	m := &playedMicroMDM{t: t, queues: map[string][][]byte{}}
	mux := http.NewServeMux()
	mux.Handle("POST /v1/commands/{udid}", m)
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	p := newProgram(t, "-server", "micromdm", "-server-url", server.URL)
	p.secrets = []string{variable("password") + "=" + password}
	m.hook = p.front.URL + "/webhook"
	d, err := activationlocktest.NewDevice(activationlocktest.DeviceConfig{SerialNumber: serial, Supervised: true})
	require.NoError(t, err)

	dead := p.killsAtCode()
	p.start()
	o := p.open()
	messages, err := d.Enroll()
	require.NoError(t, err)
	m.post(t.Context(), messages[0])
	require.Equal(t, 1, m.dropped, "it shows no password")
	m.hook = "http://micromdm:" + password + "@" + m.hook[len("http://"):]
	for _, raw := range messages {
		m.post(t.Context(), raw)
	}
	m.poll(t.Context(), d)
	<-dead
	require.Equal(t, 2, m.dropped, "the code")
	require.Empty(t, o.codes(d))
	require.Zero(t, o.exchange(d, "Settings"), "without a code in escrow the lock is not allowed")

	p.start()
	until(t, "the lock is allowed", func(ctx context.Context) bool {
		if m.pushed(d) { // it is silent else
			m.poll(ctx, d)
		}
		return o.exchange(d, "Settings").Answer == inventory.Done
	})
	o.requireSafe(d)
	require.Equal(t, 2, m.dropped)
	requireDiscreet(t, d, p.said.String())
}
