package appleclient_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/activationlock/sdk/activationlock/apple"
	"github.com/activationlock/sdk/bypasscode"
	"github.com/activationlock/sdk/examples/internal/appleclient"
)

func TestPushCertificate(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, time.November, 30, 12, 0, 0, 0, time.UTC)
	chain, key := certificate(t, now)
	_, other := certificate(t, now)
	pair, err := appleclient.PushCertificate(chain, string(key), now)
	require.NoError(t, err)
	require.Equal(t, "APSP:test", pair.Leaf.Subject.CommonName)
	for _, test := range []struct {
		chain, key []byte
		now        time.Time
		want       string
	}{
		{chain, key, now.Add(time.Second), "the certificate expired on 2026-11-30; Apple would refuse it"},
		{chain, other, now, "private key does not match public key"},
		{nil, key, now, "failed to find any PEM data in certificate input"},
		{chain, nil, now, "failed to find any PEM data in key input"},
		{key, key, now, "failed to find"},
		{chain, []byte("-----BEGIN ENCRYPTED PRIVATE KEY-----\naHVzaA==\n-----END ENCRYPTED PRIVATE KEY-----\n"), now, "the key is encrypted; what decrypts it: openssl pkey"},
		{chain, []byte("-----BEGIN RSA PRIVATE KEY-----\nDEK-Info: AES-256-CBC,00\n\naHVzaA==\n-----END RSA PRIVATE KEY-----\n"), now, "the key is encrypted; what decrypts it: openssl pkey"},
	} {
		_, err := appleclient.PushCertificate(test.chain, string(test.key), test.now)
		require.ErrorContains(t, err, test.want)
		require.NotContains(t, err.Error(), "aHVzaA")
	}
}

func TestParseServerToken(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, time.November, 30, 12, 0, 0, 0, time.UTC)
	content, err := json.Marshal(serverToken)
	require.NoError(t, err)
	for _, good := range []string{
		string(content),
		"Content-Type: text/plain;charset=UTF-8\r\n\r\n-----BEGIN MESSAGE-----\r\n" + string(content) + "\r\n-----END MESSAGE-----\r\n",
		`{"consumer_key": "CK_example", "consumer_secret": "CS_hush-consumer", "access_token": "AT_example", "access_secret": "AS_hush-access", "access_token_expiry": "2026-11-30T12:00:00Z"}`,
	} {
		token, err := appleclient.ParseServerToken(good, now)
		require.NoError(t, err)
		require.Equal(t, serverToken.AccessSecret, token.AccessSecret)
		require.Equal(t, serverToken.ConsumerSecret, token.ConsumerSecret)
	}
	for _, bad := range []string{
		"", "{", "}{", "hush", `{"consumer_key": "hush"}`, `{"consumer_key": 1}`, `{"access_token_expiry": "hush"}`,
		"Content-Type: application/pkcs7-mime\n\nMIIhush",
	} {
		_, err := appleclient.ParseServerToken(bad, now)
		require.ErrorContains(t, err, "want JSON with consumer_key, consumer_secret, access_token and access_secret; the file of the portal is encrypted")
		require.NotContains(t, err.Error(), "hush")
	}
	expired := *serverToken
	expired.AccessTokenExpiry = now.Add(-time.Second)
	content, err = json.Marshal(expired)
	require.NoError(t, err)
	_, err = appleclient.ParseServerToken(string(content), now)
	require.EqualError(t, err, "the server token expired on 2026-11-30; the portal gives a new one")
}

func TestParseAccountKey(t *testing.T) {
	t.Parallel()
	key := newAccount(t).Key
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	require.NoError(t, err)
	sec1, err := x509.MarshalECPrivateKey(key)
	require.NoError(t, err)
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	require.NoError(t, err)
	other, err := x509.MarshalPKCS8PrivateKey(p384)
	require.NoError(t, err)
	write := func(kind string, der []byte) string {
		return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
	}
	for _, good := range []string{
		write("PRIVATE KEY", pkcs8), write("EC PRIVATE KEY", sec1), write("EC PARAMETERS", []byte{6, 0}) + write("EC PRIVATE KEY", sec1),
	} {
		read, err := appleclient.ParseAccountKey(good)
		require.NoError(t, err)
		require.True(t, key.Equal(read))
	}
	for _, bad := range []string{"", "hush", write("PRIVATE KEY", other), write("PRIVATE KEY", []byte("hush")), string(pkcs8)} {
		_, err := appleclient.ParseAccountKey(bad)
		require.EqualError(t, err, "want the private key of an API account as the portal gives it: PEM, on the curve P-256")
	}
	_, err = appleclient.ParseAccountKey(write("ENCRYPTED PRIVATE KEY", []byte("hush")))
	require.ErrorContains(t, err, "the key is encrypted")
}

// Nothing that is printed, logged or returned has a secret in it, whatever goes
// wrong.
func TestSecrets(t *testing.T) {
	t.Parallel()
	account := newAccount(t)
	d, err := account.Key.Bytes()
	require.NoError(t, err)
	var said bytes.Buffer
	say := func(what any) {
		fmt.Fprintf(&said, "%v %+v %#v %s %q\n", what, what, what, what, what)
		slog.New(slog.NewTextHandler(&said, nil)).Info("a client", "client", what)
		slog.New(slog.NewJSONHandler(&said, nil)).Info("a client", "client", what)
	}
	code := bypasscode.New()
	var hashes []string
	for _, fail := range []string{"", "/session", "/device/activationlock", "/auth/oauth2/token", "/v1/orgDevices/" + serial + "/activationLockStatus", "unlock"} {
		by := roundTrip(func(req *http.Request) (*http.Response, error) {
			switch {
			case fail != "" && (req.URL.Path == fail || fail == "unlock"):
				return nil, errors.New("the line is cut")
			case req.URL.Path == "/session":
				return respond(req, http.StatusOK, `{"auth_session_token": "hush-session"}`, apple.SessionHeader, "hush-session-2")
			case req.URL.Path == "/auth/oauth2/token":
				return respond(req, http.StatusOK, `{"access_token": "hush-token", "token_type": "Bearer", "expires_in": 3600}`)
			}
			if req.Method == http.MethodPost && req.URL.Path == "/device/activationlock" {
				return respond(req, http.StatusBadRequest, "what?", apple.SessionHeader, "hush-session-3")
			}
			return respond(req, http.StatusBadRequest, "what?")
		})
		axm, err := appleclient.NewAxM(account, by, nil)
		require.NoError(t, err)
		ade, push := appleclient.NewADE(serverToken, by), appleclient.Client(by)
		route := appleclient.Route{Unlock: push, Lock: ade, Status: axm, StatusAPI: apple.SchoolAPI}
		lock, server := lockRequest(t, serial)
		hash, err := server.Hash()
		require.NoError(t, err)
		hashes = append(hashes, hash.String(), server.Reveal())
		for _, req := range []*http.Request{lock, statusRequest(t), unlockRequest(t, code)} {
			resp, err := route.Do(req)
			if resp != nil {
				say(resp.Request.Header)
				say(resp.Header)
			}
			say(err)
			say(req)
		}
		say(axm)
		say(ade)
		say(route)
		say(&route)
	}
	chain, key := certificate(t, time.Now().Add(time.Hour))
	pair, err := appleclient.PushCertificate(chain, string(key), time.Now())
	require.NoError(t, err)
	say(appleclient.Client(appleclient.Transport(pair)))
	keyDER, err := x509.MarshalPKCS8PrivateKey(pair.PrivateKey)
	require.NoError(t, err)
	for name, secret := range map[string]string{
		"a session or token": "hush", "an assertion": "eyJ", "the key": fmt.Sprint(d), "the key in hex": fmt.Sprintf("%x", d), "the push key": fmt.Sprint(keyDER),
		"the code": code.Reveal(),
	} {
		require.False(t, strings.Contains(said.String(), secret), name)
	}
	for _, hash := range hashes {
		require.False(t, strings.Contains(said.String(), hash), "a hash or its code")
	}
	require.Contains(t, said.String(), "the line is cut")
}
