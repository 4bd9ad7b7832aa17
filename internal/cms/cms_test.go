package cms_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.mozilla.org/pkcs7"

	"github.com/activationlock/sdk/internal/cms"
	"github.com/activationlock/sdk/internal/reference"
)

var body = []byte("<?xml version=\"1.0\"?><plist version=\"1.0\"><dict><key>Status</key><string>Idle</string></dict></plist>\n")

// identity is what a device signs with.
type identity struct {
	key  crypto.Signer
	cert *x509.Certificate
}

var (
	rsaKey  = sync.OnceValue(func() crypto.Signer { return must(rsa.GenerateKey(rand.Reader, 2048)) })
	rsaID   = sync.OnceValue(func() identity { return issue(rsaKey(), rsaKey().Public(), time.Now()) })
	p256ID  = sync.OnceValue(func() identity { return issueEC(elliptic.P256()) })
	otherID = sync.OnceValue(func() identity { return issueEC(elliptic.P256()) })
)

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func issueEC(curve elliptic.Curve) identity {
	key := must(ecdsa.GenerateKey(curve, rand.Reader))
	return issue(key, key.Public(), time.Now())
}

// issue makes a certificate for the public key that is valid for the hour around now, issued by itself.
func issue(key crypto.Signer, public crypto.PublicKey, now time.Time) identity {
	template := &x509.Certificate{
		SerialNumber: must(rand.Int(rand.Reader, big.NewInt(1<<62))),
		Subject:      pkix.Name{CommonName: "device identity"},
		NotBefore:    now.Add(-30 * time.Minute),
		NotAfter:     now.Add(30 * time.Minute),
	}
	der := must(x509.CreateCertificate(rand.Reader, template, template, public, key))
	return identity{key, must(x509.ParseCertificate(der))}
}

// message is what sign makes. The zero value is SHA-256, with signed attributes, detached.
type message struct {
	digest     asn1.ObjectIdentifier
	noAttr     bool
	signature  asn1.ObjectIdentifier // the name of the signature algorithm, only with noAttr
	attached   bool
	attributes pkcs7.SignerInfoConfig
	edit       func(*pkcs7.SignedData)
}

func (m message) sign(t testing.TB, id identity, content []byte) []byte {
	t.Helper()
	sd, err := pkcs7.NewSignedData(content)
	require.NoError(t, err)
	sd.SetDigestAlgorithm(pkcs7.OIDDigestAlgorithmSHA256)
	if m.digest != nil {
		sd.SetDigestAlgorithm(m.digest)
	}
	if m.noAttr {
		sd.SetEncryptionAlgorithm(m.signature)
		require.NoError(t, sd.SignWithoutAttr(id.cert, id.key, m.attributes))
	} else {
		require.NoError(t, sd.AddSigner(id.cert, id.key, m.attributes))
	}
	if !m.attached {
		sd.Detach()
	}
	if m.edit != nil {
		m.edit(sd)
	}
	der, err := sd.Finish()
	require.NoError(t, err)
	return der
}

// resign signs the attributes of the first signer anew, after a test has changed them.
func resign(sd *pkcs7.SignedData, id identity) {
	signer := &sd.GetSignedData().SignerInfos[0]
	h := crypto.SHA256.New()
	h.Write(must(asn1.MarshalWithParams(signer.AuthenticatedAttributes, "set")))
	signer.EncryptedDigest = must(id.key.Sign(rand.Reader, h.Sum(nil), crypto.SHA256))
}

// indefinite gives every constructed element of der an indefinite length.
func indefinite(der []byte) (ber []byte) {
	for len(der) > 0 {
		var e asn1.RawValue
		der = must(asn1.Unmarshal(der, &e))
		if !e.IsCompound {
			ber = append(ber, e.FullBytes...)
			continue
		}
		ber = append(ber, e.FullBytes[0], 0x80)
		ber = append(ber, indefinite(e.Bytes)...)
		ber = append(ber, 0, 0)
	}
	return ber
}

var sentinels = []error{
	cms.ErrTooLarge, cms.ErrTooDeep, cms.ErrMalformed, cms.ErrNotDetached,
	cms.ErrSigners, cms.ErrCertificate, cms.ErrAlgorithm, cms.ErrSignature,
}

func requireVerifies(t *testing.T, id identity, der, content []byte) {
	t.Helper()
	cert, err := cms.VerifyDetached(der, content)
	require.NoError(t, err)
	require.Equal(t, id.cert.Raw, cert.Raw)
}

// requireRefused wants the sentinel itself: an error around it could quote input.
func requireRefused(t *testing.T, want error, der, content []byte) {
	t.Helper()
	cert, err := cms.VerifyDetached(der, content)
	require.Nil(t, cert)
	require.Same(t, want, err)
}

func TestErrors(t *testing.T) {
	t.Parallel()
	for _, err := range sentinels {
		require.True(t, strings.HasPrefix(err.Error(), "cms: "), err)
	}
}

// needs skips a test whose means are missing here, except in CI, where skipping would go unnoticed.
func needs(t *testing.T, there bool, what string) {
	t.Helper()
	if there {
		return
	}
	if os.Getenv("CI") == "true" {
		t.Fatalf("%s missing in CI", what)
	}
	t.Skipf("%s missing", what)
}

func TestRealSamples(t *testing.T) {
	t.Parallel()
	read := func(name string) []byte {
		b, err := os.ReadFile(reference.Path(t, "fixtures", "mdm-signature", name))
		require.NoError(t, err)
		return b
	}
	header := func(name string) []byte {
		der, err := base64.StdEncoding.DecodeString(strings.TrimSpace(string(read(name))))
		require.NoError(t, err)
		return der
	}
	sample, header1, header2 := read("body2.plist"), header("header1.b64"), header("header2.b64")

	cert, err := cms.VerifyDetached(header2, sample)
	require.NoError(t, err)
	require.Contains(t, string(header2), string(cert.Raw))

	requireRefused(t, cms.ErrSignature, header1, sample)
	requireRefused(t, cms.ErrSignature, header2, nil)
	for i := range sample {
		changed := bytes.Clone(sample)
		changed[i] ^= 1
		_, err := cms.VerifyDetached(header2, changed)
		require.Same(t, cms.ErrSignature, err)
	}
}

// openssl signs with the real binary, in a directory of its own.
type openssl struct {
	t   *testing.T
	dir string
}

func newOpenSSL(t *testing.T) openssl {
	t.Helper()
	_, err := exec.LookPath("openssl")
	needs(t, err == nil, "openssl")
	return openssl{t, t.TempDir()}
}

func (o openssl) write(name string, content []byte) string {
	o.t.Helper()
	path := filepath.Join(o.dir, name)
	require.NoError(o.t, os.WriteFile(path, content, 0o600))
	return path
}

// signer writes the identity to files and returns the arguments that name it.
func (o openssl) signer(name string, id identity) []string {
	o.t.Helper()
	key, err := x509.MarshalPKCS8PrivateKey(id.key)
	require.NoError(o.t, err)
	return []string{
		"-signer", o.write(name+".crt", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: id.cert.Raw})),
		"-inkey", o.write(name+".key", pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key})),
	}
}

func (o openssl) sign(content []byte, args ...string) []byte {
	o.t.Helper()
	out := filepath.Join(o.dir, "signature")
	args = append([]string{"cms", "-sign", "-binary", "-outform", "DER", "-in", o.write("content", content), "-out", out}, args...)
	text, err := exec.Command("openssl", args...).CombinedOutput()
	require.NoError(o.t, err, string(text))
	der, err := os.ReadFile(out)
	require.NoError(o.t, err)
	return der
}

func TestOpenSSL(t *testing.T) {
	t.Parallel()
	attributes := [][]string{nil, {"-noattr"}}
	identities := map[string]identity{
		"rsa": rsaID(), "p256": p256ID(), "p384": issueEC(elliptic.P384()), "p521": issueEC(elliptic.P521()),
	}
	for key, id := range identities {
		for _, digest := range []string{"sha1", "sha256", "sha384", "sha512"} {
			if digest == "sha1" && key != "rsa" {
				continue
			}
			t.Run(key+" "+digest, func(t *testing.T) {
				t.Parallel()
				o := newOpenSSL(t)
				signer := append(o.signer("device", id), "-md", digest)
				for _, flags := range attributes {
					der := o.sign(body, append(slices.Clone(signer), flags...)...)
					// With -stream it attaches the content, so detached BER is made here.
					for _, der := range [][]byte{der, indefinite(der)} {
						requireVerifies(t, id, der, body)
						requireRefused(t, cms.ErrSignature, der, body[1:])
						requireRefused(t, cms.ErrSignature, der, nil)

						signature := must(pkcs7.Parse(der)).Signers[0].EncryptedDigest
						der[bytes.LastIndex(der, signature)+len(signature)-1] ^= 1
						requireRefused(t, cms.ErrSignature, der, body)
					}
				}
			})
		}
	}
}

func TestOpenSSLOptions(t *testing.T) {
	t.Parallel()
	id := p256ID()
	expired := issue(id.key, id.key.Public(), time.Now().AddDate(-10, 0, 0))
	future := issue(id.key, id.key.Public(), time.Now().AddDate(10, 0, 0))

	for _, test := range []struct {
		name    string
		id      identity
		content []byte
		args    string
		want    error
	}{
		{"empty content", id, nil, "", nil},
		{"empty content without attributes", id, nil, "-noattr", nil},
		{"signed after the certificate expired", expired, body, "", nil},
		{"signed before the certificate was valid", future, body, "", nil},
		{"expired certificate without attributes", expired, body, "-noattr", nil},
		{"attached", id, body, "-nodetach", cms.ErrNotDetached},
		{"attached in BER", id, body, "-nodetach -stream -indef", cms.ErrNotDetached},
		{"attached without attributes", id, body, "-nodetach -noattr", cms.ErrNotDetached},
		{"attached empty content", id, nil, "-nodetach", cms.ErrNotDetached},
		{"no certificate", id, body, "-nocerts", cms.ErrCertificate},
		{"signer named by key identifier", withKeyID(id), body, "-keyid", cms.ErrSigners},
		{"content of another type", id, body, "-econtent_type 1.2.3.4", cms.ErrMalformed},
		{"ECDSA with SHA-1", id, body, "-md sha1", cms.ErrAlgorithm},
		{"RSA with MD5", rsaID(), body, "-md md5", cms.ErrAlgorithm},
		{"RSA-PSS", rsaID(), body, "-keyopt rsa_padding_mode:pss", cms.ErrAlgorithm},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			o := newOpenSSL(t)
			der := o.sign(test.content, append(o.signer("device", test.id), strings.Fields(test.args)...)...)
			if test.want != nil {
				requireRefused(t, test.want, der, test.content)
				return
			}
			requireVerifies(t, test.id, der, test.content)
			requireVerifies(t, test.id, indefinite(der), test.content)
			requireRefused(t, cms.ErrSignature, der, []byte("other"))
		})
	}

	t.Run("two signers", func(t *testing.T) {
		t.Parallel()
		o := newOpenSSL(t)
		der := o.sign(body, append(o.signer("one", id), o.signer("two", otherID())...)...)
		requireRefused(t, cms.ErrSigners, der, body)
	})
	t.Run("more certificates", func(t *testing.T) {
		t.Parallel()
		o := newOpenSSL(t)
		more := o.write("more.pem", slices.Concat(
			pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: otherID().cert.Raw}),
			pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: rsaID().cert.Raw})))
		requireVerifies(t, id, o.sign(body, append(o.signer("device", id), "-certfile", more)...), body)
	})
}

// withKeyID returns the identity with a certificate that has a subject key identifier.
func withKeyID(id identity) identity {
	template := &x509.Certificate{SerialNumber: big.NewInt(1), SubjectKeyId: []byte{1, 2, 3, 4}}
	der := must(x509.CreateCertificate(rand.Reader, template, template, id.key.Public(), id.key))
	return identity{id.key, must(x509.ParseCertificate(der))}
}

// The library is right to parse these messages and wrong to judge them: if its Verify starts to accept a wrong clock,
// the comment in VerifyDetached is due for a change.
func TestLibraryRefusesWrongClock(t *testing.T) {
	t.Parallel()
	id := p256ID()
	expired := issue(id.key, id.key.Public(), time.Now().AddDate(-10, 0, 0))
	der := message{}.sign(t, expired, body)
	requireVerifies(t, expired, der, body)

	p7, err := pkcs7.Parse(der)
	require.NoError(t, err)
	p7.Content = body
	require.ErrorContains(t, p7.Verify(), "outside of certificate validity")
}

func TestIndefiniteLengthsEverywhere(t *testing.T) {
	t.Parallel()
	for _, m := range []message{{}, {noAttr: true}, {noAttr: true, digest: pkcs7.OIDDigestAlgorithmSHA1}} {
		requireVerifies(t, rsaID(), indefinite(m.sign(t, rsaID(), body)), body)
	}
	requireVerifies(t, p256ID(), indefinite(message{}.sign(t, p256ID(), body)), body)
}

func TestNothingAliases(t *testing.T) {
	t.Parallel()
	der, content := message{}.sign(t, p256ID(), body), bytes.Clone(body)
	before := bytes.Clone(der)
	cert, err := cms.VerifyDetached(der, content)
	require.NoError(t, err)
	require.Equal(t, before, der)
	require.Equal(t, body, content)

	clear(der)
	require.Equal(t, p256ID().cert.Raw, cert.Raw)
}

func TestAlgorithms(t *testing.T) {
	t.Parallel()
	var (
		sha1, sha256, sha384 = pkcs7.OIDDigestAlgorithmSHA1, pkcs7.OIDDigestAlgorithmSHA256, pkcs7.OIDDigestAlgorithmSHA384
		sha224               = asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 2, 4}
		md5                  = asn1.ObjectIdentifier{1, 2, 840, 113549, 2, 5}
		md5WithRSA           = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 4}
		pss                  = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 10}
		ecPublicKey          = asn1.ObjectIdentifier{1, 2, 840, 10045, 2, 1}
		ec, rsa2048          = p256ID(), rsaID()
	)
	huge := new(big.Int).SetBit(big.NewInt(1), 9000, 1)
	_, edKey, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)

	for _, test := range []struct {
		name              string
		id                identity
		digest, signature asn1.ObjectIdentifier
		claimed           asn1.ObjectIdentifier // the digest algorithm that the message names, if another
		want              error
	}{
		{name: "RSA by key", id: rsa2048, digest: sha256, signature: pkcs7.OIDEncryptionAlgorithmRSA},
		{name: "RSA by key, SHA-1", id: rsa2048, digest: sha1, signature: pkcs7.OIDEncryptionAlgorithmRSA},
		{name: "RSA by algorithm", id: rsa2048, digest: sha384, signature: pkcs7.OIDEncryptionAlgorithmRSASHA384},
		{name: "RSA by algorithm, SHA-1", id: rsa2048, digest: sha1, signature: pkcs7.OIDEncryptionAlgorithmRSASHA1},
		{name: "ECDSA by key", id: ec, digest: sha256, signature: ecPublicKey},
		{name: "ECDSA by algorithm", id: ec, digest: sha384, signature: pkcs7.OIDDigestAlgorithmECDSASHA384},

		{"RSA, digests differ", rsa2048, sha256, pkcs7.OIDEncryptionAlgorithmRSASHA384, nil, cms.ErrAlgorithm},
		{"RSA, SHA-1 differs", rsa2048, sha256, pkcs7.OIDEncryptionAlgorithmRSASHA1, nil, cms.ErrAlgorithm},
		{"ECDSA, digests differ", ec, sha256, pkcs7.OIDDigestAlgorithmECDSASHA384, nil, cms.ErrAlgorithm},
		{"ECDSA, SHA-1 differs", ec, sha256, pkcs7.OIDDigestAlgorithmECDSASHA1, nil, cms.ErrAlgorithm},
		{"ECDSA by algorithm, SHA-1", ec, sha1, pkcs7.OIDDigestAlgorithmECDSASHA1, nil, cms.ErrAlgorithm},
		{"ECDSA by key, SHA-1", ec, sha1, ecPublicKey, nil, cms.ErrAlgorithm},
		{"ECDSA by curve", ec, sha256, pkcs7.OIDEncryptionAlgorithmECDSAP256, nil, cms.ErrAlgorithm},
		{"P-224", issueEC(elliptic.P224()), sha256, pkcs7.OIDDigestAlgorithmECDSASHA256, nil, cms.ErrAlgorithm},
		{"RSA key, ECDSA algorithm", rsa2048, sha256, pkcs7.OIDDigestAlgorithmECDSASHA256, nil, cms.ErrAlgorithm},
		{"EC key, RSA algorithm", ec, sha256, pkcs7.OIDEncryptionAlgorithmRSASHA256, nil, cms.ErrAlgorithm},
		{"RSA-PSS", rsa2048, sha256, pss, nil, cms.ErrAlgorithm},
		{"MD5 in the signature", rsa2048, sha256, md5WithRSA, nil, cms.ErrAlgorithm},
		{"MD5 in the digest", rsa2048, sha256, pkcs7.OIDEncryptionAlgorithmRSA, md5, cms.ErrAlgorithm},
		{"SHA-224", rsa2048, sha256, pkcs7.OIDEncryptionAlgorithmRSA, sha224, cms.ErrAlgorithm},
		{"DSA", rsa2048, sha256, pkcs7.OIDDigestAlgorithmDSA, nil, cms.ErrAlgorithm},
		{"DSA with SHA-1", rsa2048, sha1, pkcs7.OIDDigestAlgorithmDSASHA1, nil, cms.ErrAlgorithm},
		{"DSA as the digest", rsa2048, sha1, pkcs7.OIDEncryptionAlgorithmRSA, pkcs7.OIDDigestAlgorithmDSASHA1, cms.ErrAlgorithm},
		{"unknown", rsa2048, sha256, asn1.ObjectIdentifier{1, 2, 3}, nil, cms.ErrAlgorithm},
		{
			"Ed25519 certificate", identity{ec.key, issue(edKey, edKey.Public(), time.Now()).cert},
			sha256, pkcs7.OIDDigestAlgorithmECDSASHA256, nil, cms.ErrAlgorithm,
		},
		{
			"huge RSA key", identity{rsa2048.key, issue(rsaKey(), &rsa.PublicKey{N: huge, E: 65537}, time.Now()).cert},
			sha256, pkcs7.OIDEncryptionAlgorithmRSA, nil, cms.ErrAlgorithm,
		},
		{"claimed digest is another", rsa2048, sha256, pkcs7.OIDEncryptionAlgorithmRSA, sha384, cms.ErrSignature},
		{
			"certificate of another key", identity{ec.key, otherID().cert},
			sha256, pkcs7.OIDDigestAlgorithmECDSASHA256, nil, cms.ErrSignature,
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			m := message{noAttr: true, digest: test.digest, signature: test.signature, edit: func(sd *pkcs7.SignedData) {
				if test.claimed != nil {
					sd.GetSignedData().SignerInfos[0].DigestAlgorithm.Algorithm = test.claimed
				}
			}}
			der := m.sign(t, test.id, body)
			if test.want == nil {
				requireVerifies(t, test.id, der, body)
			} else {
				requireRefused(t, test.want, der, body)
			}
		})
	}
}

func TestSignedAttributes(t *testing.T) {
	t.Parallel()
	id := p256ID()
	digestOf := func(content []byte) []byte {
		h := crypto.SHA256.New()
		h.Write(content)
		return h.Sum(nil)
	}
	extra := func(oid asn1.ObjectIdentifier, value any) pkcs7.SignerInfoConfig {
		return pkcs7.SignerInfoConfig{ExtraSignedAttributes: []pkcs7.Attribute{{Type: oid, Value: value}}}
	}
	// change edits the attribute of the given type, signs again, and so makes a message that is wrong but well signed.
	change := func(oid asn1.ObjectIdentifier, values ...any) func(*pkcs7.SignedData) {
		return func(sd *pkcs7.SignedData) {
			signer := &sd.GetSignedData().SignerInfos[0]
			for i, a := range signer.AuthenticatedAttributes {
				if !a.Type.Equal(oid) {
					continue
				}
				var set []byte
				for _, v := range values {
					set = append(set, must(asn1.Marshal(v))...)
				}
				a.Value = asn1.RawValue{Tag: asn1.TagSet, IsCompound: true, Bytes: set}
				signer.AuthenticatedAttributes[i] = a
				if len(values) == 0 {
					signer.AuthenticatedAttributes = slices.Delete(signer.AuthenticatedAttributes, i, i+1)
				}
				break
			}
			resign(sd, id)
		}
	}
	contentType, messageDigest := pkcs7.OIDAttributeContentType, pkcs7.OIDAttributeMessageDigest
	other := asn1.ObjectIdentifier{1, 2, 3, 4}

	for _, test := range []struct {
		name string
		m    message
		want error
	}{
		{"as signed", message{}, nil},
		{"signed again", message{edit: change(messageDigest, digestOf(body))}, nil},
		{"unknown attribute", message{attributes: extra(other, "value")}, nil},
		{"no content type", message{edit: change(contentType)}, nil},
		{"no signing time", message{edit: change(pkcs7.OIDAttributeSigningTime)}, nil},
		{"in another order", message{edit: func(sd *pkcs7.SignedData) {
			slices.Reverse(sd.GetSignedData().SignerInfos[0].AuthenticatedAttributes)
		}}, nil},

		{"another content type", message{edit: change(contentType, pkcs7.OIDSignedData)}, cms.ErrMalformed},
		{"two content types", message{attributes: extra(contentType, pkcs7.OIDData)}, cms.ErrMalformed},
		{"unreadable content type", message{edit: change(contentType, "data")}, cms.ErrMalformed},
		{"content type with two values", message{edit: change(contentType, pkcs7.OIDData, pkcs7.OIDSignedData)}, cms.ErrMalformed},
		{"no digest", message{edit: change(messageDigest)}, cms.ErrMalformed},
		{"another digest", message{edit: change(messageDigest, digestOf(nil))}, cms.ErrSignature},
		{"short digest", message{edit: change(messageDigest, digestOf(body)[:31])}, cms.ErrSignature},
		{"empty digest", message{edit: change(messageDigest, []byte{})}, cms.ErrSignature},
		{"unreadable digest", message{edit: change(messageDigest, 1)}, cms.ErrMalformed},
		{"digest with two values", message{edit: change(messageDigest, digestOf(body), digestOf(nil))}, cms.ErrMalformed},
		{"the same digest twice", message{attributes: extra(messageDigest, digestOf(body))}, cms.ErrMalformed},
		{"a second digest", message{attributes: extra(messageDigest, digestOf(nil))}, cms.ErrMalformed},
		{"content type removed without signing", message{edit: func(sd *pkcs7.SignedData) {
			signer := &sd.GetSignedData().SignerInfos[0]
			signer.AuthenticatedAttributes = signer.AuthenticatedAttributes[1:]
		}}, cms.ErrSignature},
		{"unknown attribute added without signing", message{edit: func(sd *pkcs7.SignedData) {
			signer := &sd.GetSignedData().SignerInfos[0]
			added := signer.AuthenticatedAttributes[0]
			added.Type = other
			signer.AuthenticatedAttributes = append(signer.AuthenticatedAttributes, added)
		}}, cms.ErrSignature},
		{"removed", message{edit: (*pkcs7.SignedData).RemoveAuthenticatedAttributes}, cms.ErrSignature},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			der := test.m.sign(t, id, body)
			if test.want == nil {
				requireVerifies(t, id, der, body)
				requireRefused(t, cms.ErrSignature, der, body[1:])
			} else {
				requireRefused(t, test.want, der, body)
			}
		})
	}
}

// The signature over attributes is a signature over their bytes, but not over content that consists of these bytes.
func TestAttributesAreNotContent(t *testing.T) {
	t.Parallel()
	var set []byte
	m := message{edit: func(sd *pkcs7.SignedData) {
		set = must(asn1.MarshalWithParams(sd.GetSignedData().SignerInfos[0].AuthenticatedAttributes, "set"))
		sd.RemoveAuthenticatedAttributes()
	}}
	requireRefused(t, cms.ErrSignature, m.sign(t, p256ID(), body), set)
}

func TestSigners(t *testing.T) {
	t.Parallel()
	id := p256ID()
	// A certificate with the same issuer and serial number, of a key that signed nothing.
	key := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	twin := must(x509.ParseCertificate(must(x509.CreateCertificate(rand.Reader, id.cert, id.cert, key.Public(), id.key))))

	for _, test := range []struct {
		name string
		edit func(*pkcs7.SignedData)
		want error
	}{
		{"another certificate", func(sd *pkcs7.SignedData) { sd.AddCertificate(otherID().cert) }, nil},
		{"certificate twice", func(sd *pkcs7.SignedData) { sd.AddCertificate(id.cert) }, cms.ErrCertificate},
		{"certificate with the same name", func(sd *pkcs7.SignedData) { sd.AddCertificate(twin) }, cms.ErrCertificate},
		{"no signer", func(sd *pkcs7.SignedData) { sd.GetSignedData().SignerInfos = nil }, cms.ErrSigners},
		{"signer twice", func(sd *pkcs7.SignedData) {
			signers := &sd.GetSignedData().SignerInfos
			*signers = append(*signers, (*signers)[0])
		}, cms.ErrSigners},
		{"another serial number", func(sd *pkcs7.SignedData) {
			sd.GetSignedData().SignerInfos[0].IssuerAndSerialNumber.SerialNumber = big.NewInt(1)
		}, cms.ErrCertificate},
		{"unreadable certificate", func(sd *pkcs7.SignedData) {
			sd.AddCertificate(&x509.Certificate{Raw: []byte{0x30, 0}})
		}, cms.ErrMalformed},
		{"another issuer", func(sd *pkcs7.SignedData) {
			sd.GetSignedData().SignerInfos[0].IssuerAndSerialNumber.IssuerName = asn1.RawValue{FullBytes: []byte{0x30, 0}}
		}, cms.ErrCertificate},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			der := message{edit: test.edit}.sign(t, id, body)
			if test.want == nil {
				requireVerifies(t, id, der, body)
			} else {
				requireRefused(t, test.want, der, body)
			}
		})
	}
}

func TestAttached(t *testing.T) {
	t.Parallel()
	for _, content := range [][]byte{body, {}} {
		der := message{attached: true}.sign(t, p256ID(), content)
		requireRefused(t, cms.ErrNotDetached, der, content)
		requireRefused(t, cms.ErrNotDetached, indefinite(der), content)
		requireRefused(t, cms.ErrNotDetached, der, []byte("other"))
	}
}

// wrap puts content into the constructed element with the given first byte.
func wrap(tag byte, content []byte) []byte {
	e := asn1.RawValue{Class: int(tag >> 6), Tag: int(tag & 0x1f), IsCompound: true, Bytes: content}
	return must(asn1.Marshal(e))
}

// open returns what is inside of the first element of der, and what follows that element.
func open(der []byte) (inside, rest []byte) {
	var e asn1.RawValue
	rest = must(asn1.Unmarshal(der, &e))
	return e.Bytes, rest
}

func TestStructure(t *testing.T) {
	t.Parallel()
	der := message{noAttr: true}.sign(t, p256ID(), body)
	ber := indefinite(der)
	inside, _ := open(der)
	_, explicit := open(inside)
	kind := inside[:len(inside)-len(explicit)]
	sequence, _ := open(explicit)
	data, _ := open(sequence)

	rebuilt := func(kind, data, afterData, afterExplicit []byte) []byte {
		sequence := slices.Concat(wrap(0x30, data), afterData)
		return wrap(0x30, slices.Concat(kind, wrap(0xa0, sequence), afterExplicit))
	}
	require.Equal(t, der, rebuilt(kind, data, nil, nil))

	// The last field is the set of signers: what follows it is read by some parsers and skipped by others.
	signers := data
	for rest := data; len(rest) > 0; {
		signers = rest
		_, rest = open(rest)
	}
	require.Equal(t, byte(0x31), signers[0])
	signer, _ := open(signers)
	noSigner := slices.Concat(data[:len(data)-len(signers)], wrap(0x31, nil))

	// An outer element that ends before what it contains.
	outgrown := bytes.Clone(der)
	require.Equal(t, byte(0x82), outgrown[1])
	outgrown[2]--

	// Elements that a loose reader skips over, where no signature covers them.
	unsigned := func(value ...byte) []byte {
		attribute := pkcs7.Attribute{Type: asn1.ObjectIdentifier{1, 2, 3, 4}, Value: asn1.RawValue{FullBytes: value}}
		return message{attributes: pkcs7.SignerInfoConfig{ExtraUnsignedAttributes: []pkcs7.Attribute{attribute}}}.sign(t, p256ID(), body)
	}
	requireVerifies(t, p256ID(), unsigned(5, 0), body)
	requireVerifies(t, p256ID(), unsigned(0x30, 0x80, 0, 0), body)

	anotherType := func(sd *pkcs7.SignedData) {
		sd.GetSignedData().ContentInfo.ContentType = asn1.ObjectIdentifier{1, 2, 3, 4}
	}

	for name, test := range map[string]struct {
		der  []byte
		want error
	}{
		"tag of two bytes":                   {unsigned(append([]byte{0x9f, 32, 31}, make([]byte, 31)...)...), cms.ErrMalformed},
		"end of contents out of place":       {unsigned(0, 0), cms.ErrMalformed},
		"constructed end of contents":        {unsigned(0x20, 0), cms.ErrMalformed},
		"length of five bytes":               {unsigned(5, 0x85, 0, 0, 0, 0, 0), cms.ErrMalformed},
		"content of another type":            {message{noAttr: true, edit: anotherType}.sign(t, p256ID(), body), cms.ErrMalformed},
		"empty":                              {nil, cms.ErrMalformed},
		"text":                               {[]byte("not a signature"), cms.ErrMalformed},
		"base64":                             {[]byte(base64.StdEncoding.EncodeToString(der)), cms.ErrMalformed},
		"trailing byte":                      {append(bytes.Clone(der), 0), cms.ErrMalformed},
		"trailing end of contents":           {append(bytes.Clone(ber), 0, 0), cms.ErrMalformed},
		"twice":                              {slices.Concat(der, der), cms.ErrMalformed},
		"child outgrows its parent":          {outgrown, cms.ErrMalformed},
		"bytes after the signers":            {rebuilt(kind, append(bytes.Clone(data), 5, 0), nil, nil), cms.ErrMalformed},
		"second set of signers":              {rebuilt(kind, slices.Concat(data, signers), nil, nil), cms.ErrMalformed},
		"empty set and then a set":           {rebuilt(kind, slices.Concat(noSigner, signers), nil, nil), cms.ErrSigners},
		"no signer":                          {rebuilt(kind, noSigner, nil, nil), cms.ErrSigners},
		"unreadable signer":                  {rebuilt(kind, append(noSigner[:len(noSigner)-2:len(noSigner)-2], 0x31, 2, 0x30, 0), nil, nil), cms.ErrSigners},
		"signer and garbage":                 {rebuilt(kind, slices.Concat(data[:len(data)-len(signers)], wrap(0x31, append(bytes.Clone(signer), 5, 0))), nil, nil), cms.ErrSigners},
		"second SignedData":                  {rebuilt(kind, data, wrap(0x30, data), nil), cms.ErrMalformed},
		"bytes after the SignedData":         {rebuilt(kind, data, nil, []byte{5, 0}), cms.ErrMalformed},
		"no SignedData":                      {wrap(0x30, kind), cms.ErrMalformed},
		"empty SignedData":                   {rebuilt(kind, nil, nil, nil), cms.ErrMalformed},
		"another type":                       {rebuilt(must(asn1.Marshal(pkcs7.OIDEnvelopedData)), data, nil, nil), cms.ErrMalformed},
		"SignedData without outer structure": {wrap(0x30, data), cms.ErrMalformed},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			requireRefused(t, test.want, test.der, body)
		})
	}
}

// nested is depth elements, one within the other.
func nested(depth int) (der []byte) {
	for range depth {
		der = wrap(0x30, der)
	}
	return der
}

func TestBounds(t *testing.T) {
	t.Parallel()
	requireRefused(t, cms.ErrMalformed, nested(32), nil)
	requireRefused(t, cms.ErrTooDeep, nested(33), nil)
	requireRefused(t, cms.ErrMalformed, indefinite(nested(32)), nil)
	requireRefused(t, cms.ErrTooDeep, indefinite(nested(33)), nil)

	// A good message that is exactly as large as may be, and one that has one byte more.
	sized := func(size int) []byte {
		padded := func(n int) []byte {
			padding := pkcs7.Attribute{Type: asn1.ObjectIdentifier{1, 2, 3, 4}, Value: make([]byte, n)}
			return message{attributes: pkcs7.SignerInfoConfig{ExtraUnsignedAttributes: []pkcs7.Attribute{padding}}}.sign(t, rsaID(), body)
		}
		const guess = 60000
		der := padded(guess + size - len(padded(guess)))
		require.Len(t, der, size)
		return der
	}
	requireVerifies(t, rsaID(), sized(cms.MaxSize), body)
	requireRefused(t, cms.ErrTooLarge, sized(cms.MaxSize+1), body)
}

// hostile is input that made the library, or a naive reader in its place, panic or run out of memory.
func hostile() map[string][]byte {
	inputs := map[string][]byte{
		"nested to the cap":   bytes.Repeat([]byte{0x30, 0x80}, cms.MaxSize/2),
		"nested over the cap": bytes.Repeat([]byte{0x30, 0x80}, cms.MaxSize),
		"wide":                bytes.Repeat([]byte{0x05, 0x00}, cms.MaxSize/2),
		"wide in a sequence":  wrap(0x30, bytes.Repeat([]byte{0x05, 0x00}, cms.MaxSize/2-4)),
		"zeros":               make([]byte, cms.MaxSize),
	}
	for _, s := range []string{
		"", "00", "30", "3084", "3081", "1f80", "1f8100", "1fffffff", "3080", "30800000", "308000000000", "0480", "24800000",
		"3084ffffffff", "30847fffffff", "308400000000", "3085010000000000", "30ff", "0001", "2000", "3f8100",
		"304f06092a864886f70d010706a0423040020100303b06092a864886f70d010701301d060960864801650304012a041000000000000000000000000000000000800f000000000000000000000000000000",
	} {
		inputs[s] = must(hex.DecodeString(s))
	}
	return inputs
}

func TestHostile(t *testing.T) {
	t.Parallel()
	want := map[string]error{"nested to the cap": cms.ErrTooDeep, "nested over the cap": cms.ErrTooLarge}
	for name, input := range hostile() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			err := want[name]
			if err == nil {
				err = cms.ErrMalformed
			}
			requireRefused(t, err, input, nil)
			requireRefused(t, err, input, body)
		})
	}
}

// seeds are good messages over body in the forms that differ for the verifier.
func seeds(t testing.TB, ec, rsa identity) map[string][]byte {
	forms := map[string][]byte{
		"ECDSA with attributes":    message{}.sign(t, ec, body),
		"ECDSA without attributes": message{noAttr: true}.sign(t, ec, body),
		"RSA with attributes":      message{}.sign(t, rsa, body),
		"RSA SHA-1, no attributes": message{noAttr: true, digest: pkcs7.OIDDigestAlgorithmSHA1}.sign(t, rsa, body),
	}
	for _, name := range []string{"ECDSA with attributes", "RSA SHA-1, no attributes"} {
		forms[name+", BER"] = indefinite(forms[name])
	}
	return forms
}

func TestTruncated(t *testing.T) {
	t.Parallel()
	for name, der := range seeds(t, p256ID(), rsaID()) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for i := range der {
				cert, err := cms.VerifyDetached(der[:i], body)
				if cert != nil || err != cms.ErrMalformed {
					t.Fatalf("cut after %d bytes: %v", i, err)
				}
			}
		})
	}
}

func TestFlippedBits(t *testing.T) {
	t.Parallel()
	for name, der := range seeds(t, p256ID(), rsaID()) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			original, err := cms.VerifyDetached(der, body)
			require.NoError(t, err)
			p7, err := pkcs7.Parse(der)
			require.NoError(t, err)
			signer := p7.Signers[0]

			type span struct{ from, to int }
			// find is for the last place, where the signer is: the certificate comes before it.
			find := func(part []byte) span {
				if bytes.HasPrefix(der, []byte{0x30, 0x80}) {
					part = indefinite(part)
				}
				i := bytes.LastIndex(der, part)
				require.NotEqual(t, -1, i)
				return span{i, i + len(part)}
			}
			in := func(s span, i int) bool { return s.from <= i && i < s.to }

			certificate := find(original.Raw)
			signed := []span{
				find(must(asn1.Marshal(signer.EncryptedDigest))),
				find(must(asn1.Marshal(signer.DigestAlgorithm.Algorithm))),
			}
			for _, a := range signer.AuthenticatedAttributes {
				signed = append(signed, find(must(asn1.Marshal(a))))
			}

			flipped := bytes.Clone(der)
			for i := range der {
				for bit := range 8 {
					flipped[i] = der[i] ^ 1<<bit
					cert, err := cms.VerifyDetached(flipped, body)
					flipped[i] = der[i]
					if err != nil {
						if cert != nil || !slices.Contains(sentinels, err) {
							t.Fatalf("bit %d of byte %d: %v", bit, i, err)
						}
						continue
					}
					if slices.ContainsFunc(signed, func(s span) bool { return in(s, i) }) {
						t.Fatalf("bit %d of byte %d is signed and verifies when flipped", bit, i)
					}
					// Nothing binds the certificate but its public key: it comes back as it was sent, or not at all.
					if in(certificate, i) == bytes.Equal(cert.Raw, original.Raw) {
						t.Fatalf("bit %d of byte %d: wrong certificate", bit, i)
					}
					if !original.PublicKey.(interface{ Equal(crypto.PublicKey) bool }).Equal(cert.PublicKey) {
						t.Fatalf("bit %d of byte %d: wrong key", bit, i)
					}
				}
			}
		})
	}
}
