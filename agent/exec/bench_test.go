package exec

import (
	"context"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/omegacell/omegacell/agent/drivertest"
)

// BenchmarkStart measures one start of a confined task, with the small shim and with a binary that is a shim besides. ns/op, p50-ms
// and p99-ms are of the start alone; cpu-ms/task is of all processes, from the start until the task was stopped and forgotten.
func BenchmarkStart(b *testing.B) {
	for _, small := range []bool{true, false} {
		name := "shim=self"
		if small {
			name = "shim=cellshim"
		}
		b.Run(name, func(b *testing.B) {
			cfg := testConfig(b, false)
			if small {
				cfg.Shim = []string{buildShim(b)}
			}
			d := open(b, cfg)
			var took []time.Duration
			begin := cpuTime(b)
			for i := uint32(0); b.Loop(); i++ {
				a := drivertest.Task(i)
				at := time.Now()
				start(b, d, a)
				took = append(took, time.Since(at))
				b.StopTimer()
				if err := d.Stop(context.Background(), a.ID); err != nil {
					b.Fatal(err)
				}
				<-d.Events()
				if err := d.Forget(context.Background(), a.ID); err != nil {
					b.Fatal(err)
				}
				b.StartTimer()
			}
			b.ReportMetric((cpuTime(b)-begin).Seconds()*1000/float64(b.N), "cpu-ms/task")
			slices.Sort(took)
			b.ReportMetric(float64(took[len(took)/2].Microseconds())/1000, "p50-ms")
			b.ReportMetric(float64(took[len(took)*99/100].Microseconds())/1000, "p99-ms")
		})
	}
}

// cpuTime returns what this process and its children that were waited for have used: shims too, and tasks through them.
func cpuTime(tb testing.TB) time.Duration {
	var sum time.Duration
	for _, who := range []int{unix.RUSAGE_SELF, unix.RUSAGE_CHILDREN} {
		var u unix.Rusage
		if err := unix.Getrusage(who, &u); err != nil {
			tb.Fatal(err)
		}
		sum += time.Duration(u.Utime.Nano() + u.Stime.Nano())
	}
	return sum
}
