package escrow

import (
	"bytes"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/activationlock/sdk/bypasscode"
)

// No two records are sealed with the same associated data, however their
// strings run into each other. It cannot be seen from outside.
func TestAssociatedDataDiffers(t *testing.T) {
	t.Parallel()
	const seed = 20261122
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 6))
	field := func() string {
		b := make([]byte, random.IntN(4))
		for i := range b {
			b[i] = "\x00\x01ab"[random.IntN(4)]
		}
		return string(b)
	}
	seen := map[string][4]string{}
	for range 50_000 {
		fields := [4]string{field(), field(), field(), field()}
		data := string(associated(Record{
			ID: fields[0], Kind: bypasscode.Kind(fields[1]), Subject: Subject{SerialNumber: fields[2], EnrollmentID: fields[3]},
		}))
		if was, ok := seen[data]; ok {
			require.Equal(t, was, fields)
		}
		seen[data] = fields
	}
	require.Greater(t, len(seen), 10_000)
}

// What never changes, written down.
func TestSealedBytesNeverChange(t *testing.T) {
	t.Parallel()
	r := Record{ID: "I", Kind: bypasscode.Device, Subject: Subject{SerialNumber: "S"}}
	require.Equal(t, "\x00\x1eactivationlock escrow record 1\x00\x01I\x00\x06device\x00\x01S\x00\x00", string(associated(r)))
	r.Subject = Subject{EnrollmentID: "E"}
	require.Equal(t, "\x00\x1eactivationlock escrow record 1\x00\x01I\x00\x06device\x00\x00\x00\x01E", string(associated(r)))
	text := bypasscode.NewText("3UM43-PUYVY-QYD1-UVCC-HEHJ-FKA4")
	content := payload(Device{SerialNumber: "S", UDID: "U", IMEI: "1"}, text)
	require.Equal(t, "\x01\x00\x1f3UM43-PUYVY-QYD1-UVCC-HEHJ-FKA4\x00\x01S\x00\x01U", string(content))
	long := bypasscode.NewText(string(bytes.Repeat([]byte("\xff"), MaxText)))
	device, got, ok := readPayload(payload(Device{SerialNumber: "S"}, long))
	require.True(t, ok)
	require.Equal(t, Device{SerialNumber: "S"}, device)
	require.True(t, got.Equal(long))
	// SHA-256 of both strings with their lengths, and 1ea841db5edfafe6075b5ae0d845d254.
	require.Equal(t, "3f78b5fb6e611b4f52923c1dc8eaeb2f54577d6cb88880139bbba4bbe7979bfe", digest(bypasscode.Device, text))
	require.NotEqual(t, digest(bypasscode.Device, text), digest(bypasscode.Server, text))
	require.Empty(t, digest(bypasscode.Device, long))
}
