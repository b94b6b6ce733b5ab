package mirror

import (
	"fmt"
	"runtime"
	"syscall"
	"testing"
	"time"

	"github.com/omegacell/omegacell/cellstate"
)

// bigCell lists n machines, each with a ledger of so many claims, a session, a report of all of them and attributes.
func bigCell(n, claims int) cellstate.Listing {
	l := cellstate.Listing{Rev: 2}
	add := func(v cellstate.Value) {
		l.Records = append(l.Records, cellstate.Record{Key: v.Key(), Rev: 2, Value: cellstate.WithRev(v, 2)})
	}
	for i := range n {
		add(busy(i, claims, fmt.Sprintf("job-%d", i%1000)))
	}
	for i := range n {
		m := machineName(i)
		r := &cellstate.Report{Machine: m}
		for _, c := range busy(i, claims, fmt.Sprintf("job-%d", i%1000)).Claims {
			r.Claims = append(r.Claims, cellstate.ClaimStatus{ID: c.ID, Phase: cellstate.PhaseRunning})
		}
		add(r)
	}
	for i := range n {
		add(&cellstate.Session{Machine: machineName(i)})
	}
	for i := range n {
		add(&cellstate.Machine{Name: machineName(i)})
	}
	return l
}

func machineName(i int) string { return fmt.Sprintf("rack%d-m%d", i/40, i%40) }

// busy is the ledger of machine i with claims of as many jobs, the first of which is given.
func busy(i, claims int, job string) *cellstate.Ledger {
	l := cellstate.NewLedger(machineName(i), cellstate.Resources{CPUMilli: 64_000})
	for k := range claims {
		id := cellstate.ClaimID{Scheduler: "batch", Job: job, Task: uint32(i)}
		if k > 0 {
			id.Job = fmt.Sprintf("long-%d", (i*7+k*13)%1000)
		}
		l.Claims = append(l.Claims, cellstate.Claim{ID: id, Resources: cellstate.Resources{CPUMilli: 100}})
	}
	return l.Sum()
}

func mustImage(b testing.TB, schedulers []string) *image {
	im, err := newImage(schedulers)
	if err != nil {
		b.Fatal(err)
	}
	return im
}

// BenchmarkApply takes ledgers of ten claims, each with one of a new job and without one of an old job. Each batch is of one
// job, whose tasks lie on as many machines.
func BenchmarkApply(b *testing.B) {
	for _, n := range []int{1_000, 10_000, 100_000} {
		for _, tasks := range []int{1, 100} {
			for _, index := range []struct {
				name       string
				schedulers []string
			}{{"all", nil}, {"others", []string{"service"}}} {
				b.Run(fmt.Sprintf("machines=%d/tasks=%d/index=%s", n, tasks, index.name), func(b *testing.B) {
					if n > 10_000 && testing.Short() {
						b.Skip("takes long to set up")
					}
					im := mustImage(b, index.schedulers)
					im.apply(im.difference(bigCell(n, 10)), 1)
					batches := make([]cellstate.Batch, 20_000/tasks)
					at := 0
					for i := range batches {
						for range tasks {
							at = (at + 7919) % n
							l := busy(at, 10, fmt.Sprintf("new-%d", i))
							batches[i].Events = append(batches[i].Events, cellstate.Event{Record: cellstate.Record{Key: l.Key(), Rev: 3, Value: l}})
						}
					}
					b.ReportAllocs()
					rev, before := int64(3), cpu()
					for b.Loop() {
						batch := batches[rev%int64(len(batches))]
						batch.Rev = rev
						im.apply(batch, 1)
						rev++
					}
					b.ReportMetric(float64(cpu()-before)/float64(b.N*tasks), "cpu-ns/ledger")
				})
			}
		}
	}
}

func BenchmarkSnapshot(b *testing.B) {
	m, err := New(Config{Store: &counting{}, Now: func() cellstate.Instant { return 1 }})
	if err != nil {
		b.Fatal(err)
	}
	m.apply(&news{Batch: m.image.difference(bigCell(10_000, 1)), at: 1})
	b.ReportAllocs()
	for b.Loop() {
		if m.Snapshot().Len() == 0 {
			b.Fatal("empty")
		}
	}
}

func BenchmarkMachineByName(b *testing.B) {
	im := mustImage(b, nil)
	im.apply(im.difference(bigCell(10_000, 1)), 1)
	b.ReportAllocs()
	for b.Loop() {
		if _, ok := im.now.Machine("rack100-m7"); !ok {
			b.Fatal("not there")
		}
	}
}

// A planner's walk over every machine.
func BenchmarkWalk(b *testing.B) {
	im := mustImage(b, nil)
	im.apply(im.difference(bigCell(10_000, 1)), 1)
	var snap cellstate.Snapshot = im.now
	b.ReportAllocs()
	for b.Loop() {
		for i := range snap.Len() {
			if snap.At(i) == nil {
				b.Fatal("not there")
			}
		}
	}
}

// BenchmarkRebuild lists a cell again, for the first time (cold) or when nothing has changed (same). Decoding is wire's.
func BenchmarkRebuild(b *testing.B) {
	for _, size := range []struct{ machines, claims int }{{1_000, 10}, {10_000, 10}, {100_000, 1}, {100_000, 20}} {
		name := fmt.Sprintf("machines=%d/claims=%d", size.machines, size.machines*size.claims)
		skip := func(b *testing.B) {
			if size.machines > 10_000 && testing.Short() {
				b.Skip("takes long to set up")
			}
		}
		b.Run(name+"/cold", func(b *testing.B) {
			skip(b)
			l := bigCell(size.machines, size.claims)
			b.ReportAllocs()
			before := heapInUse()
			var im *image
			for b.Loop() {
				im = mustImage(b, nil)
				im.apply(im.difference(l), 1)
			}
			b.ReportMetric(float64(heapInUse()-before)/float64(size.machines), "B/machine")
			runtime.KeepAlive(im)
			runtime.KeepAlive(l)
		})
		b.Run(name+"/same", func(b *testing.B) {
			skip(b)
			l := bigCell(size.machines, size.claims)
			im := mustImage(b, nil)
			im.apply(im.difference(l), 1)
			b.ReportAllocs()
			for b.Loop() {
				if d := im.difference(l); len(d.Events) > 0 {
					b.Fatal("differs")
				}
			}
		})
	}
}

// cpu returns the processor time that the process has taken so far: on a busy machine it says more than the clock.
func cpu() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// heapInUse returns the bytes that live objects take.
func heapInUse() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// BenchmarkApplyStatus writes the status of one of so many jobs.
func BenchmarkApplyStatus(b *testing.B) {
	for _, n := range []int{1_000, 10_000, 100_000} {
		b.Run(fmt.Sprintf("jobs=%d", n), func(b *testing.B) {
			im := mustImage(b, nil)
			var l cellstate.Listing
			var events []cellstate.Event
			for i := range n {
				j := &cellstate.Job{Scheduler: "batch", Name: fmt.Sprintf("job-%d", i)}
				s := &cellstate.JobStatus{Scheduler: "batch", Job: j.Name}
				r := cellstate.Record{Key: s.Key(), Rev: 2, Value: s}
				l.Records = append(l.Records, cellstate.Record{Key: j.Key(), Rev: 2, Value: j}, r)
				events = append(events, cellstate.Event{Record: r})
			}
			l.Rev = 2
			im.apply(im.difference(l), 1)
			b.ReportAllocs()
			at, rev, before := 0, int64(3), cpu()
			for b.Loop() {
				at = (at + 7919) % n
				im.apply(cellstate.Batch{Rev: rev, Events: events[at : at+1]}, 1)
				rev++
			}
			b.ReportMetric(float64(cpu()-before)/float64(b.N), "cpu-ns/status")
		})
	}
}
