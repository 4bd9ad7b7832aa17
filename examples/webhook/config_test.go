package main

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"flag"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/activationlock/sdk/bypasscode/seal"
	"github.com/activationlock/sdk/mdmcmd"
)

// keys makes a key pair and returns both lines.
func newKeys(t *testing.T) (public string, private seal.PrivateKey) {
	t.Helper()
	key, err := seal.GenerateKey(seal.X25519)
	require.NoError(t, err)
	return key.Public().String(), key
}

func file(t *testing.T, content string, mode os.FileMode) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(path, []byte(content), 0o600))
	require.NoError(t, os.Chmod(path, mode))
	return path
}

func read(t *testing.T, environment map[string]string, args ...string) (config, error) {
	t.Helper()
	return readConfig(args, func(name string) (string, bool) {
		value, ok := environment[strings.TrimPrefix(name, variablePrefix)]
		return value, ok
	}, new(bytes.Buffer))
}

func TestConfig(t *testing.T) {
	t.Parallel()
	public, _ := newKeys(t)
	second, _ := newKeys(t)
	c, err := read(t, map[string]string{"API_KEY": "secret"}, "-seal-to", public)
	require.NoError(t, err)
	require.Equal(t, "127.0.0.1:9005", c.listen)
	require.Equal(t, kindNano, c.kind)
	require.Equal(t, "http://127.0.0.1:9000", c.serverURL)
	require.Equal(t, "escrow.db", c.store)
	require.Equal(t, 24*time.Hour, c.answerWithin)
	require.Len(t, c.sealTo, 1)
	require.True(t, c.options.IsZero(), "nothing is sent to devices unless it is asked for")

	c, err = read(t, map[string]string{
		"API_KEY_FILE": file(t, "of the file\n", 0o600), "API_KEY": "of the environment", "EVERY": "5s", "SERVER": "nanomdm", "ALLOW_LOCK": "true",
		"HMAC_KEY": "signs", "PASSWORD": "shown", "DSN": "postgres://", "SEAL_TO": public + "," + file(t, "# a comment\n"+second+"\n", 0o644),
	}, "-server", "micromdm", "-server-url", "https://mdm.example.org/", "-listen", ":9005",
		"-mdm-option", "BootstrapTokenAllowed=true,IdleRebootAllowed=false")
	require.NoError(t, err)
	require.Equal(t, "of the file", c.apiKey)
	require.Equal(t, "signs", c.hmacKey)
	require.Equal(t, "shown", c.password)
	require.Equal(t, "postgres://", c.databaseAddress)
	require.Equal(t, kindMicro, c.kind, "a flag wins")
	require.Equal(t, "https://mdm.example.org", c.serverURL)
	require.Equal(t, 5*time.Second, c.every)
	require.Len(t, c.sealTo, 2)
	require.Equal(t, mdmcmd.MDMOptions{
		ActivationLockAllowedWhileSupervised: new(true), BootstrapTokenAllowed: new(true), IdleRebootAllowed: new(false),
	}, c.options)
}

func TestConfigFaults(t *testing.T) {
	t.Parallel()
	public, private := newKeys(t)
	const secret = "very-secret-indeed"
	for name, c := range map[string]struct {
		environment map[string]string
		args        []string
		err         string
	}{
		"no API key":       {nil, []string{"-seal-to", public}, "the key of the server's API is missing"},
		"no keys":          {map[string]string{"API_KEY": secret}, nil, "-seal-to is missing"},
		"private key":      {map[string]string{"API_KEY": secret}, []string{"-seal-to", private.Reveal()}, "it is a private key"},
		"private key file": {map[string]string{"API_KEY": secret}, []string{"-seal-to", file(t, private.Reveal(), 0o600)}, "it is a private key"},
		"no key file":      {map[string]string{"API_KEY": secret}, []string{"-seal-to", "missing.pub"}, "read -seal-to: no such file"},
		"wrong key file":   {map[string]string{"API_KEY": secret}, []string{"-seal-to", file(t, "nonsense", 0o600)}, "read -seal-to: "},
		"empty key file":   {map[string]string{"API_KEY": secret}, []string{"-seal-to", file(t, "\n", 0o600)}, "it has no public key"},
		"readable secret":  {nil, []string{"-seal-to", public, "-api-key-file", file(t, secret, 0o644)}, "read -api-key-file: others can open the file; what mends it: chmod 600 FILE"},
		"missing secret":   {nil, []string{"-seal-to", public, "-api-key-file", "missing"}, "read -api-key-file: no such file"},
		"empty file":       {map[string]string{"API_KEY": secret}, []string{"-seal-to", public, "-hmac-key-file", file(t, "\n", 0o600)}, "-hmac-key-file: it is empty"},
		"empty variable":   {map[string]string{"API_KEY": secret, "HMAC_KEY": ""}, []string{"-seal-to", public}, "ACTIVATIONLOCK_WEBHOOK_HMAC_KEY: it is empty"},
		"open to all":      {map[string]string{"API_KEY": secret}, []string{"-seal-to", public, "-listen", ":9005"}, "anybody could post some"},
		"open to others":   {map[string]string{"API_KEY": secret}, []string{"-seal-to", public, "-listen", "192.0.2.1:9005"}, "anybody could post some"},
		"server":           {map[string]string{"API_KEY": secret}, []string{"-seal-to", public, "-server", "jamf"}, "-server is neither"},
		"log":              {map[string]string{"API_KEY": secret}, []string{"-seal-to", public, "-log", "xml"}, "-log is neither"},
		"never":            {map[string]string{"API_KEY": secret}, []string{"-seal-to", public, "-every", "0s"}, "more than 0"},
		"variable":         {map[string]string{"API_KEY": secret, "EVERY": "often"}, []string{"-seal-to", public}, "ACTIVATIONLOCK_WEBHOOK_EVERY: "},
		"half of TLS":      {map[string]string{"API_KEY": secret}, []string{"-seal-to", public, "-tls-cert", "x"}, "go together"},
		"argument":         {map[string]string{"API_KEY": secret}, []string{"-seal-to", public, "x"}, "only flags"},
		"unknown flag":     {map[string]string{"API_KEY": secret}, []string{"-api-key", secret}, "-api-key"},
		"unknown option":   {map[string]string{"API_KEY": secret}, []string{"-mdm-option", "ActivationLockAllowedWhileSupervised=true"}, "unknown option"},
		"key in address":   {map[string]string{"API_KEY": secret}, []string{"-seal-to", public, "-server-url", "https://nanomdm:" + secret + "@host"}, "no part of the address"},
		"address":          {map[string]string{"API_KEY": secret}, []string{"-seal-to", public, "-server-url", "mdm.example.org"}, "want an address such as"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := read(t, c.environment, c.args...)
			require.ErrorContains(t, err, c.err)
			require.NotContains(t, err.Error(), secret)
			require.NotContains(t, err.Error(), private.Reveal())
		})
	}
}

// The help explains each flag, and its variable.
func TestHelp(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	_, err := readConfig([]string{"-h"}, func(string) (string, bool) { return "", false }, &out)
	require.ErrorIs(t, err, flag.ErrHelp)
	new(config).flags().VisitAll(func(f *flag.Flag) {
		require.Contains(t, out.String(), "  -"+f.Name)
		require.Contains(t, out.String(), variable(f.Name)+"\n")
		require.Greater(t, len(f.Usage), 20, f.Name)
	})
	for _, s := range secrets {
		require.Contains(t, out.String(), "  "+variable(s.name)+"\n")
	}
}

// What is missing when the program starts is said in a sentence.
func TestStartFaults(t *testing.T) {
	t.Parallel()
	taken, err := listen(config{listen: "127.0.0.1:0"})
	require.NoError(t, err)
	t.Cleanup(func() { taken.Close() })
	public, _ := newKeys(t)
	sealTo, err := readPublicKeys([]string{public})
	require.NoError(t, err)
	for name, c := range map[string]struct {
		change func(*config)
		err    string
	}{
		"port":           {func(c *config) { c.listen = taken.Addr().String() }, "the port is taken"},
		"address":        {func(c *config) { c.listen = "127.0.0.1:99999" }, "listen on 127.0.0.1:99999: "},
		"folder":         {func(c *config) { c.store = filepath.Join(t.TempDir(), "missing", "escrow.db") }, "open -store: "},
		"readable store": {func(c *config) { c.store = file(t, "", 0o644) }, "open -store: "},
		"no store":       {func(c *config) { c.store = file(t, strings.Repeat("no database ", 100), 0o600) }, "open -store: "},
		"unreachable":    {func(c *config) { c.databaseAddress = "postgres://jane:secret@127.0.0.1:1/test" }, "open the database: no connection: connection refused"},
		"unreachable 2":  {func(c *config) { c.databaseAddress = "mysql://jane:secret@tcp(127.0.0.1:1)/test" }, "open the database: no connection: connection refused"},
		"what database?": {func(c *config) { c.databaseAddress = "oracle://jane:secret@host/test" }, "open the database: want postgres://"},
		"adopt":          {func(c *config) { c.adopt = "missing" }, "read -adopt: "},
		"TLS files":      {func(c *config) { c.tlsCert, c.tlsKey = "missing", "missing" }, "read -tls-cert and -tls-key: "},
		"TLS":            {func(c *config) { c.tlsCert = file(t, "secret", 0o600); c.tlsKey = c.tlsCert }, "no certificate and its key"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			config := config{
				listen: "127.0.0.1:0", kind: kindNano, serverURL: "http://127.0.0.1:1", apiKey: "secret",
				store: filepath.Join(t.TempDir(), "escrow.db"), sealTo: sealTo, every: time.Minute, answerWithin: time.Hour, logFormat: "json",
			}
			c.change(&config)
			ctx, cancel := context.WithCancel(t.Context())
			out, log := started{cancel: cancel}, bytes.Buffer{}
			err := run(ctx, config, &out, &log)
			require.ErrorContains(t, err, c.err)
			require.NotContains(t, err.Error()+out.String()+log.String(), "secret")
			var usage errUsage
			require.False(t, errors.As(err, &usage))
		})
	}
}

// started ends a program that has started although it should not.
type started struct {
	bytes.Buffer
	cancel func()
}

func (s *started) Write(p []byte) (int, error) {
	s.cancel()
	return s.Buffer.Write(p)
}

// With a certificate, events come over TLS.
func TestTLS(t *testing.T) {
	t.Parallel()
	s := httptest.NewTLSServer(http.NotFoundHandler()) // for its certificate
	defer s.Close()
	key, err := x509.MarshalPKCS8PrivateKey(s.TLS.Certificates[0].PrivateKey)
	require.NoError(t, err)
	config := config{
		listen:  "127.0.0.1:0",
		tlsCert: file(t, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})), 0o600),
		tlsKey:  file(t, string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key})), 0o600),
	}
	listener, err := listen(config)
	require.NoError(t, err)
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTeapot) })}
	go server.Serve(listener)
	defer server.Close()
	resp, err := s.Client().Get("https://" + listener.Addr().String())
	require.NoError(t, err)
	resp.Body.Close()
	require.Equal(t, http.StatusTeapot, resp.StatusCode)
	require.Contains(t, greeting(config, listener.Addr().String()), "https://"+listener.Addr().String()+"/webhook")
}
