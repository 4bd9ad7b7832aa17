package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"time"

	"github.com/activationlock/sdk/examples/internal/appleclient"
	"github.com/activationlock/sdk/examples/internal/operator"
)

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
	transport := appleclient.Transport(certificate)
	if r.connect != "" {
		content, err := c.read(r.ca)
		if err != nil {
			return nil, fmt.Errorf("read -ca: %w", err)
		}
		roots := x509.NewCertPool()
		if !roots.AppendCertsFromPEM(content) {
			return nil, errors.New("read -ca: it has no certificate (PEM)")
		}
		connect := transport.DialContext
		transport.Proxy, transport.TLSClientConfig.RootCAs = nil, roots
		transport.DialContext = func(ctx context.Context, network, _ string) (net.Conn, error) {
			return connect(ctx, network, r.connect)
		}
		c.line("alctl: a rehearsal: -connect is called in place of Apple")
	}
	return &appleClient{c, appleclient.Client(transport)}, nil
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
	certificate, err := appleclient.PushCertificate(content, key, time.Now())
	if err != nil {
		return nil, fmt.Errorf("read -cert and -cert-key: %w", err)
	}
	return certificate, nil
}
