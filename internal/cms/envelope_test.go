package cms_test

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/fips140"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/asn1"
	"encoding/pem"
	"math/big"
	mathrand "math/rand/v2"
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
)

// readers are three with RSA keys of three sizes.
var readers = sync.OnceValue(func() (ids []identity) {
	for _, bits := range []int{2048, 3072, 2049} {
		key := must(rsa.GenerateKey(rand.Reader, bits))
		ids = append(ids, issue(key, key.Public(), time.Now()))
	}
	return ids
})

func certificates(ids ...identity) (certs []*x509.Certificate) {
	for _, id := range ids {
		certs = append(certs, id.cert)
	}
	return certs
}

func decrypt(der []byte, id identity) ([]byte, error) {
	return cms.Decrypt(der, id.cert, id.key.(*rsa.PrivateKey))
}

func requireDecrypts(t *testing.T, want, der []byte, ids ...identity) {
	t.Helper()
	for _, id := range ids {
		got, err := decrypt(der, id)
		require.NoError(t, err)
		require.True(t, bytes.Equal(want, got))
	}
}

func requireNotDecrypted(t *testing.T, want error, der []byte, id identity) {
	t.Helper()
	got, err := decrypt(der, id)
	require.Nil(t, got)
	require.Same(t, want, err)
}

var envelopeErrors = []error{
	cms.ErrTooLarge, cms.ErrMalformed, cms.ErrAlgorithm, cms.ErrContentSize, cms.ErrRecipients, cms.ErrRecipientKey,
	cms.ErrFIPS, cms.ErrKey, cms.ErrNotRecipient, cms.ErrDecrypt,
}

func TestEncrypt(t *testing.T) {
	t.Parallel()
	for n := range readers() {
		ids := readers()[:n+1]
		for _, size := range []int{0, 1, 15, 16, 17, 31, 32, cms.MaxContent} {
			content := bytes.Repeat([]byte{0x10}, size)
			der, err := cms.Encrypt(content, certificates(ids...))
			require.NoError(t, err)
			requireDecrypts(t, content, der, ids...)
			require.True(t, cms.EncryptedFor(der, certificates(ids...)))

			again, err := cms.Encrypt(content, certificates(ids...))
			require.NoError(t, err)
			require.NotEqual(t, iv(der), iv(again))
			require.NotEqual(t, make([]byte, 16), iv(der))
		}
	}
}

func iv(der []byte) []byte {
	var f form
	must(asn1.Unmarshal(der, &f))
	return f.Data.Content.Algorithm.IV.Bytes
}

// The library reads what is written here, though nothing of it is used to write.
func TestLibraryDecrypts(t *testing.T) {
	t.Parallel()
	der, err := cms.Encrypt(body, certificates(readers()...))
	require.NoError(t, err)
	p7, err := pkcs7.Parse(der)
	require.NoError(t, err)
	for _, id := range readers() {
		content, err := p7.Decrypt(id.cert, id.key)
		require.NoError(t, err)
		require.Equal(t, body, content)
	}
}

func TestEncryptRefuses(t *testing.T) {
	t.Parallel()
	good := readers()[0]
	signer := good.key
	small := must(rsa.GenerateKey(rand.Reader, 2047))
	huge := &rsa.PublicKey{N: new(big.Int).Lsh(big.NewInt(1), 8192), E: 65537}
	huge.N.Add(huge.N, big.NewInt(1))
	var many []*x509.Certificate
	for range 17 {
		many = append(many, issue(signer, signer.Public(), time.Now()).cert)
	}
	der, err := cms.Encrypt(body, many[:16])
	require.NoError(t, err)
	require.True(t, cms.EncryptedFor(der, many[:16]))

	edited := func(edit func(*x509.Certificate)) *x509.Certificate {
		cert := *good.cert
		edit(&cert)
		return &cert
	}
	for name, test := range map[string]struct {
		to   []*x509.Certificate
		want error
	}{
		"nobody":            {nil, cms.ErrRecipients},
		"17":                {many, cms.ErrRecipients},
		"nil":               {[]*x509.Certificate{good.cert, nil}, cms.ErrRecipientKey},
		"ECDSA":             {[]*x509.Certificate{good.cert, p256ID().cert}, cms.ErrRecipientKey},
		"2047 bits":         {[]*x509.Certificate{issue(signer, small.Public(), time.Now()).cert}, cms.ErrRecipientKey},
		"8193 bits":         {[]*x509.Certificate{issue(signer, huge, time.Now()).cert}, cms.ErrRecipientKey},
		"twice":             {[]*x509.Certificate{good.cert, readers()[1].cert, good.cert}, cms.ErrRecipients},
		"twins":             {[]*x509.Certificate{good.cert, edited(func(c *x509.Certificate) { c.PublicKey = readers()[1].cert.PublicKey })}, cms.ErrRecipients},
		"no serial number":  {[]*x509.Certificate{edited(func(c *x509.Certificate) { c.SerialNumber = nil })}, cms.ErrRecipientKey},
		"no issuer":         {[]*x509.Certificate{edited(func(c *x509.Certificate) { c.RawIssuer = nil })}, cms.ErrRecipientKey},
		"no key":            {[]*x509.Certificate{edited(func(c *x509.Certificate) { c.PublicKey = nil })}, cms.ErrRecipientKey},
		"empty key":         {[]*x509.Certificate{edited(func(c *x509.Certificate) { c.PublicKey = &rsa.PublicKey{} })}, cms.ErrRecipientKey},
		"even modulus":      {[]*x509.Certificate{edited(func(c *x509.Certificate) { c.PublicKey = even(c) })}, cms.ErrRecipientKey},
		"issuer is no DER":  {[]*x509.Certificate{edited(func(c *x509.Certificate) { c.RawIssuer = []byte{0x30, 9} })}, cms.ErrMalformed},
		"issuer of 64 KiB":  {[]*x509.Certificate{edited(func(c *x509.Certificate) { c.RawIssuer = wrap(0x30, make([]byte, 64<<10)) })}, cms.ErrTooLarge},
		"another serial":    {[]*x509.Certificate{good.cert, edited(func(c *x509.Certificate) { c.SerialNumber = big.NewInt(7) })}, nil},
		"another issuer":    {[]*x509.Certificate{good.cert, edited(func(c *x509.Certificate) { c.RawIssuer = wrap(0x30, nil) })}, nil},
		"negative serial":   {[]*x509.Certificate{edited(func(c *x509.Certificate) { c.SerialNumber = big.NewInt(-7) })}, nil},
		"expired long ago":  {[]*x509.Certificate{issue(signer, signer.Public(), time.Now().AddDate(-9, 0, 0)).cert}, nil},
		"certificate twice": {[]*x509.Certificate{many[0], many[1]}, nil}, // the same key in two certificates
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			der, err := cms.Encrypt(body, test.to)
			if test.want == nil {
				require.NoError(t, err)
				require.True(t, cms.EncryptedFor(der, test.to))
				got, err := cms.Decrypt(der, test.to[0], signer.(*rsa.PrivateKey))
				require.NoError(t, err)
				require.Equal(t, body, got)
				return
			}
			require.Nil(t, der)
			require.Same(t, test.want, err)
		})
	}
	der, err = cms.Encrypt(make([]byte, cms.MaxContent+1), certificates(good))
	require.Nil(t, der)
	require.Same(t, cms.ErrContentSize, err)
}

func even(cert *x509.Certificate) *rsa.PublicKey {
	n := cert.PublicKey.(*rsa.PublicKey).N
	return &rsa.PublicKey{N: new(big.Int).Sub(n, big.NewInt(1)), E: 65537}
}

func TestEncryptLeavesContentAlone(t *testing.T) {
	t.Parallel()
	buffer := bytes.Repeat([]byte{0xee}, 64)
	before := bytes.Clone(buffer)
	to := certificates(readers()...)
	der, err := cms.Encrypt(buffer[:5], to)
	require.NoError(t, err)
	require.Equal(t, before, buffer)
	require.Equal(t, certificates(readers()...), to)

	der = append(make([]byte, 0, 2*len(der)), der...)
	kept := bytes.Clone(der[:cap(der)])
	got, err := decrypt(der, readers()[0])
	require.NoError(t, err)
	clear(got[:cap(got)])
	require.Equal(t, kept, der[:cap(der)])
	requireDecrypts(t, before[:5], der, readers()...)
}

func TestDecryptWantsTheKeyOfTheCertificate(t *testing.T) {
	t.Parallel()
	id, other := readers()[0], readers()[1]
	der, err := cms.Encrypt(body, certificates(id))
	require.NoError(t, err)
	key := id.key.(*rsa.PrivateKey)
	for name, test := range map[string]struct {
		cert *x509.Certificate
		key  *rsa.PrivateKey
	}{
		"nothing":           {nil, nil},
		"no certificate":    {nil, key},
		"no key":            {id.cert, nil},
		"empty key":         {id.cert, &rsa.PrivateKey{}},
		"no modulus":        {id.cert, &rsa.PrivateKey{D: key.D}},
		"public key only":   {id.cert, &rsa.PrivateKey{PublicKey: key.PublicKey}},
		"another key":       {id.cert, other.key.(*rsa.PrivateKey)},
		"ECDSA certificate": {p256ID().cert, key},
		"empty certificate": {&x509.Certificate{}, key},
	} {
		got, err := cms.Decrypt(der, test.cert, test.key)
		require.Nil(t, got, name)
		require.Same(t, cms.ErrKey, err, name)
	}
	// A key that is none: an error or a wrong result, and no panic.
	broken := &rsa.PrivateKey{PublicKey: key.PublicKey, D: big.NewInt(3)}
	got, err := cms.Decrypt(der, id.cert, broken)
	require.Nil(t, got)
	require.Same(t, cms.ErrDecrypt, err)

	requireNotDecrypted(t, cms.ErrNotRecipient, der, other)
}

func TestEncryptedFor(t *testing.T) {
	t.Parallel()
	a, b, c := readers()[0].cert, readers()[1].cert, readers()[2].cert
	der, err := cms.Encrypt(body, []*x509.Certificate{a, b})
	require.NoError(t, err)
	for _, test := range []struct {
		to   []*x509.Certificate
		want bool
	}{
		{[]*x509.Certificate{a, b}, true},
		{[]*x509.Certificate{b, a}, true},
		{nil, false},
		{[]*x509.Certificate{a}, false},
		{[]*x509.Certificate{b}, false},
		{[]*x509.Certificate{a, c}, false},
		{[]*x509.Certificate{c, b}, false},
		{[]*x509.Certificate{a, a}, false},
		{[]*x509.Certificate{b, b}, false},
		{[]*x509.Certificate{a, b, c}, false},
		{[]*x509.Certificate{a, b, a}, false},
		{[]*x509.Certificate{a, nil}, false},
		{[]*x509.Certificate{a, {}}, false},
	} {
		require.Equal(t, test.want, cms.EncryptedFor(der, test.to))
	}
	for _, input := range hostile() {
		require.False(t, cms.EncryptedFor(input, nil))
		require.False(t, cms.EncryptedFor(input, []*x509.Certificate{a}))
	}
	require.False(t, cms.EncryptedFor(append(bytes.Clone(der), 0), []*x509.Certificate{a, b}))
}

func (o openssl) run(args ...string) []byte {
	o.t.Helper()
	out, err := exec.Command("openssl", args...).CombinedOutput()
	require.NoError(o.t, err, string(out))
	return out
}

func (o openssl) certificate(name string, cert *x509.Certificate) string {
	return o.write(name, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Raw}))
}

func TestOpenSSLDecrypts(t *testing.T) {
	t.Parallel()
	for _, ids := range [][]identity{readers()[:1], readers()} {
		for _, content := range [][]byte{{'x'}, body, bytes.Repeat([]byte("0123456789abcdef"), 1024)} {
			o := newOpenSSL(t)
			der, err := cms.Encrypt(content, certificates(ids...))
			require.NoError(t, err)
			message := o.write("message", der)
			for _, id := range ids {
				key, err := x509.MarshalPKCS8PrivateKey(id.key)
				require.NoError(t, err)
				out := filepath.Join(o.dir, "content")
				o.run("cms", "-decrypt", "-inform", "DER", "-in", message, "-out", out,
					"-recip", o.certificate("crt", id.cert),
					"-inkey", o.write("key", pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key})))
				got, err := os.ReadFile(out)
				require.NoError(t, err)
				require.Equal(t, content, got)
			}

			printed := string(o.run("cms", "-cmsout", "-print", "-noout", "-inform", "DER", "-in", message))
			require.Contains(t, printed, "algorithm: aes-256-cbc (2.16.840.1.101.3.4.1.42)")
			require.Contains(t, printed, "contentType: pkcs7-envelopedData")
			require.Equal(t, len(ids), strings.Count(printed, "algorithm: rsaEncryption (1.2.840.113549.1.1.1)"))
			require.Equal(t, len(ids), strings.Count(printed, "d.issuerAndSerialNumber:"))
			parsed := string(o.run("asn1parse", "-inform", "DER", "-in", message))
			require.Equal(t, 1, strings.Count(parsed, "aes-256-cbc"))
		}
	}
}

func TestOpenSSLEncrypts(t *testing.T) {
	t.Parallel()
	three := readers()
	for _, test := range []struct {
		flags, recipientFlags string
		ids                   []identity
		want                  error
	}{
		{"-aes256", "", three, nil},
		{"-aes256", "", three[:1], nil},
		{"-aes-256-cbc", "-keyopt rsa_padding_mode:pkcs1", three, nil},
		{"-aes128", "", three, cms.ErrAlgorithm},
		{"-des3", "", three, cms.ErrAlgorithm},
		{"-aes-256-gcm", "", three, cms.ErrMalformed},
		{"-aes256 -keyid", "", []identity{withKeyID(three[0])}, cms.ErrMalformed},
		{"-aes256", "-keyopt rsa_padding_mode:oaep", three, cms.ErrAlgorithm},
		{"-aes256 -stream -indef", "", three, cms.ErrMalformed},
	} {
		t.Run(test.flags+" "+test.recipientFlags, func(t *testing.T) {
			t.Parallel()
			for _, content := range [][]byte{{'x'}, body} {
				o := newOpenSSL(t)
				out := filepath.Join(o.dir, "message")
				args := []string{"cms", "-encrypt", "-binary", "-outform", "DER", "-in", o.write("content", content), "-out", out}
				args = append(args, strings.Fields(test.flags)...)
				for i, id := range test.ids {
					args = append(args, "-recip", o.certificate(string(rune('a'+i)), id.cert))
					args = append(args, strings.Fields(test.recipientFlags)...)
				}
				o.run(args...)
				der, err := os.ReadFile(out)
				require.NoError(t, err)
				if test.want != nil {
					requireNotDecrypted(t, test.want, der, test.ids[0])
					continue
				}
				requireDecrypts(t, content, der, test.ids...)
				require.True(t, cms.EncryptedFor(der, certificates(test.ids...)))
			}
		})
	}
}

// form is a message taken apart, to be put together otherwise. Its tags are those of the RFC, apart from the code.
type form struct {
	Type asn1.ObjectIdentifier
	Data struct {
		Version    int
		Recipients []asn1.RawValue `asn1:"set"`
		Content    struct {
			Type      asn1.ObjectIdentifier
			Algorithm struct {
				OID asn1.ObjectIdentifier
				IV  asn1.RawValue
			}
			Encrypted asn1.RawValue
		}
	} `asn1:"explicit,tag:0"`
}

type formRecipient struct {
	Version   int
	ID        asn1.RawValue
	Algorithm struct {
		OID        asn1.ObjectIdentifier
		Parameters asn1.RawValue `asn1:"optional"`
	}
	Key []byte
}

func TestEnvelopeStructure(t *testing.T) {
	t.Parallel()
	id, other := readers()[0], readers()[1]
	good, err := cms.Encrypt(body, certificates(id, other))
	require.NoError(t, err)
	edit := func(change func(*form)) []byte {
		var f form
		must(asn1.Unmarshal(good, &f))
		change(&f)
		return must(asn1.Marshal(f))
	}
	editRecipient := func(change func(*formRecipient)) []byte {
		return edit(func(f *form) {
			for i, raw := range f.Data.Recipients {
				var r formRecipient
				must(asn1.Unmarshal(raw.FullBytes, &r))
				change(&r)
				f.Data.Recipients[i] = asn1.RawValue{FullBytes: must(asn1.Marshal(r))}
			}
		})
	}
	require.Equal(t, good, edit(func(*form) {}))
	require.Equal(t, good, editRecipient(func(*formRecipient) {}))
	octets := func(n int) asn1.RawValue { return asn1.RawValue{Tag: 4, Bytes: make([]byte, n)} }
	encrypted := func(n int) []byte {
		return edit(func(f *form) { f.Data.Content.Encrypted = asn1.RawValue{Class: 2, Bytes: make([]byte, n)} })
	}
	inside, _ := open(good)
	ordered := edit(func(*form) {})
	swapped := edit(func(f *form) { slices.Reverse(f.Data.Recipients) })
	require.Equal(t, ordered, swapped, "a set has one order")

	for name, test := range map[string]struct {
		der  []byte
		want error
	}{
		"empty":                     {nil, cms.ErrMalformed},
		"text":                      {[]byte("not a message"), cms.ErrMalformed},
		"trailing byte":             {append(bytes.Clone(good), 0), cms.ErrMalformed},
		"byte inside at the end":    {wrap(0x30, append(bytes.Clone(inside), 5, 0)), cms.ErrMalformed},
		"BER":                       {indefinite(good), cms.ErrMalformed},
		"outer type":                {edit(func(f *form) { f.Type = pkcs7.OIDSignedData }), cms.ErrMalformed},
		"version":                   {edit(func(f *form) { f.Data.Version = 2 }), cms.ErrMalformed},
		"recipient's version":       {editRecipient(func(r *formRecipient) { r.Version = 2 }), cms.ErrMalformed},
		"inner type":                {edit(func(f *form) { f.Data.Content.Type = pkcs7.OIDSignedData }), cms.ErrMalformed},
		"no recipients":             {edit(func(f *form) { f.Data.Recipients = nil }), cms.ErrRecipients},
		"recipient twice":           {edit(func(f *form) { f.Data.Recipients[0] = f.Data.Recipients[1] }), cms.ErrRecipients},
		"17 recipients":             {edit(seventeen), cms.ErrRecipients},
		"unreadable recipient":      {edit(func(f *form) { f.Data.Recipients[1] = asn1.RawValue{FullBytes: []byte{0x30, 0}} }), cms.ErrMalformed},
		"recipient of another kind": {edit(func(f *form) { f.Data.Recipients[1] = asn1.RawValue{FullBytes: []byte{0xa1, 0}} }), cms.ErrMalformed},
		"key algorithm":             {editRecipient(func(r *formRecipient) { r.Algorithm.OID = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 7} }), cms.ErrAlgorithm},
		"key algorithm unqualified": {editRecipient(func(r *formRecipient) { r.Algorithm.Parameters = asn1.RawValue{} }), cms.ErrAlgorithm},
		"key algorithm qualified":   {editRecipient(func(r *formRecipient) { r.Algorithm.Parameters = asn1.RawValue{FullBytes: []byte{0x30, 0}} }), cms.ErrAlgorithm},
		"no encrypted key":          {editRecipient(func(r *formRecipient) { r.Key = nil }), cms.ErrDecrypt},
		"long encrypted key":        {editRecipient(func(r *formRecipient) { r.Key = append(r.Key, 0) }), cms.ErrDecrypt},
		"encrypted key too great":   {editRecipient(func(r *formRecipient) { r.Key = bytes.Repeat([]byte{0xff}, len(r.Key)) }), cms.ErrDecrypt},
		"cipher":                    {edit(func(f *form) { f.Data.Content.Algorithm.OID = pkcs7.OIDEncryptionAlgorithmAES128CBC }), cms.ErrAlgorithm},
		"no IV":                     {edit(func(f *form) { f.Data.Content.Algorithm.IV = octets(0) }), cms.ErrMalformed},
		"short IV":                  {edit(func(f *form) { f.Data.Content.Algorithm.IV = octets(15) }), cms.ErrMalformed},
		"long IV":                   {edit(func(f *form) { f.Data.Content.Algorithm.IV = octets(17) }), cms.ErrMalformed},
		"no content":                {encrypted(0), cms.ErrMalformed},
		"half a block":              {encrypted(8), cms.ErrMalformed},
		"a block and a half":        {encrypted(24), cms.ErrMalformed},
		"content in pieces": {edit(func(f *form) {
			f.Data.Content.Encrypted = asn1.RawValue{Class: 2, IsCompound: true, Bytes: must(asn1.Marshal(make([]byte, 16)))}
		}), cms.ErrMalformed},
		"as large as may be": {encrypted(cms.MaxSize - (len(good) - 112) - 4), nil},
		"too large":          {make([]byte, cms.MaxSize+1), cms.ErrTooLarge},
		"deep name": {editRecipient(func(r *formRecipient) {
			r.ID = asn1.RawValue{FullBytes: wrap(0x30, slices.Concat(nested(5_000), []byte{2, 1, byte(len(r.Key))}))}
		}), cms.ErrNotRecipient},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if test.want == nil {
				require.LessOrEqual(t, len(test.der), cms.MaxSize)
				_, err := decrypt(test.der, id)
				require.NotErrorIs(t, err, cms.ErrTooLarge)
				return
			}
			requireNotDecrypted(t, test.want, test.der, id)
			unread := test.want == cms.ErrDecrypt || test.want == cms.ErrNotRecipient
			require.Equal(t, test.want == cms.ErrDecrypt, cms.EncryptedFor(test.der, certificates(id, other)), unread)
		})
	}
	for _, input := range hostile() {
		_, err := decrypt(input, id)
		require.Contains(t, envelopeErrors, err)
	}
	for i := range good {
		requireNotDecrypted(t, cms.ErrMalformed, good[:i], id)
	}
}

func seventeen(f *form) {
	var r formRecipient
	must(asn1.Unmarshal(f.Data.Recipients[0].FullBytes, &r))
	f.Data.Recipients = nil
	for i := range 17 {
		r.ID.FullBytes = wrap(0x30, []byte{0x30, 0, 2, 1, byte(i)})
		f.Data.Recipients = append(f.Data.Recipients, asn1.RawValue{FullBytes: must(asn1.Marshal(r))})
	}
}

// sealedWith is content as Encrypt would send it, with these blocks, padding included, under this key, and with this
// for the encrypted key.
func sealedWith(t *testing.T, id identity, blocks, key, encryptedKey []byte) []byte {
	t.Helper()
	var f form
	must(asn1.Unmarshal(must(cms.Encrypt(body, certificates(id))), &f))
	var r formRecipient
	must(asn1.Unmarshal(f.Data.Recipients[0].FullBytes, &r))
	encrypted := bytes.Clone(blocks)
	cipher.NewCBCEncrypter(must(aes.NewCipher(key)), f.Data.Content.Algorithm.IV.Bytes).CryptBlocks(encrypted, encrypted)
	f.Data.Content.Encrypted = asn1.RawValue{Class: 2, Bytes: encrypted}
	r.Key = encryptedKey
	f.Data.Recipients[0] = asn1.RawValue{FullBytes: must(asn1.Marshal(r))}
	return must(asn1.Marshal(f))
}

func encryptKey(id identity, key []byte) []byte {
	//lint:ignore SA1019 what the messages have
	return must(rsa.EncryptPKCS1v15(rand.Reader, id.key.Public().(*rsa.PublicKey), key))
}

func TestPadding(t *testing.T) {
	t.Parallel()
	id := readers()[0]
	key := bytes.Repeat([]byte{7}, 32)
	encryptedKey := encryptKey(id, key)
	message := func(blocks []byte) []byte { return sealedWith(t, id, blocks, key, encryptedKey) }
	for n := range 256 {
		blocks := append(bytes.Repeat([]byte{'x'}, 32), bytes.Repeat([]byte{byte(n)}, 32)...)
		if n == 0 || n > 16 {
			requireNotDecrypted(t, cms.ErrDecrypt, message(blocks), id)
			continue
		}
		requireDecrypts(t, blocks[:64-n], message(blocks), id)
		for i := range n {
			wrong := bytes.Clone(blocks)
			wrong[63-i] ^= 0x80
			requireNotDecrypted(t, cms.ErrDecrypt, message(wrong), id)
		}
		free := bytes.Clone(blocks)
		free[63-n] = 0xff
		requireDecrypts(t, free[:64-n], message(free), id)
	}
}

// Where the key's padding is bad, a random key takes its place: the result is an error or, rarely, garbage, but never
// what somebody prepared who knows the key.
func TestUniformErrors(t *testing.T) {
	t.Parallel()
	id := readers()[0]
	zero := make([]byte, 32)
	blocks := bytes.Repeat([]byte{16}, 32)
	requireDecrypts(t, blocks[:16], sealedWith(t, id, blocks, zero, encryptKey(id, zero)), id)
	for range 20 {
		for _, encryptedKey := range [][]byte{
			encryptKey(id, nil), encryptKey(id, zero[:16]), encryptKey(id, zero[:31]), encryptKey(id, make([]byte, 33)),
			encryptKey(id, make([]byte, 200)), encryptKey(id, bytes.Repeat([]byte{1}, 32)), make([]byte, 256),
		} {
			got, err := decrypt(sealedWith(t, id, blocks, zero, encryptedKey), id)
			if err == nil {
				require.NotEqual(t, blocks[:16], got)
				continue
			}
			require.Same(t, cms.ErrDecrypt, err)
			require.Nil(t, got)
		}
	}
}

func TestRandomFlips(t *testing.T) {
	t.Parallel()
	seed := [2]uint64{mathrand.Uint64(), mathrand.Uint64()}
	t.Logf("seed %d", seed)
	random := mathrand.New(mathrand.NewPCG(seed[0], seed[1]))
	ids := readers()[:2]
	good, err := cms.Encrypt(body, certificates(ids...))
	require.NoError(t, err)
	for range 5000 {
		flipped := bytes.Clone(good)
		for range 1 + random.IntN(4) {
			i := random.IntN(len(flipped))
			if random.IntN(3) == 0 {
				i = len(flipped) - 1 - random.IntN(48)
			}
			flipped[i] ^= 1 << random.IntN(8)
		}
		got, err := decrypt(flipped, ids[0])
		if err != nil && (got != nil || !slices.Contains(envelopeErrors, err)) {
			t.Fatalf("seed %d: %v", seed, err)
		}
		cms.EncryptedFor(flipped, certificates(ids...))
	}
}

// The test runs itself in a process that refuses what FIPS 140-3 does not allow.
func TestEnvelopeUnderFIPSOnly(t *testing.T) {
	t.Parallel()
	if os.Getenv("CMS_FIPS_CHILD") != "1" {
		child := exec.Command(os.Args[0], "-test.run=^TestEnvelopeUnderFIPSOnly$", "-test.v")
		child.Env = append(os.Environ(), "GODEBUG=fips140=only", "CMS_FIPS_CHILD=1")
		out, err := child.CombinedOutput()
		require.NoError(t, err, "%s", out)
		require.Contains(t, string(out), "--- PASS: TestEnvelopeUnderFIPSOnly")
		return
	}
	key := must(rsa.GenerateKey(rand.Reader, 2048))
	id := issue(key, key.Public(), time.Now())
	der, err := cms.Encrypt(body, certificates(id))
	require.Nil(t, der)
	require.Same(t, cms.ErrFIPS, err)
	require.EqualError(t, err, "cms: RSA PKCS #1 v1.5 encryption is not allowed in FIPS 140-only mode")

	fips140.WithoutEnforcement(func() { der, err = cms.Encrypt(body, certificates(id)) })
	require.NoError(t, err)
	requireNotDecrypted(t, cms.ErrFIPS, der, id)
	require.True(t, cms.EncryptedFor(der, certificates(id)))
	fips140.WithoutEnforcement(func() { requireDecrypts(t, body, der, id) })
}

func TestEnvelopeErrors(t *testing.T) {
	t.Parallel()
	for _, err := range envelopeErrors {
		require.True(t, strings.HasPrefix(err.Error(), "cms: "), err)
	}
}
