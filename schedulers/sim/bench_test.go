package sim

import (
	"context"
	"fmt"
	"math/rand/v2"
	"runtime/debug"
	"syscall"
	"testing"
	"time"

	"github.com/omegacell/omegacell/cellstate"
)

// BenchmarkRun simulates a cell of 10,000 machines, more than half full, on which batch jobs come and go, and reports the tasks
// placed in a second of CPU. What lives is a few MB, so that a larger heap (GOGC) costs little and the collector runs less.
func BenchmarkRun(b *testing.B) {
	for _, bb := range []struct {
		compat            Compat
		gogc              int
		schedulers, tasks int
	}{
		{CompatNone, 100, 16, 100},
		{CompatNone, 400, 1, 10}, {CompatNone, 400, 1, 100}, {CompatNone, 400, 1, 1000},
		{CompatNone, 400, 16, 10}, {CompatNone, 400, 16, 100}, {CompatNone, 400, 16, 1000}, {CompatNone, 400, 128, 100},
		{CompatGoogle, 400, 1, 10}, {CompatGoogle, 400, 1, 100}, {CompatGoogle, 400, 16, 10}, {CompatGoogle, 400, 16, 100},
	} {
		name := fmt.Sprintf("compat=%s/machines=10000/gogc=%d/schedulers=%d/tasks=%d", bb.compat, bb.gogc, bb.schedulers, bb.tasks)
		b.Run(name, func(b *testing.B) {
			defer debug.SetGCPercent(debug.SetGCPercent(bb.gogc))
			cfg, jobs := busyCell(10_000, bb.tasks, 1_000_000)
			cfg.Compat, cfg.Schedulers.Batch = bb.compat, bb.schedulers
			b.ReportAllocs()
			var placed, events int64
			begun := cpuTime()
			for b.Loop() {
				r, err := Run(context.Background(), cfg, jobs)
				if err != nil {
					b.Fatal(err)
				}
				placed += r.Placements
				events += r.Events
			}
			spent := (cpuTime() - begun).Seconds()
			b.ReportMetric(float64(placed)/spent, "placements/cpu-s")
			b.ReportMetric(float64(events)/spent, "events/cpu-s")
		})
	}
}

// BenchmarkCompat runs the list of 100 machines that Google's simulator took 1 to 5 s for.
func BenchmarkCompat(b *testing.B) {
	jobs := m100()
	for _, schedulers := range []int{1, 4} {
		for _, mode := range []cellstate.Mode{cellstate.Incremental, cellstate.AllOrNothing} {
			b.Run(fmt.Sprintf("machines=100/mode=%s/schedulers=%d", mode, schedulers), func(b *testing.B) {
				think := Think{Job: 100 * time.Millisecond, Task: 5 * time.Millisecond}
				cfg := Config{
					Machines: Uniform(100, cellstate.Resources{CPUMilli: 4000, MemBytes: 16 << 30}), Horizon: 6 * time.Hour, Compat: CompatGoogle,
					Schedulers: PerClass[int]{Batch: schedulers}, Mode: mode, Rule: cellstate.SeqRule, Think: PerClass[Think]{think, think},
				}
				for b.Loop() {
					if _, err := Run(context.Background(), cfg, jobs); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

// busyCell is a cell about 60 % full, and jobs of so many tasks that keep it so until `placements` are placed.
func busyCell(machines, tasks, placements int) (Config, []Job) {
	seconds := float64(placements) / 200 // of simulated time; a task runs 100 s
	rng := rand.New(rand.NewPCG(1, 1))
	var jobs []Job
	for at := 0.0; at < seconds; at += rng.ExpFloat64() * float64(tasks) / 200 {
		jobs = append(jobs, Job{
			Class: Batch, Submit: time.Duration(at * 1e9), Duration: 100 * time.Second, Tasks: tasks,
			Demand: cellstate.Resources{CPUMilli: 250 + 250*rng.Int64N(3), MemBytes: (1 + rng.Int64N(4)) << 28},
		})
	}
	think := Think{Job: 10 * time.Millisecond, Task: 10 * time.Microsecond}
	return Config{
		Machines: Uniform(machines, cellstate.Resources{CPUMilli: 4000, MemBytes: 16 << 30}), Horizon: time.Duration(seconds * 1e9), Seed: 1,
		Think:   PerClass[Think]{think, think},
		Prefill: []Job{{Class: Service, Duration: -1, Tasks: machines * 33 / 20, Demand: cores(1)}},
	}, jobs
}

// cpuTime is what this process has used.
func cpuTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
