package main

import (
	"cmp"
	"context"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/activationlock/sdk/bypasscode"
	"github.com/activationlock/sdk/bypasscode/escrow"
	"github.com/activationlock/sdk/bypasscode/seal"
)

func runEscrowRecover(c *console, args []string) error {
	f := newFlags("alctl escrow recover", "[flags] [COPY...]", `Prints codes, for the day when there is no server any more: the codes of a SQLite
store, with a private key that they are sealed to (-store and -key); or what
recovery copies hold, with a recovery certificate and its key (-certificate and
-certificate-key), be they those of a store, or files, or folders of *.cms.

The store is not changed. If there is a file beside it with the same name and
-wal at its end, take that along: the newest codes may be in it. Each code that
cannot be read is reported, the others still come, and the exit code is 1.

This is not in the store's audit: whoever has a copy of the store and the key
needs nobody's leave. On a store in use, "alctl escrow reveal" is the way.`, "-store codes.db -key escrow.key")
	var store, certificate, certificateKey, serial string
	var keys []string
	f.text(&store, "store", "SQLite `FILE` with the codes")
	f.texts(&keys, "key", "`FILE` with a private key, as keygen writes it; may be given more than once")
	f.text(&certificate, "certificate", "`FILE` with the recovery certificate (PEM)")
	f.text(&certificateKey, "certificate-key", "`FILE` with the recovery certificate's RSA key (PEM, not encrypted)")
	f.text(&serial, "serial", "only the codes of the device with that serial `NUMBER`")
	asJSON := f.Bool("json", false, "print one JSON object per line")
	if err := f.parse(c, args, len(args)); err != nil {
		return err
	}
	byCopy := certificate != "" || certificateKey != ""
	switch {
	case byCopy == (len(keys) > 0):
		return usageError("want either -key, or -certificate and -certificate-key")
	case byCopy && (certificate == "" || certificateKey == ""):
		return usageError("-certificate and -certificate-key go together")
	case (store != "") == (f.NArg() > 0):
		return usageError("want either -store, or recovery copies")
	case f.NArg() > 0 && !byCopy:
		return usageError("recovery copies take -certificate and -certificate-key")
	}

	r := &recovery{console: c, serial: serial}
	var sealer escrow.Sealer = noSealer{}
	var err error
	if byCopy {
		r.certificate, r.key, err = c.readRecoveryKey(certificate, certificateKey)
	} else {
		sealer, err = readKeys(keys)
	}
	if err != nil {
		return err
	}
	for i, path := range f.Args() {
		r.copies(i+1, path)
	}
	if store != "" {
		if err := r.store(store, sealer); err != nil {
			return err
		}
	}
	return r.finish(*asJSON)
}

// recoveredCode is one code, in JSON with the names that recovery copies have.
type recoveredCode struct {
	RecordID     string    `json:"record"`
	Kind         string    `json:"kind"`
	State        string    `json:"state,omitempty"` // recovery copies do not say
	Code         string    `json:"code,omitempty"`
	CodeBase64   string    `json:"codeBase64,omitempty"` // in place of Code, for bytes that are no text
	SerialNumber string    `json:"serialNumber,omitempty"`
	EnrollmentID string    `json:"enrollmentID,omitempty"`
	UDID         string    `json:"udid,omitempty"`
	ProductType  string    `json:"productType,omitempty"`
	IMEI         string    `json:"imei,omitempty"`
	IMEI2        string    `json:"imei2,omitempty"`
	MEID         string    `json:"meid,omitempty"`
	ReceivedAt   time.Time `json:"receivedAt"`
	LastSeen     time.Time `json:"lastSeen,omitzero"`
	StaleSince   time.Time `json:"staleSince,omitzero"`
	StaleReason  string    `json:"staleReason,omitempty"`
	DeletedAt    time.Time `json:"deletedAt,omitzero"`
}

func newRecoveredCode(text bypasscode.Text, d escrow.Device) recoveredCode {
	code := recoveredCode{
		SerialNumber: d.SerialNumber, UDID: d.UDID, ProductType: d.ProductType, IMEI: d.IMEI, IMEI2: d.IMEI2, MEID: d.MEID,
	}
	if s := text.Reveal(); utf8.ValidString(s) {
		code.Code = s
	} else {
		code.CodeBase64 = base64.StdEncoding.EncodeToString([]byte(s))
	}
	return code
}

// add says of a code what its record does.
func (c *recoveredCode) add(r escrow.Record) {
	c.RecordID, c.Kind, c.State = r.ID, string(r.Kind), string(r.State)
	c.SerialNumber = cmp.Or(r.Subject.SerialNumber, r.Device.SerialNumber)
	c.EnrollmentID = cmp.Or(r.EnrollmentID, r.Subject.EnrollmentID)
	c.ReceivedAt, c.LastSeen, c.DeletedAt = r.ReceivedAt, r.LastSeen, r.DeletedAt
	c.StaleSince, c.StaleReason = r.StaleSince, r.StaleReason
}

// recovery gathers what recover prints.
type recovery struct {
	*console
	serial      string
	certificate *x509.Certificate // nil if codes are opened with keys
	key         *rsa.PrivateKey
	codes       []recoveredCode
	failed      int
	purged      int
	broken      bool // there may be more codes
}

func (r *recovery) fail(what string, err error) {
	r.failed++
	r.warn(what, err)
}

// copies reads a file with a recovery copy, or a folder of them.
func (r *recovery) copies(number int, path string) {
	name := fmt.Sprintf("recovery copy %d", number) // what was typed may be a secret, unless it exists
	files := []string{path}
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		entries, err := os.ReadDir(path)
		if err != nil {
			r.broken = true
			r.warn(name, reason(err))
			return
		}
		files = nil
		for _, e := range entries {
			if strings.HasSuffix(e.Name(), copySuffix) {
				files = append(files, filepath.Join(path, e.Name()))
			}
		}
	}
	for _, file := range files {
		der, err := r.read(file)
		if err != nil {
			r.fail(name, reason(err))
			continue
		}
		name := name + ", " + printable(filepath.Base(file))
		found, err := escrow.OpenRecoveryCopy(der, r.certificate, r.key)
		if err != nil {
			r.fail(name, err)
			continue
		}
		if r.serial == "" || found.Device.SerialNumber == r.serial {
			r.codes = append(r.codes, copied(found))
		}
	}
}

func copied(found escrow.Recovered) recoveredCode {
	code := newRecoveredCode(found.Text, found.Device)
	code.RecordID, code.Kind, code.EnrollmentID, code.ReceivedAt = found.RecordID, string(found.Kind), found.EnrollmentID, found.ReceivedAt
	return code
}

// store reads the codes of a store.
func (r *recovery) store(path string, sealer escrow.Sealer) error {
	ctx := r.ctx
	codes, db, err := openEscrow(ctx, path, sealer)
	if err != nil {
		return err
	}
	defer db.Close()

	seen := map[string]bool{}
	open := func(subject escrow.Subject, record escrow.Record) {
		seen[record.ID] = true
		if record.State == escrow.Purged {
			r.purged++
			return
		}
		code, err := r.open(ctx, codes, subject, record)
		if err != nil {
			r.fail(nameOf(record), err)
			return
		}
		r.codes = append(r.codes, code)
	}
	if r.serial != "" { // also what enrollments gave that were joined to it
		subject := escrow.Subject{SerialNumber: r.serial}
		records, err := codes.Records(ctx, subject)
		if err != nil {
			r.broken = true
			r.warn("the store", err)
		}
		for _, record := range records {
			open(subject, record)
		}
	}
	for record, err := range codes.All(ctx) {
		switch {
		case err != nil:
			r.broken = true
			r.warn("the store", err)
		case !seen[record.ID] && (r.serial == "" || record.Device.SerialNumber == r.serial):
			open(record.Subject, record)
		}
	}
	return nil
}

// open opens one code, by its recovery copy if there is a key for that.
func (r *recovery) open(ctx context.Context, codes *escrow.Escrow, subject escrow.Subject, record escrow.Record) (recoveredCode, error) {
	if r.certificate == nil {
		text, err := codes.Reveal(ctx, escrow.Reveal{
			Subject: subject, RecordID: record.ID, Act: escrow.Act{Actor: "alctl", Reason: "recover"},
		})
		if err != nil {
			return recoveredCode{}, err
		}
		code := newRecoveredCode(text, record.Device)
		code.add(record)
		return code, nil
	}
	der, err := codes.RecoveryCopy(ctx, subject, record.ID)
	if errors.Is(err, escrow.ErrNotFound) {
		return recoveredCode{}, errors.New("it has no recovery copy")
	}
	if err != nil {
		return recoveredCode{}, err
	}
	found, err := escrow.OpenRecoveryCopy(der, r.certificate, r.key)
	if err != nil {
		return recoveredCode{}, err
	}
	serial := found.Device.SerialNumber
	// A copy of another record of the same device would come with a wrong state.
	if found.RecordID != record.ID || serial != "" && subject.SerialNumber != "" && serial != subject.SerialNumber {
		return recoveredCode{}, escrow.ErrMoved
	}
	code := copied(found)
	code.add(record)
	return code, nil
}

// finish prints the codes: device by device, the best one first.
func (r *recovery) finish(asJSON bool) error {
	slices.SortStableFunc(r.codes, func(a, b recoveredCode) int {
		return cmp.Or(
			cmp.Compare(a.device(), b.device()), cmp.Compare(worth(a.State), worth(b.State)), b.seen().Compare(a.seen()), cmp.Compare(a.RecordID, b.RecordID))
	})
	if err := r.printCodes(r.codes, asJSON); err != nil {
		return err
	}
	if r.broken {
		return partialError("there may be more codes than could be read")
	}
	return shortOf(len(r.codes), r.failed, r.purged)
}

// worth is the place of a state in the order of [escrow.State].
func worth(state string) int {
	return slices.Index([]escrow.State{
		escrow.Current, escrow.MaybeActive, escrow.Worked, escrow.Superseded, escrow.Disputed, escrow.Void,
	}, escrow.State(state))
}

func (c recoveredCode) device() string {
	if c.SerialNumber == "" {
		return "enrollment " + c.EnrollmentID
	}
	return c.SerialNumber
}

func (c recoveredCode) seen() time.Time {
	if c.LastSeen.IsZero() {
		return c.ReceivedAt
	}
	return c.LastSeen
}

// printCodes prints codes in their order.
func (c *console) printCodes(codes []recoveredCode, asJSON bool) error {
	if asJSON {
		return printLines(&c.out, codes)
	}
	if len(codes) == 0 {
		return nil
	}
	t := newTable(&c.out, "DEVICE", "KIND", "STATE", "LAST SEEN", "CODE")
	for _, code := range codes {
		state := cmp.Or(code.State, "-")
		if !code.StaleSince.IsZero() {
			state += ", perhaps stale"
		}
		t.add(printable(code.device()), printable(code.Kind), printable(state), code.seen().Format(time.RFC3339), code.typed())
	}
	return t.flush()
}

// typed is the code as it is typed, in quotes if it is not what codes look like.
func (c recoveredCode) typed() string {
	switch _, err := bypasscode.Parse(c.Code); {
	case err == nil:
		return c.Code
	case c.Code == "":
		return "base64 " + c.CodeBase64
	}
	return strconv.Quote(c.Code)
}

// keyring opens what is sealed, and says which keys it takes.
type keyring struct {
	*seal.Keyring
	ids string
}

// readKeys reads files with private keys. What it returns seals to the given
// public keys, or, without any, to those of the private keys.
func readKeys(files []string, to ...seal.PublicKey) (*keyring, error) {
	var private []seal.PrivateKey
	var own []seal.PublicKey
	var ids []string
	for i, file := range files {
		key, err := seal.ReadKeyFile(file)
		if err != nil {
			what := "-key"
			if len(files) > 1 {
				what = fmt.Sprintf("-key %d", i+1)
			}
			return nil, fmt.Errorf("read %s: %w", what, reason(err))
		}
		private, ids = append(private, key), append(ids, key.Public().ID().String())
		if !slices.Contains(own, key.Public()) {
			own = append(own, key.Public())
		}
	}
	if len(to) == 0 {
		to = own
	}
	k, err := seal.NewKeyring(to, private...)
	return &keyring{k, strings.Join(ids, ", ")}, err
}

func (k *keyring) Open(ctx context.Context, sealed, associated []byte) ([]byte, error) {
	text, err := k.Keyring.Open(ctx, sealed, associated)
	if !errors.Is(err, seal.ErrNoKey) {
		return text, err
	}
	recipients, unread := seal.Recipients(sealed)
	if unread != nil {
		return nil, err
	}
	var ids []string
	for _, id := range recipients {
		ids = append(ids, id.String())
	}
	return nil, fmt.Errorf("%w: it takes key %s; at hand is %s", err, strings.Join(ids, " or "), k.ids)
}

// readRecoveryKey reads a recovery certificate and its key.
func (c *console) readRecoveryKey(certificateFile, keyFile string) (*x509.Certificate, *rsa.PrivateKey, error) {
	certificate, err := c.readCertificate(certificateFile)
	if err != nil {
		return nil, nil, fmt.Errorf("read -certificate: %w", err)
	}
	block, err := c.readPEM(keyFile, "PRIVATE KEY")
	if err != nil {
		return nil, nil, fmt.Errorf("read -certificate-key: %w", err)
	}
	if block.Type == "ENCRYPTED PRIVATE KEY" || block.Headers["DEK-Info"] != "" {
		return nil, nil, errors.New("read -certificate-key: it is encrypted; what decrypts it: openssl pkey -in KEY -out DECRYPTED")
	}
	key, err := x509.ParsePKCS1PrivateKey(block.Bytes)
	if err != nil {
		parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
		var ok bool
		if key, ok = parsed.(*rsa.PrivateKey); err != nil || !ok {
			return nil, nil, errors.New("read -certificate-key: it is no RSA key, or damaged")
		}
	}
	if !key.PublicKey.Equal(certificate.PublicKey) {
		return nil, nil, errors.New("read -certificate-key: it is not the key of the certificate")
	}
	return certificate, key, nil
}

// recovery is a flag with recovery certificates.
func (f *flags) recovery(to *[]string) {
	f.texts(to, "recovery", "`FILE` with a recovery certificate (PEM): codes that are written get a recovery copy for it; may be given more than once")
}

// recoveryConfig reads recovery certificates.
func (c *console) recoveryConfig(files []string) (escrow.Config, error) {
	var config escrow.Config
	for _, file := range files {
		certificate, err := c.readCertificate(file)
		if err != nil {
			return escrow.Config{}, fmt.Errorf("read -recovery: %w", err)
		}
		config.Recovery = append(config.Recovery, certificate)
	}
	return config, nil
}

func (c *console) readCertificate(path string) (*x509.Certificate, error) {
	block, err := c.readPEM(path, "CERTIFICATE")
	if err != nil {
		return nil, err
	}
	certificate, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil, errors.New("it is damaged")
	}
	return certificate, nil
}

// readPEM reads the first block of a PEM file whose type ends like this.
func (c *console) readPEM(path, kind string) (*pem.Block, error) {
	rest, err := c.read(path)
	if err != nil {
		return nil, err
	}
	for {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			return nil, fmt.Errorf("it has no PEM block of type %s", kind)
		}
		if strings.HasSuffix(block.Type, kind) {
			return block, nil
		}
	}
}
