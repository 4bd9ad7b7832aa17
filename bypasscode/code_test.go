package bypasscode_test

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"io"
	"os"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/require"

	"github.com/activationlock/sdk/bypasscode"
)

type vector struct{ raw, code, hash string }

// vectors reads testdata/vectors.txt.
func vectors(tb testing.TB) []vector {
	tb.Helper()
	file, err := os.Open("testdata/vectors.txt")
	require.NoError(tb, err)
	defer file.Close()
	var all []vector
	for lines := bufio.NewScanner(file); lines.Scan(); {
		if strings.HasPrefix(lines.Text(), "#") {
			continue
		}
		f := strings.Split(lines.Text(), " ")
		require.Len(tb, f, 3)
		all = append(all, vector{f[0], f[1], f[2]})
	}
	require.Len(tb, all, 11, "eleven vectors are published")
	return all
}

func fromHex(tb testing.TB, s string) bypasscode.Code {
	tb.Helper()
	raw, err := hex.DecodeString(s)
	require.NoError(tb, err)
	code, err := bypasscode.FromBytes(raw)
	require.NoError(tb, err)
	return code
}

func TestVectors(t *testing.T) {
	t.Parallel()
	for _, v := range vectors(t) {
		code := fromHex(t, v.raw)
		require.Equal(t, v.code, code.Reveal())

		parsed, err := bypasscode.Parse(v.code)
		require.NoError(t, err)
		require.True(t, parsed.Equal(code))
		raw := parsed.RevealBytes()
		require.Equal(t, v.raw, hex.EncodeToString(raw[:]))

		hash, err := code.Hash()
		require.NoError(t, err)
		require.Equal(t, v.hash, hash.String())
	}
}

func TestNewMakesDifferentCodes(t *testing.T) {
	t.Parallel()
	a, b := bypasscode.New(), bypasscode.New()
	require.False(t, a.IsZero())
	require.False(t, a.Equal(b))
	require.True(t, a.Equal(a))
}

func TestNewFromReadsFully(t *testing.T) {
	t.Parallel()
	raw := []byte("0123456789abcdef")
	code, err := bypasscode.NewFrom(iotest.OneByteReader(bytes.NewReader(raw)))
	require.NoError(t, err)
	got := code.RevealBytes()
	require.Equal(t, raw, got[:])

	_, err = bypasscode.NewFrom(bytes.NewReader(raw[:15]))
	require.ErrorIs(t, err, io.ErrUnexpectedEOF)
	_, err = bypasscode.NewFrom(bytes.NewReader(nil))
	require.ErrorIs(t, err, io.EOF)
}

func TestFromBytesTakesExactlySixteen(t *testing.T) {
	t.Parallel()
	for _, n := range []int{0, 8, 15, 17, 40} {
		_, err := bypasscode.FromBytes(make([]byte, n))
		require.Error(t, err, "%d bytes", n)
	}
	raw := []byte("0123456789abcdef")
	code, err := bypasscode.FromBytes(raw)
	require.NoError(t, err)
	raw[0] = 'X'
	got := code.RevealBytes()
	require.Equal(t, "0123456789abcdef", string(got[:]), "the code keeps a copy")
	got[0] = 'Y'
	again := code.RevealBytes()
	require.Equal(t, "0123456789abcdef", string(again[:]), "the result is a copy")
}

func TestZeroCode(t *testing.T) {
	t.Parallel()
	var zero bypasscode.Code
	require.True(t, zero.IsZero())
	require.Empty(t, zero.Reveal())
	require.True(t, zero.Text().IsZero())
	_, err := zero.Hash()
	require.ErrorIs(t, err, bypasscode.ErrNoCode)
	require.Panics(t, func() { zero.RevealBytes() })

	allZeros := fromHex(t, strings.Repeat("00", 16))
	require.True(t, zero.Equal(bypasscode.Code{}))
	require.False(t, zero.Equal(allZeros))
	require.False(t, allZeros.Equal(zero))
}

func TestTextKeepsEveryByte(t *testing.T) {
	t.Parallel()
	for _, s := range []string{"", "x", "3um43", "3UM43-PUYVY-QYD1-UVCC-HEHJ-FKA4", " \x00\xff\u2010"} {
		text := bypasscode.NewText(s)
		require.Equal(t, s, text.Reveal())
		require.Equal(t, s == "", text.IsZero())
		require.True(t, text.Equal(bypasscode.NewText(s)))
		require.False(t, text.Equal(bypasscode.NewText(s+"0")))
	}
	code, err := bypasscode.NewText("3UM43-PUYVY-QYD1-UVCC-HEHJ-FKA4").Code()
	require.NoError(t, err)
	require.True(t, code.Text().Equal(bypasscode.NewText("3UM43-PUYVY-QYD1-UVCC-HEHJ-FKA4")))
	_, err = bypasscode.NewText("3um43-puyvy-qyd1-uvcc-hehj-fka4").Code()
	require.Error(t, err)
}

func TestKind(t *testing.T) {
	t.Parallel()
	require.True(t, bypasscode.Device.Valid())
	require.True(t, bypasscode.Server.Valid())
	require.False(t, bypasscode.Kind("").Valid())
	require.False(t, bypasscode.Kind("Device").Valid())
}
