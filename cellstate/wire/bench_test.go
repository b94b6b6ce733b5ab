package wire

import (
	"fmt"
	"testing"

	"github.com/omegacell/omegacell/cellstate"
)

// values are those that are written most: a machine's ledger with each commit to it, its report with each step of a task.
func values(claims int) map[string]cellstate.Value {
	l := someLedger(claims)
	r := &cellstate.Report{Machine: l.Machine, Epoch: 3}
	for i := range l.Claims {
		r.Claims = append(r.Claims, cellstate.ClaimStatus{
			ID: l.Claims[i].ID, Phase: cellstate.PhaseRunning, Health: cellstate.Healthy, PID: int32(1000 + i), StartedAt: 1_780_000_000_000,
		})
	}
	return map[string]cellstate.Value{"Ledger": l, "Report": r}
}

func benchmarkEncode(b *testing.B, kind string) {
	for _, n := range []int{1, 10, 100} {
		v := values(n)[kind]
		b.Run(fmt.Sprintf("claims=%d", n), func(b *testing.B) {
			b.ReportAllocs()
			size := 0
			for b.Loop() {
				raw, err := Marshal(v)
				if err != nil {
					b.Fatal(err)
				}
				size = len(raw)
			}
			b.ReportMetric(float64(size), "bytes")
		})
	}
}

func benchmarkDecode(b *testing.B, kind string) {
	for _, n := range []int{1, 10, 100} {
		v := values(n)[kind]
		raw, err := Marshal(v)
		if err != nil {
			b.Fatal(err)
		}
		b.Run(fmt.Sprintf("claims=%d", n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := Unmarshal(v.Key(), raw, 7); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkLedgerEncode(b *testing.B) { benchmarkEncode(b, "Ledger") }
func BenchmarkLedgerDecode(b *testing.B) { benchmarkDecode(b, "Ledger") }
func BenchmarkReportEncode(b *testing.B) { benchmarkEncode(b, "Report") }
func BenchmarkReportDecode(b *testing.B) { benchmarkDecode(b, "Report") }
