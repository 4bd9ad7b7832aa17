package cms

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/fips140"
	"crypto/rand"
	"crypto/rsa"
	"crypto/subtle"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"math/big"

	"go.mozilla.org/pkcs7"
)

const (
	// MaxContent is the largest content that Encrypt takes: 16 KiB.
	MaxContent = 16 << 10
	// MaxRecipients is how many certificates Encrypt takes.
	MaxRecipients = 16

	minRSABits = 2048
	keySize    = 32
)

// The errors of Encrypt and Decrypt, returned as they are like the others of this package.
var (
	ErrContentSize  = errors.New("cms: content larger than 16 KiB")
	ErrRecipients   = errors.New("cms: want 1 to 16 recipients that differ in issuer or serial number")
	ErrRecipientKey = errors.New("cms: recipients need certificates with RSA keys of 2048 to 8192 bits")
	ErrFIPS         = errors.New("cms: RSA PKCS #1 v1.5 encryption is not allowed in FIPS 140-only mode")
	ErrKey          = errors.New("cms: want a certificate and its private RSA key")
	ErrNotRecipient = errors.New("cms: message is not encrypted to this certificate")
	ErrDecrypt      = errors.New("cms: message does not decrypt")
)

// envelopeMessage is a ContentInfo with EnvelopedData (RFC 5652, section 6.1) of the one form that is written and read
// here. The library's own encryption is not used: its cipher is a package variable, DES by default, and its decryption
// panics on altered messages.
type envelopeMessage struct {
	Type      asn1.ObjectIdentifier
	Enveloped struct {
		Version    int
		Recipients []recipientInfo `asn1:"set"`
		Content    struct {
			Type   asn1.ObjectIdentifier
			Cipher struct {
				Algorithm asn1.ObjectIdentifier
				IV        []byte
			}
			Encrypted []byte `asn1:"tag:0"`
		}
	} `asn1:"explicit,tag:0"`
}

type recipientInfo struct {
	Version   int
	ID        recipientID
	Algorithm pkix.AlgorithmIdentifier
	Key       []byte
}

type recipientID struct {
	Issuer asn1.RawValue
	Serial *big.Int
}

func (id recipientID) is(cert *x509.Certificate) bool {
	return id.Serial.Cmp(cert.SerialNumber) == 0 && bytes.Equal(id.Issuer.FullBytes, cert.RawIssuer)
}

// Encrypt returns content as CMS EnvelopedData that each of the recipients can read, in DER: AES-256-CBC, its key by
// RSA PKCS #1 v1.5, recipients named by issuer and serial number. That is what `openssl cms -decrypt -inform DER` and
// nearly everything else reads.
//
// CBC carries no integrity: altered content decrypts to altered content, often without an error. Put a digest into it.
//
// The certificates are taken as they are; neither dates nor chain nor key usage are looked at.
func Encrypt(content []byte, to []*x509.Certificate) (der []byte, err error) {
	if len(content) > MaxContent {
		return nil, ErrContentSize
	}
	if len(to) == 0 || len(to) > MaxRecipients {
		return nil, ErrRecipients
	}
	for i, cert := range to {
		if _, ok := rsaKey(cert); !ok {
			return nil, ErrRecipientKey
		}
		for _, other := range to[:i] {
			if idOf(cert).is(other) {
				return nil, ErrRecipients
			}
		}
	}
	if fips140.Enforced() {
		return nil, ErrFIPS
	}

	key, iv := make([]byte, keySize), make([]byte, aes.BlockSize)
	rand.Read(key) // never fails: it ends the program instead
	rand.Read(iv)

	m := envelopeMessage{Type: pkcs7.OIDEnvelopedData}
	for _, cert := range to {
		public, _ := rsaKey(cert)
		//lint:ignore SA1019 the one key transport that every reader of CMS knows
		encrypted, err := rsa.EncryptPKCS1v15(rand.Reader, public, key)
		if err != nil {
			return nil, ErrRecipientKey
		}
		m.Enveloped.Recipients = append(m.Enveloped.Recipients, recipientInfo{
			ID:        idOf(cert),
			Algorithm: pkix.AlgorithmIdentifier{Algorithm: pkcs7.OIDEncryptionAlgorithmRSA, Parameters: asn1.NullRawValue},
			Key:       encrypted,
		})
	}

	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	n := aes.BlockSize - len(content)%aes.BlockSize
	padded := append(bytes.Clone(content), bytes.Repeat([]byte{byte(n)}, n)...)
	cipher.NewCBCEncrypter(block, iv).CryptBlocks(padded, padded)
	m.Enveloped.Content.Type = pkcs7.OIDData
	m.Enveloped.Content.Cipher.Algorithm = pkcs7.OIDEncryptionAlgorithmAES256CBC
	m.Enveloped.Content.Cipher.IV = iv
	m.Enveloped.Content.Encrypted = padded

	if der, err = asn1.Marshal(m); err != nil {
		return nil, ErrMalformed
	}
	if len(der) > MaxSize { // names can have any length
		return nil, ErrTooLarge
	}
	// Names that x509 did not parse could have made it something else.
	if !EncryptedFor(der, to) {
		return nil, ErrMalformed
	}
	return der, nil
}

// Decrypt returns the content of a message as Encrypt makes it, in DER, with the key of one of its recipients.
//
// After the structure is read and the recipient found, everything that goes wrong is ErrDecrypt: which step failed
// would help to decrypt messages without the key. And as CBC carries no integrity, content without an error is not
// proved to be what was encrypted: compare the digest in it.
func Decrypt(der []byte, cert *x509.Certificate, key *rsa.PrivateKey) ([]byte, error) {
	public, ok := rsaKey(cert)
	if !ok || key == nil || key.D == nil || key.N == nil || !key.PublicKey.Equal(public) {
		return nil, ErrKey
	}
	m, err := readEnvelope(der)
	if err != nil {
		return nil, err
	}
	var encrypted []byte
	for _, r := range m.Enveloped.Recipients {
		if r.ID.is(cert) {
			encrypted = r.Key
		}
	}
	if encrypted == nil {
		return nil, ErrNotRecipient
	}
	if fips140.Enforced() {
		return nil, ErrFIPS
	}

	// With bad padding the random key stays, and what follows fails, or returns garbage, as with any other wrong key
	// (RFC 3218, section 2.3.2).
	contentKey := make([]byte, keySize)
	rand.Read(contentKey)
	//lint:ignore SA1019 see Encrypt
	if rsa.DecryptPKCS1v15SessionKey(nil, key, encrypted, contentKey) != nil {
		return nil, ErrDecrypt
	}
	block, err := aes.NewCipher(contentKey)
	if err != nil {
		return nil, ErrDecrypt
	}
	content := m.Enveloped.Content.Encrypted // a copy, as all that asn1 reads into bytes
	cipher.NewCBCDecrypter(block, m.Enveloped.Content.Cipher.IV).CryptBlocks(content, content)
	return unpad(content)
}

// EncryptedFor reports whether the recipients of the message are exactly these certificates, in any order. It is what
// the message says of itself: whether they can decrypt it is not known without their keys.
func EncryptedFor(der []byte, to []*x509.Certificate) bool {
	m, err := readEnvelope(der)
	if err != nil || len(m.Enveloped.Recipients) != len(to) {
		return false
	}
	for i, cert := range to {
		if _, ok := rsaKey(cert); !ok {
			return false
		}
		found := false
		for _, r := range m.Enveloped.Recipients {
			found = found || r.ID.is(cert)
		}
		// A certificate given twice would hide a recipient that is not given.
		for _, other := range to[:i] {
			found = found && !idOf(cert).is(other)
		}
		if !found {
			return false
		}
	}
	return true
}

// rsaKey returns the key of a certificate that can be a recipient.
func rsaKey(cert *x509.Certificate) (*rsa.PublicKey, bool) {
	if cert == nil || cert.SerialNumber == nil || len(cert.RawIssuer) == 0 {
		return nil, false
	}
	key, ok := cert.PublicKey.(*rsa.PublicKey)
	if !ok || key.N == nil || key.N.BitLen() < minRSABits || key.N.BitLen() > maxRSABits {
		return nil, false
	}
	return key, true
}

func idOf(cert *x509.Certificate) recipientID {
	return recipientID{asn1.RawValue{FullBytes: cert.RawIssuer}, cert.SerialNumber}
}

// readEnvelope needs no bound on nesting: it goes down as far as its types do, and no further into names.
func readEnvelope(der []byte) (*envelopeMessage, error) {
	if len(der) > MaxSize {
		return nil, ErrTooLarge
	}
	var m envelopeMessage
	if _, err := asn1.Unmarshal(der, &m); err != nil {
		return nil, ErrMalformed
	}
	// What was read has to be all (see checkOutline).
	if again, err := asn1.Marshal(m); err != nil || !bytes.Equal(again, der) {
		return nil, ErrMalformed
	}
	data, content := m.Enveloped, m.Enveloped.Content
	if !m.Type.Equal(pkcs7.OIDEnvelopedData) || data.Version != 0 || !content.Type.Equal(pkcs7.OIDData) {
		return nil, ErrMalformed
	}
	if len(data.Recipients) == 0 || len(data.Recipients) > MaxRecipients {
		return nil, ErrRecipients
	}
	for i, r := range data.Recipients {
		if r.Version != 0 {
			return nil, ErrMalformed
		}
		if !r.Algorithm.Algorithm.Equal(pkcs7.OIDEncryptionAlgorithmRSA) ||
			!bytes.Equal(r.Algorithm.Parameters.FullBytes, asn1.NullBytes) {
			return nil, ErrAlgorithm
		}
		for _, other := range data.Recipients[:i] {
			if r.ID.Serial.Cmp(other.ID.Serial) == 0 && bytes.Equal(r.ID.Issuer.FullBytes, other.ID.Issuer.FullBytes) {
				return nil, ErrRecipients
			}
		}
	}
	if !content.Cipher.Algorithm.Equal(pkcs7.OIDEncryptionAlgorithmAES256CBC) {
		return nil, ErrAlgorithm
	}
	n := len(content.Encrypted)
	if len(content.Cipher.IV) != aes.BlockSize || n == 0 || n%aes.BlockSize != 0 {
		return nil, ErrMalformed
	}
	return &m, nil
}

// unpad takes the same time for every padding, good or bad.
func unpad(content []byte) ([]byte, error) {
	last := content[len(content)-aes.BlockSize:]
	n := int(last[aes.BlockSize-1])
	good := subtle.ConstantTimeLessOrEq(1, n) & subtle.ConstantTimeLessOrEq(n, aes.BlockSize)
	for i, b := range last {
		padding := subtle.ConstantTimeLessOrEq(aes.BlockSize-n, i)
		good &= 1 ^ padding | subtle.ConstantTimeByteEq(b, byte(n))
	}
	if good != 1 {
		return nil, ErrDecrypt
	}
	return content[:len(content)-n], nil
}
