package bypass_test

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/activationlock/sdk/activationlock"
	"github.com/activationlock/sdk/activationlock/apple"
	"github.com/activationlock/sdk/activationlock/bypass"
	"github.com/activationlock/sdk/activationlock/memstore"
	"github.com/activationlock/sdk/bypasscode"
	"github.com/activationlock/sdk/bypasscode/audit"
	"github.com/activationlock/sdk/bypasscode/escrow"
	"github.com/activationlock/sdk/bypasscode/seal"
)

var update = flag.Bool("update", false, "write the golden files anew")

const serial = "XXFAKE0SER1"

var (
	noon      = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	bySerial  = escrow.Subject{SerialNumber: serial}
	act       = escrow.Act{Actor: "jane@example.org", Reason: "returned by a pupil"}
	phone     = escrow.Device{SerialNumber: serial, ProductType: "iPhone17,3", IMEI: "350000000000019", IMEI2: "350000000000027"}
	errDown   = errors.New("down")
	codeTexts = []string{
		"3UM43-PUYVY-QYD1-UVCC-HEHJ-FKA4", "8LNYD-DVNKU-GYRC-E6GU-3YFD-CT86", "TF27L-31WN1-E6FH-DMAM-52X5-NFV0",
		"J4DNT-6VT2Y-3LD8-1VV7-AT3U-LW17", "00000-00000-0000-0000-0000-0000", "ZZZZZ-ZZZZZ-ZZZZ-ZZZZ-ZZZZ-ZZZ7",
	}
)

// handClock is moved by hand, and by its Pause.
type handClock struct {
	mu     sync.Mutex
	at     time.Time
	pauses []time.Duration
	onStop func() // before a pause
}

func newClock() *handClock { return &handClock{at: noon} }

func (c *handClock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

func (c *handClock) Move(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(d)
}

func (c *handClock) Pause(ctx context.Context, d time.Duration) error {
	if c.onStop != nil {
		c.onStop()
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at, c.pauses = c.at.Add(d), append(c.pauses, d)
	return nil
}

// window seals nothing. It does not open those codes that a test says.
type window struct{ open func(payload []byte) error }

func (window) Seal(_ context.Context, text, _ []byte) ([]byte, error) { return bytes.Clone(text), nil }

func (w window) Open(_ context.Context, sealed, _ []byte) ([]byte, error) {
	if w.open != nil {
		if err := w.open(sealed); err != nil {
			return nil, err
		}
	}
	return bytes.Clone(sealed), nil
}

// server is a host's server on stores that outlive it.
type server struct {
	t       *testing.T
	clock   *handClock
	mem     *memstore.Store
	actions bypass.Store
	codes   escrow.Store
	trail   audit.Store
	closed  map[string]error // codes that cannot be opened, by their text
	allow   func(context.Context, escrow.Reveal, escrow.Record) error

	escrow *escrow.Escrow
	audit  *audit.Log
	*bypass.Bypass
}

func newServer(t *testing.T) *server {
	t.Helper()
	mem := memstore.New()
	s := &server{t: t, clock: newClock(), mem: mem, actions: mem.Actions(), codes: mem.Escrow(), trail: mem.Audit(), closed: map[string]error{}}
	s.boot()
	return s
}

// boot starts the server anew: nothing is left but the stores.
func (s *server) boot() {
	s.t.Helper()
	var err error
	s.audit, err = audit.New(audit.Config{Store: s.trail})
	require.NoError(s.t, err)
	s.escrow, err = escrow.New(escrow.Config{
		Store: s.codes, Audit: s.audit, Allow: s.allow, Clock: s.clock.Now,
		Sealer: window{func(payload []byte) error {
			for text, err := range s.closed {
				if bytes.Contains(payload, []byte(text)) {
					return err
				}
			}
			return nil
		}},
	})
	require.NoError(s.t, err)
	s.Bypass, err = bypass.New(bypass.Config{
		Store: s.actions, Escrow: s.escrow, Audit: s.audit, Organization: "Example School", Clock: s.clock.Now, Pause: s.clock.Pause,
	})
	require.NoError(s.t, err)
}

// hold files device codes of a subject, the last one the newest.
func (s *server) hold(subject escrow.Subject, texts ...string) (ids []string) {
	s.t.Helper()
	for i, text := range texts {
		device := phone
		device.SerialNumber = subject.SerialNumber
		r, err := s.escrow.Capture(context.Background(), escrow.Capture{
			Subject: subject, Kind: bypasscode.Device, Text: bypasscode.NewText(text), Cause: escrow.CauseSchedule, EnrollmentID: "E-" + subject.SerialNumber + subject.EnrollmentID,
			CommandUUID: fmt.Sprint("U", i), ReceivedAt: s.clock.Now().Add(time.Duration(i-len(texts)) * time.Hour), Device: device,
		})
		require.NoError(s.t, err)
		ids = append(ids, r.ID)
	}
	return ids
}

// start starts an action that must be possible.
func (s *server) start() bypass.Action {
	s.t.Helper()
	a, warning, err := s.Start(s.t.Context(), wish())
	require.NoError(s.t, err)
	require.Equal(s.t, bypass.WarningRelock, warning)
	return a
}

func wish() bypass.Start { return bypass.Start{ID: "A1", Subject: bySerial, Act: act, InHand: true} }

func (s *server) get(id string) bypass.Action {
	s.t.Helper()
	a, err := s.mem.Actions().Get(context.Background(), id)
	require.NoError(s.t, err)
	return a
}

// told returns the acts of the audit with their details.
func (s *server) told() (acts []string) {
	s.t.Helper()
	log, err := audit.New(audit.Config{Store: s.mem.Audit()})
	require.NoError(s.t, err)
	for e, err := range log.Entries(context.Background()) {
		require.NoError(s.t, err)
		acts = append(acts, string(e.Act)+": "+e.Detail)
	}
	return acts
}

// appleDouble is a Doer that plays Apple's unlock service.
type appleDouble struct {
	mu     sync.Mutex
	opens  map[string]bool // codes that open the lock
	answer func(n int, code string) (status int, header http.Header, err error)
	before func(code string) // the call arrives
	after  func(code string) // it is answered, and nobody knows yet
	sent   []string
	at     []time.Time
	clock  *handClock
}

func (d *appleDouble) Do(r *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	form, err := url.ParseQuery(string(body))
	if err != nil {
		return nil, err
	}
	code := form.Get("escrowKey")
	if d.before != nil {
		d.before(code)
	}
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	d.mu.Lock()
	n := len(d.sent)
	d.sent = append(d.sent, code)
	if d.clock != nil {
		d.at = append(d.at, d.clock.Now())
	}
	status, header := http.StatusNotFound, http.Header{}
	if d.opens[code] {
		status = http.StatusOK
	}
	if d.answer != nil {
		if s, h, err := d.answer(n, code); err != nil {
			d.mu.Unlock()
			return nil, err
		} else if s != 0 {
			status, header = s, h
		}
	}
	d.mu.Unlock()
	if d.after != nil {
		d.after(code)
	}
	return &http.Response{StatusCode: status, Header: header, Body: io.NopCloser(strings.NewReader("")), Request: r}, nil
}

// golden compares a text with a file.
func golden(t *testing.T, name, text string) {
	t.Helper()
	path := "testdata/" + name
	if *update {
		require.NoError(t, os.MkdirAll("testdata", 0o755))
		require.NoError(t, os.WriteFile(path, []byte(text), 0o644))
	}
	want, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, string(want), text, "run with -update if that is right")
}

func TestNew(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	good := bypass.Config{Store: s.actions, Escrow: s.escrow, Audit: s.audit, Organization: "Example School"}
	for name, spoil := range map[string]func(*bypass.Config){
		"Store":        func(c *bypass.Config) { c.Store = nil },
		"Escrow":       func(c *bypass.Config) { c.Escrow = nil },
		"Audit":        func(c *bypass.Config) { c.Audit = nil },
		"Organization": func(c *bypass.Config) { c.Organization = "" },
	} {
		c := good
		spoil(&c)
		_, err := bypass.New(c)
		require.ErrorContains(t, err, "bypass: Config."+name+" is required")
	}
	other := good
	var err error
	other.Audit, err = audit.New(audit.Config{Store: memstore.New().Audit()})
	require.NoError(t, err)
	_, err = bypass.New(other)
	require.ErrorContains(t, err, "not the audit of Config.Escrow")
	long := good
	long.Organization = strings.Repeat("x", 256)
	_, err = bypass.New(long)
	require.Error(t, err)

	// The defaults: the clock of the machine, and a pause that ends with the context.
	s.hold(bySerial, codeTexts[0])
	b, err := bypass.New(good)
	require.NoError(t, err)
	a, _, err := b.Start(t.Context(), wish())
	require.NoError(t, err)
	require.WithinDuration(t, time.Now(), a.StartedAt, time.Minute)
	require.Equal(t, time.UTC, a.StartedAt.Location())
	require.Equal(t, a.StartedAt.Truncate(time.Microsecond), a.StartedAt)
	ctx, cancel := context.WithCancel(t.Context())
	double := &appleDouble{answer: func(int, string) (int, http.Header, error) {
		cancel() // in the pause
		return http.StatusServiceUnavailable, nil, nil
	}}
	_, err = b.Bulk(ctx, bypass.Bulk{ID: "day", Starts: []bypass.Start{wish()}}, double)
	require.ErrorIs(t, err, context.Canceled)
	report, err := b.Bulk(t.Context(), bypass.Bulk{ID: "day", Pace: time.Nanosecond, DryRun: true, Starts: []bypass.Start{wish()}}, nil)
	require.NoError(t, err)
	require.Equal(t, "A1", report.Rows[0].ID)
}

func TestStartRequires(t *testing.T) {
	t.Parallel()
	for name, spoil := range map[string]func(*bypass.Start){
		"actor":           func(s *bypass.Start) { s.Actor = "" },
		"reason":          func(s *bypass.Start) { s.Act.Reason = "" },
		"subject":         func(s *bypass.Start) { s.Subject = escrow.Subject{} },
		"one subject":     func(s *bypass.Start) { s.Subject.EnrollmentID = "E1" },
		"short actor":     func(s *bypass.Start) { s.Actor = strings.Repeat("secret", 43) },
		"short reason":    func(s *bypass.Start) { s.Act.Reason = strings.Repeat("secret", 43) },
		"short ID":        func(s *bypass.Start) { s.ID = strings.Repeat("secret", 43) },
		"short serial":    func(s *bypass.Start) { s.Subject.SerialNumber = strings.Repeat("secret", 43) },
		"text of serial":  func(s *bypass.Start) { s.Subject.SerialNumber = "secret\xff" },
		"text of reason":  func(s *bypass.Start) { s.Act.Reason = "secret\x00" },
		"text of subject": func(s *bypass.Start) { s.Subject = escrow.Subject{EnrollmentID: "secret\x00"} },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newServer(t)
			s.hold(bySerial, codeTexts[0])
			start := wish()
			spoil(&start)
			a, warning, err := s.Start(t.Context(), start)
			require.Error(t, err)
			require.Empty(t, warning)
			require.Equal(t, bypass.Action{}, a)
			require.NotContains(t, err.Error(), "secret")
			require.NotContains(t, err.Error(), serial)
			_, err = s.Preview(t.Context(), start)
			require.Error(t, err)
			require.Empty(t, s.told(), "nothing was begun")
			all, err := s.actions.Scan(t.Context(), "", 9, false)
			require.NoError(t, err)
			require.Empty(t, all)
		})
	}
	t.Run("in hand", func(t *testing.T) {
		t.Parallel()
		s := newServer(t)
		s.hold(bySerial, codeTexts[0])
		start := wish()
		start.InHand = false
		_, warning, err := s.Start(t.Context(), start)
		require.ErrorIs(t, err, bypass.ErrNotInHand)
		require.Empty(t, warning)
		require.Empty(t, s.told())
		// A preview asks for no statement, and leaves no trace.
		a, err := s.Preview(t.Context(), start)
		require.NoError(t, err)
		require.Equal(t, bypass.Pending, a.State)
		require.Empty(t, s.told())
		all, err := s.actions.Scan(t.Context(), "", 9, false)
		require.NoError(t, err)
		require.Empty(t, all)
	})
}

func TestStart(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	ids := s.hold(bySerial, codeTexts[0], codeTexts[1])
	preview, err := s.Preview(t.Context(), wish())
	require.NoError(t, err)
	a := s.start()
	require.Equal(t, preview, a)
	require.Equal(t, bypass.Action{
		ID: "A1", Subject: bySerial, By: act, Device: phone, State: bypass.Pending, StartedAt: noon,
		Attempts: []bypass.Attempt{{RecordID: ids[1], Kind: bypasscode.Device}, {RecordID: ids[0], Kind: bypasscode.Device}},
	}, a)
	require.Equal(t, a, s.get("A1"))
	require.Equal(t, []string{"unlock started: the device is in hand"}, s.told())

	again, _, err := s.Start(t.Context(), wish())
	require.ErrorIs(t, err, bypass.ErrExists)
	require.Equal(t, a, again)
	other := wish()
	other.ID = ""
	open, _, err := s.Start(t.Context(), other)
	require.ErrorIs(t, err, bypass.ErrOpen)
	require.Equal(t, a, open)
	require.Len(t, s.told(), 1)
	for _, err := range []error{err} {
		require.NotContains(t, err.Error(), serial)
		require.NotContains(t, err.Error(), act.Actor)
	}

	// Another device's codes are nobody else's business.
	other.Subject.SerialNumber = "XXFAKE0SER2"
	none, warning, err := s.Start(t.Context(), other)
	require.NoError(t, err)
	require.Empty(t, warning, "the lock is what it was")
	require.Len(t, none.ID, 26)
	require.Equal(t, bypass.Failed, none.State)
	require.Equal(t, bypass.NoCode, none.Reason)
	require.True(t, none.Noted)
	require.Equal(t, noon, none.EndedAt)
	require.Equal(t, []string{"unlock started: the device is in hand", "unlock ended: failed: noCode"}, s.told()[1:])

	// What is over at once does not care for what is open, nor stands in the way.
	require.NoError(t, s.escrow.Delete(t.Context(), bySerial, noon))
	preview, err = s.Preview(t.Context(), wish())
	require.NoError(t, err)
	require.Len(t, preview.Attempts, 2, "codes of a deleted device are tried")
	require.NoError(t, s.escrow.Purge(t.Context(), bySerial, escrow.Purge{Act: act, At: noon, LockOff: true}))
	none, _, err = s.Start(t.Context(), bypass.Start{Subject: bySerial, Act: act, InHand: true})
	require.NoError(t, err)
	require.Equal(t, bypass.NoCode, none.Reason)
	require.Equal(t, bypass.Pending, s.get("A1").State)
}

// An enrollment has no list of actions in the store, and its actions are found
// all the same.
func TestStartOfEnrollment(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	for i := range 300 { // more than a page
		start := wish()
		start.ID, start.Subject = fmt.Sprintf("A%03d", i), escrow.Subject{EnrollmentID: fmt.Sprint("E", i)}
		start.Identity = phone
		s.hold(start.Subject, codeTexts[0])
		a, _, err := s.Start(t.Context(), start)
		require.NoError(t, err)
		require.Equal(t, bypass.Pending, a.State)
	}
	for _, i := range []int{0, 255, 256, 299} {
		start := wish()
		start.ID, start.Subject = "", escrow.Subject{EnrollmentID: fmt.Sprint("E", i)}
		start.Identity = phone
		a, _, err := s.Start(t.Context(), start)
		require.ErrorIs(t, err, bypass.ErrOpen)
		require.Equal(t, fmt.Sprintf("A%03d", i), a.ID)
	}
}

func TestOverAtOnce(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		hold  []string
		start func(*bypass.Start)
		state bypass.State
		why   bypass.Reason
	}{
		"no code":      {nil, func(s *bypass.Start) {}, bypass.Failed, bypass.NoCode},
		"nobody knows": {nil, func(s *bypass.Start) { s.Device.ProductName = "iPhone17,3" }, bypass.Failed, bypass.NoCode},
		"no lock":      {nil, func(s *bypass.Start) { s.Device.ProductName = "AppleTV14,1" }, bypass.NotSupported, ""},
		"but codes":    {codeTexts[:1], func(s *bypass.Start) { s.Device.ProductName = "AppleTV14,1" }, bypass.Pending, ""},
		"no serial":    {codeTexts[:1], func(s *bypass.Start) { s.Subject = escrow.Subject{EnrollmentID: "E1"} }, bypass.Failed, bypass.NoSerialNumber},
		"serial of host": {codeTexts[:1], func(s *bypass.Start) {
			s.Subject = escrow.Subject{EnrollmentID: "E1"}
			s.Identity.SerialNumber = serial
		}, bypass.Pending, ""},
		"no product type": {codeTexts[:1], func(s *bypass.Start) { s.Subject.SerialNumber = "S2" }, bypass.Failed, bypass.NoProductType},
		"product of host": {codeTexts[:1], func(s *bypass.Start) { s.Subject.SerialNumber, s.Identity.ProductType = "S2", "iPad4,1" }, bypass.Pending, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newServer(t)
			start := wish()
			test.start(&start)
			for _, text := range test.hold {
				_, err := s.escrow.Capture(t.Context(), escrow.Capture{
					Subject: start.Subject, Kind: bypasscode.Device, Text: bypasscode.NewText(text), Cause: escrow.CauseSchedule, ReceivedAt: noon,
					Device: escrow.Device{ProductType: map[bool]string{true: "iPhone17,3"}[start.Subject.SerialNumber != "S2"]},
				})
				require.NoError(t, err)
			}
			preview, err := s.Preview(t.Context(), start)
			require.NoError(t, err)
			a, _, err := s.Start(t.Context(), start)
			require.NoError(t, err)
			require.Equal(t, test.state, a.State)
			require.Equal(t, test.why, a.Reason)
			require.Equal(t, a.State.Over(), a.Noted)
			require.Equal(t, a.State.Over(), !a.EndedAt.IsZero())
			preview.Noted = a.Noted
			require.Equal(t, preview, a)
			require.Equal(t, a.State == bypass.NotSupported, len(a.Unsupported) > 0)
			if a.State == bypass.NotSupported {
				require.Equal(t, []activationlock.Reason{activationlock.ReasonNoLock}, a.Unsupported)
			}
			call, after, err := s.Next(t.Context(), a.ID)
			require.NoError(t, err)
			require.Equal(t, a.State.Over(), call == nil)
			require.Equal(t, a.State.Over(), after.State.Over())
		})
	}
}

func TestIdentity(t *testing.T) {
	t.Parallel()
	type seen struct {
		device   escrow.Device
		disputed bool
		kind     bypasscode.Kind
	}
	long := strings.Repeat("9", 256)
	for name, test := range map[string]struct {
		host  escrow.Device
		codes []seen // the last one the newest
		want  escrow.Device
	}{
		"the host knows": {phone, []seen{{device: escrow.Device{ProductType: "iPad4,1", UDID: "U1", IMEI: "1"}}}, escrow.Device{SerialNumber: serial, UDID: "U1", ProductType: "iPhone17,3", IMEI: phone.IMEI, IMEI2: phone.IMEI2}},
		"newest first": {
			escrow.Device{}, []seen{{device: escrow.Device{ProductType: "old", UDID: "U1", IMEI: "1", IMEI2: "2", MEID: "3"}}, {device: escrow.Device{ProductType: "new", IMEI: "4"}}},
			escrow.Device{SerialNumber: serial, UDID: "U1", ProductType: "new", IMEI: "4"},
		},
		"spaces": {
			escrow.Device{IMEI: "35 000000 000001 9", IMEI2: "35-000000-000002-7", MEID: "A1 0000 0000 0001"}, []seen{{device: phone}},
			escrow.Device{SerialNumber: serial, ProductType: "iPhone17,3", IMEI: phone.IMEI, IMEI2: phone.IMEI2, MEID: "A1000000000001"},
		},
		"no digits at all": {escrow.Device{IMEI: " - "}, []seen{{device: phone}}, phone},
		"another's serial number": {
			escrow.Device{SerialNumber: "S9", ProductType: "iPad4,1"}, nil, escrow.Device{SerialNumber: serial, ProductType: "iPad4,1"},
		},
		"disputed": {escrow.Device{}, []seen{{device: phone}, {device: escrow.Device{ProductType: "iPad4,1", IMEI: "1"}, disputed: true}}, phone},
		"another UDID": {
			escrow.Device{UDID: "U1", ProductType: "iPad4,1"}, []seen{{device: escrow.Device{MEID: "2"}}, {device: escrow.Device{UDID: "U2", IMEI: "1"}}},
			escrow.Device{SerialNumber: serial, UDID: "U1", ProductType: "iPad4,1", MEID: "2"},
		},
		"what no store can keep": {
			escrow.Device{ProductType: "iPhone17,3\x00", UDID: "\xff", IMEI: long, IMEI2: long, MEID: long}, []seen{{device: phone}}, phone,
		},
		"the newest is a server code": {
			escrow.Device{}, []seen{{device: phone}, {kind: bypasscode.Server, device: escrow.Device{ProductType: "iPhone17,4"}}},
			escrow.Device{SerialNumber: serial, ProductType: "iPhone17,4", IMEI: phone.IMEI, IMEI2: phone.IMEI2},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newServer(t)
			for i, c := range test.codes {
				_, err := s.escrow.Capture(t.Context(), escrow.Capture{
					Subject: bySerial, Kind: cmp.Or(c.kind, bypasscode.Device), Text: bypasscode.NewText(codeTexts[i]), Cause: escrow.CauseSchedule, ReceivedAt: noon.Add(time.Duration(i) * time.Hour),
					Device: c.device, Disputed: c.disputed, EnrollmentID: "E1",
				})
				require.NoError(t, err)
			}
			start := wish()
			start.Identity = test.host
			a, err := s.Preview(t.Context(), start)
			require.NoError(t, err)
			require.Equal(t, test.want, a.Device)
		})
	}
}

// What came from an enrollment that is joined may be another device's.
func TestIdentityOfJoined(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.hold(bySerial, codeTexts[0])
	_, err := s.escrow.Capture(t.Context(), escrow.Capture{
		Subject: escrow.Subject{EnrollmentID: "E2"}, EnrollmentID: "E2", Kind: bypasscode.Server, Text: bypasscode.NewText(codeTexts[1]), Cause: escrow.CauseSchedule,
		ReceivedAt: noon.Add(time.Hour), Device: escrow.Device{SerialNumber: "S9", ProductType: "iPad4,1", IMEI: "1"},
	})
	require.NoError(t, err)
	require.NoError(t, s.escrow.Join(t.Context(), "E2", serial))
	a, err := s.Preview(t.Context(), wish())
	require.NoError(t, err)
	require.Len(t, a.Attempts, 2)
	require.Equal(t, phone, a.Device)
	// And by the enrollment, the serial number is what its codes say.
	start := wish()
	start.Subject = escrow.Subject{EnrollmentID: "E2"}
	a, err = s.Preview(t.Context(), start)
	require.NoError(t, err)
	require.Equal(t, escrow.Device{SerialNumber: "S9", ProductType: "iPad4,1", IMEI: "1"}, a.Device)
}

// The call says what Apple documents, and nothing else.
func TestCall(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	ids := s.hold(bySerial, codeTexts[0])
	s.start()
	call, a, err := s.Next(t.Context(), "A1")
	require.NoError(t, err)
	require.Equal(t, "A1", call.ActionID)
	require.Equal(t, bypass.Active, a.State)
	require.Equal(t, bypass.Attempt{RecordID: ids[0], Kind: bypasscode.Device, Tries: 1, SentAt: noon}, a.Attempts[0])
	require.Equal(t, noon.Add(bypass.GiveUpAfter), a.GiveUpAt)
	require.Equal(t, url.Values{"serial": {serial}, "productType": {"iPhone17,3"}, "imei": {phone.IMEI}, "imei2": {phone.IMEI2}}, call.Request.URL.Query())
	body, err := io.ReadAll(call.Request.Body)
	require.NoError(t, err)
	form, err := url.ParseQuery(string(body))
	require.NoError(t, err)
	require.Equal(t, url.Values{"escrowKey": {codeTexts[0]}, "guid": {act.Actor}, "orgName": {"Example School"}}, form)
	require.Equal(t, []string{"unlock started: the device is in hand", "unlock: to unlock"}, s.told())

	s.clock.Move(time.Second)
	a, err = s.Answer(t.Context(), call, apple.Answer{Outcome: apple.Done, StatusCode: 200})
	require.NoError(t, err)
	require.Equal(t, bypass.Done, a.State)
	require.True(t, a.Noted)
	require.Equal(t, noon.Add(time.Second), a.EndedAt)
	require.Equal(t, ids[0], a.Opened().RecordID)
	evidence, ok := a.Evidence()
	require.True(t, ok)
	require.Equal(t, activationlock.Evidence{State: activationlock.Off, Source: activationlock.SourceUnlockCall, At: noon.Add(time.Second)}, evidence)
	records, err := s.escrow.Records(t.Context(), bySerial)
	require.NoError(t, err)
	require.Equal(t, escrow.Worked, records[0].State)
	require.Equal(t, "Apple removed the lock with it", records[0].StateReason)
	require.Equal(t, noon.Add(time.Second), records[0].StateSince)
	log, err := audit.New(audit.Config{Store: s.trail})
	require.NoError(t, err)
	last := audit.Entry{}
	for e, err := range log.Entries(t.Context()) {
		require.NoError(t, err)
		last = e
	}
	require.Equal(t, audit.Event{
		Act: audit.UnlockEnded, At: noon.Add(time.Second), Actor: act.Actor, Reason: act.Reason, SerialNumber: serial, RecordID: ids[0], Detail: "done",
	}, last.Event)
	_, err = log.Verify(t.Context(), audit.Head{})
	require.NoError(t, err)
}

// Two claimed one serial number, one after the other: Apple is told of each what came
// with its code, whichever of them the host takes for the device.
func TestCallWithTheCodeOfAnotherUDID(t *testing.T) {
	t.Parallel()
	first := escrow.Device{UDID: "U1", ProductType: "iPhone17,3", IMEI: phone.IMEI}
	second := escrow.Device{UDID: "U2", ProductType: "RealityDevice14,1"}
	told := func(t *testing.T, host escrow.Device) map[string]url.Values {
		s := newServer(t)
		for i, d := range []escrow.Device{first, second, {UDID: "U3"}, {}} {
			_, err := s.escrow.Capture(t.Context(), escrow.Capture{
				Subject: bySerial, Kind: bypasscode.Device, Text: bypasscode.NewText(codeTexts[i]), Cause: escrow.CauseSchedule,
				ReceivedAt: noon.Add(time.Duration(i-9) * time.Hour), Device: d, EnrollmentID: "E1",
			})
			require.NoError(t, err)
		}
		start := wish()
		start.Identity = host
		_, _, err := s.Start(t.Context(), start)
		require.NoError(t, err)
		all := map[string]url.Values{}
		_, err = s.Run(t.Context(), "A1", doer(func(r *http.Request) (*http.Response, error) {
			require.NoError(t, r.ParseForm())
			all[r.PostForm.Get("escrowKey")] = r.URL.Query()
			return &http.Response{StatusCode: http.StatusNotFound, Body: http.NoBody, Request: r}, nil
		}))
		require.NoError(t, err)
		return all
	}
	ofFirst := url.Values{"serial": {serial}, "productType": {first.ProductType}, "imei": {first.IMEI}}
	ofSecond := url.Values{"serial": {serial}, "productType": {second.ProductType}}
	// Of the third, nothing is known but its UDID; the fourth code came from anywhere.
	require.Equal(t, map[string]url.Values{
		codeTexts[0]: ofFirst, codeTexts[1]: ofSecond, codeTexts[2]: ofFirst, codeTexts[3]: ofFirst,
	}, told(t, first))
	require.Equal(t, map[string]url.Values{
		codeTexts[0]: ofFirst, codeTexts[1]: ofSecond, codeTexts[2]: ofSecond, codeTexts[3]: ofSecond,
	}, told(t, second))
}

// No code was sent, no evidence.
func TestNoEvidence(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.hold(bySerial, codeTexts[0])
	a := s.start()
	_, ok := a.Evidence()
	require.False(t, ok)
	require.Nil(t, a.Opened())
	a, err := s.Run(t.Context(), "A1", &appleDouble{})
	require.NoError(t, err)
	require.Equal(t, bypass.CodesRefused, a.Reason)
	_, ok = a.Evidence()
	require.False(t, ok, "a code that Apple refused says nothing of the lock")
}

// Of two people who start at once, one is told of the other's action.
func TestStartsRace(t *testing.T) {
	t.Parallel()
	for _, same := range []bool{false, true} {
		s := newServer(t)
		s.hold(bySerial, codeTexts[0])
		var wg sync.WaitGroup
		var mu sync.Mutex
		started := []bypass.Action{}
		others := []bypass.Action{}
		for i := range 8 {
			wg.Go(func() {
				start := wish()
				if !same {
					start.ID = fmt.Sprint("A", i)
				}
				a, _, err := s.Start(context.Background(), start)
				mu.Lock()
				defer mu.Unlock()
				switch {
				case err == nil:
					started = append(started, a)
				case same:
					assert.ErrorIs(t, err, bypass.ErrExists)
					others = append(others, a)
				default:
					assert.ErrorIs(t, err, bypass.ErrOpen)
					others = append(others, a)
				}
			})
		}
		wg.Wait()
		require.Len(t, started, 1)
		for _, other := range others {
			require.Equal(t, started[0], other)
		}
	}
}

// late is a store in which somebody else is faster at Create.
type late struct {
	bypass.Store
	first func()
}

func (l late) Create(ctx context.Context, a bypass.Action) error {
	l.first()
	return l.Store.Create(ctx, a)
}

func TestSomebodyWasFaster(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		id  string
		err error
	}{"another action": {"B1", bypass.ErrOpen}, "the same action": {"A1", bypass.ErrExists}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newServer(t)
			s.hold(bySerial, codeTexts[0])
			other := *s.Bypass
			s.actions = late{s.mem.Actions(), func() {
				start := wish()
				start.ID = test.id
				_, _, err := other.Start(context.Background(), start)
				require.NoError(t, err)
			}}
			s.boot()
			a, warning, err := s.Start(t.Context(), wish())
			require.ErrorIs(t, err, test.err)
			require.Equal(t, test.id, a.ID)
			require.Empty(t, warning)
		})
	}
}

func TestCancel(t *testing.T) {
	t.Parallel()
	by := escrow.Act{Actor: "john@example.org", Reason: "the wrong device"}
	s := newServer(t)
	s.hold(bySerial, codeTexts...)
	s.start()
	_, err := s.Cancel(t.Context(), "A2", by)
	require.ErrorIs(t, err, bypass.ErrNotFound)
	_, err = s.Cancel(t.Context(), "A1", escrow.Act{Actor: "john@example.org"})
	require.Error(t, err, "without a reason")
	require.Equal(t, bypass.Pending, s.get("A1").State)

	call, _, err := s.Next(t.Context(), "A1")
	require.NoError(t, err)
	a, err := s.Cancel(t.Context(), "A1", by)
	require.NoError(t, err)
	require.Equal(t, bypass.Canceled, a.State)
	require.True(t, a.Noted)
	require.Equal(t, []string{"unlock canceled: ", "unlock ended: canceled"}, s.told()[2:])
	none, _, err := s.Next(t.Context(), "A1")
	require.NoError(t, err)
	require.Nil(t, none)
	again, err := s.Cancel(t.Context(), "A1", by)
	require.NoError(t, err)
	require.Equal(t, a, again)
	require.Len(t, s.told(), 4)

	// A call cannot be called back. That a code was refused changes nothing any more.
	s.clock.Move(time.Second)
	after, err := s.Answer(t.Context(), call, apple.Answer{Outcome: apple.NotFound, StatusCode: 404})
	require.NoError(t, err)
	require.Equal(t, a, after)
	after, err = s.Answer(t.Context(), call, apple.Answer{Outcome: apple.Done, StatusCode: 200})
	require.NoError(t, err)
	require.Equal(t, bypass.Done, after.State)
	require.Empty(t, after.Reason)
	require.True(t, after.Noted)
	require.Equal(t, "unlock ended: done", s.told()[4])
	// Nothing changes done.
	for _, o := range []apple.Outcome{apple.Done, apple.NotFound, apple.Refused, apple.Later} {
		s.clock.Move(time.Second)
		again, err := s.Answer(t.Context(), call, apple.Answer{Outcome: o})
		require.NoError(t, err)
		require.Equal(t, after, again)
	}
	again, err = s.Cancel(t.Context(), "A1", by)
	require.NoError(t, err)
	require.Equal(t, after, again)
	require.Len(t, s.told(), 5)
}

// inTime is a rule of the host that asks somebody.
func TestRuleThatCannotAsk(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	ctx, cancel := context.WithCancel(t.Context())
	s.allow = func(context.Context, escrow.Reveal, escrow.Record) error {
		cancel()
		return ctx.Err()
	}
	s.boot()
	s.hold(bySerial, codeTexts[0])
	before := s.start()
	_, err := s.Run(ctx, "A1", &appleDouble{})
	require.ErrorIs(t, err, context.Canceled)
	require.Equal(t, before, s.get("A1"), "that the server stops is no refusal")
}

// While a code is opened the server does not answer for two minutes, and another
// one goes on: the code must not go out twice at once.
func TestSlowOpening(t *testing.T) {
	t.Parallel()
	for _, d := range []time.Duration{bypass.AnswerWithin / 4, bypass.AnswerWithin/4 + time.Microsecond, bypass.AnswerWithin} {
		s := newServer(t)
		s.hold(bySerial, codeTexts[0])
		s.start()
		var other *bypass.Call
		slow := true
		s.allow = func(ctx context.Context, _ escrow.Reveal, _ escrow.Record) error {
			if slow {
				slow = false
				s.clock.Move(d)
				var err error
				other, _, err = s.Next(ctx, "A1")
				require.NoError(t, err)
			}
			return nil
		}
		s.boot()
		call, a, err := s.Next(t.Context(), "A1")
		require.Equal(t, d == bypass.AnswerWithin, other != nil)
		require.Equal(t, d > bypass.AnswerWithin/4, err != nil)
		require.Equal(t, d > bypass.AnswerWithin/4, call == nil)
		switch {
		case other != nil:
			require.Equal(t, 2, a.Attempts[0].Tries, "the other's")
			require.True(t, a.Attempts[0].Lost)
			a, err = s.Answer(t.Context(), other, apple.Answer{Outcome: apple.Done})
			require.NoError(t, err)
			require.Equal(t, bypass.Done, a.State)
		case err != nil:
			require.Equal(t, bypass.Pending, a.State)
			require.Zero(t, a.Attempts[0].Tries)
			call, _, err = s.Next(t.Context(), "A1")
			require.NoError(t, err)
			require.NotNil(t, call, "at once")
		}
	}
}

// A code that could not be opened, which is known when the action has gone on.
func TestSlowlyNotOpened(t *testing.T) {
	t.Parallel()
	for name, meanwhile := range map[string]func(s *server){
		"canceled": func(s *server) {
			_, err := s.Cancel(context.Background(), "A1", act)
			require.NoError(s.t, err)
		},
		"taken over": func(s *server) {
			s.clock.Move(bypass.AnswerWithin)
			call, _, err := s.Next(context.Background(), "A1")
			require.NoError(s.t, err)
			require.NotNil(s.t, call)
		},
	} {
		for _, refused := range []bool{false, true} {
			t.Run(fmt.Sprint(name, refused), func(t *testing.T) {
				t.Parallel()
				s := newServer(t)
				s.hold(bySerial, codeTexts[0])
				s.start()
				var between bypass.Action
				once := false
				s.allow = func(context.Context, escrow.Reveal, escrow.Record) error {
					if !once {
						once = true
						meanwhile(s)
						between = s.get("A1")
						s.closed[codeTexts[0]] = seal.ErrNoKey
						if refused {
							return errDown
						}
					}
					return nil
				}
				s.boot()
				call, a, err := s.Next(t.Context(), "A1")
				require.NoError(t, err)
				require.Nil(t, call)
				switch {
				case name == "canceled":
					require.Equal(t, bypass.Canceled, a.State)
					require.Equal(t, between.EndedAt, a.EndedAt)
					require.Zero(t, a.Attempts[0].Tries, "it was not sent")
				case refused:
					require.Equal(t, bypass.NotAllowed, a.Reason)
					require.Equal(t, between.Attempts, a.Attempts)
				default:
					require.Equal(t, between, s.get("A1"), "the other server has it")
				}
			})
		}
	}
}

// A server without the private keys does no harm to an action.
func TestServerThatOnlyCollects(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.hold(bySerial, codeTexts[0])
	before := s.start()
	e, err := escrow.New(escrow.Config{Store: s.codes, Audit: s.audit, Sealer: blind{}})
	require.NoError(t, err)
	b, err := bypass.New(bypass.Config{Store: s.actions, Escrow: e, Audit: s.audit, Organization: "Example School", Clock: s.clock.Now})
	require.NoError(t, err)
	_, err = b.Run(t.Context(), "A1", &appleDouble{})
	require.ErrorIs(t, err, escrow.ErrNoOpener)
	require.Equal(t, before, s.get("A1"))
}

type blind struct{}

func (blind) Seal(_ context.Context, text, _ []byte) ([]byte, error) { return text, nil }

// sealErrors are all for which a code cannot be had.
var closedErrors = []error{seal.ErrNoKey, seal.ErrDamaged, seal.ErrVersion, escrow.ErrMoved}

func TestCodesThatDoNotOpen(t *testing.T) {
	t.Parallel()
	for _, closed := range closedErrors {
		s := newServer(t)
		s.hold(bySerial, codeTexts[:3]...)
		s.closed[codeTexts[2]], s.closed[codeTexts[1]] = closed, fmt.Errorf("it says: %w", closed)
		s.start()
		double := &appleDouble{}
		a, err := s.Run(t.Context(), "A1", double)
		require.NoError(t, err)
		require.Equal(t, codeTexts[:1], double.sent)
		require.Equal(t, bypass.NotAllOpened, a.Reason)
		require.Equal(t, []bool{true, true, false}, []bool{a.Attempts[0].NotOpened, a.Attempts[1].NotOpened, a.Attempts[2].NotOpened})
		require.Zero(t, a.Attempts[0].Tries)
	}
	// Purged after the plan was made.
	s := newServer(t)
	s.hold(bySerial, codeTexts[:2]...)
	s.start()
	require.NoError(t, s.escrow.Delete(t.Context(), bySerial, noon))
	require.NoError(t, s.escrow.Purge(t.Context(), bySerial, escrow.Purge{Act: act, At: noon, LockOff: true}))
	a, err := s.Run(t.Context(), "A1", &appleDouble{})
	require.NoError(t, err)
	require.Equal(t, bypass.NotOpened, a.Reason)
}

// Codes beyond the plan's limit, and those that cannot be opened do not count.
func TestLimits(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	texts := []string{}
	for range 40 {
		texts = append(texts, bypasscode.New().Reveal())
	}
	s.hold(bySerial, texts...)
	slices.Reverse(texts) // in the order of the plan
	for _, text := range texts[:12] {
		s.closed[text] = seal.ErrNoKey
	}
	require.Len(t, s.start().Attempts, bypass.MaxPlan)
	double := &appleDouble{}
	a, err := s.Run(t.Context(), "A1", double)
	require.NoError(t, err)
	require.Equal(t, texts[12:16], double.sent)
	require.Equal(t, bypass.NotAllOpened, a.Reason)
}

// A code that was sent counts, also if it cannot be opened any more afterwards.
func TestSentCodeThatDoesNotOpenAnyMore(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.hold(bySerial, codeTexts...)
	s.start()
	double := &appleDouble{answer: func(n int, _ string) (int, http.Header, error) {
		return map[bool]int{true: 429, false: 404}[n == 0], nil, nil
	}}
	a, err := s.Run(t.Context(), "A1", double)
	require.NoError(t, err)
	require.Equal(t, noon.Add(time.Minute), a.NextAt)
	s.closed[codeTexts[5]] = seal.ErrNoKey
	s.clock.Move(time.Minute)
	a, err = s.Run(t.Context(), "A1", double)
	require.NoError(t, err)
	require.Equal(t, bypass.NotAllOpened, a.Reason)
	require.Equal(t, []string{codeTexts[5], codeTexts[4], codeTexts[3], codeTexts[2]}, double.sent)
}

// Whoever starts or cancels is in the audit before anything is stored.
func TestAuditComesFirst(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.hold(bySerial, codeTexts[0])
	trail := s.trail
	s.trail = downTrail{trail}
	s.boot()
	_, warning, err := s.Start(t.Context(), wish())
	require.ErrorIs(t, err, errDown)
	require.Empty(t, warning)
	_, err = s.actions.Get(t.Context(), "A1")
	require.ErrorIs(t, err, bypass.ErrNotFound)
	s.trail = trail
	s.boot()
	before := s.start()
	s.trail = downTrail{trail}
	s.boot()
	_, err = s.Cancel(t.Context(), "A1", act)
	require.ErrorIs(t, err, errDown)
	double := &appleDouble{}
	_, err = s.Run(t.Context(), "A1", double)
	require.ErrorIs(t, err, errDown)
	require.Empty(t, double.sent, "no code leaves without the audit")
	require.Equal(t, before, s.get("A1"))
}
