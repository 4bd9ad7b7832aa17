package engine_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/activationlock/sdk/activationlock/engine"
	"github.com/activationlock/sdk/bypasscode/escrow"
	"github.com/activationlock/sdk/internal/hostile"
	"github.com/activationlock/sdk/inventory"
	"github.com/activationlock/sdk/mdmcmd"
)

// sender is one of those who may send a hostile message: who the host says it is, and
// what a message has to say to be believed.
type sender struct {
	name   string
	from   engine.Enrollment
	beside []string // keys with their values
}

var senders = []sender{
	{"device", engine.Enrollment{ID: id}, []string{"UDID", id}},
	{"user", engine.Enrollment{ID: id + ":anna", ParentID: id, Channel: engine.UserChannel}, []string{"UDID", id, "UserID", "anna"}},
}

// says is what the sender's messages have, and more, but for a key that the message
// brings itself.
func (s sender) says(without string, more ...string) string {
	var b strings.Builder
	for pairs := append(append([]string{}, s.beside...), more...); len(pairs) > 0; pairs = pairs[2:] {
		if pairs[0] != without {
			fmt.Fprintf(&b, "<key>%s</key><string>%s</string>", pairs[0], pairs[1])
		}
	}
	return b.String()
}

// handlers are the two ways in.
func (w *world) handlers() map[string]func(context.Context, engine.Enrollment, []byte) (engine.Outcome, error) {
	return map[string]func(context.Context, engine.Enrollment, []byte) (engine.Outcome, error){
		"report": w.engine.HandleReport, "check-in": w.engine.HandleCheckin,
	}
}

// state is all that a message could spoil.
type state struct {
	record inventory.Record
	codes  []escrow.Record
}

func (w *world) state() state { return state{w.device(serial).Record, w.records(serial)} }

// expected is the event of a message, "" for none, and the report if it is one to
// believe. What can be read is for package mdmcmd to say, which has tests of its own.
func (s sender) expected(raw []byte) (engine.EventType, *mdmcmd.Report) {
	m, err := mdmcmd.Parse(raw)
	switch {
	case errors.Is(err, mdmcmd.ErrOtherMessage):
		return "", nil
	case err != nil:
		return engine.Unreadable, nil
	case m.From().DeviceID() != id || (m.From().Channel() == engine.UserChannel) != (s.name == "user"):
		return engine.NotBelieved, nil
	}
	return "", m.(*mdmcmd.Report)
}

// signs are of a bypass code: its key, or something that this could hide behind.
var signs = []string{"ActivationLockBypassCode", "&#", "<![CDATA[", "<!--", "\x00"}

// poison has the engine take a hostile message in every way, and returns the report
// if there was one to believe.
func (w *world) poison(s sender, way, name string, raw []byte) *mdmcmd.Report {
	w.t.Helper()
	says := name + " of a " + s.name + ", as a " + way
	before, told, given := w.state(), len(w.events), bytes.Clone(raw)
	out, err := w.handlers()[way](w.t.Context(), s.from, raw)
	require.NoError(w.t, err, says)
	require.True(w.t, bytes.Equal(given, raw), "the message was changed: %s", says)
	require.NotNil(w.t, out.Redacted, says)
	if slices.ContainsFunc(signs, func(sign string) bool { return bytes.Contains(raw, []byte(sign)) }) {
		plain := bytes.ReplaceAll(out.Redacted, []byte("\x00"), nil)
		require.False(w.t, bytes.Contains(plain, []byte(hostile.Code)), "the code is passed on: %s", says)
	} else {
		require.True(w.t, bytes.Equal(raw, out.Redacted), "passed on as it is: %s", says)
	}
	if want, err := mdmcmd.Redact(raw); err == nil {
		require.True(w.t, bytes.Equal(want, out.Redacted), "it is not redacted as it should be: %s", says)
	}
	require.NotContains(w.t, w.log.String(), hostile.Code, says)
	require.NotContains(w.t, fmt.Sprintf("%+v", w.events), hostile.Code, says)

	event, report := s.expected(raw)
	if report != nil {
		return report
	}
	require.Empty(w.t, out.Commands, says)
	require.False(w.t, out.Ours, says)
	require.Equal(w.t, before, w.state(), says)
	if event == "" {
		require.Len(w.t, w.events, told, says)
		return nil
	}
	require.Len(w.t, w.events, told+1, says)
	require.Equal(w.t, event, w.events[told].Type, says)
	require.Equal(w.t, s.from.ID, w.events[told].EnrollmentID, says)
	return nil
}

// each plays a test for each sender and each way in.
func eachSender(t *testing.T, test func(t *testing.T, s sender, way string)) {
	t.Parallel()
	for _, s := range senders {
		for _, way := range []string{"report", "check-in"} {
			t.Run(s.name+" "+way, func(t *testing.T) {
				t.Parallel()
				test(t, s, way)
			})
		}
	}
}

func TestMalformedMessages(t *testing.T) {
	eachSender(t, func(t *testing.T, s sender, way string) {
		w := newWorld(t)
		ask := w.enroll(id, serial, iPhone)
		for name, raw := range hostile.Malformed(s.says("", "CommandUUID", ask.UUID)) {
			require.Nil(t, w.poison(s, way, name, raw), name)
		}
		whole := hostile.List(s.says("", "CommandUUID", ask.UUID, "Status", "Acknowledged", "ActivationLockBypassCode", hostile.Code))
		for n := range whole {
			require.Nil(t, w.poison(s, way, fmt.Sprint(n, " bytes"), whole[:n]))
		}
	})
}

func TestAttacks(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.enroll(id, serial, iPhone)
	for name, raw := range hostile.Attacks {
		t.Run(name, func(t *testing.T) {
			w.t = t
			raw := raw()
			require.Nil(t, w.poison(senders[0], "report", name, raw))
			if len(raw) < 1<<20 { // the large ones take the same way, and their time
				require.Nil(t, w.poison(senders[0], "check-in", name, raw))
				require.Nil(t, w.poison(senders[1], "report", name, raw))
			}
		})
	}
	w.t = t
}

// Every key with a value of every type.
func TestTypesOfValues(t *testing.T) {
	eachSender(t, func(t *testing.T, s sender, way string) {
		believed := 0
		for _, keys := range hostile.Keys {
			for key := range strings.FieldsSeq(keys) {
				w := newWorld(t)
				w.enroll(id, serial, iPhone)
				path := strings.Split(key, ".")
				for of, value := range hostile.Values {
					raw := hostile.At(path, value, s.says(path[0], "CommandUUID", "host", "Status", "Acknowledged"))
					before := w.state()
					report := w.poison(s, way, key+" of type "+of, raw)
					if report == nil {
						continue
					}
					believed++
					after := w.state()
					if report.BypassCode == nil {
						require.Equal(t, before.codes, after.codes, "%s of type %s", key, of)
					}
					// It says something of the device, and answers nothing.
					require.Equal(t, before.record.CodeID, after.record.CodeID)
					require.Equal(t, before.record.OptionsSent, after.record.OptionsSent)
					require.Equal(t, serial, after.record.Facts.SerialNumber)
					require.Equal(t, before.record.AuthenticatedAt, after.record.AuthenticatedAt)
					if s.name == "user" {
						require.Equal(t, before, state{after.record, before.codes}, "a user says nothing of the device: %s", key)
					}
				}
			}
		}
		require.Greater(t, believed, 50, "there is more to it than what is refused")
	})
}

// A list of applications is too large to be read, and nothing to do with us.
func TestLargeMessage(t *testing.T) {
	eachSender(t, func(t *testing.T, s sender, way string) {
		w := newWorld(t)
		w.enroll(id, serial, iPhone)
		application := "<dict><key>Identifier</key><string>com.example.application</string><key>BundleSize</key><integer>123456</integer></dict>"
		raw := hostile.List(s.says("", "CommandUUID", "host", "Status", "Acknowledged") +
			"<key>InstalledApplicationList</key><array>" + strings.Repeat(application, 5<<20/len(application)+1) + "</array>")
		require.Greater(t, len(raw), 5<<20)
		require.Nil(t, w.poison(s, way, "applications", raw))
		require.Equal(t, engine.Unreadable, w.events[0].Type)
		require.ErrorIs(t, w.events[0].Err, mdmcmd.ErrTooLarge)
	})
}

// A host that does not say whose device it is cannot be believed for it.
func TestMessageOfNobody(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.enroll(id, serial, iPhone)
	for _, from := range []engine.Enrollment{{}, {ID: "anna", Channel: engine.UserChannel}, {ParentID: id, Channel: engine.UserChannel}} {
		w.events = nil
		raw := hostile.List(`<key>UserID</key><string>anna</string><key>Status</key><string>Acknowledged</string>` +
			`<key>ActivationLockBypassCode</key><string>` + hostile.Code + `</string>`)
		for way, handle := range w.handlers() {
			out, err := handle(t.Context(), from, raw)
			require.NoError(t, err)
			require.NotContains(t, string(out.Redacted), hostile.Code)
			require.Equal(t, engine.NotBelieved, w.events[len(w.events)-1].Type, "%+v as a %s", from, way)
		}
	}
	require.Empty(t, w.records(serial))
}

// What is larger than anybody reads is not kept: a code in it is lost, and the host's
// queue goes on.
func TestEnormousMessage(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ask := w.enroll(id, serial, iPhone)
	raw := append(codeAnswer(id, ask.UUID, hostile.Code), bytes.Repeat([]byte(" "), mdmcmd.MaxRedact)...)
	require.Nil(t, w.poison(senders[0], "report", "enormous", raw))
	require.ErrorIs(t, w.events[0].Err, mdmcmd.ErrTooLarge)
}

// withCode are reports with a code that can be read, whatever else is in them; with
// types, also each key with a value of each wrong type.
func withCode(s sender, uuid string, types bool) map[string][]byte {
	all := []string{"CommandUUID", uuid, "Status", "Acknowledged", "ActivationLockBypassCode", hostile.Code}
	plain := hostile.List(s.says("", all...))
	large := "<key>Large</key><string>" + strings.Repeat("x", 2<<20) + "</string>"
	reports := map[string][]byte{
		"as it should be":      plain,
		"in 2 MiB":             hostile.List(s.says("", all...) + large),
		"in 2 MiB, after them": hostile.List(large + s.says("", all...)),
		"before 2 MiB of nothing": append(bytes.Clone(plain),
			bytes.Repeat([]byte("\n"), 2<<20)...),
		"with an error": bytes.Replace(plain, []byte("Acknowledged"), []byte("Error"), 1),
		"with NotNow":   bytes.Replace(plain, []byte("Acknowledged"), []byte("NotNow"), 1),
		"in deep lists": hostile.Deep(31, s.says("", "CommandUUID", uuid)),
	}
	if !types {
		return reports
	}
	for want, keys := range hostile.Keys {
		for key := range strings.FieldsSeq(keys) {
			path := strings.Split(key, ".")
			if path[0] == "ActivationLockBypassCode" {
				continue
			}
			for of, value := range hostile.Values {
				raw := hostile.At(path, value, s.says(path[0], all...))
				if _, report := s.expected(raw); of != want && report != nil {
					reports[key+" of type "+of] = raw
				}
			}
		}
	}
	return reports
}

// A code that cannot be committed is the one reason for an error, and the message
// that comes again is taken as if it were the first.
func TestCodeWhileEscrowIsDown(t *testing.T) {
	eachSender(t, func(t *testing.T, s sender, way string) {
		reports := withCode(s, "activationlock-2", way == "report") // a check-in takes the same way
		require.True(t, way != "report" || len(reports) > 300)
		for name, raw := range reports {
			w := newWorld(t)
			require.Equal(t, "activationlock-2", w.enroll(id, serial, iPhone).UUID)
			before := w.state()

			w.escrowDown = true
			for range 2 { // it comes again and again
				out, err := w.handlers()[way](t.Context(), s.from, raw)
				require.ErrorIs(t, err, errDown, name)
				require.NotContains(t, err.Error(), hostile.Code)
				require.Empty(t, out.Commands)
				require.NotNil(t, out.Redacted)
				require.False(t, bytes.Contains(out.Redacted, []byte(hostile.Code)), name)
			}
			w.escrowDown = false
			require.Equal(t, before, w.state(), name)
			_, err := w.inventory.Get(t.Context(), s.from.ID)
			require.Equal(t, s.name == "user", errors.Is(err, inventory.ErrNotFound), name)
			require.Equal(t, []engine.EventType{engine.CaptureFailed, engine.CaptureFailed}, w.eventTypes(), name)

			w.events = nil
			w.now = w.now.Add(time.Minute)
			out, err := w.handlers()[way](t.Context(), s.from, raw)
			require.NoError(t, err, name)
			require.False(t, bytes.Contains(out.Redacted, []byte(hostile.Code)), name)
			require.Equal(t, engine.CodeCaptured, w.events[len(w.events)-1].Type, "when all is on record: %s", name)
			held := w.records(serial)
			if s.name == "user" { // of whom nobody knows the serial number
				held, err = w.escrow.Records(t.Context(), escrow.Subject{EnrollmentID: s.from.ID})
				require.NoError(t, err)
			}
			require.Len(t, held, 1, name)
			require.Equal(t, hostile.Code, w.reveal(held[0]), name)
			if s.name == "device" && !strings.Contains(name, "CommandUUID") && name != "with NotNow" {
				require.Equal(t, escrow.Current, held[0].State, name)
				require.Equal(t, held[0].ID, w.device(serial).Record.CodeID, name)
				require.Equal(t, []string{"Settings"}, types(out), name)
			} else {
				require.Empty(t, out.Commands, "no permission on a code that was not asked for: %s", name)
			}
			require.NotContains(t, w.log.String(), hostile.Code, name)
			require.NotContains(t, fmt.Sprintf("%+v", w.events), hostile.Code, name)
		}
	})
}
