package activationlocktest

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"time"
)

const unlockHost = "deviceservices-external.apple.com"

var hosts = []string{unlockHost, "mdmenrollment.apple.com", "api-business.apple.com", "api-school.apple.com", "account.apple.com"}

// Server serves an [Apple] over TLS under Apple's host names.
type Server struct {
	server *httptest.Server
	roots  *x509.CertPool
	push   *tls.Certificate

	mu         sync.Mutex
	transports []*http.Transport
}

// Start starts a server on a local port, with certificates made for it. Its
// unlock service demands a client certificate; the others do not. Close it.
//
// Certificates are valid by the clock of the machine, not that of the Apple.
func (a *Apple) Start() (*Server, error) {
	apple, err := newAuthority()
	if err != nil {
		return nil, err
	}
	pushers, err := newAuthority()
	if err != nil {
		return nil, err
	}
	certificate, err := apple.issue(hosts...)
	if err != nil {
		return nil, err
	}
	push, err := pushers.issue()
	if err != nil {
		return nil, err
	}
	s := &Server{server: httptest.NewUnstartedServer(a), roots: apple.pool(), push: push}
	anybody := &tls.Config{Certificates: []tls.Certificate{*certificate}}
	// In TLS 1.3 a client learns of a refused certificate only when it reads the
	// answer, if ever; tests want to see it.
	pushersOnly := &tls.Config{
		Certificates: anybody.Certificates, MaxVersion: tls.VersionTLS12,
		ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: pushers.pool(),
	}
	s.server.TLS = anybody.Clone()
	s.server.TLS.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		if hello.ServerName == unlockHost {
			return pushersOnly, nil
		}
		return anybody, nil
	}
	s.server.Listener = patientListener{s.server.Listener}
	s.server.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.server.StartTLS()
	return s, nil
}

// Client returns a client that presents an acceptable certificate. It connects
// to this server for Apple's hosts, and to nowhere for any other. It follows no
// redirects.
func (s *Server) Client() *http.Client { return s.ClientWith(s.push) }

// ClientWith returns a client that presents another certificate, or none if it
// is nil. The unlock service refuses both.
func (s *Server) ClientWith(certificate *tls.Certificate) *http.Client {
	if certificate == nil {
		certificate = &tls.Certificate{}
	}
	address := s.server.Listener.Addr().String()
	transport := &http.Transport{
		TLSClientConfig: &tls.Config{
			RootCAs: s.roots,
			GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
				return certificate, nil
			},
		},
		DialContext: func(ctx context.Context, network, asked string) (net.Conn, error) {
			if host, port, err := net.SplitHostPort(asked); err != nil || port != "443" || !slices.Contains(hosts, host) {
				return nil, errors.New("activationlocktest: not a host of Apple")
			}
			var dialer net.Dialer
			return dialer.DialContext(ctx, network, address)
		},
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.transports = append(s.transports, transport)
	return &http.Client{
		Transport:     transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// Close stops the server and closes all idle connections.
func (s *Server) Close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, t := range s.transports {
		t.CloseIdleConnections()
	}
	s.server.Close()
}

// authority issues certificates.
type authority struct {
	certificate *x509.Certificate
	key         crypto.Signer
}

func newAuthority() (*authority, error) {
	a := &authority{}
	root, err := a.issueFrom(&x509.Certificate{
		Subject: pkix.Name{CommonName: "activationlocktest authority"}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	})
	if err != nil {
		return nil, err
	}
	a.certificate, a.key = root.Leaf, root.PrivateKey.(crypto.Signer)
	return a, nil
}

func (a *authority) pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(a.certificate)
	return pool
}

// issue makes a server's certificate, or a client's if no host is named.
func (a *authority) issue(hosts ...string) (*tls.Certificate, error) {
	template := &x509.Certificate{Subject: pkix.Name{CommonName: "APSP:activationlocktest"}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}
	if len(hosts) > 0 {
		template.Subject.CommonName, template.DNSNames = hosts[0], hosts
		template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	}
	return a.issueFrom(template)
}

// issueFrom completes the template. An authority without a certificate signs its
// own.
func (a *authority) issueFrom(template *x509.Certificate) (*tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("activationlocktest: make a key: %w", err)
	}
	template.SerialNumber = big.NewInt(time.Now().UnixNano())
	template.NotBefore, template.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(24*time.Hour)
	parent, signer := a.certificate, a.key
	if parent == nil {
		parent, signer = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
	if err != nil {
		return nil, fmt.Errorf("activationlocktest: make a certificate: %w", err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("activationlocktest: make a certificate: %w", err)
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}, nil
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
		if tcp, is := c.Conn.(*net.TCPConn); is {
			tcp.CloseWrite()
			c.Conn.SetReadDeadline(time.Now().Add(time.Second)) // of a client that never does
			io.Copy(io.Discard, c.Conn)
		}
		err = c.Conn.Close()
	})
	return err
}
