package apple_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/activationlock/sdk/activationlock/apple"
	"github.com/activationlock/sdk/bypasscode"
)

const code = "J4DNT-6VT2Y-3LD8-1VV7-AT3U-LW17"

func full() apple.Unlock {
	return apple.Unlock{
		SerialNumber: "XXFAKE0SER1", ProductType: "iPhone17,3",
		IMEI: "350000000000019", IMEI2: "350000000000027", MEID: "35000000000001",
		Code: bypasscode.NewText(code), Organization: "Example School", RequestedBy: "jane.admin@example.org",
	}
}

// unlock makes the request for u and ends when the test does.
func unlock(t *testing.T, u apple.Unlock) *http.Request {
	t.Helper()
	req, err := apple.UnlockRequest(u)
	require.NoError(t, err)
	return req.WithContext(t.Context())
}

func TestUnlockRequest(t *testing.T) {
	t.Parallel()
	req := unlock(t, full())
	require.Equal(t, "POST", req.Method)
	require.Equal(t, "https://deviceservices-external.apple.com/deviceservicesworkers/escrowKeyUnlock"+
		"?imei=350000000000019&imei2=350000000000027&meid=35000000000001&productType=iPhone17%2C3&serial=XXFAKE0SER1", req.URL.String())
	require.Equal(t, "deviceservices-external.apple.com", req.Host)
	require.Equal(t, http.Header{"Content-Type": {"application/x-www-form-urlencoded"}}, req.Header)
	require.Empty(t, req.TransferEncoding)

	const form = "escrowKey=J4DNT-6VT2Y-3LD8-1VV7-AT3U-LW17&guid=jane.admin%40example.org&orgName=Example+School"
	require.EqualValues(t, len(form), req.ContentLength)
	body, err := io.ReadAll(req.Body)
	require.NoError(t, err)
	require.NoError(t, req.Body.Close())
	require.Equal(t, form, string(body))
	require.Nil(t, req.GetBody, "nobody sends the code a second time")
}

// What a device does not have is left out, never sent empty.
func TestUnlockRequestLeavesOut(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name string
		of   func(*apple.Unlock)
		want url.Values
	}{
		{"no cellular", func(u *apple.Unlock) { u.IMEI, u.IMEI2, u.MEID = "", "", "" }, url.Values{}},
		{"one SIM", func(u *apple.Unlock) { u.IMEI2 = "" }, url.Values{"imei": {"350000000000019"}, "meid": {"35000000000001"}}},
		{"no MEID", func(u *apple.Unlock) { u.MEID = "" }, url.Values{"imei": {"350000000000019"}, "imei2": {"350000000000027"}}},
		{"slot two only", func(u *apple.Unlock) { u.IMEI, u.MEID = "", "" }, url.Values{"imei2": {"350000000000027"}}},
	} {
		u := full()
		test.of(&u)
		test.want.Set("serial", "XXFAKE0SER1")
		test.want.Set("productType", "iPhone17,3")
		query, err := url.ParseQuery(unlock(t, u).URL.RawQuery)
		require.NoError(t, err)
		require.Equal(t, test.want, query, test.name)
	}
}

// Whatever a device reported goes out byte for byte, and nothing in one value
// can become another parameter.
func TestUnlockRequestEncodesOnce(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		code, strings.ToLower(code), strings.ReplaceAll(code, "-", ""), "  " + code + "\n", "%2D", "a+b c", "&guid=x&escrowKey=y",
		"=;#?/\\\"'", "é \u2010 \U0001F511", "\xff\xfe\x00", "31BBB-OOOOO",
	} {
		u := full()
		u.Code = bypasscode.NewText(text)
		u.SerialNumber, u.ProductType, u.MEID = "&imei="+text, "Mac14,2&"+text, text
		u.Organization, u.RequestedBy = "Écol & Co=1; "+text, "%41+"+text
		req := unlock(t, u)
		query, err := url.ParseQuery(req.URL.RawQuery)
		require.NoError(t, err)
		require.Equal(t, url.Values{
			"serial": {u.SerialNumber}, "productType": {u.ProductType}, "imei": {u.IMEI}, "imei2": {u.IMEI2}, "meid": {u.MEID},
		}, query)
		body, err := io.ReadAll(req.Body)
		require.NoError(t, err)
		require.EqualValues(t, len(body), req.ContentLength)
		form, err := url.ParseQuery(string(body))
		require.NoError(t, err)
		require.Equal(t, url.Values{"escrowKey": {text}, "orgName": {u.Organization}, "guid": {u.RequestedBy}}, form)
		require.Empty(t, req.URL.Fragment)
		require.Equal(t, "/deviceservicesworkers/escrowKeyUnlock", req.URL.Path)
	}
	require.Contains(t, unlock(t, full()).URL.RawQuery, "productType=iPhone17%2C3&")
}

func TestUnlockRequestRefuses(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		of   func(*apple.Unlock)
		want string
	}{
		{func(u *apple.Unlock) { u.SerialNumber = "" }, "apple: unlock request: no serial number"},
		{func(u *apple.Unlock) { u.ProductType = "" }, "apple: unlock request: no product type"},
		{func(u *apple.Unlock) { u.Code = bypasscode.Text{} }, "apple: unlock request: no code"},
		{func(u *apple.Unlock) { u.Organization = "" }, "apple: unlock request: no organization"},
		{func(u *apple.Unlock) { u.RequestedBy = "" }, "apple: unlock request: no requester"},
		{func(u *apple.Unlock) { *u = apple.Unlock{} }, "apple: unlock request: no serial number"},
		{func(u *apple.Unlock) { u.IMEI = "35 000000 000001 9" }, "apple: unlock request: an IMEI has digits only"},
		{func(u *apple.Unlock) { u.IMEI2 = "35-000000" }, "apple: unlock request: an IMEI has digits only"},
		{func(u *apple.Unlock) { u.IMEI = "350000000000019\n" }, "apple: unlock request: an IMEI has digits only"},
		{func(u *apple.Unlock) { u.IMEI = " " }, "apple: unlock request: an IMEI has digits only"},
		{func(u *apple.Unlock) { u.IMEI = "1x2" }, "apple: unlock request: an IMEI has digits only"},
		{func(u *apple.Unlock) { u.IMEI = code }, "apple: unlock request: an IMEI has digits only"},
		{func(u *apple.Unlock) { u.IMEI2 = "\uff13\uff15" }, "apple: unlock request: an IMEI has digits only"},
	} {
		u := full()
		test.of(&u)
		req, err := apple.UnlockRequest(u)
		require.EqualError(t, err, test.want) // so no value is in it
		require.Nil(t, req)
	}
}

// fake is a testing.T that keeps what it is told.
type fake struct{ bytes.Buffer }

func (f *fake) Errorf(format string, args ...any) { fmt.Fprintf(&f.Buffer, format, args...) }

func TestPrintingARequestShowsNoCode(t *testing.T) {
	t.Parallel()
	u := full()
	req := unlock(t, u)
	half := unlock(t, u)
	_, err := half.Body.Read(make([]byte, 4))
	require.NoError(t, err)
	raw, err := u.Code.Code()
	require.NoError(t, err)
	bits := raw.RevealBytes()
	secrets := []string{
		code, strings.ReplaceAll(code, "-", ""), hex.EncodeToString([]byte(code)), fmt.Sprintf("%d", []byte(code)),
		hex.EncodeToString(bits[:]), base64.StdEncoding.EncodeToString([]byte(code)),
		strings.Trim(fmt.Sprintf("%#v", []byte(code)), "[]byte{}"),
	}
	check := func(out, how string) {
		t.Helper()
		require.NotEmpty(t, out, how)
		for _, secret := range secrets {
			for _, part := range []string{secret, secret[:len(secret)/2], secret[len(secret)/2:]} {
				require.NotContains(t, strings.ToLower(out), strings.ToLower(part), how)
			}
		}
	}
	for name, v := range map[string]any{
		"the unlock": u, "pointer to the unlock": &u, "the request": req, "the request by value": *req, "clone": req.Clone(t.Context()),
		"body": req.Body, "read in part": half, "list": []any{u, req},
	} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "% x", "%d", "%b", "%c", "%U", "%t", "%p", "%T"} {
			check(fmt.Sprintf(verb, v), name+" with "+verb)
		}
		var out bytes.Buffer
		slog.New(slog.NewTextHandler(&out, nil)).Info("m", "v", v)
		slog.New(slog.NewJSONHandler(&out, nil)).Info("m", "v", v)
		log.New(&out, "", 0).Println(v)
		check(out.String(), name+" logged")

		var diff fake
		require.False(t, assert.Equal(&diff, v, "other"))
		require.False(t, assert.Equal(&diff, 1, v))
		require.False(t, assert.Nil(&diff, v))
		check(diff.String(), name+" in a test diff")
	}
	body, err := io.ReadAll(req.Body)
	require.NoError(t, err)
	require.Contains(t, string(body), code, "it was in there all the time")
}

func TestReadUnlockOutcomes(t *testing.T) {
	t.Parallel()
	for status, want := range map[int]apple.Outcome{
		200: apple.Done,
		201: apple.Failed, 202: apple.Failed, 204: apple.Failed, 206: apple.Failed,
		301: apple.Refused, 302: apple.Refused, 303: apple.Refused, 304: apple.Refused,
		307: apple.Refused, 308: apple.Refused,
		400: apple.Malformed,
		401: apple.Refused, 403: apple.Refused,
		404: apple.NotFound,
		405: apple.Refused, 408: apple.Refused, 409: apple.Refused, 410: apple.Refused, 418: apple.Refused,
		429: apple.Later,
		500: apple.Later, 501: apple.Later, 502: apple.Later, 503: apple.Later, 504: apple.Later, 599: apple.Later,
		0: apple.Refused, 100: apple.Refused,
	} {
		body := &watched{Reader: strings.NewReader("escrow key mismatch")}
		got := apple.ReadUnlock(&http.Response{StatusCode: status, Body: body}, nil)
		require.Equal(t, apple.Answer{Outcome: want, StatusCode: status, Detail: "escrow key mismatch"}, got)
		require.True(t, body.closed)
	}
	require.Equal(t, apple.Answer{Outcome: apple.NoAnswer}, apple.ReadUnlock(nil, nil))
	broken := errors.New("broken")
	require.Equal(t, apple.Answer{Outcome: apple.NoAnswer, Err: broken}, apple.ReadUnlock(nil, broken))
	require.Equal(t, apple.Answer{Outcome: apple.Done, StatusCode: 200}, apple.ReadUnlock(&http.Response{StatusCode: 200}, nil))
	// An error counts for more than what came with it.
	require.Equal(t, apple.Answer{Outcome: apple.NoAnswer, Err: broken}, apple.ReadUnlock(&http.Response{StatusCode: 200, Body: http.NoBody}, broken))
}

// watched counts what is read of a body.
type watched struct {
	io.Reader
	read   int
	closed bool
}

func (w *watched) Read(p []byte) (int, error) {
	n, err := w.Reader.Read(p)
	w.read += n
	return n, err
}

func (w *watched) Close() error { w.closed = true; return nil }

type endless string

func (e endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = e[i%len(e)]
	}
	return len(p), nil
}

type breaksOff struct{}

func (breaksOff) Read([]byte) (int, error) { return 0, errors.New("broke off") }

func TestReadUnlockBoundsTheBody(t *testing.T) {
	t.Parallel()
	body := &watched{Reader: io.LimitReader(endless("no! "), 1<<20)} // endless enough
	got := apple.ReadUnlock(&http.Response{StatusCode: 404, Body: body}, nil)
	require.Equal(t, apple.NotFound, got.Outcome)
	require.LessOrEqual(t, body.read, 1024)
	require.LessOrEqual(t, len(got.Detail), 512)
	require.Greater(t, len(got.Detail), 400)
	require.True(t, body.closed)

	for status, want := range map[int]apple.Outcome{200: apple.Done, 404: apple.NotFound, 500: apple.Later} {
		body = &watched{Reader: io.MultiReader(strings.NewReader("the begin"), breaksOff{})}
		got = apple.ReadUnlock(&http.Response{StatusCode: status, Body: body}, nil)
		require.Equal(t, apple.Answer{Outcome: want, StatusCode: status, Detail: "the begin"}, got)
		require.True(t, body.closed)
	}
}

// authority signs certificates.
type authority struct {
	t    *testing.T
	key  *ecdsa.PrivateKey
	cert *x509.Certificate
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	a := &authority{t: t, key: key}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "authority"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	require.NoError(t, err)
	a.cert, err = x509.ParseCertificate(der)
	require.NoError(t, err)
	return a
}

// issue makes a push certificate.
func (a *authority) issue() *tls.Certificate {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(a.t, err)
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "APSP:example"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}, a.cert, key.Public(), a.key)
	require.NoError(a.t, err)
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// patientListener's connections wait, on being closed, for the other side to
// close. Else the reset of a connection with unread bytes may overtake the TLS
// alert that says why.
type patientListener struct{ net.Listener }

func (l patientListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &patientConn{Conn: c}, nil
}

type patientConn struct {
	net.Conn
	once sync.Once
}

func (c *patientConn) Close() (err error) {
	c.once.Do(func() {
		c.Conn.(*net.TCPConn).CloseWrite()
		io.Copy(io.Discard, c.Conn)
		err = c.Conn.Close()
	})
	return err
}

// service plays Apple's: it demands a client certificate of an authority.
func service(t *testing.T, clients *authority, handler http.HandlerFunc, of ...func(*httptest.Server)) *httptest.Server {
	t.Helper()
	s := httptest.NewUnstartedServer(handler)
	s.Listener = patientListener{s.Listener}
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.TLS = &tls.Config{ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: x509.NewCertPool()}
	s.TLS.ClientCAs.AddCert(clients.cert)
	for _, f := range of {
		f(s)
	}
	s.StartTLS()
	t.Cleanup(s.Close)
	return s
}

// client is the host's: it reaches the service under Apple's name.
func client(t *testing.T, s *httptest.Server, push *tls.Certificate) *http.Client {
	t.Helper()
	config := &tls.Config{RootCAs: x509.NewCertPool(), ServerName: "example.com"} // the name that httptest has a certificate for
	if s.Certificate() != nil {
		config.RootCAs.AddCert(s.Certificate())
	}
	if push != nil {
		config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return push, nil }
	}
	transport := &http.Transport{
		TLSClientConfig:   config,
		ForceAttemptHTTP2: true,
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			require.Contains(t, []string{"deviceservices-external.apple.com:443", "mdmenrollment.apple.com:443", "api-school.apple.com:443"}, address)
			var d net.Dialer
			return d.DialContext(ctx, network, s.Listener.Addr().String())
		},
	}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}

// writesFirst makes the client read the answer only when it wrote the request.
// With TLS 1.3 the server's alert comes after the handshake, and net/http, by a
// race of its own, can lose it to a request that it is about to write.
func writesFirst(req *http.Request, c *http.Client) *http.Request {
	conn := &gatedConn{wrote: make(chan struct{})}
	transport := c.Transport.(*http.Transport)
	dial := transport.DialContext
	transport.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		var err error
		conn.Conn, err = dial(ctx, network, address)
		return conn, err
	}
	wrote := sync.OnceFunc(func() { close(conn.wrote) })
	return req.WithContext(httptrace.WithClientTrace(req.Context(), &httptrace.ClientTrace{
		TLSHandshakeDone: func(tls.ConnectionState, error) { conn.gated.Store(true) },
		WroteRequest:     func(httptrace.WroteRequestInfo) { wrote() },
	}))
}

type gatedConn struct {
	net.Conn
	gated atomic.Bool
	wrote chan struct{}
}

func (c *gatedConn) Read(p []byte) (int, error) {
	if c.gated.Load() {
		<-c.wrote
	}
	return c.Conn.Read(p)
}

type protocol struct {
	name  string
	tls   uint16
	http2 bool
}

func (p protocol) set(s *httptest.Server) {
	s.TLS.MinVersion, s.TLS.MaxVersion = p.tls, p.tls
	s.EnableHTTP2 = p.http2
}

var protocols = []protocol{
	{"TLS 1.2", tls.VersionTLS12, false}, {"TLS 1.2, HTTP 2", tls.VersionTLS12, true},
	{"TLS 1.3", tls.VersionTLS13, false}, {"TLS 1.3, HTTP 2", tls.VersionTLS13, true},
}

func TestUnlockOverTheNetwork(t *testing.T) {
	t.Parallel()
	for _, p := range protocols {
		t.Run(p.name, func(t *testing.T) {
			t.Parallel()
			clients := newAuthority(t)
			push := clients.issue()
			s := service(t, clients, func(w http.ResponseWriter, r *http.Request) {
				body, err := io.ReadAll(r.Body)
				assert.NoError(t, err)
				assert.Equal(t, push.Certificate[0], r.TLS.PeerCertificates[0].Raw)
				assert.Equal(t, p.tls, r.TLS.Version)
				assert.Equal(t, p.http2, r.ProtoMajor == 2)
				assert.Equal(t, "POST", r.Method)
				assert.Equal(t, "deviceservices-external.apple.com", r.Host)
				assert.Equal(t, "/deviceservicesworkers/escrowKeyUnlock?imei=350000000000019&imei2=350000000000027&meid=35000000000001&productType=iPhone17%2C3&serial=XXFAKE0SER1", r.RequestURI)
				assert.Equal(t, "application/x-www-form-urlencoded", r.Header.Get("Content-Type"))
				assert.Equal(t, "escrowKey=J4DNT-6VT2Y-3LD8-1VV7-AT3U-LW17&guid=jane.admin%40example.org&orgName=Example+School", string(body))
				assert.EqualValues(t, len(body), r.ContentLength)
				assert.Empty(t, r.TransferEncoding)
				w.Header().Set("Retry-After", "7")
				w.WriteHeader(http.StatusServiceUnavailable)
				io.WriteString(w, "not now\n")
			}, p.set)
			c := client(t, s, push)
			for range 2 {
				got := apple.ReadUnlock(c.Do(unlock(t, full())))
				require.Equal(t, apple.Answer{Outcome: apple.Later, StatusCode: 503, RetryAfter: 7 * time.Second, Detail: "not now"}, got)
			}
		})
	}
}

// No answer has a code in it: neither in its error nor when printed.
func requireNoCode(t *testing.T, got apple.Answer) {
	t.Helper()
	require.NotContains(t, fmt.Sprintf("%+v %#v", got, got), code)
	if got.Err != nil {
		require.NotContains(t, fmt.Sprintf("%v %+v %#v", got.Err, got.Err, got.Err), code)
	}
}

func TestRefusedCertificates(t *testing.T) {
	t.Parallel()
	reached := func(t *testing.T) http.HandlerFunc {
		return func(http.ResponseWriter, *http.Request) { t.Error("the request got through") }
	}
	for _, p := range protocols {
		t.Run(p.name, func(t *testing.T) {
			t.Parallel()
			clients := newAuthority(t)
			s := service(t, clients, reached(t), p.set)
			for name, push := range map[string]*tls.Certificate{
				"none": nil, "of somebody else": newAuthority(t).issue(),
			} {
				c := client(t, s, push)
				got := apple.ReadUnlock(c.Do(writesFirst(unlock(t, full()), c)))
				require.Equal(t, apple.Refused, got.Outcome, "%s: %v", name, got.Err)
				require.Error(t, got.Err)
				require.Zero(t, got.StatusCode)
				requireNoCode(t, got)
			}

			// Nor is a server trusted that cannot be Apple.
			c := client(t, s, clients.issue())
			c.Transport.(*http.Transport).TLSClientConfig.RootCAs = x509.NewCertPool()
			got := apple.ReadUnlock(c.Do(unlock(t, full())))
			require.Equal(t, apple.Refused, got.Outcome, got.Err)
			requireNoCode(t, got)

			c = client(t, s, clients.issue())
			c.Transport.(*http.Transport).TLSClientConfig.ServerName = "" // so it must be Apple's
			got = apple.ReadUnlock(c.Do(unlock(t, full())))
			require.Equal(t, apple.Refused, got.Outcome, got.Err)
			requireNoCode(t, got)
		})
	}
}

// raw is a server that says one thing to whoever connects.
func raw(t *testing.T, says string) *httptest.Server {
	t.Helper()
	s := httptest.NewUnstartedServer(nil)
	t.Cleanup(func() { s.Listener.Close() })
	go func() {
		for {
			c, err := s.Listener.Accept()
			if err != nil {
				return
			}
			io.ReadFull(c, make([]byte, 5)) // of the hello
			io.WriteString(c, says)
			(&patientConn{Conn: c}).Close()
		}
	}()
	return s
}

func TestNotEvenTLS(t *testing.T) {
	t.Parallel()
	for says, want := range map[string]apple.Outcome{
		"HTTP/1.1 400 Bad Request\r\n\r\n": apple.Refused,
		"SSH-2.0-x\r\n":                    apple.Refused,
		"":                                 apple.NoAnswer,
	} {
		got := apple.ReadUnlock(client(t, raw(t, says), nil).Do(unlock(t, full())))
		require.Equal(t, want, got.Outcome, "%q: %v", says, got.Err)
		requireNoCode(t, got)
	}
}

func TestNoAnswer(t *testing.T) {
	t.Parallel()
	clients := newAuthority(t)
	push := clients.issue()

	t.Run("connection refused", func(t *testing.T) {
		t.Parallel()
		s := service(t, clients, nil)
		c := client(t, s, push)
		s.Close()
		got := apple.ReadUnlock(c.Do(unlock(t, full())))
		require.Equal(t, apple.NoAnswer, got.Outcome)
		require.Error(t, got.Err)
		requireNoCode(t, got)
	})
	t.Run("canceled before", func(t *testing.T) {
		t.Parallel()
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		got := apple.ReadUnlock(client(t, service(t, clients, nil), push).Do(unlock(t, full()).WithContext(ctx)))
		require.Equal(t, apple.NoAnswer, got.Outcome)
		require.ErrorIs(t, got.Err, context.Canceled)
		requireNoCode(t, got)
	})
	t.Run("deadline over", func(t *testing.T) {
		t.Parallel()
		ctx, cancel := context.WithDeadline(t.Context(), time.Unix(0, 0))
		defer cancel()
		got := apple.ReadUnlock(client(t, service(t, clients, nil), push).Do(unlock(t, full()).WithContext(ctx)))
		require.Equal(t, apple.NoAnswer, got.Outcome)
		require.ErrorIs(t, got.Err, context.DeadlineExceeded)
	})
	for _, p := range protocols {
		t.Run("given up while waiting, "+p.name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithCancel(t.Context())
			s := service(t, clients, func(_ http.ResponseWriter, r *http.Request) {
				io.Copy(io.Discard, r.Body)
				cancel()
				<-r.Context().Done()
			}, p.set)
			got := apple.ReadUnlock(client(t, s, push).Do(unlock(t, full()).WithContext(ctx)))
			require.Equal(t, apple.NoAnswer, got.Outcome)
			require.ErrorIs(t, got.Err, context.Canceled)
			requireNoCode(t, got)
		})
		t.Run("closed without a word, "+p.name, func(t *testing.T) {
			t.Parallel()
			s := service(t, clients, func(_ http.ResponseWriter, r *http.Request) {
				io.Copy(io.Discard, r.Body)
				panic(http.ErrAbortHandler)
			}, p.set)
			got := apple.ReadUnlock(client(t, s, push).Do(unlock(t, full())))
			require.Equal(t, apple.NoAnswer, got.Outcome, got.Err)
			require.Error(t, got.Err)
			requireNoCode(t, got)
		})
	}
}

// A client that follows redirects asks another page something else, without
// the code. Its 200 unlocked nothing, and its 404 speaks of the page.
func TestRedirects(t *testing.T) {
	t.Parallel()
	clients := newAuthority(t)
	push := clients.issue()
	for _, elsewhere := range []int{200, 404, 400, 500} {
		for _, redirect := range []int{301, 302, 303} {
			s := service(t, clients, func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path == "/elsewhere" {
					body, err := io.ReadAll(r.Body)
					assert.NoError(t, err)
					assert.Empty(t, body)
					w.WriteHeader(elsewhere)
					io.WriteString(w, "a page")
					return
				}
				http.Redirect(w, r, "/elsewhere", redirect)
			})
			c := client(t, s, push)
			got := apple.ReadUnlock(c.Do(unlock(t, full())))
			require.Equal(t, apple.Answer{Outcome: apple.Refused, StatusCode: elsewhere, Detail: "a page"}, got)

			c.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
			got = apple.ReadUnlock(c.Do(unlock(t, full())))
			require.Equal(t, apple.Answer{Outcome: apple.Refused, StatusCode: redirect}, got)

			never := errors.New("we follow nobody")
			c.CheckRedirect = func(*http.Request, []*http.Request) error { return never }
			got = apple.ReadUnlock(c.Do(unlock(t, full())))
			require.Equal(t, apple.Refused, got.Outcome)
			require.Equal(t, redirect, got.StatusCode)
			require.ErrorIs(t, got.Err, never)
			requireNoCode(t, got)
		}
	}
	// One that would keep the method does not get the code either.
	for _, redirect := range []int{307, 308} {
		s := service(t, clients, func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/elsewhere" {
				t.Error("followed")
			}
			http.Redirect(w, r, "/elsewhere", redirect)
		})
		got := apple.ReadUnlock(client(t, s, push).Do(unlock(t, full())))
		require.Equal(t, apple.Refused, got.Outcome)
		require.Equal(t, redirect, got.StatusCode)
	}
}
