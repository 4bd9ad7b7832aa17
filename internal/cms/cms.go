// Package cms verifies detached CMS (PKCS #7) signatures over untrusted messages, and writes and opens messages that
// are encrypted to certificates. It is the only package that imports the pkcs7 library: input is bounded before the
// library sees it, nothing here panics, and no error quotes input.
package cms

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"encoding/asn1"
	"errors"

	"go.mozilla.org/pkcs7"
)

// MaxSize is the largest message that Verify reads: 64 KiB.
const MaxSize = 64 << 10

const (
	// Real messages nest about ten levels. Recursion has to be bounded, since a stack overflow can't be recovered.
	maxDepth = 32
	// The same bound as in crypto/tls. A key that fills the message would keep a processor busy for seconds.
	maxRSABits = 8192
)

// The errors of this package are returned as they are, never wrapped around a cause: causes quote input.
var (
	ErrTooLarge    = errors.New("cms: message larger than 64 KiB")
	ErrTooDeep     = errors.New("cms: message nested too deeply")
	ErrMalformed   = errors.New("cms: malformed message")
	ErrNotDetached = errors.New("cms: message carries its content, want a detached signature")
	ErrSigners     = errors.New("cms: want exactly one signer, named by issuer and serial number")
	ErrCertificate = errors.New("cms: want exactly one certificate of the signer in the message")
	ErrAlgorithm   = errors.New("cms: digest, signature algorithm or key unsupported or not in agreement")
	ErrSignature   = errors.New("cms: signature is not over this content")
)

// VerifyDetached checks that der is a CMS SignedData with exactly one signer and without attached content, whose
// signature is over content, and returns the signer's certificate. The message may be DER, or BER with indefinite
// lengths as iOS sends it.
//
// The certificate is only what the message claims: its chain, its dates and its own signature are NOT verified, and
// only its public key is bound to content. Compare it as a whole with a known one, or verify its chain, before using
// anything that it says. A signing time outside its validity is accepted: devices have wrong clocks.
func VerifyDetached(der, content []byte) (*x509.Certificate, error) {
	if len(der) > MaxSize {
		return nil, ErrTooLarge
	}
	// The library's own BER reader skips trailing bytes, lets children outgrow their parents and misreads empty
	// indefinite lengths, so it gets a message in which none of this occurs. It is also a copy: nothing aliases der.
	message, rest, err := toDER(der, 1)
	if err != nil {
		return nil, err
	}
	if len(rest) > 0 {
		return nil, ErrMalformed
	}
	if err := checkOutline(message); err != nil {
		return nil, err
	}

	// The library only parses. Its Verify would refuse a signing time outside the certificate's validity, and accept
	// contradicting algorithms and repeated attributes.
	p7, err := parse(message)
	if err != nil {
		return nil, err
	}
	// Parse ignores that it could not read the SignedData; what it leaves then is a message without signers.
	if len(p7.Signers) != 1 {
		return nil, ErrSigners
	}
	signer := p7.Signers[0]

	var cert *x509.Certificate
	for _, c := range p7.Certificates {
		id := signer.IssuerAndSerialNumber
		if c.SerialNumber.Cmp(id.SerialNumber) != 0 || !bytes.Equal(c.RawIssuer, id.IssuerName.FullBytes) {
			continue
		}
		if cert != nil {
			return nil, ErrCertificate
		}
		cert = c
	}
	if cert == nil {
		return nil, ErrCertificate
	}

	hash, algorithm, err := algorithms(
		signer.DigestAlgorithm.Algorithm, signer.DigestEncryptionAlgorithm.Algorithm, cert.PublicKey)
	if err != nil {
		return nil, err
	}

	signed := content
	if len(signer.AuthenticatedAttributes) > 0 {
		// They are sent with another tag, and possibly in another order, than they are signed with.
		if signed, err = asn1.MarshalWithParams(signer.AuthenticatedAttributes, "set"); err != nil {
			return nil, ErrMalformed
		}
		attributes, ok := parseAttributes(signed)
		if !ok {
			return nil, ErrMalformed
		}
		if err := checkAttributes(attributes, hash, content); err != nil {
			return nil, err
		}
	} else if _, ok := parseAttributes(content); ok {
		// The signature of a message with attributes, whose attributes were moved into the content: the signer never
		// signed such content.
		return nil, ErrSignature
	}

	if cert.CheckSignature(algorithm, signed, signer.EncryptedDigest) != nil {
		return nil, ErrSignature
	}
	return cert, nil
}

// parse calls the library, which has panicked on bad input before.
func parse(message []byte) (p7 *pkcs7.PKCS7, err error) {
	defer func() {
		if recover() != nil {
			p7, err = nil, ErrMalformed
		}
	}()
	if p7, err = pkcs7.Parse(message); err != nil {
		return nil, ErrMalformed
	}
	return p7, nil
}

// toDER reads the first element of ber and returns it with definite lengths, and what follows it. Primitive values are
// kept as they are.
func toDER(ber []byte, depth int) (der, rest []byte, err error) {
	if depth > maxDepth {
		return nil, nil, ErrTooDeep
	}
	// Neither CMS nor X.509 has tags of several bytes, and universal tag 0 only ends an indefinite length.
	if len(ber) < 2 || ber[0]&0x1f == 0x1f || ber[0]&^0x20 == 0 {
		return nil, nil, ErrMalformed
	}
	value := asn1.RawValue{Class: int(ber[0] >> 6), Tag: int(ber[0] & 0x1f), IsCompound: ber[0]&0x20 != 0}
	length, rest := uint64(ber[1]), ber[2:]
	indefinite := length == 0x80

	if !indefinite {
		if length > 0x80 {
			n := int(length & 0x7f)
			if n > 4 || n > len(rest) {
				return nil, nil, ErrMalformed
			}
			length = 0
			for _, b := range rest[:n] {
				length = length<<8 | uint64(b)
			}
			rest = rest[n:]
		}
		if length > uint64(len(rest)) {
			return nil, nil, ErrMalformed
		}
		value.Bytes, rest = rest[:length], rest[length:]
	}

	switch {
	case value.IsCompound:
		children := value.Bytes
		if indefinite {
			children = rest
		}
		value.Bytes = nil
		for len(children) > 0 || indefinite {
			if indefinite && bytes.HasPrefix(children, []byte{0, 0}) {
				rest = children[2:]
				break
			}
			var child []byte
			if child, children, err = toDER(children, depth+1); err != nil {
				return nil, nil, err
			}
			value.Bytes = append(value.Bytes, child...)
		}
	case indefinite:
		return nil, nil, ErrMalformed
	}

	if der, err = asn1.Marshal(value); err != nil {
		return nil, nil, ErrMalformed
	}
	return der, rest, nil
}

// outline is the part of a SignedData that the library reads but does not show.
type outline struct {
	Type       asn1.ObjectIdentifier
	SignedData struct {
		Version          int
		DigestAlgorithms asn1.RawValue
		Content          struct {
			Type  asn1.ObjectIdentifier
			Value asn1.RawValue `asn1:"optional,tag:0"`
		}
		Certificates asn1.RawValue   `asn1:"optional,tag:0"`
		CRLs         asn1.RawValue   `asn1:"optional,tag:1"`
		Signers      []asn1.RawValue `asn1:"set"`
	} `asn1:"explicit,tag:0"`
}

func checkOutline(message []byte) error {
	var o outline
	if _, err := asn1.Unmarshal(message, &o); err != nil {
		return ErrMalformed
	}
	data := o.SignedData
	if !data.Content.Type.Equal(pkcs7.OIDData) {
		return ErrMalformed
	}
	if len(data.Content.Value.FullBytes) > 0 {
		return ErrNotDetached
	}
	if len(data.Signers) != 1 {
		return ErrSigners
	}
	// Unmarshal skips what follows the last field, for example a second set of signers. What was read has to be all.
	if again, err := asn1.Marshal(o); err != nil || !bytes.Equal(again, message) {
		return ErrMalformed
	}
	return nil
}

// Only an algorithm that the table pairs with the digest is in agreement with it. SHA-1 is there for RSA alone, since
// devices use it.
var table = []struct {
	digest, withRSA, withECDSA asn1.ObjectIdentifier
	hash                       crypto.Hash
	rsa, ecdsa                 x509.SignatureAlgorithm
}{
	{
		pkcs7.OIDDigestAlgorithmSHA1, pkcs7.OIDEncryptionAlgorithmRSASHA1, nil,
		crypto.SHA1, x509.SHA1WithRSA, x509.UnknownSignatureAlgorithm,
	}, {
		pkcs7.OIDDigestAlgorithmSHA256, pkcs7.OIDEncryptionAlgorithmRSASHA256, pkcs7.OIDDigestAlgorithmECDSASHA256,
		crypto.SHA256, x509.SHA256WithRSA, x509.ECDSAWithSHA256,
	}, {
		pkcs7.OIDDigestAlgorithmSHA384, pkcs7.OIDEncryptionAlgorithmRSASHA384, pkcs7.OIDDigestAlgorithmECDSASHA384,
		crypto.SHA384, x509.SHA384WithRSA, x509.ECDSAWithSHA384,
	}, {
		pkcs7.OIDDigestAlgorithmSHA512, pkcs7.OIDEncryptionAlgorithmRSASHA512, pkcs7.OIDDigestAlgorithmECDSASHA512,
		crypto.SHA512, x509.SHA512WithRSA, x509.ECDSAWithSHA512,
	},
}

// Signers may also name just the kind of key. For ECDSA, older versions of Apple's own CMS code do so by default.
var oidECPublicKey = asn1.ObjectIdentifier{1, 2, 840, 10045, 2, 1}

func algorithms(digest, signature asn1.ObjectIdentifier, key crypto.PublicKey) (crypto.Hash, x509.SignatureAlgorithm, error) {
	for _, a := range table {
		if !digest.Equal(a.digest) {
			continue
		}
		switch key := key.(type) {
		case *rsa.PublicKey:
			named := signature.Equal(a.withRSA) || signature.Equal(pkcs7.OIDEncryptionAlgorithmRSA)
			if named && key.N.BitLen() <= maxRSABits {
				return a.hash, a.rsa, nil
			}
		case *ecdsa.PublicKey:
			named := signature.Equal(a.withECDSA) || signature.Equal(oidECPublicKey)
			if named && a.ecdsa != x509.UnknownSignatureAlgorithm && key.Curve != elliptic.P224() {
				return a.hash, a.ecdsa, nil
			}
		}
	}
	return 0, 0, ErrAlgorithm
}

type attribute struct {
	Type   asn1.ObjectIdentifier
	Values []asn1.RawValue `asn1:"set"`
}

// parseAttributes tells whether der is a set of attributes in the form in which it is signed.
func parseAttributes(der []byte) (attributes []attribute, ok bool) {
	rest, err := asn1.UnmarshalWithParams(der, &attributes, "set")
	return attributes, err == nil && len(rest) == 0
}

func checkAttributes(attributes []attribute, hash crypto.Hash, content []byte) error {
	var contentType asn1.ObjectIdentifier
	found, ok := lookup(attributes, pkcs7.OIDAttributeContentType, &contentType)
	if !ok || found && !contentType.Equal(pkcs7.OIDData) {
		return ErrMalformed
	}
	var digest []byte
	if found, ok := lookup(attributes, pkcs7.OIDAttributeMessageDigest, &digest); !ok || !found {
		return ErrMalformed
	}
	h := hash.New()
	h.Write(content)
	if !bytes.Equal(digest, h.Sum(nil)) {
		return ErrSignature
	}
	return nil
}

// lookup reads the value of the attribute of type id, and reports whether there is one. It is not ok with more than
// one of them or an unreadable one: a verifier that takes the first and another that takes the last would disagree.
func lookup(attributes []attribute, id asn1.ObjectIdentifier, value any) (found, ok bool) {
	for _, a := range attributes {
		if !a.Type.Equal(id) {
			continue
		}
		if found || len(a.Values) != 1 {
			return found, false
		}
		if _, err := asn1.Unmarshal(a.Values[0].FullBytes, value); err != nil {
			return true, false
		}
		found = true
	}
	return found, true
}
