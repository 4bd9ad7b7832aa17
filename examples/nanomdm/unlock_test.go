package main

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// pushCertificate makes a push certificate and its key, as a PEM file.
func pushCertificate(t *testing.T, number int64) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(number), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		Subject: pkix.Name{ExtraNames: []pkix.AttributeTypeAndValue{{Type: asn1.ObjectIdentifier{0, 9, 2342, 19200300, 100, 1, 1}, Value: topic}}},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	require.NoError(t, err)
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	require.NoError(t, err)
	var file bytes.Buffer
	require.NoError(t, pem.Encode(&file, &pem.Block{Type: "CERTIFICATE", Bytes: der}))
	require.NoError(t, pem.Encode(&file, &pem.Block{Type: "PRIVATE KEY", Bytes: secret}))
	return file.String()
}

// The push certificate that the API stored last is what Apple sees, and nobody
// else does.
func TestUnlockClient(t *testing.T) {
	t.Parallel()
	var shown []int64
	redirect := false
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		shown = append(shown, r.TLS.PeerCertificates[0].SerialNumber.Int64())
		if redirect {
			http.Redirect(w, r, "https://"+unlockHost+"/elsewhere", http.StatusTemporaryRedirect)
		}
	}))
	server.TLS = &tls.Config{ClientAuth: tls.RequireAnyClientCert}
	server.StartTLS()
	t.Cleanup(server.Close)
	w := newWorld(t)
	w.outside.transport = &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: server.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs, ServerName: "example.com"},
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			var dialer net.Dialer
			return dialer.DialContext(ctx, network, server.Listener.Addr().String())
		},
	}
	w.start()
	send := func(url string) (*http.Response, error) {
		t.Helper()
		request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, strings.NewReader("escrowKey=example"))
		require.NoError(t, err)
		resp, err := w.unlock.Do(request)
		if err == nil {
			resp.Body.Close()
		}
		return resp, err
	}
	const apple = "https://" + unlockHost + "/deviceservicesworkers/escrowKeyUnlock"

	_, err := send(apple)
	require.ErrorContains(t, err, "no push certificate")
	for _, url := range []string{"https://example.com/", "http://" + unlockHost + "/", "https://" + unlockHost + ".example.com/"} {
		_, err := send(url)
		require.ErrorContains(t, err, "not a request to Apple's unlock service", url)
	}
	require.Empty(t, shown)

	for number := range int64(2) { // a renewed certificate is used at once
		status, body := w.call(http.MethodPut, "/v1/pushcert", pushCertificate(t, number+1))
		require.Equal(t, http.StatusOK, status, body)
		require.Contains(t, body, topic)
		resp, err := send(apple)
		require.NoError(t, err)
		require.Equal(t, http.StatusOK, resp.StatusCode)
	}
	require.Equal(t, []int64{1, 2}, shown)

	redirect = true
	resp, err := send(apple)
	require.NoError(t, err)
	require.Equal(t, http.StatusTemporaryRedirect, resp.StatusCode)
	require.Len(t, shown, 3, "the code goes nowhere else")
}
