package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/micromdm/nanomdm/storage"
)

// unlockHost is where the push certificate is shown, and nowhere else.
const unlockHost = "deviceservices-external.apple.com"

// unlockClient sends requests to Apple's unlock service, with the push certificate
// that NanoMDM keeps as client certificate.
type unlockClient struct {
	client       *http.Client
	certificates storage.PushCertStore
	topic        string
}

// newUnlockClient makes a client whose every call has a connection of its own, so
// that it shows the certificate that is stored by then: it changes every year.
func newUnlockClient(certificates storage.PushCertStore, topic string, transport *http.Transport) *unlockClient {
	u := &unlockClient{certificates: certificates, topic: topic}
	if transport == nil {
		transport = http.DefaultTransport.(*http.Transport)
	}
	transport = transport.Clone()
	transport.DisableKeepAlives = true
	if transport.TLSClientConfig == nil {
		transport.TLSClientConfig = &tls.Config{}
	}
	transport.TLSClientConfig.MinVersion = tls.VersionTLS12
	transport.TLSClientConfig.GetClientCertificate = func(asked *tls.CertificateRequestInfo) (*tls.Certificate, error) {
		return u.certificate(asked.Context())
	}
	u.client = &http.Client{
		Transport: transport,
		Timeout:   30 * time.Second,
		// A redirect would carry the code to somebody else.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return u
}

// certificate returns the push certificate.
func (u *unlockClient) certificate(ctx context.Context) (*tls.Certificate, error) {
	certificate, _, err := u.certificates.RetrievePushCert(ctx, u.topic)
	if err != nil {
		return nil, fmt.Errorf("no push certificate of topic %s: %w", u.topic, err)
	}
	return certificate, nil
}

// Do sends a request.
func (u *unlockClient) Do(r *http.Request) (*http.Response, error) {
	if r.URL.Scheme != "https" || r.URL.Host != unlockHost {
		return nil, errors.New("not a request to Apple's unlock service")
	}
	if _, err := u.certificate(r.Context()); err != nil {
		return nil, err
	}
	return u.client.Do(r)
}
