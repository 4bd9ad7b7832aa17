package transfer_test

import (
	"bytes"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/activationlock/sdk/bypasscode"
	"github.com/activationlock/sdk/bypasscode/escrow"
	"github.com/activationlock/sdk/bypasscode/seal"
	"github.com/activationlock/sdk/bypasscode/transfer"
)

const (
	code  = "3UM43-PUYVY-QYD1-UVCC-HEHJ-FKA4"
	code2 = "8LNYD-DVNKU-GYRC-E6GU-3YFD-CT86"
)

var errDown = errors.New("down")

func at(hour int) time.Time {
	return time.Date(2026, 11, 22, 9, 0, 0, 0, time.UTC).Add(time.Duration(hour) * time.Hour)
}

func newRing() *seal.Keyring {
	key, err := seal.GenerateKey(seal.X25519)
	if err != nil {
		panic(err)
	}
	ring, err := seal.NewKeyring([]seal.PublicKey{key.Public()}, key)
	if err != nil {
		panic(err)
	}
	return ring
}

var keys = sync.OnceValue(newRing)

// full is a record with everything that one can have.
func full() escrow.Portable {
	c, err := bypasscode.Parse(code2)
	if err != nil {
		panic(err)
	}
	hash, err := c.Hash()
	if err != nil {
		panic(err)
	}
	return escrow.Portable{Text: bypasscode.NewText(code2), JoinedTo: []string{"XXFAKE0SER1", "XXFAKE0SER2"}, Record: escrow.Record{
		ID: "FULL", Subject: escrow.Subject{EnrollmentID: "enrollment <&> \u2028 \u00e9"}, Kind: bypasscode.Server,
		State: escrow.Void, StateSince: at(1), StateReason: "404", Cause: escrow.CauseOrganizationLock, EnrollmentID: "giver",
		CommandUUID: "uuid", AskedAt: at(2), ReceivedAt: at(3), FirstSeen: at(4), LastSeen: at(5).Add(time.Microsecond),
		StaleSince: at(6), StaleReason: "erased", DeletedAt: at(7), Hash: hash,
		Device: escrow.Device{SerialNumber: "s", UDID: "u", ProductType: "p", IMEI: "i", IMEI2: "j", MEID: "m"},
	}}
}

func plain(id, text string) escrow.Portable {
	return escrow.Portable{Text: bypasscode.NewText(text), Record: escrow.Record{
		ID: id, Subject: escrow.Subject{SerialNumber: "XXFAKE" + id}, Kind: bypasscode.Device, State: escrow.Current,
		Cause: escrow.CauseSchedule, FirstSeen: at(1), LastSeen: at(1),
	}}
}

func some() []escrow.Portable {
	return []escrow.Portable{full(), plain("A", code), plain("B", "\xff\x00 no code"), plain("C", "\"quoted\" \u2028 \ufffd <tag>\x00\r\n")}
}

func rowsOf(portables ...escrow.Portable) iter.Seq2[escrow.Portable, error] {
	return func(yield func(escrow.Portable, error) bool) {
		for _, p := range portables {
			if !yield(p, nil) {
				return
			}
		}
	}
}

func bundle(t testing.TB, portables ...escrow.Portable) []byte {
	t.Helper()
	var out bytes.Buffer
	n, err := transfer.WriteBundle(context.Background(), &out, keys(), rowsOf(portables...), nil)
	require.NoError(t, err)
	require.Equal(t, transfer.Written{Rows: int64(len(portables))}, n)
	return out.Bytes()
}

// read returns the rows and what ended them.
func read(rows iter.Seq2[escrow.Portable, error]) (found []escrow.Portable, err error) {
	for p, err := range rows {
		if err != nil {
			return found, err
		}
		found = append(found, p)
	}
	return found, nil
}

func open(b []byte) ([]escrow.Portable, error) {
	return read(transfer.ReadBundle(context.Background(), bytes.NewReader(b), keys()))
}

// requireRows compares what was read with what was written.
func requireRows(t testing.TB, want, got []escrow.Portable) {
	t.Helper()
	require.Len(t, got, len(want))
	for i := range want {
		require.Equal(t, i+1, got[i].Row)
		require.Equal(t, want[i].Record, got[i].Record)
		require.Equal(t, want[i].JoinedTo, got[i].JoinedTo)
		require.NoError(t, got[i].Err)
		require.Equal(t, want[i].Text.Reveal(), got[i].Text.Reveal())
	}
}

func TestBundle(t *testing.T) {
	t.Parallel()
	for _, rows := range [][]escrow.Portable{nil, some()[:1], some()} {
		b := bundle(t, rows...)
		got, err := open(b)
		require.NoError(t, err)
		requireRows(t, rows, got)
		got, err = read(transfer.ReadBundle(t.Context(), iotest.OneByteReader(bytes.NewReader(b)), keys()))
		require.NoError(t, err)
		requireRows(t, rows, got)
		require.NotContains(t, string(b), "XXFAKE")
	}
	// Whoever stops has had one.
	for p, err := range transfer.ReadBundle(t.Context(), bytes.NewReader(bundle(t, some()...)), keys()) {
		require.NoError(t, err)
		require.Equal(t, "FULL", p.Record.ID)
		break
	}
}

// layout is a bundle taken apart: the two lines, and the frames.
func layout(t testing.TB, b []byte) (head []byte, frames [][]byte) {
	t.Helper()
	at := bytes.IndexByte(b, '\n') + 1
	at += bytes.IndexByte(b[at:], '\n') + 1
	head = b[:at]
	for at < len(b) {
		size := 4 + int(binary.BigEndian.Uint32(b[at:]))
		frames = append(frames, b[at:at+size])
		at += size
	}
	return head, frames
}

func join(head []byte, frames ...[]byte) []byte {
	return append(bytes.Clone(head), bytes.Join(frames, nil)...)
}

// A bundle that is cut off anywhere is known to be, and gives the rows before.
func TestTruncatedBundle(t *testing.T) {
	t.Parallel()
	rows := some()
	b := bundle(t, rows...)
	head, frames := layout(t, b)
	ends := []int{len(head)}
	for _, f := range frames {
		ends = append(ends, ends[len(ends)-1]+len(f))
	}
	first := bytes.IndexByte(b, '\n') + 1
	for n := range b {
		got, err := open(b[:n])
		if n < first {
			require.ErrorIs(t, err, transfer.ErrNotBundle, n)
		} else {
			require.ErrorIs(t, err, transfer.ErrTruncated, n)
		}
		whole := 0
		for whole < len(rows) && ends[whole+1] <= n {
			whole++
		}
		requireRows(t, rows[:whole], got)
	}
}

// Whatever bit is flipped is found, and the rows before the damage are right.
func TestFlippedBits(t *testing.T) {
	t.Parallel()
	rows := some()
	b := bundle(t, rows...)
	head, frames := layout(t, b)
	start := []int{}
	n := len(head)
	for _, f := range frames {
		start = append(start, n)
		n += len(f)
	}
	first := bytes.IndexByte(b, '\n') + 1
	for i := range b {
		flipped := bytes.Clone(b)
		flipped[i] ^= 1 << (i % 8)
		got, err := open(flipped)
		require.Error(t, err, i)
		switch {
		case i < first:
			require.ErrorIs(t, err, transfer.ErrNotBundle)
		case i < len(head):
			require.True(t, errors.Is(err, transfer.ErrDamaged) || errors.Is(err, transfer.ErrTruncated) || errors.Is(err, seal.ErrDamaged) ||
				errors.Is(err, seal.ErrNoKey) || errors.Is(err, seal.ErrVersion), err)
		default:
			require.True(t, errors.Is(err, transfer.ErrDamaged) || errors.Is(err, transfer.ErrTruncated), err)
		}
		before := 0
		for before+1 < len(start) && start[before+1] <= i {
			before++
		}
		if i < len(head) {
			before = 0
		}
		requireRows(t, rows[:before], got)
	}
}

func TestRearrangedBundles(t *testing.T) {
	t.Parallel()
	rows := some()
	b := bundle(t, rows...)
	head, f := layout(t, b)
	require.Len(t, f, 5)
	otherHead, other := layout(t, bundle(t, rows...))
	for name, test := range map[string]struct {
		bundle []byte
		rows   int
		want   error
	}{
		"swapped":                {join(head, f[0], f[2], f[1], f[3], f[4]), 1, transfer.ErrDamaged},
		"dropped":                {join(head, f[0], f[2], f[3], f[4]), 1, transfer.ErrDamaged},
		"the first dropped":      {join(head, f[1], f[2], f[3], f[4]), 0, transfer.ErrDamaged},
		"the last row dropped":   {join(head, f[0], f[1], f[2], f[4]), 3, transfer.ErrDamaged},
		"repeated":               {join(head, f[0], f[0], f[1], f[2], f[3], f[4]), 1, transfer.ErrDamaged},
		"the end repeated":       {join(head, f[0], f[1], f[2], f[3], f[4], f[4]), 4, transfer.ErrDamaged},
		"the end early":          {join(head, f[0], f[4]), 1, transfer.ErrDamaged},
		"without an end":         {join(head, f[:4]...), 4, transfer.ErrTruncated},
		"of another":             {join(head, f[0], other[1], f[2], f[3], f[4]), 1, transfer.ErrDamaged},
		"the end of another":     {join(head, f[0], f[1], f[2], f[3], other[4]), 4, transfer.ErrDamaged},
		"another's key":          {join(otherHead, f...), 0, transfer.ErrDamaged},
		"two":                    {append(bytes.Clone(b), b...), 4, transfer.ErrDamaged},
		"a trailing byte":        {append(bytes.Clone(b), 0), 4, transfer.ErrDamaged},
		"an empty frame":         {join(head, f[0], make([]byte, 4), f[1]), 1, transfer.ErrDamaged},
		"a short frame":          {join(head, f[0], []byte{0, 0, 0, 27}, make([]byte, 27), f[1]), 1, transfer.ErrDamaged},
		"a giant frame":          {join(head, f[0], []byte{0xff, 0xff, 0xff, 0xff}, f[1]), 1, transfer.ErrDamaged},
		"a frame too large":      {join(head, f[0], []byte{0, 1, 0, 1}, make([]byte, 1<<16+1)), 1, transfer.ErrDamaged},
		"a frame that ends":      {join(head, f[0], []byte{0, 1, 0, 0}, f[1]), 1, transfer.ErrTruncated},
		"another version":        {bytes.Replace(b, []byte("-1\n"), []byte("-2\n"), 1), 0, transfer.ErrNotBundle},
		"lines of Windows":       {bytes.Replace(b, []byte("\n"), []byte("\r\n"), 2), 0, transfer.ErrNotBundle},
		"a return in the key":    {bytes.Replace(b, []byte("-1\n"), []byte("-1\n\r"), 1), 0, transfer.ErrDamaged},
		"padding":                {append(append(bytes.Clone(head[:len(head)-1]), "=\n"...), join(nil, f...)...), 0, transfer.ErrDamaged},
		"a key without end":      {append(head[:len(head):len(head)][:24], bytes.Repeat([]byte("A"), 1<<20)...), 0, transfer.ErrDamaged},
		"a file without lines":   {bytes.Repeat([]byte("A"), 1<<20), 0, transfer.ErrNotBundle},
		"nothing":                {nil, 0, transfer.ErrNotBundle},
		"something else":         {[]byte("serial_number,code\n"), 0, transfer.ErrNotBundle},
		"a key of another size":  {append(append([]byte("activationlock-bundle-1\n"), sealed(t, make([]byte, 16))...), join(nil, f...)...), 0, transfer.ErrDamaged},
		"another text as a key":  {append(append([]byte("activationlock-bundle-1\n"), sealed(t, make([]byte, 32))...), join(nil, f...)...), 0, transfer.ErrDamaged},
		"an escrow record's key": {append(append([]byte("activationlock-bundle-1\n"), sealedFor(t, make([]byte, 32), "record")...), join(nil, f...)...), 0, seal.ErrDamaged},
	} {
		got, err := open(test.bundle)
		require.ErrorIs(t, err, test.want, name)
		requireRows(t, rows[:test.rows], got)
	}
	_, err := read(transfer.ReadBundle(t.Context(), bytes.NewReader(b), newRing()))
	require.ErrorIs(t, err, seal.ErrNoKey)
}

func sealed(t *testing.T, key []byte) []byte { return sealedFor(t, key, "activationlock bundle 1 key") }

func sealedFor(t *testing.T, key []byte, associated string) []byte {
	t.Helper()
	s, err := keys().Seal(t.Context(), key, []byte(associated))
	require.NoError(t, err)
	return []byte(base64.RawURLEncoding.EncodeToString(s) + "\n")
}

// Errors of others come through, and what came before is good.
func TestReaderFails(t *testing.T) {
	t.Parallel()
	b := bundle(t, some()...)
	for n := 0; n <= len(b); n += 3 {
		_, err := read(transfer.ReadBundle(t.Context(), io.MultiReader(bytes.NewReader(b[:n]), iotest.ErrReader(errDown)), keys()))
		require.ErrorIs(t, err, errDown, n)
	}
	_, err := read(transfer.ReadBundle(t.Context(), io.MultiReader(bytes.NewReader(b), iotest.ErrReader(errDown)), keys()))
	require.ErrorIs(t, err, errDown)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	n := 0
	for _, err := range transfer.ReadBundle(ctx, bytes.NewReader(b), keys()) {
		if err != nil {
			require.ErrorIs(t, err, context.Canceled)
			break
		}
		n++
		cancel()
	}
	require.Equal(t, 1, n)
}

// limited is a writer that fails after some bytes.
type limited struct {
	bytes.Buffer
	left int
}

func (l *limited) Write(p []byte) (int, error) {
	if len(p) > l.left {
		n, _ := l.Buffer.Write(p[:l.left])
		l.left = 0
		return n, errDown
	}
	l.left -= len(p)
	return l.Buffer.Write(p)
}

type sealer func([]byte) ([]byte, error)

func (s sealer) Seal(_ context.Context, text, _ []byte) ([]byte, error) { return s(text) }

func (s sealer) Open(_ context.Context, sealed, _ []byte) ([]byte, error) { return sealed[:32], nil }

func TestWriterFails(t *testing.T) {
	t.Parallel()
	size := len(bundle(t, some()...))
	for n := 0; n < size; n += 41 {
		w := &limited{left: n}
		_, err := transfer.WriteBundle(t.Context(), w, keys(), rowsOf(some()...), nil)
		require.ErrorIs(t, err, errDown)
		_, err = open(w.Bytes())
		require.Error(t, err)
		_, err = transfer.WriteCSV(&limited{left: n % 300}, rowsOf(some()...), nil)
		require.ErrorIs(t, err, errDown)
	}
	// A writer that fails is not asked for long.
	asked := 0
	_, err := transfer.WriteBundle(t.Context(), &limited{}, keys(), endless(&asked), nil)
	require.ErrorIs(t, err, errDown)
	require.Less(t, asked, 1000)
	_, err = transfer.WriteCSV(&limited{}, endless(&asked), nil)
	require.ErrorIs(t, err, errDown)

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var out bytes.Buffer
	_, err = transfer.WriteBundle(ctx, &out, keys(), endless(&asked), nil)
	require.ErrorIs(t, err, context.Canceled)

	broken := func(yield func(escrow.Portable, error) bool) {
		if yield(plain("A", code), nil) {
			yield(plain("B", code2), errDown)
		}
	}
	out.Reset()
	n, err := transfer.WriteBundle(t.Context(), &out, keys(), broken, nil)
	require.ErrorIs(t, err, errDown)
	require.Equal(t, transfer.Written{Rows: 1}, n)
	got, err := open(out.Bytes())
	require.ErrorIs(t, err, transfer.ErrTruncated)
	requireRows(t, []escrow.Portable{plain("A", code)}, got)
	_, err = transfer.WriteCSV(&out, broken, nil)
	require.ErrorIs(t, err, errDown)

	_, err = transfer.WriteBundle(t.Context(), &out, sealer(func([]byte) ([]byte, error) { return nil, errDown }), rowsOf(), nil)
	require.ErrorIs(t, err, errDown)
	// The longest key that a Sealer may make can be read again; a longer one is none.
	long := sealer(func(key []byte) ([]byte, error) { return append(key, make([]byte, escrow.MaxSealed-len(key))...), nil })
	out.Reset()
	_, err = transfer.WriteBundle(t.Context(), &out, long, rowsOf(some()...), nil)
	require.NoError(t, err)
	got, err = read(transfer.ReadBundle(t.Context(), &out, long))
	require.NoError(t, err)
	requireRows(t, some(), got)
	_, err = transfer.WriteBundle(t.Context(), &out, sealer(func([]byte) ([]byte, error) { return make([]byte, escrow.MaxSealed+1), nil }), rowsOf(), nil)
	require.Error(t, err)
}

func endless(asked *int) iter.Seq2[escrow.Portable, error] {
	return func(yield func(escrow.Portable, error) bool) {
		for yield(plain("A", code), nil) {
			*asked++
		}
	}
}

// Rows that cannot be written stop nothing, and are told.
func TestRowsThatAreLeftOut(t *testing.T) {
	t.Parallel()
	with := func(change func(*escrow.Portable)) escrow.Portable {
		p := plain("X", code)
		change(&p)
		return p
	}
	rows := []escrow.Portable{
		plain("A", code),
		with(func(p *escrow.Portable) { p.Err = escrow.ErrMoved }),
		with(func(p *escrow.Portable) { p.Text = bypasscode.NewText(strings.Repeat("x", 70<<10)) }),
		with(func(p *escrow.Portable) { p.Record.LastSeen = time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC) }),
		plain("B", code2),
	}
	var errs []error
	failed := func(p escrow.Portable) {
		require.Equal(t, "X", p.Record.ID)
		errs = append(errs, p.Err)
	}
	var out bytes.Buffer
	n, err := transfer.WriteBundle(t.Context(), &out, keys(), rowsOf(rows...), failed)
	require.NoError(t, err)
	require.Equal(t, transfer.Written{Rows: 2, Failed: 3}, n)
	require.Len(t, errs, 3)
	require.ErrorIs(t, errs[0], escrow.ErrMoved)
	require.EqualError(t, errs[1], "transfer: the row is too large for a bundle")
	require.EqualError(t, errs[2], "transfer: the row cannot be written into a bundle")
	got, err := open(out.Bytes())
	require.NoError(t, err)
	requireRows(t, []escrow.Portable{rows[0], rows[4]}, got)
	_, err = transfer.WriteBundle(t.Context(), io.Discard, keys(), rowsOf(rows...), nil)
	require.NoError(t, err)
	n, err = transfer.WriteCSV(io.Discard, rowsOf(rows[:2]...), failed)
	require.NoError(t, err)
	require.Equal(t, transfer.Written{Rows: 1, Failed: 1}, n)
	require.Len(t, errs, 4)
	_, err = transfer.WriteCSV(io.Discard, rowsOf(rows[:2]...), nil)
	require.NoError(t, err)
	// What fits by a byte can be read again.
	rows = nil
	for size := 65200; size < 65500; size++ {
		rows = append(rows, plain("A", strings.Repeat("x", size)))
	}
	out.Reset()
	n, err = transfer.WriteBundle(t.Context(), &out, keys(), rowsOf(rows...), nil)
	require.NoError(t, err)
	require.NotZero(t, n.Failed)
	require.NotZero(t, n.Rows)
	got, err = open(out.Bytes())
	require.NoError(t, err)
	requireRows(t, rows[:n.Rows], got)
}

// made is a bundle by hand, as the format is described: the last frame is the last.
func made(t *testing.T, frames ...string) []byte {
	t.Helper()
	key := bytes.Repeat([]byte{7}, 32)
	block, err := aes.NewCipher(key)
	require.NoError(t, err)
	aead, err := cipher.NewGCM(block)
	require.NoError(t, err)
	b := append([]byte("activationlock-bundle-1\n"), sealed(t, key)...)
	for i, f := range frames {
		data := binary.BigEndian.AppendUint64(nil, uint64(i))
		data = append(data, 0)
		if i == len(frames)-1 {
			data[8] = 1
		}
		nonce := make([]byte, 12)
		nonce[0] = byte(i)
		b = binary.BigEndian.AppendUint32(b, uint32(12+len(f)+16))
		b = aead.Seal(append(b, nonce...), nonce, []byte(f), data)
	}
	return b
}

func TestBundleByHand(t *testing.T) {
	t.Parallel()
	const row = `{"id":"A","serialNumber":"S","kind":"device","state":"current","cause":"import","lastSeen":"2026-11-22T09:00:00Z","code":"x"}`
	rows, err := open(made(t, row, `{"rows":1}`))
	require.NoError(t, err)
	require.Equal(t, "x", rows[0].Text.Reveal())
	require.Equal(t, at(0), rows[0].Record.LastSeen)
	for _, end := range []string{`{"rows":0}`, `{"rows":2}`, `{`, ``} {
		rows, err = open(made(t, row, end))
		require.ErrorIs(t, err, transfer.ErrDamaged)
		require.Len(t, rows, 1)
	}
	_, err = open(made(t, `{`, `{"rows":1}`))
	require.ErrorIs(t, err, transfer.ErrDamaged)
	// Rows that make no sense have an error of their own.
	rows, err = open(made(t, `{"hash":"secret"}`, `{"codeBase64":"secret!"}`, `{}`, row, `{"rows":4}`))
	require.NoError(t, err)
	require.Len(t, rows, 4)
	require.EqualError(t, rows[0].Err, "transfer: the hash is none")
	require.EqualError(t, rows[1].Err, "transfer: the code is not readable")
	require.NoError(t, rows[2].Err)
	require.True(t, rows[2].Text.IsZero())
	require.NoError(t, rows[3].Err)
}

const goldenKey = "testdata/key.txt"

// goldenRows are what the golden bundles hold.
var goldenRows = map[string]func() []escrow.Portable{
	"empty.bundle": func() []escrow.Portable { return nil },
	"rows.bundle":  some,
}

// Bundles of this version can be read for ever. The key is published: nobody may
// ever use it.
func TestGolden(t *testing.T) {
	t.Parallel()
	if _, err := os.Stat(goldenKey); *update && errors.Is(err, os.ErrNotExist) {
		key, err := seal.GenerateKey(seal.X25519)
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(goldenKey, []byte("# Published, for tests. Nobody may ever use it.\n"+key.Reveal()+"\n"), 0o644))
	}
	content, err := os.ReadFile(goldenKey)
	require.NoError(t, err)
	_, line, _ := strings.Cut(string(content), "\n")
	key, err := seal.ParsePrivateKey(line)
	require.NoError(t, err)
	ring, err := seal.NewKeyring([]seal.PublicKey{key.Public()}, key)
	require.NoError(t, err)
	for name, rows := range goldenRows {
		path := filepath.Join("testdata", name)
		if _, err := os.Stat(path); *update && errors.Is(err, os.ErrNotExist) {
			var out bytes.Buffer
			_, err := transfer.WriteBundle(t.Context(), &out, ring, rowsOf(rows()...), nil)
			require.NoError(t, err)
			require.NoError(t, os.WriteFile(path, out.Bytes(), 0o644))
		}
		b, err := os.ReadFile(path)
		require.NoError(t, err)
		got, err := read(transfer.ReadBundle(t.Context(), bytes.NewReader(b), ring))
		require.NoError(t, err)
		requireRows(t, rows(), got)
	}
	files, err := filepath.Glob("testdata/*.bundle")
	require.NoError(t, err)
	require.Len(t, files, len(goldenRows))
}

func FuzzReadBundle(f *testing.F) {
	b := bundle(f, some()...)
	f.Add(b)
	f.Add(b[:len(b)-1])
	f.Add([]byte("activationlock-bundle-1\nAA\n\x00\x00\x00\x01"))
	_, frames := layout(f, b)
	f.Add(join([]byte("activationlock-bundle-1\nAA\n"), frames...))
	f.Fuzz(func(t *testing.T, b []byte) {
		rows, err := open(b)
		if err == nil { // nobody but the writer makes one
			require.NotEmpty(t, b)
			return
		}
		require.NotContains(t, fmt.Sprint(err), code)
		require.LessOrEqual(t, len(rows), 4)
	})
}
