package escrow_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"math/big"
	mathrand "math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/activationlock/sdk/activationlock/memstore"
	"github.com/activationlock/sdk/bypasscode"
	"github.com/activationlock/sdk/bypasscode/escrow"
	"github.com/activationlock/sdk/bypasscode/seal"
	"github.com/activationlock/sdk/internal/cms"
)

// holder can open recovery copies.
type holder struct {
	certificate *x509.Certificate
	key         *rsa.PrivateKey
}

// holders are made once, since RSA keys take long.
var holders = map[string]func() holder{"a": sync.OnceValue(newHolder), "b": sync.OnceValue(newHolder)}

func newHolder() holder {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return holder{certify(key.Public(), key), key}
}

func certify(public, key any) *x509.Certificate {
	number, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	if err != nil {
		panic(err)
	}
	template := &x509.Certificate{
		SerialNumber: number, Subject: pkix.Name{CommonName: "recovery"}, NotBefore: at(0), NotAfter: at(0).AddDate(10, 0, 0),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, public, key)
	if err != nil {
		panic(err)
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		panic(err)
	}
	return certificate
}

func certificates(names ...string) (found []*x509.Certificate) {
	for _, name := range names {
		found = append(found, holders[name]().certificate)
	}
	return found
}

func withCopies(t *testing.T, store escrow.Store, names ...string) *escrow.Escrow {
	t.Helper()
	e, err := escrow.New(escrow.Config{Audit: newAudit(), Store: store, Sealer: keys(), Recovery: certificates(names...)})
	require.NoError(t, err)
	return e
}

func recoveryCopy(t *testing.T, e *escrow.Escrow, r escrow.Record) []byte {
	t.Helper()
	der, err := e.RecoveryCopy(t.Context(), r.Subject, r.ID)
	require.NoError(t, err)
	return der
}

func openCopy(t *testing.T, der []byte, name string) escrow.Recovered {
	t.Helper()
	got, err := escrow.OpenRecoveryCopy(der, holders[name]().certificate, holders[name]().key)
	require.NoError(t, err)
	return got
}

// requireCopy wants the recovery copy of a record for those who hold the keys.
func requireCopy(t *testing.T, e *escrow.Escrow, r escrow.Record, text string, names ...string) {
	t.Helper()
	der := recoveryCopy(t, e, r)
	require.True(t, cms.EncryptedFor(der, certificates(names...)))
	for _, name := range names {
		got := openCopy(t, der, name)
		require.Equal(t, text, got.Text.Reveal())
		require.Equal(t, r.ID, got.RecordID)
	}
}

func TestNewChecksCertificates(t *testing.T) {
	t.Parallel()
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	a := certificates("a")[0]
	for name, list := range map[string][]*x509.Certificate{
		"EC": {certify(ec.Public(), ec)}, "EC after RSA": {a, certify(ec.Public(), ec)}, "nil": {nil}, "twice": {a, a},
		"empty": {{}},
	} {
		e, err := escrow.New(escrow.Config{Audit: newAudit(), Store: memstore.New().Escrow(), Sealer: keys(), Recovery: list})
		require.ErrorContains(t, err, "escrow: recovery copy: cms: ", name)
		require.Nil(t, e)
	}
	// Small copies would fit here, those of large records would not.
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: strings.Repeat("x", 52<<10)}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, ec.Public(), ec)
	require.NoError(t, err)
	large, err := x509.ParseCertificate(der)
	require.NoError(t, err)
	large.PublicKey = a.PublicKey
	small, err := cms.Encrypt([]byte(code), []*x509.Certificate{large})
	require.NoError(t, err)
	require.NotEmpty(t, small)
	_, err = escrow.New(escrow.Config{Audit: newAudit(), Store: memstore.New().Escrow(), Sealer: keys(), Recovery: []*x509.Certificate{large}})
	require.ErrorIs(t, err, cms.ErrTooLarge)

	// The caller's list is the caller's.
	list := certificates("a")
	store := memstore.New().Escrow()
	e, err := escrow.New(escrow.Config{Audit: newAudit(), Store: store, Sealer: keys(), Recovery: list})
	require.NoError(t, err)
	list[0] = certify(ec.Public(), ec)
	requireCopy(t, e, capture(t, e, asked(code, "1", 1)), code, "a")
}

func TestRecoveryCopy(t *testing.T) {
	t.Parallel()
	e := withCopies(t, memstore.New().Escrow(), "a", "b")
	c := asked(code, "1", 1)
	c.Device = escrow.Device{SerialNumber: serial, UDID: "the-udid", ProductType: "iPhone17,3", IMEI: "350000000000019", IMEI2: "350000000000027", MEID: "A0000000000001"}
	r := capture(t, e, c)
	der := recoveryCopy(t, e, r)
	want := escrow.Recovered{RecordID: r.ID, Kind: bypasscode.Device, EnrollmentID: enrollment, ReceivedAt: at(1), Device: c.Device}
	for _, name := range []string{"a", "b"} {
		got := openCopy(t, der, name)
		require.Equal(t, code, got.Text.Reveal())
		got.Text = bypasscode.Text{}
		require.Equal(t, want, got)
	}
	der[len(der)-1] ^= 1
	openCopy(t, recoveryCopy(t, e, r), "a") // what is returned is a copy

	// Of a code that is filed by enrollment, and one that was made here.
	c = of(byAnother, asked(code2, "2", 2))
	c.EnrollmentID, c.Device = "", escrow.Device{}
	got := openCopy(t, recoveryCopy(t, e, capture(t, e, c)), "a")
	require.Equal(t, another, got.EnrollmentID)
	require.Zero(t, got.Device)
	made := lock(t, e, 3)
	got = openCopy(t, recoveryCopy(t, e, made), "b")
	require.Equal(t, reveal(t, e, bySerial, made.ID), got.Text.Reveal())
	require.Equal(t, bypasscode.Server, got.Kind)
	require.Equal(t, serial, got.Device.SerialNumber)

	for _, id := range []string{"x", ""} {
		_, err := e.RecoveryCopy(t.Context(), bySerial, id)
		require.ErrorIs(t, err, escrow.ErrNotFound)
	}
	none := newEscrow(t)
	_, err := none.RecoveryCopy(t.Context(), bySerial, capture(t, none, asked(code, "1", 1)).ID)
	require.EqualError(t, err, "escrow: recovery copy: escrow: not found")
	down := with(t, faulty{Store: memstore.New().Escrow(), fails: "entries"})
	_, err = down.RecoveryCopy(t.Context(), bySerial, "x")
	require.EqualError(t, err, "escrow: recovery copy: the store is down")
}

// Every text comes back, and none is turned away because its copy is too large.
func TestRecoveryCopyOfAnyText(t *testing.T) {
	t.Parallel()
	e := withCopies(t, memstore.New().Escrow(), "a", "b")
	for i, text := range []string{
		" ", "\xff\xfe no text", "\x00", "<&>", "\u2028", "line\nline\r\n", `"quoted\`, "é日本\U0001F512", "\ufeffx", "\ufffd", "a\x7fb", "\u0085",
		strings.Repeat("\x01", escrow.MaxText), strings.Repeat("\xff", escrow.MaxText), strings.Repeat("<", escrow.MaxText),
		strings.Repeat(`"`, escrow.MaxText), strings.Repeat("\u2028", escrow.MaxText/3), strings.Repeat("\x7f", escrow.MaxText),
	} {
		for _, s := range []string{"\x01", "<", `"`, "x"} {
			s = strings.Repeat(s, escrow.MaxIdentifier)
			c := of(escrow.Subject{SerialNumber: s}, asked(text, "1", 1))
			c.Device, c.EnrollmentID, c.CommandUUID = escrow.Device{SerialNumber: s, UDID: s, ProductType: s, IMEI: s, IMEI2: s, MEID: s}, s, s
			r := capture(t, e, c)
			got := openCopy(t, recoveryCopy(t, e, r), "a")
			require.Equal(t, text, got.Text.Reveal(), "text %d", i)
			require.Equal(t, c.Device, got.Device)
			require.Equal(t, text, reveal(t, e, r.Subject, r.ID))
		}
	}
}

// encrypt makes of content a recovery copy holds.
func encrypt(t *testing.T, content string) []byte {
	t.Helper()
	der, err := cms.Encrypt([]byte(content), certificates("a"))
	require.NoError(t, err)
	return der
}

func digested(line string) string {
	sum := sha256.Sum256([]byte(line))
	return line + hex.EncodeToString(sum[:]) + "\n"
}

func TestOpenRecoveryCopyRefuses(t *testing.T) {
	t.Parallel()
	a, b := holders["a"](), holders["b"]()
	e := withCopies(t, memstore.New().Escrow(), "a")
	r := capture(t, e, asked(code, "1", 1))
	der := recoveryCopy(t, e, r)
	refused := func(der []byte, h holder, name string) {
		t.Helper()
		got, err := escrow.OpenRecoveryCopy(der, h.certificate, h.key)
		require.Same(t, escrow.ErrCopy, err, name)
		require.Zero(t, got)
	}
	refused(der, b, "another holder")
	refused(der, holder{a.certificate, b.key}, "another key")
	refused(der, holder{nil, a.key}, "no certificate")
	refused(der, holder{a.certificate, nil}, "no key")
	refused(nil, a, "nothing")
	refused(append(bytes.Clone(der), 0), a, "a byte more")

	good := `{"format":"activationlock recovery copy 1","record":"r","kind":"device","code":"c","receivedAt":"2026-11-22T10:00:00Z"}` + "\n"
	require.Equal(t, "c", openCopy(t, encrypt(t, digested(good)), "a").Text.Reveal())
	for name, content := range map[string]string{
		"no digest":         good,
		"empty":             "",
		"another digest":    good + strings.TrimPrefix(digested("x\n"), "x\n"),
		"digest upper case": strings.ToUpper(digested(good)),
		"something after":   digested(good) + "x",
		"no end":            strings.TrimSuffix(digested(good), "\n"),
		"no JSON":           digested("x\n"),
		"another format":    digested(strings.Replace(good, "copy 1", "copy 2", 1)),
		"another kind":      digested(strings.Replace(good, `"device"`, `"other"`, 1)),
		"no code":           digested(strings.Replace(good, `"code":"c",`, "", 1)),
		"no base64":         digested(strings.Replace(good, `"code"`, `"codeBase64"`, 1)),
	} {
		refused(encrypt(t, content), a, name)
	}
}

func TestDamagedRecoveryCopies(t *testing.T) {
	t.Parallel()
	t.Logf("seed %d", seed)
	random := mathrand.New(mathrand.NewPCG(seed, 4))
	e := withCopies(t, memstore.New().Escrow(), "a", "b")
	der := recoveryCopy(t, e, capture(t, e, asked(code, "1", 1)))
	wrong := 0
	for range 400 {
		damaged := bytes.Clone(der)
		bit := random.IntN(8 * len(der))
		damaged[bit/8] ^= 1 << (bit % 8)
		if random.IntN(10) == 0 {
			damaged = damaged[:random.IntN(len(der))]
		}
		got, err := escrow.OpenRecoveryCopy(damaged, holders["a"]().certificate, holders["a"]().key)
		if err != nil {
			require.Same(t, escrow.ErrCopy, err, "bit %d", bit)
			require.Zero(t, got)
			wrong++
			continue
		}
		require.Equal(t, code, got.Text.Reveal(), "bit %d of what is for the other holder", bit)
	}
	require.Greater(t, wrong, 200)
}

func TestRecoveryCopyShowsNoCode(t *testing.T) {
	t.Parallel()
	e := withCopies(t, memstore.New().Escrow(), "a")
	der := recoveryCopy(t, e, capture(t, e, asked(code, "1", 1)))
	parsed, err := bypasscode.Parse(code)
	require.NoError(t, err)
	raw := parsed.RevealBytes()
	plain := strings.ReplaceAll(code, "-", "")
	for _, secret := range []string{
		code, plain, strings.ToLower(code), strings.ToLower(plain), string(raw[:]), hex.EncodeToString(raw[:]), hex.EncodeToString([]byte(code)),
		base64.StdEncoding.EncodeToString([]byte(code))[:38], base64.StdEncoding.EncodeToString(raw[:])[:20], code[:11], serial,
	} {
		require.False(t, bytes.Contains(der, []byte(secret)))
	}
}

// tool skips a test whose program is missing, except in CI, where skipping would
// go unnoticed.
func tool(t *testing.T, name string) {
	t.Helper()
	if _, err := exec.LookPath(name); err == nil {
		return
	}
	if os.Getenv("CI") != "" {
		t.Fatalf("%s missing in CI", name)
	}
	t.Skipf("%s missing", name)
}

func writeFile(t *testing.T, dir, name string, content []byte) string {
	t.Helper()
	path := filepath.Join(dir, name)
	require.NoError(t, os.WriteFile(path, content, 0o600))
	return path
}

// The copy opens without this library.
func TestOpenSSL(t *testing.T) {
	t.Parallel()
	tool(t, "openssl")
	e := withCopies(t, memstore.New().Escrow(), "a", "b")
	r := capture(t, e, asked(code, "1", 1))
	dir := t.TempDir()
	in := writeFile(t, dir, "copy.cms", recoveryCopy(t, e, r))
	for _, name := range []string{"a", "b"} {
		h := holders[name]()
		certificate := writeFile(t, dir, name+".pem", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: h.certificate.Raw}))
		der, err := x509.MarshalPKCS8PrivateKey(h.key)
		require.NoError(t, err)
		key := writeFile(t, dir, name+".key", pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
		for _, command := range []string{"cms", "smime"} {
			out := filepath.Join(dir, "out")
			text, err := exec.CommandContext(t.Context(), "openssl", command, "-decrypt", "-inform", "DER", "-in", in, "-recip", certificate, "-inkey", key, "-out", out).CombinedOutput()
			require.NoError(t, err, "openssl %s: %s", command, text)
			content, err := os.ReadFile(out)
			require.NoError(t, err)
			line, digest, found := strings.Cut(string(content), "\n")
			require.True(t, found)
			var got map[string]string
			require.NoError(t, json.Unmarshal([]byte(line), &got))
			require.Equal(t, map[string]string{
				"format": "activationlock recovery copy 1", "record": r.ID, "kind": "device", "code": code, "serialNumber": serial,
				"enrollmentID": enrollment, "udid": enrollment, "productType": "iPhone17,3", "imei": "350000000000019",
				"receivedAt": at(1).Format(time.RFC3339),
			}, got)

			// As the documentation has it: sha256sum of the first line.
			tool(t, "sha256sum")
			writeFile(t, dir, "line", []byte(line+"\n"))
			checksum := exec.CommandContext(t.Context(), "sha256sum", "line")
			checksum.Dir = dir
			sum, err := checksum.Output()
			require.NoError(t, err)
			require.Equal(t, strings.TrimSuffix(digest, "\n")+"  line\n", string(sum))
		}
	}
}

func TestNothingShowsARecoveredCode(t *testing.T) {
	t.Parallel()
	store := memstore.New().Escrow()
	e := withCopies(t, store, "a")
	r := capture(t, e, asked(code, "1", 1))
	recovered := openCopy(t, recoveryCopy(t, e, r), "a")
	_, err := json.Marshal(recovered)
	require.ErrorIs(t, err, bypasscode.ErrSecret)

	made := lock(t, e, 2)
	next, err := seal.GenerateKey(seal.X25519)
	require.NoError(t, err)
	ring, err := seal.NewKeyring([]seal.PublicKey{next.Public()}, next)
	require.NoError(t, err)
	_, err = ring.Open(t.Context(), scan(t, store)[0].Sealed, nil)
	require.ErrorIs(t, err, seal.ErrNoKey)
	other, err := escrow.New(escrow.Config{Audit: newAudit(), Store: store, Sealer: ring})
	require.NoError(t, err)
	failed, err := other.Rotate(t.Context(), act, "", nil)
	require.NoError(t, err)
	require.Equal(t, 2, failed.Failed)
	done, err := e.Rotate(t.Context(), act, "", nil)
	require.NoError(t, err)
	secrets := []string{code, reveal(t, e, bySerial, made.ID)}
	for name, v := range map[string]any{
		"recovered": recovered, "pointer": &recovered, "inside": []any{recovered}, "server code": made, "entries": scan(t, store),
		"lock":    escrow.Lock{SerialNumber: serial, At: at(1)},
		"verdict": escrow.Verdict{State: escrow.Void, Reason: "r", At: at(1)}, "purge": sold, "rotation": done, "failed rotation": failed,
	} {
		requireShowsNothing(t, name, v, secrets...)
	}
}

// A code whose copy cannot be made is not kept without one.
func TestRecoveryCopyFails(t *testing.T) {
	t.Parallel()
	store := memstore.New().Escrow()
	e := withCopies(t, store, "a")
	c := asked(code, "1", 1)
	c.ReceivedAt = at(0).AddDate(10_000, 0, 0) // JSON has no such year
	_, err := e.Capture(t.Context(), c)
	require.EqualError(t, err, "escrow: capture: escrow: recovery copy: the record cannot be written as JSON")
	require.Empty(t, scan(t, store))

	// Nor does a rotation write anything.
	none, err := escrow.New(sealing(store))
	require.NoError(t, err)
	capture(t, none, c)
	before := scan(t, store)
	done, err := e.Rotate(t.Context(), act, "", nil)
	require.NoError(t, err)
	require.EqualError(t, done.Err, "escrow: recovery copy: the record cannot be written as JSON")
	require.Equal(t, 1, done.Failed)
	require.Equal(t, before, scan(t, store))
}
