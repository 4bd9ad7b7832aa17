package appleclient

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"
	"time"
)

var errEncrypted = errors.New("the key is encrypted; what decrypts it: openssl pkey -in KEY -out DECRYPTED")

func encrypted(block *pem.Block) bool {
	return block.Type == "ENCRYPTED PRIVATE KEY" || block.Headers["DEK-Info"] != ""
}

// PushCertificate puts the push certificate for MDM (PEM) and its key together.
func PushCertificate(certificate []byte, key string, now time.Time) (*tls.Certificate, error) {
	if block, _ := pem.Decode([]byte(key)); block != nil && encrypted(block) {
		return nil, errEncrypted
	}
	pair, err := tls.X509KeyPair(certificate, []byte(key))
	if err != nil {
		return nil, errors.New(strings.TrimPrefix(err.Error(), "tls: "))
	}
	if until := pair.Leaf.NotAfter; now.After(until) {
		return nil, fmt.Errorf("the certificate expired on %s; Apple would refuse it", until.UTC().Format(time.DateOnly))
	}
	return &pair, nil
}

// ParseServerToken reads a decrypted server token: JSON, perhaps inside of the
// message that openssl decrypts the file of the portal to.
func ParseServerToken(content string, now time.Time) (*ServerToken, error) {
	first, last := strings.Index(content, "{"), strings.LastIndex(content, "}")
	var token ServerToken
	if first < 0 || last < first || json.Unmarshal([]byte(content[first:last+1]), &token) != nil || !token.Valid() {
		return nil, errors.New("want JSON with consumer_key, consumer_secret, access_token and access_secret; " +
			"the file of the portal is encrypted: openssl smime -decrypt -in TOKEN.p7m -inkey KEY, with the key that the portal was given the certificate of")
	}
	if until := token.AccessTokenExpiry; !until.IsZero() && now.After(until) {
		return nil, fmt.Errorf("the server token expired on %s; the portal gives a new one", until.UTC().Format(time.DateOnly))
	}
	return &token, nil
}

// ParseAccountKey reads the private key of an API account (PEM).
func ParseAccountKey(content string) (*ecdsa.PrivateKey, error) {
	for block, rest := pem.Decode([]byte(content)); block != nil; block, rest = pem.Decode(rest) {
		if encrypted(block) {
			return nil, errEncrypted
		}
		key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
		if err != nil {
			key, err = x509.ParseECPrivateKey(block.Bytes)
		}
		if key, ok := key.(*ecdsa.PrivateKey); ok && err == nil && key.Curve == elliptic.P256() {
			return key, nil
		}
	}
	return nil, errors.New("want the private key of an API account as the portal gives it: PEM, on the curve P-256")
}
