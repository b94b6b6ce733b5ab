package wire

import (
	"fmt"
	"testing"
)

func BenchmarkLedger(b *testing.B) {
	for _, n := range []int{1, 10, 100} {
		l := someLedger(n)
		raw, err := Marshal(l)
		if err != nil {
			b.Fatal(err)
		}
		b.Run(fmt.Sprintf("encode/claims=%d", n), func(b *testing.B) {
			b.ReportAllocs()
			b.ReportMetric(float64(len(raw)), "bytes")
			for b.Loop() {
				if _, err := Marshal(l); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(fmt.Sprintf("decode/claims=%d", n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := Unmarshal(l.Key(), raw, 7); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
