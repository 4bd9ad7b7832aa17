package mdmcmd_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.mozilla.org/pkcs7"

	"github.com/activationlock/sdk/internal/reference"
	"github.com/activationlock/sdk/mdmcmd"
)

// signed makes a certificate for key and the header of a device that has it.
func signed(tb testing.TB, key crypto.Signer, body []byte) (*x509.Certificate, string) {
	tb.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(7),
		Subject:      pkix.Name{CommonName: "device identity"},
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	require.NoError(tb, err)
	certificate, err := x509.ParseCertificate(der)
	require.NoError(tb, err)
	message, err := pkcs7.NewSignedData(body)
	require.NoError(tb, err)
	message.SetDigestAlgorithm(pkcs7.OIDDigestAlgorithmSHA256)
	require.NoError(tb, message.AddSigner(certificate, key, pkcs7.SignerInfoConfig{}))
	message.Detach()
	signature, err := message.Finish()
	require.NoError(tb, err)
	return certificate, base64.StdEncoding.EncodeToString(signature)
}

func TestVerifySignature(t *testing.T) {
	t.Parallel()
	body := sent(t, "idle")
	for name, key := range map[string]crypto.Signer{
		"RSA":   must(rsa.GenerateKey(rand.Reader, 2048)),
		"ECDSA": must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader)),
	} {
		for _, body := range [][]byte{body, {}, nil} {
			certificate, header := signed(t, key, body)
			got, err := mdmcmd.VerifySignature(header, body)
			require.NoError(t, err, name)
			require.Equal(t, certificate.Raw, got.Raw)

			for _, other := range [][]byte{append([]byte(" "), body...), append(body[:len(body):len(body)], '\n'), sent(t, "not-now")} {
				got, err = mdmcmd.VerifySignature(header, other)
				require.ErrorContains(t, err, "mdmcmd: signature: cms: signature is not over this content")
				require.Nil(t, got)
			}
		}
	}
}

func TestVerifySignatureRefusesHeaders(t *testing.T) {
	t.Parallel()
	body := sent(t, "idle")
	_, header := signed(t, must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader)), body)
	const notBase64 = "mdmcmd: signature: the header is not Base64"
	for _, test := range []struct{ name, header, want string }{
		{"empty", "", "mdmcmd: signature: cms: malformed message"},
		{"line breaks only", "\r\n", "mdmcmd: signature: cms: malformed message"},
		{"space", " ", notBase64},
		{"space before", " " + header, notBase64},
		{"space after", header + " ", notBase64},
		{"space inside", header[:40] + " " + header[40:], notBase64},
		{"tab", header + "\t", notBase64},
		{"not Base64", code, notBase64},
		{"URL alphabet", "-_-_", notBase64},
		{"no padding", "MIA", notBase64},
		{"two values", header + "," + header, notBase64},
		{"cut", header[:len(header)/8*4], "mdmcmd: signature: cms: malformed message"},
		{"not a signature", base64.StdEncoding.EncodeToString([]byte(code)), "mdmcmd: signature: cms: "},
		{"64 KiB", base64.StdEncoding.EncodeToString(make([]byte, 64<<10)), "mdmcmd: signature: cms: malformed message"},
		{"more", base64.StdEncoding.EncodeToString(make([]byte, 64<<10+3)), "mdmcmd: signature: cms: message larger than 64 KiB"},
		{"much more", strings.Repeat(" ", 10<<20), "mdmcmd: signature: cms: message larger than 64 KiB"},
	} {
		certificate, err := mdmcmd.VerifySignature(test.header, body)
		require.ErrorContains(t, err, test.want, test.name)
		require.NotContains(t, err.Error(), code[:5])
		require.Nil(t, certificate, test.name)
	}
	// Base64 in lines is still the same signature.
	_, err := mdmcmd.VerifySignature(header[:64]+"\r\n"+header[64:]+"\n", body)
	require.NoError(t, err)
}

func TestVerifySignatureOfDevices(t *testing.T) {
	t.Parallel()
	folder := reference.Path(t, "fixtures", "mdm-signature")
	body := readFile(t, folder, "body2.plist")
	header := func(name string) string { return strings.TrimSpace(string(readFile(t, folder, name))) }

	certificate, err := mdmcmd.VerifySignature(header("header2.b64"), body)
	require.NoError(t, err)
	require.Equal(t, x509.RSA, certificate.PublicKeyAlgorithm)
	require.Equal(t, mdmcmd.Idle, parseReport(t, body).Status)

	for _, other := range [][]byte{nil, body[1:], append(body[:len(body):len(body)], '\n'), []byte(strings.ReplaceAll(string(body), "\t", "  "))} {
		_, err = mdmcmd.VerifySignature(header("header2.b64"), other)
		require.Error(t, err)
	}
	_, err = mdmcmd.VerifySignature(header("header1.b64"), body)
	require.ErrorContains(t, err, "signature is not over this content")
}
