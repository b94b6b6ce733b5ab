package memstore_test

import (
	"fmt"
	"testing"

	"github.com/omegacell/omegacell/cellstate"
	"github.com/omegacell/omegacell/cellstate/memstore"
)

// BenchmarkCommit places a job of so many tasks, one on a machine, on machines with ten claims, and takes it away again.
func BenchmarkCommit(b *testing.B) {
	for _, tasks := range []int{1, 100} {
		b.Run(fmt.Sprintf("tasks=%d", tasks), func(b *testing.B) {
			const machines = 10_000
			s := memstore.New(memstore.Config{})
			for i := range machines {
				l := cellstate.NewLedger(fmt.Sprintf("m%d", i), cellstate.Resources{CPUMilli: 64_000})
				for k := range uint32(10) {
					id := cellstate.ClaimID{Scheduler: "service", Job: fmt.Sprintf("long-%d", k), Task: uint32(i)}
					l.Claims = append(l.Claims, cellstate.Claim{ID: id, Resources: cellstate.Resources{CPUMilli: 100}})
				}
				if _, err := s.Swap(b.Context(), cellstate.Swap{Put: []cellstate.Put{{Value: l.Sum()}}}); err != nil {
					b.Fatal(err)
				}
			}
			add := &cellstate.Txn{ID: "add", Scheduler: "batch", Mode: cellstate.Incremental, Rule: cellstate.FitRule}
			remove := &cellstate.Txn{ID: "remove", Scheduler: "batch", Mode: cellstate.Incremental, Rule: cellstate.FitRule}
			b.ReportAllocs()
			at := 0
			for b.Loop() {
				add.Add, remove.Remove = add.Add[:0], remove.Remove[:0]
				for k := range tasks {
					at = (at + 7919) % machines
					c := cellstate.Claim{ID: cellstate.ClaimID{Scheduler: "batch", Job: "job", Task: uint32(k)}, Machine: fmt.Sprintf("m%d", at)}
					add.Add = append(add.Add, c)
					remove.Remove = append(remove.Remove, cellstate.ClaimRef{Machine: c.Machine, ID: c.ID})
				}
				for _, t := range []*cellstate.Txn{add, remove} {
					v, err := s.Commit(b.Context(), t)
					if err != nil || len(v.Committed) != tasks {
						b.Fatal(v, err)
					}
				}
				if at%64 == 0 {
					l, err := s.List(b.Context(), cellstate.LedgerKey("m0").Only(), 0)
					if err != nil {
						b.Fatal(err)
					}
					s.Compact(l.Rev)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(2*b.N*tasks), "ns/claim")
		})
	}
}
