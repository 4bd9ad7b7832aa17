package main

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/activationlock/sdk/activationlock/engine"
	"github.com/activationlock/sdk/activationlock/memstore"
	"github.com/activationlock/sdk/bypasscode/audit"
	"github.com/activationlock/sdk/bypasscode/escrow"
	"github.com/activationlock/sdk/bypasscode/seal"
	"github.com/activationlock/sdk/inventory"
	"github.com/activationlock/sdk/mdmcmd"
)

const (
	udid   = "00008120-000000000000001E" // of the recorded events
	serial = "XXFAKE0SER1"
	code   = "3UM43-PUYVY-QYD1-UVCC-HEHJ-FKA4"
)

// fixture is the program without its process: stores in memory, a clock of its
// own, and a server that only remembers.
type fixture struct {
	t       *testing.T
	hook    *webhook
	records *watched
	escrow  *escrow.Escrow
	log     bytes.Buffer

	mu        sync.Mutex
	now       time.Time
	down      bool  // escrow
	refuses   error // the server
	delivered []string
	events    []engine.EventType
}

type faulty struct {
	escrow.Store
	fixture *fixture
}

func (s faulty) Update(ctx context.Context, subject escrow.Subject, change func([]escrow.Entry) ([]escrow.Entry, error)) error {
	if s.fixture.down {
		return errors.New("escrow is down")
	}
	return s.Store.Update(ctx, subject, change)
}

// watched is an inventory that notices when it is used by two at the same time.
type watched struct {
	inventory.Store
	busy       sync.Mutex
	overlapped atomic.Bool
}

func (s *watched) Update(ctx context.Context, id string, change func(*inventory.Record) error) error {
	if !s.busy.TryLock() {
		s.overlapped.Store(true)
		s.busy.Lock()
	}
	defer s.busy.Unlock()
	for range 100 {
		runtime.Gosched() // to whoever wants in
	}
	return s.Store.Update(ctx, id, change)
}

// deliver implements server.
func (f *fixture) deliver(_ context.Context, id string, commands []engine.Queued) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, c := range commands {
		f.delivered = append(f.delivered, id+" "+c.RequestType)
	}
	return f.refuses
}

func newFixture(t *testing.T) *fixture {
	t.Helper()
	f := &fixture{t: t, now: time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)}
	stores := memstore.New()
	f.records = &watched{Store: stores.Inventory()}
	key, err := seal.GenerateKey(seal.X25519)
	require.NoError(t, err)
	keys, err := seal.NewKeyring([]seal.PublicKey{key.Public()}, key)
	require.NoError(t, err)
	acts, err := audit.New(audit.Config{Store: stores.Audit()})
	require.NoError(t, err)
	f.escrow, err = escrow.New(escrow.Config{Store: faulty{stores.Escrow(), f}, Sealer: keys, Audit: acts})
	require.NoError(t, err)
	log := slog.New(slog.NewTextHandler(&f.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	counted, err := newNumbers(f.records)
	require.NoError(t, err)
	commands := 0
	e, err := engine.New(engine.Config{
		Escrow: f.escrow, Inventory: f.records, Logger: log, Observer: counted.engine,
		Policy: engine.Policy{Options: mdmcmd.MDMOptions{ActivationLockAllowedWhileSupervised: new(true)}},
		Clock: func() time.Time {
			f.mu.Lock()
			defer f.mu.Unlock()
			f.now = f.now.Add(time.Second)
			return f.now
		},
		NewUUID: func() string {
			f.mu.Lock()
			defer f.mu.Unlock()
			commands++
			return fmt.Sprintf("activationlock-%d", commands)
		},
		OnEvent: func(_ context.Context, e engine.Event) {
			f.mu.Lock()
			defer f.mu.Unlock()
			f.events = append(f.events, e.Type)
		},
	})
	require.NoError(t, err)
	commands = 0 // New tried it
	f.hook = &webhook{engine: e, server: f, log: log, numbers: counted}
	t.Cleanup(func() { require.NotContains(t, f.log.String(), code) })
	return f
}

// post posts a body and returns the status of the answer.
func (f *fixture) post(body []byte, change ...func(*http.Request)) int {
	f.t.Helper()
	r := httptest.NewRequest(http.MethodPost, "/webhook", bytes.NewReader(body))
	r.Header.Set("Content-Type", "application/json; charset=utf-8")
	for _, c := range change {
		c(r)
	}
	w := httptest.NewRecorder()
	f.hook.ServeHTTP(w, r)
	require.NotContains(f.t, w.Body.String(), code)
	return w.Code
}

// next posts an event that must be taken in, and returns what was delivered.
func (f *fixture) next(body []byte) []string {
	f.t.Helper()
	f.delivered = nil
	require.Equal(f.t, http.StatusOK, f.post(body))
	return f.delivered
}

// held returns the codes of a device.
func (f *fixture) held(subject escrow.Subject) (codes []string) {
	f.t.Helper()
	records, err := f.escrow.Records(f.t.Context(), subject)
	require.NoError(f.t, err)
	for _, r := range records {
		text, err := f.escrow.Reveal(f.t.Context(), escrow.Reveal{
			Subject: r.Subject, RecordID: r.ID, Purpose: escrow.ToUnlock, Act: escrow.Act{Actor: "tester", Reason: "test"},
		})
		require.NoError(f.t, err)
		codes = append(codes, text.Reveal())
	}
	return codes
}

// recorded returns the recorded events of MicroMDM, in their order.
func recorded(t *testing.T) (events [][]byte) {
	t.Helper()
	files, err := filepath.Glob("testdata/micromdm/*.json")
	require.NoError(t, err)
	require.Len(t, files, 7)
	for _, name := range files {
		content, err := os.ReadFile(name)
		require.NoError(t, err)
		events = append(events, content)
	}
	return events
}

// The life of a device as MicroMDM tells it.
func TestMicroMDMEvents(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	want := [][]string{
		nil, // Authenticate
		{udid + " DeviceInformation"},
		{udid + " ActivationLockBypassCode"},
		{udid + " Settings"},
		nil, // Settings acknowledged
		nil, // Idle
		nil, // CheckOut
	}
	for i, event := range recorded(t) {
		require.Equal(t, want[i], f.next(event), "event %d", i+1)
	}
	require.Equal(t, []string{code}, f.held(escrow.Subject{SerialNumber: serial}))
	r, err := f.records.Get(t.Context(), udid)
	require.NoError(t, err)
	require.False(t, r.Live())
}

// Every event may come again, late, and in any order: nothing is lost by that, and
// no code is kept twice.
func TestReplays(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	events := recorded(t)[:6]
	for _, event := range events {
		for range 3 {
			f.next(event)
		}
	}
	before, err := f.escrow.Records(t.Context(), escrow.Subject{SerialNumber: serial})
	require.NoError(t, err)
	require.Len(t, before, 1)
	// A report says nothing new when it comes again, and asks for nothing.
	for _, event := range slices.Backward(events[2:]) {
		require.Empty(t, f.next(event))
	}
	for _, event := range slices.Backward(events) {
		f.next(event)
	}
	require.Equal(t, []string{code}, f.held(escrow.Subject{SerialNumber: serial}))
	after, err := f.escrow.Records(t.Context(), escrow.Subject{SerialNumber: serial})
	require.NoError(t, err)
	require.Equal(t, before[0].ID, after[0].ID)
	require.Equal(t, escrow.Current, after[0].State)
}

// A code that cannot be committed is answered with 500, and taken in when it comes
// again. MicroMDM does not send it again, so its question stays open.
func TestEscrowDown(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	events := recorded(t)
	for _, event := range events[:3] {
		f.next(event)
	}
	f.down = true
	require.Equal(t, http.StatusInternalServerError, f.post(events[3]))
	f.down = false
	require.Empty(t, f.held(escrow.Subject{SerialNumber: serial}))
	require.Empty(t, f.next(events[5]), "the question is open, not lost: it is not asked twice at once")

	f.now = f.now.Add(25 * time.Hour)
	f.delivered = nil
	batches, err := f.hook.engine.Tick(t.Context(), 10)
	require.NoError(t, err)
	require.Len(t, batches, 1)
	require.NoError(t, f.hook.deliverBatch(t.Context(), batches[0]))
	require.Contains(t, f.delivered, udid+" ActivationLockBypassCode")

	require.Equal(t, []string{udid + " Settings"}, f.next(events[3]), "the first question is still answered")
	require.Equal(t, []string{code}, f.held(escrow.Subject{SerialNumber: serial}))
}

// What the server does not queue is asked again, and the event is no failure.
func TestServerDown(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	events := recorded(t)
	f.refuses = errors.New("connection refused")
	f.next(events[0])
	require.Equal(t, []string{udid + " DeviceInformation"}, f.next(events[1]))
	require.Contains(t, f.log.String(), "connection refused")
	f.refuses, f.delivered = nil, nil
	f.now = f.now.Add(25 * time.Hour)
	batches, err := f.hook.engine.Tick(t.Context(), 10)
	require.NoError(t, err)
	require.Len(t, batches, 1)
	require.Equal(t, udid, batches[0].Enrollment.ID)
	require.Equal(t, "DeviceInformation", batches[0].Commands[0].RequestType)
}

// A device whose TokenUpdate got lost is asked all the same: it may be enrolled.
func TestTokenUpdateLost(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.next(recorded(t)[0])
	due := func(after time.Duration) int {
		f.now = f.now.Add(after)
		batches, err := f.hook.engine.Tick(t.Context(), 10)
		require.NoError(t, err)
		return len(batches)
	}
	require.Zero(t, due(23*time.Hour), "it may be about to")
	require.Equal(t, 1, due(time.Hour))
}

// NanoMDM posts what a device says at the same time. In whatever order it is taken
// in, the device is asked, at the latest when it comes.
func TestAtTheSameTime(t *testing.T) {
	t.Parallel()
	events := recorded(t)
	for range 50 {
		f := newFixture(t)
		var posts sync.WaitGroup
		for _, event := range events[:2] {
			posts.Go(func() {
				r := httptest.NewRequest(http.MethodPost, "/webhook", bytes.NewReader(event))
				r.Header.Set("Content-Type", "application/json")
				f.hook.ServeHTTP(httptest.NewRecorder(), r)
			})
		}
		posts.Wait()
		require.Equal(t, []string{udid + " DeviceInformation"}, f.delivered)
		require.False(t, f.records.overlapped.Load())
	}
}

// A report whose code was taken out says nothing of a code.
func TestRedacted(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	events := recorded(t)
	for _, event := range events[:3] {
		f.next(event)
	}
	redacted := payload(t, events[3], func(raw []byte) []byte {
		out, err := mdmcmd.Redact(raw)
		require.NoError(t, err)
		require.NotContains(t, string(out), code)
		return out
	})
	require.Empty(t, f.next(redacted))
	require.Equal(t, engine.AlreadyRedacted, f.events[len(f.events)-1])
	require.Empty(t, f.held(escrow.Subject{SerialNumber: serial}))
	require.Equal(t, []string{udid + " Settings"}, f.next(events[3]))
	before := f.held(escrow.Subject{SerialNumber: serial})
	require.Empty(t, f.next(redacted))
	require.Equal(t, before, f.held(escrow.Subject{SerialNumber: serial}))
}

// payload changes what the device said in an event.
func payload(t *testing.T, body []byte, change func([]byte) []byte) []byte {
	t.Helper()
	var e map[string]any
	require.NoError(t, json.Unmarshal(body, &e))
	for _, name := range []string{"checkin_event", "acknowledge_event"} {
		if m, ok := e[name].(map[string]any); ok {
			raw, err := base64.StdEncoding.DecodeString(m["raw_payload"].(string))
			require.NoError(t, err)
			m["raw_payload"] = change(raw)
		}
	}
	changed, err := json.Marshal(e)
	require.NoError(t, err)
	return changed
}

// Who sent a message is what the server says, not what the message says.
func TestNotBelieved(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	events := recorded(t)
	for _, event := range events[:3] {
		f.next(event)
	}
	forged := payload(t, events[3], func(raw []byte) []byte {
		return bytes.ReplaceAll(raw, []byte(udid), []byte("00008120-00000000000000FF"))
	})
	require.Empty(t, f.next(forged))
	require.Equal(t, engine.NotBelieved, f.events[len(f.events)-1])
	require.Empty(t, f.held(escrow.Subject{SerialNumber: serial}))
}

// sign signs a post as NanoMDM does.
func sign(key string) func(*http.Request) {
	return func(r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			panic(err)
		}
		mac := hmac.New(sha256.New, []byte(key))
		mac.Write(body)
		r.Header.Set(signatureHeader, base64.StdEncoding.EncodeToString(mac.Sum(nil)))
		r.Body = io.NopCloser(bytes.NewReader(body))
	}
}

func TestSignature(t *testing.T) {
	t.Parallel()
	event := recorded(t)[1]
	header := func(value string) func(*http.Request) {
		return func(r *http.Request) { r.Header.Set(signatureHeader, value) }
	}
	mac := hmac.New(sha256.New, []byte("secret"))
	mac.Write(event)
	sum := mac.Sum(nil)
	for name, c := range map[string]struct {
		change func(*http.Request)
		status int
	}{
		"right":     {sign("secret"), http.StatusOK},
		"wrong key": {sign("Secret"), http.StatusUnauthorized},
		"empty key": {sign(""), http.StatusUnauthorized},
		"missing":   {func(*http.Request) {}, http.StatusUnauthorized},
		"empty":     {header(""), http.StatusUnauthorized},
		"no base64": {header("***"), http.StatusUnauthorized},
		"hex":       {header(fmt.Sprintf("%x", sum)), http.StatusUnauthorized},
		"cut":       {header(base64.StdEncoding.EncodeToString(sum[:31])), http.StatusUnauthorized},
		"of another body": {func(r *http.Request) {
			sign("secret")(r)
			r.Body = io.NopCloser(bytes.NewReader(append(slices.Clone(event), ' ')))
		}, http.StatusUnauthorized},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t)
			f.hook.hmacKey = "secret"
			require.Equal(t, c.status, f.post(event, c.change))
			_, err := f.records.Get(t.Context(), udid)
			if c.status == http.StatusOK {
				require.NoError(t, err)
			} else {
				require.ErrorIs(t, err, inventory.ErrNotFound)
			}
		})
	}
	t.Run("no key configured", func(t *testing.T) {
		t.Parallel()
		require.Equal(t, http.StatusOK, newFixture(t).post(event, header("whatever")))
	})
}

func TestPassword(t *testing.T) {
	t.Parallel()
	event := recorded(t)[1]
	for _, c := range []struct {
		change func(*http.Request)
		status int
	}{
		{func(r *http.Request) { r.SetBasicAuth("anybody", "secret") }, http.StatusOK},
		{func(r *http.Request) { r.SetBasicAuth("secret", "") }, http.StatusUnauthorized},
		{func(r *http.Request) { r.SetBasicAuth("anybody", "secre") }, http.StatusUnauthorized},
		{func(*http.Request) {}, http.StatusUnauthorized},
	} {
		f := newFixture(t)
		f.hook.password = "secret"
		require.Equal(t, c.status, f.post(event, c.change))
	}
}

func TestRefused(t *testing.T) {
	t.Parallel()
	event := recorded(t)[1]
	for name, c := range map[string]struct {
		body   []byte
		change func(*http.Request)
		status int
	}{
		"method":            {event, func(r *http.Request) { r.Method = http.MethodPut }, http.StatusMethodNotAllowed},
		"content type":      {event, func(r *http.Request) { r.Header.Set("Content-Type", "text/plain") }, http.StatusUnsupportedMediaType},
		"no content type":   {event, func(r *http.Request) { r.Header.Del("Content-Type") }, http.StatusUnsupportedMediaType},
		"oversized":         {append(slices.Clone(event), bytes.Repeat([]byte(" "), maxBody)...), nil, http.StatusRequestEntityTooLarge},
		"empty":             {nil, nil, http.StatusBadRequest},
		"garbage":           {[]byte("\x00\xff"), nil, http.StatusBadRequest},
		"null":              {[]byte("null"), nil, http.StatusBadRequest},
		"array":             {[]byte("[]"), nil, http.StatusBadRequest},
		"two values":        {append(slices.Clone(event), event...), nil, http.StatusBadRequest},
		"no topic":          {[]byte(`{"checkin_event": {"udid": "x", "raw_payload": "eA=="}}`), nil, http.StatusBadRequest},
		"no message":        {[]byte(`{"topic": "mdm.Connect"}`), nil, http.StatusBadRequest},
		"the other message": {[]byte(`{"topic": "mdm.Connect", "checkin_event": {"udid": "x", "raw_payload": "eA=="}}`), nil, http.StatusBadRequest},
		"no base64":         {[]byte(`{"topic": "mdm.Connect", "acknowledge_event": {"udid": "x", "raw_payload": "` + code + `*"}}`), nil, http.StatusBadRequest},
		"no payload":        {[]byte(`{"topic": "mdm.Connect", "acknowledge_event": {"udid": "x"}}`), nil, http.StatusBadRequest},
		"nobody":            {[]byte(`{"topic": "mdm.Connect", "acknowledge_event": {"raw_payload": "eA=="}}`), nil, http.StatusBadRequest},
		"empty ids":         {[]byte(`{"topic": "mdm.Connect", "acknowledge_event": {"udid": "x", "ids": {}, "raw_payload": "eA=="}}`), nil, http.StatusBadRequest},
		"deep":              {[]byte(`{"topic": ` + strings.Repeat("[", 1<<20)), nil, http.StatusBadRequest},

		// Of no concern, or nothing that another post would mend.
		"other topic":        {[]byte(`{"topic": "mdm.SetBootstrapToken", "checkin_event": {"udid": "x", "raw_payload": "eA=="}}`), nil, http.StatusOK},
		"payload of garbage": {[]byte(`{"topic": "mdm.Connect", "acknowledge_event": {"udid": "x", "raw_payload": "eA=="}}`), nil, http.StatusOK},
		"large and honest":   {append(slices.Clone(event), bytes.Repeat([]byte(" "), maxBody-len(event))...), nil, http.StatusOK},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t)
			change := c.change
			if change == nil {
				change = func(*http.Request) {}
			}
			require.Equal(t, c.status, f.post(c.body, change))
		})
	}
}

// unread is a body that must not be read.
type unread struct{ t *testing.T }

func (u unread) Read([]byte) (int, error) {
	u.t.Error("the body was read")
	return 0, io.EOF
}

// Nothing is read of who shows neither signature nor password, however much it is.
func TestUnread(t *testing.T) {
	t.Parallel()
	for _, configure := range []func(*webhook){
		func(h *webhook) { h.hmacKey = "secret" },
		func(h *webhook) { h.password = "secret" },
	} {
		f := newFixture(t)
		configure(f.hook)
		r := httptest.NewRequest(http.MethodPost, "/webhook", unread{t})
		r.Header.Set("Content-Type", "application/json")
		w := httptest.NewRecorder()
		f.hook.ServeHTTP(w, r)
		require.Equal(t, http.StatusUnauthorized, w.Code)
	}
}

// A server that goes away after its post does not take the code with it.
func TestPosterGoesAway(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	events := recorded(t)
	for _, event := range events[:3] {
		f.next(event)
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	f.post(events[3], func(r *http.Request) { *r = *r.WithContext(gone) })
	require.Equal(t, []string{code}, f.held(escrow.Subject{SerialNumber: serial}))
}

// slow is a server that takes its time.
type slow struct {
	server
	entered, released chan struct{}
}

func (s slow) deliver(ctx context.Context, id string, commands []engine.Queued) error {
	close(s.entered)
	<-s.released
	return s.server.deliver(ctx, id, commands)
}

// An event that is under way is finished before the program stops.
func TestStopFinishes(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	events := recorded(t)
	f.next(events[0])
	s := slow{f, make(chan struct{}), make(chan struct{})}
	f.hook.server = s
	probes := &health{records: f.records, log: f.hook.log}
	listener, err := listen(config{listen: "127.0.0.1:0"})
	require.NoError(t, err)
	ctx, stop := context.WithCancel(t.Context())
	stopped, answered := make(chan error, 1), make(chan int, 1)
	go func() {
		stopped <- serve(ctx, config{every: time.Hour, answerWithin: time.Hour}, listener, f.hook, probes)
	}()
	go func() {
		resp, err := http.Post("http://"+listener.Addr().String()+"/webhook", "application/json", bytes.NewReader(events[1]))
		if err != nil {
			answered <- 0
			return
		}
		resp.Body.Close()
		answered <- resp.StatusCode
	}()
	<-s.entered
	stop()
	until(t, "it stops", func(context.Context) bool { return probes.stopping.Load() })
	close(s.released)
	require.Equal(t, http.StatusOK, <-answered)
	require.NoError(t, <-stopped)
	require.Contains(t, f.delivered, udid+" DeviceInformation")
}

func TestNumbers(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.refuses = errors.New("connection refused")
	events := recorded(t)
	f.next(events[0])
	f.next(events[1])
	f.post([]byte("garbage"))
	w := httptest.NewRecorder()
	f.hook.numbers.handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	for _, line := range []string{
		`activationlock_webhook_posts_total{status="200"} 2`, `activationlock_webhook_posts_total{status="400"} 1`,
		`activationlock_webhook_deliveries_total{result="failed"} 1`,
		`activationlock_commands_total{request_type="DeviceInformation"} 1`, `activationlock_step_seconds_count{step="parse"} 2`,
		`activationlock_devices_severity{severity="critical"} 0`,
	} {
		require.Contains(t, w.Body.String(), line+"\n")
	}
	require.NotContains(t, w.Body.String(), udid)
}
