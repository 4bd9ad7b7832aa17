package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/activationlock/sdk/examples/internal/operator"
)

// callWithin is how long one call to Apple may take, with its answer.
const callWithin = 50 * time.Second

// route is where calls to Apple go.
type route struct{ connect, ca string }

// route adds the flags that send calls elsewhere.
func (f *flags) route(to *route) {
	f.text(&to.connect, "connect", "for rehearsals: `HOST:PORT` to call in place of Apple, which gets what Apple would get, codes too; takes -ca")
	f.text(&to.ca, "ca", "for rehearsals: `FILE` with the certificate (PEM) that vouches for the host of -connect")
}

func (r route) check() error {
	if (r.connect == "") != (r.ca == "") {
		return usageError("-connect and -ca go together, for rehearsals")
	}
	if host, port, err := net.SplitHostPort(r.connect); r.connect != "" && (err != nil || host == "" || port == "") {
		return usageError("-connect wants a host and a port, such as 127.0.0.1:8443")
	}
	return nil
}

// client makes a client that calls Apple, with a client certificate unless it is
// nil. It follows no redirects, and says why a call has no answer.
func (c *console) client(r route, certificate *tls.Certificate) (*appleClient, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if certificate != nil {
		config.Certificates = []tls.Certificate{*certificate}
	}
	dialer := &net.Dialer{Timeout: callWithin / 2}
	transport := &http.Transport{
		Proxy: http.ProxyFromEnvironment, DialContext: dialer.DialContext, TLSClientConfig: config,
		TLSHandshakeTimeout: callWithin / 2,
	}
	if r.connect != "" {
		content, err := c.read(r.ca)
		if err != nil {
			return nil, fmt.Errorf("read -ca: %w", err)
		}
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(content) {
			return nil, errors.New("read -ca: it has no certificate (PEM)")
		}
		transport.Proxy = nil
		transport.DialContext = func(ctx context.Context, network, _ string) (net.Conn, error) {
			return dialer.DialContext(ctx, network, r.connect)
		}
		c.line("alctl: a rehearsal: -connect is called in place of Apple")
	}
	return &appleClient{c, &http.Client{
		Transport: transport, Timeout: callWithin,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}, nil
}

type appleClient struct {
	console *console
	client  *http.Client
}

func (a *appleClient) Do(req *http.Request) (*http.Response, error) {
	resp, err := a.client.Do(req)
	if err != nil && !errors.Is(err, context.Canceled) {
		why := err
		if e, ok := errors.AsType[*url.Error](err); ok { // which has the address
			why = e.Err
		}
		a.console.warn("no answer of Apple", errors.New(printable(why.Error())))
	}
	return resp, err
}

// readPushCertificate reads a client certificate and its key.
func (c *console) readPushCertificate(certificateFile, keyFile string) (*tls.Certificate, error) {
	content, err := c.read(certificateFile)
	if err != nil {
		return nil, fmt.Errorf("read -cert: %w", err)
	}
	key, err := operator.ReadPrivate(keyFile)
	if err != nil {
		return nil, fmt.Errorf("read -cert-key: %w", err)
	}
	if block, _ := pem.Decode([]byte(key)); block != nil && (block.Type == "ENCRYPTED PRIVATE KEY" || block.Headers["DEK-Info"] != "") {
		return nil, errors.New("read -cert-key: it is encrypted; what decrypts it: openssl pkey -in KEY -out DECRYPTED")
	}
	certificate, err := tls.X509KeyPair(content, []byte(key))
	if err != nil {
		return nil, fmt.Errorf("read -cert and -cert-key: %s", strings.TrimPrefix(err.Error(), "tls: "))
	}
	if until := certificate.Leaf.NotAfter; time.Now().After(until) {
		return nil, fmt.Errorf("read -cert: the certificate expired on %s; Apple would refuse it", until.UTC().Format(time.DateOnly))
	}
	return &certificate, nil
}
