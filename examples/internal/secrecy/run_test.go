package secrecy_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"database/sql"
	"encoding/base64"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/activationlock/sdk/activationlock/bypass"
	"github.com/activationlock/sdk/activationlock/engine"
	"github.com/activationlock/sdk/activationlock/memstore"
	"github.com/activationlock/sdk/activationlock/sqlstore"
	"github.com/activationlock/sdk/bypasscode"
	"github.com/activationlock/sdk/bypasscode/audit"
	"github.com/activationlock/sdk/bypasscode/escrow"
	"github.com/activationlock/sdk/bypasscode/seal"
	"github.com/activationlock/sdk/examples/internal/database"
	"github.com/activationlock/sdk/mdmcmd"
)

var noon = time.Date(2026, time.November, 22, 12, 0, 0, 0, time.UTC)

// run is a run on one database, and what came of it.
type run struct {
	testing.TB
	ctx     context.Context
	places  places
	secrets []secret

	storage database.Storage
	db      *sql.DB
	store   *sqlstore.Store
	keys    [3]seal.PrivateKey // of before, of now, of somebody else
	holder  *x509.Certificate
	opens   *rsa.PrivateKey
	codes   *escrow.Escrow // collects with the key of before, and opens
	given   int
}

var act = escrow.Act{Actor: "tester", Reason: "test"}

// wish is for a code that no person is to see.
func wish(subject escrow.Subject, recordID string) escrow.Reveal {
	return escrow.Reveal{Subject: subject, RecordID: recordID, Purpose: escrow.ToUnlock, Act: act}
}

// newAudit is an audit that nobody looks at.
func newAudit() *audit.Log {
	log, err := audit.New(audit.Config{Store: memstore.New().Audit()})
	if err != nil {
		panic(err)
	}
	return log
}

// live runs everything that has to do with codes.
func live(tb testing.TB, s database.Storage) *run {
	tb.Helper()
	r := &run{TB: tb, ctx: tb.Context(), places: places{}, storage: s}
	r.store, r.db = s.Store(tb)
	for i := range r.keys {
		key, err := seal.GenerateKey([]seal.Suite{seal.X25519, seal.P256, seal.MLKEM768X25519}[i])
		require.NoError(tb, err)
		r.keys[i] = key
		r.keep(keySecret(tb, key))
	}
	r.certify()
	r.codes = r.escrow(r.store.Escrow(), r.keyring(0, 0, 1))
	r.everyday()
	r.unlock()
	r.rotate()
	r.mistakes()
	r.refusals()
	r.engine()
	r.values()
	r.sealingSkipped()
	for _, place := range []string{"errors", "values", "events", "outcomes"} {
		r.places.plant(place)
	}
	return r
}

func (r *run) keep(s secret) { r.secrets = append(r.secrets, s) }

// code returns a new code, which must not get out.
func (r *run) code() bypasscode.Text {
	r.given++
	code := bypasscode.New()
	r.keep(codeSecret(fmt.Sprintf("code %d", r.given), code))
	return code.Text()
}

func keySecret(tb testing.TB, key seal.PrivateKey) secret {
	tb.Helper()
	line := key.Reveal()
	raw, err := base64.RawURLEncoding.DecodeString(line[strings.Index(line, ":")+1:])
	require.NoError(tb, err)
	return secret{string(key.Public().Suite()) + " key", line, raw[:len(raw)-4]} // without the check
}

func (r *run) keyring(to int, private ...int) *seal.Keyring {
	var keys []seal.PrivateKey
	for _, i := range private {
		keys = append(keys, r.keys[i])
	}
	k, err := seal.NewKeyring([]seal.PublicKey{r.keys[to].Public()}, keys...)
	require.NoError(r, err)
	return k
}

func (r *run) escrow(store escrow.Store, sealer escrow.Sealer) *escrow.Escrow {
	e, err := escrow.New(escrow.Config{Audit: newAudit(), Store: store, Sealer: sealer, Recovery: []*x509.Certificate{r.holder}})
	require.NoError(r, err)
	return e
}

// certify makes the certificate that recovery copies are for.
func (r *run) certify() {
	var err error
	r.opens, err = rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(r, err)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "recovery"}, NotBefore: noon, NotAfter: noon.AddDate(10, 0, 0)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, r.opens.Public(), r.opens)
	require.NoError(r, err)
	r.holder, err = x509.ParseCertificate(der)
	require.NoError(r, err)
	r.keep(secret{name: "recovery key", text: strings.Repeat("-", 16) + r.opens.D.Text(16), raw: r.opens.D.Bytes()})
}

func subject(n int) escrow.Subject {
	return escrow.Subject{SerialNumber: fmt.Sprintf("XXFAKE0SER%d", n)}
}

func captureOf(s escrow.Subject, text bypasscode.Text, cause escrow.Cause) escrow.Capture {
	return escrow.Capture{
		Subject: s, Kind: bypasscode.Device, Text: text, Cause: cause, EnrollmentID: "enrollment", CommandUUID: rand.Text(),
		AskedAt: noon, ReceivedAt: noon, Device: escrow.Device{UDID: "udid", ProductType: "iPhone17,3", IMEI: "350000000000019"},
	}
}

// everyday is what goes well.
func (r *run) everyday() {
	capture := func(c escrow.Capture) escrow.Record {
		r.Helper()
		r.places.say("values", c)
		kept, err := r.codes.Capture(r.ctx, c)
		require.NoError(r, err)
		r.places.say("values", kept)
		return kept
	}
	for n, cause := range []escrow.Cause{escrow.CauseEnrollment, escrow.CauseSchedule, escrow.CauseUnasked, escrow.CauseImport, escrow.CauseManual} {
		for range 2 {
			c := captureOf(subject(n), r.code(), cause)
			capture(c)
			c.CommandUUID = "again"
			capture(c)
		}
	}
	for _, text := range []string{
		"a code in a form of its own 1234", strings.ToLower(bypasscode.New().Reveal()), "not UTF-8 \xff\xfe and with controls \x01\x02\x00", "'); DROP TABLE codes; -- \\ \"quoted\"",
	} {
		r.given++
		r.keep(secret{fmt.Sprintf("text %d", r.given), text, nil})
		capture(captureOf(subject(5), bypasscode.NewText(text), escrow.CauseEnrollment))
	}
	server := captureOf(subject(6), r.code(), escrow.CauseImport)
	server.Kind = bypasscode.Server
	capture(server)

	enrollment := escrow.Subject{EnrollmentID: "enrollment of nobody"}
	c := captureOf(enrollment, r.code(), escrow.CauseEnrollment)
	capture(c)
	require.NoError(r, r.codes.Join(r.ctx, enrollment.EnrollmentID, subject(0).SerialNumber))
	require.NoError(r, r.codes.MarkStale(r.ctx, subject(0), "enrolled again", noon))

	for n, verdict := range []escrow.Verdict{
		{State: escrow.MaybeActive, Reason: "no answer", At: noon}, {State: escrow.Current, At: noon},
		{State: escrow.Void, Reason: "refused", At: noon}, {State: escrow.Worked, Reason: "unlocked", At: noon},
	} {
		lock := escrow.Lock{SerialNumber: subject(10 + n).SerialNumber, At: noon}
		kept, err := r.codes.LockCode(r.ctx, lock)
		require.NoError(r, err)
		text, err := r.codes.Reveal(r.ctx, wish(kept.Subject, kept.ID))
		require.NoError(r, err)
		code, err := text.Code()
		require.NoError(r, err)
		r.given++
		r.keep(codeSecret(fmt.Sprintf("lock code %d", r.given), code))
		again, err := r.codes.LockCode(r.ctx, lock)
		require.NoError(r, err)
		require.Equal(r, kept, again)
		marked, err := r.codes.Mark(r.ctx, kept.Subject, kept.ID, verdict)
		require.NoError(r, err)
		for _, v := range []any{lock, verdict, kept, marked, text, code, again.Hash} {
			r.places.say("values", v)
		}
	}

	for _, e := range r.entries() {
		text, err := r.codes.Reveal(r.ctx, wish(e.Subject, e.ID))
		require.NoError(r, err)
		r.places.say("values", text)
		recoveryCopy, err := r.codes.RecoveryCopy(r.ctx, e.Subject, e.ID)
		require.NoError(r, err)
		r.places.at("recovery copies").Write(recoveryCopy)
		recovered, err := escrow.OpenRecoveryCopy(recoveryCopy, r.holder, r.opens)
		require.NoError(r, err)
		require.True(r, text.Equal(recovered.Text))
		r.places.say("values", recovered)
	}

	require.NoError(r, r.codes.Delete(r.ctx, subject(3), noon))
	r.places.fail(r, r.codes.Purge(r.ctx, subject(3), escrow.Purge{Act: escrow.Act{Actor: "tester", Reason: "sold"}, At: noon}))
	r.places.fail(r, r.codes.Purge(r.ctx, subject(4), escrow.Purge{Act: escrow.Act{Actor: "tester", Reason: "sold"}, At: noon, LockOff: true}))
	require.NoError(r, r.codes.Purge(r.ctx, subject(3), escrow.Purge{Act: escrow.Act{Actor: "tester", Reason: "sold"}, At: noon, LockOff: true}))
}

func (r *run) entries() []escrow.Entry {
	r.Helper()
	entries, err := r.store.Escrow().Scan(r.ctx, "", 1000)
	require.NoError(r, err)
	require.NotEmpty(r, entries)
	return entries
}

// echo answers with what it was sent, as an error page may.
type echo struct{ status int }

func (e echo) Do(req *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(req.Body)
	if err != nil || len(body) == 0 {
		return nil, errors.New("a request without a body")
	}
	if e.status == 0 {
		return nil, fmt.Errorf("no answer to %s", req.URL)
	}
	return &http.Response{StatusCode: e.status, Header: http.Header{}, Body: io.NopCloser(bytes.NewReader(body))}, nil
}

// unlock lifts locks, and keeps what came of it in the database.
func (r *run) unlock() {
	acts, err := audit.New(audit.Config{Store: r.store.Audit()})
	require.NoError(r, err)
	codes, err := escrow.New(escrow.Config{Audit: acts, Store: r.store.Escrow(), Sealer: r.keyring(0, 0, 1), Recovery: []*x509.Certificate{r.holder}})
	require.NoError(r, err)
	now := noon
	b, err := bypass.New(bypass.Config{
		Store: r.store.Actions(), Escrow: codes, Audit: acts, Organization: "Example", Clock: func() time.Time { return now },
	})
	require.NoError(r, err)
	sent := 0
	for n, status := range []int{200, 404, 400, 0, 503, 404, 401} { // the codes of some were purged
		a, _, err := b.Start(r.ctx, bypass.Start{Subject: subject(n), Act: act, InHand: true})
		require.NoError(r, err)
		_, _, err = b.Start(r.ctx, bypass.Start{Subject: subject(n), Act: act, InHand: true})
		if !a.State.Over() {
			r.places.fail(r, err)
		}
		for range 3 {
			a, err = b.Run(r.ctx, a.ID, echo{status})
			require.NoError(r, err)
			r.places.say("values", a)
			now = now.Add(3 * time.Hour)
		}
		for _, t := range a.Attempts {
			sent += t.Tries
		}
	}
	require.Greater(r, sent, 9)
	list, err := r.store.Actions().Scan(r.ctx, "", 100, false)
	require.NoError(r, err)
	require.NotEmpty(r, list)
	r.places.say("values", list)
}

// rotate exchanges keys, with the wrong ones first.
func (r *run) rotate() {
	say := func(progress escrow.Rotation) { r.places.say("values", progress) }
	done, err := r.escrow(r.store.Escrow(), r.keyring(1, 2)).Rotate(r.ctx, act, "", func(progress escrow.Rotation) {
		if progress.Err != nil {
			r.places.failed(progress.Err)
		}
		say(progress)
	})
	require.NoError(r, err)
	require.NotZero(r, done.Failed)
	done, err = r.escrow(r.store.Escrow(), r.keyring(1, 0)).Rotate(r.ctx, act, "", say)
	require.NoError(r, err)
	require.NotZero(r, done.Rewrapped)
	say(done)
}

// mistakes are calls that fail for what they are told.
func (r *run) mistakes() {
	capture := func(c escrow.Capture) {
		r.Helper()
		_, err := r.codes.Capture(r.ctx, c)
		r.places.fail(r, err)
	}
	for _, spoil := range []func(*escrow.Capture){
		func(c *escrow.Capture) { c.Subject = escrow.Subject{} },
		func(c *escrow.Capture) { c.Subject.SerialNumber = "NUL\x00" },
		func(c *escrow.Capture) { c.Kind = "another" },
		func(c *escrow.Capture) { c.Cause = escrow.CauseOrganizationLock },
		func(c *escrow.Capture) { c.ReceivedAt = time.Time{} },
		func(c *escrow.Capture) { c.Text = bypasscode.Text{} },
		func(c *escrow.Capture) {
			c.Text = bypasscode.NewText(c.Text.Reveal() + strings.Repeat(" and more", escrow.MaxText))
		},
	} {
		c := captureOf(subject(20), r.code(), escrow.CauseSchedule)
		spoil(&c)
		capture(c)
	}
	over, cancel := context.WithCancel(r.ctx)
	cancel()
	_, err := r.codes.Capture(over, captureOf(subject(20), r.code(), escrow.CauseSchedule))
	r.places.fail(r, err)
	for _, text := range []string{bypasscode.New().Reveal(), "12345-OILSB-1234-1234-1234-1234"} {
		r.keep(secret{"typed " + text[:5], text, nil})
		for _, spoilt := range []string{text + "!", text[1:], text + text} {
			_, err := bypasscode.ParseLenient(spoilt, true)
			r.places.fail(r, err)
			_, err = bypasscode.Parse(spoilt)
			r.places.fail(r, err)
		}
	}
	for _, key := range r.keys {
		line := key.Reveal()
		for _, spoilt := range []string{line + "=", line[:len(line)-1], strings.Replace(line, "private", "public", 1), " " + line} {
			_, err := seal.ParsePrivateKey(spoilt)
			r.places.fail(r, err)
			_, err = seal.ParsePublicKey(spoilt)
			r.places.fail(r, err)
		}
	}

	memory := memstore.New()
	full, err := escrow.New(escrow.Config{Audit: newAudit(), Store: memory.Escrow(), Sealer: r.keyring(0)})
	require.NoError(r, err)
	fill := func() error {
		_, err := full.Capture(r.ctx, captureOf(subject(21), bypasscode.New().Text(), escrow.CauseSchedule))
		return err
	}
	for range escrow.Quota {
		require.NoError(r, fill())
	}
	_, err = full.Capture(r.ctx, captureOf(subject(21), r.code(), escrow.CauseSchedule))
	require.ErrorIs(r, err, escrow.ErrQuota)
	r.places.fail(r, err)

	// What cannot be opened.
	reveal := func(codes *escrow.Escrow, s escrow.Subject, id string, want error) {
		r.Helper()
		text, err := codes.Reveal(r.ctx, wish(s, id))
		require.ErrorIs(r, err, want)
		r.places.fail(r, err)
		r.places.say("values", text)
	}
	kept, err := r.codes.Capture(r.ctx, captureOf(subject(22), r.code(), escrow.CauseSchedule))
	require.NoError(r, err)
	reveal(r.escrow(r.store.Escrow(), r.keyring(0, 2)), kept.Subject, kept.ID, seal.ErrNoKey)
	reveal(r.escrow(r.store.Escrow(), onlySealer{r.keyring(0)}), kept.Subject, kept.ID, escrow.ErrNoOpener)
	reveal(r.codes, kept.Subject, "no such record", escrow.ErrNotFound)
	r.change(kept.Subject, func(e *escrow.Entry) { e.Device.UDID = "another" })
	reveal(r.codes, kept.Subject, kept.ID, escrow.ErrMoved)
	r.change(kept.Subject, func(e *escrow.Entry) { e.Sealed[len(e.Sealed)-1] ^= 1 })
	reveal(r.codes, kept.Subject, kept.ID, seal.ErrDamaged)
	r.change(kept.Subject, func(e *escrow.Entry) { e.RecoveryCopy[len(e.RecoveryCopy)/2] ^= 1 })
	damaged, err := r.codes.RecoveryCopy(r.ctx, kept.Subject, kept.ID)
	require.NoError(r, err)
	_, err = escrow.OpenRecoveryCopy(damaged, r.holder, r.opens)
	r.places.fail(r, err)
	for _, e := range r.entries() {
		if e.State == escrow.Purged {
			reveal(r.codes, e.Subject, e.ID, escrow.ErrPurged)
		}
	}
}

type onlySealer struct{ escrow.Sealer }

// change changes what the store has of a subject, as somebody who can write it
// does.
func (r *run) change(s escrow.Subject, how func(*escrow.Entry)) {
	r.Helper()
	require.NoError(r, r.store.Escrow().Update(r.ctx, s, func(entries []escrow.Entry) ([]escrow.Entry, error) {
		changed := slices.Clone(entries)
		for i := range changed {
			how(&changed[i])
		}
		return changed, nil
	}))
}

// refusing makes the database refuse new codes that come for one cause.
var refusing = map[sqlstore.Dialect]string{
	sqlstore.SQLite: `CREATE TRIGGER refuse BEFORE INSERT ON activationlock_codes WHEN new.cause = 'lock on'
		BEGIN SELECT RAISE(ABORT, 'refused'); END`,
	sqlstore.PostgreSQL: "ALTER TABLE activationlock_codes ADD CONSTRAINT refuse CHECK (cause <> 'lock on')",
	sqlstore.MySQL:      "ALTER TABLE activationlock_codes ADD CONSTRAINT refuse CHECK (cause <> 'lock on')",
}

// refusals are failures of the database.
func (r *run) refusals() {
	_, err := r.db.Exec(refusing[r.storage.Dialect])
	require.NoError(r, err)
	_, err = r.codes.Capture(r.ctx, captureOf(subject(30), r.code(), escrow.CauseLockOn))
	r.places.fail(r, err)

	entry := r.entries()[0]
	entry.Subject = subject(31) // its ID is taken
	r.places.fail(r, r.store.Escrow().Update(r.ctx, entry.Subject, func([]escrow.Entry) ([]escrow.Entry, error) {
		return []escrow.Entry{entry}, nil
	}))

	store, db := r.storage.Store(r)
	require.NoError(r, db.Close())
	down := r.escrow(store.Escrow(), r.keyring(0, 0, 1))
	r.everyCall(down)
	r.places.differ("values", store, r.store.Escrow())
	r.places.differ("values", down, r.escrow(memstore.New().Escrow(), r.keyring(0)))
	r.everyCall(r.escrow(r.store.Escrow(), brokenSealer{}))
}

// brokenSealer is a key service that is down.
type brokenSealer struct{}

func (brokenSealer) Seal(context.Context, []byte, []byte) ([]byte, error) {
	return nil, errors.New("the key service is down")
}

// everyCall calls an escrow that fails.
func (r *run) everyCall(codes *escrow.Escrow) {
	r.Helper()
	_, err := codes.Capture(r.ctx, captureOf(subject(32), r.code(), escrow.CauseSchedule))
	r.places.fail(r, err)
	_, err = codes.LockCode(r.ctx, escrow.Lock{SerialNumber: subject(32).SerialNumber, At: noon})
	r.places.fail(r, err)
	_, err = codes.Reveal(r.ctx, wish(subject(0), r.entries()[0].ID))
	r.places.fail(r, err)
	_, err = codes.Rotate(r.ctx, act, "", nil)
	r.places.fail(r, err)
	for _, err := range []error{
		codes.Join(r.ctx, "enrollment", subject(32).SerialNumber), codes.MarkStale(r.ctx, subject(0), "reason", noon),
		codes.Delete(r.ctx, subject(32), noon), codes.Purge(r.ctx, subject(32), escrow.Purge{Act: escrow.Act{Actor: "tester", Reason: "reason"}, At: noon, Force: true}),
	} {
		if err != nil { // these seal nothing
			r.places.failed(err)
		}
	}
	if _, err := codes.Mark(r.ctx, subject(0), "record", escrow.Verdict{State: escrow.Void, Reason: "reason", At: noon}); err != nil {
		r.places.failed(err)
	}
	if _, err := codes.Records(r.ctx, subject(0)); err != nil {
		r.places.failed(err)
	}
}

// switched is a store that can be switched off.
type switched struct {
	escrow.Store
	off *bool
}

func (s switched) Update(ctx context.Context, subject escrow.Subject, change func([]escrow.Entry) ([]escrow.Entry, error)) error {
	if *s.off {
		return errors.New("the database is down")
	}
	return s.Store.Update(ctx, subject, change)
}

// engine lets devices talk to an engine that logs everything.
func (r *run) engine() {
	log := r.places.at("log")
	handlers := []slog.Handler{
		slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.Level(-100), AddSource: true}),
		slog.NewJSONHandler(log, &slog.HandlerOptions{Level: slog.Level(-100), AddSource: true}),
	}
	for i, handler := range handlers {
		off := false
		config := engine.Config{
			Escrow: r.escrow(switched{r.store.Escrow(), &off}, r.keyring(0, 0)), Inventory: memstore.New().Inventory(),
			Policy: engine.Policy{Options: mdmcmd.MDMOptions{ActivationLockAllowedWhileSupervised: new(true)}},
			Clock:  func() time.Time { return noon }, Logger: slog.New(handler),
			OnEvent: func(_ context.Context, e engine.Event) {
				r.places.say("events", e)
				if e.Err != nil {
					r.places.failed(e.Err)
				}
			},
		}
		e, err := engine.New(config)
		require.NoError(r, err)
		r.places.say("values", config)
		r.devices(e, fmt.Sprint(i), &off)
		r.places.say("values", e)
		slog.New(handler).Debug("planted", "text", planted.text, "raw", planted.raw)
	}
}

// devices play devices: one that does as it should, and many odd messages.
func (r *run) devices(e *engine.Engine, name string, off *bool) {
	handled := map[bool]int{} // whether there was an error
	report := func(enrollment engine.Enrollment, raw []byte) engine.Outcome {
		r.Helper()
		out, err := e.HandleReport(r.ctx, enrollment, raw)
		handled[err != nil]++
		if err != nil {
			r.places.failed(err)
		}
		r.places.at("outcomes").Write(out.Redacted)
		if len(out.Redacted) < 1<<16 {
			r.places.say("values", out)
		}
		for _, c := range out.Commands {
			r.places.at("outcomes").Write(c.Plist)
		}
		return out
	}
	from := engine.Enrollment{ID: "UDID-" + name}
	serial := "XXFAKEENG" + name
	_, err := e.HandleCheckin(r.ctx, from, authenticate(from.ID, serial))
	require.NoError(r, err)
	out, err := e.HandleCheckin(r.ctx, from, list(dict{"MessageType": "TokenUpdate", "Topic": "topic", "UDID": from.ID, "PushMagic": "magic"}))
	require.NoError(r, err)
	asked := ""
	for queue := out.Commands; len(queue) > 0; queue = queue[1:] {
		answer := dict{"Status": "Acknowledged", "UDID": from.ID, "CommandUUID": queue[0].UUID}
		switch queue[0].RequestType {
		case "DeviceInformation":
			answer["QueryResponses"] = dict{
				"UDID": from.ID, "SerialNumber": serial, "ProductName": "iPhone17,3", "OSVersion": "26.1", "IsSupervised": true,
				"IsActivationLockEnabled": false, "IsDeviceLocatorServiceEnabled": false,
			}
		case "ActivationLockBypassCode":
			asked = queue[0].UUID
			answer["ActivationLockBypassCode"] = r.code().Reveal()
		}
		queue = append(queue, report(from, list(answer)).Commands...)
	}
	require.NotEmpty(r, asked, "the engine asked for no code")
	details, err := e.Device(r.ctx, serial)
	require.NoError(r, err)
	r.places.say("values", details)

	code := func() string { return r.code().Reveal() }
	answer := func(id string, more dict) []byte {
		d := dict{"Status": "Acknowledged", "UDID": id, "CommandUUID": "another"}
		for key, v := range more {
			d[key] = v
		}
		return list(d)
	}
	good := func() []byte { return answer(from.ID, dict{"ActivationLockBypassCode": code()}) }
	for _, raw := range [][]byte{
		good(), // nobody asked
		answer(from.ID, dict{"ActivationLockBypassCode": code(), "CommandUUID": asked}), // another answer
		answer(from.ID, dict{"ActivationLockBypassCode": code(), "Status": "Error", "ErrorChain": []any{dict{"ErrorDomain": "domain", "ErrorCode": 12, "LocalizedDescription": "x"}}}),
		answer(from.ID, dict{"ActivationLockBypassCode": strings.ToLower(code()) + " "}),
		answer(from.ID, dict{"ActivationLockBypassCode": code() + strings.Repeat("x", escrow.MaxText)}),
		answer(from.ID, dict{"ActivationLockBypassCode": []any{code()}}),
		answer(from.ID, dict{"ActivationLockBypassCode": dict{"Code": code()}}),
		answer(from.ID, dict{"Status": "NotNow", "ActivationLockBypassCode": code()}),
		answer("UDID of another", dict{"ActivationLockBypassCode": code()}),
		good()[:len(good())-20],
		append(good(), "rest"...),
		bytes.Replace(good(), []byte("<string>"), []byte("<string>&unknown;"), 1),
		bytes.Replace(good(), []byte("<key>ActivationLockBypassCode</key>"), []byte("<key>ActivationLockBypassCode</key><string>x</string><key>ActivationLockBypassCode</key>"), 1),
		append([]byte("bplist00"), good()...),
		slices.Concat(good(), bytes.Repeat([]byte(" "), 1<<20)),
	} {
		report(from, raw)
		out, err := e.HandleCheckin(r.ctx, from, raw)
		handled[err != nil]++
		r.places.at("outcomes").Write(out.Redacted)
	}
	twin := engine.Enrollment{ID: "TWIN-" + name}
	_, err = e.HandleCheckin(r.ctx, twin, authenticate(twin.ID, serial))
	require.NoError(r, err)
	report(twin, answer(twin.ID, dict{"ActivationLockBypassCode": code()}))

	*off = true
	before := handled[true]
	report(from, good())
	require.Equal(r, before+1, handled[true], "a code got lost without an error")
	require.Greater(r, handled[false], before)
}

// values says values that hold what knows secrets.
func (r *run) values() {
	entries := r.entries()
	for _, e := range entries {
		r.places.say("values", e)
		r.places.differ("values", e, entries[0])
		r.places.differ("values", e.Record, entries[0].Record)
	}
	config := escrow.Config{Audit: newAudit(), Store: r.store.Escrow(), Sealer: r.keyring(0, 0, 1), Recovery: []*x509.Certificate{r.holder}}
	other := escrow.Config{Audit: newAudit(), Store: memstore.New().Escrow(), Sealer: r.keyring(2, 2), Recovery: nil}
	for _, pair := range [][2]any{
		{config.Sealer, other.Sealer}, {*r.keyring(0, 0), *r.keyring(1, 1)}, {r.keys[0], r.keys[1]}, {&r.keys[1], &r.keys[2]},
		{r.keys, [3]seal.PrivateKey{}}, {r.keys[0].Public(), r.keys[1].Public()}, {r.code(), r.code()},
		{bypasscode.New(), bypasscode.Code{}},
		{escrow.Config{Audit: newAudit(), Store: nil, Sealer: config.Sealer}, other},
		{captureOf(subject(0), r.code(), escrow.CauseManual), captureOf(subject(1), r.code(), escrow.CauseManual)},
	} {
		r.places.say("values", pair[0])
		r.places.differ("values", pair[0], pair[1])
	}
	for _, v := range []any{config, r.store, r.store.Escrow(), r.codes, memstore.New(), r.keyring(0, 0)} {
		r.places.say("values", v)
	}
}

// plain does not seal.
type plain struct{}

func (plain) Seal(_ context.Context, text, _ []byte) ([]byte, error) { return bytes.Clone(text), nil }

// sealingSkipped plants a code in the database, and in what is printed of its
// entry, by the way that codes take when sealing is forgotten. It is the only
// one.
func (r *run) sealingSkipped() {
	codes, err := escrow.New(escrow.Config{Audit: newAudit(), Store: r.store.Escrow(), Sealer: plain{}})
	require.NoError(r, err)
	kept, err := codes.Capture(r.ctx, captureOf(subject(40), bypasscode.NewText(planted.text), escrow.CauseSchedule))
	require.NoError(r, err)
	entries, err := r.store.Escrow().Entries(r.ctx, kept.Subject)
	require.NoError(r, err)
	for how, print := range map[string]func(places){
		"printed": func(p places) { p.say("entry", entries[0]) },
		"%#v":     func(p places) { fmt.Fprintf(p.at("entry"), "%#v", entries[0]) },
		"%+v":     func(p places) { fmt.Fprintf(p.at("entry"), "%+v", entries[0]) },
		"%x":      func(p places) { fmt.Fprintf(p.at("entry"), "%x", entries[0]) },
		"diff":    func(p places) { p.differ("entry", entries[0], escrow.Entry{}) },
	} {
		shown := places{}
		print(shown)
		require.NotEmpty(r, newSearcher(r, []secret{planted}).find(shown.at("entry").Bytes()), "the search sees nothing in an entry that is %s", how)
	}
	fmt.Fprintf(r.places.at("recovery copies"), "{%q:%q}", "code", planted.text)
	r.places.at("recovery copies").Write(planted.raw)
}

// plantEveryForm puts what was planted into a table of its own, in every form.
func (r *run) plantEveryForm() {
	types := map[sqlstore.Dialect][3]string{
		sqlstore.SQLite: {"TEXT", "BLOB", "?"}, sqlstore.PostgreSQL: {"TEXT", "BYTEA", "$1"}, sqlstore.MySQL: {"TEXT", "BLOB", "?"},
	}[r.storage.Dialect]
	for i, table := range []string{"planted_text", "planted_bytes"} {
		_, err := r.db.Exec(fmt.Sprintf("CREATE TABLE %s (planted %s)", table, types[i]))
		require.NoError(r, err)
	}
	for _, form := range planted.forms() {
		table, value := "planted_text", any(form)
		if strings.ContainsFunc(form, func(r rune) bool { return r < ' ' || r > '~' }) {
			table, value = "planted_bytes", []byte(form)
		}
		_, err := r.db.Exec(fmt.Sprintf("INSERT INTO %s VALUES (%s)", table, types[2]), value)
		require.NoError(r, err)
	}
}

// dict is a property list dictionary.
type dict map[string]any

func list(v any) []byte {
	var b bytes.Buffer
	b.WriteString(xml.Header + `<plist version="1.0">`)
	write(&b, v)
	b.WriteString("</plist>\n")
	return b.Bytes()
}

func write(b *bytes.Buffer, v any) {
	switch v := v.(type) {
	case dict:
		b.WriteString("<dict>")
		for key, value := range v {
			b.WriteString("<key>" + key + "</key>")
			write(b, value)
		}
		b.WriteString("</dict>")
	case []any:
		b.WriteString("<array>")
		for _, item := range v {
			write(b, item)
		}
		b.WriteString("</array>")
	case string:
		b.WriteString("<string>" + v + "</string>")
	case bool:
		fmt.Fprintf(b, "<%t/>", v)
	case int:
		fmt.Fprintf(b, "<integer>%d</integer>", v)
	default:
		panic(fmt.Sprintf("a %T in a message", v))
	}
}

func authenticate(udid, serial string) []byte {
	return list(dict{
		"MessageType": "Authenticate", "Topic": "topic", "UDID": udid, "SerialNumber": serial, "ProductName": "iPhone17,3", "OSVersion": "26.1",
	})
}
