package main

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/activationlock/sdk/bypasscode/seal"
)

func TestFlags(t *testing.T) {
	t.Parallel()
	full := []string{"-ca", "ca.pem", "-storage", "s", "-db", "codes.db", "-key", "escrow.key", "-organization", "Example School", "-topic", topic}
	var out bytes.Buffer
	s, err := parse(full, &out)
	require.NoError(t, err)
	require.Equal(t, "codes.db", s.db)
	require.Empty(t, out.String())

	_, err = parse([]string{"-h"}, &out)
	require.ErrorIs(t, err, flag.ErrHelp)
	for _, name := range []string{
		"-listen", "-ca", "-storage", "-db", "-dsn-file", "-key", "-recipient", "-audit-key", "-api-key", "-organization", "-topic", "-every", "-adopt", dsnVariable,
	} {
		require.Contains(t, out.String(), name)
	}

	for i := 0; i < len(full); i += 2 { // each is required
		out.Reset()
		_, err := parse(append(append([]string{}, full[:i]...), full[i+2:]...), &out)
		require.ErrorContains(t, err, full[i])
		require.Contains(t, out.String(), full[i])
	}
	key, err := seal.GenerateKey(seal.X25519)
	require.NoError(t, err)
	for want, more := range map[string][]string{
		"either -db or -dsn-file": {"-dsn-file", "x"},
		"more than flags":         {"x"},
		"-every":                  {"-every", "0s"},
		"-recipient":              {"-recipient", "x"},
	} {
		_, err := parse(append(append([]string{}, full...), more...), &out)
		require.ErrorContains(t, err, want)
	}
	s, err = parse(append(full, "-recipient", key.Public().String()), &out)
	require.NoError(t, err)
	require.Len(t, s.recipients, 1)
}

// What is wrong with a file is told at the start, with what mends it.
func TestFiles(t *testing.T) {
	t.Parallel()
	for want, spoil := range map[string]func(*settings) error{
		"alctl escrow keygen": func(s *settings) error { return os.Remove(s.key) },
		"chmod 600":           func(s *settings) error { return os.Chmod(s.key, 0o644) },
		"read -key":           func(s *settings) error { return os.WriteFile(s.key, []byte("x"), 0o600) },
		"read -api-key: others can open the file": func(s *settings) error { return os.Chmod(s.apiKey, 0o640) },
		"read -api-key: want at least 16":         func(s *settings) error { return os.WriteFile(s.apiKey, []byte("short\n"), 0o600) },
		"read -audit-key: want 64": func(s *settings) error {
			s.auditKey = s.apiKey
			return nil
		},
		"chmod 700": func(s *settings) error { return os.Mkdir(s.storage, 0o755) },
		"open -db":  func(s *settings) error { return os.WriteFile(s.db, nil, 0o644) },
		"read -dsn-file": func(s *settings) error {
			s.db, s.dsnFile = "", filepath.Join(s.storage, "missing")
			return nil
		},
		"-dsn-file: want postgres://": func(s *settings) error {
			s.db, s.dsnFile = "", s.apiKey
			return nil
		},
	} {
		w := newWorld(t)
		require.NoError(t, spoil(&w.settings))
		_, err := newHost(t.Context(), w.settings, w.outside)
		require.ErrorContains(t, err, want)
		require.False(t, strings.Contains(err.Error(), password), "%v", err)
	}
}

// Without a flag, the environment has the address of the database, which no error
// tells.
func TestEnvironment(t *testing.T) {
	args := []string{"-ca", "ca.pem", "-storage", "s", "-key", "escrow.key", "-organization", "Example School", "-topic", topic}
	var out bytes.Buffer
	_, err := parse(args, &out)
	require.ErrorContains(t, err, dsnVariable)
	t.Setenv(dsnVariable, "postgresql:secret")
	_, err = parse(args, &out)
	require.NoError(t, err)
	w := newWorld(t)
	w.settings.db = ""
	_, err = newHost(t.Context(), w.settings, w.outside)
	require.ErrorContains(t, err, dsnVariable+": want postgres://")
	require.NotContains(t, err.Error(), "secret")
}
