// Escrow plays the life of bypass codes in a SQLite file: make keys, collect,
// look up, restart, exchange a key, reveal, recover with openssl alone, and
// answer an auditor. It works in a folder that is gone afterwards.
//
//	go run ./examples/escrow
package main

import (
	"bytes"
	"cmp"
	"context"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	_ "modernc.org/sqlite"

	"github.com/activationlock/sdk/activationlock/sqlstore"
	"github.com/activationlock/sdk/bypasscode"
	"github.com/activationlock/sdk/bypasscode/audit"
	"github.com/activationlock/sdk/bypasscode/escrow"
	"github.com/activationlock/sdk/bypasscode/seal"
)

func main() {
	if err := play(context.Background(), os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "escrow:", err)
		os.Exit(1)
	}
}

func play(ctx context.Context, out io.Writer) error {
	dir, err := os.MkdirTemp("", "escrow")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	s := &stage{ctx: ctx, dir: dir}
	for _, act := range []func() error{
		s.makeKeys, s.makeCertificate, s.collect, s.lookUp, s.exchangeKey, s.reveal, s.recover, s.answer,
	} {
		if err := act(); err != nil {
			return err
		}
	}
	_, err = s.printed.WriteTo(out)
	return err
}

// The codes are published test vectors.
var reports = []escrow.Capture{
	{
		Subject: escrow.Subject{SerialNumber: "XXFAKE0SER1"}, Kind: bypasscode.Device,
		Text:  bypasscode.NewText("3UM43-PUYVY-QYD1-UVCC-HEHJ-FKA4"),
		Cause: escrow.CauseEnrollment, ReceivedAt: time.Date(2026, time.November, 23, 9, 0, 0, 0, time.UTC),
	},
	{
		Subject: escrow.Subject{SerialNumber: "XXFAKE0SER2"}, Kind: bypasscode.Device,
		Text:  bypasscode.NewText("8LNYD-DVNKU-GYRC-E6GU-3YFD-CT86"),
		Cause: escrow.CauseEnrollment, ReceivedAt: time.Date(2026, time.November, 23, 10, 0, 0, 0, time.UTC),
	},
	{
		Subject: escrow.Subject{SerialNumber: "XXFAKE0SER1"}, Kind: bypasscode.Device,
		Text:  bypasscode.NewText("TF27L-31WN1-E6FH-DMAM-52X5-NFV0"),
		Cause: escrow.CauseLockOn, ReceivedAt: time.Date(2026, time.November, 25, 9, 0, 0, 0, time.UTC),
	},
}

// stage is what the acts share.
type stage struct {
	ctx     context.Context
	dir     string
	printed bytes.Buffer

	daily, offline seal.PublicKey      // all that the server knows of the keys
	recovery       []*x509.Certificate // none without openssl

	acts *audit.Log // of the store that is open
	head audit.Head // of the audit, kept outside of the database
	now  time.Time
}

// clock is a clock that the golden output can have.
func (s *stage) clock() time.Time {
	if s.now.IsZero() {
		s.now = time.Date(2026, time.December, 1, 9, 59, 0, 0, time.UTC)
	}
	s.now = s.now.Add(time.Minute)
	return s.now
}

func (s *stage) title(text string) { fmt.Fprintf(&s.printed, "\n%s\n\n", text) }
func (s *stage) say(format string, args ...any) {
	fmt.Fprintf(&s.printed, "  "+format+"\n", args...)
}
func (s *stage) file(name string) string { return filepath.Join(s.dir, name) }

// makeKey makes a key pair and returns the public key. The private one goes into
// a file that only its owner can read. "alctl escrow keygen" does the same.
func (s *stage) makeKey(file string) (seal.PublicKey, error) {
	key, err := seal.GenerateKey(seal.X25519)
	if err != nil {
		return seal.PublicKey{}, err
	}
	return key.Public(), seal.WriteKeyFile(s.file(file), key)
}

func (s *stage) makeKeys() (err error) {
	s.title("Make keys, on a computer that is safe")
	if s.daily, err = s.makeKey("daily.key"); err != nil {
		return err
	}
	if s.offline, err = s.makeKey("offline.key"); err != nil {
		return err
	}
	s.say("daily.key is for those who may read codes.")
	s.say("offline.key goes into a safe, for the day when the other one is lost.")
	s.say("The server gets the two public keys, and so cannot read what it keeps.")
	return nil
}

// makeCertificate makes the key with which codes can be recovered without any
// of this software.
func (s *stage) makeCertificate() error {
	if _, err := exec.LookPath("openssl"); err != nil {
		return nil
	}
	if _, err := openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=Recovery", "-days", "3650",
		"-keyout", s.file("recovery-key.pem"), "-out", s.file("recovery.pem")); err != nil {
		return err
	}
	content, err := os.ReadFile(s.file("recovery.pem"))
	if err != nil {
		return err
	}
	block, _ := pem.Decode(content)
	if block == nil {
		return errors.New("the certificate is no PEM file")
	}
	certificate, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return err
	}
	s.recovery = []*x509.Certificate{certificate}
	s.say("openssl makes a certificate for recovery copies; its key goes into the safe too.")
	return nil
}

// open opens the escrow in codes.db. The private keys are those to read with,
// none on a server that only collects.
func (s *stage) open(private ...seal.PrivateKey) (codes *escrow.Escrow, closeStore func() error, err error) {
	db, err := sqlstore.OpenSQLite(s.ctx, "sqlite", s.file("codes.db"))
	if err != nil {
		return nil, nil, err
	}
	defer func() {
		if err != nil {
			db.Close()
		}
	}()
	store, err := sqlstore.New(db, sqlstore.SQLite)
	if err != nil {
		return nil, nil, err
	}
	if err := store.Migrate(s.ctx); err != nil {
		return nil, nil, err
	}
	keys, err := seal.NewKeyring([]seal.PublicKey{s.daily, s.offline}, private...)
	if err != nil {
		return nil, nil, err
	}
	s.acts, err = audit.New(audit.Config{Store: store.Audit(), OnHead: func(_ context.Context, head audit.Head) { s.head = head }})
	if err != nil {
		return nil, nil, err
	}
	codes, err = escrow.New(escrow.Config{Store: store.Escrow(), Sealer: keys, Recovery: s.recovery, Audit: s.acts, Clock: s.clock})
	return codes, db.Close, err
}

func (s *stage) collect() error {
	s.title("Collect, on the server")
	codes, closeStore, err := s.open()
	if err != nil {
		return err
	}
	defer closeStore()
	var last escrow.Record
	for _, report := range reports {
		record, err := codes.Capture(s.ctx, report)
		if err != nil {
			return err // a real server answers the device with HTTP 500, and it sends again
		}
		s.say("%s gave a code, %s: it is on disk, sealed.", record.Subject.SerialNumber, report.Text)
		last = record
	}
	// Even to try leaves an entry in the audit.
	if err := opensNothing(s.ctx, codes, last, escrow.Act{Actor: "server", Reason: "a try"}); err != nil {
		return err
	}
	s.say("The server itself can read none of them.")
	return nil
}

// opensNothing checks that nobody here has the key to a code.
func opensNothing(ctx context.Context, codes *escrow.Escrow, r escrow.Record, act escrow.Act) error {
	_, err := codes.Reveal(ctx, escrow.Reveal{Subject: r.Subject, RecordID: r.ID, Purpose: escrow.ToUnlock, Act: act})
	if !errors.Is(err, seal.ErrNoKey) {
		return errors.New("a code opens that should not")
	}
	return nil
}

func (s *stage) lookUp() error {
	s.title("Look up, after a restart of the server")
	codes, closeStore, err := s.open()
	if err != nil {
		return err
	}
	defer closeStore()
	records, err := codes.Records(s.ctx, escrow.Subject{SerialNumber: "XXFAKE0SER1"})
	if err != nil {
		return err
	}
	s.say("XXFAKE0SER1 has %d codes, the best one first:", len(records))
	for _, r := range records {
		s.say("  %-10s  of %s, because of: %s", r.State, r.LastSeen.Format(time.DateOnly), r.Cause)
	}
	return nil
}

// exchangeKey makes a new key for daily use, for instance since somebody left
// who had the old one.
func (s *stage) exchangeKey() (err error) {
	s.title("Exchange the daily key")
	if s.daily, err = s.makeKey("new.key"); err != nil {
		return err
	}
	s.say("First the server gets the new public key. Then whoever has the old one seals")
	s.say("all codes to the new one:")
	old, err := seal.ReadKeyFile(s.file("daily.key"))
	if err != nil {
		return err
	}
	codes, closeStore, err := s.open(old)
	if err != nil {
		return err
	}
	defer closeStore()
	act := escrow.Act{Actor: "Anna", Reason: "Carl left, who had the key"}
	done, err := codes.Rotate(s.ctx, act, "", func(r escrow.Rotation) { // stopped half-way, it can be run again
		s.say("  %d done, %d failed", r.Seen, r.Failed)
	})
	if err != nil {
		return err
	}
	if done.Failed > 0 {
		return errors.New("keep the old key: codes are still sealed to it")
	}
	records, err := codes.Records(s.ctx, escrow.Subject{SerialNumber: "XXFAKE0SER1"})
	if err != nil {
		return err
	}
	if err := opensNothing(s.ctx, codes, records[0], escrow.Act{Actor: "Anna", Reason: "does the old key still open one?"}); err != nil {
		return err
	}
	s.say("The old key opens nothing any more. It still opens old backups.")
	return nil
}

func (s *stage) reveal() error {
	s.title("Reveal, since somebody left with XXFAKE0SER1 still locked")
	key, err := seal.ReadKeyFile(s.file("new.key"))
	if err != nil {
		return err
	}
	codes, closeStore, err := s.open(key)
	if err != nil {
		return err
	}
	defer closeStore()
	records, err := codes.Records(s.ctx, escrow.Subject{SerialNumber: "XXFAKE0SER1"})
	if err != nil {
		return err
	}
	yes := true // of what the inventory knows of the device
	for _, r := range records {
		wish := escrow.Reveal{
			Subject: r.Subject, RecordID: r.ID, CompanyOwned: &yes, LockOn: &yes,
			Act: escrow.Act{Actor: "Anna", Reason: "Dora left, the iPhone is locked"},
		}
		text, err := codes.Reveal(s.ctx, wish)
		if err != nil {
			return err
		}
		s.say("%s  %s", text.Reveal(), r.State)
	}

	// Another device, of which nobody knows that it is locked.
	subject := escrow.Subject{SerialNumber: "XXFAKE0SER2"}
	if records, err = codes.Records(s.ctx, subject); err != nil {
		return err
	}
	_, err = codes.Reveal(s.ctx, escrow.Reveal{
		Subject: subject, RecordID: records[0].ID, CompanyOwned: &yes,
		Act: escrow.Act{Actor: "Bert", Reason: "to have it at hand"},
	})
	if !errors.Is(err, escrow.ErrRefused) {
		return errors.New("a code was shown that nobody needs")
	}
	s.say("Bert asks for the code of XXFAKE0SER2, which nobody knows to be locked, and gets none.")
	return nil
}

// recover reads a code with nothing but openssl, from a recovery copy that was
// put elsewhere in time ("alctl escrow copies" writes all of them).
func (s *stage) recover() error {
	s.title("Recover, when there is nothing left but a recovery copy")
	if len(s.recovery) == 0 {
		s.say("This needs the command openssl, which is not installed here.")
		return nil
	}
	codes, closeStore, err := s.open()
	if err != nil {
		return err
	}
	defer closeStore()
	subject := escrow.Subject{SerialNumber: "XXFAKE0SER2"}
	records, err := codes.Records(s.ctx, subject)
	if err != nil {
		return err
	}
	recoveryCopy, err := codes.RecoveryCopy(s.ctx, subject, records[0].ID)
	if err != nil {
		return err
	}
	if err := os.WriteFile(s.file("copy.cms"), recoveryCopy, 0o600); err != nil {
		return err
	}
	s.say("openssl cms -decrypt -inform DER -in copy.cms -recip recovery.pem -inkey recovery-key.pem")
	opened, err := openssl("cms", "-decrypt", "-inform", "DER", "-in", s.file("copy.cms"),
		"-recip", s.file("recovery.pem"), "-inkey", s.file("recovery-key.pem"))
	if err != nil {
		return err
	}
	var content struct{ Code, SerialNumber string }
	line, _, _ := strings.Cut(opened, "\n") // below it is its SHA-256
	if err := json.Unmarshal([]byte(line), &content); err != nil {
		return err
	}
	s.say("says: %s is the code of %s.", content.Code, content.SerialNumber)
	return nil
}

// answer shows who did what, and that nothing was changed since or left out.
// "alctl escrow verify-audit" does the same.
func (s *stage) answer() error {
	s.title("Answer an auditor: who saw what?")
	_, closeStore, err := s.open()
	if err != nil {
		return err
	}
	defer closeStore()
	head, err := s.acts.Verify(s.ctx, s.head)
	if err != nil {
		return err
	}
	for entry, err := range s.acts.Entries(s.ctx) {
		if err != nil {
			return err
		}
		device := cmp.Or(entry.SerialNumber, "all devices")
		s.say("%d  %s  %s  %-8s  %-11s  %s", entry.Number, entry.At.Format(time.DateTime), entry.Actor, entry.Act, device, entry.Reason)
	}
	s.say("It is whole, and leads through the head that was kept elsewhere: %d entries.", head.Number)
	if len(s.recovery) > 0 {
		s.say("What openssl opened is not in it: whoever has that key needs nobody's leave.")
	}
	return nil
}

// openssl runs the command and returns what it prints.
func openssl(args ...string) (string, error) {
	var complaint strings.Builder
	command := exec.Command("openssl", args...)
	command.Stderr = &complaint
	out, err := command.Output()
	if err != nil {
		return "", fmt.Errorf("openssl %s: %w\n%s", args[0], err, &complaint)
	}
	return string(out), nil
}
