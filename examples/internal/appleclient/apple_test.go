package appleclient_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"math/big"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/activationlock/sdk/activationlock/activationlocktest"
	"github.com/activationlock/sdk/activationlock/apple"
	"github.com/activationlock/sdk/bypasscode"
	"github.com/activationlock/sdk/examples/internal/appleclient"
)

const serial = "XXFAKE0SER1"

// simulation is an Apple that listens and knows a phone.
type simulation struct {
	*activationlocktest.Apple
	server *activationlocktest.Server
	push   *tls.Certificate // that its unlock service accepts
}

func simulate(t *testing.T, config activationlocktest.AppleConfig) *simulation {
	t.Helper()
	s := &simulation{Apple: activationlocktest.NewApple(config)}
	for _, number := range []string{serial, "XXFAKE0SER2", "XXFAKE0SER3"} {
		d, err := activationlocktest.NewDevice(activationlocktest.DeviceConfig{SerialNumber: number, Supervised: true, ADE: true})
		require.NoError(t, err)
		require.NoError(t, s.Add(d, true))
	}
	var err error
	s.server, err = s.Start()
	require.NoError(t, err)
	t.Cleanup(s.server.Close)
	s.push, err = s.server.Client().Transport.(*http.Transport).TLSClientConfig.GetClientCertificate(nil)
	require.NoError(t, err)
	return s
}

// transport is the real one, but for where it connects to and whom it trusts.
func (s *simulation) transport(certificate *tls.Certificate) *http.Transport {
	local := s.server.ClientWith(nil).Transport.(*http.Transport)
	transport := appleclient.Transport(certificate)
	transport.Proxy, transport.DialContext, transport.TLSClientConfig.RootCAs = nil, local.DialContext, local.TLSClientConfig.RootCAs
	return transport
}

// calls are the requests since the last call of calls, such as "GET /session 200".
func (s *simulation) calls(since *int) (list []string) {
	for _, r := range s.Requests()[*since:] {
		list = append(list, r.Method+" "+r.Path+" "+http.StatusText(r.Status))
	}
	*since += len(list)
	return list
}

func lockRequest(t *testing.T, serial string) (*http.Request, bypasscode.Code) {
	t.Helper()
	code := bypasscode.New()
	hash, err := code.Hash()
	require.NoError(t, err)
	req, err := apple.LockRequest(apple.Lock{SerialNumber: serial, Hash: hash, LostMessage: "Call 555-0100."})
	require.NoError(t, err)
	return req, code
}

func unlockRequest(t *testing.T, code bypasscode.Code) *http.Request {
	t.Helper()
	req, err := apple.UnlockRequest(apple.Unlock{
		SerialNumber: serial, ProductType: "iPhone17,3", Code: code.Text(), Organization: "Example School", RequestedBy: "anna@example.com",
	})
	require.NoError(t, err)
	return req
}

// roundTrip is a transport of a test.
type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }

func respond(req *http.Request, status int, body string, header ...string) (*http.Response, error) {
	resp := &http.Response{
		StatusCode: status, Status: http.StatusText(status), Header: http.Header{}, Body: io.NopCloser(strings.NewReader(body)), Request: req,
	}
	for i := 0; i < len(header); i += 2 {
		resp.Header.Set(header[i], header[i+1])
	}
	return resp, nil
}

// certificate makes one that nobody vouches for, and its key, both in PEM.
func certificate(t *testing.T, until time.Time) (chain, key []byte) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "APSP:test"},
		NotBefore: until.Add(-365 * 24 * time.Hour), NotAfter: until,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	require.NoError(t, err)
	pkcs8, err := x509.MarshalPKCS8PrivateKey(private)
	require.NoError(t, err)
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8})
}

func TestUnlock(t *testing.T) {
	t.Parallel()
	s := simulate(t, activationlocktest.AppleConfig{})
	locked, code := lockRequest(t, serial)
	require.Equal(t, apple.Done, apple.ReadLock(appleclient.NewADE(serverToken, s.transport(nil)).Do(locked)).Outcome)

	chain, key := certificate(t, time.Now().Add(time.Hour))
	stranger, err := appleclient.PushCertificate(chain, string(key), time.Now())
	require.NoError(t, err)
	for name, wrong := range map[string]*tls.Certificate{"none": nil, "a stranger's": stranger} {
		answer := apple.ReadUnlock(appleclient.Client(s.transport(wrong)).Do(unlockRequest(t, code)))
		require.Equal(t, apple.Refused, answer.Outcome, name)
		require.Error(t, answer.Err, name)
		require.NotContains(t, answer.Err.Error(), code.Reveal())
	}
	require.Empty(t, s.CodesTried(serial))
	answer := apple.ReadUnlock(appleclient.Client(s.transport(s.push)).Do(unlockRequest(t, code)))
	require.Equal(t, apple.Done, answer.Outcome)
	require.Equal(t, activationlocktest.NotLocked, s.Lock(serial).Kind)
}

// A push certificate is for the unlock service alone.
func TestOneCertificatePerService(t *testing.T) {
	t.Parallel()
	require.Empty(t, appleclient.Transport(nil).TLSClientConfig.Certificates)
	require.NotSame(t, appleclient.Transport(nil), appleclient.Transport(nil))
	require.NotZero(t, appleclient.Client(nil).Timeout)
}

// No client follows a redirect, whoever asks for it.
func TestNoRedirects(t *testing.T) {
	t.Parallel()
	var hosts []string
	by := roundTrip(func(req *http.Request) (*http.Response, error) {
		hosts = append(hosts, req.URL.Host)
		return respond(req, http.StatusTemporaryRedirect, "", "Location", "https://thief.example/")
	})
	account := newAccount(t)
	axm, err := appleclient.NewAxM(account, by, nil)
	require.NoError(t, err)
	lock, code := lockRequest(t, serial)
	unlocked := apple.ReadUnlock(appleclient.Client(by).Do(unlockRequest(t, code)))
	require.Equal(t, apple.Refused, unlocked.Outcome)
	locked := apple.ReadLock(appleclient.NewADE(serverToken, by).Do(lock))
	require.Equal(t, apple.Refused, locked.Outcome)
	require.False(t, locked.MaybeLocked())
	status := apple.ReadStatus(axm.Do(statusRequest(t)))
	require.Equal(t, apple.NoAnswer, status.Outcome)
	require.Equal(t, []string{"deviceservices-external.apple.com", "mdmenrollment.apple.com", "account.apple.com"}, hosts)
}

func statusRequest(t *testing.T) *http.Request {
	t.Helper()
	req, err := apple.StatusRequest(apple.SchoolAPI, serial)
	require.NoError(t, err)
	return req
}

// body says whether it was closed.
type body struct {
	io.Reader
	closed bool
}

func (b *body) Close() error { b.closed = true; return nil }

func TestRoute(t *testing.T) {
	t.Parallel()
	to := func(name string) doer {
		return func(req *http.Request) (*http.Response, error) { return respond(req, http.StatusOK, name) }
	}
	route := appleclient.Route{Unlock: to("unlock"), Lock: to("lock"), Status: to("status"), StatusAPI: apple.SchoolAPI}
	ask := func(r appleclient.Route, address, host string) string {
		b := &body{Reader: strings.NewReader("secret")}
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, address, b)
		require.NoError(t, err)
		if host != "" {
			req.Host = host
		}
		resp, err := r.Do(req)
		if err != nil {
			require.ErrorIs(t, err, appleclient.ErrNowhere)
			require.Nil(t, resp)
			require.True(t, b.closed)
			return ""
		}
		name, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		return string(name)
	}
	require.Equal(t, "unlock", ask(route, apple.UnlockURL, ""))
	require.Equal(t, "lock", ask(route, apple.LockURL, ""))
	require.Equal(t, "status", ask(route, string(apple.SchoolAPI)+"/v1/orgDevices/X/activationLockStatus", ""))
	for _, elsewhere := range []string{
		"http://mdmenrollment.apple.com/device/activationlock",
		"https://mdmenrollment.apple.com:8443/device/activationlock",
		"https://mdmenrollment.apple.com.example/", "https://example.com/mdmenrollment.apple.com", "https://apple.com/",
		"https://mdmenrollment.apple.com@example.com/", string(apple.BusinessAPI), appleclient.TokenURL, "https:///", "/",
	} {
		require.Empty(t, ask(route, elsewhere, ""), elsewhere)
		require.Empty(t, ask(appleclient.Route{Status: to("status")}, elsewhere, ""), elsewhere)
	}
	require.Empty(t, ask(route, apple.LockURL, "example.com"))
	for _, address := range []string{apple.UnlockURL, apple.LockURL, string(apple.SchoolAPI)} {
		require.Empty(t, ask(appleclient.Route{StatusAPI: apple.SchoolAPI}, address, ""), "without credentials: %s", address)
	}
}

// doer is a client of a test.
type doer func(*http.Request) (*http.Response, error)

func (d doer) Do(req *http.Request) (*http.Response, error) { return d(req) }

// All three services by their real wiring, as an engine would use it.
func TestAllThree(t *testing.T) {
	t.Parallel()
	s := simulate(t, activationlocktest.AppleConfig{OneUseSessions: true, RequireCertificate: true})
	axm, err := appleclient.NewAxM(newAccount(t), s.transport(nil), nil)
	require.NoError(t, err)
	route := appleclient.Route{
		Unlock: appleclient.Client(s.transport(s.push)), Lock: appleclient.NewADE(serverToken, s.transport(nil)), Status: axm, StatusAPI: apple.SchoolAPI,
	}
	lock, code := lockRequest(t, serial)
	require.Equal(t, apple.Done, apple.ReadLock(route.Do(lock)).Outcome)
	status := apple.ReadStatus(route.Do(statusRequest(t)))
	require.Equal(t, apple.Done, status.Outcome)
	require.True(t, *status.Locked)
	require.Equal(t, apple.LockMDM, status.LockType)
	require.Equal(t, apple.Done, apple.ReadUnlock(route.Do(unlockRequest(t, code))).Outcome)
	status = apple.ReadStatus(route.Do(statusRequest(t)))
	require.False(t, *status.Locked)
}
