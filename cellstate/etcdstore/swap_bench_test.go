package etcdstore_test

import (
	"fmt"
	"sync"
	"testing"

	"github.com/omegacell/omegacell/cellstate"
	"github.com/omegacell/omegacell/cellstate/etcdstore"
	"github.com/omegacell/omegacell/cellstate/etcdstore/etcdtest"
)

// BenchmarkSwap writes job statuses, each guarded by its revision, from many goroutines.
func BenchmarkSwap(b *testing.B) {
	for _, workers := range []int{1, 64, 256} {
		b.Run(fmt.Sprintf("workers=%d", workers), func(b *testing.B) {
			m := etcdtest.Start(b, fsync)
			s := open(b, etcdstore.Config{Client: m.Client()})
			revs := make([]int64, workers)
			var took spent
			const rounds = 16
			n := 0
			for b.Loop() {
				took.measure(func() {
					var wg sync.WaitGroup
					for i := range workers {
						wg.Go(func() {
							for range rounds {
								st := &cellstate.JobStatus{Scheduler: "batch", Job: fmt.Sprintf("job-%d", i), Version: 1, Phase: cellstate.JobPending}
								got, err := s.Swap(b.Context(), cellstate.Swap{
									Guards: []cellstate.Guard{{Key: st.Key(), Rev: revs[i]}}, Put: []cellstate.Put{{Value: st}}})
								if err != nil || !got.OK {
									b.Errorf("Swap: %+v, %v", got, err)
								}
								revs[i] = got.Rev
							}
						})
					}
					wg.Wait()
				})
				n += workers * rounds
			}
			b.ReportMetric(float64(n)/took.wall.Seconds(), "swaps/s")
			b.ReportMetric(float64(took.cpu.Microseconds())/float64(n), "cpu-us/swap")
			b.ReportMetric(0, "ns/op")
		})
	}
}
