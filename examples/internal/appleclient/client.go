// Package appleclient is the live wiring to Apple for hosts to copy: what
// engine.Config.Doer wants, once an organization has its credentials.
//
//	doer := appleclient.Route{
//		Unlock: appleclient.Client(appleclient.Transport(pushCertificate)),
//		Lock:   appleclient.NewADE(serverToken, appleclient.Transport(nil)),
//		Status: axm, // of NewAxM
//		StatusAPI: apple.SchoolAPI,
//	}
//
// Each file stands alone: the unlock service needs no more than this one, ade.go is
// nanodep's session handling, axm.go an OAuth client of the standard library only.
// What none of them does is to print, log or keep a secret: no token, assertion or
// key is in an error, and the requests that came in never get a token.
package appleclient

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/activationlock/sdk/activationlock/apple"
)

// CallWithin is how long one call may take, with its answer.
const CallWithin = 50 * time.Second

// maxBody bounds what is read of an answer of the services for sessions and tokens;
// real ones have less than a kilobyte.
const maxBody = 64 << 10

// Transport connects to Apple. The certificate, if there is one, is presented as the
// TLS client certificate: for the unlock service it is the push certificate for MDM,
// and no other service should see that.
func Transport(certificate *tls.Certificate) *http.Transport {
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if certificate != nil {
		config.Certificates = []tls.Certificate{*certificate}
	}
	dialer := &net.Dialer{Timeout: CallWithin / 2}
	return &http.Transport{
		Proxy: http.ProxyFromEnvironment, DialContext: dialer.DialContext, TLSClientConfig: config,
		TLSHandshakeTimeout: CallWithin / 2, IdleConnTimeout: time.Minute,
	}
}

// Client sends requests by a transport. It follows no redirects, which would take a
// code, a hash or a token to another address.
func Client(by http.RoundTripper) *http.Client {
	return &http.Client{
		Transport: by, Timeout: CallWithin,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// refusal is the answer of a service that was to give a session or a token, and did
// not. So nothing was asked of the service behind it; its answer is returned in
// place of that one's, so that whoever reads it knows whether to wait or to stop.
type refusal struct{ *http.Response }

func (r *refusal) Error() string { return "appleclient: Apple gave no session or token: " + r.Status }

// answer makes what a client returned for a copy of a request the answer to it. The
// copy, which has a token in its header, goes no further.
func answer(req *http.Request, resp *http.Response, err error) (*http.Response, error) {
	if r, ok := errors.AsType[*refusal](err); ok {
		resp, err = r.Response, nil
	}
	if resp != nil {
		resp.Request = req
		resp.Header.Del(apple.SessionHeader) // was read, if it was there
	}
	return resp, err
}

// beginning reads the beginning of a body and closes it.
func beginning(body io.ReadCloser) ([]byte, error) {
	defer body.Close()
	return io.ReadAll(io.LimitReader(body, maxBody))
}
