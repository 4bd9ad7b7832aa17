package main

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"math/big"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/micromdm/nanomdm/test/protocol"
	"github.com/stretchr/testify/require"

	"github.com/activationlock/sdk/activationlock/activationlocktest"
	"github.com/activationlock/sdk/inventory"
)

// realNanoMDM is NanoMDM itself as processes, one after the other, on one storage.
type realNanoMDM struct {
	t      *testing.T
	binary string
	front  *front
	hook   *front
	folder string
	said   buffer
	*process
	certificate *x509.Certificate // of devices
	key         *rsa.PrivateKey
}

func buildNanoMDM(t *testing.T, hook *front) *realNanoMDM {
	t.Helper()
	n := &realNanoMDM{t: t, front: newFront(t), hook: hook, folder: t.TempDir()}
	n.binary = filepath.Join(n.folder, "nanomdm")
	out, err := exec.CommandContext(t.Context(), "go", "build", "-o", n.binary, "github.com/micromdm/nanomdm/cmd/nanomdm").CombinedOutput()
	require.NoError(t, err, "NanoMDM is not built: %s", out)
	n.makeIdentity()
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("NanoMDM said:\n%s", n.said.String())
		}
	})
	return n
}

// makeIdentity makes an authority, and an identity of a device.
func (n *realNanoMDM) makeIdentity() {
	n.t.Helper()
	authorityKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(n.t, err)
	authority := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "Authority"}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, authority, authority, authorityKey.Public(), authorityKey)
	require.NoError(n.t, err)
	require.NoError(n.t, os.WriteFile(n.authorityFile(), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600))
	n.key, err = rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(n.t, err)
	leaf := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "Device"}, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}, NotBefore: authority.NotBefore, NotAfter: authority.NotAfter,
	}
	der, err = x509.CreateCertificate(rand.Reader, leaf, authority, n.key.Public(), authorityKey)
	require.NoError(n.t, err)
	n.certificate, err = x509.ParseCertificate(der)
	require.NoError(n.t, err)
}

func (n *realNanoMDM) authorityFile() string { return filepath.Join(n.folder, "authority.pem") }

// start starts NanoMDM, on another port if somebody took the one that was free.
func (n *realNanoMDM) start() {
	n.t.Helper()
	until(n.t, "NanoMDM answers", func(ctx context.Context) bool {
		address := freePort(n.t)
		n.process = startProcess(n.t, &n.said, io.Discard, nil, n.binary,
			"-listen", address, "-ca", n.authorityFile(), "-api", apiKey,
			// Its default, filekv, can lose the queue of a device that reports while a
			// command is queued.
			"-storage", "file", "-storage-dsn", filepath.Join(n.folder, "storage"), "-storage-options", "enable_deprecated=1",
			"-webhook-url", n.hook.URL+"/webhook", "-webhook-hmac-key", hmacKey)
		for !answers(ctx, "http://"+address+"/version") {
			select {
			case <-n.exited:
				return false
			case <-ctx.Done():
				return false
			case <-time.After(10 * time.Millisecond):
			}
		}
		n.front.to("http://" + address)
		return true
	})
}

// RoundTrip signs what a device sends, as devices do.
func (n *realNanoMDM) RoundTrip(r *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	signer := protocol.NewTransport(protocol.WithIdentityProvider(func(context.Context) (*x509.Certificate, crypto.PrivateKey, error) {
		return n.certificate, n.key, nil
	}))
	signature, err := signer.SignMessage(r.Context(), body)
	if err != nil {
		return nil, err
	}
	r = r.Clone(r.Context())
	r.Header.Set("Mdm-Signature", signature)
	r.Body = io.NopCloser(bytes.NewReader(body))
	return http.DefaultTransport.RoundTrip(r)
}

// A real NanoMDM and this program, both killed at the worst moments: the device's
// code ends in escrow, and then, not before, its lock is allowed.
func TestNanoMDMProcess(t *testing.T) {
	t.Parallel()
	p := newProgram(t)
	n := buildNanoMDM(t, p.front)
	p.args = append(p.args, "-server", "nanomdm", "-server-url", n.front.URL)
	client := &http.Client{Transport: n, Timeout: patience}
	d, err := activationlocktest.NewDevice(activationlocktest.DeviceConfig{SerialNumber: serial, Supervised: true})
	require.NoError(t, err)
	restart := func() {
		p.kill()
		n.front.passing.Lock() // NanoMDM's files do not outlive being killed while they are written
		n.kill()
		n.front.passing.Unlock()
		n.start()
		p.start()
	}
	// poll lets the device ask for commands. NanoMDM tells of what it said some time
	// after the device has its answer. It answers 500 when it reads a command that is
	// just being written, after which devices come again.
	poll := func(ctx context.Context) {
		if _, err := d.Poll(ctx, client, n.front.URL+"/mdm"); err != nil {
			t.Log(err)
		}
	}

	dead := p.killsAtCode()
	n.start()
	p.start()
	o := p.open()
	messages, err := d.Enroll()
	require.NoError(t, err)
	require.NoError(t, d.CheckIn(t.Context(), client, n.front.URL+"/mdm", messages))
	until(t, "the device is asked for what it is", func(ctx context.Context) bool {
		if !o.exchange(d, "DeviceInformation").AskedAt.IsZero() {
			return true
		}
		poll(ctx) // NanoMDM may have told of its TokenUpdate before its Authenticate
		return false
	})
	restart() // with the question on its way, perhaps in NanoMDM's queue and perhaps lost

	until(t, "the device tells its code to a program that is dead", func(ctx context.Context) bool {
		poll(ctx)
		select {
		case <-dead:
			return true
		default:
			return false
		}
	})
	require.Empty(t, o.codes(d))
	require.Zero(t, o.exchange(d, "Settings"), "without a code in escrow the lock is not allowed")
	restart()

	until(t, "the code is asked for again, and in escrow", func(ctx context.Context) bool {
		poll(ctx)
		return len(o.codes(d)) > 0
	})
	restart()

	until(t, "the lock is allowed", func(ctx context.Context) bool {
		poll(ctx)
		return o.exchange(d, "Settings").Answer == inventory.Done
	})
	o.requireSafe(d)
	requireDiscreet(t, d, p.said.String(), n.said.String())
}
