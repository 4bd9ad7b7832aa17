package escrow

import (
	"bytes"
	"context"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/activationlock/sdk/bypasscode"
	"github.com/activationlock/sdk/internal/cms"
)

const recoveryFormat = "activationlock recovery copy 1"

// ErrCopy means that a recovery copy cannot be read: it is damaged, or for
// another key.
var ErrCopy = errors.New("escrow: the recovery copy is damaged or for another key")

// recovered is the form of what a recovery copy holds: one line of JSON, and
// below it the SHA-256 of that line with its end. A person can read it, and
// sha256sum can check it.
type recovered struct {
	Format       string    `json:"format"`
	Record       string    `json:"record"`
	Kind         string    `json:"kind"`
	Code         string    `json:"code,omitempty"`
	CodeBase64   string    `json:"codeBase64,omitempty"` // in place of Code, for bytes that nobody can type
	SerialNumber string    `json:"serialNumber,omitempty"`
	EnrollmentID string    `json:"enrollmentID,omitempty"`
	UDID         string    `json:"udid,omitempty"`
	ProductType  string    `json:"productType,omitempty"`
	IMEI         string    `json:"imei,omitempty"`
	IMEI2        string    `json:"imei2,omitempty"`
	MEID         string    `json:"meid,omitempty"`
	ReceivedAt   time.Time `json:"receivedAt"`
}

// copyFor makes the recovery copy of a code, nil if nobody is to have one.
func (e *Escrow) copyFor(r Record, text bypasscode.Text) ([]byte, error) {
	if len(e.recovery) == 0 {
		return nil, nil
	}
	content := recovered{
		Format: recoveryFormat, Record: r.ID, Kind: string(r.Kind), Code: text.Reveal(),
		SerialNumber: r.Device.SerialNumber, EnrollmentID: r.EnrollmentID, UDID: r.Device.UDID, ProductType: r.Device.ProductType,
		IMEI: r.Device.IMEI, IMEI2: r.Device.IMEI2, MEID: r.Device.MEID, ReceivedAt: r.ReceivedAt,
	}
	if content.SerialNumber == "" {
		content.SerialNumber = r.Subject.SerialNumber
	}
	if content.EnrollmentID == "" {
		content.EnrollmentID = r.Subject.EnrollmentID
	}
	if !utf8.ValidString(content.Code) || strings.ContainsFunc(content.Code, unicode.IsControl) {
		content.Code, content.CodeBase64 = "", base64.StdEncoding.EncodeToString([]byte(content.Code))
	}
	var line bytes.Buffer
	encoder := json.NewEncoder(&line)
	encoder.SetEscapeHTML(false) // for the eye, and it makes the line longer
	if encoder.Encode(content) != nil {
		return nil, errors.New("escrow: recovery copy: the record cannot be written as JSON") // the cause may quote it
	}
	sum := sha256.Sum256(line.Bytes())
	fmt.Fprintf(&line, "%x\n", sum)
	der, err := cms.Encrypt(line.Bytes(), e.recovery)
	if err != nil {
		return nil, fmt.Errorf("escrow: recovery copy: %w", err)
	}
	return der, nil
}

// largest returns a record and a text with the largest recovery copy.
func largest() (Record, bypasscode.Text) {
	s := strings.Repeat("\x01", MaxIdentifier) // six bytes of JSON each
	return Record{
		ID: newID(), Kind: bypasscode.Device, EnrollmentID: s, Device: Device{s, s, s, s, s, s},
	}, bypasscode.NewText(strings.Repeat(`"`, MaxText)) // two
}

// RecoveryCopy returns the recovery copy of one record: CMS EnvelopedData in
// DER, which the holder of a recovery certificate's key opens with
//
//	openssl cms -decrypt -inform DER -in copy.cms -recip certificate.pem -inkey key.pem
//
// It gives a line of JSON with the code and whose it is, and the SHA-256 of that
// line. A record without a copy gives [ErrNotFound].
func (e *Escrow) RecoveryCopy(ctx context.Context, subject Subject, recordID string) ([]byte, error) {
	entry, err := e.find(ctx, subject, recordID)
	if err == nil && len(entry.RecoveryCopy) == 0 {
		err = ErrNotFound
	}
	if err != nil {
		return nil, fmt.Errorf("escrow: recovery copy: %w", err)
	}
	return entry.RecoveryCopy, nil
}

// Recovered is what a recovery copy holds. The copy says nothing of states: the
// record may have been superseded since.
type Recovered struct {
	RecordID     string
	Kind         bypasscode.Kind
	Text         bypasscode.Text
	EnrollmentID string
	ReceivedAt   time.Time
	Device       Device
}

// OpenRecoveryCopy opens a recovery copy and checks its digest. Whatever goes
// wrong is [ErrCopy]. The copy proves no sender: anybody can make one for a
// certificate.
func OpenRecoveryCopy(der []byte, certificate *x509.Certificate, key *rsa.PrivateKey) (Recovered, error) {
	content, err := cms.Decrypt(der, certificate, key)
	if err != nil {
		return Recovered{}, ErrCopy
	}
	line, digest, found := bytes.Cut(content, []byte("\n"))
	sum := sha256.Sum256(append(bytes.Clone(line), '\n'))
	if !found || string(digest) != hex.EncodeToString(sum[:])+"\n" {
		return Recovered{}, ErrCopy
	}
	var c recovered
	if json.Unmarshal(line, &c) != nil || c.Format != recoveryFormat {
		return Recovered{}, ErrCopy
	}
	if c.CodeBase64 != "" {
		code, err := base64.StdEncoding.DecodeString(c.CodeBase64)
		if err != nil {
			return Recovered{}, ErrCopy
		}
		c.Code = string(code)
	}
	kind := bypasscode.Kind(c.Kind)
	if c.Code == "" || !kind.Valid() {
		return Recovered{}, ErrCopy
	}
	return Recovered{
		c.Record, kind, bypasscode.NewText(c.Code), c.EnrollmentID, c.ReceivedAt,
		Device{c.SerialNumber, c.UDID, c.ProductType, c.IMEI, c.IMEI2, c.MEID},
	}, nil
}
