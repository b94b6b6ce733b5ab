package schedulers_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/omegacell/omegacell/cellstate"
	"github.com/omegacell/omegacell/cellstate/memstore"
	"github.com/omegacell/omegacell/cellstate/mirror"
	"github.com/omegacell/omegacell/schedulers"
)

// BenchmarkRunToCompletion is one look at a job all of whose tasks run: what each batch of ends costs beside the ends.
func BenchmarkRunToCompletion(b *testing.B) {
	for _, tasks := range []int{1, 100, 10_000, 100_000} {
		b.Run(fmt.Sprintf("tasks=%d", tasks), func(b *testing.B) {
			snap := running(b, tasks)
			record, _, _ := snap.Job("s", "big")
			job := schedulers.Job{Job: record, Now: 5000, Limits: cellstate.Limits{}.WithDefaults()}
			b.ReportAllocs()
			for b.Loop() {
				if _, todo := schedulers.RunToCompletion(snap, job); len(todo) > 0 {
					b.Fatalf("%d tasks to do", len(todo))
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*tasks), "ns/task")
		})
	}
}

// running is a cell in which all tasks of a job run, 20 on a machine.
func running(b *testing.B, tasks int) cellstate.Snapshot {
	store := memstore.New(memstore.Config{})
	put := func(values ...cellstate.Value) {
		var s cellstate.Swap
		for _, v := range values {
			s.Put = append(s.Put, cellstate.Put{Value: v})
		}
		if _, err := store.Swap(b.Context(), s); err != nil {
			b.Fatal(err)
		}
	}
	put(&cellstate.Job{Scheduler: "s", Name: "big", Run: 1, Version: 1, Precedence: 100, Tasks: uint32(tasks)})
	machines := (tasks + 19) / 20
	for i := range machines {
		l := cellstate.NewLedger(fmt.Sprintf("m%05d", i), cellstate.Resources{CPUMilli: 1 << 20})
		r := &cellstate.Report{Machine: l.Machine, Epoch: 1}
		for t := i; t < tasks; t += machines {
			id := cellstate.ClaimID{Scheduler: "s", Job: "big", Run: 1, Task: uint32(t)}
			l.Claims = append(l.Claims, cellstate.Claim{ID: id, Resources: cellstate.Resources{CPUMilli: 1}, Start: 1})
			r.Claims = append(r.Claims, cellstate.ClaimStatus{ID: id, Phase: cellstate.PhaseRunning, StartedAt: 2})
		}
		put(l.Sum(), r, &cellstate.Session{Machine: l.Machine, Epoch: 1})
	}
	m, err := mirror.New(mirror.Config{Store: store, Now: func() cellstate.Instant { return cellstate.InstantOf(time.Now()) }})
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(b.Context())
	b.Cleanup(cancel)
	go func() { _ = m.Run(ctx) }() // ends with the context
	snap, err := m.Wait(ctx, int64(machines+2))
	if err != nil {
		b.Fatal(err)
	}
	return snap
}
