// Package benchmark measures the library beside a named yardstick: both do the
// same work in turns within one run, and what is reported is their ratio.
//
//	go test -bench . ./examples/internal/benchmark
package benchmark

import (
	"context"
	"crypto/pbkdf2"
	"crypto/sha256"
	"runtime"
	"testing"
	"time"

	"github.com/micromdm/nanodep/albc"
	"github.com/stretchr/testify/require"

	"github.com/activationlock/sdk/bypasscode"
)

const text = "3UM43-PUYVY-QYD1-UVCC-HEHJ-FKA4"

// Results are kept, so that the compiler cannot drop the work.
var (
	keptText   string
	keptCode   bypasscode.Code
	keptTheirs albc.BypassCode
	keptHash   bypasscode.Hash
	keptKey    []byte
)

// inTurns runs both sides in turns, rounds times each a turn, and reports how
// much longer theirs takes than ours.
func inTurns(b *testing.B, rounds int, metric string, ours, theirs func()) {
	var our, their time.Duration
	for b.Loop() {
		start := time.Now()
		for range rounds {
			ours()
		}
		middle := time.Now()
		for range rounds {
			theirs()
		}
		our += middle.Sub(start)
		their += time.Since(middle)
	}
	n := float64(b.N * rounds)
	b.ReportMetric(0, "ns/op") // of both together: says nothing
	b.ReportMetric(float64(our)/n, "ns/ours")
	b.ReportMetric(float64(their)/n, "ns/theirs")
	b.ReportMetric(testing.AllocsPerRun(100, ours), "allocs/ours")
	b.ReportMetric(testing.AllocsPerRun(100, theirs), "allocs/theirs")
	b.ReportMetric(float64(their)/float64(our), metric)
}

func BenchmarkFormatBesideNanoDEP(b *testing.B) {
	code, err := bypasscode.Parse(text)
	require.NoError(b, err)
	theirs := albc.BypassCode(code.RevealBytes())
	inTurns(b, 1000, "x-faster",
		func() { keptText = code.Reveal() },
		func() { keptText, _ = theirs.Code() })
}

func BenchmarkParseBesideNanoDEP(b *testing.B) {
	inTurns(b, 1000, "x-faster",
		func() { keptCode, _ = bypasscode.Parse(text) },
		func() { keptTheirs, _ = albc.NewFromCode(text) })
}

func BenchmarkHashBesideStandardLibrary(b *testing.B) {
	code, err := bypasscode.Parse(text)
	require.NoError(b, err)
	raw := code.RevealBytes()
	salt := make([]byte, 4)
	inTurns(b, 1, "x-faster",
		func() { keptHash, _ = code.Hash() },
		func() { keptKey, _ = pbkdf2.Key(sha256.New, string(raw[:]), salt, 50_000, 32) })
}

// BenchmarkHashAll reports what part of a linear speed-up in processors is
// reached: 1 is all of it.
func BenchmarkHashAll(b *testing.B) {
	codes := make([]bypasscode.Code, 50*runtime.GOMAXPROCS(0))
	for i := range codes {
		codes[i] = bypasscode.New()
	}
	var together, alone time.Duration
	for b.Loop() {
		start := time.Now()
		_, err := bypasscode.HashAll(context.Background(), codes, nil)
		together += time.Since(start)
		require.NoError(b, err)
		start = time.Now()
		for _, code := range codes {
			keptHash, _ = code.Hash()
		}
		alone += time.Since(start)
	}
	processors := float64(runtime.GOMAXPROCS(0))
	b.ReportMetric(processors, "processors")
	b.ReportMetric(float64(alone)/float64(together)/processors, "of-linear")
}
