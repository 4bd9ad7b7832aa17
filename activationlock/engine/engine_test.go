package engine_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/activationlock/sdk/activationlock"
	"github.com/activationlock/sdk/activationlock/engine"
	"github.com/activationlock/sdk/activationlock/memstore"
	"github.com/activationlock/sdk/bypasscode/audit"
	"github.com/activationlock/sdk/bypasscode/escrow"
	"github.com/activationlock/sdk/inventory"
	"github.com/activationlock/sdk/mdmcmd"
)

const (
	id     = "00008120-0011223344556677"
	other  = "00008120-00AABBCCDDEEFF00"
	serial = "XXFAKE0SER1"
	code   = "3UM43-PUYVY-QYD1-UVCC-HEHJ-FKA4"
	code2  = "8LNYD-DVNKU-GYRC-E6GU-3YFD-CT86"
	code3  = "TF27L-31WN1-E6FH-DMAM-52X5-NFV0"
)

// faulty stores fail on demand, before they do anything.
type faultyEscrow struct {
	escrow.Store
	down *bool
}

var errDown = errors.New("the store is down")

func (f faultyEscrow) Update(ctx context.Context, s escrow.Subject, change func([]escrow.Entry) ([]escrow.Entry, error)) error {
	if *f.down {
		return errDown
	}
	return f.Store.Update(ctx, s, change)
}

func (f faultyEscrow) Entries(ctx context.Context, s escrow.Subject) ([]escrow.Entry, error) {
	if *f.down {
		return nil, errDown
	}
	return f.Store.Entries(ctx, s)
}

func (f faultyEscrow) Join(ctx context.Context, enrollmentID, serialNumber string) error {
	if *f.down {
		return errDown
	}
	return f.Store.Join(ctx, enrollmentID, serialNumber)
}

type faultyInventory struct {
	inventory.Store
	down *bool
}

func (f faultyInventory) Update(ctx context.Context, id string, change func(*inventory.Record) error) error {
	if *f.down {
		return errDown
	}
	return f.Store.Update(ctx, id, func(r *inventory.Record) error {
		if err := change(r); err != nil {
			return err
		}
		return kept(reflect.ValueOf(*r))
	})
}

// kept gives an error if a time in a value is one that stores need not keep.
func kept(v reflect.Value) (err error) {
	if t, is := v.Interface().(time.Time); is {
		if t.Location() != time.UTC || t.Nanosecond()%1000 != 0 {
			return errors.New("a time that is not in UTC, or finer than a microsecond")
		}
		return nil
	}
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			err = errors.Join(err, kept(v.Field(i)))
		}
	case reflect.Slice:
		for i := range v.Len() {
			err = errors.Join(err, kept(v.Index(i)))
		}
	case reflect.Map:
		for _, each := range v.Seq2() {
			err = errors.Join(err, kept(each))
		}
	}
	return err
}

func (f faultyInventory) Get(ctx context.Context, id string) (inventory.Record, error) {
	if *f.down {
		return inventory.Record{}, errDown
	}
	return f.Store.Get(ctx, id)
}

func (f faultyInventory) BySerialNumber(ctx context.Context, serial string) ([]inventory.Record, error) {
	if *f.down {
		return nil, errDown
	}
	return f.Store.BySerialNumber(ctx, serial)
}

// escrowOn is an escrow that hides nothing from the tests.
func escrowOn(t *testing.T, store escrow.Store) *escrow.Escrow {
	t.Helper()
	acts, err := audit.New(audit.Config{Store: memstore.New().Audit()})
	require.NoError(t, err)
	codes, err := escrow.New(escrow.Config{Store: store, Sealer: clear{}, Audit: acts})
	require.NoError(t, err)
	return codes
}

// wish is for a code that no person is to see.
func wish(subject escrow.Subject, recordID string) escrow.Reveal {
	return escrow.Reveal{
		Subject: subject, RecordID: recordID, Purpose: escrow.ToUnlock,
		Act: escrow.Act{Actor: "tester", Reason: "test"},
	}
}

// clear is a sealer that hides nothing.
type clear struct{}

func (clear) Seal(_ context.Context, text, _ []byte) ([]byte, error) { return bytes.Clone(text), nil }

func (clear) Open(_ context.Context, sealed, _ []byte) ([]byte, error) {
	return bytes.Clone(sealed), nil
}

// textOf returns the code that clear did not hide: after a version, it is the
// first of the fields that begin with their length.
func textOf(e escrow.Entry) string {
	return string(e.Sealed[3 : 3+int(e.Sealed[1])<<8+int(e.Sealed[2])])
}

// world is an engine with everything around it.
type world struct {
	t                         *testing.T
	engine                    *engine.Engine
	escrow                    *escrow.Escrow
	inventory                 inventory.Store
	now                       time.Time
	escrowDown, inventoryDown bool
	mu                        sync.Mutex
	events                    []engine.Event
	log                       bytes.Buffer
}

func allow() mdmcmd.MDMOptions {
	return mdmcmd.MDMOptions{ActivationLockAllowedWhileSupervised: new(true)}
}

// weekly is a policy by which facts are asked again after a week to the second.
func weekly(options mdmcmd.MDMOptions) engine.Policy {
	return engine.Policy{Options: options, Inventory: func(string) inventory.Schedule { return weekLater{} }}
}

type weekLater struct{}

func (weekLater) Next(after time.Time) time.Time { return after.Add(7 * 24 * time.Hour) }

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, now: time.Date(2026, 11, 22, 9, 0, 0, 0, time.UTC)}
	stores := memstore.New()
	w.inventory = stores.Inventory()
	w.escrow = escrowOn(t, faultyEscrow{stores.Escrow(), &w.escrowDown})
	count := 0
	var err error
	w.engine, err = engine.New(engine.Config{
		Escrow: w.escrow, Inventory: faultyInventory{w.inventory, &w.inventoryDown},
		Policy: weekly(allow()),
		NewUUID: func() string {
			w.mu.Lock()
			defer w.mu.Unlock()
			count++
			return fmt.Sprintf("activationlock-%d", count)
		},
		Clock:  func() time.Time { return w.now },
		Logger: slog.New(slog.NewTextHandler(&w.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
		OnEvent: func(_ context.Context, e engine.Event) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.events = append(w.events, e)
		},
	})
	require.NoError(t, err)
	count = 0 // New tried it
	t.Cleanup(func() {
		for _, secret := range []string{code, code2, code3, "magic-secret"} {
			require.NotContains(t, w.log.String(), secret)
			require.NotContains(t, fmt.Sprintf("%+v", w.events), secret)
		}
	})
	return w
}

func (w *world) checkin(from string, raw []byte) engine.Outcome {
	w.t.Helper()
	out, err := w.engine.HandleCheckin(w.t.Context(), engine.Enrollment{ID: from}, raw)
	require.NoError(w.t, err)
	return out
}

func (w *world) report(from string, raw []byte) engine.Outcome {
	w.t.Helper()
	out, err := w.engine.HandleReport(w.t.Context(), engine.Enrollment{ID: from}, raw)
	require.NoError(w.t, err)
	return out
}

// one returns the only command of an outcome, which must be of that type.
func (w *world) one(out engine.Outcome, requestType string) engine.Queued {
	w.t.Helper()
	require.Equal(w.t, []string{requestType}, types(out))
	return out.Commands[0]
}

func types(out engine.Outcome) []string {
	names := []string{}
	for _, c := range out.Commands {
		names = append(names, c.RequestType)
	}
	return names
}

func (w *world) records(serial string) []escrow.Record {
	w.t.Helper()
	records, err := w.escrow.Records(w.t.Context(), escrow.Subject{SerialNumber: serial})
	require.NoError(w.t, err)
	return records
}

func (w *world) reveal(r escrow.Record) string {
	w.t.Helper()
	text, err := w.escrow.Reveal(w.t.Context(), wish(r.Subject, r.ID))
	require.NoError(w.t, err)
	return text.Reveal()
}

func (w *world) eventTypes() []engine.EventType {
	names := []engine.EventType{}
	for _, e := range w.events {
		if e.Type != engine.FindingBegan && e.Type != engine.FindingEnded {
			names = append(names, e.Type)
		}
	}
	return names
}

func (w *world) device(serial string) engine.Details {
	w.t.Helper()
	d, err := w.engine.Device(w.t.Context(), serial)
	require.NoError(w.t, err)
	return d
}

var iPhone = dict{
	"UDID": id, "SerialNumber": serial, "ProductName": "iPhone17,3", "OSVersion": "26.1", "IsSupervised": true,
	"IsActivationLockEnabled": false, "IsDeviceLocatorServiceEnabled": false,
	"ServiceSubscriptions": []any{
		dict{"Slot": "CTSubscriptionSlotTwo", "IMEI": "35 000000 000002 7"},
		dict{"Slot": "CTSubscriptionSlotOne", "IMEI": "35 000000 000001 9", "MEID": "35000000000001"},
	},
}

// enroll plays Authenticate, TokenUpdate and the information round, and
// returns the question for the code.
func (w *world) enroll(id, serial string, facts dict) engine.Queued {
	w.t.Helper()
	require.Empty(w.t, w.checkin(id, authenticate(id, serial, "iPhone17,3", "26.1")).Commands, "not enrolled yet")
	info := w.one(w.checkin(id, tokenUpdate(id)), "DeviceInformation")
	out := w.report(id, informationAnswer(id, info.UUID, facts.with(dict{"UDID": id, "SerialNumber": serial})))
	require.True(w.t, out.Ours)
	return w.one(out, "ActivationLockBypassCode")
}

func TestTheOrder(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ask := w.enroll(id, serial, iPhone)

	out := w.report(id, codeAnswer(id, ask.UUID, code))
	require.True(t, out.Ours)
	require.NotContains(t, string(out.Redacted), code)
	settings := w.one(out, "Settings")
	require.Contains(t, string(settings.Plist), "<key>ActivationLockAllowedWhileSupervised</key>")
	require.Contains(t, string(settings.Plist), "<true/>")

	held := w.records(serial)
	require.Len(t, held, 1)
	require.Equal(t, code, w.reveal(held[0]))
	require.Equal(t, escrow.Current, held[0].State)
	require.Equal(t, escrow.CauseEnrollment, held[0].Cause)
	require.Equal(t, ask.UUID, held[0].CommandUUID)
	require.Equal(t, escrow.Device{
		SerialNumber: serial, UDID: id, ProductType: "iPhone17,3",
		IMEI: "350000000000019", IMEI2: "350000000000027", MEID: "35000000000001",
	}, held[0].Device)

	out = w.report(id, answer(id, settings.UUID, "Acknowledged", dict{"Settings": []any{dict{"Item": "MDMOptions", "Status": "Acknowledged"}}}))
	require.Empty(t, out.Commands)
	require.Empty(t, w.report(id, idle(id)).Commands, "nothing is left to do")
	require.Equal(t, []engine.EventType{engine.CodeCaptured}, w.eventTypes())
	require.Equal(t, activationlock.NotEnabled, w.device(serial).Status)
	require.Equal(t, activationlock.NotEnabled, w.device(id).Status)

	w.now = w.now.Add(7 * 24 * time.Hour)
	w.one(w.report(id, idle(id)), "DeviceInformation")
}

func TestMacNeedsSecurityInfoFirst(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name       string
		manageable any
		asked      bool
	}{{"manageable", true, true}, {"not manageable", false, false}, {"not said", nil, true}} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.checkin(id, authenticate(id, serial, "Mac14,2", "15.1"))
			out := w.checkin(id, tokenUpdate(id))
			require.Equal(t, []string{"DeviceInformation", "SecurityInfo"}, types(out))
			facts := dict{"ProductName": "Mac14,2", "OSVersion": "15.1", "IsSupervised": true, "IsActivationLockSupported": true}
			require.Empty(t, w.report(id, informationAnswer(id, out.Commands[0].UUID, facts)).Commands, "SecurityInfo is still open")
			status := dict{"EnrolledViaDEP": true}
			if test.manageable != nil {
				status["IsActivationLockManageable"] = test.manageable
			}
			out = w.report(id, answer(id, out.Commands[1].UUID, "Acknowledged", dict{"SecurityInfo": dict{"ManagementStatus": status}}))
			if test.asked {
				w.one(out, "ActivationLockBypassCode")
			} else {
				require.Empty(t, out.Commands)
			}
		})
	}
}

func TestNobodyIsAskedInVain(t *testing.T) {
	t.Parallel()
	for name, facts := range map[string]dict{
		"unsupervised":      iPhone.with(dict{"IsSupervised": false}),
		"Shared iPad":       iPhone.with(dict{"IsMultiUser": true, "ProductName": "iPad13,1"}),
		"iOS 7.0":           iPhone.with(dict{"OSVersion": "7.0.4", "ProductName": "iPhone5,1"}),
		"Apple TV":          {"ProductName": "AppleTV14,1", "OSVersion": "26.0", "IsSupervised": true},
		"watch":             {"ProductName": "Watch7,1", "OSVersion": "26.0", "IsSupervised": true},
		"Mac without chip":  {"ProductName": "Macmini7,1", "OSVersion": "12.0", "IsSupervised": true, "IsActivationLockSupported": false},
		"Mac before 10.15":  {"ProductName": "iMac14,2", "OSVersion": "10.12.6"},
		"visionOS 1":        {"ProductName": "RealityDevice14,1", "OSVersion": "1.1", "IsSupervised": true},
		"Mac before 10.15b": {"ProductName": "iMac14,2", "OSVersion": "10.14"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.checkin(id, list(dict{"MessageType": "Authenticate", "UDID": id, "Topic": "t"}))
			info := w.one(w.checkin(id, tokenUpdate(id)), "DeviceInformation")
			out := w.report(id, informationAnswer(id, info.UUID, facts))
			for _, c := range out.Commands {
				require.Equal(t, "SecurityInfo", c.RequestType)
				out = w.report(id, answer(id, c.UUID, "Acknowledged", dict{"SecurityInfo": dict{}}))
				require.Empty(t, out.Commands)
			}
		})
	}
}

func TestUserEnrollmentsAndUserChannels(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	enrollment := dict{"EnrollmentID": "E-1", "Topic": "t"}
	w.checkin("E-1", list(enrollment.with(dict{"MessageType": "Authenticate", "ProductName": "iPhone15,2"})))
	require.Empty(t, w.checkin("E-1", list(enrollment.with(dict{"MessageType": "TokenUpdate"}))).Commands)
	require.Empty(t, w.report("E-1", list(dict{"EnrollmentID": "E-1", "Status": "Idle"})).Commands)
	require.True(t, w.device("E-1").Record.UserEnrollment)

	user := engine.Enrollment{ID: id + ":anna", ParentID: id, Channel: engine.UserChannel}
	for _, raw := range [][]byte{
		list(dict{"MessageType": "TokenUpdate", "UDID": id, "UserID": "U", "UserShortName": "anna", "Topic": "t"}),
		list(dict{"Status": "Idle", "UDID": id, "UserID": "U", "UserShortName": "anna"}),
	} {
		handle := w.engine.HandleReport
		if bytes.Contains(raw, []byte("TokenUpdate")) {
			handle = w.engine.HandleCheckin
		}
		out, err := handle(t.Context(), user, raw)
		require.NoError(t, err)
		require.Empty(t, out.Commands)
	}
	require.Equal(t, engine.UserChannel, w.device(user.ID).Record.Channel)
	require.Empty(t, w.events)

	_, err := w.engine.HandleReport(t.Context(), user, idle(id))
	require.NoError(t, err)
	require.Equal(t, []engine.EventType{engine.NotBelieved}, w.eventTypes(), "the device channel's message")
}

// Escrow that fails is the one thing that makes a device send again.
func TestEscrowDown(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ask := w.enroll(id, serial, iPhone)

	w.escrowDown = true
	raw := codeAnswer(id, ask.UUID, code)
	out, err := w.engine.HandleReport(t.Context(), engine.Enrollment{ID: id}, raw)
	require.ErrorIs(t, err, errDown)
	require.NotContains(t, err.Error(), code)
	require.Empty(t, out.Commands, "nothing is allowed")
	require.NotContains(t, string(out.Redacted), code)
	require.Equal(t, engine.CaptureFailed, w.events[0].Type)
	require.Empty(t, w.report(id, idle(id)).Commands, "a report without a code gives no error")
	w.report(id, answer(id, ask.UUID, "NotNow", nil))

	w.escrowDown = false
	out = w.report(id, raw)
	require.Len(t, w.records(serial), 1)
	w.one(out, "Settings")
}

func TestEscrowDownWithoutACode(t *testing.T) {
	t.Parallel()
	for _, more := range []dict{{"ActivationLockBypassCode": ""}, nil} {
		w := newWorld(t)
		ask := w.enroll(id, serial, iPhone)
		w.escrowDown = true
		require.Empty(t, w.report(id, answer(id, ask.UUID, "Acknowledged", more)).Commands)
		require.Equal(t, []engine.EventType{engine.EscrowFailed}, w.eventTypes())
	}
}

func TestInventoryDown(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ask := w.enroll(id, serial, iPhone)
	w.inventoryDown = true
	require.Empty(t, w.checkin(id, tokenUpdate(id)).Commands)
	out := w.report(id, codeAnswer(id, ask.UUID, code))
	require.Empty(t, out.Commands)
	require.NotContains(t, string(out.Redacted), code)
	require.Contains(t, w.eventTypes(), engine.RecordFailed)
	require.Contains(t, w.eventTypes(), engine.CodeCaptured, "the code is kept all the same")

	// Nobody knew whose it was or that it was asked for.
	held, err := w.escrow.Records(t.Context(), escrow.Subject{EnrollmentID: id})
	require.NoError(t, err)
	require.Len(t, held, 1)
	require.Equal(t, escrow.Disputed, held[0].State)

	// The question is still open; asked again, the code becomes what it is.
	w.inventoryDown = false
	require.Empty(t, w.report(id, idle(id)).Commands)
	w.now = w.now.Add(24 * time.Hour)
	ask = w.one(w.report(id, idle(id)), "ActivationLockBypassCode")
	w.one(w.report(id, codeAnswer(id, ask.UUID, code)), "Settings")
	held = w.records(serial)
	require.Equal(t, escrow.Current, held[0].State)
}

func TestNoAllowWithoutACode(t *testing.T) {
	t.Parallel()
	for name, more := range map[string][]byte{
		"empty":   codeAnswer(id, "UUID", ""),
		"missing": answer(id, "UUID", "Acknowledged", nil),
		"error":   answer(id, "UUID", "Error", deviceError("MCMDMErrorDomain", 12021)),
		"format":  answer(id, "UUID", "CommandFormatError", nil),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			ask := w.enroll(id, serial, iPhone)
			out := w.report(id, bytes.ReplaceAll(more, []byte("UUID</string>"), []byte(ask.UUID+"</string>")))
			require.True(t, out.Ours)
			require.Empty(t, out.Commands)
			require.Empty(t, w.records(serial))

			// Asked again every six hours while the window is open, weekly after.
			w.now = w.now.Add(6*time.Hour - time.Second)
			require.Empty(t, w.report(id, idle(id)).Commands)
			w.now = w.now.Add(time.Second)
			w.one(w.report(id, idle(id)), "ActivationLockBypassCode")
		})
	}
}

func TestAfterTheWindowAskingGetsRare(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ask := w.enroll(id, serial, iPhone)
	w.now = w.now.Add(activationlock.CodeWindow)
	out := w.report(id, codeAnswer(id, ask.UUID, ""))
	info := w.one(out, "DeviceInformation")
	require.Empty(t, w.report(id, informationAnswer(id, info.UUID, iPhone)).Commands)
	w.now = w.now.Add(6 * time.Hour)
	require.Empty(t, w.report(id, idle(id)).Commands)
	w.now = w.now.Add(7 * 24 * time.Hour)
	require.Equal(t, []string{"DeviceInformation", "ActivationLockBypassCode"}, types(w.report(id, idle(id))))
}

func TestEmptyNeverOverwrites(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ask := w.enroll(id, serial, iPhone)
	w.report(id, codeAnswer(id, ask.UUID, code))
	again := w.enroll(id, serial, iPhone)
	w.report(id, codeAnswer(id, again.UUID, ""))
	held := w.records(serial)
	require.Len(t, held, 1)
	require.Equal(t, code, w.reveal(held[0]))
	require.Equal(t, "the device enrolled again", held[0].StaleReason)
}

func TestNotNowIsAskedAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ask := w.enroll(id, serial, iPhone)
	out := w.report(id, answer(id, ask.UUID, "NotNow", nil))
	require.True(t, out.Ours)
	require.Empty(t, out.Commands)
	w.now = w.now.Add(time.Hour)
	again := w.one(w.report(id, idle(id)), "ActivationLockBypassCode")
	require.NotEqual(t, ask.UUID, again.UUID)

	// A host that kept the first command delivers it too; its answer counts.
	w.one(w.report(id, codeAnswer(id, ask.UUID, code)), "Settings")
	require.Equal(t, escrow.Current, w.records(serial)[0].State)
	require.Empty(t, w.report(id, codeAnswer(id, again.UUID, code)).Commands)
	require.Len(t, w.records(serial), 1)
}

func TestLostCommandsAreAskedAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.enroll(id, serial, iPhone)
	for range 12 { // more often than UUIDs are remembered
		w.now = w.now.Add(24*time.Hour - time.Second)
		require.NotContains(t, types(w.report(id, idle(id))), "ActivationLockBypassCode")
		w.now = w.now.Add(time.Second)
		require.Contains(t, types(w.report(id, idle(id))), "ActivationLockBypassCode")
	}
	x := w.device(id).Record.Exchanges["ActivationLockBypassCode"]
	require.Len(t, x.UUIDs, 8)
	out := w.report(id, codeAnswer(id, x.UUIDs[0], code))
	require.Equal(t, escrow.Current, w.records(serial)[0].State, "an old question of ours")
	require.Contains(t, types(out), "Settings")
}

func TestInformationThatNeverComesDoesNotBlockTheCode(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.checkin(id, authenticate(id, serial, "iPhone17,3", "26.1"))
	w.checkin(id, tokenUpdate(id))
	w.now = w.now.Add(24 * time.Hour)
	require.Equal(t, []string{"DeviceInformation", "ActivationLockBypassCode"}, types(w.report(id, idle(id))))
}

func TestNewEnrollmentAsksAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ask := w.enroll(id, serial, iPhone)
	w.report(id, codeAnswer(id, ask.UUID, code))

	w.now = w.now.Add(time.Hour)
	ask = w.enroll(id, serial, iPhone)
	held := w.records(serial)
	require.Len(t, held, 1)
	require.Equal(t, w.now, held[0].StaleSince)
	require.Equal(t, "the device enrolled again", held[0].StaleReason)
	require.Equal(t, []string{}, types(w.report(id, idle(id))), "no allow on a code that is perhaps stale")

	w.one(w.report(id, codeAnswer(id, ask.UUID, code2)), "Settings")
	held = w.records(serial)
	require.Len(t, held, 2)
	require.Equal(t, []string{code2, code}, []string{w.reveal(held[0]), w.reveal(held[1])})
	require.Equal(t, []escrow.State{escrow.Current, escrow.Superseded}, []escrow.State{held[0].State, held[1].State})

	// The device restored its own backup: the first code is back.
	w.now = w.now.Add(time.Hour)
	ask = w.enroll(id, serial, iPhone)
	w.one(w.report(id, codeAnswer(id, ask.UUID, code)), "Settings")
	held = w.records(serial)
	require.Len(t, held, 2)
	require.Equal(t, code, w.reveal(held[0]))
	require.Equal(t, escrow.Current, held[0].State)
	require.True(t, held[0].StaleSince.IsZero())
	require.Equal(t, escrow.Superseded, held[1].State)
}

// Escrow was down when the enrollment began, so the mark is missing. The plan
// does not need it.
func TestStaleWithoutTheMark(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ask := w.enroll(id, serial, iPhone)
	settings := w.one(w.report(id, codeAnswer(id, ask.UUID, code)), "Settings")
	w.report(id, answer(id, settings.UUID, "Acknowledged", nil))
	w.now = w.now.Add(time.Hour)
	w.escrowDown = true
	w.checkin(id, authenticate(id, serial, "iPhone17,3", "26.1"))
	w.escrowDown = false
	require.True(t, w.records(serial)[0].StaleSince.IsZero())
	info := w.one(w.checkin(id, tokenUpdate(id)), "DeviceInformation")
	w.one(w.report(id, informationAnswer(id, info.UUID, iPhone)), "ActivationLockBypassCode")
}

func TestFindMyOnAsksAgain(t *testing.T) {
	t.Parallel()
	for name, facts := range map[string]dict{
		"Find My": {"IsDeviceLocatorServiceEnabled": true},
		"lock":    {"IsActivationLockEnabled": true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			ask := w.enroll(id, serial, iPhone)
			settings := w.one(w.report(id, codeAnswer(id, ask.UUID, code)), "Settings")
			w.report(id, answer(id, settings.UUID, "Acknowledged", nil))

			// The host's own question tells as well as ours.
			w.now = w.now.Add(time.Minute)
			out := w.report(id, informationAnswer(id, "host-1", facts))
			require.False(t, out.Ours)
			ask = w.one(out, "ActivationLockBypassCode")
			require.Empty(t, w.report(id, informationAnswer(id, "host-2", facts)).Commands, "it was on before")
			w.report(id, codeAnswer(id, ask.UUID, code2))
			held := w.records(serial)
			require.Len(t, held, 2)
			require.Equal(t, code2, w.reveal(held[0]))
			require.Equal(t, escrow.CauseLockOn, held[0].Cause)
		})
	}
}

func TestOptions(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ask := w.enroll(id, serial, iPhone)
	settings := w.one(w.report(id, codeAnswer(id, ask.UUID, code)), "Settings")

	t.Log("an item that fails inside an acknowledged report is no success")
	failed := dict{"Settings": []any{dict{"Item": "MDMOptions", "Status": "Error"}}}
	require.Empty(t, w.report(id, answer(id, settings.UUID, "Acknowledged", failed)).Commands)

	t.Log("while the refused options rest, so does the question for the code")
	w.now = w.now.Add(2 * 24 * time.Hour)
	require.Empty(t, w.report(id, idle(id)).Commands)

	t.Log("before the permission goes out again, the device is asked for its code again")
	w.now = w.now.Add(5 * 24 * time.Hour)
	out := w.report(id, idle(id))
	require.Equal(t, []string{"DeviceInformation", "ActivationLockBypassCode"}, types(out))
	info := out.Commands[0]
	settings = w.one(w.report(id, codeAnswer(id, out.Commands[1].UUID, code)), "Settings")
	require.Empty(t, w.report(id, answer(id, settings.UUID, "Acknowledged", nil)).Commands)

	t.Log("a device that says otherwise later gets them again, in the same order")
	forbidden := dict{"MDMOptions": dict{"ActivationLockAllowedWhileSupervised": false}}
	w.now = w.now.Add(time.Hour)
	ask = w.one(w.report(id, informationAnswer(id, info.UUID, iPhone.with(forbidden))), "ActivationLockBypassCode")
	settings = w.one(w.report(id, codeAnswer(id, ask.UUID, "")), "Settings") // no new code: the one that is held stays

	t.Log("and is not asked in a circle")
	require.Empty(t, w.report(id, answer(id, settings.UUID, "Acknowledged", nil)).Commands)
	require.Empty(t, w.report(id, informationAnswer(id, "host", forbidden)).Commands)
}

func TestForbiddingNeedsNoCode(t *testing.T) {
	t.Parallel()
	stores := memstore.New()
	codes := escrowOn(t, stores.Escrow())
	e, err := engine.New(engine.Config{Escrow: codes, Inventory: stores.Inventory(), Policy: engine.Policy{
		Options: mdmcmd.MDMOptions{ActivationLockAllowedWhileSupervised: new(false), IdleRebootAllowed: new(true)},
	}})
	require.NoError(t, err)
	from := engine.Enrollment{ID: id}
	_, err = e.HandleCheckin(t.Context(), from, authenticate(id, serial, "iPhone17,3", "26.1"))
	require.NoError(t, err)
	out, err := e.HandleCheckin(t.Context(), from, tokenUpdate(id))
	require.NoError(t, err)
	require.Equal(t, []string{"DeviceInformation"}, types(out))
	require.True(t, strings.HasPrefix(out.Commands[0].UUID, "activationlock-"))
	out, err = e.HandleReport(t.Context(), from, informationAnswer(id, out.Commands[0].UUID, iPhone))
	require.NoError(t, err)
	require.Equal(t, []string{"ActivationLockBypassCode", "Settings"}, types(out))
	require.Contains(t, string(out.Commands[1].Plist), "<false/>")
}

// A code from nobody's question is kept, but changes nothing.
func TestUnaskedCode(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ask := w.enroll(id, serial, iPhone)
	for _, uuid := range []string{"", "host-made", "activationlock-forged"} {
		out := w.report(id, codeAnswer(id, uuid, code2))
		require.Empty(t, out.Commands, "no allow")
		require.NotContains(t, string(out.Redacted), code2)
	}
	held := w.records(serial)
	require.Len(t, held, 1)
	require.Equal(t, escrow.Disputed, held[0].State)
	require.Equal(t, escrow.CauseUnasked, held[0].Cause)

	w.now = w.now.Add(time.Minute)
	w.one(w.report(id, codeAnswer(id, ask.UUID, code)), "Settings")
	w.now = w.now.Add(time.Minute)
	w.report(id, codeAnswer(id, "late", code3))
	held = w.records(serial)
	require.Equal(t, []string{code, code3, code2}, []string{w.reveal(held[0]), w.reveal(held[1]), w.reveal(held[2])})
	require.Equal(t, []escrow.State{escrow.Current, escrow.Disputed, escrow.Disputed}, []escrow.State{held[0].State, held[1].State, held[2].State})
}

func TestDisputedSerialNumber(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ask := w.enroll(id, serial, iPhone)
	w.report(id, codeAnswer(id, ask.UUID, code))

	forged := w.enroll(other, serial, iPhone)
	out := w.report(other, codeAnswer(other, forged.UUID, code2))
	require.Empty(t, out.Commands, "no allow for a serial number that is another's")
	require.Contains(t, w.eventTypes(), engine.SerialDisputed)
	held := w.records(serial)
	require.Equal(t, []string{code, code2}, []string{w.reveal(held[0]), w.reveal(held[1])})
	require.Equal(t, []escrow.State{escrow.Current, escrow.Disputed}, []escrow.State{held[0].State, held[1].State})

	// A forger that answers in a circle is asked no more often than others.
	require.Empty(t, w.report(other, idle(other)).Commands)

	t.Log("an enrollment that ended disputes nothing")
	w.checkin(id, checkOut(id))
	w.now = w.now.Add(6 * time.Hour)
	again := w.one(w.report(other, idle(other)), "ActivationLockBypassCode")
	w.one(w.report(other, codeAnswer(other, again.UUID, code2)), "Settings")
	require.Len(t, w.records(serial), 2)
	require.Equal(t, code2, w.reveal(w.records(serial)[0]))
}

// An enrollment that floods fills its own quota and nobody else's.
func TestQuota(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.enroll(other, serial, iPhone)
	const symbols = "0123456789ACDEFGHJKLMNPQRTUVWXYZ"
	for i := range escrow.Quota + 10 {
		flood := string([]byte{symbols[i/32%32], symbols[i%32]}) + code[2:]
		w.report(other, codeAnswer(other, "x", flood))
	}
	require.Len(t, w.records(serial), escrow.Quota)
	require.Contains(t, w.eventTypes(), engine.CodeNotKept)

	ask := w.enroll(id, serial, iPhone)
	w.report(id, codeAnswer(id, ask.UUID, code2))
	require.Len(t, w.records(serial), escrow.Quota+1)
}

func TestAnotherDevicesMessageIsNotBelieved(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ask := w.enroll(id, serial, iPhone)
	before := w.device(id)
	for _, raw := range [][]byte{
		codeAnswer(id, ask.UUID, code),
		list(dict{"Status": "Acknowledged", "CommandUUID": ask.UUID, "ActivationLockBypassCode": code}),
		list(dict{"Status": "Acknowledged", "CommandUUID": ask.UUID, "ActivationLockBypassCode": code, "UDID": id, "EnrollmentID": other}),
		list(dict{"Status": "Acknowledged", "CommandUUID": ask.UUID, "ActivationLockBypassCode": code, "UDID": other, "UserID": "U"}),
		informationAnswer(id, "x", dict{"IsSupervised": false}),
	} {
		w.events = nil
		out := w.report(other, raw)
		require.Empty(t, out.Commands)
		require.False(t, out.Ours)
		require.NotContains(t, string(out.Redacted), code)
		require.Equal(t, []engine.EventType{engine.NotBelieved}, w.eventTypes())
	}
	for _, raw := range [][]byte{authenticate(id, serial, "x", "1"), tokenUpdate(id), checkOut(id)} {
		require.Empty(t, w.checkin(other, raw).Commands)
	}
	require.Equal(t, before, w.device(id))
	require.Empty(t, w.records(serial))
	_, err := w.engine.Device(t.Context(), other)
	require.ErrorIs(t, err, inventory.ErrNotFound)
	require.Empty(t, w.report("", idle("")).Commands)
}

func TestRedactedReplayChangesNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ask := w.enroll(id, serial, iPhone)
	first := w.report(id, codeAnswer(id, ask.UUID, code))
	again := w.enroll(id, serial, iPhone)
	before, held := w.device(id), w.records(serial)

	w.now = w.now.Add(time.Minute)
	for _, uuid := range []string{ask.UUID, again.UUID} {
		raw := bytes.ReplaceAll(first.Redacted, []byte(ask.UUID), []byte(uuid))
		w.events = nil
		out := w.report(id, raw)
		require.Equal(t, []engine.EventType{engine.AlreadyRedacted}, w.eventTypes())
		require.True(t, out.Ours)
		require.Empty(t, out.Commands)
		require.Equal(t, raw, out.Redacted)
	}
	require.Equal(t, before.Record, w.device(id).Record)
	require.Equal(t, held, w.records(serial))
}

func TestReplayAndReorderChangeNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	first := w.enroll(id, serial, iPhone)
	w.report(id, codeAnswer(id, first.UUID, code))
	w.now = w.now.Add(time.Hour)
	second := w.enroll(id, serial, iPhone)
	w.report(id, codeAnswer(id, second.UUID, code2))
	held := w.records(serial)
	for range 3 {
		w.now = w.now.Add(time.Minute)
		require.Empty(t, w.report(id, codeAnswer(id, first.UUID, code)).Commands)
		require.Empty(t, w.report(id, codeAnswer(id, second.UUID, code2)).Commands)
		require.Equal(t, held, w.records(serial))
	}
}

// The answer to an earlier question comes again while a later one is open.
func TestReplayDoesNotAnswerALaterQuestion(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	first := w.enroll(id, serial, iPhone)
	w.report(id, codeAnswer(id, first.UUID, code))
	second := w.one(w.report(id, informationAnswer(id, "host", dict{"IsDeviceLocatorServiceEnabled": true})), "ActivationLockBypassCode")
	before := w.device(id).Record
	require.Empty(t, w.report(id, codeAnswer(id, first.UUID, code)).Commands)
	require.Equal(t, before, w.device(id).Record)

	w.report(id, codeAnswer(id, second.UUID, code2))
	before = w.device(id).Record
	w.report(id, codeAnswer(id, first.UUID, code))
	require.Equal(t, before, w.device(id).Record)
	require.Equal(t, code2, w.reveal(w.records(serial)[0]))
}

// The servers' clocks differ by a minute, and the enrollment begins on the slow
// one.
func TestClockSkewAllowsNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ask := w.enroll(id, serial, iPhone)
	settings := w.one(w.report(id, codeAnswer(id, ask.UUID, code)), "Settings")
	w.now = w.now.Add(-time.Minute)
	ask = w.enroll(id, serial, iPhone)
	require.Empty(t, w.report(id, codeAnswer(id, settings.UUID, code)).Commands, "from before the erase")
	w.one(w.report(id, codeAnswer(id, ask.UUID, code2)), "Settings")
}

// Whatever a host is sent, its queue goes on.
func TestForeignAndBrokenMessages(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.enroll(id, serial, iPhone)
	applications := list(dict{"Status": "Acknowledged", "UDID": id, "CommandUUID": "host", "InstalledApplicationList": []any{strings.Repeat("x", 5<<20)}})
	padded := append(codeAnswer(id, "x", code), bytes.Repeat([]byte(" "), 2<<20)...)
	for _, test := range []struct {
		name     string
		raw      []byte
		redacted []byte // nil: the message itself
	}{
		{"a 5 MiB application list", applications, nil},
		{"a code in 2 MiB", padded, bytes.Replace(padded, []byte(code), []byte(mdmcmd.Redacted), 1)},
		{"nothing", nil, []byte{}},
		{"not a list", []byte("hello"), nil},
		{"binary", []byte("bplist00\xa1"), nil},
		{"binary with a code", []byte("bplist00ActivationLockBypassCode" + code), []byte("empty")},
		{"broken, with a key in disguise", []byte("<plist><dict><key>ActivationLockBypass&#67;ode</key><string>" + code), []byte("empty")},
		{"broken, with a key in pieces", []byte("<plist><dict><key>ActivationLock<!-- -->BypassCode</key><string>" + code), []byte("empty")},
		{"UTF-16 with a code", utf16("<plist><key>ActivationLockBypassCode</key><string>" + code), []byte("empty")},
		{"broken with a code", codeAnswer(id, "x", code)[:250], []byte("empty")},
		{"another check-in", list(dict{"MessageType": "DeclarativeManagement", "UDID": id}), nil},
		{"no status", list(dict{"UDID": id}), nil},
		{"wrong types", list(dict{"Status": 1, "UDID": id}), nil},
		{"an array", list([]any{}), nil},
	} {
		for name, handle := range map[string]func(context.Context, engine.Enrollment, []byte) (engine.Outcome, error){
			"report": w.engine.HandleReport, "check-in": w.engine.HandleCheckin,
		} {
			out, err := handle(t.Context(), engine.Enrollment{ID: id}, test.raw)
			require.NoError(t, err, test.name)
			require.Empty(t, out.Commands, test.name)
			require.NotContains(t, string(out.Redacted), code, test.name+" as "+name)
			switch {
			case test.redacted == nil:
				require.True(t, bytes.Equal(test.raw, out.Redacted), test.name)
			case string(test.redacted) == "empty":
				require.NoError(t, mdmcmd.Check(out.Redacted, 1000))
			default:
				require.True(t, bytes.Equal(test.redacted, out.Redacted), test.name)
			}
		}
	}
	held := w.records(serial)
	require.Len(t, held, 1, "of all these, the code in 2 MiB can be read")
	require.Equal(t, escrow.Disputed, held[0].State)
}

func utf16(s string) []byte {
	out := []byte{0xff, 0xfe}
	for _, b := range []byte(s) {
		out = append(out, b, 0)
	}
	return out
}

func TestAdoptedBySpeaking(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	info := w.one(w.report(id, idle(id)), "DeviceInformation")
	ask := w.one(w.report(id, informationAnswer(id, info.UUID, iPhone)), "ActivationLockBypassCode")
	w.one(w.report(id, codeAnswer(id, ask.UUID, code)), "Settings")
	require.Equal(t, code, w.reveal(w.records(serial)[0]))
}

// The code came before the serial number was known.
func TestSerialNumberLater(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	nameless := dict{"ProductName": "iPhone17,3", "OSVersion": "26.1", "IsSupervised": true}
	info := w.one(w.report(id, idle(id)), "DeviceInformation")
	ask := w.one(w.report(id, informationAnswer(id, info.UUID, nameless)), "ActivationLockBypassCode")
	w.one(w.report(id, codeAnswer(id, ask.UUID, code)), "Settings")
	require.Empty(t, w.records(serial))
	w.report(id, informationAnswer(id, "host", dict{"SerialNumber": serial}))
	held := w.records(serial)
	require.Len(t, held, 1)
	require.Equal(t, code, w.reveal(held[0]))
	require.Equal(t, id, held[0].Subject.EnrollmentID, "as first filed")
}

func TestCheckedOut(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ask := w.enroll(id, serial, iPhone)
	w.report(id, codeAnswer(id, ask.UUID, code))
	w.checkin(id, checkOut(id))
	require.Empty(t, w.report(id, idle(id)).Commands)
	w.now = w.now.Add(30 * 24 * time.Hour)
	batches, err := w.engine.Tick(t.Context(), 10)
	require.NoError(t, err)
	require.Empty(t, batches)
	require.Len(t, w.records(serial), 1, "the code outlives the enrollment")
	w.enroll(id, serial, iPhone)
}

func TestStatus(t *testing.T) {
	t.Parallel()
	locked := iPhone.with(dict{"IsActivationLockEnabled": true})
	w := newWorld(t)
	ask := w.enroll(id, serial, locked)
	require.Equal(t, activationlock.Unknown, w.device(id).Status, "the question is open")
	w.now = w.now.Add(24 * time.Hour)
	require.Equal(t, activationlock.EnabledWithoutBypassCodeUnreachable, w.device(id).Status)
	w.report(id, codeAnswer(id, ask.UUID, ""))
	require.Equal(t, activationlock.EnabledWithoutBypassCodeNotProvided, w.device(id).Status)
	w.report(id, codeAnswer(id, "unasked", code))
	require.Equal(t, activationlock.EnabledWithBypassCode, w.device(id).Status)

	w = newWorld(t)
	info := w.one(w.report(id, idle(id)), "DeviceInformation")
	w.report(id, informationAnswer(id, info.UUID, locked.with(dict{"IsSupervised": false})))
	require.Equal(t, activationlock.EnabledWithoutBypassCodeNotSupervised, w.device(serial).Status)
}

// Many servers' worth of goroutines on one enrollment end with one code.
func TestConcurrentReports(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ask := w.enroll(id, serial, iPhone)
	var all sync.WaitGroup
	var mu sync.Mutex
	settings := 0
	for range 16 {
		all.Go(func() {
			out, err := w.engine.HandleReport(t.Context(), engine.Enrollment{ID: id}, codeAnswer(id, ask.UUID, code))
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				t.Error(err)
			}
			settings += len(out.Commands)
		})
	}
	all.Wait()
	require.Equal(t, 1, settings, "the permission is queued once")
	require.Len(t, w.records(serial), 1)
}

func TestNewChecksItsConfiguration(t *testing.T) {
	t.Parallel()
	stores := memstore.New()
	codes := escrowOn(t, stores.Escrow())
	good := engine.Config{Escrow: codes, Inventory: stores.Inventory()}
	_, err := engine.New(good)
	require.NoError(t, err)
	for want, spoil := range map[string]func(*engine.Config){
		"Escrow is required":                 func(c *engine.Config) { c.Escrow = nil },
		"Inventory is required":              func(c *engine.Config) { c.Inventory = nil },
		"more than 64":                       func(c *engine.Config) { c.UUIDPrefix = strings.Repeat("x", 65) },
		"other characters":                   func(c *engine.Config) { c.UUIDPrefix = "a b" },
		"AnswerWithin is less than a second": func(c *engine.Config) { c.Policy.AnswerWithin = -1 },
		"CodeEvery is less than a second":    func(c *engine.Config) { c.Policy.CodeEvery = 999 * time.Millisecond },
		"NotNowAgain is less than a second":  func(c *engine.Config) { c.Policy.NotNowAgain = 1 },
	} {
		c := good
		spoil(&c)
		_, err := engine.New(c)
		require.ErrorContains(t, err, want)
	}
}

// Both stores are down while the device, erased in between, enrolls again, and
// nobody could note that. It is asked for its code before it may lock.
func TestEnrollmentThatNobodyCouldRecord(t *testing.T) {
	t.Parallel()
	for _, acknowledged := range []bool{true, false} {
		w := newWorld(t)
		ask := w.enroll(id, serial, iPhone)
		settings := w.one(w.report(id, codeAnswer(id, ask.UUID, code)), "Settings")
		if acknowledged {
			w.report(id, answer(id, settings.UUID, "Acknowledged", nil))
		}
		w.escrowDown, w.inventoryDown = true, true
		w.checkin(id, authenticate(id, serial, "iPhone17,3", "26.1"))
		w.checkin(id, tokenUpdate(id))
		w.escrowDown, w.inventoryDown = false, false

		w.now = w.now.Add(7 * 24 * time.Hour)
		out := w.report(id, idle(id))
		info, rest := out.Commands[0], types(out)[1:]
		if acknowledged {
			require.Empty(t, rest)
			forbidden := iPhone.with(dict{"MDMOptions": dict{"ActivationLockAllowedWhileSupervised": false}})
			ask = w.one(w.report(id, informationAnswer(id, info.UUID, forbidden)), "ActivationLockBypassCode")
		} else {
			require.Equal(t, []string{"ActivationLockBypassCode"}, rest)
			ask = out.Commands[1]
		}
		w.one(w.report(id, codeAnswer(id, ask.UUID, code2)), "Settings")
		require.Equal(t, code2, w.reveal(w.records(serial)[0]))
	}
}

// An enrollment that names one serial number after the other fills nobody's.
func TestSerialNumberIsNotFollowed(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ask := w.enroll(id, serial, iPhone)
	for i := range 5 {
		w.report(id, informationAnswer(id, "host", dict{"SerialNumber": fmt.Sprint("FORGED", i)}))
		w.report(id, codeAnswer(id, fmt.Sprint("unasked", i), fmt.Sprint("junk code ", i)))
		require.Empty(t, w.records(fmt.Sprint("FORGED", i)))
	}
	require.Contains(t, w.eventTypes(), engine.SerialDisputed)
	require.Equal(t, serial, w.device(id).Record.Facts.SerialNumber)
	w.checkin(id, authenticate(id, "FORGED", "iPhone17,3", "26.1"))
	require.Equal(t, serial, w.device(id).Record.Facts.SerialNumber)
	require.Len(t, w.records(serial), 5)
	w.report(id, codeAnswer(id, ask.UUID, code))
	require.Len(t, w.records(serial), 6)
}

// An odd key beside it does not lose a code.
func TestCodeInAnOddReport(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ask := w.enroll(id, serial, iPhone)
	out := w.report(id, answer(id, ask.UUID, "Acknowledged", dict{"ActivationLockBypassCode": code, "RequestType": 1}))
	w.one(out, "Settings")
	require.NotContains(t, string(out.Redacted), code)
	require.Equal(t, code, w.reveal(w.records(serial)[0]))
}

func TestRedactedIsNeverNil(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	require.NotNil(t, w.report(id, nil).Redacted)
	require.NotNil(t, w.checkin(id, nil).Redacted)
}
