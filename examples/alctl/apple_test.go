package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"log"
	"math/big"
	"net/http/httptest"
	"os"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/activationlock/sdk/activationlock/activationlocktest"
	"github.com/activationlock/sdk/mdmcmd"
)

// appleHosts are the hosts that the simulated Apple has a certificate for.
var appleHosts = []string{"deviceservices-external.apple.com", "api-business.apple.com", "api-school.apple.com"}

// simulation is a simulated Apple that listens.
type simulation struct {
	*activationlocktest.Apple
	server    *httptest.Server
	authority *x509.Certificate
	key       *ecdsa.PrivateKey
}

// simulate starts a simulated Apple.
func simulate(config activationlocktest.AppleConfig) (*simulation, error) {
	config.RequireCertificate = true
	s := &simulation{Apple: activationlocktest.NewApple(config)}
	var err error
	s.authority, s.key, err = s.issue(&x509.Certificate{
		Subject: pkix.Name{CommonName: "rehearsal authority"}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
		NotAfter: time.Now().Add(time.Hour),
	})
	if err != nil {
		return nil, err
	}
	certificate, key, err := s.issue(&x509.Certificate{
		Subject: pkix.Name{CommonName: appleHosts[0]}, DNSNames: appleHosts, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		NotAfter: time.Now().Add(time.Hour),
	})
	if err != nil {
		return nil, err
	}
	s.server = httptest.NewUnstartedServer(s)
	s.server.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.server.TLS = &tls.Config{
		Certificates: []tls.Certificate{{Certificate: [][]byte{certificate.Raw}, PrivateKey: key}}, ClientAuth: tls.RequestClientCert,
	}
	s.server.StartTLS()
	return s, nil
}

// issue completes the template of a certificate and signs it.
func (s *simulation) issue(template *x509.Certificate) (*x509.Certificate, *ecdsa.PrivateKey, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	template.SerialNumber, template.NotBefore = big.NewInt(time.Now().UnixNano()), time.Now().Add(-48*time.Hour)
	parent, signer := s.authority, s.key
	if parent == nil {
		parent, signer = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
	if err != nil {
		return nil, nil, err
	}
	certificate, err := x509.ParseCertificate(der)
	return certificate, key, err
}

// write writes the files that a rehearsal takes: ca.pem, push.pem and push.key,
// and a certificate that is over, expired.pem and expired.key.
func (s *simulation) write(at func(string) string) error {
	put := func(name, kind string, der []byte) error {
		return os.WriteFile(at(name), pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600)
	}
	if err := put("ca.pem", "CERTIFICATE", s.authority.Raw); err != nil {
		return err
	}
	for name, until := range map[string]time.Duration{"push": time.Hour, "expired": -24 * time.Hour} {
		certificate, key, err := s.issue(&x509.Certificate{Subject: pkix.Name{CommonName: "APSP:rehearsal"}, NotAfter: time.Now().Add(until)})
		if err != nil {
			return err
		}
		der, err := x509.MarshalPKCS8PrivateKey(key)
		if err != nil {
			return err
		}
		if err := put(name+".pem", "CERTIFICATE", certificate.Raw); err != nil {
			return err
		}
		if err := put(name+".key", "PRIVATE KEY", der); err != nil {
			return err
		}
	}
	return nil
}

// locked adds a phone whose owner turned Find My on, and returns the code that
// opens it.
func (s *simulation) locked(serial string) (code string, err error) {
	d, err := activationlocktest.NewDevice(activationlocktest.DeviceConfig{
		SerialNumber: serial, Supervised: true, ADE: true, IMEI: "350000000000019",
	})
	if err != nil {
		return "", err
	}
	if err := s.Add(d, true); err != nil {
		return "", err
	}
	if _, err := d.Enroll(); err != nil {
		return "", err
	}
	for _, command := range []mdmcmd.Command{
		mdmcmd.ActivationLockBypassCode, mdmcmd.Settings{MDMOptions: mdmcmd.MDMOptions{ActivationLockAllowedWhileSupervised: new(true)}},
	} {
		raw, err := mdmcmd.Encode("U", command)
		if err != nil {
			return "", err
		}
		if _, err := d.Answer(raw); err != nil {
			return "", err
		}
	}
	return d.Code().Reveal(), d.SetFindMy(true)
}

// simulated is where a script keeps its simulated Apple.
type simulated struct{}

// startApple starts a simulated Apple for a script, whose address is in $APPLE.
func startApple(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) > 0 {
		ts.Fatalf("usage: apple")
	}
	s, err := simulate(activationlocktest.AppleConfig{})
	ts.Check(err)
	ts.Defer(s.server.Close)
	ts.Check(s.write(ts.MkAbs))
	ts.Value(simulated{}).(*scripted).simulation = s
	ts.Setenv("APPLE", s.server.Listener.Addr().String())
}

// scripted is what a script has of Apple.
type scripted struct{ *simulation }

func appleOf(ts *testscript.TestScript) *simulation {
	return ts.Value(simulated{}).(*scripted).simulation
}

// lockPhone [-codeless] store keys serial... makes locked phones, and keeps their
// codes in the store unless it is not to have them.
func lockPhone(ts *testscript.TestScript, neg bool, args []string) {
	codeless := len(args) > 0 && args[0] == "-codeless"
	if codeless {
		args = args[1:]
	}
	if neg || len(args) < 3 {
		ts.Fatalf("usage: locked [-codeless] store keys serial...")
	}
	for _, serial := range args[2:] {
		code, err := appleOf(ts).locked(serial)
		ts.Check(err)
		if !codeless {
			collect(ts, false, []string{args[0], args[1], "-", serial, code})
		}
	}
}

// answers fault... makes the next unlock calls fail: with a status, "drop" for no
// answer, "lost" for none although the lock is removed, "pass" for none at all.
func answers(ts *testscript.TestScript, neg bool, args []string) {
	for _, arg := range args {
		fault := activationlocktest.Fault{Drop: arg == "drop" || arg == "lost", Processed: arg == "lost"}
		if status, err := strconv.Atoi(arg); err == nil {
			fault.Status = status
		}
		appleOf(ts).Script(activationlocktest.UnlockService, fault)
	}
}

// tried serial number says how many codes Apple got for a device.
func tried(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: tried serial number")
	}
	if n := strconv.Itoa(len(appleOf(ts).CodesTried(args[0]))); n != args[1] {
		ts.Fatalf("want %s codes tried, got %s", args[1], n)
	}
}

var (
	anyID     = regexp.MustCompile(`\b[0-9A-Z]{26}\b`)
	anyMoment = regexp.MustCompile(`\b20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z`)
)

// mask file writes what was printed last into a file, with each ID and each time
// replaced by others that are always the same.
func mask(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: mask file")
	}
	masked := anyMoment.ReplaceAllString(anyID.ReplaceAllString(ts.ReadFile("stdout"), strings.Repeat("ID", 13)), "2026-01-01T00:00:00Z")
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(masked), 0o600))
}
