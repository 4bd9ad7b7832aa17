package seal_test

import "testing"

func BenchmarkSeal(b *testing.B) {
	for _, suite := range all {
		b.Run(string(suite), func(b *testing.B) {
			k := ring(b, generate(b, suite))
			b.ReportAllocs()
			for b.Loop() {
				sealed(b, k)
			}
			b.ReportMetric(float64(len(sealed(b, k))), "bytes")
		})
	}
}

func BenchmarkOpen(b *testing.B) {
	for _, suite := range all {
		b.Run(string(suite), func(b *testing.B) {
			k := ring(b, generate(b, suite))
			s := sealed(b, k)
			b.ReportAllocs()
			for b.Loop() {
				requireOpens(b, k, s)
			}
		})
	}
}
