package escrow_test

import (
	"bytes"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/activationlock/sdk/activationlock/memstore"
	"github.com/activationlock/sdk/bypasscode"
	"github.com/activationlock/sdk/bypasscode/escrow"
	"github.com/activationlock/sdk/bypasscode/seal"
)

var update = flag.Bool("update", false, "write the golden vectors that are missing; those that are there never change")

// testKey is published, with the vectors of package seal. Nobody may ever use it.
const testKey = "activationlock-escrow-private-x25519:cHVibGlzaGVkIHRlc3Qga2V5LCBuZXZlciB1c2UgbWXC3kXc"

// golden is what the vectors hold, by their files.
var golden = map[string]func(t *testing.T, e *escrow.Escrow) escrow.Record{
	"device.txt": func(t *testing.T, e *escrow.Escrow) escrow.Record { return capture(t, e, asked(code, "1", 1)) },
	"server.txt": func(t *testing.T, e *escrow.Escrow) escrow.Record { return lock(t, e, 1) },
	"enrollment.txt": func(t *testing.T, e *escrow.Escrow) escrow.Record {
		c := of(byEnrollment, asked("\xff\x00 no code", "1", 1))
		c.Device = escrow.Device{UDID: enrollment}
		return capture(t, e, c)
	},
}

// vector is a file: a comment, and lines of a name and a value.
type vector map[string]string

func readVector(t *testing.T, path string) vector {
	t.Helper()
	content, err := os.ReadFile(path)
	require.NoError(t, err)
	v := vector{}
	for line := range strings.Lines(string(content)) {
		if !strings.HasPrefix(line, "#") {
			name, value, ok := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
			require.True(t, ok, path)
			v[name] = value
		}
	}
	return v
}

func (v vector) bytes(t *testing.T, name string) []byte {
	t.Helper()
	require.Contains(t, v, name)
	data, err := hex.DecodeString(v[name])
	require.NoError(t, err)
	return data
}

func addVector(t *testing.T, path string, fill func(*testing.T, *escrow.Escrow) escrow.Record) {
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		require.NoError(t, err)
		return
	}
	private, err := seal.ParsePrivateKey(testKey)
	require.NoError(t, err)
	ring, err := seal.NewKeyring([]seal.PublicKey{private.Public()}, private)
	require.NoError(t, err)
	h := newHolder()
	store := memstore.New().Escrow()
	e, err := escrow.New(escrow.Config{Audit: newAudit(), Store: store, Sealer: ring, Recovery: []*x509.Certificate{h.certificate}})
	require.NoError(t, err)
	r := fill(t, e)
	entry := scan(t, store)[0]
	var b strings.Builder
	fmt.Fprintln(&b, "# An entry to open for ever. The private keys are published: never use them.")
	fmt.Fprintf(&b, "private %s\nrecord %s\nkind %s\n", private.Reveal(), r.ID, r.Kind)
	fmt.Fprintf(&b, "serialNumber %s\nenrollmentID %s\ndeviceSerialNumber %s\ndeviceUDID %s\n", r.Subject.SerialNumber, r.Subject.EnrollmentID, r.Device.SerialNumber, r.Device.UDID)
	fmt.Fprintf(&b, "text %x\ndigest %s\nsealed %x\n", reveal(t, e, r.Subject, r.ID), entry.Digest, entry.Sealed)
	fmt.Fprintf(&b, "certificate %x\ncertificateKey %x\nrecoveryCopy %x\n", h.certificate.Raw, x509.MarshalPKCS1PrivateKey(h.key), entry.RecoveryCopy)
	require.NoError(t, os.WriteFile(path, []byte(b.String()), 0o644))
}

// What was sealed once opens for ever.
func TestGolden(t *testing.T) {
	t.Parallel()
	for name, fill := range golden {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join("testdata", name)
			if *update {
				addVector(t, path, fill)
			}
			v := readVector(t, path)
			text := string(v.bytes(t, "text"))
			private, err := seal.ParsePrivateKey(v["private"])
			require.NoError(t, err)
			entry := escrow.Entry{
				Record: escrow.Record{
					ID: v["record"], Kind: bypasscode.Kind(v["kind"]), State: escrow.Current,
					Subject: escrow.Subject{SerialNumber: v["serialNumber"], EnrollmentID: v["enrollmentID"]},
					Device:  escrow.Device{SerialNumber: v["deviceSerialNumber"], UDID: v["deviceUDID"]},
				},
				Sealed: v.bytes(t, "sealed"), Digest: v["digest"], RecoveryCopy: v.bytes(t, "recoveryCopy"),
			}
			store := memstore.New().Escrow()
			write(t, store, entry)
			e := onDesk(t, store, private)
			require.Equal(t, text, reveal(t, e, entry.Subject, entry.ID))
			_, err = onDesk(t, store, newKey(t)).Reveal(t.Context(), wish(entry.Subject, entry.ID))
			require.ErrorIs(t, err, seal.ErrNoKey)

			// The same code is still the same record.
			c := of(entry.Subject, asked(text, "9", 9))
			c.Kind = entry.Kind
			_, parses := c.Text.Code()
			require.Equal(t, parses == nil, capture(t, e, c).ID == entry.ID)

			certificate, err := x509.ParseCertificate(v.bytes(t, "certificate"))
			require.NoError(t, err)
			key, err := x509.ParsePKCS1PrivateKey(v.bytes(t, "certificateKey"))
			require.NoError(t, err)
			der, err := e.RecoveryCopy(t.Context(), entry.Subject, entry.ID)
			require.NoError(t, err)
			require.True(t, bytes.Equal(entry.RecoveryCopy, der))
			got, err := escrow.OpenRecoveryCopy(der, certificate, key)
			require.NoError(t, err)
			require.Equal(t, text, got.Text.Reveal())
			require.Equal(t, entry.ID, got.RecordID)
			require.Equal(t, entry.Kind, got.Kind)
			require.Equal(t, entry.Device.UDID, got.Device.UDID)
		})
	}
	files, err := os.ReadDir("testdata")
	require.NoError(t, err)
	for _, file := range files {
		require.Contains(t, golden, file.Name())
	}
}
